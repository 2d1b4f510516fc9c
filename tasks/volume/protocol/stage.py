"""The shape that every writing verb has: plan, blocks, ledger, commit.

A verb gives arithmetic (a plan as a value), one function that does a block, and the metadata to publish when
all blocks are done; everything else about being stopped, resumed, watched and made visible is here, once.

Visibility comes in this order: an array's zarr.json when all its chunks are in the ledger, the groups
above it, its manifest, the root. So an array that exists is complete, also for readers that ignore the
consolidated metadata or open an array directly; and withdrawing goes the other way.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tasks.parameters import Run, StorageOptions
from tasks.volume.arrays.codecs import crc32c, document_bytes
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.root_schema import KeptEntry
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, Progress, io_pool, on_io, run_window, together
from tasks.volume.limits import Limits
from tasks.volume.outcomes import Resumable
from tasks.volume.protocol.deletion import remove_of_runs
from tasks.volume.protocol.ledger import Ledger, Record
from tasks.volume.protocol.lock import check_epoch, recheck_epoch
from tasks.volume.protocol.own_names import OWN
from tasks.volume.protocol.plan import NOTES, PLAN, TWIN, Plan, folder_of, plan_at, remember_plan, settle_plan
from tasks.volume.protocol.remembered import ended_tidy, recall, recalling, remember, remember_chunks
from tasks.volume.protocol.root import commit
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)

KEPT = ("ingest_segy", "ingest_images", "rechunk", "pyramid")  # verbs whose plans stay, with twins


@dataclass(frozen=True)
class Job:
    """One block as it travels to a worker: addresses only.

    Attributes:
        volume: URL of the volume.
        options: Non-secret options of its store and the source's.
        digest: Digest of the plan.
        epoch: Epoch of the lock.
        block: Number of the block in the plan.
        memory_bytes: Most bytes that the worker's process may use.
        accept_versions: Whether other library versions than the plan's are accepted.
        limits: Sizes from which the run takes another way.
        looks: Checks of the lock that are under way.
    """

    volume: str
    options: StorageOptions
    digest: str
    epoch: int
    block: int
    memory_bytes: int
    accept_versions: bool
    limits: Limits
    looks: list[Future[None]] = field(default_factory=list, compare=False, repr=False)

    def open(self) -> tuple[WritableStore, Plan]:
        """Return the store and plan, after a look that this run still owns the volume."""
        store, plan = plan_at(self.volume, self.options, self.digest, self.accept_versions)
        check_epoch(store, self.epoch)
        return store, plan

    def open_ahead(self) -> tuple[WritableStore, Plan]:
        """Open as `open` does, and check the lock while the block reads; `put` and `check` wait for that."""
        store, plan = plan_at(self.volume, self.options, self.digest, self.accept_versions)
        if store.local:
            check_epoch(store, self.epoch)
        else:
            self.looks.append(io_pool().submit(check_epoch, store, self.epoch))
        return store, plan

    def check(self) -> None:
        """Wait for the check that this run owned the volume when the block began.

        Raises:
            Resumable: Another run took over.
        """
        for look in self.looks:
            look.result()

    def put(self, store: WritableStore, spec: ArraySpec, position: tuple[int, ...], data: bytes) -> Stored:
        """Store one object of an array, unless the same bytes exist already."""
        self.check()
        key = spec.key(position)
        settle(store, self.epoch, key, data)
        remember_chunks(store, spec, key, data)
        return Stored.chunk(spec, position, data)


@dataclass(frozen=True)
class Stage:
    """A plan being carried out under a lock.

    Attributes:
        name: Name of the stage, for progress.
        store: The volume.
        plan: The plan.
        epoch: Epoch of the lock.
        ledger: Ledger of the blocks that are done.
        run: Settings of the run.
        compute: Where blocks run.
        twins: Writes of notes to a distant store, under way while blocks run.
    """

    name: str
    store: WritableStore
    plan: Plan
    epoch: int
    ledger: Ledger
    run: Run
    compute: Compute
    twins: dict[str, Future[KeptEntry]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def resumed(self) -> int:
        """Return the number of blocks that earlier runs completed."""
        return self.ledger.resumed

    def settle(self, key: str, data: bytes) -> None:
        """Make an object hold `data`, if this run still owns the volume."""
        settle(self.store, self.epoch, key, data)

    def note(self, name: str, data: bytes) -> None:
        """Store a note of the plan, and cache it for its blocks and its backup copy in this process."""
        key = f"{self.plan.folder}/{name}"
        self.store.put(key, data)
        remember(self.store, key, data)


def settle(store: WritableStore, epoch: int, key: str, data: bytes) -> None:
    """Make an object hold `data`, if the run of that epoch still owns the volume."""
    store.create_or_match(
        key, data, before=partial(recheck_epoch, store, epoch), guard=partial(check_epoch, store, epoch)
    )


def begin_stage(
    name: str,
    store: WritableStore,
    body: dict[str, Any],
    epoch: int,
    run: Run,
    compute: Compute,
    *,
    created_on: str = "",
) -> Stage:
    """Settle the plan and read its ledger."""
    plan, found = settle_plan(
        store, body, created_on=created_on or run.created_on, accept_versions=run.accept_versions
    )
    remember_plan(store, plan)
    store = recalling(store)
    remember(store, f"{plan.folder}/{PLAN}", plan.content)
    return Stage(name, store, plan, epoch, Ledger(store, plan, epoch, resumed=found), run, compute)


def run_blocks(
    stage: Stage, work: Callable[[Job], Record], blocks: Sequence[int], *, of: int = 0
) -> list[Record]:
    """Do every block of `blocks` that the ledger does not have; return all their records in block order.

    Args:
        stage: The stage.
        work: A module-level function, safe to repeat, that stores whole objects.
        blocks: Numbers of the blocks of this phase.
        of: How many blocks the whole stage has, for progress; by default those of this phase.

    Raises:
        Resumable: The run was asked to stop, or another took over.
    """
    ledger, compute, total = stage.ledger, stage.compute, of or len(blocks)
    todo = [number for number in blocks if number not in ledger.records]
    began, handled = time.monotonic(), 0

    def on_result(record: Record) -> None:
        nonlocal handled
        ledger.add(record)
        handled += record.raw_bytes
        compute.report(Progress(stage.name, len(ledger.records), total, handled, time.monotonic() - began))

    compute.report(Progress(stage.name, len(ledger.records), total, 0, 0.0))
    jobs = (
        Job(
            stage.store.url,
            stage.store.options,
            stage.plan.digest,
            stage.epoch,
            number,
            compute.memory_bytes,
            stage.run.accept_versions,
            compute.limits,
        )
        for number in todo
    )
    if not (stage.store.local or stage.twins) and stage.plan.body.get("verb") in KEPT:
        for name in _notes(stage):
            stage.twins[name] = io_pool().submit(_kept_twice, stage, name)
    whole = False
    try:
        run_window(compute, work, ((job,) for job in jobs), on_result)
        whole = not stage.store.local and all(number in ledger.records for number in blocks)
    finally:
        if whole:
            ledger.begin_flush()  # `put_arrays` awaits it
        else:
            wait(stage.twins.values())
            ledger.flush()
    if any(number not in ledger.records for number in blocks):
        raise Resumable(
            f"stopped after {len(ledger.records)} of {total} blocks of {stage.name}; run the same command again to "
            "go on"
        )
    return [ledger.records[number] for number in blocks]


def publish_root(*stages: Stage, root: Root, leftovers: Sequence[str] = ()) -> Root:
    """Commit the root that stages made, and drop what only unfinished ones need. Return it with what they keep.

    Args:
        stages: The stages.
        root: The new root.
        leftovers: Digests of further plans that are no longer needed.
    """
    last = stages[-1]
    made_by = {stage.plan.digest: stage for stage in stages}
    own = {name: entry for name, entry in root.state.stages.items() if entry.plan in made_by}
    digests = dict.fromkeys(entry.plan for entry in own.values())
    notes = [(made_by[digest], name) for digest in digests for name in _notes(made_by[digest])]
    unfinished = dict.fromkeys(made_by, ("ledger", "spill", "parts")) | dict.fromkeys(leftovers, ("",))
    calls: list[Callable[[], Any]] = [
        partial(_settle_group, last),
        *(partial(_twin_of, *note) for note in notes),
    ]
    _, *kept = on_io(lambda call: call(), calls)
    root = root.with_stages(
        {
            name: entry.model_copy(
                update={
                    "kept": {
                        note: about
                        for (stage, note), about in zip(notes, kept, strict=True)
                        if stage.plan.digest == entry.plan
                    }
                }
            )
            for name, entry in own.items()
        }
    )
    listed, _ = together(
        lambda: [key for digest in unfinished for key in last.store.keys(folder_of(digest))],
        partial(commit, last.store, last.epoch, root),
    )
    # This run made the commit just now, so it need not look at the lock once more.
    guard = partial(recheck_epoch, last.store, last.epoch)
    remove_of_runs(last.store, unfinished, listed, guard=guard)
    ended_tidy(last.store)
    return root


def _settle_group(stage: Stage) -> None:
    """Make the folder of our notes a group; the first stage of a volume did so, mostly."""
    key, document = f"{OWN}/zarr.json", document_bytes(GROUP)
    if recall(stage.store, key) == document:
        return
    stage.settle(key, document)
    remember(stage.store, key, document)


def _notes(stage: Stage) -> Sequence[str]:
    """Return the names of what the volume is repaired by, which nothing else makes."""
    return NOTES if "grid" in stage.plan.body else NOTES[:1]


def _twin_of(stage: Stage, name: str) -> KeptEntry:
    """Return bytes and checksum of a note after its backup copy is stored."""
    under_way = stage.twins.get(name)
    return under_way.result() if under_way else _kept_twice(stage, name)


def _kept_twice(stage: Stage, name: str) -> KeptEntry:
    """Store a backup copy of a note; return its bytes and checksum."""
    key = f"{stage.plan.folder}/{name}"
    data = stage.plan.content if name == PLAN else recall(stage.store, key) or stage.store.get(key)
    stage.settle(f"{key}{TWIN}", data)
    return KeptEntry(bytes=len(data), crc32c=f"{crc32c(data):08x}")
