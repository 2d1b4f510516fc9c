"""Copy a published volume and labels of its image to any store, every object compared with its manifest on the way.

Objects are copied as they are stored, without decoding. The copy is a volume like any other; if nothing is left out,
every object that readers use has the same bytes. It is written under the run protocol, so it can be stopped and
resumed, and its root is written last.
"""

import json
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

from tasks.parameters import Run, StorageOptions, Url
from tasks.volume.arrays.documents import value_from
from tasks.volume.arrays.volume_root import LABELS, Root
from tasks.volume.blocks import Compute, on_io
from tasks.volume.copies.to_copy import (
    BATCH_BYTES,
    BLOCK_OBJECTS,
    ToCopy,
    compare,
    grouped,
    or_without_labels,
    refuse_copies,
    volumes_to_copy,
    whole,
)
from tasks.volume.protocol.label_list import listed_in_image
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.own_names import copied_objects
from tasks.volume.protocol.owner import Fit, Owner, owned
from tasks.volume.protocol.place import refuse_no_bucket
from tasks.volume.protocol.plan import digest_of, notes_of
from tasks.volume.protocol.ready import Ready, put_arrays
from tasks.volume.protocol.stage import Job, Stage, publish_root, run_blocks, settle
from tasks.volume.protocol.stored import Stored, StoredObjects
from tasks.volume.protocol.summary import ended, fitting, using
from tasks.volume.store.objects import Store, Traffic, traffic
from tasks.volume.store.room import refuse_full

log = logging.getLogger(__name__)

BLOCK_BYTES = 256 << 20
COUNTS = (
    "objects",
    "bytes",
    "blocks_done",
    "blocks_resumed",
    "seconds",
    "requests",
    "bytes_read",
    "bytes_written",
)
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
    """Copy a volume to any store, and compare every object with its checksum on the way.

    Args:
        volume: The volume.
        target: The volume to write, such as gs://volumes/survey.zarr.
        includes: Copies to include, such as fast_inline,pyramid. Empty: all.
        excludes: Copies to leave out, such as fast_time,pyramid; labels leaves out the labels of an image; without
            amplitude, only copies are delivered.
        overwrite: Replace an existing volume, and labels in it of the names that the image has.
        run: Settings of the run; none changes the data.
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
    with using(compute, run) as compute:
        volumes = volumes_to_copy(volume, target, includes, excludes, run.storage_options)
        image, *labels = volumes
        total = sum(stored.bytes for each in volumes for stored in each.objects)
        refuse_full(image.store, total, lambda: total)
        todo, may_stay = refuse_copies(volumes, overwrite=overwrite)
        if run.dry_run:
            refuse_no_bucket(image.store)
            return _merged([_planned(each) for each in volumes], labels)
        largest = max((stored.bytes for each in volumes for stored in each.objects), default=0)

        def fit(compute: Compute) -> Compute:
            return fitting(compute, 2 * max(BATCH_BYTES, largest), "a batch of objects to copy")

        known: list[ToCopy] = []

        def read(volumes: list[ToCopy]) -> None:
            unread = [volume for volume in volumes if volume not in known]
            compare(unread, compute)
            known.extend(unread)

        def copied(each: ToCopy, began: float, before: Traffic) -> dict[str, Any]:
            with owned(each.store, run, compute, fit) as owner:
                present = owner.root()
                if each.is_done(present):
                    return _ended(each, began, before, notes=["was done already", *each.notes])
                each.refuse_replaced(present, overwrite=overwrite, labels=may_stay if each is image else [])
                # What is written first is published only if it is whole; what follows it is read before.
                with or_without_labels() if each is image else nullcontext():
                    read([volume for volume in todo if volume is not each])
                stage = _write(owner, each, present, fit, lambda: read([each]))
            known.append(each)
            log.info("%s: %d objects of %s", each.store.url, len(each.objects), each.source.store.url)
            return _ended(each, began, before, stage=stage, notes=list(each.notes))

        summaries = [copied(image, began, before)]
        for label in labels:
            with or_without_labels(), listed_in_image(label.store, run, compute):
                summaries.append(copied(label, time.monotonic(), traffic.snapshot()))
        return _merged(summaries, labels)


def _ended(volume: ToCopy, began: float, before: Traffic, **more: Any) -> dict[str, Any]:
    return ended(volume.store, "copy", volume.rows, began, before, target=volume.store.url, **more)


def _planned(volume: ToCopy) -> dict[str, Any]:
    return {
        "dry_run": True,
        "volume": volume.source.store.url,
        "target": volume.store.url,
        "stage": "copy",
        "arrays": volume.rows,
        "objects": len(volume.objects),
        "bytes": sum(stored.bytes for stored in volume.objects),
        "notes": [*volume.what_is_there(), *volume.notes],
    }


def _merged(summaries: list[dict[str, Any]], labels: list[ToCopy]) -> dict[str, Any]:
    """Merge the summaries of an image and of its labels into one."""
    summary = summaries[0]
    for label, copied in zip(labels, summaries[1:], strict=True):
        place = f"{LABELS}/{label.name}"
        summary["arrays"] += [row | {"path": f"{place}/{row['path']}"} for row in copied["arrays"]]
        summary["notes"] += [f"{place}: {note}" for note in copied["notes"]]
        summary |= {count: summary[count] + copied[count] for count in COUNTS if count in summary}
    return summary


def _write(owner: Owner, volume: ToCopy, present: Root | None, fit: Fit, read: Callable[[], None]) -> Stage:
    """Write the copy of one volume; return the stage.

    Args:
        owner: The place.
        volume: The volume.
        present: Root of what it takes the place of; None if nothing is there.
        fit: Same as in `Owner.begin`.
        read: Same as in `Owner.begin`.
    """
    source, root, objects = volume.source, volume.root, volume.objects
    body = {
        "verb": "copy",
        "volume": source.store.url,
        "root": digest_of(dict(root.document)),
        "objects": digest_of({stored.key: [stored.bytes, stored.crc32c] for stored in objects}),
    }
    created_on = root.state.created_on
    stage = owner.begin("copy", body, fit, present=present, after=None, read=read, created_on=created_on)
    lines = "".join(json.dumps([o.key, o.bytes, o.crc32c, *o.more.values()]) + "\n" for o in objects)
    stage.settle(copied_objects(stage.plan.digest), lines.encode())
    run_blocks(stage, copy_block, range(len(blocks_of(objects))))
    ready = [
        Ready(
            path, root.members[path], StoredObjects.of(o for o in listed if not o.key.endswith("/zarr.json"))
        )
        for path, listed in volume.listed.items()
    ]
    groups = {p: m.get("attributes", {}) for p, m in root.members.items() if m["node_type"] == "group"}
    put_arrays(stage, ready, groups, everything=True)
    _copy_notes(source.store, stage, root)
    publish_root(stage, root=root)
    return stage


def blocks_of(objects: list[Stored]) -> list[list[Stored]]:
    """Return the objects in blocks of neighbours, each of at most `BLOCK_BYTES` and `BLOCK_OBJECTS`."""
    return list(grouped(objects, BLOCK_BYTES, BLOCK_OBJECTS))


def copy_block(job: Job) -> Record:
    """Copy the objects of one block."""
    store, plan = job.open()
    source = Store(plan.body["volume"], job.options)
    mine = _blocks_at(job.volume, job.options, plan.digest)[job.block]

    def one(stored: Stored) -> Stored:
        settle(store, job.epoch, stored.key, whole(source, stored))
        return stored

    copied: list[Stored] = []
    for group in grouped(mine, BATCH_BYTES, BLOCK_OBJECTS):
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
