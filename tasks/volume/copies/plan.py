"""Plan copies of a master: their chunks, shards and codec, and the super-blocks that memory holds."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from tasks.parameters import Copies
from tasks.volume.arrays.chunking import unsharded
from tasks.volume.arrays.codecs import is_zfp, tolerance_of
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import MOST_ZFP_DIMENSIONS, ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute
from tasks.volume.copies.footprints import block_memory, fitted, shared_out_in_shards
from tasks.volume.copies.presets import clipped, preset_chunks
from tasks.volume.copies.quality import codec_of
from tasks.volume.copies.target import target_of, with_target, with_tolerance
from tasks.volume.derived.readings import Reading, decoded, planned, to_json
from tasks.volume.derived.superblocks import measured
from tasks.volume.limits import Limits
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.plan import digest_of, unfinished_plans
from tasks.volume.protocol.summary import fitting

NOT_SAID = 1.01  # times that the master is read
Choose = Callable[[Volume, list[ArraySpec]], list[ArraySpec]]


def any_tolerance(volume: Volume, specs: list[ArraySpec]) -> list[ArraySpec]:
    """Return copies with any tolerance in place of a target, to plan shapes and memory, which do not depend on it."""
    return [with_tolerance(spec, 1.0) for spec in specs]


def planned_copies(
    volume: Volume, specs: Sequence[ArraySpec], compute: Compute, choose: Choose = any_tolerance
) -> tuple[list[ArraySpec], list[Reading], Compute]:
    """Return the copies to make, the readings that make them, and the compute that fits.

    Args:
        volume: The volume.
        specs: The requested copies.
        compute: Place where blocks run, with the memory of the run.
        choose: Chooses the tolerance of copies with a target.

    Raises:
        InputRefused: Memory does not hold one block.
    """
    todo = not_there(volume, specs)
    if not todo:
        return todo, [], compute
    todo = choose(volume, todo)
    begun = _begun(volume, todo, compute.memory_bytes)
    todo, readings = begun or fitted(volume, todo, compute.memory_bytes)
    need = max(
        block_memory(volume, [spec for spec in todo if spec.path in reading.paths], reading.blocks)
        for reading in readings
    )
    # On a local disk a block's chunks keep all processors busy: a second block would only take memory.
    alone = volume.store.local and compute.in_process
    fit = fitting(compute, need, "a block of samples and the copies made of it", most=1 if alone else 0)
    return todo, readings, fit


def more_readings(readings: Sequence[Reading]) -> str:
    """Return the note that, for want of memory, parts of the master are read more than once; empty if none are."""
    times = decoded(readings)
    if times <= NOT_SAID:
        return ""
    alone = ", then ".join(" with ".join(reading.paths) for reading in readings)
    in_words = f": {alone}" if len(readings) > 1 else ""
    return f"the master is read {times:.2f} times, for want of memory{in_words}"


def not_there(volume: Volume, specs: Sequence[ArraySpec]) -> list[ArraySpec]:
    """Return the requested copies that the volume lacks, or has in another form."""
    root, stages = volume.root, volume.state.stages
    return [
        spec
        for spec in specs
        if spec.path not in stages
        or stages[spec.path].request != digest_of(request_of(root, volume.master, spec))
    ]


def request_of(root: Root, master: str, spec: ArraySpec) -> dict[str, Any]:
    """Return the request of a copy; it is equal for a copy that need not be made again."""
    entry = root.state.stages[master]
    # Shards are chosen here, for all copies that are made together: in other company it is the same copy.
    return {"verb": "rechunk", "master": entry.plan, "copy": spec.at(spec.path, shards=()).to_json()}


def decode_alike(entry: ArraySpec, other: ArraySpec) -> bool:
    """Return whether a reader of one array decodes chunks of the other correctly."""
    kinds = [spec.codec.partition(":")[0] for spec in (entry, other)]
    return kinds[0] == kinds[1] and entry.at("", codec="", fill="0") == other.at("", codec="", fill="0")


def copy_specs(volume: Volume, copies: Copies, limits: Limits, *, local: bool) -> list[ArraySpec]:
    """Return the requested arrays; none if only presets are requested and this rank has none.

    Raises:
        InputRefused: The requested arrays contradict each other, or do not fit the master.
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
            f"{strange[0]} is given a quality or codec, but is not one of the copies {', '.join(names)}; name one that "
            f"is, as in --quality snr=40,{names[0]}=lossless"
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
    if all(unsharded(spec.shape, spec.chunks, limits, local=local) for spec in specs):
        return specs
    # A copy that is there keeps its shards, so that readers who opened it find their way while it is replaced.
    return [
        spec.at(spec.path, shards=old.shards) if old and old.chunks == spec.chunks else spec
        for spec, old in ((spec, there.get(spec.path)) for spec in shared_out_in_shards(specs, master.chunks))
    ]


