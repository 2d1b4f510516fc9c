"""Regions of whole objects from memory to the store: chunks encoded in parallel, each stored object put once.

What is encoded and not yet put is bounded: a shard's chunks at a time, or as many chunks as keep the store busy.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import encode_chunk, encoded_bound, join_shard, metadata_of
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region, cpu_count, on_chunks, on_io
from tasks.volume.protocol.ready import Piece, Ready
from tasks.volume.protocol.stage import Job
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.writable import WritableStore

PUT_AT_ONCE = 16  # objects without shards whose bytes wait for a remote store


def put_region(
    job: Job,
    store: WritableStore,
    spec: ArraySpec,
    region: Region,
    values: np.ndarray,
    *,
    empty: Callable[[np.ndarray], bool] = lambda part: False,
    measure: Callable[[np.ndarray], Any] = lambda part: None,
) -> tuple[list[Stored], list[Any]]:
    """Store a region that is in memory.

    Args:
        job: The block's job.
        store: The volume.
        spec: The array.
        region: Whole stored objects, except where the array ends.
        values: Array of the region's shape, any strides.
        empty: Whether a chunk holds nothing live and is left out.
        measure: Called with what of each chunk lies in the array.

    Returns:
        Descriptions of the stored objects, and the results of `measure` for every chunk in C order.
    """
    counts = [-(-(r.stop - r.start) // c) for r, c in zip(region, spec.chunks, strict=True)]
    first = [r.start // c for r, c in zip(region, spec.chunks, strict=True)]
    direct = store.local and not spec.shards

    def encode(at: tuple[int, ...]) -> tuple[bytes | Stored | None, Any]:
        part = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(at, spec.chunks, strict=True))]
        measured = measure(part)
        if empty(part):
            return None, measured
        chunk = part
        if part.shape != spec.chunks:
            chunk = np.full(spec.chunks, spec.fill_value, spec.numpy)
            chunk[tuple(slice(0, n) for n in part.shape)] = part
        data = encode_chunk(spec, chunk)
        place = tuple(f + i for f, i in zip(first, at, strict=True))
        return (job.put(store, spec, place, data) if direct else data), measured

    if direct:
        results = on_chunks(encode, np.ndindex(*counts))
        return [kept for kept, _ in results if isinstance(kept, Stored)], [entry for _, entry in results]
    stored: list[Stored] = []
    measured: dict[tuple[int, ...], Any] = {}
    for group in _groups(counts, spec):
        places = [at for members in group.values() for at in members]
        done = dict(zip(places, on_chunks(encode, places), strict=True))
        measured |= {at: entry for at, (_, entry) in done.items()}
        objects = []
        for position, members in group.items():
            encoded = {_inside(at, spec): data for at in members if isinstance(data := done[at][0], bytes)}
            if encoded:
                corner = tuple(
                    f // n + p for f, n, p in zip(first, spec.chunks_per_shard, position, strict=True)
                )
                data = join_shard(spec, encoded) if spec.shards else next(iter(encoded.values()))
                objects.append((corner, data))
        stored += on_io(lambda pair: job.put(store, spec, *pair), objects)
    return stored, [measured[at] for at in np.ndindex(*counts)]


def small_array(spec: ArraySpec, values: np.ndarray, attributes: Mapping[str, Any]) -> Ready:
    """Return an array that is in memory as a whole, to be stored chunk by chunk."""
    return Ready(spec.path, metadata_of(spec, attributes), pieces=list(_pieces(spec, values)))


def _pieces(spec: ArraySpec, values: np.ndarray) -> Iterator[Piece]:
    def encoded(position: tuple[int, ...]) -> bytes:
        part = values[tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, spec.chunks, strict=True))]
        chunk = np.full(spec.chunks, spec.fill_value, spec.numpy)
        chunk[tuple(slice(0, n) for n in part.shape)] = part
        return encode_chunk(spec, chunk)

    for position in np.ndindex(*(-(-n // c) for n, c in zip(spec.shape, spec.chunks, strict=True))):
        yield Piece(spec, position, 2 * spec.chunk_bytes, partial(encoded, position))


def writing_bytes(spec: ArraySpec, *, local: bool) -> int:
    """Return the peak bytes of `put_region` beside the values: chunks being encoded, and those not yet stored."""
    in_hand = cpu_count() * (spec.chunk_bytes + 2 * encoded_bound(spec))
    if local and not spec.shards:
        return in_hand
    chunks = math.prod(spec.chunks_per_shard) * _objects_at_once(spec)
    return in_hand + 2 * chunks * encoded_bound(spec)  # a joined shard lies beside its parts for a moment


def _objects_at_once(spec: ArraySpec) -> int:
    return max(1, PUT_AT_ONCE // math.prod(spec.chunks_per_shard))


def _groups(counts: list[int], spec: ArraySpec) -> list[dict[tuple[int, ...], list[tuple[int, ...]]]]:
    """Return the chunks of a region by the stored object they belong to, some objects at a time."""
    objects: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for at in np.ndindex(*counts):
        position = tuple(i // n for i, n in zip(at, spec.chunks_per_shard, strict=True))
        objects.setdefault(position, []).append(at)
    items = iter(objects.items())
    return list(iter(lambda: dict(itertools.islice(items, _objects_at_once(spec))), {}))


def _inside(at: tuple[int, ...], spec: ArraySpec) -> tuple[int, ...]:
    return tuple(i % n for i, n in zip(at, spec.chunks_per_shard, strict=True))
