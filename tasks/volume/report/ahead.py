"""Independent reads of a report, sent together: with a distant store, most of the time is spent waiting."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region, block_count, nth_region

AHEAD = 6  # reads under way at once, each of some megabytes
CHUNKS_AHEAD = 24  # of single chunks
SAMPLE_CHUNKS, SAMPLE_BYTES = 64, 64 << 20


@cache
def _readers() -> ThreadPoolExecutor:
    """Return the one pool of this process for the reads: a read waits for tasks of the pool for store calls."""
    return ThreadPoolExecutor(CHUNKS_AHEAD, thread_name_prefix="reading")


def read_ahead(
    volume: Volume, wanted: Iterable[tuple[str, Region | None]], *, ahead: int = AHEAD
) -> Iterator[np.ndarray]:
    """Yield the values of arrays, or of regions of them, in order; the next ones are read meanwhile."""
    under_way: deque[Future[np.ndarray]] = deque()
    try:
        for path, region in wanted:
            under_way.append(_readers().submit(volume.read, path, region))
            if len(under_way) == ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        for future in under_way:
            future.cancel()
        wait(under_way)  # nothing outlives a failure


def sample_regions(
    spec: ArraySpec, most_bytes: int = SAMPLE_BYTES, most_chunks: int = SAMPLE_CHUNKS
) -> list[Region]:
    """Return chunks spread evenly over an array, few enough to be read in a moment; all of them if they are few."""
    total = block_count(spec.shape, spec.chunks)
    count = min(total, most_chunks, max(1, most_bytes // spec.chunk_bytes))
    numbers = np.arange(count)
    if count < total:
        # Multiples of the golden section: evenly spread, and not in step with the rows of the grid of chunks.
        numbers = np.unique((numbers * 0.6180339887498949 % 1 * total).astype(np.int64))
        numbers[-1] = total - 1  # both ends of the survey belong to it
    return [nth_region(spec.shape, spec.chunks, int(number)) for number in numbers]
