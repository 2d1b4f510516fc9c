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

from tasks.parameters import StorageOptions
from tasks.volume.blocks import on_io
from tasks.volume.files import Files
from tasks.volume.ledger import Record
from tasks.volume.plan import Plan, folder_of
from tasks.volume.records import Records, read_records
from tasks.volume.run import Job
from tasks.volume.segy.placement import Placement
from tasks.volume.segy.survey import Survey, read_words
from tasks.volume.store import Store

RANGE_BYTES = 64 << 20
BUCKETS = 256
FETCH_BYTES = RANGE_BYTES  # of buckets in memory at once before their wanted traces are taken out


def spill_body(survey: Survey) -> dict[str, Any]:
    """The plan of the first stage."""
    quantiles = np.quantile(survey.sample, np.linspace(0, 1, BUCKETS + 1)[1:-1], method="nearest")
    return {
        "verb": "spill",
        "sources": survey.files.to_json(),
        "traces": survey.files.n_traces,
        "index": survey.placement_json(),
        "limits": np.unique(quantiles).tolist(),
        "traces_per_range": max(1, RANGE_BYTES // survey.fmt.trace_bytes),
    }


def spill_blocks(body: dict[str, Any]) -> int:
    """How many ranges the files are read in."""
    return -(-body["traces"] // body["traces_per_range"])


def spill_block(job: Job) -> Record:
    """Store the records of one range of the files by bucket, their index words, and the bucket of each."""
    store, plan = job.open()
    body, files = plan.body, _files(plan, job.options)
    start = job.block * body["traces_per_range"]
    numbers = np.arange(start, min(start + body["traces_per_range"], files.n_traces))
    records = read_records(files, numbers)
    headers = records.data[:, : files.fmt.trace_header_bytes]
    # float64 holds every type of word exactly.
    words = np.stack(
        read_words(Placement.from_json(body["index"]), headers, files.fmt.byte_order), dtype=np.float64
    )
    buckets = np.searchsorted(body["limits"], words[0], side="right").astype(np.uint16)
    buckets[np.isin(words[-1], body["index"]["auxiliary"])] = BUCKETS  # they are asked for by themselves
    order = np.argsort(buckets, kind="stable")
    store.put(_key(job.digest, "records", job.block), records.data[order].tobytes())
    store.put(_key(job.digest, "index", job.block), words.tobytes())
    store.put(_key(job.digest, "buckets", job.block), buckets.tobytes())
    return Record(job.block, [], records.data.size, {"segments": records.segments})


def index_columns(store: Store, digest: str, body: dict[str, Any]) -> list[np.ndarray]:
    """The words of every trace in file order, float64, as `read_words` gives them."""
    count = len(body["index"]["words"]) + 1
    parts = on_io(lambda block: store.get(_key(digest, "index", block)), range(spill_blocks(body)))
    return list(np.concatenate([np.frombuffer(p, np.float64).reshape(count, -1) for p in parts], axis=1))


def spill_of(digest: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the second stage's plan holds of the first."""
    return {"digest": digest, "blocks": spill_blocks(body), "traces_per_range": body["traces_per_range"]}


def read_spilled(store: Store, spill: dict[str, Any], trace_bytes: int, numbers: np.ndarray) -> Records:
    """The records of some traces from the first stage's objects.

    Args:
        store: The volume.
        spill: As `spill_of`.
        trace_bytes: Of a record.
        numbers: int64, ascending: the traces wanted.
    """
    buckets = _bucket_of_traces(store, spill["digest"], spill["blocks"])
    step, size = spill["traces_per_range"], trace_bytes
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
        raw = store.get_range(_key(spill["digest"], "records", block), first * size, there.size * size)
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


@lru_cache(maxsize=2)
def _bucket_of_traces(store: Store, digest: str, blocks: int) -> np.ndarray:
    """The bucket of every trace, uint16 in file order."""
    parts = on_io(lambda block: store.get(_key(digest, "buckets", block)), range(blocks))
    return np.concatenate([np.frombuffer(part, np.uint16) for part in parts])


@lru_cache(maxsize=4)
def _files(plan: Plan, options: StorageOptions) -> Files:
    return Files.from_json(plan.body["sources"], options)


def _key(digest: str, what: str, block: int) -> str:
    return f"{folder_of(digest)}/spill/{what}-{block:08d}"
