"""Coarser levels of a volume's master, or of any Zarr array, each made of the live samples of the level above it.

Level n + 1 has shape ceil(shape / factor): a cell at the far edge is made of the samples it has, traces that
do not exist and NaN samples are left out, so nothing leaks into a mean. All levels are one plan; a pass over
a level starts when that level is complete, and no level is visible before all are.
"""

import logging
import time
from dataclasses import replace
from typing import Any

from tasks.parameters import ArrayPath, Levels, OptionalUrl, Run, Url
from tasks.volume.arrays.groups import PYRAMID
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, limits_of
from tasks.volume.copies.add import add_copies
from tasks.volume.integrity.whole import refuse_damaged
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.foreign_target import foreign_meaning, open_master
from tasks.volume.protocol.holdings import held_epoch
from tasks.volume.protocol.label_list import listed_in_image
from tasks.volume.protocol.owner import owned
from tasks.volume.protocol.place import refuse_taken
from tasks.volume.protocol.plan import digest_of
from tasks.volume.protocol.root import root_under_lock
from tasks.volume.protocol.summary import array_rows, ended, fitting, planned_row, using
from tasks.volume.pyramid.finish import add_levels
from tasks.volume.pyramid.level_zero import BASE, level_zero
from tasks.volume.pyramid.levels import (
    block_memory,
    ended_early,
    how_levels_differ,
    level_specs,
    method_of,
    without_levels,
)
from tasks.volume.store.objects import traffic

log = logging.getLogger(__name__)


def pyramid(
    volume: Url,
    levels: Levels = Levels(),
    overwrite: bool = False,
    run: Run = Run(),
    array: ArrayPath = "",
    target: OptionalUrl = "",
    leave_base: bool = False,
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Add coarser levels to a volume, or to any Zarr array.

    Args:
        volume: The volume, or any Zarr group or array.
        levels: Number and factors of the levels.
        overwrite: Replace existing levels of another form.
        run: Settings of the run; none changes the data.
        array: Path of another tool's array, such as field/0; its levels become field/1, field/2 … (of s0: s1, s2 …).
        target: Zarr v3 group for the levels of such an array, required if it is no level 0 (0, s0, scale0/image).
        leave_base: Do not copy the array of an image (axes t, c, z, y, x) into a new target as level 0.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage.

    Raises:
        InputRefused: A parameter cannot be used, or there is no volume.
        DestinationRefused: Other levels are there.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    opened = open_master(volume, array, target, run)
    store = opened.store
    specs, factors, passes = level_specs(opened, levels, limits_of(compute), local=store.local)
    method, meaning = method_of(opened, levels), foreign_meaning(opened)
    meaning.refuse_levels(specs[0].numpy, method)
    paths, notes = [spec.path for spec in specs[1:]], ended_early(specs, levels)
    base = level_zero(opened, specs, volume, array, leave=leave_base)
    notes += base.notes
    if not held_epoch(store):
        refuse_taken(store, opened.root, paths)
    if run.dry_run:
        rows = (
            add_copies(opened, base.copies, False, run, compute, began, before, refuse_damaged)["arrays"]
            if base.is_copied
            else []
        )
        rows += [planned_row(s) for s in specs[1:]]
        return {"dry_run": True, "volume": store.url, "stage": "pyramid", "arrays": rows, "notes": notes}
    need = block_memory(specs, factors, passes, local=store.local)
    if meaning.has_gaps:  # values are made floats with NaN for a while
        need += need * 16 // specs[0].numpy.itemsize

    def body_of(root: Root) -> dict[str, Any]:
        volume = Volume(store, root)
        return {
            "verb": "pyramid",
            "master": volume.state.stages[specs[0].path].plan,
            "origin": opened.origin,
            "mask": volume.spec("trace_mask").to_json() if volume.has("trace_mask") else None,
            "factors": factors,
            "method": method,
            "arrays": [spec.to_json() for spec in specs],
            "passes": [step.to_json() for step in passes],
        } | ({"gaps": replace(meaning, carried={}).to_json()} if meaning.has_gaps else {})

    def made_of(root: Root) -> str:
        return root.state.stages[PYRAMID].request if PYRAMID in root.state.stages else ""

    def fit(compute: Compute) -> Compute:
        if made_of(opened.root) == digest_of(body_of(opened.root)):
            return compute
        return fitting(compute, need, "a block of samples and what is made of it")

    if not paths and not made_of(opened.root):
        return ended(store, "pyramid", [], began, before, notes=notes)
    if base.is_copied:
        with using(compute, run) as fitted:
            fit(fitted)  # the levels must not be refused when level 0 is there already
        log.info("%s: %s", store.url, notes[-1])
        add_copies(opened, base.copies, False, run, compute, began, before, refuse_damaged)
        opened = open_master(volume, array, target, run)
    with (
        using(compute, run) as compute,
        listed_in_image(store, run, compute),
        owned(store, run, compute, fit) as owner,
    ):
        root = root_under_lock(owner.store, opened.root)
        body, known = body_of(root), made_of(root)
        request = digest_of(body)
        if known == request:
            return ended(store, "pyramid", array_rows(root, paths), began, before, notes=["was done already"])
        if known and not overwrite:
            raise DestinationRefused(
                f"{store.url} has other pyramid levels ({how_levels_differ(Volume(store, root), specs[1:])}); "
                "replace them with --overwrite, or leave them as they are"
            )
        if known and not paths:
            raise InputRefused(
                f"the master of {store.url} is a single chunk, so that no coarser levels would replace those that "
                "are there; ask for smaller ones with --until 1, or leave them as they are"
            )
        refuse_taken(store, root, paths)
        opened = Volume(store, root)
        after = without_levels(root) if known else root
        stage = owner.begin(
            "pyramid",
            body,
            fit,
            present=root,
            after=after,
            read=lambda: refuse_damaged(opened, compute),
            created_on=root.state.created_on,
        )
        root = add_levels(stage, after, request)
    shown = [BASE, *paths] if base.is_copied else paths
    return ended(store, "pyramid", array_rows(root, shown), began, before, stage=stage, notes=notes)
