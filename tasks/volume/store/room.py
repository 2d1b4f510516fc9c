"""Refuse a local disk that is certainly too small, before anything is written.

The compressed size is known only after samples are stored. So a few parts of the source are compressed as chunks are,
and half of the extrapolated size is required. A disk that gets full later stops the run, which can be resumed.
"""

import os
import sys
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from tasks.volume.outcomes import DestinationRefused
from tasks.volume.store.objects import Store

PARTS, PART_BYTES = 16, 1 << 16  # that are read of a source

Read = Callable[[int, int, int], bytes]  # number of a file, first byte, how many


def refuse_full(store: Store, most_bytes: int, least: Callable[[], int]) -> None:
    """Check that the disk of a store may have room for a run's objects; object stores always have.

    Args:
        store: Where the run writes. Objects that exist there count as room, because the run replaces or keeps them.
        most_bytes: Approximate bytes stored if nothing can be compressed.
        least: Returns a lower bound of the stored bytes; called only if there is no room for `most_bytes`.

    Raises:
        DestinationRefused: The disk has less room than `least` returns.
    """
    if not store.local or most_bytes <= _free(store):
        return
    room = _free(store) + sum(size for _, size, _ in store.listing(""))
    if (needed := least()) > room:
        raise DestinationRefused(
            f"{store.url} would take at least {needed / 1e6:,.1f} MB, and its disk has room for {room / 1e6:,.1f} MB; "
            "make room, or name a place on another disk"
        )


def least_stored(sizes: Sequence[int], read: Read, arrays: int = 1) -> int:
    """Return a lower bound of the bytes of lossless arrays made from some files.

    Args:
        sizes: Bytes of the files.
        read: Reads part of one of them.
        arrays: Number of arrays, each as large as the files.
    """
    ends = np.cumsum([0, *sizes])
    total = int(ends[-1])
    taken = compressed = 0
    for start in np.linspace(0, max(0, total - PART_BYTES), PARTS).astype(np.int64):
        file = int(np.searchsorted(ends, start, "right")) - 1
        offset = int(start - ends[file])
        data = read(file, offset, min(PART_BYTES, sizes[file] - offset))
        words = np.frombuffer(data[: len(data) // 4 * 4], np.uint8).reshape(-1, 4)
        taken += words.size
        compressed += len(zlib.compress(words.T.tobytes(), 1))
    return total * compressed // max(1, taken) * arrays // 2


def _free(store: Store) -> int:
    """Return the free bytes of the disk that holds a place; a large number if the disk does not say."""
    folder = store.location.path
    while not os.path.exists(folder):
        folder = os.path.dirname(folder) or "."
    disk = os.statvfs(folder)
    # Of some network file systems nothing is known.
    return disk.f_bavail * disk.f_frsize if disk.f_blocks else sys.maxsize
