"""The law of deletion: which objects belong to a volume, and how they are removed.

The volume names its own objects: `zarr.json` and chunks of each array that its root, a plan or a manifest of it
names, `zarr.json` of the groups above such an array, and the kinds of object below `.seismill/` that are listed here.
Everything else belongs to other programs or people, whether it lies beside an array, below a group or inside an array's
folder: it is never removed, and a run that would have to overwrite it is refused first.

Under the path of an array of its own, a chunk that the new array does not have is removed even if nothing names it:
readers take an absent chunk for fill values, so a stale one would be data.

Two deletions lie elsewhere: `root` removes the root of a volume that is unpublished, and a repair (`integrity.repair`)
removes an object of an array that its manifest does not list.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tasks.volume.arrays.groups import ROOT
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import on_io
from tasks.volume.outcomes import DestinationRefused, Resumable
from tasks.volume.protocol.lock import check_epoch
from tasks.volume.protocol.manifest import REPORT, REPORT_TEXT, path_of_manifest
from tasks.volume.protocol.own_names import OWN, chunk_of, names_of
from tasks.volume.protocol.plan import PLAN, RUNS, folder_of, notes_of
from tasks.volume.protocol.remembered import forget
from tasks.volume.protocol.root import commit
from tasks.volume.protocol.stored import AT_ONCE, StoredObjects
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

log = logging.getLogger(__name__)

# Reports of early versions had these, and not always a list of them.
_OF_REPORTS = {REPORT_TEXT, *(f"{REPORT}/{name}.png" for name in ("section", "histogram"))}
_OF_REPORTS |= {f"{REPORT}/{name}.png" for name in ("inline", "crossline", "time", "depth", "z", "y", "x")}


def take_away(
    store: WritableStore,
    epoch: int,
    present: Root | None,
    after: Root | None,
    *,
    keep_digests: Iterable[str] = (),
    leave_chunks: Sequence[str] = (),
    listed: Sequence[str] | None = None,
) -> None:
    """Reduce a volume to what its root `after` names; no reader ever finds part of an array.

    The order is: the root, `zarr.json` of each array, ledgers (which must never name a removed object), chunks, then
    what names an array. So the next run can continue after a kill at any point. What abandoned runs left is removed
    as well. Plans of finished stages stay, without what only an unfinished stage needs.

    Args:
        store: The volume.
        epoch: Epoch of the lock.
        present: The root now; None if there is none.
        after: The root without what goes, the same object if only leftovers go; None takes the whole volume away.
        keep_digests: Plans that stay.
        leave_chunks: Arrays whose chunks stay until the same run has put others in their place, because they decode
            alike: zarr gives a reader that opened the array before fill values for what is deleted.
        listed: Keys of all objects of the volume, if they were just listed under the lock.

    Raises:
        Resumable: An object may not be removed, or another run took over.
    """
    forget(store)
    keys = store.keys("") if listed is None else listed
    own = [key for key in keys if key.startswith(f"{OWN}/")]
    known = set(after.members) if after else set()
    # What stays because the root names it needs no plan to tell whose it is.
    doubtful = [
        key for key in keys if key != ROOT and not key.startswith(f"{OWN}/") and _part_of(key) not in known
    ]
    names = names_of(store, present, own) if doubtful else None
    if after is not present:
        commit(store, epoch, after)
    kept = {f"{folder_of(digest)}/" for digest in keep_digests}
    done = after.state.stages.values() if after else ()
    kept |= {key for stage in done for key in notes_of(stage.plan)}
    stray = [
        key for key in doubtful if names and (owner := names.owner(key)) is not None and owner not in known
    ]
    documents_, chunks = _split(stray, lambda key: key.endswith("zarr.json"))
    chunks = [key for key in chunks if chunk_of(key)[0] not in leave_chunks]
    runs = [key for key in own if key.startswith(f"{RUNS}/") and not any(map(key.startswith, kept))]
    ledgers, runs = _split(runs, lambda key: "/ledger/" in key)
    named = [
        key
        for key in own
        if (path := path_of_manifest(key)) and path not in known and path not in leave_chunks
    ]
    shown = (
        [key for key in own if key.startswith(f"{REPORT}/") or key == f"{OWN}/zarr.json"] if not after else []
    )
    runs.sort(
        key=lambda key: key.endswith((f"/{PLAN}", "/objects.jsonl"))
    )  # what names an array goes after it
    gone = [*documents_, *ledgers, *chunks, *named, *shown, *runs]
    try:
        store.delete_many(gone, guard=partial(check_epoch, store, epoch))
    except DestinationRefused as refusal:
        raise Resumable(
            f"{refusal}, and its replacement is not written yet; make sure that {store.url} can be "
            "written, and run the same command again to go on"
        ) from refusal


def _part_of(key: str) -> str:
    """Return the path of the array or group that a key would be of."""
    return key.removesuffix("/zarr.json") if key.endswith("/zarr.json") else chunk_of(key)[0]


def _split(keys: Iterable[str], first: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Return the keys for which `first` holds, and the others."""
    both: tuple[list[str], list[str]] = ([], [])
    for key in keys:
        both[not first(key)].append(key)
    return both


