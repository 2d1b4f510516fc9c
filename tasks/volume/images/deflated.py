"""Voxels in one zlib or gzip stream, which has no independent parts: it is decoded slab by slab.

Copies of the decoder are kept at a few hundred places of the stream. Slabs can therefore be read in any order: each is
decoded from the last such place before it. A stream that is read slab after slab is decoded once.
"""

import threading
import zlib
from dataclasses import dataclass
from typing import Any

from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.store.objects import Source

PLACES = 256  # at which a decoder is kept, of some 40 kB each
EITHER = zlib.MAX_WBITS | 32  # zlib's header or gzip's


@dataclass(frozen=True)
class Steps:
    """Bytes of a stream that are read and decoded at a time, whatever its ratio, and bytes between kept decoders."""

    read_bytes: int = 1 << 20
    piece_bytes: int = 4 << 20
    least_apart: int = 64 << 20

    @property
    def scratch_bytes(self) -> int:
        """Return the memory that decoding takes."""
        return self.read_bytes + 2 * self.piece_bytes + PLACES * (48 << 10)


STEPS = Steps()


@dataclass(frozen=True)
class _Place:
    """Position of a decoder: bytes decoded so far, and where it resumes in the file."""

    decoded: int
    at: int
    decoder: Any


class Deflated:
    """The decoded bytes of a stream that goes from `offset` to the end of a file, or of a part of it."""

    def __init__(
        self,
        source: Source,
        offset: int,
        size: int,
        end: int = -1,
        wbits: int = EITHER,
        steps: Steps = STEPS,
    ) -> None:
        """Take the stream of a file; `size` is what it must decode to."""
        self._steps = steps
        self.source = source
        self.size = size
        self._end = end if end >= 0 else source.size
        self._wbits = wbits
        self._apart = max(steps.least_apart, size // PLACES)
        self._places = {0: _Place(0, offset, zlib.decompressobj(wbits))}  # by stretches of `_apart` bytes
        self._last = self._places[0]  # where the last call ended, which is where the next one mostly goes on
        self._lock = threading.Lock()

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill `out` with decoded bytes from `start` on. One call at a time decodes, others wait for it.

        Raises:
            IntegrityFailure: The stream is damaged, or does not hold `size` bytes.
        """
        with self._lock:
            before = [value for value in (*self._places.values(), self._last) if value.decoded <= start]
            place = max(before, key=lambda entry: entry.decoded)
            decoder, decoded, at = place.decoder.copy(), place.decoded, place.at
            stop, data = start + len(out), b""
            while decoded < stop:
                data = data or self._read(at, decoded)
                wanted = min((start if decoded < start else stop) - decoded, self._steps.piece_bytes)
                piece, decoder, left = self._decode(decoder, data, wanted)
                at, data = at + len(data) - len(left), left
                if decoded >= start:
                    out[decoded - start : decoded - start + len(piece)] = piece
                decoded += len(piece)
                if decoded // self._apart not in self._places and not decoder.eof:
                    self._places[decoded // self._apart] = _Place(decoded, at, decoder.copy())
            if stop == self.size:
                self._refuse_more(decoder, data, at)
            elif not decoder.eof:
                self._last = _Place(decoded, at, decoder.copy())

    def _read(self, at: int, decoded: int) -> bytes:
        if at >= self._end:
            raise IntegrityFailure(
                f"the stream in {self.source.url} ends after {decoded:,} of {self.size:,} bytes of voxels; it is cut "
                "off, or its header belongs to another file"
            )
        return bytes(self.source.read(at, min(self._steps.read_bytes, self._end - at)))

    def _decode(self, decoder: Any, data: bytes, wanted: int) -> tuple[bytes, Any, bytes]:
        """Return some decoded bytes, the decoder after them, and the rest of `data`."""
        if decoder.eof:  # gzip files may be put one after the other
            decoder = zlib.decompressobj(self._wbits)
        try:
            piece = decoder.decompress(data, wanted)
        except zlib.error as error:
            raise IntegrityFailure(
                f"the voxels of {self.source.url} do not decode: {error}; it is damaged"
            ) from None
        return piece, decoder, decoder.unused_data if decoder.eof else decoder.unconsumed_tail

    def _refuse_more(self, decoder: Any, data: bytes, at: int) -> None:
        """Read the stream's checksum, which ends it."""
        more = b""
        while not decoder.eof and not more:
            data = data or self._read(at, self.size)
            more, decoder, left = self._decode(decoder, data, 1)
            at, data = at + len(data) - len(left), left
        if more:
            raise IntegrityFailure(
                f"the stream in {self.source.url} holds more than the {self.size:,} bytes of voxels that its "
                "header states; one of them belongs to another file"
            )
