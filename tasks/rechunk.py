"""Copies of the master in other chunks, all of them from one read of it, mostly lossy within a proven bound.

Every chunk is decoded again right after it was encoded and compared with the master, so what the copy's
attributes say of its error was measured on the very bytes that were stored. NaN and Inf would spoil
their whole neighbourhood in ZFP and become 0 there; they survive in the master only.
"""

import itertools
import json
import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.parameters import ArrayPath, Copies, OptionalUrl, Run, Url
from tasks.volume.arrays.codecs import (
    encode_chunk,
    encoded_bound,
    join_shard,
    metadata_of,
    tolerance_of,
)
from tasks.volume.arrays.foreign import reading_bytes
from tasks.volume.arrays.reader import Volume, read_region
from tasks.volume.arrays.spec import (
    AS_FOUND,
    COPY_SHARD_BYTES,
    DEFAULT_CODEC,
    MOST_ZFP_DIMENSIONS,
    ArraySpec,
    copy_chunks,
    round_up,
)
from tasks.volume.blocks import Compute, block_count, cpu_count, nth_region, on_chunks, on_io
from tasks.volume.derived.errors import add_errors_of_chunk
from tasks.volume.derived.superblocks import SuperBlocks, chunks_owned, hull, measured, super_blocks
from tasks.volume.images.spacing import ROCKVERSE
from tasks.volume.integrity.whole import refuse_damaged
from tasks.volume.kernels.error_sums import (
    COUNT,
    MAX_ABS_ERROR,
    NONFINITE,
    SUM_OF_SQUARES,
    finite_or_zero,
)
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure
from tasks.volume.protocol.deletion import refuse_taken, without
from tasks.volume.protocol.foreign_target import begin_annex, open_master, origin_of, refuse_changed
from tasks.volume.protocol.ledger import Record, Stored
from tasks.volume.protocol.owner import Fit, owned
from tasks.volume.protocol.plan import digest_of, plan_at, stored_plans
from tasks.volume.protocol.root import members, root_under_lock
from tasks.volume.protocol.stage import (
    Job,
    Stage,
    publish_root,
    put_array,
    run_blocks,
)
from tasks.volume.protocol.summary import array_rows, ended, fitting, using
from tasks.volume.store.objects import Store, traffic

log = logging.getLogger(__name__)

CACHE_LINE_BYTES = 64
SHARED = ("coordinates", *ROCKVERSE)  # attributes that a copy has from its master
# What a lossy copy holds, by what the master does: a float that has each of its values.
ZFP_DTYPES = {
    **dict.fromkeys(("uint8", "int8", "uint16", "int16", "float16", "float32"), "float32"),
    **dict.fromkeys(("uint32", "int32", "float64"), "float64"),
}

QUALITY = {"very_low": 6.0, "low": 3.0, "medium": 1.0, "high": 0.1, "very_high": 0.01, "ultra": 0.001}
# The axis that a preset's slices lie across, by the volume's number of dimensions. The copy is named after that axis.
PRESET_AXES = {
    2: {"fast_inline": 0, "fast_time": 1},
    3: {"fast_inline": 0, "fast_crossline": 1, "fast_time": 2},
    4: {"fast_inline": 0, "fast_crossline": 1, "fast_offset": 2, "fast_time": 3},
}


