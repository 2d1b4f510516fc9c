"""Plan the copying of a volume with the labels of its image: each is a volume of its own.

If one of them cannot be copied, all are refused before the first is written.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from tasks.parameters import StorageOptions
from tasks.volume.arrays.reader import Volume, open_any, open_volume
from tasks.volume.arrays.volume_root import LABELS, Root, root_from
from tasks.volume.blocks import Compute, Progress, on_io
from tasks.volume.copies.left_out import LEFT_OUT, selected_root
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.label_list import labels_gone, open_labels
from tasks.volume.protocol.manifest import listed_in, manifest_key
from tasks.volume.protocol.place import refuse_occupied, refuse_strangers, refuse_taken
from tasks.volume.protocol.root import present_root
from tasks.volume.protocol.stored import Stored, StoredObjects
from tasks.volume.protocol.summary import array_rows
from tasks.volume.store.objects import Store

BATCH_BYTES, BLOCK_OBJECTS = 64 << 20, 512  # in memory at once; more bytes only if one object is larger


@dataclass(frozen=True, eq=False)
class ToCopy:
    """A volume to copy: an image or survey, or labels of the image.

    Attributes:
        source: The volume.
        store: The place of its copy.
        root: Root of its copy.
        listed: Objects of each array.
        notes: What the summary says of it.
        name: Name of the labels; empty for the image.
    """

    source: Volume
    store: Store
    root: Root
    listed: Mapping[str, StoredObjects]
    notes: list[str]
    name: str = ""

    @property
    def arrays(self) -> list[str]:
        """Return the paths of all arrays."""
        return list(self.listed)

    @cached_property
    def objects(self) -> list[Stored]:
        """Return the objects of all arrays, without their metadata."""
        return [
            stored
            for path in self.arrays
            for stored in self.listed[path]
            if not stored.key.endswith("/zarr.json")
        ]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the summary."""
        members = self.root.members
        return array_rows(
            self.root, [path for path in self.arrays if "stored_bytes" in members[path].get("attributes", {})]
        )

    def is_done(self, present: Root | None) -> bool:
        """Return whether the root at the place is that of the copy, whatever labels it lists."""
        return present is not None and present.without([LABELS]) == self.root

    def fits(self, labels: Root) -> bool:
        """Return whether labels at the place have the shape of this image."""
        shapes = [Volume(self.store, root).spec(root.master).shape[-3:] for root in (self.root, labels)]
        return bool(labels.state.looks.image) and shapes[0] == shapes[1]

    def what_is_there(self) -> list[str]:
        """Return a note for a dry run if the place is a volume already."""
        content, _ = present_root(self.store)
        if not content:
            return []
        if self.is_done(root_from(content, self.store.url)):
            return [f"{self.store.url} is this copy already, and would be left as it is"]
        return [f"{self.store.url} holds another volume; the run would be refused without --overwrite"]

    def refuse_replaced(self, present: Root | None, *, overwrite: bool, labels: list[str]) -> None:
        """Check that the copy may replace what the place holds.

        Args:
            present: Root of the volume there; None if there is none.
            overwrite: Whether another volume may be replaced.
            labels: Names of labels there that may stay.

        Raises:
            DestinationRefused: The place holds another volume, or objects of other programs.
        """
        if present is not None and not overwrite:
            raise DestinationRefused(
                f"{self.store.url} holds another volume; choose another place, or replace it with --overwrite"
            )
        refuse_strangers(self.store, present, labels=labels)


def volumes_to_copy(
    volume: str, target: str, includes: list[str], excludes: list[str], options: StorageOptions
) -> list[ToCopy]:
    """Return the volumes to copy: the volume itself, then the labels of its image.

    Raises:
        InputRefused: The volume does not exist, or lacks a named copy.
        IntegrityFailure: A manifest is missing or broken.
    """
    source, store = open_any(Store(volume, options)), Store(target, options)
    if store.url == source.store.url:
        raise InputRefused(f"{store.url} is to be copied onto itself; name another target")
    root = selected_root(_refuse_annex(source), includes, excludes)
    notes = [LEFT_OUT.format(source.master)] if source.master in excludes else []
    labels: dict[str, Volume] = {}
    if LABELS in excludes or (includes and LABELS not in includes):
        names = source.root.label_names
        notes += [f"the labels {', '.join(names)} of {source.store.url} were left out"] if names else []
    else:
        with or_without_labels():
            labels = open_labels(source)
        notes += labels_gone(source, labels)
    volumes = [_to_copy(source, store, root, notes)]
    with or_without_labels():
        for name, label in labels.items():
            place = Store(f"{store.url.rstrip('/')}/{LABELS}/{name}", options)
            volumes.append(_to_copy(label, place, selected_root(_refuse_annex(label), [], []), [], name))
    return volumes