def _as_asked(volume: Volume, spec: ArraySpec) -> ArraySpec:
    """Return a copy that is there as it was asked for: by its target, where it has one."""
    target = volume.array_attributes(spec.path).get("target", "")
    there = volume.spec(spec.path)
    return there.at(spec.path, codec=with_target(there.codec.partition(":")[0], target)) if target else there


def how_copies_differ(volume: Volume, specs: Sequence[ArraySpec]) -> str:
    """Return the differences between existing and requested copies, field by field."""
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
    """Return the reason why presets give no copies."""
    dims = volume.spec(volume.master).dims
    if len(dims) > MOST_ZFP_DIMENSIONS:
        why = f"{len(dims)} dimensions, and ZFP takes at most {MOST_ZFP_DIMENSIONS}"
        return (
            f"presets make no copies of a volume of {why}; name copies with their chunks and quality lossless"
        )
    return f"none of the presets fits a volume of {', '.join(dims)}; name copies with their chunks"


def _begun(
    volume: Volume, specs: list[ArraySpec], memory_bytes: int
) -> tuple[list[ArraySpec], list[Reading]] | None:
    """Return copies and readings of an interrupted run for the same copies, if memory holds its blocks; None if not.

    What is free differs from run to run, and with it blocks and shards; what was done in others would be lost.
    """
    done = {entry.plan for entry in volume.state.stages.values()}
    if "" in done:  # a master that is not written yet
        return None
    store, master = volume.store, volume.spec(volume.master)
    wanted = json.loads(json.dumps(_without_fit(body_of(volume, specs, []))))
    for body in (plan.body for plan in unfinished_plans(store, done=done)):
        if body["verb"] != "rechunk" or _without_fit(body) != wanted:
            continue
        begun = [ArraySpec.from_json(plain) for plain in body["copies"]]
        readings, need = [], 0
        for group, block in planned(body, begun):
            blocks = measured(master.shape, group, block, chunks=master.chunks)
            readings.append(Reading(tuple(spec.path for spec in group), blocks))
            need = max(need, block_memory(volume, group, blocks))
        if need <= memory_bytes:
            return begun, readings
    return None


def _without_fit(body: dict[str, Any]) -> dict[str, Any]:
    """Return a plan without all that depends on memory."""
    kept = {name: value for name, value in body.items() if name not in ("block", "readings")}
    return kept | {"copies": [plain | {"shards": []} for plain in body["copies"]]}


def body_of(volume: Volume, specs: list[ArraySpec], readings: Sequence[Reading]) -> dict[str, Any]:
    """Return the plan."""
    return {
        "verb": "rechunk",
        "origin": volume.origin,
        "master": {
            "spec": volume.spec(volume.master).to_json(),
            "plan": volume.master_plan,
        },
        "mask": volume.spec("trace_mask").to_json() if volume.has("trace_mask") else None,
        "copies": [spec.to_json() for spec in specs],
    } | to_json(readings)
