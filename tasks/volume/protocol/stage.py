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
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.parameters import Run, StorageOptions
from tasks.volume.arrays.codecs import crc32c, document_bytes
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Compute, Progress, on_io, run_window, together
from tasks.volume.outcomes import Resumable
from tasks.volume.protocol.deletion import clear_runs
from tasks.volume.protocol.ledger import Ledger, Record, Stored
from tasks.volume.protocol.lock import check_epoch, recheck_epoch
from tasks.volume.protocol.own_names import OWN
from tasks.volume.protocol.plan import NOTES, PLAN, TWIN, Plan, plan_at, remember_plan, settle_plan
from tasks.volume.protocol.root import commit
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One block as it travels to a worker: addresses only.

    Attributes:
        volume: URL of the volume.
        options: Non-secret options of its store and the source's.
        digest: Which plan.
        epoch: Under which lock.
        block: Which block of the plan.
        memory_bytes: What the worker's process may use.
        accept_versions: Whether other library versions than the plan's are accepted.
    """

    volume: str
    options: StorageOptions
    digest: str
    epoch: int
    block: int
    memory_bytes: int
    accept_versions: bool

    def open(self) -> tuple[WritableStore, Plan]:
        """The store and plan, after a look that this run still owns the volume."""
        store, plan = plan_at(self.volume, self.options, self.digest, self.accept_versions)
        check_epoch(store, self.epoch)
        return store, plan

    def put(self, store: WritableStore, spec: ArraySpec, position: tuple[int, ...], data: bytes) -> Stored:
        """Store one object of an array; the same bytes that are there already are left alone."""
        settle(store, self.epoch, spec.key(position), data)
        return Stored.chunk(spec, position, data)


@dataclass(frozen=True)
class Stage:
    """A plan being carried out under a lock."""

    name: str
    store: WritableStore
    plan: Plan
    epoch: int
    ledger: Ledger
    run: Run
    compute: Compute

    @property
    def resumed(self) -> int:
        """How many blocks earlier runs had done."""
        return self.ledger.resumed

    def settle(self, key: str, data: bytes) -> None:
        """Make an object hold `data`, if this run still owns the volume."""
        settle(self.store, self.epoch, key, data)


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
        )
        for number in todo
    )
    try:
        run_window(compute, work, ((job,) for job in jobs), on_result)
    finally:
        ledger.flush()
    if any(number not in ledger.records for number in blocks):
        raise Resumable(
            f"stopped after {len(ledger.records)} of {total} blocks of {stage.name}; run the same command again to "
            "go on"
        )
    return [ledger.records[number] for number in blocks]


def publish_root(*stages: Stage, root: dict[str, Any], leftovers: Sequence[str] = ()) -> None:
    """Commit the root that stages made, and drop what only unfinished ones need.

    Args:
        stages: The stages.
        root: The new root.
        leftovers: Digests of further plans, of which nothing is needed any more.
    """
    last = stages[-1]
    made_by = {stage.plan.digest: stage for stage in stages}
    own = [made for made in root["attributes"]["seismill"]["stages"].values() if made["plan"] in made_by]
    digests = dict.fromkeys(made["plan"] for made in own)
    notes = [(made_by[digest], name) for digest in digests for name in _notes(made_by[digest])]
    _, kept = together(
        partial(_settle_group, last),
        lambda: on_io(lambda note: _kept_twice(*note), notes),
    )
    for made in own:
        made["kept"] = {
            name: told
            for (stage, name), told in zip(notes, kept, strict=True)
            if stage.plan.digest == made["plan"]
        }
    commit(last.store, last.epoch, root)
    unfinished = dict.fromkeys(made_by, ("ledger", "spill", "parts"))
    clear_runs(last.store, last.epoch, unfinished | dict.fromkeys(leftovers, ("",)))


def _settle_group(stage: Stage) -> None:
    """Make the folder of our notes a group; the first stage of a volume did so, mostly."""
    key, document = f"{OWN}/zarr.json", document_bytes(GROUP)
    try:
        if stage.store.get(key) == document:
            return
    except FileNotFoundError:
        pass
    stage.settle(key, document)


def _notes(stage: Stage) -> Sequence[str]:
    """Return the names of what the volume is repaired by, which nothing else makes."""
    return NOTES if "grid" in stage.plan.body else NOTES[:1]


def _kept_twice(stage: Stage, name: str) -> dict[str, Any]:
    """Make a twin of a note; return its bytes and checksum."""
    data = stage.plan.content if name == PLAN else stage.store.get(f"{stage.plan.folder}/{name}")
    stage.settle(f"{stage.plan.folder}/{name}{TWIN}", data)
    return {"bytes": len(data), "crc32c": f"{crc32c(data):08x}"}
