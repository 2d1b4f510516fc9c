"""Fill, encode and store the chunk columns of a block of one array."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import encode_chunk, join_shard
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import on_chunks, on_io
from tasks.volume.ingest.intake import Intake
from tasks.volume.protocol.stage import Job
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.writable import WritableStore


@dataclass(frozen=True, eq=False)
class Column:
    """The result of one chunk column: `position` in the array's grid of chunks, without the sample axis.

    `seen` is what filling it gave, None where there is no trace.
    """

    position: tuple[int, ...]
    encoded: list[bytes]
    stored: list[Stored]
    seen: Any


def columns(
    job: Job,
    store: WritableStore,
    intake: Intake,
    spec: ArraySpec,
    block: int,
    rows: np.ndarray,
    fill: Callable[[np.ndarray, np.ndarray], Any],
) -> list[Column]:
    """Fill, encode and, where chunks are objects, store all chunk columns of a block of one array.

    Args:
        job: The job.
        store: The volume.
        intake: Data that all blocks share.
        spec: The array.
        block: Number of the block of its cells.
        rows: The record of each cell, -1 where there is none.
        fill: Fills the chunks of a column from the records of its cells.
    """
    chunks, depth = spec.chunks[:-1], -(-spec.shape[-1] // spec.chunks[-1])
    corner = tuple(r.start // c for r, c in zip(intake.region(block), chunks, strict=True))

    def column(position: tuple[int, ...]) -> Column:
        mine = np.full(chunks, -1, np.int64)
        part = rows[tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, chunks, strict=True))]
        mine[tuple(slice(0, n) for n in part.shape)] = part
        mine = mine.ravel()
        place = tuple(k + p for k, p in zip(corner, position, strict=True))
        if (mine < 0).all():
            return Column(place, [], [], None)
        out = np.empty((depth, mine.size, spec.chunks[-1]), spec.numpy)
        seen = fill(mine, out)
        encoded = [encode_chunk(spec, out[k].reshape(spec.chunks)) for k in range(depth)]
        if spec.shards:
            return Column(place, encoded, [], seen)
        placed = [((*place, k), data) for k, data in enumerate(encoded)]
        if store.local:
            return Column(place, [], [job.put(store, spec, *pair) for pair in placed], seen)
        return Column(place, [], on_io(lambda pair: job.put(store, spec, *pair), placed), seen)

    return on_chunks(column, np.ndindex(*(-(-n // c) for n, c in zip(rows.shape, chunks, strict=True))))


def objects(job: Job, store: WritableStore, spec: ArraySpec, done: list[Column]) -> list[Stored]:
    """Write the shards of a block; return the stored objects of one array."""
    if not spec.shards:
        return [stored for column in done for stored in column.stored]
    per = spec.chunks_per_shard
    shards: dict[tuple[int, ...], dict[tuple[int, ...], bytes]] = {}
    for column in done:
        for k, data in enumerate(column.encoded):
            place = (*column.position, k)
            shard = tuple(p // n for p, n in zip(place, per, strict=True))
            shards.setdefault(shard, {})[tuple(p % n for p, n in zip(place, per, strict=True))] = data
    return on_io(
        lambda item: job.put(store, spec, item[0], join_shard(spec, item[1])), sorted(shards.items())
    )
