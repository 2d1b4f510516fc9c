"""The law of deletion: which objects of a volume are its own, and every way in which any of them is removed.

A volume's own objects are named by it: `zarr.json` and chunks of each array that its root, a plan or a manifest of it
names, `zarr.json` of the groups above such an array, and the kinds of object below `.seismill/` that are listed here.
Everything else belongs to somebody else, whether it lies beside an array, below a group or inside an array's folder:
it is never removed, and a run that would have to write over it is refused first.

Under the path of an array of its own, a chunk that the new array does not have is removed even if nothing names it:
readers take an absent chunk for fill values, so a stale one would be data.
"""

import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.volume.arrays.foreign import documents
from tasks.volume.arrays.group_metadata import is_annex
from tasks.volume.arrays.spec import RAW_SAMPLES
from tasks.volume.outcomes import DestinationRefused, IntegrityFailure, Resumable
from tasks.volume.protocol.lock import check_epoch
from tasks.volume.protocol.manifest import path_of_manifest
from tasks.volume.protocol.plan import PLAN, RUNS, Plan, folder_of, is_begun, load_plan, notes_of
from tasks.volume.protocol.root import COMMITS, commit, members
from tasks.volume.store.objects import Store

log = logging.getLogger(__name__)

OWN, LOCK, REPORT = ".seismill", ".seismill/lock", ".seismill/report"
CATALOGUE = "catalogue"  # what the names of a sweep's objects begin with, in a folder that is no volume
ANY_RANK = -1
NAMED = 3  # objects that a refusal names
_CHUNK = re.compile(r"(.+)/c((?:/(?:0|[1-9][0-9]{0,18}))*)")  # the default chunk key encoding of Zarr v3
# Arrays that every ingest of SEG-Y may make beside those in its plan.
_OF_SEGY = {
    "trace_mask": ANY_RANK,
    "trace_number": ANY_RANK,
    "segy_file_header": 0,
    RAW_SAMPLES: ANY_RANK,
    f"unplaced/{RAW_SAMPLES}": 2,
    "unplaced/trace_number": 1,
    "sample_exceptions/trace_number": 1,
    "sample_exceptions/sample": 1,
    "sample_exceptions/word": 1,
}


def chunk_of(key: str) -> tuple[str, int]:
    """Return the path of the array that `key` is a chunk of and the rank of its index; "" if it is no chunk's key."""
    match = _CHUNK.fullmatch(key)
    return (match[1], match[2].count("/")) if match else ("", 0)


@dataclass(frozen=True)
class Names:
    """What a volume names of itself.

    Attributes:
        ranks: Number of dimensions that each array has or had, by path; `ANY_RANK` where it is not known.
        grouped: Whether the groups above arrays are the volume's too; not inside a group of another tool.
    """

    ranks: dict[str, set[int]]
    grouped: bool = True

    def owner(self, key: str) -> str | None:
        """Return the path of the array or group of the volume that an object belongs to; None if to neither."""
        if key.endswith("/zarr.json"):
            path = key.removesuffix("/zarr.json")
            return path if path in self.ranks or path in self.groups else None
        path, rank = chunk_of(key)
        return path if self.ranks.get(path, set()) & {rank, ANY_RANK} else None

    @property
    def groups(self) -> set[str]:
        """The groups above arrays."""
        if not self.grouped:
            return set()
        return {group for path in self.ranks for group in _above(path)}


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def names_of(store: Store, root: dict[str, Any] | None, keys: Sequence[str] | None = None) -> Names:
    """Return what the root, the plans and the manifests of a volume name.

    Args:
        store: The volume.
        root: Its root; None if there is none.
        keys: Every key below `.seismill/`, if they were listed already.

    Raises:
        IntegrityFailure: A plan that nothing else vouches for is damaged.
    """
    ranks: dict[str, set[int]] = {}
    done = set()
    if root is not None:
        done = {made["plan"] for made in root["attributes"]["seismill"]["stages"].values()}
        for path, member in members(root).items():
            if path and member["node_type"] == "array":
                ranks.setdefault(path, set()).add(len(member["shape"]))
    for key in store.keys(OWN) if keys is None else keys:
        if path := path_of_manifest(key):
            ranks.setdefault(path, set()).add(ANY_RANK)
        elif key.startswith(f"{RUNS}/") and key.endswith(f"/{PLAN}"):
            digest = key.removesuffix(f"/{PLAN}").rpartition("/")[2]
            try:
                planned = planned_ranks(store, load_plan(store, digest))
            except IntegrityFailure:
                # What a stage made that is done is named by the root as well; an empty plan was never begun.
                if digest not in done and is_begun(store, digest):
                    raise
                continue
            for path, rank in planned.items():
                ranks.setdefault(path, set()).add(rank)
    return Names(ranks, grouped=root is None or not is_annex(root))


