"""Turn a stack of slices into the master of a volume: every voxel as it is, and where it lies.

A block is a slab as deep as a stored object, so each slice is read and decoded once. What only the whole tells
(statistics, the window of values that a viewer shows) is merged from the ledger in block order.
"""

import logging
import math
import time
from contextlib import closing
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.parameters import Image, Master, Run, StorageOptions, Url
from tasks.volume.arrays.attributes import NAN_FILL, image_attributes, ome_attributes, voxel_statistics
from tasks.volume.arrays.chunking import chosen_chunks, chosen_shards
from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.spec import DEFAULT_CHUNKS, ArraySpec
from tasks.volume.blocks import Compute, Progress, block_count, nth_region
from tasks.volume.images.header import Voxels
from tasks.volume.images.spacing import AXES, field_of, place_of, rockverse_attributes
from tasks.volume.images.stack import Stack, find_stack, read_slab
from tasks.volume.ingest.checksums import Expected, checked_before, expected_of
from tasks.volume.kernels.traces import merge_stats, new_stats
from tasks.volume.kernels.voxels import add_voxels
from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable
from tasks.volume.protocol.deletion import (
    clear_run,
    refuse_occupied,
    refuse_strangers,
)
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.owner import owned
from tasks.volume.protocol.plan import Plan, digest_of, folder_of
from tasks.volume.protocol.root import members, new_root
from tasks.volume.protocol.stage import (
    Job,
    Stage,
    publish_root,
    put_array,
    run_blocks,
)
from tasks.volume.protocol.summary import array_rows, ended, fitting, using
from tasks.volume.protocol.writer import put_region, put_small, writing_bytes
from tasks.volume.store.objects import Store, traffic

log = logging.getLogger(__name__)

BLOCK_BYTES = 64 << 20  # of voxels; a block is larger only if one slab is
SLAB_BYTES = 512 << 20  # of a slab as deep as the default chunks; wider slices get shallower chunks
SAMPLED = 1 << 18  # voxels of a block that its quantiles are taken from
QUANTILES = 101
SHOWN = (0.01, 0.99)  # of all voxels: the window that viewers open with
MOST_LABELS = 64  # that get a colour each


