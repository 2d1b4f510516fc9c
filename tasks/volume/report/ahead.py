"""Reads of a report that do not depend on one another, sent out together: a distant store is mostly waited for."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import Region

AHEAD = 6  # reads under way at once, each of some megabytes


@cache
def _readers() -> ThreadPoolExecutor:
    """The one pool of this process for the reads: a read waits for tasks of the pool for store calls."""
    return ThreadPoolExecutor(AHEAD, thread_name_prefix="reading")


def read_ahead(volume: Volume, wanted: Iterable[tuple[str, Region | None]]) -> Iterator[np.ndarray]:
    """Yield the values of arrays, or of regions of them, in order; the next ones are read meanwhile."""
    under_way: deque[Future[np.ndarray]] = deque()
    try:
        for path, region in wanted:
            under_way.append(_readers().submit(volume.read, path, region))
            if len(under_way) == AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
        wait(under_way)  # nothing outlives a failure
