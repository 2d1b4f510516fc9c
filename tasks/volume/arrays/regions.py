"""Read regions of stored arrays: chunks are decoded in parallel, and each object is requested once."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import ABSENT, decode_chunk, index_bytes, read_index
from tasks.volume.arrays.spec import AS_FOUND, ArraySpec, positions
from tasks.volume.blocks import Region, on_chunks, on_io
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.store.objects import Store

WHOLE_SHARD_FRACTION = (
    0.4  # of its chunks wanted: from there on one request for all may be cheaper than ranges
)
MOST_UNWANTED_BYTES = 8 << 20  # raw, in a shard that is fetched as a whole though a few ranges would do
FEW_RANGES = 8


def read_region(
    store: Store,
    spec: ArraySpec,
    region: Region | None = None,
    out: np.ndarray | None = None,
    *,
    live: np.ndarray | None = None,
) -> np.ndarray:
    """Return the values of a region, in C order; absent samples hold the fill value.

    Args:
        store: The volume's store.
        spec: The array.
        region: Slices per axis; all of it if None.
        out: Array to fill, of the region's shape; made if None.
        live: Which traces of the region exist, bool of its shape without the last axis: their chunks must be there.

    Raises:
        IntegrityFailure: A chunk does not fit its checksum, or is missing where a trace is live.
    """
    region = region or tuple(slice(0, n) for n in spec.shape)
    if out is None:
        out = np.empty(tuple(r.stop - r.start for r in region), spec.numpy)

    def paste(values: np.ndarray, place: Region) -> None:
        out[place] = values

    read_pieces(store, spec, region, paste, live=live)
    return out


def read_pieces(
    store: Store,
    spec: ArraySpec,
    region: Region,
    use: Callable[[np.ndarray, Region], None],
    *,
    live: np.ndarray | None = None,
) -> None:
    """Call `use` for each chunk with its part of a region and the place of that part, on several threads.

    So each chunk is processed while it is in the processor's cache, and the region is never in memory as a whole.
    Pieces end where chunks end; of another tool's array, where stored objects end.

    Args as `read_region`, which raises the same.
    """
    if spec.codec == AS_FOUND:
        # Imported here: zarr takes half a second, and only arrays of other tools are read with it.
        from tasks.volume.arrays.foreign import read_foreign

        read_foreign(store, spec, region, use)
        return

    def hand_over(chunk_index: tuple[int, ...], data: bytes | memoryview | None) -> None:
        inside, outside = [], []
        for i, c, r in zip(chunk_index, spec.chunks, region, strict=True):
            start, stop = max(i * c, r.start), min((i + 1) * c, r.stop)
            inside.append(slice(start - i * c, stop - i * c))
            outside.append(slice(start - r.start, stop - r.start))
        where, place = f"{store.url}/{spec.path}, chunk {chunk_index}", tuple(outside)
        if data is None:
            if live is not None and live[place[:-1]].any():
                raise missing_chunk(where)
            use(np.broadcast_to(spec.fill_value, [s.stop - s.start for s in place]), place)
        else:
            use(decode_chunk(spec, data, where=where)[tuple(inside)], place)

    if spec.shards:
        shards = {p: _wanted_of(spec, p, region) for p in positions(spec, region)}
        on_chunks(lambda pair: hand_over(*pair), _from_shards(store, spec, shards, on_io))
        return
    wanted = positions(spec, region)
    if store.local:
        on_chunks(lambda p: hand_over(p, _get(store, spec.key(p))), wanted)
        return
    for start in range(0, len(wanted), 32):  # encoded chunks of 32 objects in memory at once
        some = wanted[start : start + 32]
        on_chunks(
            lambda pair: hand_over(*pair),
            zip(some, on_io(lambda p: _get(store, spec.key(p)), some), strict=True),
        )


def missing_chunk(where: str) -> IntegrityFailure:
    """Return the error for a chunk that must be stored and is missing."""
    return IntegrityFailure(
        f"{where}, is missing though traces live there; run seismill verify to find all that are"
    )


def fetch_chunks(
    store: Store, spec: ArraySpec, places: Sequence[tuple[int, ...]]
) -> list[bytes | memoryview | None]:
    """Return the encoded bytes of some chunks, by position in the grid of chunks; None for an absent one."""
    if not spec.shards:
        return [_get(store, spec.key(place)) for place in places]
    per = spec.chunks_per_shard
    shards: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for place in places:
        shards.setdefault(tuple(p // n for p, n in zip(place, per, strict=True)), []).append(place)
    # One after the other: this is called on the pool for store calls.
    fetched = dict(_from_shards(store, spec, shards, lambda work, items: list(map(work, items))))
    return [fetched[place] for place in places]


def _get(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except (FileNotFoundError, IsADirectoryError):
        return None


def _wanted_of(spec: ArraySpec, position: tuple[int, ...], region: Region) -> list[tuple[int, ...]]:
    """Return the chunks of one shard that meet `region`, by position in the grid of chunks."""
    corner = [p * n for p, n in zip(position, spec.chunks_per_shard, strict=True)]
    return list(
        itertools.product(
            *(
                range(max(r.start // c, k), min(-(-r.stop // c), k + n))
                for r, c, k, n in zip(region, spec.chunks, corner, spec.chunks_per_shard, strict=True)
            )
        )
    )


def _from_shards(
    store: Store,
    spec: ArraySpec,
    shards: Mapping[tuple[int, ...], list[tuple[int, ...]]],
    each: Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]],
) -> list[tuple[tuple[int, ...], memoryview | None]]:
    """Fetch some encoded chunks of some shards: a whole shard if most of it is wanted, else its index, then ranges.

    Args:
        store: The volume's store.
        spec: The array.
        shards: Chunks to read from each shard.
        each: Calls a function for each item and returns the results in order, such as `on_io`.
    """
    opened = each(lambda item: _opened_shard(store, spec, *item), shards.items())
    fetched: list[tuple[tuple[int, ...], memoryview | None]] = []
    ranges: list[tuple[str, list[Any]]] = []
    for (position, wanted), (index, data) in zip(shards.items(), opened, strict=True):
        corner = [p * n for p, n in zip(position, spec.chunks_per_shard, strict=True)]
        if index is None:
            fetched += [(w, None) for w in wanted]
        elif data is not None:
            fetched += [(w, _cut(index, data, w, corner)) for w in wanted]
        else:
            spans = [(_span(index, w, corner), w) for w in wanted]
            fetched += [(w, None) for span, w in spans if span[0] == ABSENT]
            present = sorted((span, w) for span, w in spans if span[0] != ABSENT)
            ranges += [(spec.key(position), run) for run in _runs(present)]
    for pieces in each(lambda part: _range_of(store, *part), ranges):
        fetched += pieces
    return fetched


def _opened_shard(
    store: Store, spec: ArraySpec, position: tuple[int, ...], wanted: list[tuple[int, ...]]
) -> tuple[np.ndarray | None, memoryview | None]:
    """Return the index of a shard and, if most of it is wanted, all of it; None twice if there is none."""
    corner = [p * n for p, n in zip(position, spec.chunks_per_shard, strict=True)]
    key, where = spec.key(position), f"{store.url}/{spec.key(position)}"
    inside = [
        len(range(k, min(k + n, -(-extent // c))))
        for k, n, extent, c in zip(corner, spec.chunks_per_shard, spec.shape, spec.chunks, strict=True)
    ]
    try:
        if whole_is_cheaper(spec, inside, [tuple(np.subtract(w, corner)) for w in wanted]):
            data = memoryview(store.get(key))
            return read_index(spec, data, where=where), data
        return read_index(spec, store.get_tail(key, index_bytes(spec)), where=where), None
    except FileNotFoundError:
        return None, None


def whole_is_cheaper(spec: ArraySpec, inside: Sequence[int], wanted: Sequence[tuple[int, ...]]) -> bool:
    """Return whether fetching a whole shard of `inside` chunks is cheaper than fetching the wanted ones."""
    count = math.prod(inside)
    if len(wanted) < WHOLE_SHARD_FRACTION * count:
        return False
    if (count - len(wanted)) * spec.chunk_bytes <= MOST_UNWANTED_BYTES:
        return True
    numbers = np.sort(np.ravel_multi_index(np.transpose(wanted), inside))  # chunks lie in this order
    return int(np.count_nonzero(np.diff(numbers) > 1)) >= FEW_RANGES


def _range_of(store: Store, key: str, run: list[Any]) -> list[tuple[tuple[int, ...], memoryview]]:
    """Return neighbouring chunks of a shard, fetched with one request."""
    start, stop = run[0][0][0], run[-1][0][0] + run[-1][0][1]
    data = memoryview(store.get_range(key, start, stop - start))
    return [(w, data[offset - start : offset - start + size]) for (offset, size), w in run]


def _span(index: np.ndarray, wanted: tuple[int, ...], corner: list[int]) -> tuple[int, int]:
    """Return offset and size of a chunk in its shard; the offset of an absent one is `ABSENT`."""
    offset, size = (int(v) for v in index[tuple(i - k for i, k in zip(wanted, corner, strict=True))])
    return offset, size


def _cut(
    index: np.ndarray, data: memoryview, wanted: tuple[int, ...], corner: list[int]
) -> memoryview | None:
    offset, size = _span(index, wanted, corner)
    return None if offset == ABSENT else data[offset : offset + size]


def _runs(present: list[Any], gap: int = 1 << 16) -> list[list[Any]]:
    """Join neighbouring ranges into one request if the gap between them is small."""
    runs: list[list[Any]] = []
    for item in present:
        (offset, _), _ = item
        if runs and offset - sum(runs[-1][-1][0]) <= gap:
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs
