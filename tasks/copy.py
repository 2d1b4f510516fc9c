"""Copy a published volume to another place, in any store, every object compared with its manifest on the way.

Objects travel as they are stored, nothing is decoded. The copy is a volume like any other and, if nothing is left
out, the same volume: equal bytes of every object that readers meet. It is written under the run protocol, so it can
be stopped and resumed, and its root comes last.
"""

import json
import logging
import time
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tasks.parameters import Run, StorageOptions, Url
from tasks.volume.arrays.documents import value_from
from tasks.volume.arrays.reader import open_any
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, Progress, on_io
from tasks.volume.copies.left_out import LEFT_OUT, selected_root
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.ledger import Record, Stored
from tasks.volume.protocol.manifest import listed_in, manifest_key
from tasks.volume.protocol.own_names import copied_objects
from tasks.volume.protocol.owner import owned
from tasks.volume.protocol.place import refuse_occupied, refuse_strangers
from tasks.volume.protocol.plan import digest_of, notes_of
from tasks.volume.protocol.ready import Ready, put_arrays
from tasks.volume.protocol.stage import Job, Stage, publish_root, run_blocks, settle
from tasks.volume.protocol.summary import array_rows, ended, fitting, using
from tasks.volume.store.objects import Store, traffic
from tasks.volume.store.room import refuse_full

log = logging.getLogger(__name__)

BLOCK_BYTES, BLOCK_OBJECTS = 256 << 20, 512
BATCH_BYTES = 64 << 20  # in memory at once; more only if one object is larger
EXTRAS = (".seismill/report/",)  # beside the arrays, as far as they are there