def planned_ranks(store: Store, plan: Plan) -> dict[str, int]:
    """Return the number of dimensions of each array that a plan makes, by path."""
    body = plan.body
    if body["verb"] == "copy":
        return _copied(store, plan)
    if body["verb"] == "rechunk":
        return {one["path"]: len(one["shape"]) for one in body["copies"]}
    if body["verb"] == "pyramid":
        levels = body["arrays"][1:]
        beside = {
            f"{one['path'].rpartition('/')[0]}/{name}": rank
            for one in levels
            if "/" in one["path"]
            for name, rank in (*((dim, 1) for dim in one["dims"]), ("trace_mask", len(one["shape"]) - 1))
        }
        return beside | {one["path"]: len(one["shape"]) for one in levels}
    arrays = body.get("arrays", {})
    if not isinstance(arrays, dict) or "master" not in arrays:
        return {}
    ranks = {one["path"]: len(one["shape"]) for one in arrays.values()}
    ranks |= dict.fromkeys(arrays["master"]["dims"], 1)
    if body["verb"] == "ingest_segy":
        ranks |= _OF_SEGY
        ranks |= {name: len(dims) for name, _, _, dims, *_ in body["index"]["coordinates"]}
        for number in range(len(body["sources"])):
            ranks |= {f"segy_files/{number}/{name}": 1 for name in ("header", "trailer")}
    return ranks


def _copied(store: Store, plan: Plan) -> dict[str, int]:
    """The arrays of another volume that a plan copies; none if the run ended before it listed them."""
    ranks = {"segy_file_header": 0}  # it has no chunk, by which others are known
    try:
        lines = store.get(copied_objects(plan.digest)).decode().splitlines()
    except FileNotFoundError:
        return ranks
    for path, rank in (chunk_of(json.loads(line)[0]) for line in lines):
        ranks[path] = rank
    ranks.pop("", None)
    return ranks


def copied_objects(digest: str) -> str:
    """Return the key of the list of objects that a plan copies."""
    return f"{folder_of(digest)}/parts/objects.jsonl"


def refuse_occupied(store: Store) -> None:
    """Return if a new volume may be written at this place, as far as one listing tells.

    Raises:
        DestinationRefused: Something else is there, or the place lies inside a volume.
    """
    present = store.children()
    own = Store(f"{store.url}/{OWN}", store.options).children() if OWN in present else []
    if any(name.startswith(CATALOGUE) for name in own):
        raise DestinationRefused(
            f"{store.url} holds the catalogue of a sweep and its volumes; name a place in it that does not exist yet, "
            f"such as {store.url}/name.zarr"
        )
    begun = {"lock", "commits", "runs"} & set(own)
    strangers = [name for name in present if name != OWN]
    if strangers and not begun:
        raise DestinationRefused(
            f"{store.url} is not empty and not a volume (it holds {_shown(strangers)}); name a place that does not "
            "exist yet"
        )
    refuse_inside_volume(store)


def refuse_inside_volume(store: Store) -> None:
    """Return if no folder above this place is a volume: a volume inside one would be in the way of it.

    Raises:
        DestinationRefused: One is.
    """
    for above in store.above():
        try:
            inside = bool(above.keys(COMMITS))
        except DestinationRefused as refusal:  # an identity that may list its own prefix only
            log.debug("whether %s is a volume is not known: %s", above.url, refusal)
            return
        if inside:
            raise DestinationRefused(
                f"{store.url} lies inside the volume {above.url}; name a place outside of it"
            )


def refuse_volume(store: Store) -> None:
    """Return if a place neither is a volume nor lies inside one, so that volumes may lie below it.

    Raises:
        DestinationRefused: It is or does.
    """
    if store.keys(COMMITS):
        raise DestinationRefused(f"{store.url} is a volume; name a folder for volumes")
    refuse_inside_volume(store)


