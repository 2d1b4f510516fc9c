"""The objects that a volume should have, each with the array or group that it belongs to."""

import bisect
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from tasks.volume.protocol.stored import Stored


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """An object as it was written, and the array or group that it belongs to."""

    array: str
    stored: Stored

    @property
    def key(self) -> str:
        """Return the key of the object."""
        return self.stored.key


class Entries(Sequence[ManifestEntry]):
    """The objects of a volume, in the order of their arrays and keys; each is made when it is asked for."""

    def __init__(self, parts: Sequence[tuple[str, Sequence[Stored]]]) -> None:
        """Take the objects of each array or group, with its path."""
        self.parts = parts
        self._ends = list(itertools.accumulate(len(listed) for _, listed in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, at: int) -> ManifestEntry: ...

    @overload
    def __getitem__(self, at: slice) -> list[ManifestEntry]: ...

    def __getitem__(self, at: int | slice) -> ManifestEntry | list[ManifestEntry]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        number = bisect.bisect_right(self._ends, at)
        path, listed = self.parts[number]
        return ManifestEntry(path, listed[at - self._ends[number]])

    def __iter__(self) -> Iterator[ManifestEntry]:
        return (ManifestEntry(path, stored) for path, listed in self.parts for stored in listed)


def drawn_of(entries: Sequence[ManifestEntry], fraction: float, seed: int) -> Sequence[ManifestEntry]:
    """Return a random share of a volume's objects; consecutive seeds cover all of them.

    Args:
        entries: The objects.
        fraction: Share of the objects.
        seed: Number of the share: with a fraction of 1/n each object is in one of n consecutive ones.
    """
    if fraction >= 1:
        return entries
    count = math.ceil(fraction * len(entries))
    # The order is the same for every seed, which says where in it to begin.
    order = random.Random(0).sample(range(len(entries)), len(entries))
    start = seed * count % max(1, len(entries))
    return [entries[number] for number in (order + order)[start : start + count]]
