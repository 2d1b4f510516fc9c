"""The scratch folder (SEISMILL_SCRATCH, else the one for temporary files), for files that cannot be read by ranges.

Processes of one machine share these files; the process that wrote a file removes it when the process ends. A file left
by a killed process is used again. Some disk space always stays free.
"""

import atexit
import errno
import fcntl
import io
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.volume.outcomes import InputRefused

SCRATCH = "SEISMILL_SCRATCH"
KEPT_FREE = 256 << 20  # on the disk of the folder
LOOKED_AFTER = 64 << 20  # bytes after which the free space is looked at again


@dataclass(frozen=True)
class Spill:
    """A file in the scratch folder.

    Attributes:
        member: Name of the file in the archive; empty outside of one.
        size: Size of the file, in bytes.
        packed: Size of the file or archive that it was read from, in bytes.
        crc32: CRC-32 of the archive in hexadecimal, which the bytes were compared with; empty outside of one.
        identity: Identity of the file or archive that it was read from.
    """

    member: str
    size: int
    packed: int
    crc32: str
    identity: str


class NotSpilled(Exception):
    """The file is not in the scratch folder."""


def scratch_folder() -> Path:
    """Return the folder for such files, which only this user may use."""
    folder = Path(os.environ.get(SCRATCH) or tempfile.gettempdir()) / f"seismill-spill-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise InputRefused(f"{folder} cannot be used to unpack ({error.strerror}); set {SCRATCH}") from None
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise InputRefused(f"{folder} belongs to another user or is open to others; set {SCRATCH}")
    return folder


def spilled(place: Path, url: str, write: Any) -> tuple[int, Spill]:
    """Return a descriptor of a spilled file, and its `Spill`; write both first if they do not exist."""
    with _locked(place.with_suffix(".lock")):
        known = place.with_suffix(".json")
        with suppress(OSError, ValueError, TypeError):
            spill = Spill(**json.loads(known.read_text()))
            if place.stat().st_size == spill.size:
                return os.open(place, os.O_RDONLY), spill
        if write is None:
            raise NotSpilled
        partial_place = place.with_suffix(f".{os.getpid()}.partial")
        _written.add(place)
        try:
            with Bounded(partial_place, url) as out:
                spill = write(out)
            os.replace(partial_place, place)
            known.write_text(json.dumps(asdict(spill)))
        finally:
            partial_place.unlink(missing_ok=True)
        return os.open(place, os.O_RDONLY), spill


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def clear_spilled() -> None:
    """Remove the files that this process wrote. Open ones can still be read; the next use writes the others again."""
    while _written:
        place = _written.pop()
        for suffix in ("", ".json", ".lock"):
            place.with_suffix(suffix).unlink(missing_ok=True)


_written: set[Path] = set()
atexit.register(clear_spilled)


class Bounded(io.FileIO):
    """A new file that leaves free space on its disk."""

    def __init__(self, place: Path, url: str) -> None:
        super().__init__(place, "w")
        os.chmod(place, 0o600)
        self._folder, self._url, self._left = place.parent, url, 0
        self.size, self.crc32 = 0, 0

    def write(self, data: Any) -> int:
        """Write all of `data`.

        Raises:
            InputRefused: The data do not fit.
        """
        view = memoryview(data)
        if self._left < len(view):
            self.fit(len(view))
            self._left = LOOKED_AFTER
        self._left -= len(view)
        try:
            done = 0
            while done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            self._refuse()
        self.size += len(view)
        self.crc32 = zlib.crc32(view, self.crc32)
        return len(view)

    def fit(self, more: int) -> None:
        """Check that `more` bytes fit.

        Raises:
            InputRefused: The bytes do not fit.
        """
        if shutil.disk_usage(self._folder).free - more < KEPT_FREE:
            self._refuse()

    def _refuse(self) -> None:
        raise InputRefused(
            f"{self._url} does not fit into {self._folder}, where it is unpacked and {KEPT_FREE >> 20} MiB are left "
            f"free; set {SCRATCH} to a folder with more space, or unpack it first"
        )