def refuse_strangers(store: Store, root: dict[str, Any] | None) -> None:
    """Return if everything at a place is the volume's own, so that a whole new volume may take its place.

    Raises:
        DestinationRefused: Somebody else's objects lie there.
    """
    keys = store.keys("")
    names = names_of(store, root, [key for key in keys if key.startswith(f"{OWN}/")])
    strangers = [
        key
        for key in keys
        if not key.startswith(f"{OWN}/") and key != "zarr.json" and names.owner(key) is None
    ]
    if strangers:
        raise DestinationRefused(
            f"{store.url} holds objects that Seismill did not write ({_shown(strangers)}), and a new volume there "
            "would be mixed with them; move them away, or name another place"
        )


def refuse_taken(store: Store, root: dict[str, Any], paths: Iterable[str]) -> None:
    """Return if each array and group that is to be made is the volume's own or not there yet.

    Raises:
        DestinationRefused: Somebody else has something where one would go.
    """
    known = set(members(root))
    wanted = [path for path in paths if path not in known]
    if not is_annex(root):
        wanted += [group for path in wanted for group in _above(path) if group not in known]
    taken = [path for path in dict.fromkeys(wanted) if documents(store, path)]
    if not taken:
        return
    names = names_of(store, root)
    for path in taken:
        if names.owner(f"{path}/zarr.json") is None:
            other = (
                "name a group for what is made with --target" if is_annex(root) else "give it another name"
            )
            raise DestinationRefused(
                f"{store.url}/{path} is there already, and Seismill did not write it; move it away, or {other}"
            )


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def take_away(
    store: Store,
    epoch: int,
    present: dict[str, Any] | None,
    after: dict[str, Any] | None,
    *,
    keep_digests: Iterable[str] = (),
    leave_chunks: Sequence[str] = (),
) -> None:
    """Make a volume be what its root `after` names, and nothing else of its own; no reader ever finds part of an array.

    The root goes first, then what makes each array exist, then ledgers, which must never name what is gone, then
    chunks, then what names an array. So a run that is killed in between is gone on with by the next one. What
    abandoned runs left goes as well. Plans of stages that are done stay, without what only an unfinished one needs.

    Args:
        store: The volume.
        epoch: Of the lock.
        present: The root now; None if there is none.
        after: The root without what goes, the same object if only leftovers go; None takes the whole volume away.
        keep_digests: Plans that stay.
        leave_chunks: Arrays whose chunks stay until the same run has put others in their place, because they decode
            alike: zarr gives a reader that opened the array before fill values for what is deleted.

    Raises:
        Resumable: Something may not be removed, or another run took over.
    """
    keys = store.keys("")
    own = [key for key in keys if key.startswith(f"{OWN}/")]
    names = names_of(store, present, own)
    if after is not present:
        commit(store, epoch, after)
    known = set(members(after)) if after else set()
    kept = {f"{folder_of(digest)}/" for digest in keep_digests}
    done = after["attributes"]["seismill"]["stages"].values() if after else ()
    kept |= {key for stage in done for key in notes_of(stage["plan"])}
    stray = [key for key in keys if (owner := names.owner(key)) is not None and owner not in known]
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
            f"{refusal}, and what takes the place of it is not written yet; see to it that {store.url} may be "
            "written, and run the same command again to go on"
        ) from refusal


def _split(keys: Iterable[str], first: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Those for which `first` holds, and the others."""
    both: tuple[list[str], list[str]] = ([], [])
    for key in keys:
        both[not first(key)].append(key)
    return both


def clear_array(store: Store, epoch: int, path: str, rank: int, keep: Collection[str]) -> set[str]:
    """Remove the chunks below an array's path that are not in `keep`; return the keys of those that stay."""
    chunks = {key for key in store.keys(f"{path}/") if chunk_of(key) == (path, rank)}
    store.delete_many(sorted(chunks - set(keep)), guard=partial(check_epoch, store, epoch))
    return chunks & set(keep)


def clear_run(
    store: Store, digest: str, folders: Sequence[str] = ("",), guard: Callable[[], None] = lambda: None
) -> None:
    """Remove what is kept of a plan: all of it, or some folders."""
    for name in folders:
        keys = store.keys(f"{folder_of(digest)}/{name}")
        store.delete_many(sorted(keys, key=lambda key: key.endswith(f"/{PLAN}")), guard=guard)


def without(root: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Return a root that lacks some arrays and groups, and what lies below those."""
    fewer: dict[str, Any] = json.loads(json.dumps(root))
    for path in list(members(fewer)):
        if any(path == other or path.startswith(f"{other}/") for other in paths):
            del members(fewer)[path]
    return fewer
