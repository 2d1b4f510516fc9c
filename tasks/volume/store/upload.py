"""Write one object in parts, in order: it exists, complete, after it is closed, and not before."""

import uuid
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import google_crc32c

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.store.calls import count, line_of
from tasks.volume.store.clouds import Part, look
from tasks.volume.store.clouds.faults import Rejected
from tasks.volume.store.url import Location

Result = TypeVar("Result")
_UNIT = 256 << 10  # GCS takes pieces of multiples of this


def open_upload(location: Location, options: StorageOptions, part_bytes: int) -> "Upload":
    """Open a new object, written in parts of about `part_bytes`."""
    return Upload(location, options, part_bytes)


class Upload:
    """File-like object that takes bytes in order; `close` completes it, `discard` removes it."""

    def __init__(self, location: Location, options: StorageOptions, part_bytes: int) -> None:
        """Begin nothing yet; parts of about `part_bytes` are kept in memory, one at a time."""
        self._line, self._path, self.url = line_of(location, options), location.path, location.url
        self._part_bytes = -(-part_bytes // _UNIT) * _UNIT
        self._buffer = bytearray()
        self._upload = ""
        self._writer = uuid.uuid4().hex
        self._receipts: list[str] = []
        self._sent, self._crc = 0, 0

    def write(self, data: memoryview | bytes) -> None:
        """Append bytes, and send a part when it is full."""
        view = memoryview(data).cast("B")
        self._crc = google_crc32c.extend(self._crc, bytes(view))
        while view:
            room = self._part_bytes - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            # A part is sent when there is more, so that the last is known as such.
            if len(self._buffer) == self._part_bytes and view:
                self._send(last=False)

    def close(self) -> None:
        """Complete the object."""
        if not self._receipts:
            data = bytes(self._buffer)
            self._ask(
                lambda: self._line.cloud.put(self._path, data, writer="", storage_class=""), size=len(data)
            )
            count(requests=0, written=len(data))
            return
        self._send(last=True)

        complete = self._line.cloud.complete
        self._ask(lambda: self._or_done(complete(self._path, self._upload, self._receipts, self._crc), None))
        self._upload = ""

    def discard(self) -> None:
        """Remove all parts; no object is made."""
        upload, self._upload = self._upload, ""
        self._buffer.clear()
        if upload:
            self._ask(lambda: self._line.cloud.abort(self._path, upload))

    def _send(self, *, last: bool) -> None:
        if not self._upload:
            begin = self._line.cloud.begin
            self._upload = self._ask(lambda: begin(self._path, writer=self._writer, storage_class=""))
        part = Part(len(self._receipts), self._sent, bytes(self._buffer), last)
        self._receipts.append(
            self._ask(
                lambda: self._or_done(
                    self._line.cloud.part(self._path, self._upload, part), str(part.number)
                ),
                size=len(part.data),
            )
        )
        count(requests=0, written=len(part.data))
        self._sent += len(part.data)
        self._buffer.clear()

    async def _or_done(self, request: Coroutine[Any, Any, Result], done: Result) -> Result:
        """Return the result of a request, or `done` if an earlier try with a lost answer completed the upload."""
        try:
            return await request
        except FileNotFoundError as error:
            # An upload that is not there any more was completed, if the object is the one it was to make.
            try:
                mine = (await look(self._line.cloud, self._path)).writer == self._writer
            except FileNotFoundError:
                mine = False
            if mine:
                return done
            raise error

    def _ask(self, request: Callable[[], Coroutine[Any, Any, Result]], *, size: int = 0) -> Result:
        try:
            return self._line.call(request, size=size)
        except PermissionError as error:
            raise DestinationRefused(
                f"{self.url} may not be written ({error}); check the identity's policy"
            ) from error
        except FileNotFoundError as error:
            raise DestinationRefused(
                f"{self.url} cannot be written ({error}); make the bucket first"
            ) from error
        except Rejected as error:
            raise DestinationRefused(
                f"the store of {self.url} refuses that ({error}); check bucket and options"
            ) from error
