"""Refuse places that hold objects of others."""

import logging
from collections.abc import Iterable, Sequence
from functools import partial

from tasks.volume.arrays.foreign_documents import documents
from tasks.volume.arrays.volume_root import LABELS, Root
from tasks.volume.blocks import on_io, together
from tasks.volume.outcomes import DestinationRefused
from tasks.volume.protocol.commits import COMMITS
from tasks.volume.protocol.own_names import OWN, groups_above, names_of
from tasks.volume.store.objects import Store

log = logging.getLogger(__name__)


CATALOGUE = "catalogue"  # what the names of a sweep's objects begin with, in a folder that is no volume


NAMED = 3  # objects that a refusal names


def refuse_no_bucket(store: Store) -> None:
    """Check that a place has a bucket, for a dry run: any other run finds out by its first write.

    Raises:
        DestinationRefused: There is no bucket or container.
    """
    if not store.has_bucket():
        raise DestinationRefused(
            f"{store.url} cannot be written (there is no such bucket); make the bucket or container first"
        )


def refuse_occupied(store: Store, image: str = "") -> None:
    """Check by one listing that a new volume may be written at this place.

    Args:
        store: The place.
        image: URL of the volume whose labels it is to hold, in which it may lie.

    Raises:
        DestinationRefused: The place holds something else, or lies inside a volume.
    """
    present, inside = together(store.children, partial(_inside_volume, store, image))
    own = _own(store) if OWN in present else []
    _refuse_catalogue(store, own)
    strangers = [name for name in present if name != OWN]
    if strangers and not _is_begun(own):
        raise DestinationRefused(
            f"{store.url} is not empty and not a volume (it holds {_shown(strangers)}); name a place that does not "
            "exist yet"
        )
    if inside:
        raise inside


def refuse_inside_volume(store: Store, image: str = "") -> None:
    """Check that no folder above this place is a volume; volumes do not contain each other.

    Args:
        store: The place.
        image: URL of the one volume in which it may lie.

    Raises:
        DestinationRefused: A folder above this place is a volume.
    """
    if inside := _inside_volume(store, image):
        raise inside


def _inside_volume(store: Store, image: str) -> DestinationRefused | None:
    """Return a refusal if the place lies in a volume other than `image`, if these credentials may look."""
    for number, above in enumerate(store.above()):
        if above.url == image:
            continue
        try:
            inside = bool(above.keys(COMMITS))
        except DestinationRefused as refusal:  # an identity that may list its own prefix only
            log.debug("whether %s is a volume is not known: %s", above.url, refusal)
            return None
        if inside:
            labels = number == 1 and store.url == f"{above.url}/{LABELS}/{store.url.rpartition('/')[2]}"
            other = f", or give --labels-of {above.url}" if labels else ""
            return DestinationRefused(
                f"{store.url} lies inside the volume {above.url}; name a place outside of it{other}"
            )
    return None


def refuse_ours(store: Store) -> None:
    """Check that an array may go to a place: it is no volume, lies in none, and is no folder of a sweep.

    Raises:
        DestinationRefused: The place is a volume or a folder of a sweep, or lies inside a volume.
    """
    _refuse_catalogue(store, _own(store))
    refuse_volume(store)


def is_begun(store: Store) -> bool:
    """Return whether a run began to write here, so that chunks without metadata may belong to that run."""
    return _is_begun(_own(store))


def _is_begun(own: Sequence[str]) -> bool:
    return not {"lock", "commits", "runs"}.isdisjoint(own)


def _own(store: Store) -> list[str]:
    return Store(f"{store.url}/{OWN}", store.options).children()


def _refuse_catalogue(store: Store, own: Sequence[str]) -> None:
    if any(name.startswith(CATALOGUE) for name in own):
        raise DestinationRefused(
            f"{store.url} holds the catalogue of a sweep and its volumes; name a place in it that does not exist yet, "
            f"such as {store.url}/name.zarr"
        )


def refuse_volume(store: Store) -> None:
    """Check that a place neither is a volume nor lies inside one, so that volumes may lie below it.

    Raises:
        DestinationRefused: The place is a volume, or lies inside one.
    """
    if store.keys(COMMITS):
        raise DestinationRefused(f"{store.url} is a volume; name a place outside of it")
    refuse_inside_volume(store)


def refuse_strangers(
    store: Store, root: Root | None, keys: Sequence[str] | None = None, labels: Sequence[str] = ()
) -> None:
    """Check that everything at a place is the volume's own, so that a whole new volume may take its place.

    Args:
        store: The place.
        root: Root of the volume there; None if there is none.
        keys: Keys of all objects at the place, if they were just listed under the lock.
        labels: Names of label volumes that may stay there, because they fit the new volume.

    Raises:
        DestinationRefused: Somebody else's objects lie there.
    """
    keys = store.keys("") if keys is None else keys
    apart = (f"{OWN}/", *(f"{LABELS}/{name}/" for name in labels))
    others = [key for key in keys if not key.startswith(apart) and key != "zarr.json"]
    if not others:
        return
    if root is not None and (
        held := [name for name in root.label_names if f"{LABELS}/{name}/zarr.json" in others]
    ):
        raise DestinationRefused(
            f"{store.url} has labels in it ({_shown(held)}), which a new image would not fit; move "
            f"{store.url}/{LABELS} away, or name another place"
        )
    names = names_of(store, root, [key for key in keys if key.startswith(f"{OWN}/")])
    strangers = [key for key in others if names.owner(key) is None]
    if strangers:
        raise DestinationRefused(
            f"{store.url} holds objects that Seismill did not write ({_shown(strangers)}), and a new volume there "
            "would be mixed with them; move them away, or name another place"
        )


def refuse_taken(store: Store, root: Root, paths: Iterable[str]) -> None:
    """Check that nothing of another tool lies where arrays and groups are to be made.

    Raises:
        DestinationRefused: Another tool's array or group is there.
    """
    known = set(root.members)
    wanted = [path for path in paths if path not in known]
    wanted += [group for path in wanted for group in groups_above(path) if group not in known]
    # One listing tells of nearly all that nothing is there.
    listed = set(store.children()) if wanted else set()
    doubtful = [path for path in dict.fromkeys(wanted) if path.partition("/")[0] in listed]
    described = on_io(lambda path: documents(store, path), doubtful)
    taken = [path for path, document in zip(doubtful, described, strict=True) if document]
    if not taken:
        return
    names = names_of(store, root)
    for path in taken:
        if names.owner(f"{path}/zarr.json") is None:
            raise DestinationRefused(
                f"{store.url}/{path} is there already, and Seismill did not write it; move it away, or "
                f"{root.group.rename}"
            )


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
