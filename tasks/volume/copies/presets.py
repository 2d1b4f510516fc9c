"""Chunks of the copies that presets name: thin across their slices, wide along the other axes.

Along a wide axis there are as few chunks as `COPY_CHUNKS` allows, and their extent is the smallest multiple of the
master's chunk that covers the axis: 620 samples are two chunks of 320, where chunks of 512 would store 1,024 samples.
Version 0.1.0 stored the largest extent on every axis. A copy that has it, or that a stopped run began with it,
keeps it, so that it is recognised.
"""

import math
from collections.abc import Sequence

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec, copy_chunks, fitted_extent, round_up
from tasks.volume.protocol.plan import unfinished_plans

# The axis that a preset's slices lie across, by the volume's number of dimensions. The copy is named after that axis.
PRESET_AXES = {
    2: {"fast_inline": 0, "fast_time": 1},
    3: {"fast_inline": 0, "fast_crossline": 1, "fast_time": 2},
    4: {"fast_inline": 0, "fast_crossline": 1, "fast_offset": 2, "fast_time": 3},
}
SPACE = ("z", "y", "x")  # the axes of images, after which their presets are named
CELL = 4  # samples of a cell of ZFP along each axis


def preset_chunks(volume: Volume, presets: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the chunks of the copies that presets name, by name; presets that the volume has no axis for are left out.

    Args:
        volume: The volume.
        presets: Names of the presets.
    """
    master = volume.spec(volume.master)
    rank = len(master.shape)
    if rank not in PRESET_AXES:
        return {}
    axes = PRESET_AXES[rank] | {f"fast_{dim}": axis for axis, dim in enumerate(master.dims) if dim in SPACE}
    chosen = {}
    for axis in dict.fromkeys(axes[preset] for preset in presets if preset in axes):
        name = f"fast_{master.dims[axis]}"
        if math.prod(master.shape[:-1]) == 1:
            # A single trace is one chunk: cut along the samples its copies would be larger than itself.
            chosen[name] = master.shape
            continue
        largest = copy_chunks(rank, axis)
        fitted = tuple(
            extent if a == axis else fitted_extent(n, extent, math.lcm(step, CELL))
            for a, (n, extent, step) in enumerate(zip(master.shape, largest, master.chunks, strict=True))
        )
        chosen[name] = largest if fitted != largest and _has(volume, name, largest) else fitted
    return chosen


def _has(volume: Volume, name: str, chunks: tuple[int, ...]) -> bool:
    """Return whether the volume, or a plan of a stopped run on it, has a copy with these chunks."""
    master = volume.spec(volume.master)
    chunks = clipped(chunks, master.shape)
    if volume.has(name):
        return volume.spec(name).chunks == chunks
    made_by = {stage.plan for stage in volume.state.stages.values()}
    if "" in made_by:  # a master that is not written yet
        return False
    bodies = (plan.body for plan in unfinished_plans(volume.store, done=made_by))
    begun = [
        ArraySpec.from_json(copy)
        for body in bodies
        if body["verb"] == "rechunk" and body["master"]["plan"] in made_by
        for copy in body["copies"]
    ]
    return any(spec.path == name and spec.chunks == chunks for spec in begun)


def clipped(chunks: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return chunks that are no wider than the volume: ZFP works in cells of 4 samples, and more would be padding."""
    return tuple(min(c, round_up(n, CELL)) for c, n in zip(chunks, shape, strict=True))