def rechunk(
    volume: Url,
    copies: Copies = Copies(),
    overwrite: bool = False,
    run: Run = Run(),
    array: ArrayPath = "",
    target: OptionalUrl = "",
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Add copies of the master, or of any Zarr array, in other chunks, so that slices in each direction read fast.

    Args:
        volume: The published volume, or any Zarr group or array.
        copies: Which copies, and how far they may be off.
        overwrite: Replace copies that are there in another form.
        run: How to run.
        array: Path of an array that another tool wrote, such as field/0; its copies lie beside it.
        target: Zarr v3 group for the copies of such an array; needed if it is not named 0 or is of Zarr v2.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage, with the errors measured.

    Raises:
        InputRefused: A parameter cannot be used, or there is no volume.
        DestinationRefused: A copy of that name is there in another form.
        IntegrityFailure: A stored chunk is further off than the tolerance.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    found = open_master(volume, array, target, run)
    store = found.store
    specs = copy_specs(found, copies, local=store.local)
    if not specs:
        dry: dict[str, Any] = {"dry_run": True} if run.dry_run else {}
        return ended(store, "copies", [], began, before, notes=[_no_copies(found)], **dry)
    if run.dry_run:
        blocks = super_blocks(specs[0].shape, specs, 1 << 40, chunks=found.spec(found.master).chunks)
        rows = [
            {
                "path": s.path,
                "shape": s.shape,
                "chunks": s.chunks,
                "shards": s.shards,
                "raw_bytes": s.raw_bytes,
            }
            for s in specs
        ]
        return {
            "dry_run": True,
            "volume": store.url,
            "stage": "copies",
            "arrays": rows,
            "block": blocks.block,
            "notes": [],
        }
    names = [spec.path for spec in specs]
    refuse_taken(store, found.root, names)
    fit: Fit = lambda compute: _planned(found, specs, compute)[2]  # noqa: E731
    with using(compute, run) as compute, owned(store, run, compute, fit) as owner:
        root = root_under_lock(store, found.root)
        requests = {spec.path: digest_of(request_of(root, found.master, spec)) for spec in specs}
        found = Volume(store, root)
        todo, blocks, fitted = _planned(found, specs, compute)
        replaced = [s.path for s in todo if s.path in members(root)]
        if replaced and not overwrite:
            raise DestinationRefused(
                f"{store.url} has {', '.join(replaced)} with other chunks or tolerance; replace with --overwrite, or "
                "give the copy another name"
            )
        if not todo:
            return ended(store, "copies", array_rows(root, names), began, before, notes=["were done already"])
        refuse_taken(store, root, names)
        begin_annex(found)
        after = root
        if replaced:
            after = without(root, replaced)
            for path in replaced:
                del after["attributes"]["seismill"]["stages"][path]
        stage = owner.begin(
            "copies",
            _body(found, todo, blocks),
            lambda compute: fitted,
            present=root,
            after=after,
            read=lambda: refuse_damaged(found, compute),
            leave_chunks=[
                s.path for s in todo if s.path in replaced and _decode_alike(found.spec(s.path), s)
            ],
            created_on=found.state["created_on"],
        )
        root = _add(stage, Volume(store, after), todo, requests)
    notes = []
    if blocks.read_factor > 1.01:
        notes.append(f"the master was read {blocks.read_factor:.2f} times, for want of memory")
    return ended(store, "copies", array_rows(root, names), began, before, stage=stage, notes=notes)


def _planned(
    volume: Volume, specs: Sequence[ArraySpec], compute: Compute
) -> tuple[list[ArraySpec], SuperBlocks, Compute]:
    """Return the copies that are not there as they are asked for, the blocks that make them, and how many at a time.

    Raises:
        InputRefused: Memory does not hold one block.
    """
    root, stages, master = volume.root, volume.state["stages"], volume.spec(volume.master)
    todo = [
        spec
        for spec in specs
        if stages.get(spec.path, {}).get("request") != digest_of(request_of(root, volume.master, spec))
    ]
    if not todo:
        return todo, super_blocks(master.shape, specs, 1 << 62, chunks=master.chunks), compute
    blocks = _fitting_blocks(master, todo, compute.memory_bytes)
    blocks = _begun(volume, todo, blocks, compute.memory_bytes)
    fitted = fitting(compute, _block_memory(master, todo, blocks), f"a block of {blocks.block} samples")
    # On a local disk a block's chunks keep all processors busy: a second block would only take memory.
    alone = volume.store.local and compute.in_process
    return todo, blocks, replace(fitted, workers=1) if alone else fitted


def request_of(root: dict[str, Any], master: str, spec: ArraySpec) -> dict[str, Any]:
    """What a copy is made from and how: equal for a copy that need not be made again."""
    made = root["attributes"]["seismill"]["stages"][master]
    # Shards are chosen here, for all copies that are made together: in other company it is the same copy.
    return {"verb": "rechunk", "master": made["plan"], "copy": spec.at(spec.path, shards=()).to_json()}


def _decode_alike(one: ArraySpec, other: ArraySpec) -> bool:
    """Whether a reader of one reads chunks of the other as what they are."""
    kinds = [spec.codec.partition(":")[0] for spec in (one, other)]
    return kinds[0] == kinds[1] and one.at("", codec="", fill="0") == other.at("", codec="", fill="0")


def copy_specs(volume: Volume, copies: Copies, *, local: bool) -> list[ArraySpec]:
    """The arrays that the parameters ask for; none where only presets are asked for and there are none for this rank.

    Raises:
        InputRefused: They contradict each other, or do not fit the master.
    """
    master = volume.spec(volume.master)
    rank = len(master.shape)
    wanted: list[tuple[str, tuple[int, ...]]] = []
    axes = PRESET_AXES.get(rank, {})
    for axis in dict.fromkeys(axes[preset] for preset in copies.presets if preset in axes):
        wanted.append((f"fast_{master.dims[axis]}", copy_chunks(rank, axis)))
    for more in copies.more:
        if len(more.chunks) != rank or min(more.chunks) < 1:
            raise InputRefused(
                f"copy {more.name} has chunks {more.chunks}, but the volume has {rank} dimensions"
            )
        wanted.append((more.name, tuple(more.chunks)))
    names = [name for name, _ in wanted]
    taken = set(volume.members) - {
        path for path in volume.members if volume.array_attributes(path).get("copy_of") == volume.master_name
    }
    for name in names:
        if names.count(name) > 1 or name in taken or name in ("pyramid", *master.dims):
            raise InputRefused(f"a copy cannot be named {name}: that name is taken; choose another")
    if not wanted and not copies.presets:
        raise InputRefused("no copies were asked for; name a preset or a copy with its chunks")
    if not wanted:
        return []
    if copies.tolerance and copies.quality != "low":
        raise InputRefused(
            f"both a tolerance ({copies.tolerance:g}) and a quality ({copies.quality}) were given; give one"
        )
    codec, fill, dtype = _codec(volume, copies)
    specs = []
    for name, chunks in wanted:
        # ZFP works in cells of 4 samples: a chunk wider than the axis would be padding.
        clipped = tuple(min(c, round_up(n, 4)) for c, n in zip(chunks, master.shape, strict=True))
        specs.append(ArraySpec(name, master.shape, clipped, dtype, master.dims, codec, (), fill))
    if local:
        return specs
    there = {name: volume.spec(name) for name in names if volume.has(name)}
    # A copy that is there keeps its shards, so that readers who opened it find their way while it is replaced.
    return [
        spec.at(spec.path, shards=old.shards) if old and old.chunks == spec.chunks else spec
        for spec, old in ((spec, there.get(spec.path)) for spec in _sharded(specs, master.chunks))
    ]


def _no_copies(volume: Volume) -> str:
    """Why presets give no copies."""
    dims = volume.spec(volume.master).dims
    if len(dims) > MOST_ZFP_DIMENSIONS:
        why = f"{len(dims)} dimensions, and ZFP takes at most {MOST_ZFP_DIMENSIONS}"
        return (
            f"presets make no copies of a volume of {why}; name copies with their chunks and quality lossless"
        )
    return f"none of the presets fits a volume of {', '.join(dims)}; name copies with their chunks"


def _codec(volume: Volume, copies: Copies) -> tuple[str, str, str]:
    """Codec, fill and dtype of the copies.

    ZFP bounds its error in floats alone. Whole numbers of up to 32 bits are therefore stored as floats that
    hold every one of them exactly, so that the bound is on the numbers themselves.
    """
    master, attributes = volume.spec(volume.master), volume.array_attributes(volume.master)
    if copies.quality == "lossless" and not copies.tolerance:
        return DEFAULT_CODEC, master.fill, master.dtype
    if volume.state.get("looks", {}).get("is_labels"):
        raise InputRefused(
            "the voxels are labels, and a label that is nearly right is another one; use quality lossless"
        )
    if master.dtype not in ZFP_DTYPES:
        raise InputRefused(
            f"the master holds {master.dtype}, whose error ZFP cannot bound; use quality lossless"
        )
    if len(master.shape) > MOST_ZFP_DIMENSIONS:
        raise InputRefused(
            f"the volume has {len(master.shape)} dimensions and ZFP takes at most {MOST_ZFP_DIMENSIONS}; use quality "
            "lossless"
        )
    if not copies.tolerance and "std" not in attributes:
        raise InputRefused(
            "another tool wrote the array, so nothing is known of how its values vary; give a tolerance in their unit, "
            "or quality lossless"
        )
    tolerance = copies.tolerance or QUALITY[copies.quality] * attributes["std"]
    if not tolerance:
        # A master that is constant: any positive tolerance stores it in a few bytes.
        tolerance = max(abs(attributes["max"]) * 1e-6, 1e-30)
    return f"zfp:{tolerance!r}", "0", ZFP_DTYPES[master.dtype]


def _sharded(specs: Sequence[ArraySpec], chunks: Sequence[int]) -> list[ArraySpec]:
    """The same copies in shards that share out the super-block of their chunks and the master's."""
    block = super_blocks(specs[0].shape, specs, 1 << 62, chunks=chunks).block
    result = []
    for spec in specs:
        shard = list(spec.chunks)
        for axis in reversed(range(len(block))):
            room = COPY_SHARD_BYTES // (math.prod(shard) * spec.numpy.itemsize)
            per_block = round_up(block[axis], spec.chunks[axis]) // spec.chunks[axis]
            fitting_counts = [n for n in range(1, per_block + 1) if per_block % n == 0 and n <= room]
            shard[axis] = spec.chunks[axis] * max(fitting_counts, default=1)
        result.append(spec.at(spec.path, shards=tuple(shard) if tuple(shard) != spec.chunks else ()))
    return result


def _fitting_blocks(master: ArraySpec, specs: list[ArraySpec], memory_bytes: int) -> SuperBlocks:
    """The blocks that memory holds.

    Raises:
        InputRefused: There are none; the sentence says how much memory would do.
    """
    shards, works = _beside_samples(master, specs)

    def blocks(memory: int) -> SuperBlocks:
        # Samples once, and once more where some are not finite or encoded chunks are read.
        budget = (memory - works - shards) // 2
        return super_blocks(master.shape, specs, max(1, budget), chunks=master.chunks)

    try:
        return blocks(memory_bytes)
    except InputRefused as refusal:
        enough = max(memory_bytes, works + shards)
        while True:
            enough += enough // 16 + 1
            with suppress(InputRefused):
                blocks(enough)
                break
        raise InputRefused(f"{refusal}; {enough / 1e6:,.0f} MB of memory would do") from None


def _block_memory(master: ArraySpec, specs: list[ArraySpec], blocks: SuperBlocks) -> int:
    """The most bytes that one block takes."""
    itemsize = max(master.numpy.itemsize, specs[0].numpy.itemsize)
    return 2 * math.prod(blocks.hull) * itemsize + sum(_beside_samples(master, specs))


def _beside_samples(master: ArraySpec, specs: list[ArraySpec]) -> tuple[int, int]:
    """Bytes that shards take before they are stored, and chunks in the works."""
    # One shard at a time: its chunks, and all of them joined.
    shards = max((2 * encoded_bound(s) * math.prod(s.chunks_per_shard) for s in specs if s.shards), default=0)
    chunks = 2 * max(spec.chunk_bytes + encoded_bound(spec) for spec in specs) + master.chunk_bytes
    if master.codec == AS_FOUND:
        return shards, cpu_count() * chunks + reading_bytes(master, local=False)
    return shards, cpu_count() * chunks


def _begun(volume: Volume, specs: list[ArraySpec], blocks: SuperBlocks, memory_bytes: int) -> SuperBlocks:
    """The blocks of an interrupted run for the same copies, if memory holds them; else those given.

    What is free differs from run to run, and with it the blocks; what was done in others would be lost.
    """
    store, master = volume.store, volume.spec(volume.master)
    wanted = json.loads(json.dumps(_body(volume, specs, blocks)))
    for body in (plan.body for plan in stored_plans(store)):
        if body["verb"] == "rechunk" and body | {"block": None} == wanted | {"block": None}:
            begun = measured(master.shape, specs, body["block"], chunks=master.chunks)
            if _block_memory(master, specs, begun) <= memory_bytes:
                return begun
    return blocks


def _body(volume: Volume, specs: list[ArraySpec], blocks: SuperBlocks) -> dict[str, Any]:
    """The plan."""
    return {
        "verb": "rechunk",
        "origin": volume.origin,
        "master": {
            "spec": volume.spec(volume.master).to_json(),
            "plan": volume.state["stages"][volume.master]["plan"],
        },
        "mask": volume.spec("trace_mask").to_json() if volume.has("trace_mask") else None,
        "copies": [spec.to_json() for spec in specs],
        "block": blocks.block,
    }


def _add(stage: Stage, volume: Volume, specs: list[ArraySpec], requests: dict[str, str]) -> dict[str, Any]:
    """Make the copies and commit them; return the new root."""
    master, body = volume.spec(volume.master), stage.plan.body
    records = run_blocks(stage, rechunk_block, range(block_count(master.shape, tuple(body["block"]))))
    refuse_changed(volume)
    attributes = volume.array_attributes(volume.master)
    live_bytes = attributes.get("raw_bytes", master.raw_bytes)
    measured = {
        spec.path: _errors(spec, volume.master_name, records, attributes, live_bytes) for spec in specs
    }
    for spec in specs:
        bound = tolerance_of(spec) or 0.0
        if not measured[spec.path]["max_abs_error"] <= bound:
            raise IntegrityFailure(
                f"copy {spec.path} is off by {measured[spec.path]['max_abs_error']:g}, more than its tolerance of "
                f"{bound:g}; it was not made visible, give a larger tolerance or quality lossless"
            )
    shown = []
    for spec in specs:
        extra = {
            k: v for k, v in attributes.items() if k in SHARED or (k == "_FillValue" and spec.fill == "NaN")
        }
        objects = [o for r in records for o in r.objects if o.key.startswith(f"{spec.path}/c/")]
        shown.append(put_array(stage, spec.path, metadata_of(spec, extra | measured[spec.path]), objects))
    root = volume.root
    members(root).update(dict(shown))
    for spec in specs:
        root["attributes"]["seismill"]["stages"][spec.path] = {
            "plan": stage.plan.digest,
            "request": requests[spec.path],
        }
    publish_root(stage, root)
    return root


def _errors(
    spec: ArraySpec, copy_of: str, records: list[Record], master: dict[str, Any], live_bytes: int
) -> dict[str, Any]:
    """What was measured of one copy, over live finite samples."""
    count = sum(r.facts[spec.path][COUNT] for r in records)
    squares = sum(r.facts[spec.path][SUM_OF_SQUARES] for r in records)
    stored = sum(o.bytes for r in records for o in r.objects if o.key.startswith(f"{spec.path}/c/"))
    rmse = math.sqrt(squares / count) if count else 0.0
    result: dict[str, Any] = {
        "copy_of": copy_of,
        "tolerance": tolerance_of(spec) or 0.0,
        "max_abs_error": max((r.facts[spec.path][MAX_ABS_ERROR] for r in records), default=0.0),
        "rmse": rmse,
        "nonfinite_count": int(sum(r.facts[spec.path][NONFINITE] for r in records)),
        "raw_bytes": live_bytes,
        "stored_bytes": stored,
        "ratio": live_bytes / stored if stored else 0.0,
    }
    if rmse and master.get("std"):
        result["nrmse"] = rmse / master["std"]
        result["snr_db"] = 20 * math.log10(master["std"] / rmse)
    if rmse and master.get("max", 0) > master.get("min", 0):
        result["psnr_db"] = 20 * math.log10((master["max"] - master["min"]) / rmse)
    return result


@lru_cache(maxsize=4)
def _mask(volume: str, options: Any, digest: str, accept_versions: bool) -> np.ndarray:
    store, plan = plan_at(volume, options, digest, accept_versions)
    mask = plan.body["mask"]
    return read_region(store, ArraySpec.from_json(mask)) if mask else np.ones((), bool)


def rechunk_block(job: Job) -> Record:
    """Read one super-block of the master and store every object of every copy that starts in it."""
    store, plan = job.open()
    master = ArraySpec.from_json(plan.body["master"]["spec"])
    copies = [ArraySpec.from_json(plain) for plain in plan.body["copies"]]
    region = hull(copies, nth_region(master.shape, tuple(plan.body["block"]), job.block))
    origin, shape = origin_of(store, plan), tuple(r.stop - r.start for r in region)
    sums = {copy.path: np.zeros(4) for copy in copies}
    if 0 in shape:
        return Record(job.block, [], 0, {path: values.tolist() for path, values in sums.items()})
    mask = _mask(job.volume, job.options, job.digest, job.accept_versions)
    live = mask[region[:-1]] if mask.ndim else np.ones(shape[:-1], bool)
    if not live.any():
        return Record(job.block, [], 0, {path: values.tolist() for path, values in sums.items()})
    lossy = copies[0].codec.startswith("zfp:")
    # Room for whole chunks at the volume's end, so that every chunk is a view of this buffer.
    room = [
        max(round_up(min(r.stop, n), c.chunks[axis]) - r.start for c in copies)
        for axis, (r, n) in enumerate(zip(region, master.shape, strict=True))
    ]
    values = np.full(room, 0 if lossy else copies[0].fill_value, copies[0].numpy)
    valid = values[tuple(slice(0, n) for n in shape)]
    read_region(origin, master, region, out=valid, live=live)
    original = valid
    if lossy and finite_or_zero(valid, valid, live):
        # Live samples that are NaN or Inf are rare: only then is the original needed beside the mended one.
        original = read_region(origin, master, region).astype(copies[0].numpy, copy=False)

    def one(task: tuple[ArraySpec, tuple[int, ...]]) -> tuple[bytes | None, list[float]]:
        copy, position = task
        start = [p * c - r.start for p, c, r in zip(position, copy.chunks, region, strict=True)]
        whole = tuple(slice(s, s + c) for s, c in zip(start, copy.chunks, strict=True))
        part = tuple(slice(s, min(s + c, n)) for s, c, n in zip(start, copy.chunks, shape, strict=True))
        errors = np.zeros(4)
        if not live[part[:-1]].any():
            return None, errors.tolist()
        chunk = values[whole]
        if chunk.strides[-1] * chunk.shape[-1] < CACHE_LINE_BYTES:
            chunk = np.ascontiguousarray(chunk)  # lines that hold little of it are fetched once
        data = encode_chunk(copy, chunk)
        inside = chunk[tuple(slice(0, p.stop - p.start) for p in part)]
        samples = inside if original is valid else original[part]
        add_errors_of_chunk(copy, data, samples, live[part[:-1]], errors)
        # A list, because small arrays that are kept hold on to the memory of the large ones before them.
        return data, errors.tolist()

    stored: list[Stored] = []
    for copy in copies:
        objects = list(itertools.product(*chunks_owned(copy, region)))
        stored += _store_copy(job, store, copy, objects, one, sums[copy.path])
    raw_bytes = math.prod(shape) * master.numpy.itemsize
    return Record(job.block, stored, raw_bytes, {path: values.tolist() for path, values in sums.items()})


def _store_copy(
    job: Job, store: Store, copy: ArraySpec, objects: list[tuple[int, ...]], one: Any, sums: np.ndarray
) -> list[Stored]:
    """Encode, measure and store the objects of one copy; the sums are added in the order of its chunks."""
    per = copy.chunks_per_shard
    inner = list(itertools.product(*map(range, per)))
    limit = [-(-n // c) for n, c in zip(copy.shape, copy.chunks, strict=True)]
    stored: list[Stored] = []

    def direct(position: tuple[int, ...]) -> tuple[Stored | None, list[float]]:
        data, errors = one((copy, position))
        return (job.put(store, copy.key(position), data) if data else None), errors

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
        done = on_chunks(one, [(copy, place) for place in chunks])
        encoded = {}
        for place, (data, errors) in zip(chunks, done, strict=True):
            add_errors(sums, errors)
            if data is not None:
                encoded[tuple(p % n for p, n in zip(place, per, strict=True))] = data
        if encoded:
            whole = join_shard(copy, encoded) if copy.shards else next(iter(encoded.values()))
            stored += on_io(lambda pair: job.put(store, *pair), [(copy.key(position), whole)])
    return stored


def add_errors(sums: np.ndarray, errors: Sequence[float]) -> None:
    """Merge error sums in place; the greatest error is not added."""
    greatest = max(sums[MAX_ABS_ERROR], errors[MAX_ABS_ERROR])
    sums += errors
    sums[MAX_ABS_ERROR] = greatest
