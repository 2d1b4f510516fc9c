"""The list of label volumes in an image's group: `labels/NAME` is a volume of its own, and the image's root names it.

A label volume has its own lock, plans and commits. In the image's group it changes only `labels/zarr.json` and the
consolidated metadata, under the image's lock and with a commit of the image's root. So neither volume deletes objects
of the other.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from tasks.parameters import Run
from tasks.volume.arrays.codecs import document_bytes
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.reader import Volume, open_any
from tasks.volume.arrays.volume_root import LABELS
from tasks.volume.blocks import Compute
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.lock import unkept_locks
from tasks.volume.protocol.owner import owned
from tasks.volume.protocol.place import refuse_taken
from tasks.volume.protocol.root import commit
from tasks.volume.protocol.stage import settle
from tasks.volume.store.objects import Store


def open_labels(image: Volume) -> dict[str, Volume]:
    """Return the label volumes that an image lists, by name, without those that are missing.

    Raises:
        InputRefused: A listed group is not a published volume.
    """
    labels = {}
    for name in image.root.label_names:
        place = Store(f"{image.store.url.rstrip('/')}/{LABELS}/{name}", image.store.options)
        try:
            labels[name] = open_any(place)
        except InputRefused:
            if place.is_file or place.children():
                raise
    return labels


def labels_gone(image: Volume, there: Collection[str]) -> list[str]:
    """Return a note that names the listed labels that are missing; empty if none is."""
    gone = [name for name in image.root.label_names if name not in there]
    places = f"{image.store.url.rstrip('/')}/{LABELS}"
    return [f"the labels {', '.join(gone)} were left out: they are not in {places} any more"] if gone else []


@contextmanager
def listed_in_image(store: Store, run: Run, compute: Compute) -> Iterator[None]:
    """List a label volume, as the body of the `with` leaves it, in the group of its image; else do nothing.

    Args:
        store: The volume.
        run: Settings of the run.
        compute: Where the run's blocks run.

    Raises:
        InputRefused: The image is gone.
        DestinationRefused: Another program's group of labels is there.
        Resumable: Another run holds the image.
    """
    yield
    if store.url.split("/")[-2:-1] == [LABELS]:
        labels = open_any(store)
        if labels.is_labels_of_image:
            _list(labels, run, compute)


def _list(labels: Volume, run: Run, compute: Compute) -> None:
    store = labels.store
    image, name = Store(store.url.rsplit("/", 2)[0], store.options), store.url.rpartition("/")[2]
    # Others who publish labels of the image need not wait for all of this run.
    with unkept_locks(), owned(image, run, compute, lambda compute: compute) as owner:
        root = owner.root()
        if root is None:
            raise InputRefused(f"the image {image.url} was removed; publish it and its labels again")
        refuse_taken(image, root, [LABELS])
        others = [other for other in root.label_names if other != name]
        names = sorted([name, *(other for other in others if image.exists(f"{LABELS}/{other}/zarr.json"))])
        listed = {
            path: member
            for path, member in root.members.items()
            if path.split("/")[0] != LABELS or (path.split("/")[1:2] or [name])[0] in set(names) - {name}
        }
        group = GROUP | {
            "attributes": {"ome": {"version": "0.5", "labels": names}, "seismill": {"lists": LABELS}}
        }
        listed |= {LABELS: group} | _described(labels, f"{LABELS}/{name}")
        if root.members != listed:
            commit(owner.store, owner.epoch, root.without([LABELS]).with_members(listed))
        settle(owner.store, owner.epoch, f"{LABELS}/zarr.json", document_bytes(group))


def _described(labels: Volume, place: str) -> dict[str, Any]:
    """Return the metadata of a label volume and its members, by path from the image."""
    ome = {"ome": labels.attributes.get("ome", {})}
    below = {f"{place}/{path}": member for path, member in labels.members.items()}
    return {place: GROUP | {"attributes": ome}} | below
