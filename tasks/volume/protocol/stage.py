"""The shape that every writing verb has: plan, blocks, ledger, commit.

A verb gives arithmetic (a plan as a value), one function that does a block, and the metadata to publish when
all blocks are done; everything else about being stopped, resumed, watched and made visible is here, once.

Visibility comes in this order: an array's zarr.json when all its chunks are in the ledger, the groups
above it, its manifest, the root. So an array that exists is complete, also for readers that ignore the
consolidated metadata or open an array directly; and withdrawing goes the other way.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.parameters import Run, StorageOptions
from tasks.volume.arrays.codecs import crc32c, document_bytes
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Compute, Progress, run_window
from tasks.volume.outcomes import Resumable
from tasks.volume.protocol.deletion import clear_array, clear_run
from tasks.volume.protocol.ledger import Ledger, Record, Stored
from tasks.volume.protocol.lock import check_epoch, recheck_epoch
from tasks.volume.protocol.manifest import manifest_bytes, manifest_key
from tasks.volume.protocol.plan import NOTES, TWIN, Plan, plan_at, settle_plan
from tasks.volume.protocol.root import commit
from tasks.volume.store.objects import Store

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

    def open(self) -> tuple[Store, Plan]:
        """The store and plan, after a look that this run still owns the volume."""
        store, plan = plan_at(self.volume, self.options, self.digest, self.accept_versions)
        check_epoch(store, self.epoch)
        return store, plan

    def put(self, store: Store, spec: ArraySpec, position: tuple[int, ...], data: bytes) -> Stored:
        """Store one object of an array; the same bytes that are there already are left alone."""
        settle(store, self.epoch, spec.key(position), data)
        return Stored.chunk(spec, position, data)


@dataclass(frozen=True)
class Stage:
    """A plan being carried out under a lock."""

    name: str
    store: Store
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


def settle(store: Store, epoch: int, key: str, data: bytes) -> None:
    """Make an object hold `data`, if the run of that epoch still owns the volume."""
    store.create_or_match(
        key, data, before=partial(recheck_epoch, store, epoch), guard=partial(check_epoch, store, epoch)
    )


def begin_stage(
    name: str,
    store: Store,
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


def put_array(
    stage: Stage, path: str, metadata: Mapping[str, Any], objects: Iterable[Stored]
) -> tuple[str, dict[str, Any]]:
    """Make an array exist: remove chunks that are not its own, put its zarr.json, then its manifest.

    Args:
        stage: The stage, all of whose blocks are done.
        path: The array's path.
        metadata: Its zarr.json.
        objects: Every object that holds its chunks.

    Returns:
        The path and the metadata as they enter the root.
    """
    store, listed = stage.store, sorted(objects, key=lambda stored: stored.key)
    chunks, described = {stored.key for stored in listed}, f"{path}/zarr.json"
    present = clear_array(store, stage.epoch, path, len(metadata["shape"]), chunks)
    if not chunks <= present:
        # Not to be shown as whole. Without its ledger the next run does every block again.
        clear_run(store, stage.epoch, stage.plan.digest, ("ledger",))
        gone = sorted(chunks - present)
        raise Resumable(
            f"{len(gone)} objects that this run stored are gone from {store.url}, such as {gone[0]}; find out what "
            "removes objects there, and run the same command again"
        )
    check_epoch(store, stage.epoch)
    document = document_bytes(metadata)
    stage.settle(described, document)
    manifest = manifest_bytes(path, [*listed, Stored.document(described, document)])
    stage.settle(manifest_key(path), manifest)
    return path, dict(metadata)


def put_group(
    stage: Stage, path: str, attributes: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Make a group exist below the root."""
    document = GROUP | {"attributes": dict(attributes or {})}
    stage.settle(f"{path}/zarr.json", document_bytes(document))
    return path, document


def publish_root(*stages: Stage, root: dict[str, Any]) -> None:
    """Commit the root that stages made, and drop what only unfinished ones need."""
    last = stages[-1]
    last.settle(".seismill/zarr.json", document_bytes(GROUP))
    for stage in stages:
        own = [m for m in root["attributes"]["seismill"]["stages"].values() if m["plan"] == stage.plan.digest]
        kept = _kept_twice(stage) if own else {}
        for made in own:
            made["kept"] = kept
    commit(last.store, last.epoch, root)
    for stage in stages:
        clear_run(stage.store, stage.epoch, stage.plan.digest, ("ledger", "spill", "parts"))


def _kept_twice(stage: Stage) -> dict[str, Any]:
    """Bytes and checksum of what the volume is repaired by, of which there is a twin now: nothing else makes it."""
    kept: dict[str, Any] = {}
    for name in NOTES if "grid" in stage.plan.body else NOTES[:1]:
        data = stage.store.get(f"{stage.plan.folder}/{name}")
        stage.settle(f"{stage.plan.folder}/{name}{TWIN}", data)
        kept[name] = {"bytes": len(data), "crc32c": f"{crc32c(data):08x}"}
    return kept
