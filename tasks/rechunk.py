"""Copies of the master in other chunks, all of them from one read of it, mostly lossy within a proven bound.

Every chunk is compared with the master while it is encoded: ZFP's encoder knows what a decoder gets from its bits, and
chunks of any other codec are decoded. So the errors that a copy's attributes name are those of its stored bytes;
`verify --errors` decodes these and measures again. NaN and Inf would spoil their whole neighbourhood in ZFP and become
0 there; they survive in the master only.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tasks.parameters import ArrayPath, Copies, GroupChunks, OptionalUrl, Run, Url
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Compute
from tasks.volume.copies.explore import explored
from tasks.volume.copies.finish import make_copies, missed, publish_copies
from tasks.volume.copies.plan import (
    body_of,
    copy_specs,
    decode_alike,
    how_copies_differ,
    more_readings,
    not_there,
    planned_copies,
    request_of,
    why_no_copies,
)
from tasks.volume.copies.target import chosen, target_of
from tasks.volume.derived.readings import Reading
from tasks.volume.integrity.whole import refuse_damaged
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.deletion import clear_run
from tasks.volume.protocol.foreign_target import open_master
from tasks.volume.protocol.label_list import listed_in_image
from tasks.volume.protocol.lock import held_epoch
from tasks.volume.protocol.owner import Fit, any_memory, owned
from tasks.volume.protocol.place import refuse_inside_volume, refuse_taken
from tasks.volume.protocol.plan import digest_of
from tasks.volume.protocol.root import root_under_lock
from tasks.volume.protocol.summary import array_rows, ended, fitting, planned_row, using
from tasks.volume.store.objects import Store, Traffic, locate, traffic
from tasks.volume.store.room import refuse_full
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)


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
    """Add copies of the master, or of any Zarr array, in other chunks, so that slices in each direction read fast.

    Args:
        volume: The published volume, or any Zarr group or array.
        copies: Copies to make, and their largest errors.
        overwrite: Replace copies that are there in another form.
        run: Settings of the run.
        array: Path of an array that another tool wrote, such as field/0; its copies lie beside it.
        target: Zarr v3 group for the copies of such an array; needed if it is no level 0 (0, s0, scale0/image)
            of a group of Zarr v3.
        explore: Make no copies; draw their size and error over tolerances in this PNG file.
        group: Write a whole group of another tool to `target`: all arrays with coordinates and attributes, losslessly,
            in chunks of these extents by dimension (time=64,lat=128), or auto.
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
    found = open_master(volume, array, target, run)
    store = found.store
    if explore:
        return _explored(found, explore, overwrite, run, before)
    specs = copy_specs(found, copies, local=store.local)
    if not specs:
        dry: dict[str, Any] = {"dry_run": True} if run.dry_run else {}
        return ended(store, "copies", [], began, before, notes=[why_no_copies(found)], **dry)
    if run.dry_run:
        with using(compute, run) as compute:
            todo, readings, _ = planned_copies(found, specs, compute)
        note, fitted_specs = more_readings(readings), {spec.path: spec for spec in todo}
        rows = [planned_row(fitted_specs.get(s.path, s)) for s in specs]
        return {
            "dry_run": True,
            "volume": store.url,
            "stage": "copies",
            "arrays": rows,
            "blocks": [reading.blocks.block for reading in readings],
            "notes": [note] if note else [],
        }
    names = [spec.path for spec in specs]
    fit: Fit = any_memory  # under a lock that is held already, all that is refused is refused below
    if not held_epoch(store):
        refuse_taken(store, found.root, names)
        exact = sum(":" not in spec.codec for spec in specs)
        stored = 0 if found.origin else exact * found.array_attributes(found.master)["stored_bytes"]
        refuse_full(
            store, stored, lambda: stored // 2
        )  # of values in other chunks, which take about the same
        fit = lambda compute: planned_copies(found, specs, compute)[2]  # noqa: E731
    with (
        using(compute, run) as compute,
        listed_in_image(store, run, compute),
        owned(store, run, compute, fit) as owner,
    ):
        root = root_under_lock(owner.store, found.root)
        requests = {spec.path: digest_of(request_of(root, found.master, spec)) for spec in specs}
        found = Volume(store, root)
        targets = {spec.path: target_of(spec) for spec in specs if target_of(spec)}
        if not overwrite and (differ := [s for s in not_there(found, specs) if s.path in root.members]):
            raise DestinationRefused(
                f"{store.url} has {how_copies_differ(found, differ)}; replace with --overwrite, or give the copy "
                "another name"
            )
        todo, readings, fitted = planned_copies(found, specs, compute, chosen)
        replaced = [s.path for s in todo if s.path in root.members]
        if not todo:
            return ended(store, "copies", array_rows(root, names), began, before, notes=["were done already"])
        refuse_taken(store, root, names)
        if note := more_readings(readings):
            log.info("%s: %s", store.url, note)
        after = root
        if replaced:
            after = root.without(replaced).with_stages(dict.fromkeys(replaced))
        stage = owner.begin(
            "copies",
            body_of(found, todo, readings),
            lambda compute: fitted,
            present=root,
            after=after,
            read=lambda: refuse_damaged(found, compute),
            leave_chunks=[s.path for s in todo if s.path in replaced and decode_alike(found.spec(s.path), s)],
            created_on=found.state.created_on,
        )
        bare = Volume(store, after)
        finished = make_copies(stage, bare, todo)
        if again := missed(finished, targets):
            log.info(
                "%s: %s did not reach the target, and is made again",
                store.url,
                ", ".join(s.path for s in again),
            )
            # With half the tolerance, once, before any copy is visible.
            second = owner.begin(
                "copies",
                body_of(found, again, _of(again, readings)),
                lambda compute: fitted,
                present=after,
                after=after,
                keep=[stage.plan.digest],
                leave_chunks=[s.path for s in todo],
                created_on=found.state.created_on,
            )
            anew = {copy.spec.path: copy for copy in make_copies(second, bare, again)}
            finished = [anew.get(copy.spec.path, copy) for copy in finished]
        root, notes = publish_copies(bare, finished, requests, targets)
        if len(again) == len(todo):  # nothing is of the first attempt
            clear_run(owner.store, owner.epoch, stage.plan.digest)
    notes += [note] if note else []
    return ended(store, "copies", array_rows(root, names), began, before, stage=stage, notes=notes)


