"""Make every level visible, with coordinates of its own, and commit."""

import math
from typing import Any

import numpy as np

from tasks.volume.arrays.attributes import NAN_FILL, level_labels, level_scale
from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.groups import PYRAMID
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.root_schema import LevelEntry, StageEntry
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import block_count
from tasks.volume.images.spacing import rockverse_attributes
from tasks.volume.protocol.foreign_target import foreign_meaning
from tasks.volume.protocol.ledger import Record, stored_by
from tasks.volume.protocol.own_names import groups_above
from tasks.volume.protocol.ready import Ready, put_arrays
from tasks.volume.protocol.stage import Stage, publish_root, run_blocks
from tasks.volume.protocol.writer import small_array
from tasks.volume.pyramid.block import masks_of, pyramid_block
from tasks.volume.pyramid.levels import described_levels, is_flat, planned_levels


def add_levels(stage: Stage, root: Root, request: str) -> Root:
    """Make the levels and commit them; return the root that has them."""
    specs, _, passes = planned_levels(stage.plan)
    counts = [block_count(specs[step.coarsest].shape, step.block) for step in passes]
    records: list[Record] = []
    for number, count in enumerate(counts):
        first = sum(counts[:number])
        records += run_blocks(stage, pyramid_block, range(first, first + count), of=sum(counts))
    root.group.refuse_changed(Volume(stage.store, root))
    return _publish(stage, root, records, request)


def _publish(stage: Stage, root: Root, records: list[Record], request: str) -> Root:
    """Make every level visible, with coordinates of its own, and commit."""
    store, volume, method = stage.store, Volume(stage.store, root), stage.plan.body["method"]
    specs, factors, _ = planned_levels(stage.plan)
    masks = masks_of(store, stage.plan)
    base, master = volume.state.levels[0], volume.array_attributes(specs[0].path)
    axes = [
        volume.read(dim) if volume.has(dim) else np.arange(n)
        for dim, n in zip(specs[0].dims, specs[0].shape, strict=True)
    ]
    arrays: list[Ready] = []
    groups: list[str] = []
    levels, stored = [base], stored_by(records)
    for number, spec in enumerate(specs[1:], start=1):
        group = f"{PYRAMID}/{number}"
        steps = [math.prod(axis) for axis in zip(*factors[:number], strict=True)]
        # `nearest` takes the first sample of each cell, which stays where it was.
        scaled = [
            level_scale(s, t, f) if method != "nearest" else (s * f, t)
            for s, t, f in zip(base.scale, base.translation, steps, strict=True)
        ]
        for dim, values, f, n, (scale, translation) in zip(
            spec.dims, axes, steps, spec.shape, scaled, strict=True
        ):
            if is_flat(root):
                break
            labels = level_labels(values, f, scale, translation, method)
            units = (
                {k: v for k, v in volume.array_attributes(dim).items() if k == "units"}
                if volume.has(dim)
                else {}
            )
            arrays.append(
                small_array(ArraySpec(f"{group}/{dim}", (n,), (n,), "float64", (dim,)), labels, units)
            )
        raw_bytes = spec.raw_bytes
        if masks:
            live = masks[number]
            mask = ArraySpec(f"{group}/trace_mask", live.shape, live.shape, "bool", spec.dims[:-1])
            arrays.append(small_array(mask, live, {}))
            raw_bytes = int(live.sum()) * spec.shape[-1] * spec.numpy.itemsize
        objects = stored.of_array(spec.path)
        attributes: dict[str, Any] = dict(foreign_meaning(volume).carried)
        attributes |= {"_FillValue": NAN_FILL} if spec.fill == "NaN" else {}
        if "_ROCKVERSE_DATATYPE" in master:
            scale, origin = [s for s, _ in scaled], [t for _, t in scaled]
            attributes |= rockverse_attributes(master, scale, master["voxel_unit"], origin)
        attributes |= {
            "method": method,
            "factor": list(factors[number - 1]),
            "raw_bytes": raw_bytes,
            "stored_bytes": objects.total_bytes,
        }
        arrays.append(Ready(spec.path, metadata_of(spec, attributes), objects))
        levels.append(
            LevelEntry(path=spec.path, scale=[s for s, _ in scaled], translation=[t for _, t in scaled])
        )
    if not is_flat(root):
        groups = [*(f"{PYRAMID}/{number}" for number in range(1, len(specs))), PYRAMID]
    else:
        groups = [group for spec in specs[1:] for group in groups_above(spec.path)]
    root = root.with_members(put_arrays(stage, arrays, {group: {} for group in groups})).with_levels(levels)
    root = root.with_stages({PYRAMID: StageEntry(plan=stage.plan.digest, request=request)})
    return publish_root(stage, root=described_levels(root))
