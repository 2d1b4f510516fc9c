"""The file that an export writes: local, or one multipart upload to an object store.

A local file grows under `<target>.partial` and gets its name at the end. A multipart upload shows nothing before it
is completed, takes its parts in order only, and is aborted when the export fails; records that come in
another order are first put in place in a scratch file.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.store import Store, locate, open_upload

MOST_PARTS = 10_000
PART_BYTES = 64 << 20


class Sink:
    """A file being written; `write` may be called in file order, or in any order after `scatter`."""

    def __init__(self, url: str, options: StorageOptions, size: int) -> None:
        """Begin a file of `size` bytes at `url`; nothing is written yet."""
        self.location = locate(url)
        self.url, self._options, self._size = self.location.url, options, size
        self._descriptor, self._upload, self._at = -1, None, 0
        self._scratch = ""
        if self.location.local:
            os.makedirs(os.path.dirname(self.location.path), exist_ok=True)
            self._partial = f"{self.location.path}.partial"
            self._descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o666)
        else:
            self._partial = ""

    def scatter(self) -> None:
        """Accept records in any order."""
        if not self.location.local:
            handle, self._scratch = tempfile.mkstemp(prefix="seismill-export-")
            self._descriptor = handle

    def write(self, offset: int, data: np.ndarray) -> None:
        """Put bytes (uint8) at an offset of the file."""
        if self._descriptor >= 0:
            view = memoryview(data)
            while view:
                done = os.pwrite(self._descriptor, view, offset)
                view, offset = view[done:], offset + done
            return
        if offset != self._at:
            raise ValueError(f"got byte {offset} of {self.url}, wanted byte {self._at}: an upload goes in order")
        self._open().write(memoryview(data))
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
        """Drop what was written."""
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
        if self._scratch:
            Path(self._scratch).unlink(missing_ok=True)
            self._scratch = ""


@contextmanager
def open_sink(url: str, options: StorageOptions, *, size: int, overwrite: bool) -> Iterator[Sink]:
    """A sink that is closed, and aborted unless it was committed.

    Raises:
        DestinationRefused: The file is there already.
    """
    location = locate(url)
    folder, _, name = location.url.rpartition("/")
    if not overwrite and Store(folder or "/", options).exists(name):
        raise DestinationRefused(f"{location.url} is there already; replace it with --overwrite, or name another file")
    sink = Sink(url, options, size)
    try:
        yield sink
    finally:
        sink.end()