def ingest_images(
    source: Url,
    volume: Url,
    image: Image = Image(),
    master: Master = Master(),
    overwrite: bool = False,
    run: Run = Run(),
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Turn a stack of images into a volume's lossless array.

    Args:
        source: A file (TIFF, PNG, JPEG 2000, raw, .npy, NRRD, MetaImage), a folder of slices, a pattern such as
            a/*.tif, or a list of files (.txt).
        volume: Where the volume is to be.
        image: What the voxels are, and where they lie.
        master: Chunks, shards and codec.
        overwrite: Replace a volume that is there already.
        run: How to run.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage.

    Raises:
        InputRefused: The files or a parameter cannot be used.
        DestinationRefused: Another volume is there.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    stack = find_stack(source, run.storage_options, image.raw)
    place = place_of(image, stack.voxels)
    if image.labels and stack.first.dtype.startswith("float"):
        raise InputRefused(
            f"{stack.first.dtype} voxels cannot be labels; leave labels out, or segment the image first"
        )
    expected = expected_of(
        {file.url: file.bytes for file, _ in stack.files}, image.checksums, run.storage_options
    )
    store = Store(volume, run.storage_options)
    spec = master_spec(stack, master, field_of(image), local=store.local)
    block = slab_of(spec, stack.slow_axis)
    body = {
        "verb": "ingest_images",
        "source": source,
        "image": image.model_dump(exclude={"checksums"}),
        "place": [place.length, place.unit, place.origin],
        "stack": stack.to_json(),
        "arrays": {"master": spec.to_json()},
        "block": block,
    }
    if run.dry_run:
        return _dry_run(store, stack, spec, block, expected)
    refuse_occupied(store)
    need = block_memory(stack, spec, block, local=store.local)
    what = f"a slab of {block} voxels in chunks of {spec.chunks}"

    def fit(compute: Compute) -> Compute:
        return fitting(compute, need, what)

    with using(compute, run) as compute, owned(store, run, compute, fit) as owner:
        root = owner.root()
        request = digest_of(body)
        known = root["attributes"]["seismill"] if root is not None else {"stages": {}, "sources": [{}]}
        done = known["stages"].get(spec.path, {}).get("request") == request
        if root is not None and not done and not overwrite:
            raise DestinationRefused(
                f"{store.url} holds another volume (of {known['sources'][0]['url']}); choose another place, or "
                "replace it with --overwrite"
            )
        if not done:
            refuse_strangers(store, root)
        # Blocks read parts of files, in no order: what is expected of a file is shown by reading all of it before.
        if expected.said and not (done and known["sources"][0].get("expected") == expected.digest):
            checked_before(
                store,
                folder_of(request),
                expected,
                list(expected.said),
                lambda file: closing(stack.files[file][0].open(run.storage_options)),
                compute,
            )
        if done and root is not None:
            clear_run(store, request, ("in_order",))
            return ended(
                store, "ingest", array_rows(root, [spec.path]), began, before, notes=["was done already"]
            )
        stage = owner.begin(
            "ingest",
            body,
            fit,
            present=root,
            after=None,
            read=lambda: _decode_all(stack, spec, block, compute, run.storage_options),
        )
        count = block_count(spec.shape, block)
        records = run_blocks(stage, image_block, range(count))
        root = _finish(stage, stack, spec, image, place, records, expected)
        clear_run(store, request, ("in_order",))
    rows = array_rows(root, [spec.path])
    return ended(store, "ingest", rows, began, before, stage=stage, notes=expected.doubts)


def _decode_all(
    stack: Stack, spec: ArraySpec, block: tuple[int, ...], compute: Compute, options: StorageOptions
) -> None:
    """Decode every image once, so that one which cannot be is refused before what it would replace is taken away."""
    total = block_count(spec.shape, block)
    began = time.monotonic()
    for number in range(total):
        if compute.stopping.is_set():
            raise Resumable("the run stopped while images were decoded; run the same command again")
        slow = nth_region(spec.shape, block, number)[stack.slow_axis]
        read_slab(stack, slow.start, slow.stop - slow.start, options)
        compute.report(Progress("images", number + 1, total, 0, time.monotonic() - began))


def master_spec(stack: Stack, master: Master, field: str, *, local: bool) -> ArraySpec:
    """The master's array.

    Raises:
        InputRefused: Chunks or shards do not fit.
    """
    shape, dtype = stack.shape, np.dtype(stack.first.dtype)
    chunks = chosen_chunks(master.chunks, shape, _default_chunks(shape, dtype.itemsize, stack.slow_axis))
    shards = chosen_shards(
        master.shards, shape, chunks, dtype.itemsize, local=local, last_axis_first=stack.slow_axis == 0
    )
    fill = "NaN" if dtype.kind == "f" else "0"
    return ArraySpec(field, shape, chunks, stack.first.dtype, AXES, master.codec, shards, fill)


def slab_of(spec: ArraySpec, slow_axis: int) -> tuple[int, ...]:
    """Voxels of a block: all across the slow axis, and as deep as one stored object, or several thin ones."""
    depth = spec.unit[slow_axis]
    layer = math.prod(spec.shape) // spec.shape[slow_axis] * depth * spec.numpy.itemsize
    times = max(1, min(BLOCK_BYTES // layer, -(-spec.shape[slow_axis] // depth)))
    return tuple(depth * times if axis == slow_axis else n for axis, n in enumerate(spec.shape))


def block_memory(stack: Stack, spec: ArraySpec, block: tuple[int, ...], *, local: bool) -> int:
    """The most bytes that one block takes: its voxels, slices being decoded, and chunks being encoded."""
    voxels = math.prod(min(b, n) for b, n in zip(block, spec.shape, strict=True)) * spec.numpy.itemsize
    return voxels + stack.reading_bytes() + writing_bytes(spec, local=local)


def image_block(job: Job) -> Record:
    """Store one slab."""
    store, plan = job.open()
    spec, stack = ArraySpec.from_json(plan.body["arrays"]["master"]), _stack(plan)
    region = nth_region(spec.shape, tuple(plan.body["block"]), job.block)
    slow = region[stack.slow_axis]
    values = read_slab(stack, slow.start, slow.stop - slow.start, job.options)
    labels = plan.body["image"]["labels"]
    stored, measured = put_region(job, store, spec, region, values, measure=_measured)
    limits = [found for _, found in measured if found]
    facts = {
        "stats": merge_stats(np.array(stats) for stats, _ in measured).tolist(),
        "limits": [min(low for low, _ in limits), max(high for _, high in limits)] if limits else None,
        "quantiles": _quantiles(values),
        "labels": _labels(values) if labels else [],
    }
    return Record(job.block, stored, values.nbytes, facts)


@lru_cache(maxsize=4)
def _stack(plan: Plan) -> Stack:
    return Stack.from_json(plan.body["stack"])


def _default_chunks(shape: tuple[int, ...], itemsize: int, slow_axis: int) -> tuple[int, ...]:
    """64 x 64 x 64, or flatter across the slow axis where a slab of that depth would not fit in memory."""
    chunks = list(DEFAULT_CHUNKS[3])
    layer = math.prod(shape) // shape[slow_axis] * itemsize
    wide = [axis for axis in (2, 1, 0) if axis != slow_axis]
    turn = 0
    while chunks[slow_axis] > 8 and chunks[slow_axis] * layer > SLAB_BYTES:
        chunks[slow_axis] //= 2
        chunks[wide[turn % 2]] *= 2
        turn += 1
    return tuple(chunks)


def _measured(part: np.ndarray) -> tuple[list[float], tuple[int, int] | None]:
    stats = new_stats()
    limits = add_voxels(part, stats)
    # No array: one that is kept lies where a chunk's buffer was, and keeps malloc from using that room again.
    return stats.tolist(), limits


def _sample(values: np.ndarray) -> np.ndarray:
    """Voxels at even distances, few enough to be sorted."""
    every = max(1, math.ceil((values.size / SAMPLED) ** (1 / 3)))
    sample = (
        values[tuple(slice(min(every, n) // 2, None, every) for n in values.shape)].astype(np.float64).ravel()
    )
    return sample[np.isfinite(sample)]


def _quantiles(values: np.ndarray) -> list[float]:
    sample = _sample(values)
    return np.quantile(sample, np.linspace(0, 1, QUANTILES)).tolist() if sample.size else []


def _labels(values: np.ndarray) -> list[int]:
    """The values that occur, the smallest of them if they are many."""
    found: set[int] = set()
    for layer in values:
        found |= set(np.unique(layer).tolist())
    return sorted(int(value) for value in found)[: MOST_LABELS + 1]


def _finish(
    stage: Stage,
    stack: Stack,
    spec: ArraySpec,
    image: Image,
    place: Voxels,
    records: list[Record],
    expected: Expected,
) -> dict[str, Any]:
    """Make the coordinates and the master visible, and commit."""
    stats = merge_stats([np.array(record.facts["stats"]) for record in records])
    limits = [record.facts["limits"] for record in records if record.facts["limits"]]
    extremes = (min(low for low, _ in limits), max(high for _, high in limits)) if limits else None
    shown = []
    for axis, n, length, origin in zip(spec.dims, spec.shape, place.length, place.origin, strict=True):
        one = ArraySpec(axis, (n,), (n,), "float64", (axis,))
        units = {"units": place.unit} if place.unit else {}
        shown.append(put_small(stage, one, origin + length * np.arange(n), units))
    objects = [stored for record in records for stored in record.objects]
    described = rockverse_attributes(image, place.length, place.unit, place.origin) | voxel_statistics(
        stats, extremes
    )
    described |= {"_FillValue": NAN_FILL} if spec.fill == "NaN" else {}
    described |= {"raw_bytes": spec.raw_bytes, "stored_bytes": sum(o.bytes for o in objects)}
    shown.append(put_array(stage, spec.path, metadata_of(spec, described), objects))
    level = {"path": spec.path, "scale": list(place.length), "translation": list(place.origin)}
    labels = sorted({value for record in records for value in record.facts["labels"]})
    looks = {
        "unit": place.unit,
        "window": _window(records),
        "labels": labels if len(labels) <= MOST_LABELS else [],
        "is_labels": image.labels,
    }
    created_on = stage.plan.created_on
    root = new_root(
        image_attributes(image.description, created_on, spec.path)
        | {
            "ome": ome_attributes(spec.path, spec.dims, [level], described["min"], described["max"], looks),
            "seismill": {
                "format": 1,
                "writer": stage.plan.versions["seismill"],
                "created_on": created_on,
                "sources": [
                    {
                        "url": stage.plan.body["source"],
                        "bytes": stack.bytes,
                        "etag": digest_of({"files": [[f.url, f.bytes, f.identity] for f, _ in stack.files]}),
                        "files": len(stack.files),
                        "first_slice": 0,
                        "slice_count": spec.shape[0],
                    }
                    | ({"expected": expected.digest} if expected.said else {})
                ],
                "levels": [level],
                "looks": looks,
                "stages": {spec.path: {"plan": stage.plan.digest, "request": stage.plan.digest}},
            },
        }
    )
    members(root).update(dict(shown))
    publish_root(stage, root)
    log.info("%s: %s voxels of %s from %d files", stage.store.url, spec.shape, spec.dtype, len(stack.files))
    return root


def _window(records: list[Record]) -> list[float]:
    """Values between which most voxels lie; empty if none is finite."""
    pooled = [value for record in records for value in record.facts["quantiles"]]
    return np.quantile(pooled, SHOWN).tolist() if pooled else []


def _dry_run(
    store: Store, stack: Stack, spec: ArraySpec, block: tuple[int, ...], expected: Expected
) -> dict[str, Any]:
    """What would be stored, without writing."""
    return {
        "dry_run": True,
        "volume": store.url,
        "stage": "ingest",
        "arrays": [
            {
                "path": spec.path,
                "shape": spec.shape,
                "chunks": spec.chunks,
                "shards": spec.shards,
                "dtype": spec.dtype,
                "raw_bytes": spec.raw_bytes,
            }
        ],
        "objects": math.prod(-(-n // u) for n, u in zip(spec.shape, spec.unit, strict=True)),
        "blocks": block_count(spec.shape, block),
        "memory_bytes": block_memory(stack, spec, block, local=store.local),
        "notes": [
            f"{len(stack.files)} files of {stack.bytes:,} bytes",
            *expected.notes(list(expected.said)),
            *expected.doubts,
        ],
    }
