"""Coarser levels of the master, each the mean over the live samples of the level above it.

Level n + 1 has shape ceil(shape / factor): a cell at the far edge is averaged over the samples it has, traces that
do not exist and NaN samples are left out, so nothing leaks into a mean. All levels are one plan; the
blocks of a level start when the level above is complete, and no level is visible before all are.
"""

import logging
import math
import time
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.parameters import Levels, Run, Url
from tasks.volume.blocks import Compute, block_count, cpu_count, nth_region, on_chunks, on_io
from tasks.volume.codecs import crc32c, encode_chunk, encoded_bound, join_shard, metadata_of
from tasks.volume.kernels.means import any_live
from tasks.volume.layout import ArraySpec, factor_by_default, shards_by_default
from tasks.volume.ledger import Record, Stored
from tasks.volume.levels import MOST_COARSENED, coarsen
from tasks.volume.lock import locked
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.plan import Plan, digest_of
from tasks.volume.reader import Volume, open_volume, read_region
from tasks.volume.root import members, root_under_lock
from tasks.volume.run import (
    Job,
    Stage,
    begin_stage,
    clear_leftovers,
    publish_root,
    put_array,
    put_group,
    run_blocks,
    withdraw,
)
from tasks.volume.schema import NAN_FILL, axis_scale, coarse_axis, level_scale, ome_attributes
from tasks.volume.store import Store, traffic
from tasks.volume.summary import array_rows, ended, fitting, using

log = logging.getLogger(__name__)

SHARD_BYTES = 16 << 20  # raw; a block reads factor^3 times as much
BLOCK_BYTES = 8 << 20  # of the coarser level; a block is larger only if one shard is
PYRAMID = "pyramid"


