"""Plan the levels of a master: their shapes, what makes each of them, and what memory that takes."""

import itertools
from collections.abc import Sequence
from typing import Any

from tasks.parameters import Levels
from tasks.volume.arrays.attributes import ome_attributes
from tasks.volume.arrays.chunking import unsharded
from tasks.volume.arrays.foreign_documents import numbers, reading_bytes
from tasks.volume.arrays.groups import PYRAMID
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import WHOLE_SHARD_FRACTION
from tasks.volume.arrays.spec import AS_FOUND, ArraySpec, as_written
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import cpu_count
from tasks.volume.limits import Limits
from tasks.volume.protocol.foreign_target import foreign_meaning
from tasks.volume.protocol.own_names import groups_above
from tasks.volume.protocol.plan import Plan, unfinished_plans
from tasks.volume.protocol.writer import writing_bytes
from tasks.volume.pyramid.coarsen import MOST_COARSENED, cell_bytes, fit_together
from tasks.volume.pyramid.plan import Pass, level_factors, passes_of, read_bytes


def without_levels(root: Root) -> Root:
    """Return a root that lacks its levels."""
    levels = [level.path for level in root.state.levels[1:]]
    groups = [group for level in levels for group in groups_above(level)]
    fewer = root.without([*levels, *groups] if is_flat(root) else [PYRAMID])
    return described_levels(fewer.with_levels(root.state.levels[:1]).with_stages({PYRAMID: None}))


def is_flat(root: Root) -> bool:
    """Return whether levels lie in the group itself, which has room for one set of coordinates only."""
    return root.group.flat or bool(root.state.looks.image)


def level_specs(
    volume: Volume, levels: Levels, limits: Limits, *, local: bool
) -> tuple[list[ArraySpec], list[tuple[int, ...]], list[Pass]]:
    """Return the master and its levels, finest first; the factors from each to the next; and what makes them.

    Raises:
        InputRefused: The factor does not fit the master.
    """
    master = volume.spec(volume.master)
    kept = [axis.get("type") in ("time", "channel") for axis in volume.state.annex.axes]
    if any(kept) and not levels.factor:  # a channel is never mixed with its neighbour unless it was asked for
        most = MOST_COARSENED - kept[-1]  # the last axis counts among them
        space = [axis for axis, apart in enumerate(kept) if not apart][-most:]
        factor = [2 if axis in space else 1 for axis in range(len(kept))]
        levels = levels.model_copy(update={"factor": factor})
    chunks, lengths = as_written(master).chunks, _lengths(volume)
    factors = level_factors(master.shape, chunks, levels, lengths)
    more = level_factors(master.shape, chunks, levels, lengths, below_chunk=True)
    if more != factors and _has(volume, more):
        factors = more
    paths = [volume.level(number) for number in range(1, len(factors) + 1)]
    specs, passes = passes_of(master, paths, factors, limits, local=local)
    there = any(volume.has(path) for path in paths)  # which keep the form that they have
    if local and not there and not all(unsharded(s.shape, s.chunks, limits, local=local) for s in specs[1:]):
        specs, passes = passes_of(master, paths, factors, limits, local=False)
    return specs, factors, passes


def ended_early(specs: list[ArraySpec], levels: Levels) -> list[str]:
    """Return a note that there are fewer levels than asked for, because one of them is a single chunk."""
    if levels.until or len(specs) > (levels.levels or len(specs) - 1):
        return []
    name = specs[-1].path or "the array"
    return [f"{name} is a single chunk, so there is no coarser level; --until says how small one may be"]


def _has(volume: Volume, factors: list[tuple[int, ...]]) -> bool:
    """Return whether the volume, or a plan of a stopped run on it, has the levels that such factors give."""
    state = volume.state
    if PYRAMID in state.stages:
        steps = [level.scale for level in state.levels]
        pairs = list(itertools.pairwise(steps))
        return [tuple(round(b / a) for a, b in zip(*pair, strict=True)) for pair in pairs] == factors
    made_by = volume.root.plans
    if "" in made_by:  # a master that is not written yet
        return False
    bodies = (plan.body for plan in unfinished_plans(volume.store, done=made_by))
    begun = [
        planned_factors(body) for body in bodies if body["verb"] == "pyramid" and body["master"] in made_by
    ]
    return factors in begun


