"""The file that an export writes: local, or one multipart upload to an object store.

A local file is written as `<target>.partial` and renamed at the end; the next export keeps the parts whose checksums
are those of the source. A multipart upload is invisible until it is completed, takes its parts in order only, and is
aborted when the export fails; records in another order are first sorted in a scratch file.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.arrays.codecs import crc32c
from tasks.volume.outcomes import DestinationRefused, Resumable
from tasks.volume.protocol.place import refuse_inside_volume
from tasks.volume.store.calls import count
from tasks.volume.store.local import give_claim_back, take_claim
from tasks.volume.store.naming import flocked
from tasks.volume.store.objects import Store, locate, open_upload

MOST_PARTS = 10_000
PART_BYTES = 64 << 20


class Sink:
    """A file being written; `write` may be called in file order, or in any order after `scatter`."""

    def __init__(self, url: str, options: StorageOptions, size: int) -> None:
        """Begin a file of `size` bytes at `url`; nothing is written yet."""
        self.location = locate(url)
        self.url, self._options, self._size = self.location.url, options, size
        self._descriptor, self._at = -1, 0
        self._upload: Any = None
        self._scratch = self._claim = ""
        if self.location.local:
            self._partial = f"{self.location.path}.partial"
            try:
                os.makedirs(os.path.dirname(self.location.path), exist_ok=True)
                self._descriptor, self._claim = _open_alone(self._partial)
            except OSError as error:
                raise DestinationRefused(
                    f"{self.url} cannot be written ({error.strerror}); name another file"
                ) from error
        else:
            self._partial = ""

    def scatter(self) -> None:
        """Accept records in any order."""
        if not self.location.local:
            handle, self._scratch = tempfile.mkstemp(prefix="seismill-export-")
            self._descriptor = handle

    def kept(self, checksums: Sequence[int], part_bytes: int) -> int:
        """Return the bytes, in whole parts, of an interrupted export that equal the source's beginning.

        Args:
            checksums: CRC32C of each part of the source.
            part_bytes: Size of a part; the last one is shorter.
        """
        if not self.location.local:
            return 0
        at = 0
        for checksum in checksums:
            length = min(part_bytes, self._size - at)
            data = os.pread(self._descriptor, length, at)
            if len(data) != length or crc32c(data) != checksum:
                break
            at += length
        return at

    def write(self, offset: int, data: np.ndarray) -> None:
        """Put bytes (uint8) at an offset of the file."""
        if self._descriptor >= 0:
            view = data.data
            while view:
                done = os.pwrite(self._descriptor, view, offset)
                view, offset = view[done:], offset + done
            if self.location.local:
                count(requests=0, written=len(data))
            return
        if offset != self._at:
            raise ValueError(
                f"got byte {offset} of {self.url}, wanted byte {self._at}: an upload goes in order"
            )
        self._open().write(data.data)
        self._at += len(data)

    def _open(self) -> Any:
        if self._upload is None:
            part = max(PART_BYTES, -(-self._size // MOST_PARTS))
            self._upload = open_upload(self.location, self._options, part)
        return self._upload

    def commit(self) -> None:
        """Give the file its name."""
        if self.location.local:
            os.ftruncate(self._descriptor, self._size)
            os.fsync(self._descriptor)
            os.replace(self._partial, self.location.path)
            return
        if self._scratch:
            upload = self._open()
            with open(self._scratch, "rb") as file:
                while piece := file.read(PART_BYTES):
                    upload.write(piece)
        self._open().close()
        self._upload = None

    def discard(self) -> None:
        """Discard what was written."""
        if self.location.local:
            Path(self._partial).unlink(missing_ok=True)
        self.end()

    def end(self) -> None:
        """Close what is open, and abort an upload that was not completed."""
        if self._upload is not None:
            self._upload.discard()
            self._upload = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._claim:
            give_claim_back(self._claim)
            self._claim = ""
        if self._scratch:
            Path(self._scratch).unlink(missing_ok=True)
            self._scratch = ""


def _open_alone(path: str) -> tuple[int, str]:
    """Open a file that no other export writes meanwhile for reading and writing; make it if it is absent.

    Returns:
        The descriptor, and the claim that stands for its lock where the file system has no flock.

    Raises:
        Resumable: Another export writes it.
    """
    claim = f"{path}.lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        locks = True
        try:
            locks = flocked(descriptor)
            if not locks:
                take_claim(claim)
            # Another export may have given the file its final name between opening and locking.
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor, "" if locks else claim
        except BlockingIOError:
            os.close(descriptor)
            other = "" if locks else f" (or, if none does any more, when you have removed {claim})"
            raise Resumable(
                f"another export is writing {path}; run this again when it has finished{other}"
            ) from None
        os.close(descriptor)
        if not locks:
            give_claim_back(claim)


def refuse_target(url: str, options: StorageOptions, *, file: bool) -> None:
    """Check that an export may be written to a place: it is in no volume, and is no folder.

    Raises:
        DestinationRefused: The place lies in a volume, or is a folder.
    """
    location = locate(url)
    refuse_inside_volume(Store(location, options))
    if not location.local or not os.path.lexists(location.path):
        return
    if file and os.path.isdir(location.path):
        raise DestinationRefused(
            f"{location.url} is a folder; name a file, such as {location.url}/survey.sgy"
        )
    if not (os.path.isfile(location.path) if file else os.path.isdir(location.path)):
        kind = "regular file" if file else "folder"
        raise DestinationRefused(f"{location.url} is there already and is no {kind}; name another place")


def refuse_existing(url: str, options: StorageOptions) -> None:
    """Check that there is no file at a place.

    Raises:
        DestinationRefused: The file is there already.
    """
    location = locate(url)
    folder, _, name = location.url.rpartition("/")
    if Store(folder or "/", options).exists(name):
        raise DestinationRefused(
            f"{location.url} is there already; replace it with --overwrite, or name another file"
        )


@contextmanager
def open_sink(url: str, options: StorageOptions, *, size: int, overwrite: bool) -> Iterator[Sink]:
    """Open a sink; close it at the end, and abort it unless it was committed.

    Raises:
        DestinationRefused: The file is there already.
    """
    if not overwrite:
        refuse_existing(url, options)
    sink = Sink(url, options, size)
    try:
        yield sink
    finally:
        sink.end()
