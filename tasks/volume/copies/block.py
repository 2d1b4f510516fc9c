"""Read one super-block of the master and store every object of every copy that starts in it."""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import is_zfp, join_shard, tolerance_of
from tasks.volume.arrays.groups import store_at
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec, round_up
from tasks.volume.blocks import on_chunks, on_io
from tasks.volume.derived.edges import continue_cells
from tasks.volume.derived.errors import encode_measured
from tasks.volume.derived.readings import block_of
from tasks.volume.derived.shared_blocks import SharedBlocks, can_share
from tasks.volume.derived.superblocks import chunks_owned, hull
from tasks.volume.kernels.error_sums import MAX_ABS_ERROR, finite_or_zero
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.plan import plan_at
from tasks.volume.protocol.stage import Job
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.writable import WritableStore

CACHE_LINE_BYTES = 64


@lru_cache(maxsize=4)
def _mask(volume: str, options: Any, digest: str, accept_versions: bool) -> np.ndarray:
    store, plan = plan_at(volume, options, digest, accept_versions)
    mask = plan.body["mask"]
    return read_region(store, ArraySpec.from_json(mask)) if mask else np.ones((), bool)


def rechunk_block(job: Job) -> Record:
    """Read one super-block of the master and store every object of every copy that starts in it."""
    store, plan = job.open_ahead()
    master = ArraySpec.from_json(plan.body["master"]["spec"])
    copies = [ArraySpec.from_json(plain) for plain in plan.body["copies"]]
    copies, own = block_of(plan.body, copies, master.shape, job.block)
    region = hull(copies, own)
    origin, shape = store_at(store, plan.body["origin"]), tuple(r.stop - r.start for r in region)
    sums = {copy.path: np.zeros(4) for copy in copies}
    if 0 in shape:
        return Record(job.block, [], 0, {path: values.tolist() for path, values in sums.items()})
    mask = _mask(job.volume, job.options, job.digest, job.accept_versions)
    live = mask[region[:-1]] if mask.ndim else np.ones(shape[:-1], bool)
    if not live.any():
        return Record(job.block, [], 0, {path: values.tolist() for path, values in sums.items()})
    plain_copies, zfp_copies = ([c for c in copies if is_zfp(c) == lossy] for lossy in (False, True))

    def buffer(some: list[ArraySpec]) -> tuple[np.ndarray, np.ndarray]:
        # Room for whole chunks at the volume's end, so that every chunk is a view of this buffer.
        room = [
            max(round_up(min(r.stop, n), c.chunks[axis]) - r.start for c in copies)
            for axis, (r, n) in enumerate(zip(region, master.shape, strict=True))
        ]
        values = np.empty(room, some[0].numpy)
        for axis, n in enumerate(shape):  # all else is read
            values[(slice(None),) * axis + (slice(n, None),)] = 0 if is_zfp(some[0]) else some[0].fill_value
        return values, values[tuple(slice(0, n) for n in shape)]

    values: dict[bool, np.ndarray] = {}  # by whether they are for ZFP
    original, some_nonfinite = np.empty(0), True
    if plain_copies:
        values[False], original = buffer(plain_copies)
        read_region(origin, master, region, out=original, live=live)

    def fill() -> tuple[np.ndarray, bool]:
        """Fill the buffer of copies in ZFP; return the values it was made of, and whether NaN or Inf is among them."""
        values[True], valid = buffer(zfp_copies)
        before = original if plain_copies else valid
        if plain_copies:
            valid[...] = original
        else:
            read_region(origin, master, region, out=valid, live=live)
        # Cells of ZFP ring the same whether holes in them are 0 or go on as their neighbours, but show what they hold.
        bad = finite_or_zero(valid, valid, live) > 0
        continue_cells(values[True], region)
        if bad and before is valid:
            # Live samples that are NaN or Inf are rare: only then is the original needed beside the mended one.
            before = read_region(origin, master, region).astype(zfp_copies[0].numpy, copy=False)
        return before, bad

    shared: SharedBlocks | None = None
    if zfp_copies:
        before, some_nonfinite = fill()
        if can_share(zfp_copies, values[True], region):
            tolerance = tolerance_of(zfp_copies[0]) or 0.0
            shared = SharedBlocks.encoded(values[True], tolerance, before, live, itself=not some_nonfinite)
            if shared is None:  # bits that take more room than samples are not kept
                del before, values[True]
                before, some_nonfinite = fill()
        original = before

    def one(task: tuple[ArraySpec, tuple[int, ...]]) -> tuple[bytes | None, list[float]]:
        copy, position = task
        start = [p * c - r.start for p, c, r in zip(position, copy.chunks, region, strict=True)]
        whole = tuple(slice(s, s + c) for s, c in zip(start, copy.chunks, strict=True))
        part = tuple(slice(s, min(s + c, n)) for s, c, n in zip(start, copy.chunks, shape, strict=True))
        errors = np.zeros(4)
        if not live[part[:-1]].any():
            return None, errors.tolist()
        lives = live[part[:-1]]
        if shared and is_zfp(copy):
            data = shared.chunk(start, copy.chunks, original[part], lives, errors, nonfinite=some_nonfinite)
            return data, errors.tolist()
        chunk = values[is_zfp(copy)][whole]
        if chunk.strides[-1] * chunk.shape[-1] < CACHE_LINE_BYTES:
            chunk = np.ascontiguousarray(chunk)  # lines that hold little of it are fetched once
        inside = chunk[tuple(slice(0, p.stop - p.start) for p in part)]
        samples = original[part] if is_zfp(copy) and some_nonfinite else inside
        if samples.dtype != copy.numpy:
            samples = samples.astype(copy.numpy)
        data = encode_measured(copy, chunk, samples, lives, errors, nonfinite=some_nonfinite)
        # A list, because small arrays that are kept hold on to the memory of the large ones before them.
        return data, errors.tolist()

    stored: list[Stored] = []
    for copy in copies:
        objects = list(itertools.product(*chunks_owned(copy, own)))  # others lie in the region, too
        stored += _store_copy(job, store, copy, objects, one, sums[copy.path])
    raw_bytes = math.prod(shape) * master.numpy.itemsize
    return Record(job.block, stored, raw_bytes, {path: values.tolist() for path, values in sums.items()})