def _lengths(volume: Volume) -> list[float]:
    """Distance of neighbours along each axis of space, where all have one unit and none but t and c is no space."""
    axes = volume.state.annex.axes
    kinds = {(axis.get("type"), axis.get("unit")) for axis in axes}
    given = volume.state.levels[0].scale if len(kinds) == 1 and axes[0].get("type") == "space" else []
    lengths = volume.array_attributes(volume.master).get("voxel_length")
    return list(lengths) if numbers(lengths) and min(lengths, default=0) > 0 else list(given)


def method_of(volume: Volume, levels: Levels) -> str:
    """Return the method asked for; labels are counted, all else is averaged, unless it was said."""
    labels = volume.state.looks.is_labels or foreign_meaning(volume).labels
    return {"auto": "mode" if labels else "mean"}.get(levels.method, levels.method)


def block_memory(
    specs: list[ArraySpec], factors: list[tuple[int, ...]], passes: list[Pass], *, local: bool
) -> int:
    """Return the most bytes that one block takes: what it reads, the levels made of it, and chunks being encoded.

    Objects of a cloud's own arrays are fetched together, and what does not fit together is read as a whole.
    """
    most = 0
    for step in passes:
        spec, factor = specs[step.source], factors[step.source]
        read = read_bytes(step, specs, factors)
        result = cell_bytes(read, factor, spec.numpy)
        fetched = reading_bytes(spec, local=local)
        if (
            spec.codec != AS_FOUND and spec.shards
        ):  # all encoded chunks of the block, and what lies between them
            fetched = int(read / WHOLE_SHARD_FRACTION) + cpu_count() * spec.chunk_bytes
        one_by_one = spec.codec == AS_FOUND or (local and not spec.shards)
        if one_by_one and fit_together(spec.pieces, spec.shape, factor):
            read = 0
        read += fetched
        most = max(most, read + result + writing_bytes(specs[step.source + 1], local=local))
    return most


def planned_levels(plan: Plan) -> tuple[list[ArraySpec], list[tuple[int, ...]], list[Pass]]:
    """Return the master and its levels, the factors from each to the next, and what makes them, from a plan."""
    body = plan.body
    return (
        [ArraySpec.from_json(plain) for plain in body["arrays"]],
        planned_factors(body),
        [Pass.from_json(plain) for plain in body["passes"]],
    )


def planned_factors(body: dict[str, Any]) -> list[tuple[int, ...]]:
    """Return the factors from each level to the next, from the body of a plan."""
    return [tuple(factor) for factor in body["factors"]]


def described_levels(root: Root) -> Root:
    """Return a root whose OME-Zarr attributes describe its levels."""
    if "ome" not in root.attributes:
        return root
    master = root.members[root.master]
    about, levels = master["attributes"], [level.to_json() for level in root.state.levels]
    looks = root.state.looks.to_json() if root.state.has("looks") else None
    dims = master["dimension_names"]
    return root.with_attributes(
        ome=ome_attributes(
            root.master,
            dims,
            levels,
            about["min"],
            about["max"],
            looks,
            value_unit=about.get("field_unit", ""),
        )
    )


def how_levels_differ(volume: Volume, specs: Sequence[ArraySpec]) -> str:
    """Return a difference between existing and requested levels."""
    there = [volume.spec(level.path) for level in volume.state.levels[1:]]
    if len(there) != len(specs):
        return f"{len(there)}, asked for {len(specs)}"
    for before, now in zip(there, specs, strict=True):
        for name, is_now, asked in (
            ("shape", before.shape, now.shape),
            ("chunks", before.chunks, now.chunks),
            ("data type", before.dtype, now.dtype),
        ):
            if is_now != asked:
                return f"{name} {is_now} of {before.path}, asked for {asked}"
    return "made from another master, or by another method"
