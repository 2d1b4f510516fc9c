"""The object stores, each as a few calls that send one request each and raise the same exceptions.

Bytes go through fsspec's own file systems (s3fs, gcsfs, adlfs): their configuration, credentials and connections.
Their high-level calls are not used, because they retry by themselves, accept a truncated body, mix generations of an
object, and cannot send preconditions, checksums and the writer's name.

Every object written here has its CRC32C as metadata and, if it was created, the name of its writer: so a damaged body
is detected on every store, and a writer whose answer was lost recognises its own object.
"""

from dataclasses import dataclass
from string import hexdigits
from typing import Protocol

import google_crc32c

from tasks.parameters import StorageOptions
from tasks.volume.store.clouds.faults import Changed, Transient
from tasks.volume.store.url import Location

CHECKSUM, WRITER = "crc32c", "writer"  # names of the metadata


@dataclass(frozen=True)
class Span:
    """Range of an object: `length` bytes from `start`; the last `length` bytes if `start` is negative."""

    start: int
    length: int

    @property
    def header(self) -> str:
        """Return the HTTP range."""
        return (
            f"bytes=-{self.length}"
            if self.start < 0
            else f"bytes={self.start}-{self.start + self.length - 1}"
        )

    def of(self, total: int) -> int:
        """Return how many bytes the range has in an object of `total` bytes."""
        return min(self.length, total) if self.start < 0 else max(0, min(self.length, total - self.start))


@dataclass(frozen=True)
class Found:
    """Size, identity, writer and checksum of an object, as its store states them.

    Attributes:
        size: Size in bytes.
        identity: ETag or generation, which changes with the content.
        writer: Name of the writer that created it, if Seismill did.
        crc32c: CRC32C of the whole content in hexadecimal, if the store knows it.
        archived: Whether it must be restored before it can be read.
    """

    size: int
    identity: str
    writer: str = ""
    crc32c: str = ""
    archived: bool = False


@dataclass(frozen=True)
class Entry:
    """Line of a listing: an object with size and identity, or a common prefix of several names."""

    path: str
    size: int = 0
    identity: str = ""
    folder: bool = False


@dataclass(frozen=True)
class Part:
    """Part of an upload: its number from 0, its offset, and whether it is the last."""

    number: int
    offset: int
    data: bytes
    last: bool


class Cloud(Protocol):
    """Calls of one request each; they raise the exceptions of `faults`."""

    batch: int  # how many objects one request deletes

    async def get(self, path: str, span: Span | None, identity: str) -> bytes:
        """Return all bytes or a range, checked, of the object that has this identity (any, if empty)."""

    async def fetch(self, path: str) -> tuple[bytes, str]:
        """Return all bytes of an object, checked, and its identity."""

    async def put(
        self, path: str, data: bytes, *, writer: str, storage_class: str, identity: str = ""
    ) -> str:
        """Write an object and return its new identity, empty if the store does not tell it.

        With `writer`, create the object; raise FileExistsError if it exists. With `identity`, replace the object;
        raise Changed if it has another identity.
        """

    async def head(self, path: str) -> Found:
        """Return size, identity and writer of an object."""

    async def delete(self, paths: list[str]) -> None:
        """Remove up to `batch` objects; a missing one is no error."""

    async def page(self, prefix: str, *, deep: bool, after: str) -> tuple[list[Entry], str]:
        """Return objects below a prefix (unless deep, up to the next '/'), and the start of the next page."""

    async def begin(self, path: str, *, writer: str, storage_class: str) -> str:
        """Begin an upload and return its name."""

    async def part(self, path: str, upload: str, part: Part) -> str:
        """Send a part of an upload and return its receipt."""

    async def complete(self, path: str, upload: str, receipts: list[str], crc32c: int) -> None:
        """Make the object from its parts."""

    async def abort(self, path: str, upload: str) -> None:
        """Remove an upload and its parts."""

    async def renew(self) -> None:
        """Get new credentials."""


def checked(data: bytes, what: str, *, span: Span | None, total: int | None, crc32c: str) -> bytes:
    """Return `data` if its length and checksum are those that the store stated.

    Args:
        data: The body of an answer.
        what: The request, for messages.
        span: Requested range; None for all.
        total: Size of the whole object, if the answer states it.
        crc32c: CRC32C of the whole object, if it is known.

    Raises:
        Transient: The body is short or damaged.
    """
    wanted = total if span is None or total is None else span.of(total)
    if wanted is not None and len(data) != wanted:
        raise Transient(f"{what}: {len(data)} of {wanted} bytes arrived")
    if crc32c and len(data) == total and google_crc32c.value(data) != int(crc32c, 16):
        raise Transient(f"{what}: the body does not fit its checksum")
    return data


def noted_crc32c(text: str) -> str:
    """Return the CRC32C in an object's metadata, if it has Seismill's form; other programs may use the same name."""
    return text if len(text) == 8 and not set(text) - set(hexdigits) else ""


def total_of(content_range: str) -> int | None:
    """Return the size of the whole object from a Content-Range header; None without one."""
    total = content_range.rpartition("/")[2]
    return int(total) if total.isdigit() else None


async def look(cloud: Cloud, path: str) -> Found:
    """Look up an object while another request is handled.

    Raises:
        Transient: The store answered as to a conditional request, which this is not.
    """
    try:
        return await cloud.head(path)
    except Changed as error:
        raise Transient(f"{error}, although the request named no condition") from error


def open_cloud(location: Location, options: StorageOptions) -> Cloud:
    """Return the calls of a location's store; no request is sent."""
    # Imported here: an SDK takes up to a second to import, and most processes use one.
    if location.protocol == "s3":
        from tasks.volume.store.clouds.s3 import S3

        return S3(options)
    if location.protocol == "gs":
        from tasks.volume.store.clouds.gcs import Gcs

        return Gcs(options)
    if location.protocol in ("az", "abfs"):
        from tasks.volume.store.clouds.azure import Azure

        return Azure(options)
    if location.protocol in ("https", "http"):
        from tasks.volume.store.clouds.web import Web

        return Web(location.protocol, options)
    from tasks.volume.store.clouds.in_memory import Memory

    return Memory()