def _of(copies: Sequence[ArraySpec], readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings in which some of the copies are made, for them alone."""
    paths = {spec.path for spec in copies}
    fewer = [
        replace(reading, paths=tuple(path for path in reading.paths if path in paths)) for reading in readings
    ]
    return [entry for entry in fewer if entry.paths]


def _regrouped(
    source: str, target: str, wanted: str, run: Run, compute: Compute | None, before: Traffic
) -> dict[str, Any]:
    """Write a group of another tool in other chunks; a second run goes on with the first."""
    # Imported here: zarr-python takes a third of a second.
    from tasks.volume.export.regrouped import regrouped, write_group

    began = time.monotonic()
    place = WritableStore(target, run.storage_options)
    group = regrouped(Store(source, run.storage_options), wanted, local=place.local)
    if place.is_file or f"{place.url}/".startswith(f"{group.source.url}/"):
        raise DestinationRefused(f"{place.url} is a file or inside the group; name a place outside of it")
    refuse_inside_volume(place)
    rows = [planned_row(spec) for spec in group.arrays]
    shown: dict[str, Any] = {"target": place.url}
    if run.dry_run:
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


def _explored(found: Volume, target: str, overwrite: bool, run: Run, before: Traffic) -> dict[str, Any]:
    """Try codecs over tolerances on a sample of the master; write nothing but their picture, outside of the volume.

    Raises:
        DestinationRefused: The picture would lie in the volume, or something is there.
    """
    # Imported here: matplotlib takes half a second.
    from tasks.volume.report.tradeoff import draw_tradeoff

    began = time.monotonic()
    folder, _, name = locate(target).url.rpartition("/")
    if not name.endswith(".png") or f"{folder}/".startswith(f"{found.store.url}/"):
        raise DestinationRefused(
            f"{target} is no place for a picture; name a .png file outside of the volume, such as --explore copies.png"
        )
    place = WritableStore(folder, run.storage_options)
    if place.exists(name) and not overwrite:
        raise DestinationRefused(f"{target} is there already; name another, or replace it with --overwrite")
    trials = explored(found)
    facts: dict[str, Any] = {"dry_run": True} if run.dry_run else {"pictures": [f"{folder}/{name}"]}
    if not run.dry_run:
        unit = str(found.array_attributes(found.master).get("units", ""))
        title = f"{found.master_name} of {found.store.url.rpartition('/')[2]}: lossy copies, on a sample"
        place.put(name, draw_tradeoff(title, unit, trials))
    return ended(
        found.store, "explore", [], began, before, trials=[trial.to_json() for trial in trials], **facts
    )
