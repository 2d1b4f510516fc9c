"""Make copies of the master in other chunks, all from one read of it, mostly lossy within a proven bound.

Every chunk is compared with the master while it is encoded: the ZFP encoder here computes what a decoder gets, and
chunks of any other codec are decoded. So the errors in a copy's attributes are those of its stored bytes; `verify
--errors` decodes these and measures again. Copies of one tolerance share their ZFP blocks, which are encoded once.
NaN and Inf would damage neighbouring samples in ZFP, so they become 0 there; only the master keeps them.
"""

import time
from typing import Any

from tasks.parameters import ArrayPath, Copies, GroupChunks, OptionalUrl, Run, Url
from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import Compute
from tasks.volume.copies.add import add_copies
from tasks.volume.copies.explore import explored
from tasks.volume.integrity.whole import refuse_damaged
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.foreign_target import open_master
from tasks.volume.protocol.place import refuse_inside_volume, refuse_no_bucket
from tasks.volume.protocol.summary import ended, fitting, planned_row, using
from tasks.volume.store.objects import Store, Traffic, locate, traffic
from tasks.volume.store.room import refuse_full
from tasks.volume.store.writable import WritableStore


def rechunk(
    volume: Url,
    copies: Copies = Copies(),
    overwrite: bool = False,
    run: Run = Run(),
    array: ArrayPath = "",
    target: OptionalUrl = "",
    explore: OptionalUrl = "",
    group: GroupChunks = "",
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Add copies in other chunks to a volume, or to any Zarr array, from one read of it.

    Args:
        volume: The volume, or any Zarr group or array.
        copies: Copies to make, and their largest errors.
        overwrite: Replace existing copies of another form.
        run: Settings of the run; none changes the data.
        array: Path of another tool's array, such as field/0; its copies are written beside it.
        target: Zarr v3 group for the copies of such an array, required if it is no level 0 (0, s0, scale0/image).
        explore: Make no copies; measure their size and error over tolerances, and draw both in this .png file.
        group: Write a whole group of another tool to the target, in chunks such as time=64,lat=128, or auto.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage, with the errors measured; of an exploration the figures, as `trials`.

    Raises:
        InputRefused: A parameter cannot be used, or there is no volume.
        DestinationRefused: A copy of that name is there in another form.
        IntegrityFailure: A stored chunk is further off than the tolerance.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    if group:
        if array or explore or overwrite or not target:
            raise InputRefused(
                "--group writes a whole group to a new place; name that with --target, and leave out --array, "
                "--explore and --overwrite"
            )
        return _regrouped(volume, target, group, run, compute, before)
    opened = open_master(volume, array, target, run)
    if explore:
        return _explored(opened, explore, overwrite, run, before)
    return add_copies(opened, copies, overwrite, run, compute, began, before, refuse_damaged)


def _regrouped(
    source: str, target: str, wanted: str, run: Run, compute: Compute | None, before: Traffic
) -> dict[str, Any]:
    """Write a group of another tool in other chunks; a second run goes on with the first."""
    # Imported here: zarr-python takes a third of a second.
    from tasks.volume.export.ome_group import refuse_other
    from tasks.volume.export.regrouped import regrouped, write_group

    began = time.monotonic()
    place = WritableStore(target, run.storage_options)
    group = regrouped(Store(source, run.storage_options), wanted, local=place.local)
    if place.is_file or f"{place.url}/".startswith(f"{group.source.url}/"):
        raise DestinationRefused(f"{place.url} is a file or inside the group; name a place outside of it")
    refuse_inside_volume(place)
    refuse_full(place, sum(spec.raw_bytes for spec in group.arrays), lambda: group.least_bytes)
    rows = [planned_row(spec) for spec in group.arrays]
    shown: dict[str, Any] = {"target": place.url}
    if run.dry_run:
        refuse_no_bucket(place)
        refuse_other(place, set(place.keys("")), group.note)
        return {
            "dry_run": True,
            "volume": group.source.url,
            "stage": "group",
            "arrays": rows,
            "notes": [],
        } | shown
    with using(compute, run) as compute:
        fitting(compute, group.memory_bytes, "a block of values")
        written, there = write_group(group, place, compute)
    notes = [f"{there:,} objects were there already"] if there else []
    notes += [f"{path} holds no plain numbers, so its chunks are as they were" for path in group.as_found]
    return ended(group.source, "group", rows, began, before, notes=notes, objects=written + there, **shown)


def _explored(opened: Volume, target: str, overwrite: bool, run: Run, before: Traffic) -> dict[str, Any]:
    """Try codecs over tolerances on a sample of the master; write nothing but their picture, outside of the volume.

    Raises:
        DestinationRefused: The picture would lie in the volume, or something is there.
    """
    # Imported here: matplotlib takes half a second.
    from tasks.volume.report.tradeoff import draw_tradeoff

    began = time.monotonic()
    folder, _, name = locate(target).url.rpartition("/")
    if not name.endswith(".png") or f"{folder}/".startswith(f"{opened.store.url}/"):
        raise DestinationRefused(
            f"a picture cannot be written to {target}; name a .png file outside of the volume, such as "
            "--explore copies.png"
        )
    place = WritableStore(folder, run.storage_options)
    if place.exists(name) and not overwrite:
        raise DestinationRefused(f"{target} is there already; name another, or replace it with --overwrite")
    trials = explored(opened)
    facts: dict[str, Any] = {"dry_run": True} if run.dry_run else {"pictures": [f"{folder}/{name}"]}
    if not run.dry_run:
        unit = str(opened.array_attributes(opened.master).get("units", ""))
        title = f"{opened.master_name} of {opened.store.url.rpartition('/')[2]}: lossy copies, on a sample"
        place.put(name, draw_tradeoff(title, unit, trials))
    return ended(
        opened.store, "explore", [], began, before, trials=[trial.to_json() for trial in trials], **facts
    )
