"""Members of .gz and .zip archives, unpacked once; an archive that unpacks to an implausible size is refused."""

import gzip
import io
import os
import zipfile
import zlib
from typing import Any

from tasks.volume.outcomes import InputRefused
from tasks.volume.store.scratch import Bounded, Spill
from tasks.volume.store.source import Source

MOST_GROWTH = 100  # bytes from one of an archive: samples of nothing but zeros give more, and are refused
FREE_GROWTH = 64 << 20  # up to which no growth is too much
READ_BYTES = 4 << 20
LIST_BYTES = 64 << 10


class ArchiveBytes(io.RawIOBase):
    """A source as a Python file object, for libraries that read archives."""

    def __init__(self, source: Source) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another place."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the current position."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the current position, in part at the end of the file; return the number of bytes."""
        length = max(0, min(len(buffer), self._source.size - self._at))
        if length:
            buffer[:length] = self._source.read(self._at, length)
        self._at += length
        return length


def _copy(file: Any, out: Bounded, packed: int, url: str) -> None:
    while data := file.read(READ_BYTES):
        if out.size + len(data) > max(FREE_GROWTH, MOST_GROWTH * packed):
            raise InputRefused(
                f"{url} grows to more than {MOST_GROWTH} times its {packed:,} bytes, as no survey does; unpack it "
                "first if it is one"
            )
        out.write(data)


def gunzip(source: Source, member: str, out: Bounded) -> Spill:
    """Write the content of a .gz archive, and compare it with the CRC-32 and size that the archive states.

    Raises:
        InputRefused: The archive is damaged, decodes to more than is allowed or does not fit.
    """
    try:
        with gzip.GzipFile(fileobj=io.BufferedReader(ArchiveBytes(source), READ_BYTES), mode="rb") as file:
            _copy(file, out, source.size, source.url)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputRefused(f"{source.url} is damaged ({error}); name a whole copy of it") from None
    name = source.location.path.rpartition("/")[2][: -len(".gz")]
    return Spill(name, out.size, source.size, f"{out.crc32:08x}", source.identity)


def unzip(source: Source, member: str, out: Bounded) -> Spill:
    """Write a member of a .zip archive (if none is named, the only one), and compare it with its CRC-32 and size.

    Raises:
        InputRefused: The member is missing, damaged or encrypted, decodes to more than is allowed or does not fit.
    """
    try:
        with zipfile.ZipFile(io.BufferedReader(ArchiveBytes(source), READ_BYTES)) as archive:
            entry = _entry(archive, member, source.url)
            if entry.flag_bits & 1:
                raise InputRefused(f"{entry.filename} in {source.url} is encrypted; unpack it first")
            if entry.file_size > max(FREE_GROWTH, MOST_GROWTH * entry.compress_size):
                raise InputRefused(
                    f"{entry.filename} in {source.url} grows from {entry.compress_size:,} to {entry.file_size:,} "
                    "bytes, as no survey or scan does; unpack it first if it is one"
                )
            out.fit(entry.file_size)
            with archive.open(entry) as file:
                _copy(file, out, max(entry.compress_size, 1), source.url)
            if (out.size, out.crc32) != (entry.file_size, entry.CRC):
                raise zipfile.BadZipFile(f"{out.size} of {entry.file_size} bytes were unpacked")
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, UnicodeDecodeError) as error:
        raise InputRefused(
            f"{source.url} is damaged or packed in another way ({error}); unpack it first"
        ) from None
    return Spill(entry.filename, out.size, source.size, f"{entry.CRC:08x}", source.identity)


def names_in(source: Source) -> list[str]:
    """Return the names of the files in a .zip archive.

    Raises:
        InputRefused: The archive cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BufferedReader(ArchiveBytes(source), LIST_BYTES)) as archive:
            return [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise InputRefused(f"{source.url} is damaged ({error}); name a whole copy of it") from None


def _entry(archive: zipfile.ZipFile, member: str, url: str) -> zipfile.ZipInfo:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    chosen = [entry for entry in entries if not member or entry.filename == member]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(entry.filename for entry in entries[:5]) + (", …" if len(entries) > 5 else "")
    if member:
        raise InputRefused(f"{url} holds {len(chosen)} files named {member}; it has {names or 'none'}")
    first = entries[0].filename if entries else "a.sgy"
    raise InputRefused(f"{url} holds {len(entries)} files ({names}); name one, such as {url}:{first}")
