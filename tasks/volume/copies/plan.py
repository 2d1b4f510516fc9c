"""Plan copies of a master: their chunks, shards and codec, and the super-blocks that memory holds."""

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tasks.parameters import Copies
from tasks.volume.arrays.codecs import (
    encoded_bound,
    is_zfp,
    tolerance_of,
)
from tasks.volume.arrays.foreign import reading_bytes
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import (
    AS_FOUND,
    COPY_SHARD_BYTES,
    MOST_ZFP_DIMENSIONS,
    ArraySpec,
    round_up,
)
from tasks.volume.blocks import Compute, cpu_count
from tasks.volume.copies.presets import clipped, preset_chunks
from tasks.volume.copies.quality import codec_of
from tasks.volume.copies.target import target_of, with_target, with_tolerance
from tasks.volume.derived.superblocks import SuperBlocks, measured, super_blocks
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.plan import digest_of, stored_plans
from tasks.volume.protocol.summary import fitting

Choose = Callable[[Volume, list[ArraySpec]], list[ArraySpec]]


def any_tolerance(volume: Volume, specs: list[ArraySpec]) -> list[ArraySpec]:
    """Return copies with some tolerance in place of a target: neither shapes nor memory depend on it."""
    return [with_tolerance(spec, 1.0) for spec in specs]


def planned_copies(
    volume: Volume, specs: Sequence[ArraySpec], compute: Compute, choose: Choose = any_tolerance
) -> tuple[list[ArraySpec], SuperBlocks, Compute]:
    """Return the copies that are not there as they are asked for, the blocks that make them, and how many at a time.

    Args:
        volume: The volume.
        specs: The copies that are asked for.
        compute: With the memory of the run.
        choose: Chooses the tolerance of copies that are asked for by a target.

    Raises:
        InputRefused: Memory does not hold one block.
    """
    master, todo = volume.spec(volume.master), not_there(volume, specs)
    if not todo:
        return todo, super_blocks(master.shape, specs, 1 << 62, chunks=master.chunks), compute
    todo = choose(volume, todo)
    blocks = _fitting_blocks(master, todo, compute.memory_bytes)
    blocks = _begun(volume, todo, blocks, compute.memory_bytes)
    fitted = fitting(compute, _block_memory(master, todo, blocks), f"a block of {blocks.block} samples")
    # On a local disk a block's chunks keep all processors busy: a second block would only take memory.
    alone = volume.store.local and compute.in_process
    return todo, blocks, replace(fitted, workers=1) if alone else fitted


def not_there(volume: Volume, specs: Sequence[ArraySpec]) -> list[ArraySpec]:
    """Return the copies that are not in the volume as they are asked for."""
    root, stages = volume.root, volume.state["stages"]
    return [
        spec
        for spec in specs
        if stages.get(spec.path, {}).get("request") != digest_of(request_of(root, volume.master, spec))
    ]


def request_of(root: dict[str, Any], master: str, spec: ArraySpec) -> dict[str, Any]:
    """What a copy is made from and how: equal for a copy that need not be made again."""
    made = root["attributes"]["seismill"]["stages"][master]
    # Shards are chosen here, for all copies that are made together: in other company it is the same copy.
    return {"verb": "rechunk", "master": made["plan"], "copy": spec.at(spec.path, shards=()).to_json()}


def decode_alike(one: ArraySpec, other: ArraySpec) -> bool:
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
    wanted = list(preset_chunks(volume, copies.presets).items())
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
    if copies.tolerance and copies.common_quality not in ("auto", "low"):
        raise InputRefused(
            f"both a tolerance ({copies.tolerance:g}) and a quality ({copies.quality}) were given; give one"
        )
    if strange := [name for name in copies.named if name not in names]:
        raise InputRefused(
            f"{strange[0]} has a quality or codec, but is none of the copies {', '.join(names)}; name one that is, as "
            f"in --quality snr=40,{names[0]}=lossless"
        )
    specs = []
    for name, chunks in wanted:
        codec, fill, dtype = codec_of(volume, copies, name)
        extents = clipped(chunks, master.shape)
        specs.append(ArraySpec(name, master.shape, extents, dtype, master.dims, codec, (), fill))
    there = {name: volume.spec(name) for name in names if volume.has(name)}
    if not copies.tolerance:
        # What is there is as it was once asked for.
        presets = {name for name in names if copies.quality_of(name) == "auto" and name not in copies.named}
        presets -= {more.name for more in copies.more}
        specs = [_as_asked(volume, s) if s.path in presets & set(there) else s for s in specs]
    if local:
        return specs
    # A copy that is there keeps its shards, so that readers who opened it find their way while it is replaced.
    return [
        spec.at(spec.path, shards=old.shards) if old and old.chunks == spec.chunks else spec
        for spec, old in ((spec, there.get(spec.path)) for spec in _sharded(specs, master.chunks))
    ]


