"""A `Source` as the seekable file that a parser of headers wants, with few and short requests."""

import io
from collections import OrderedDict
from typing import Any

from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Source

AHEAD_BYTES = {True: 16 << 10, False: 128 << 10}  # local, remote: asked for when a few bytes are wanted
PIECES_KEPT = 16
MOST_BYTES = 8 << 20  # of one read: a header that wants more lies


class Ranged(io.RawIOBase):
    """Read a file in aligned pieces and cache the last few; for one thread at a time."""

    def __init__(self, source: Source) -> None:
        """Open at byte 0; nothing is read yet."""
        super().__init__()
        self._source, self._at = source, 0
        self._piece_bytes = AHEAD_BYTES[source.location.local]
        self._pieces: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return the offset of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, also beyond the end."""
        self._at = max(
            0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        )
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` up to the end of the file; return the number of bytes.

        Raises:
            InputRefused: More bytes are requested at once than any header holds.
        """
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._source.size - self._at))
        if wanted > MOST_BYTES:
            raise InputRefused(
                f"a header in {self._source.url} states a length of {wanted / 1e6:,.0f} MB; the file is damaged"
            )
        done = 0
        while done < wanted:
            number, inside = divmod(self._at + done, self._piece_bytes)
            part = self._piece(number)[inside : inside + wanted - done]
            view[done : done + len(part)] = part
            done += len(part)
        self._at += done
        return done

    def _piece(self, number: int) -> bytes:
        if number not in self._pieces:
            start = number * self._piece_bytes
            self._pieces[number] = self._source.read(start, min(self._piece_bytes, self._source.size - start))
            if len(self._pieces) > PIECES_KEPT:
                self._pieces.popitem(last=False)
        self._pieces.move_to_end(number)
        return self._pieces[number]
