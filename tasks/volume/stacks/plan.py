"""Plan an ingest of images: chunks, slabs, and what memory a slab takes."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from tasks.parameters import Master, StorageOptions
from tasks.volume.arrays.chunking import chosen_chunks, chosen_shards, many_objects
from tasks.volume.arrays.root_schema import StageEntry
from tasks.volume.arrays.spec import DEFAULT_CHUNKS, ArraySpec, spec_of
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, Progress, block_count, nth_region
from tasks.volume.images.slab import read_block
from tasks.volume.images.stack import Stack
from tasks.volume.ingest.checksums import Expected
from tasks.volume.limits import Limits
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.plan import digest_of, load_plan
from tasks.volume.protocol.summary import planned_row
from tasks.volume.protocol.writer import writing_bytes
from tasks.volume.store.objects import Store
from tasks.volume.store.room import least_stored

STRIP_BYTES = 16 << 20  # of stored voxels compared at once; one stored object if that is more


# Neighbours that are decoded to see how much room a stack takes: fewer where they take more than STRIP_BYTES.
SAMPLES, SAMPLED_SLICES = 4, 8


SLAB_BYTES = 512 << 20  # of a slab as deep as the default chunks; wider slices get shallower chunks


def decode_all(
    stack: Stack, spec: ArraySpec, block: tuple[int, ...], compute: Compute, options: StorageOptions
) -> None:
    """Decode every image once, so that a broken one is refused before the volume that it replaces is removed."""
    total = block_count(spec.shape, block)
    began = time.monotonic()
    for number in range(total):
        if compute.stopping.is_set():
            raise Resumable("the run stopped while images were decoded; run the same command again")
        read_block(stack, nth_region(spec.shape, block, number), options)
        compute.report(Progress("images", number + 1, total, 0, time.monotonic() - began))


def master_spec(stack: Stack, master: Master, field: str, limits: Limits, *, local: bool) -> ArraySpec:
    """Return the master's array.

    Raises:
        InputRefused: Chunks or shards do not fit.
    """
    shape, dtype, leading = stack.shape, np.dtype(stack.dtype), len(stack.first.leading)
    itemsize = dtype.itemsize * stack.first.samples
    default = (1,) * leading + _default_chunks(stack.spatial, itemsize, stack.first.slow_axis)
    chunks = chosen_chunks(master.chunks, shape, default, itemsize)
    shards = chosen_shards(
        master.shards,
        shape,
        chunks,
        dtype.itemsize,
        limits,
        local=local,
        last_axis_first=not stack.first.slow_axis,
    )
    if field in stack.dims:
        raise InputRefused(f"the field cannot be named {field}, as one of its axes is; choose another")
    fill = "NaN" if dtype.kind == "f" else "0"
    return ArraySpec(field, shape, chunks, stack.dtype, stack.dims, master.codec, shards, fill)


def slab_of(spec: ArraySpec, stack: Stack, limits: Limits) -> tuple[int, ...]:
    """Return the extents of a block in voxels: whole slices, as many as one stored object or several thin ones hold.

    Times and channels that have pages of their own are read one by one, or as many as a stored object has.
    """
    slow_axis = stack.slow_axis
    slab = [
        min(unit, n) if apart else n
        for unit, n, apart in zip(spec.unit, spec.shape, stack.apart, strict=True)
    ]
    depth = slab[slow_axis] = spec.unit[slow_axis]
    times = max(
        1,
        min(limits.slab_bytes // (math.prod(slab) * spec.numpy.itemsize), -(-spec.shape[slow_axis] // depth)),
    )
    slab[slow_axis] = depth * times
    return tuple(slab)


def block_memory(stack: Stack, spec: ArraySpec, block: tuple[int, ...], *, local: bool) -> int:
    """Return the most bytes that one block takes: its voxels, slices being decoded, and chunks being encoded."""
    voxels = math.prod(min(b, n) for b, n in zip(block, spec.shape, strict=True)) * spec.numpy.itemsize
    # The proof has a strip of stored voxels beside those of the source, as they are and compared.
    proof = math.prod(strip_of(spec)) * (2 * spec.numpy.itemsize + 1)
    return voxels + stack.reading_bytes() + max(proof, writing_bytes(spec, local=local))


def strip_of(spec: ArraySpec) -> tuple[int, ...]:
    """Return the extents of the part of a block that the proof compares at once: stored objects along the last axis."""
    strip = [min(unit, n) for unit, n in zip(spec.unit, spec.shape, strict=True)]
    room = STRIP_BYTES // (math.prod(strip) * spec.numpy.itemsize)
    strip[-1] = min(strip[-1] * max(1, room), spec.shape[-1])
    return tuple(strip)


def _default_chunks(shape: tuple[int, ...], itemsize: int, slow_axis: int) -> tuple[int, ...]:
    """Return chunks of 64 x 64 x 64, or flatter along the slow axis if a slab of that depth does not fit in memory."""
    chunks = list(DEFAULT_CHUNKS[3])
    layer = math.prod(shape) // shape[slow_axis] * itemsize
    wide = [axis for axis in (2, 1, 0) if axis != slow_axis]
    turn = 0
    while chunks[slow_axis] > 8 and chunks[slow_axis] * layer > SLAB_BYTES:
        chunks[slow_axis] //= 2
        chunks[wide[turn % 2]] *= 2
        turn += 1
    return tuple(chunks)


def planned_stack(
    store: Store,
    stack: Stack,
    spec: ArraySpec,
    block: tuple[int, ...],
    expected: Expected,
    limits: Limits,
    following: Sequence[ArraySpec] = (),
) -> dict[str, Any]:
    """Return what would be stored, and what would follow it, without writing."""
    return {
        "dry_run": True,
        "volume": store.url,
        "stage": "ingest",
        "arrays": [planned_row(array) for array in (spec, *following)],
        "objects": math.prod(-(-n // u) for n, u in zip(spec.shape, spec.unit, strict=True)),
        "blocks": block_count(spec.shape, block),
        "memory_bytes": block_memory(stack, spec, block, local=store.local),
        "notes": [
            f"{len(stack.files)} files of {stack.bytes:,} bytes",
            *expected.notes(list(expected.checksums)),
            *expected.doubts,
            *many_objects((spec, *following), limits, local=store.local),
        ],
    }


def least_of_voxels(stack: Stack, arrays: int, memory_bytes: int, options: StorageOptions) -> int:
    """Return a lower bound of the bytes of lossless arrays of a stack, estimated from some decoded slices.

    File sizes are not used, because files may be compressed better or worse than chunks. If one slice does not
    fit in memory, the result is 0.

    Args:
        stack: The stack.
        arrays: Number of such arrays.
        memory_bytes: Most bytes that may be taken.
        options: Non-secret options of the store.
    """
    shape, slow, dtype = stack.shape, stack.slow_axis, np.dtype(stack.first.dtype)
    part = [1 if apart else n for n, apart in zip(shape, stack.apart, strict=True)]
    slice_bytes = math.prod(part) * dtype.itemsize
    if slice_bytes + stack.reading_bytes() > memory_bytes:
        return 0
    room = min(STRIP_BYTES, memory_bytes - stack.reading_bytes())
    part[slow] = max(1, min(SAMPLED_SLICES, shape[slow], room // slice_bytes))
    # What is a stream decodes from its begin on.
    last = 0 if "stream" in stack.first.details else shape[slow] - part[slow]
    cube = tuple(min(n, DEFAULT_CHUNKS[3][0]) for n in part)

    @cache
    def decoded(at: int) -> bytes:
        region = [slice(0, n) for n in part]
        region[slow] = slice(at, at + part[slow])
        values = read_block(stack, tuple(region), options)
        middle = tuple(slice((n - c) // 2, (n - c) // 2 + c) for n, c in zip(part, cube, strict=True))
        return np.ascontiguousarray(values[middle]).tobytes()

    def read(number: int, start: int, length: int) -> bytes:
        return decoded(last * number // (SAMPLES - 1))[start : start + length]

    size = math.prod(cube) * dtype.itemsize
    return (
        least_stored([size] * SAMPLES, read, arrays) * (math.prod(shape) * dtype.itemsize) // (size * SAMPLES)
    )


def differs_by_rounding(store: Store, stage: StageEntry, body: Mapping[str, Any]) -> bool:
    """Return whether a stage differs from the plan `body` only by the last digits of converted lengths.

    Earlier versions did not round them: 700 nm were 0.7000000000000001 micrometer.
    """
    try:
        before = load_plan(store, stage.plan).body
    except (IntegrityFailure, FileNotFoundError):
        return False
    return {"place", "stack"} <= before.keys() and _rounded(before) == _rounded(body)


def _rounded(body: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(body))

    def rounded(lengths: Sequence[float]) -> list[str]:
        return [f"{length:.12g}" for length in lengths]

    length, unit, origin = plain["place"]
    plain["place"] = [rounded(length), unit, rounded(origin)]
    for _, slices in plain["stack"]["files"]:
        voxels = slices["voxels"]
        slices["voxels"] = voxels | {name: rounded(voxels[name]) for name in ("length", "origin")}
    return digest_of(plain)


def how_images_differ(root: Root, spec: ArraySpec, source: str, attributes: Mapping[str, Any]) -> str:
    """Return the differences between the images that made a volume and the requested ones, field by field."""
    there = root.members.get(spec.path)
    if there is None or root.state.has("index"):
        return f"it has no array {spec.path}"
    before, plain = spec_of(spec.path, there), json.loads(json.dumps(dict(attributes)))
    fields = {
        "source": (root.state.sources[0].url, source),
        "shape": (before.shape, spec.shape),
        "chunks": (before.chunks, spec.chunks),
        "shards": (before.shards, spec.shards),
        "codec": (before.codec, spec.codec),
        "data type": (before.dtype, spec.dtype),
    } | {name: (there["attributes"].get(name), value) for name, value in plain.items()}
    differing = [
        f"{name} {has or 'none'}, asked for {asked or 'none'}"
        for name, (has, asked) in fields.items()
        if has != asked
    ]
    return "; ".join(differing) or "made of other files, or with other settings"
