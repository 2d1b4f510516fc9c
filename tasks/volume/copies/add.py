"""Make copies of a master, or of any array: plan, refuse, write and publish them, under the lock of their volume."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tasks.parameters import Copies, Run
from tasks.volume.arrays.least_of_array import least_of_array
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Compute, limits_of
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
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.protocol.deletion import clear_run
from tasks.volume.protocol.holdings import held_epoch
from tasks.volume.protocol.label_list import listed_in_image
from tasks.volume.protocol.owner import Fit, any_memory, owned
from tasks.volume.protocol.place import refuse_taken
from tasks.volume.protocol.plan import digest_of
from tasks.volume.protocol.remembered import recalling
from tasks.volume.protocol.root import root_under_lock
from tasks.volume.protocol.summary import array_rows, ended, planned_row, using
from tasks.volume.store.objects import Traffic
from tasks.volume.store.room import refuse_full

log = logging.getLogger(__name__)


def add_copies(
    opened: Volume,
    copies: Copies,
    overwrite: bool,
    run: Run,
    compute: Compute | None,
    began: float,
    before: Traffic,
    refuse_damaged: Callable[[Volume, Compute], None],
) -> dict[str, Any]:
    """Make the missing copies and return the summary of the stage; in a dry run, the plan.

    Args:
        opened: The volume, or the array of another tool.
        copies: Copies to make, and their largest errors.
        overwrite: Replace existing copies of another form.
        run: Settings of the run.
        compute: Where blocks run; threads of this process if not given.
        began: Begin of the run, as `time.monotonic` has it.
        before: Requests that were sent before.
        refuse_damaged: Reads the master and its mask through their checksums, before old copies are deleted.

    Raises:
        InputRefused: A copy cannot be made.
        DestinationRefused: A copy of that name exists in another form.
        IntegrityFailure: The error of a stored chunk is larger than the tolerance.
        Resumable: The run stopped before its end.
    """
    store = opened.store
    specs = copy_specs(opened, copies, limits_of(compute), local=store.local)
    if not specs:
        dry: dict[str, Any] = {"dry_run": True} if run.dry_run else {}
        return ended(store, "copies", [], began, before, notes=[why_no_copies(opened)], **dry)
    if run.dry_run or not held_epoch(store):
        refuse_taken(store, opened.root, [spec.path for spec in specs])
        _refuse_full(opened, specs)
    if run.dry_run:
        with using(compute, run) as compute:
            todo, readings, _ = planned_copies(opened, specs, compute)
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
        fit = lambda compute: planned_copies(opened, specs, compute)[2]  # noqa: E731
    with (
        using(compute, run) as compute,
        listed_in_image(store, run, compute),
        owned(store, run, compute, fit) as owner,
    ):
        root = root_under_lock(owner.store, opened.root)
        requests = {spec.path: digest_of(request_of(root, opened.master, spec)) for spec in specs}
        opened = Volume(store, root)
        targets = {spec.path: target_of(spec) for spec in specs if target_of(spec)}
        if not overwrite and (differ := [s for s in not_there(opened, specs) if s.path in root.members]):
            raise DestinationRefused(
                f"{store.url} has {how_copies_differ(opened, differ)}; replace with --overwrite, or give the copy "
                "another name"
            )
        # Tolerances are chosen from samples that this process may have stored.
        todo, readings, fitted = planned_copies(Volume(recalling(store), root), specs, compute, chosen)
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
            body_of(opened, todo, readings),
            lambda compute: fitted,
            present=root,
            after=after,
            read=lambda: refuse_damaged(opened, compute),
            leave_chunks=[
                s.path for s in todo if s.path in replaced and decode_alike(opened.spec(s.path), s)
            ],
            created_on=opened.state.created_on,
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
                body_of(opened, again, _of(again, readings)),
                lambda compute: fitted,
                present=after,
                after=after,
                keep=[stage.plan.digest],
                leave_chunks=[s.path for s in todo],
                created_on=opened.state.created_on,
            )
            second_copies = {copy.spec.path: copy for copy in make_copies(second, bare, again)}
            finished = [second_copies.get(copy.spec.path, copy) for copy in finished]
        root, notes = publish_copies(bare, finished, requests, targets)
        if len(again) == len(todo):  # nothing is of the first attempt
            clear_run(owner.store, owner.epoch, stage.plan.digest)
    notes += [note] if note else []
    return ended(store, "copies", array_rows(root, names), began, before, stage=stage, notes=notes)


def _refuse_full(opened: Volume, specs: Sequence[ArraySpec]) -> None:
    """Check that a local disk may have room for the lossless ones among some copies.

    Raises:
        DestinationRefused: It certainly has not.
    """
    exact = sum(":" not in spec.codec for spec in specs)
    if opened.root.is_annex:
        master, origin = opened.spec(opened.master), opened.store_of(opened.master)
        refuse_full(opened.store, exact * master.raw_bytes, lambda: exact * least_of_array(origin, master))
        return
    stored = exact * opened.array_attributes(opened.master).get("stored_bytes", 0)
    refuse_full(opened.store, stored, lambda: stored // 2)  # values in other chunks take about the same


def _of(copies: Sequence[ArraySpec], readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings in which some of the copies are made, for them alone."""
    paths = {spec.path for spec in copies}
    fewer = [
        replace(reading, paths=tuple(path for path in reading.paths if path in paths)) for reading in readings
    ]
    return [entry for entry in fewer if entry.paths]
