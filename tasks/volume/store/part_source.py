"""Present some ranges of a file, concatenated, as one file."""

from collections.abc import Sequence

import numpy as np

from tasks.volume.store.source import InRanges, Source
from tasks.volume.store.url import Location


class PartSource(InRanges):
    """An open file that shows only some of its traces.

    Attributes:
        url: URL of the whole file.
        size: Size of the part, in bytes.
        identity: Identity of the whole file.
    """

    crc32c = ""  # a store knows that of the whole file only

    def __init__(self, source: Source, spans: Sequence[tuple[int, int]]) -> None:
        """See `spans`, (start, length) in bytes, of an open file one after the other."""
        self._source, self._spans = source, tuple(spans)
        self._starts = np.cumsum([0, *(length for _, length in spans)], dtype=np.int64)
        self.url = self.name = source.url
        self.size, self.identity = int(self._starts[-1]), source.identity

    @property
    def location(self) -> Location:
        """Return the location of the whole file."""
        return self._source.location

    def close(self) -> None:
        """Close the whole file."""
        self._source.close()

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes of the part from byte `start`; raises as the whole file does."""
        return b"".join(self._source.read(*piece) for piece in self._pieces(start, length))

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill `out` with the bytes of the part from `start` on."""
        done = 0
        for at, length in self._pieces(start, len(out)):
            self._source.read_into(at, out[done : done + length])
            done += length

    def _pieces(self, start: int, length: int) -> list[tuple[int, int]]:
        """Return where bytes of the part lie in the whole file."""
        if start < 0 or start + length > self.size:
            raise OSError(f"{self.url} was asked for bytes beyond the end of its part")
        pieces = []
        span = int(np.searchsorted(self._starts, start, side="right")) - 1
        while length:
            inside = start - int(self._starts[span])
            taken = min(length, self._spans[span][1] - inside)
            if taken:
                pieces.append((self._spans[span][0] + inside, taken))
            start, length, span = start + taken, length - taken, span + 1
        return pieces