def _store_copy(
    job: Job,
    store: WritableStore,
    copy: ArraySpec,
    objects: list[tuple[int, ...]],
    entry: Any,
    sums: np.ndarray,
) -> list[Stored]:
    """Encode, measure and store the objects of one copy; the sums are added in the order of its chunks."""
    per = copy.chunks_per_shard
    inner = list(itertools.product(*map(range, per)))
    limit = [-(-n // c) for n, c in zip(copy.shape, copy.chunks, strict=True)]
    stored: list[Stored] = []

    def direct(position: tuple[int, ...]) -> tuple[Stored | None, list[float]]:
        data, errors = entry((copy, position))
        return (job.put(store, copy, position, data) if data else None), errors

    if not copy.shards and store.local:
        for kept, errors in on_chunks(direct, objects):
            add_errors(sums, errors)
            stored += [kept] if kept else []
        return stored
    for position in objects:
        chunks = [
            place
            for place in (tuple(p * n + i for p, n, i in zip(position, per, at, strict=True)) for at in inner)
            if all(p < m for p, m in zip(place, limit, strict=True))
        ]
        done = on_chunks(entry, [(copy, place) for place in chunks])
        encoded = {}
        for place, (data, errors) in zip(chunks, done, strict=True):
            add_errors(sums, errors)
            if data is not None:
                encoded[tuple(p % n for p, n in zip(place, per, strict=True))] = data
        if encoded:
            whole = join_shard(copy, encoded) if copy.shards else next(iter(encoded.values()))
            stored += on_io(lambda pair: job.put(store, copy, *pair), [(position, whole)])
    return stored


def add_errors(sums: np.ndarray, errors: Sequence[float]) -> None:
    """Merge error sums in place; the greatest error is not added."""
    greatest = max(sums[MAX_ABS_ERROR], errors[MAX_ABS_ERROR])
    sums += errors
    sums[MAX_ABS_ERROR] = greatest
