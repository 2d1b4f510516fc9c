"""Objects in this process's memory: fsspec's memory file system, for tests and trials.

All calls run on fsspec's one event loop and wait for nothing, so each of them is atomic.
"""

import zlib

import fsspec

from tasks.volume.store.clouds import Entry, Found, Part, Span
from tasks.volume.store.clouds.faults import Changed


class Memory:
    """The calls of `Cloud` on fsspec's memory file system."""

    batch = 1

    def __init__(self) -> None:
        self._fs = fsspec.filesystem("memory")
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._writers: dict[str, str] = {}

    async def get(self, path: str, span: Span | None, identity: str) -> bytes:
        """See `Cloud`."""
        data: bytes = self._fs.cat_file(path)
        if identity and identity != _identity(data):
            raise Changed(path)
        if span is None:
            return data
        start = max(0, len(data) - span.length) if span.start < 0 else span.start
        return data[start : start + span.length]

    async def fetch(self, path: str) -> tuple[bytes, str]:
        """See `Cloud`."""
        data: bytes = self._fs.cat_file(path)
        return data, _identity(data)

    async def put(
        self, path: str, data: bytes, *, writer: str, storage_class: str, identity: str = ""
    ) -> str:
        """See `Cloud`."""
        if identity:
            if not self._fs.exists(path) or identity != _identity(self._fs.cat_file(path)):
                raise Changed(path)
        elif writer and self._fs.exists(path):
            raise FileExistsError(path)
        self._fs.pipe_file(path, bytes(data))
        self._writers[path] = writer
        return _identity(bytes(data))

    async def head(self, path: str) -> Found:
        """See `Cloud`."""
        data = self._fs.cat_file(path)
        return Found(len(data), _identity(data), self._writers.get(path, ""))

    async def delete(self, paths: list[str]) -> None:
        """See `Cloud`."""
        for path in paths:
            if self._fs.exists(path):
                self._fs.rm_file(path)

    async def page(self, prefix: str, *, deep: bool, after: str) -> tuple[list[Entry], str]:
        """See `Cloud`."""
        entries = {}
        for name in sorted(name for name in self._fs.store if name.startswith(prefix)):
            head, folder, _ = name[len(prefix) :].partition("/")
            if folder and not deep:
                entries[prefix + head] = Entry(prefix + head, folder=True)
            else:
                data = self._fs.cat_file(name)
                entries[name] = Entry(name, len(data), _identity(data))
        return list(entries.values()), ""

    async def begin(self, path: str, *, writer: str, storage_class: str) -> str:
        """See `Cloud`."""
        self._uploads[path] = {}
        return path

    async def part(self, path: str, upload: str, part: Part) -> str:
        """See `Cloud`."""
        self._uploads[upload][part.number] = part.data
        return str(part.number)

    async def complete(self, path: str, upload: str, receipts: list[str], crc32c: int) -> None:
        """See `Cloud`."""
        parts = self._uploads.pop(upload)
        self._fs.pipe_file(path, b"".join(parts[int(receipt)] for receipt in receipts))

    async def abort(self, path: str, upload: str) -> None:
        """See `Cloud`."""
        self._uploads.pop(upload, None)

    async def renew(self) -> None:
        """See `Cloud`."""


def _identity(data: bytes) -> str:
    return f"{len(data)}-{zlib.crc32(data):08x}"