def pyramid(
    volume: Url,
    levels: Levels = Levels(),
    overwrite: bool = False,
    run: Run = Run(),
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Add coarser levels of the master, so that an overview reads fast.

    Args:
        volume: The published volume.
        levels: How many, and how much coarser each is.
        overwrite: Replace levels that are there in another form.
        run: How to run.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage.

    Raises:
        InputRefused: A parameter cannot be used, or there is no volume.
        DestinationRefused: Other levels are there.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    store = Store(volume, run.storage_options)
    found = open_volume(store)
    specs, factor = level_specs(found, levels, local=store.local)
    paths = [spec.path for spec in specs[1:]]
    if run.dry_run:
        rows = [{"path": s.path, "shape": s.shape, "chunks": s.chunks, "shards": s.shards, "raw_bytes": s.raw_bytes} for s in specs[1:]]
        return {"dry_run": True, "volume": store.url, "stage": "pyramid", "arrays": rows, "notes": []}
    store.probe()
    with using(compute, run) as compute, locked(store, wait_seconds=run.lock_wait, say=log.info) as epoch:
        root = root_under_lock(store, found.root)
        state = root["attributes"]["seismill"]
        body = {
            "verb": "pyramid",
            "master": state["stages"][specs[0].path]["plan"],
            "mask": Volume(store, root).spec("trace_mask").to_json(),
            "factor": factor,
            "method": levels.method,
            "arrays": [spec.to_json() for spec in specs],
            "blocks": [_block(spec) for spec in specs[1:]],
        }
        request = digest_of(body)
        made = state["stages"].get(PYRAMID, {}).get("request")
        if made == request:
            return ended(store, "pyramid", array_rows(root, paths), began, before, notes=["was done already"])
        if made and not overwrite:
            raise DestinationRefused(
                f"{store.url} has other pyramid levels; replace them with --overwrite, or leave them as they are"
            )
        # What does not fit in memory is refused before anything is taken away.
        need = _block_memory(specs, factor, body["blocks"])
        compute = fitting(compute, need, f"a block of {body['blocks'][0]} samples")
        if made:
            state["levels"] = state["levels"][:1]
            del state["stages"][PYRAMID]
            _describe(root)
            root = withdraw(store, epoch, root, [PYRAMID])
        stage = _add(store, root, body, specs, factor, request, epoch, run, compute)
    return ended(store, "pyramid", array_rows(root, paths), began, before, stage=stage)


def level_specs(volume: Volume, levels: Levels, *, local: bool) -> tuple[list[ArraySpec], tuple[int, ...]]:
    """The master and its levels, finest first, and the factor per axis.

    Raises:
        InputRefused: The factor does not fit the master.
    """
    master = volume.spec(volume.master)
    rank = len(master.shape)
    factor = tuple(levels.factor) or factor_by_default(rank)
    if len(factor) != rank or min(factor) < 1 or max(factor) < 2:
        raise InputRefused(
            f"factor {list(factor)} does not coarsen a volume of {rank} dimensions; give {rank} whole numbers of at "
            "least 1, one of them above 1"
        )
    if sum(f > 1 for f in factor[:-1]) > MOST_COARSENED - 1:
        raise InputRefused(
            f"factor {list(factor)} coarsens more than {MOST_COARSENED - 1} axes beside the samples; "
            "set the others to 1"
        )
    if master.numpy.kind != "f":
        raise InputRefused(f"a pyramid of a {rank}-D {master.dtype} volume is not supported yet")
    specs = [master]
    for level in range(1, levels.levels + 1):
        shape = tuple(-(-n // f) for n, f in zip(specs[-1].shape, factor, strict=True))
        if shape == specs[-1].shape:
            break
        shards = () if local else shards_by_default(shape, master.chunks, master.numpy.itemsize, target_bytes=SHARD_BYTES)
        specs.append(
            ArraySpec(
                f"{PYRAMID}/{level}/{master.path}",
                shape,
                master.chunks,
                master.dtype,
                master.dims,
                master.codec,
                shards if shards != master.chunks else (),
                master.fill,
            )
        )
    return specs, factor


def _block(spec: ArraySpec) -> tuple[int, ...]:
    """Samples of the coarser level per block: whole stored objects, more along the last axes first."""
    block = list(spec.unit)
    for axis in reversed(range(len(block))):
        room = BLOCK_BYTES // (math.prod(block) * spec.numpy.itemsize)
        wanted = -(-spec.shape[axis] // block[axis])
        block[axis] *= max(1, min(room, wanted))
        if room < wanted:
            break
    return tuple(block)


def _block_memory(specs: list[ArraySpec], factor: tuple[int, ...], blocks: list[tuple[int, ...]]) -> int:
    """The most bytes that one block takes: what it reads, its means encoded, and chunks in the works."""
    works = cpu_count() * 2 * (specs[0].chunk_bytes + encoded_bound(specs[0]))
    largest = max(math.prod(block) for block in blocks) * specs[0].numpy.itemsize
    return largest * (math.prod(factor) + 2) + works


def _add(
    store: Store,
    root: dict[str, Any],
    body: dict[str, Any],
    specs: list[ArraySpec],
    factor: tuple[int, ...],
    request: str,
    epoch: int,
    run: Run,
    compute: Compute,
) -> Stage:
    """Make the levels and commit them."""
    if not store.exists(f".seismill/runs/{digest_of(body)}/plan.json"):
        clear_leftovers(store, root, [])
    created_on = root["attributes"]["seismill"]["created_on"]
    stage = begin_stage("pyramid", store, body, epoch, run, compute, created_on=created_on)
    counts = [block_count(spec.shape, tuple(block)) for spec, block in zip(specs[1:], body["blocks"], strict=True)]
    records: list[Record] = []
    for level, count in enumerate(counts):
        first = sum(counts[:level])
        records += run_blocks(stage, pyramid_block, range(first, first + count), of=sum(counts))
    _publish(stage, root, specs, factor, records, request)
    return stage


@lru_cache(maxsize=4)
def _mask(store: Store, plan: Plan) -> np.ndarray:
    return read_region(store, ArraySpec.from_json(plan.body["mask"]))


def pyramid_block(job: Job) -> Record:
    """Store one block of one level from the level above it."""
    store, plan = job.open()
    specs = [ArraySpec.from_json(plain) for plain in plan.body["arrays"]]
    number, level = job.block, 1
    while number >= (count := block_count(specs[level].shape, tuple(plan.body["blocks"][level - 1]))):
        number, level = number - count, level + 1
    fine, coarse, factor = specs[level - 1], specs[level], tuple(plan.body["factor"])
    region = nth_region(coarse.shape, tuple(plan.body["blocks"][level - 1]), number)
    source = tuple(
        slice(r.start * f, min(r.stop * f, n)) for r, f, n in zip(region, factor, fine.shape, strict=True)
    )
    # Of a coarser level, chunks of NaN are left out even where traces live.
    live = _mask(store, plan)[source[:-1]] if level == 1 else None
    values = read_region(store, fine, source, live=live)
    means = coarsen(values, factor)
    raw_bytes = values.nbytes
    del values
    return Record(job.block, put_block(job, store, coarse, region, means), raw_bytes, {})


def put_block(
    job: Job, store: Store, spec: ArraySpec, region: tuple[slice, ...], values: np.ndarray
) -> list[Stored]:
    """Store a region of whole objects that is in memory; chunks in which nothing is live are left out."""
    first = [r.start // c for r, c in zip(region, spec.chunks, strict=True)]
    counts = [-(-(r.stop - r.start) // c) for r, c in zip(region, spec.chunks, strict=True)]

    def encode(at: tuple[int, ...]) -> bytes | Stored | None:
        part = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(at, spec.chunks, strict=True))]
        if np.isnan(part).all():
            return None
        chunk = part
        if part.shape != spec.chunks:
            chunk = np.full(spec.chunks, spec.fill_value, spec.numpy)
            chunk[tuple(slice(0, n) for n in part.shape)] = part
        data = encode_chunk(spec, chunk)
        place = tuple(f + i for f, i in zip(first, at, strict=True))
        return job.put(store, spec.key(place), data) if store.local and not spec.shards else data

    places = list(np.ndindex(*counts))
    done = on_chunks(encode, places)
    if store.local and not spec.shards:
        return [stored for stored in done if isinstance(stored, Stored)]
    shards: dict[tuple[int, ...], dict[tuple[int, ...], bytes]] = {}
    per = spec.chunks_per_shard
    for at, data in zip(places, done, strict=True):
        if isinstance(data, bytes):
            place = tuple(f + i for f, i in zip(first, at, strict=True))
            shard = tuple(p // n for p, n in zip(place, per, strict=True))
            shards.setdefault(shard, {})[tuple(p % n for p, n in zip(place, per, strict=True))] = data

    def whole(item: tuple[tuple[int, ...], dict[tuple[int, ...], bytes]]) -> Stored:
        shard, chunks = item
        return job.put(store, spec.key(shard), join_shard(spec, chunks) if spec.shards else chunks[(0,) * len(per)])

    return on_io(whole, sorted(shards.items()))


def _publish(
    stage: Stage, root: dict[str, Any], specs: list[ArraySpec], factor: tuple[int, ...], records: list[Record], request: str
) -> None:
    """Make every level visible, with coordinates of its own, and commit."""
    store, volume = stage.store, Volume(stage.store, root)
    live = volume.read("trace_mask")
    base = volume.state["levels"][0]
    axes = [volume.read(dim) for dim in specs[0].dims]
    shown: list[tuple[str, dict[str, Any]]] = []
    levels = [base]
    for number, spec in enumerate(specs[1:], start=1):
        group = f"{PYRAMID}/{number}"
        step = [f**number for f in factor]
        live = any_live(live, factor[: live.ndim])
        scaled = [level_scale(s, t, f) for s, t, f in zip(base["scale"], base["translation"], step, strict=True)]
        for dim, values, f, n, (scale, translation) in zip(spec.dims, axes, step, spec.shape, scaled, strict=True):
            regular = axis_scale(values) != (1.0, 0.0)
            labels = translation + scale * np.arange(n) if regular else coarse_axis(values, f)
            one = ArraySpec(f"{group}/{dim}", (n,), (n,), "float64", (dim,))
            shown.append(_small(stage, one, labels))
        mask = ArraySpec(f"{group}/trace_mask", live.shape, live.shape, "bool", spec.dims[:-1])
        shown.append(_small(stage, mask, live))
        objects = [o for r in records for o in r.objects if o.key.startswith(f"{spec.path}/c/")]
        stored_bytes = sum(o.bytes for o in objects)
        attributes = {
            "_FillValue": NAN_FILL,
            "method": stage.plan.body["method"],
            "raw_bytes": int(live.sum()) * spec.shape[-1] * spec.numpy.itemsize,
            "stored_bytes": stored_bytes,
        }
        shown.append(put_array(stage, spec.path, metadata_of(spec, attributes), objects))
        levels.append({"path": spec.path, "scale": [s for s, _ in scaled], "translation": [t for _, t in scaled]})
    shown += [put_group(store, f"{PYRAMID}/{number}") for number in range(1, len(specs))]
    shown.append(put_group(store, PYRAMID))
    members(root).update(dict(shown))
    volume.state["levels"] = levels
    volume.state["stages"][PYRAMID] = {"plan": stage.plan.digest, "request": request}
    _describe(root)
    publish_root(stage, root)


def _describe(root: dict[str, Any]) -> None:
    """Rewrite the OME-Zarr attributes from the levels."""
    attributes = root["attributes"]
    master = attributes["attributes"]["defaultVariableName"]
    described = members(root)[master]
    if "ome" in attributes:
        attributes["ome"] = ome_attributes(
            master,
            described["dimension_names"],
            attributes["seismill"]["levels"],
            described["attributes"]["min"],
            described["attributes"]["max"],
        )


def _small(stage: Stage, spec: ArraySpec, values: np.ndarray) -> tuple[str, dict[str, Any]]:
    """Store an array of one chunk."""
    data = encode_chunk(spec, np.ascontiguousarray(values, spec.numpy))
    key = spec.key((0,) * len(spec.shape))
    stage.store.create_or_match(key, data)
    return put_array(stage, spec.path, metadata_of(spec, {}), [Stored(key, len(data), crc32c(data))])