@dataclass(frozen=True)
class Shown:
    """What a listing shows of an array.

    Attributes:
        rank: Number of dimensions.
        objects: Its chunks and shards.
        seen: Which of them the listing has, bool, shape (object,); set while keys are compared.
    """

    rank: int
    objects: StoredObjects
    seen: np.ndarray

    @classmethod
    def before(cls, rank: int, objects: StoredObjects) -> "Shown":
        """Return the state before the listing."""
        return cls(rank, objects, np.zeros(len(objects), np.bool_))

    def strays(self, keys: Sequence[str]) -> list[str]:
        """Mark objects whose keys are listed as seen; return the keys of no object."""
        at = self.objects.find(keys)
        self.seen[at[at >= 0]] = True
        return [keys[number] for number in np.flatnonzero(at < 0).tolist()]


def strays_among(listed: Iterable[str], arrays: Mapping[str, Shown]) -> list[str]:
    """Return the listed chunks below arrays' paths that are not their own, and mark the others as seen.

    Args:
        listed: Keys of the objects in one of `chunk_folders`.
        arrays: The arrays, by path.
    """
    batches: dict[str, list[str]] = {}
    strays: list[str] = []
    for key in listed:
        path, rank = chunk_of(key)
        if path not in arrays or rank != arrays[path].rank:
            continue
        batch = batches.setdefault(path, [])
        batch.append(key)
        if len(batch) == AT_ONCE:
            strays += arrays[path].strays(batch)
            batch.clear()
    return strays + [key for path, batch in batches.items() for key in arrays[path].strays(batch)]


def clear_strays(store: WritableStore, epoch: int, strays: Iterable[str]) -> None:
    """Remove chunks below arrays' paths that are not their own.

    Args:
        store: The volume.
        epoch: Epoch of the lock.
        strays: Their keys, of `strays_among`.
    """
    gone = sorted(strays)
    for key in gone:
        forget(store, key)
    store.delete_many(gone, guard=partial(check_epoch, store, epoch))


def chunk_folders(store: Store, paths: Sequence[str], *, everything: bool = False) -> list[str]:
    """Return prefixes whose listings hold every object below some paths; arrays of one folder share a prefix.

    Args:
        store: The volume.
        paths: Paths of arrays.
        everything: Whether these are all arrays of the store, so that one listing of the whole store will do.
    """
    if store.local or len(paths) < 2:
        return [f"{path}/" for path in paths]
    if everything:
        return [""]
    below: dict[str, list[str]] = {}
    for path in paths:
        below.setdefault(path.partition("/")[0], []).append(path)
    return [top if len(inside) > 1 else f"{inside[0]}/" for top, inside in below.items()]


def clear_report(store: WritableStore, epoch: int, before: Iterable[str], keep: Collection[str]) -> None:
    """Remove objects of an earlier report that the present one lacks: those in its list, and unlisted pictures.

    Args:
        store: The volume.
        epoch: Epoch of the lock.
        before: Keys in the list of the earlier report.
        keep: Keys of the present report.
    """
    own = _OF_REPORTS | {key for key in before if key.startswith(f"{REPORT}/")}
    gone = [key for key in store.keys(REPORT) if key in own and key not in keep]
    store.delete_many(gone, guard=partial(check_epoch, store, epoch))


def clear_run(store: WritableStore, epoch: int, digest: str, folders: Sequence[str] = ("",)) -> None:
    """Remove the folder of a plan, or some folders in it, if the run of that epoch still owns the volume."""
    clear_runs(store, epoch, {digest: folders})


def clear_runs(store: WritableStore, epoch: int, runs: Mapping[str, Sequence[str]]) -> None:
    """Remove the folders of several plans, or some folders in them ("" for all); see `clear_run`."""
    listed = on_io(store.keys, [folder_of(digest) for digest in runs])
    keys = [key for folder in listed for key in folder]
    remove_of_runs(store, runs, keys, guard=partial(check_epoch, store, epoch))


def remove_of_runs(
    store: WritableStore,
    runs: Mapping[str, Sequence[str]],
    keys: Iterable[str],
    *,
    guard: Callable[[], None],
) -> None:
    """Remove the listed keys that belong to some plans; `runs` as in `clear_runs`, `guard` as in `delete_many`."""
    gone = [
        key
        for key in keys
        for digest, folders in runs.items()
        if any(
            key.startswith(f"{folder_of(digest)}/{name}/" if name else f"{folder_of(digest)}/")
            for name in folders
        )
    ]
    for digest, folders in runs.items():
        for name in folders:
            forget(store, f"{folder_of(digest)}/{name}/" if name else f"{folder_of(digest)}/")
    store.delete_many(sorted(gone, key=lambda key: key.endswith(f"/{PLAN}")), guard=guard)
