"""Files that cannot be read by ranges where they are: members of .gz and .zip archives, and files of simple servers.

Such a file is written once to the scratch folder of each machine that reads it, and its ranges are read there. It is
not written to the store of the volume: that would transfer the unpacked file twice, whereas now each machine reads the
packed file once, and most runs use one machine. A run that is resumed elsewhere unpacks it again.
"""

import hashlib
import os
import re
from contextlib import suppress
from functools import partial
from typing import Any

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.archives import gunzip, unzip
from tasks.volume.store.calls import count, line_of
from tasks.volume.store.clouds.faults import Changed, NoRanges, Rejected
from tasks.volume.store.scratch import Bounded, NotSpilled, Spill, scratch_folder, spilled
from tasks.volume.store.source import InRanges, Source
from tasks.volume.store.url import WEB, Location, locate, stored_address

_ARCHIVE = re.compile(r"(?i)^(?P<archive>.*\.zip)(?::(?P<member>[^:]+))?$|^(?P<packed>.*\.gz)$")
_MAGIC = {b"\x1f\x8b": "gz", b"PK": "zip"}


def archive_and_member(url: str) -> tuple[str, str]:
    """Return the URL of an archive, and the name of a file in it, which is empty if none is named."""
    match = _ARCHIVE.match(url)
    return (match["archive"] or match["packed"], match["member"] or "") if match else (url, "")


def is_archive(url: str) -> bool:
    """Return whether a URL names an archive or a member of one, by its ending."""
    return bool(_ARCHIVE.match(url))


def open_source(url: str, options: StorageOptions, identity: str = "", *, size: int = -1) -> Any:
    """Return a file open for reading by ranges, which may lie in an archive, such as survey.zip:line_1.sgy.

    Args:
        url: URL of a file, of an archive with one file, or of a file in an archive.
        options: Options of its store.
        identity: Identity when it was listed; empty: the present one.
        size: Size when it was listed; with an identity, a remote file is not looked up again.

    Raises:
        InputRefused: The file cannot be opened, has changed, or does not fit on this machine.
    """
    match = _ARCHIVE.match(url)
    if not match:
        if locate(url).protocol in WEB and identity:
            with suppress(NotSpilled):
                return SpilledSource(url, options, identity)
        try:
            return Source(url, options, identity, size=-1 if locate(url).protocol in WEB else size)
        except InputRefused as error:
            if not isinstance(error.__cause__, NoRanges):
                raise
            return _of_a_simple_server(url, options, identity, error.__cause__)
    archive = match["archive"] or match["packed"]
    source = Source(archive, options, identity)
    try:
        kind = _MAGIC.get(bytes(source.read(0, 2))) if source.size > 1 else None
        if kind is None and not match["member"]:  # named like an archive, and none
            return Source(url, options, identity)
        if kind != ("zip" if match["archive"] else "gz"):
            raise InputRefused(
                f"{archive} is no {'ZIP' if match['archive'] else 'gzip'} archive; name the SEG-Y itself"
            )
        write = partial(unzip if kind == "zip" else gunzip, source, match["member"] or "")
        return SpilledSource(url, options, source.identity, source.location, write)
    finally:
        source.close()


class SpilledSource(InRanges):
    """A file, open for reading from the scratch folder.

    Attributes:
        url: URL that it was read from.
        size: Size of the file, in bytes.
        identity: Identity of the file or archive that it was read from.
        spill: Notes on the local copy.
    """

    crc32c = ""  # a store knows that of the archive

    def __init__(
        self,
        url: str,
        options: StorageOptions,
        identity: str,
        location: Location | None = None,
        write: Any = None,
    ) -> None:
        """Open the file written before, or let `write(out)` write it and return its facts."""
        self.location = location or locate(stored_address(url))
        self.url = self.name = url
        self.identity = identity
        key = hashlib.sha256("\n".join([url, identity, repr(options)]).encode()).hexdigest()[:32]
        self._descriptor, self.spill = spilled(scratch_folder() / key, url, write)
        self.size = self.spill.size

    def close(self) -> None:
        """Close the file; it cannot be read after this."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        """Close the file when this is garbage, as a file of Python does."""
        with suppress(AttributeError):
            self.close()

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from `start`."""
        buffer = bytearray(length)
        self.read_into(start, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill `out` with the bytes from `start`.

        Raises:
            InputRefused: The file ends too early.
        """
        done = 0
        while done < len(out) and (got := os.preadv(self._descriptor, [out[done:]], start + done)):
            done += got
        count(read=done)
        if done != len(out):
            raise InputRefused(
                f"{self.url} gave {done} bytes of {len(out)} from byte {start}: it ends at byte {self.size}, before "
                "what its headers say; name a whole copy of it"
            )


def _of_a_simple_server(url: str, options: StorageOptions, identity: str, fault: NoRanges) -> SpilledSource:
    """Return a file that was downloaded once, because its server sends only whole files.

    Raises:
        InputRefused: The server does not state the size, or the file changed.
    """
    found = fault.found
    if found.size < 0:
        raise InputRefused(
            f"the server of {url} gives neither ranges nor the size of the file; download it, and name that file"
        )
    if identity and identity != found.identity:
        raise InputRefused(f"the source {url} changed after the run began; start it again with overwrite")
    location = locate(url)
    line: Any = line_of(location, options)

    def write(out: Bounded) -> Spill:
        out.fit(found.size)

        def all_of_it() -> Any:
            out.seek(0)
            out.truncate()
            out.size = out.crc32 = 0
            return line.cloud.whole(location.path, found.identity, found.size, out.write)

        try:
            line.call(all_of_it, size=found.size, conditional=True)
        except (Changed, Rejected) as error:
            raise InputRefused(f"{url} cannot be read ({error}); download it, and name that file") from None
        return Spill("", out.size, found.size, "", found.identity)

    return SpilledSource(url, options, found.identity, location, write)