def _as_asked(volume: Volume, spec: ArraySpec) -> ArraySpec:
    """Return a copy that is there as it was asked for: by its target, where it has one."""
    target = volume.array_attributes(spec.path).get("target", "")
    there = volume.spec(spec.path)
    return there.at(spec.path, codec=with_target(there.codec.partition(":")[0], target)) if target else there


def how_copies_differ(volume: Volume, specs: Sequence[ArraySpec]) -> str:
    """Return what differs between copies that are there and those that are asked for, field by field."""
    parts = []
    for spec in specs:
        there, asked = volume.spec(spec.path), spec
        fields = [
            f"{name} {before}, asked for {now}"
            for name, before, now in (
                ("chunks", there.chunks, asked.chunks),
                ("codec", _codec_in_words(there), _codec_in_words(asked)),
                ("data type", there.dtype, asked.dtype),
            )
            if before != now
        ]
        parts.append(f"{spec.path} ({'; '.join(fields) or 'made from another master'})")
    return ", ".join(parts)


def _codec_in_words(spec: ArraySpec) -> str:
    name = "ZFP" if is_zfp(spec) else "rounded"
    if target := target_of(spec):
        return f"{name} of {target}"
    tolerance = tolerance_of(spec)
    return f"{name} with tolerance {tolerance:g}" if tolerance is not None else f"lossless {spec.codec}"


def why_no_copies(volume: Volume) -> str:
    """Why presets give no copies."""
    dims = volume.spec(volume.master).dims
    if len(dims) > MOST_ZFP_DIMENSIONS:
        why = f"{len(dims)} dimensions, and ZFP takes at most {MOST_ZFP_DIMENSIONS}"
        return (
            f"presets make no copies of a volume of {why}; name copies with their chunks and quality lossless"
        )
    return f"none of the presets fits a volume of {', '.join(dims)}; name copies with their chunks"


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
    itemsize = max(spec.numpy.itemsize for spec in (master, *specs))
    return 2 * math.prod(blocks.hull) * itemsize + sum(_beside_samples(master, specs))


def _beside_samples(master: ArraySpec, specs: list[ArraySpec]) -> tuple[int, int]:
    """Bytes that shards take before they are stored, and chunks in the works."""
    # One shard at a time: its chunks, and all of them joined.
    shards = max((2 * encoded_bound(s) * math.prod(s.chunks_per_shard) for s in specs if s.shards), default=0)
    chunks = 2 * max(_encoding_bytes(spec) for spec in specs) + master.chunk_bytes
    if master.codec == AS_FOUND:
        return shards, cpu_count() * chunks + reading_bytes(master, local=False)
    return shards, cpu_count() * chunks


def _encoding_bytes(spec: ArraySpec) -> int:
    """Bytes that a chunk and its stored form take; rounding has a few arrays in between."""
    return spec.chunk_bytes * (4 if spec.codec.startswith("rounded:") else 1) + encoded_bound(spec)


def _begun(volume: Volume, specs: list[ArraySpec], blocks: SuperBlocks, memory_bytes: int) -> SuperBlocks:
    """The blocks of an interrupted run for the same copies, if memory holds them; else those given.

    What is free differs from run to run, and with it the blocks; what was done in others would be lost.
    """
    done = {made["plan"] for made in volume.state["stages"].values()}
    if "" in done:  # a master that is not written yet
        return blocks
    store, master = volume.store, volume.spec(volume.master)
    wanted = json.loads(json.dumps(body_of(volume, specs, blocks)))
    for body in (plan.body for plan in stored_plans(store, but=done)):
        if body["verb"] == "rechunk" and body | {"block": None} == wanted | {"block": None}:
            begun = measured(master.shape, specs, body["block"], chunks=master.chunks)
            if _block_memory(master, specs, begun) <= memory_bytes:
                return begun
    return blocks


def body_of(volume: Volume, specs: list[ArraySpec], blocks: SuperBlocks) -> dict[str, Any]:
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
