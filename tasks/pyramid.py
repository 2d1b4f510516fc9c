"""Coarser levels of a volume's master, or of any Zarr array, each made of the live samples of the level above it.

Level n + 1 has shape ceil(shape / factor): a cell at the far edge is made of the samples it has. Missing traces and NaN
samples are left out of means. All levels are one plan; a pass over
a level starts when that level is complete, and no level is visible before all are.
"""

import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any

from tasks.parameters import ArrayPath, Levels, OptionalUrl, Run, Url
from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import Compute, limits_of
from tasks.volume.copies.add import add_copies
from tasks.volume.integrity.whole import refuse_damaged
from tasks.volume.protocol.foreign_target import open_master
from tasks.volume.protocol.label_list import listed_in_image
from tasks.volume.protocol.owner import owned
from tasks.volume.protocol.plan import digest_of
from tasks.volume.protocol.root import root_under_lock
from tasks.volume.protocol.summary import array_rows, ended, planned_row, using
from tasks.volume.pyramid.finish import add_levels
from tasks.volume.pyramid.level_zero import BASE, level_zero
from tasks.volume.pyramid.levels import ended_early, without_levels
from tasks.volume.pyramid.levels_request import levels_request, request_of
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
    request = levels_request(opened, levels, limits_of(compute))
    paths, base = request.paths, level_zero(opened, request.specs, volume, array, leave=leave_base)
    notes = [*ended_early(request.specs, levels), *base.notes]
    copy_base = partial(add_copies, opened, base.copies, False, run, compute, began, before, refuse_damaged)
    if run.dry_run:
        rows = copy_base()["arrays"] if base.is_copied else []
        rows += [planned_row(spec) for spec in request.specs[1:]]
        return {"dry_run": True, "volume": store.url, "stage": "pyramid", "arrays": rows, "notes": notes}
    if not paths and not request_of(opened.root):
        return ended(store, "pyramid", [], began, before, notes=notes)
    if base.is_copied:
        with using(compute, run) as fitted:
            request.fit(fitted)  # the levels must not be refused when level 0 exists already
        log.info("%s: %s", store.url, notes[-1])
        copy_base()
        request = replace(request, opened=open_master(volume, array, target, run))
    with (
        using(compute, run) as compute,
        listed_in_image(store, run, compute),
        owned(store, run, compute, request.fit) as owner,
    ):
        root = root_under_lock(owner.store, request.opened.root)
        body = request.body(root)
        if request_of(root) == digest_of(body):
            return ended(store, "pyramid", array_rows(root, paths), began, before, notes=["was done already"])
        request.refuse_others(root, overwrite=overwrite)
        after = without_levels(root) if request_of(root) else root
        stage = owner.begin(
            "pyramid",
            body,
            request.fit,
            present=root,
            after=after,
            read=lambda: refuse_damaged(Volume(store, root), compute),
            created_on=root.state.created_on,
        )
        root = add_levels(stage, after, digest_of(body))
    shown = [BASE, *paths] if base.is_copied else paths
    return ended(store, "pyramid", array_rows(root, shown), began, before, stage=stage, notes=notes)