def _refuse_annex(source: Volume) -> Volume:
    if source.origin:
        raise InputRefused(
            f"{source.store.url} is a group of another tool, with levels or copies that Seismill made of its array "
            f"{source.origin}; copy the whole group with a tool for files or objects (cp -r, aws s3 sync), then see "
            "with seismill verify that all arrived"
        )
    return source


def _to_copy(source: Volume, store: Store, root: Root, notes: list[str], name: str = "") -> ToCopy:
    arrays = [path for path, member in root.members.items() if member["node_type"] == "array"]
    listed = on_io(lambda path: manifest_of(source.store, path), arrays)
    return ToCopy(source, store, root, dict(zip(arrays, listed, strict=True)), notes, name)


@contextmanager
def or_without_labels() -> Iterator[None]:
    """Add to a refusal how the image can be copied without its labels."""
    try:
        yield
    except (InputRefused, DestinationRefused, IntegrityFailure) as refusal:
        raise type(refusal)(
            f"{refusal.sentence}; or copy the image without its labels with --excludes labels"
        ) from refusal


def refuse_copies(volumes: list[ToCopy], *, overwrite: bool) -> tuple[list[ToCopy], list[str]]:
    """Check that an image and all its labels may be written, before the first write.

    Args:
        volumes: The image and its labels.
        overwrite: Whether other volumes may be replaced.

    Returns:
        The volumes that the target lacks, and the names of labels that stay if the image is replaced.

    Raises:
        DestinationRefused: A place holds something else, or lies inside a volume.
    """
    image, *labels = volumes
    refuse_occupied(image.store)
    if not labels:
        return volumes, []  # it is looked at under its lock, and nothing is written before
    present = _root_at(image.store)
    with or_without_labels():
        for label in labels:
            refuse_occupied(label.store, image.store.url)
        roots = {label.name: _root_at(label.store) for label in labels}
    fitting = [name for name, root in roots.items() if root is None or image.fits(root)]
    if not image.is_done(present):
        image.refuse_replaced(present, overwrite=overwrite, labels=fitting)
    with or_without_labels():
        if present is not None:
            refuse_taken(image.store, present, [LABELS])
        todo = [label for label in labels if not label.is_done(roots[label.name])]
        for label in todo:
            label.refuse_replaced(roots[label.name], overwrite=overwrite, labels=[])
    return [*([] if image.is_done(present) else [image]), *todo], fitting


def _root_at(store: Store) -> Root | None:
    """Return the root that readers find at a place; None if there is none.

    Raises:
        DestinationRefused: The place holds something else.
    """
    content, _ = present_root(store)
    try:
        return open_volume(store, content).root if content else None
    except InputRefused as refusal:
        raise DestinationRefused(refusal.sentence) from refusal


def manifest_of(store: Store, path: str) -> StoredObjects:
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


def grouped(objects: list[Stored], most_bytes: int, most: int) -> Iterator[list[Stored]]:
    """Yield the objects in groups of neighbours, each of at most so many bytes and objects."""
    group: list[Stored] = []
    for stored in objects:
        if group and (len(group) == most or sum(o.bytes for o in group) + stored.bytes > most_bytes):
            yield group
            group = []
        group.append(stored)
    if group:
        yield group


def whole(source: Store, stored: Stored) -> bytes:
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


def _read(source: Store, stored: Stored) -> None:
    whole(source, stored)


def compare(volumes: list[ToCopy], compute: Compute) -> None:
    """Read every object once, so that a damaged one is refused before anything is deleted.

    Raises:
        IntegrityFailure: An object is missing or has other bytes.
        Resumable: The run stopped.
    """
    began, done, total = time.monotonic(), 0, sum(len(volume.objects) for volume in volumes)
    for volume in volumes:
        for group in grouped(volume.objects, BATCH_BYTES, BLOCK_OBJECTS):
            if compute.stopping.is_set():
                raise Resumable("the run stopped while the volume was read; run the same command again")
            on_io(partial(_read, volume.source.store), group)
            done += len(group)
            compute.report(Progress("compare", done, total, 0, time.monotonic() - began))
