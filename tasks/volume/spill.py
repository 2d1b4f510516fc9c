"""Read a file once, in its own order, when its order is not the grid's: bucket its traces beside the volume.

A shuffled or interleaved file would be read many times over by blocks of the grid, and a far file whose
geometry cannot be predicted would be read once more just for its headers. So its first stage reads ranges in file
order and stores each as one object, its records sorted into buckets of the slowest index word; bucket limits
are quantiles of a sample of headers. The index words are kept too: they give the grid. The second stage, an
ordinary ingest, asks each of these objects for the few buckets that its block needs, as one range.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from tasks.volume.blocks import on_io
from tasks.volume.ledger import Record
from tasks.volume.plan import folder_of
from tasks.volume.records import Records, read_records
from tasks.volume.run import Job
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.headers import word
from tasks.volume.store import Source, Store

RANGE_BYTES = 64 << 20
BUCKETS = 256
FETCH_BYTES = RANGE_BYTES  # of buckets in memory at once before their wanted traces are taken out


def spill_body(source: Source, fmt: FileFormat, index: dict[str, Any], sample: np.ndarray) -> dict[str, Any]:
    """The plan of the first stage.

    Args:
        source: The file.
        fmt: What it is made of.
        index: Where its index words are (`Survey.index_json`).
        sample: Values of the slowest index word in a sample of traces.
    """
    limits = np.unique(np.quantile(sample, np.linspace(0, 1, BUCKETS + 1)[1:-1], method="nearest"))
    return {
        "verb": "spill",
        "sources": [{"url": source.url, "bytes": source.size, "identity": source.identity}],
        "file": fmt.to_json(),
        "index": index,
        "limits": limits.astype(np.int64).tolist(),
        "traces_per_range": max(1, RANGE_BYTES // fmt.trace_bytes),
    }


def spill_blocks(body: dict[str, Any]) -> int:
    """How many ranges the file is read in."""
    return -(-body["file"]["n_traces"] // body["traces_per_range"])


def spill_block(job: Job) -> Record:
    """Store the records of one range of the file by bucket, and their index words."""
    store, plan = job.open()
    body = plan.body
    fmt, first = FileFormat.from_json(body["file"]), body["sources"][0]
    source = _source(first["url"], job.options, first["identity"])
    start = job.block * body["traces_per_range"]
    numbers = np.arange(start, min(start + body["traces_per_range"], fmt.n_traces))
    records = read_records(source, fmt, numbers)
    headers = records.data[:, :240]
    words = [
        word(headers, byte, word_type, fmt.byte_order).astype(np.int64)
        for byte, word_type in zip(body["index"]["bytes"], body["index"]["types"], strict=True)
    ]
    order = np.argsort(_buckets(words[0], body["limits"]), kind="stable")
    store.put(_records_key(job.digest, job.block), records.data[order].tobytes())
    store.put(_index_key(job.digest, job.block), np.stack(words).tobytes())
    return Record(job.block, [], records.data.size, {"segments": records.segments})


def index_columns(store: Store, digest: str, body: dict[str, Any]) -> list[np.ndarray]:
    """The index words of every trace in file order, one int64 array per dimension."""
    dimensions = len(body["index"]["bytes"])
    parts = on_io(lambda block: store.get(_index_key(digest, block)), range(spill_blocks(body)))
    return list(np.concatenate([np.frombuffer(p, np.int64).reshape(dimensions, -1) for p in parts], axis=1))


def spill_of(digest: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the second stage's plan holds of the first."""
    return {"digest": digest, "limits": body["limits"], "traces_per_range": body["traces_per_range"]}


def read_spilled(
    store: Store,
    spill: dict[str, Any],
    fmt: FileFormat,
    trace_numbers: np.ndarray,
    axis: np.ndarray,
    numbers: np.ndarray,
) -> Records:
    """The records of some traces from the first stage's objects.

    Args:
        store: The volume.
        spill: As `spill_of`.
        fmt: What the file is made of.
        trace_numbers: The grid's trace numbers.
        axis: Values of the slowest dimension.
        numbers: int64, ascending: the traces wanted.
    """
    buckets = _bucket_of_traces(spill["digest"], tuple(spill["limits"]), fmt.n_traces, _Grid(trace_numbers, axis))
    step, size = spill["traces_per_range"], fmt.trace_bytes
    wanted = np.unique(buckets[numbers])
    low, high = int(wanted[0]), int(wanted[-1])

    def places(block: int) -> tuple[int, np.ndarray, np.ndarray]:
        """Where the buckets begin in the object of a range, the traces in them, and which of those are wanted."""
        mine = buckets[block * step : (block + 1) * step]
        order = np.argsort(mine, kind="stable")
        first, last = np.searchsorted(mine[order], [low, high + 1])
        there = order[first:last] + block * step
        at = np.searchsorted(numbers, there)
        return int(first), there, numbers[np.minimum(at, numbers.size - 1)] == there

    def fetch(job: tuple[int, int, np.ndarray, np.ndarray, np.ndarray]) -> None:
        block, first, there, keep, out = job
        raw = store.get_range(_records_key(spill["digest"], block), first * size, there.size * size)
        out[...] = np.frombuffer(raw, np.uint8).reshape(-1, size)[keep]

    data = np.empty((numbers.size, size), np.uint8)
    found = np.empty(numbers.size, np.int64)
    jobs: list[tuple[int, int, np.ndarray, np.ndarray, np.ndarray]] = []
    filled, waiting_bytes = 0, 0
    for block in np.unique(numbers // step).tolist():
        first, there, keep = places(block)
        count = int(keep.sum())
        if jobs and waiting_bytes + there.size * size > FETCH_BYTES:
            on_io(fetch, jobs)
            jobs, waiting_bytes = [], 0
        found[filled : filled + count] = there[keep]
        jobs.append((block, first, there, keep, data[filled : filled + count]))
        filled, waiting_bytes = filled + count, waiting_bytes + there.size * size
    on_io(fetch, jobs)
    order = np.argsort(found, kind="stable")
    return Records(data, found[order], order)


class _Grid:
    """Arrays as one argument that a cache compares by identity."""

    def __init__(self, trace_numbers: np.ndarray, axis: np.ndarray) -> None:
        self.trace_numbers, self.axis = trace_numbers, axis

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Grid) and other.trace_numbers is self.trace_numbers


@lru_cache(maxsize=2)
def _bucket_of_traces(digest: str, limits: tuple[int, ...], n_traces: int, grid: _Grid) -> np.ndarray:
    """The bucket of every trace, int32 in file order."""
    per_row = _buckets(grid.axis, list(limits)).astype(np.int32)
    flat = grid.trace_numbers.reshape(len(grid.axis), -1)
    buckets = np.empty(n_traces, np.int32)
    for row, numbers in enumerate(flat):
        buckets[numbers[numbers >= 0]] = per_row[row]
    return buckets


@lru_cache(maxsize=4)
def _source(url: str, options: Any, identity: str) -> Source:
    return Source(url, options, identity)


def _buckets(values: np.ndarray, limits: list[int]) -> np.ndarray:
    return np.searchsorted(np.asarray(limits, np.int64), values, side="right")


def _records_key(digest: str, block: int) -> str:
    return f"{folder_of(digest)}/spill/records-{block:08d}"


def _index_key(digest: str, block: int) -> str:
    return f"{folder_of(digest)}/spill/index-{block:08d}"
