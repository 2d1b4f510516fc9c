"""Read a file once, in its own order, when its order is not the grid's: store its traces sorted beside the volume.

A shuffled or interleaved file would be read many times over by blocks of the grid, and a far file whose
geometry cannot be predicted would be read once more just for its headers. So its first stage reads ranges in file
order and stores each as one object, its records sorted by their index words, of which some stretches hold what a
block of the grid needs. The index words are kept too: they give the grid. The second stage, an ordinary ingest, reads
these stretches of each object, and few bytes that it does not need.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.blocks import on_io
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.records import REQUEST_BYTES, Records, read_records
from tasks.volume.ingest.survey import Survey, read_words
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.owner import Fit
from tasks.volume.protocol.plan import Plan, folder_of
from tasks.volume.protocol.stage import Job
from tasks.volume.protocol.summary import fitting
from tasks.volume.segy.placement import Placement
from tasks.volume.store.objects import Store

FETCH_BYTES = 64 << 20  # in memory at once before the wanted traces are taken out


def spill_body(survey: Survey) -> dict[str, Any]:
    """Return the plan of the first stage."""
    return {
        "verb": "spill",
        "sources": survey.files.to_json(),
        "traces": survey.files.n_traces,
        "index": survey.placement_json(),
        "traces_per_range": max(1, survey.files.limits.spill_range_bytes // survey.fmt.trace_bytes),
    }


def fit_spill(survey: Survey) -> Fit:
    """Return what fits ranges of the files into memory: the records as read, sorted, and being stored."""
    traces = min(spill_body(survey)["traces_per_range"], survey.files.n_traces)
    return lambda compute: fitting(compute, 3 * traces * survey.fmt.trace_bytes, "a range to spill")


def spill_blocks(body: dict[str, Any]) -> int:
    """Return the number of ranges in which the files are read."""
    return -(-body["traces"] // body["traces_per_range"])


def spill_block(job: Job) -> Record:
    """Store the records of one range of the files sorted, their index words, and the place of each."""
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
    # Auxiliary traces are asked for by themselves; of the others the first word is the slowest.
    auxiliary = np.isin(words[-1], body["index"]["auxiliary"])
    order = np.lexsort((*words[-2::-1], auxiliary))
    places = np.empty(order.size, np.uint32)
    places[order] = np.arange(order.size, dtype=np.uint32)
    store.put(_key(job.digest, "records", job.block), records.data[order].tobytes())
    store.put(_key(job.digest, "index", job.block), words.tobytes())
    store.put(_key(job.digest, "places", job.block), places.tobytes())
    return Record(job.block, [], records.data.size, {"segments": records.segments})


def index_columns(store: Store, digest: str, body: dict[str, Any]) -> list[np.ndarray]:
    """Return the words of every trace in file order, float64, as `read_words` gives them."""
    count = len(body["index"]["words"]) + 1
    parts = on_io(lambda block: store.get(_key(digest, "index", block)), range(spill_blocks(body)))
    return list(np.concatenate([np.frombuffer(p, np.float64).reshape(count, -1) for p in parts], axis=1))


def spill_of(digest: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the first stage that the second stage's plan holds."""
    return {"digest": digest, "blocks": spill_blocks(body), "traces_per_range": body["traces_per_range"]}


def read_spilled(
    store: Store, spill: dict[str, Any], trace_bytes: int, numbers: np.ndarray, gap_bytes: int
) -> Records:
    """Return the records of some traces from the first stage's objects.

    Args:
        store: The volume.
        spill: Result of `spill_of`.
        trace_bytes: Bytes of a record.
        numbers: int64, ascending: the traces wanted.
        gap_bytes: Largest gap between two of them that is read as well, instead of in two requests.
    """
    places = _places(store, spill["digest"], spill["blocks"])
    step, size = spill["traces_per_range"], trace_bytes
    data = np.empty((numbers.size, size), np.uint8)

    def fetch(stretch: tuple[int, np.ndarray, np.ndarray]) -> None:
        block, at, rows = stretch
        first = int(at[0])
        length = (int(at[-1]) + 1 - first) * size
        raw = store.get_range(_key(spill["digest"], "records", block), first * size, length)
        data[rows] = np.frombuffer(raw, np.uint8).reshape(-1, size)[at - first]

    waiting: list[tuple[int, np.ndarray, np.ndarray]] = []
    waiting_bytes = 0
    for block, at, rows in _stretches(places, numbers, step, size, gap_bytes):
        length = int(at[-1] + 1 - at[0]) * size
        if waiting and waiting_bytes + length > FETCH_BYTES:
            on_io(fetch, waiting)
            waiting, waiting_bytes = [], 0
        waiting.append((block, at, rows))
        waiting_bytes += length
    on_io(fetch, waiting)
    return Records(data, numbers, np.arange(numbers.size))


def _stretches(
    places: np.ndarray, numbers: np.ndarray, step: int, size: int, gap_bytes: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield an object, ascending places in it, and the index in `numbers` of each; gaps are read over."""
    edges = np.flatnonzero(np.diff(numbers // step)) + 1
    for rows in np.split(np.arange(numbers.size), edges):
        block = int(numbers[rows[0]]) // step
        at = places[numbers[rows]].astype(np.int64)
        order = np.argsort(at)
        at, rows = at[order], rows[order]
        wide = (np.diff(at) - 1) * size > gap_bytes
        crossing = np.diff(at // max(1, REQUEST_BYTES // size)) > 0  # longer ones are asked for in pieces
        cuts = np.flatnonzero(wide | crossing) + 1
        for part, mine in zip(np.split(at, cuts), np.split(rows, cuts), strict=True):
            yield block, part, mine


@lru_cache(maxsize=2)
def _places(store: Store, digest: str, blocks: int) -> np.ndarray:
    """Return the place of each trace in the object of its range, uint32 in file order."""
    parts = on_io(lambda block: store.get(_key(digest, "places", block)), range(blocks))
    return np.concatenate([np.frombuffer(part, np.uint32) for part in parts])


@lru_cache(maxsize=4)
def _files(plan: Plan, options: StorageOptions) -> Files:
    return Files.from_json(plan.body["sources"], options)


def _key(digest: str, what: str, block: int) -> str:
    return f"{folder_of(digest)}/spill/{what}-{block:08d}"