def copy(
    volume: Url,
    target: Url,
    includes: list[str] = [],  # noqa: B006  # a default that Prefect's form shows
    excludes: list[str] = [],  # noqa: B006
    overwrite: bool = False,
    run: Run = Run(),
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Copy a volume to another place, with all of its copies and levels or some.

    Args:
        volume: The published volume.
        target: Place of the copy.
        includes: Names of the only copies and pyramid to deliver (fast_inline, pyramid …); empty: all.
        excludes: Names of copies and pyramid to leave out; with the master among them, copies alone are delivered.
        overwrite: Replace a volume that is there already.
        run: Settings of the run.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage; `target` is the copy's place.

    Raises:
        InputRefused: There is no volume, or it has no such copy.
        DestinationRefused: The place holds another volume.
        IntegrityFailure: An object of the volume is not as it was written.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    source, store = open_any(Store(volume, run.storage_options)), Store(target, run.storage_options)
    if store.url == source.store.url:
        raise InputRefused(f"{store.url} is to be copied onto itself; name another target")
    if source.origin:
        raise InputRefused(
            f"{source.store.url} is a group of another tool, with levels or copies that Seismill made of its array "
            f"{source.origin}; copy the whole group with a tool for files or objects (cp -r, aws s3 sync), then see "
            "with seismill verify that all arrived"
        )
    root = selected_root(source, includes, excludes)
    notes = [LEFT_OUT.format(source.master)] if source.master in excludes else []
    if names := source.root.label_names:
        notes.append(
            f"the labels {', '.join(names)} of {source.store.url} are volumes of their own and were not "
            f"copied; publish them with --labels-of {store.url}"
        )
    arrays = [path for path, member in root.members.items() if member["node_type"] == "array"]
    listed = dict(zip(arrays, on_io(lambda path: manifest_of(source.store, path), arrays), strict=True))
    objects = [stored for path in arrays for stored in listed[path] if not stored.key.endswith("/zarr.json")]
    rows = array_rows(
        root, [path for path in arrays if "stored_bytes" in root.members[path].get("attributes", {})]
    )
    total = sum(stored.bytes for stored in objects)
    refuse_full(store, total, lambda: total)
    if run.dry_run:
        return {
            "dry_run": True,
            "volume": source.store.url,
            "target": store.url,
            "stage": "copy",
            "arrays": rows,
            "objects": len(objects),
            "bytes": total,
            "notes": notes,
        }
    refuse_occupied(store)
    largest = max((stored.bytes for stored in objects), default=0)

    def fit(compute: Compute) -> Compute:
        return fitting(compute, 2 * max(BATCH_BYTES, largest), "a batch of objects to copy")

    with using(compute, run) as compute, owned(store, run, compute, fit) as owner:
        present = owner.root()
        if present == root:
            return ended(store, "copy", rows, began, before, notes=["was done already"], target=store.url)
        if present is not None and not overwrite:
            raise DestinationRefused(
                f"{store.url} holds another volume; choose another place, or replace it with --overwrite"
            )
        refuse_strangers(store, present)
        body = {
            "verb": "copy",
            "volume": source.store.url,
            "root": digest_of(dict(root.document)),
            "objects": digest_of({stored.key: [stored.bytes, stored.crc32c] for stored in objects}),
        }
        created_on = root.state.created_on
        stage = owner.begin(
            "copy",
            body,
            fit,
            present=present,
            after=None,
            read=lambda: _compare_all(source.store, objects, compute),
            created_on=created_on,
        )
        lines = "".join(json.dumps([o.key, o.bytes, o.crc32c, *o.more.values()]) + "\n" for o in objects)
        stage.settle(copied_objects(stage.plan.digest), lines.encode())
        run_blocks(stage, copy_block, range(len(blocks_of(objects))))
        ready = [
            Ready(path, root.members[path], [o for o in listed[path] if not o.key.endswith("/zarr.json")])
            for path in arrays
        ]
        groups = {p: m.get("attributes", {}) for p, m in root.members.items() if m["node_type"] == "group"}
        put_arrays(stage, ready, groups, everything=True)
        _copy_notes(source.store, stage, root)
        publish_root(stage, root=root)
    log.info("%s: %d objects of %s", store.url, len(objects), source.store.url)
    return ended(store, "copy", rows, began, before, stage=stage, target=store.url, notes=notes)


def manifest_of(store: Store, path: str) -> list[Stored]:
    """Return all objects of an array, sorted by key.

    Raises:
        IntegrityFailure: There is no manifest, or it is not as it was written.
    """
    try:
        listed = listed_in(path, store.get(manifest_key(path)))
    except FileNotFoundError:
        listed = None
    if listed is None:
        raise IntegrityFailure(
            f"{store.url}/{manifest_key(path)} is missing or broken; run seismill verify to find what else is"
        )
    return listed


def blocks_of(objects: list[Stored]) -> list[list[Stored]]:
    """Return the objects in blocks of neighbours, each of at most `BLOCK_BYTES` and `BLOCK_OBJECTS`."""
    return list(_grouped(objects, BLOCK_BYTES, BLOCK_OBJECTS))


def _grouped(objects: list[Stored], most_bytes: int, most: int) -> Iterator[list[Stored]]:
    group: list[Stored] = []
    for stored in objects:
        if group and (len(group) == most or sum(o.bytes for o in group) + stored.bytes > most_bytes):
            yield group
            group = []
        group.append(stored)
    if group:
        yield group


def _whole(source: Store, stored: Stored) -> bytes:
    """Return an object as it was written.

    Raises:
        IntegrityFailure: The object is missing or has other bytes.
    """
    try:
        data = source.get(stored.key)
    except FileNotFoundError:
        data = b""
    if not stored.fits(data):
        raise IntegrityFailure(
            f"{source.url}/{stored.key} is not as it was written; run seismill verify on the volume, then copy it again"
        )
    return data


def _compare_all(source: Store, objects: list[Stored], compute: Compute) -> None:
    """Read every object once, so that a damaged one is refused before what it would replace is taken away."""
    began, done = time.monotonic(), 0
    for group in _grouped(objects, BATCH_BYTES, BLOCK_OBJECTS):
        if compute.stopping.is_set():
            raise Resumable("the run stopped while the volume was read; run the same command again")
        on_io(lambda stored: len(_whole(source, stored)), group)
        done += len(group)
        compute.report(Progress("compare", done, len(objects), 0, time.monotonic() - began))


def copy_block(job: Job) -> Record:
    """Copy the objects of one block."""
    store, plan = job.open()
    source = Store(plan.body["volume"], job.options)
    mine = _blocks_at(job.volume, job.options, plan.digest)[job.block]

    def one(stored: Stored) -> Stored:
        settle(store, job.epoch, stored.key, _whole(source, stored))
        return stored

    copied: list[Stored] = []
    for group in _grouped(mine, BATCH_BYTES, BLOCK_OBJECTS):
        copied += on_io(one, group)
    return Record(job.block, copied, sum(stored.bytes for stored in copied))


@lru_cache(maxsize=2)
def _blocks_at(volume: str, options: StorageOptions, digest: str) -> list[list[Stored]]:
    text = Store(volume, options).get(copied_objects(digest))
    return blocks_of([Stored.read(*value_from(line)) for line in text.splitlines()])


def _copy_notes(source: Store, stage: Stage, root: Root) -> None:
    """Copy what tells how the volume came about: the plans of its stages, and its pictures."""
    keys = [key for digest in sorted(root.plans) for key in notes_of(digest)]
    keys += [key for prefix in EXTRAS for key in source.keys(prefix)]

    def one(key: str) -> None:
        try:
            stage.settle(key, source.get(key))
        except FileNotFoundError:
            pass

    on_io(one, keys)
