"""Recognise the volume's own objects: its root, its plans and its manifests name them.

`zarr.json` and chunk keys of arrays, `zarr.json` of the groups above them, and the kinds of object below
`.seismill/` that are listed here. Everything else belongs to other programs or people.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.volume.arrays.documents import object_from, value_from
from tasks.volume.arrays.foreign_documents import attributes_of
from tasks.volume.arrays.spec import RAW_SAMPLES
from tasks.volume.arrays.volume_root import LABELS, Root
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.manifest import path_of_manifest
from tasks.volume.protocol.plan import PLAN, RUNS, Plan, folder_of, is_begun, load_plan
from tasks.volume.store.objects import Store

OWN = ".seismill"


ANY_RANK = -1


_CHUNK = re.compile(r"(.+)/c((?:/(?:0|[1-9][0-9]{0,18}))*)")  # the default chunk key encoding of Zarr v3


# Arrays that every ingest of SEG-Y may make beside those in its plan.
_OF_SEGY = {
    "trace_mask": ANY_RANK,
    "trace_number": ANY_RANK,
    "segy_file_header": 0,
    "crs": 0,
    RAW_SAMPLES: ANY_RANK,
    f"unplaced/{RAW_SAMPLES}": 2,
    "unplaced/trace_number": 1,
    "sample_exceptions/trace_number": 1,
    "sample_exceptions/sample": 1,
    "sample_exceptions/word": 1,
}


def chunk_of(key: str) -> tuple[str, int]:
    """Return the path of the array of a chunk and the rank of its index; path "" if `key` is not that of a chunk."""
    match = _CHUNK.fullmatch(key)
    return (match[1], match[2].count("/")) if match else ("", 0)


@dataclass(frozen=True)
class Names:
    """The arrays that a volume names.

    Attributes:
        ranks: Number of dimensions that each array has or had, by path; `ANY_RANK` where it is not known.
        lists_labels: Whether the group that lists label volumes is its own. These volumes are not.
    """

    ranks: dict[str, set[int]]
    lists_labels: bool = False

    def owner(self, key: str) -> str | None:
        """Return the path of the array or group of the volume that an object belongs to; None if to neither."""
        if key.endswith("/zarr.json"):
            path = key.removesuffix("/zarr.json")
            return path if path in self.ranks or path in self.groups else None
        path, rank = chunk_of(key)
        return path if self.ranks.get(path, set()) & {rank, ANY_RANK} else None

    @property
    def groups(self) -> set[str]:
        """Return the groups above arrays."""
        above = {group for path in self.ranks for group in groups_above(path)}
        return above | ({LABELS} if self.lists_labels else set())


def groups_above(path: str) -> Iterator[str]:
    """Yield the paths of the groups above an array or group, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def names_of(store: Store, root: Root | None, keys: Sequence[str] | None = None) -> Names:
    """Return what the root, the plans and the manifests of a volume name.

    Args:
        store: The volume.
        root: Root of the volume; None if there is none.
        keys: Every key below `.seismill/`, if they were listed already.

    Raises:
        IntegrityFailure: A plan that nothing else vouches for is damaged.
    """
    ranks: dict[str, set[int]] = {}
    done = set()
    if root is not None:
        done = root.plans
        for path, member in root.members.items():
            if path and member["node_type"] == "array" and not path.startswith(f"{LABELS}/"):
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
    return Names(ranks, _lists_labels(store, root))


def _lists_labels(store: Store, root: Root | None) -> bool:
    """Return whether the group of labels is the volume's own; without a root its own attribute says so."""
    if root is not None:
        return LABELS in root.members
    try:
        group = object_from(store.get(f"{LABELS}/zarr.json"), f"{store.url}/{LABELS}/zarr.json")
    except (FileNotFoundError, IsADirectoryError, IntegrityFailure):
        return False
    return "seismill" in attributes_of({"zarr.json": group})


def planned_ranks(store: Store, plan: Plan) -> dict[str, int]:
    """Return the number of dimensions of each array that a plan makes, by path."""
    body = plan.body
    if body["verb"] == "copy":
        return _copied(store, plan)
    if body["verb"] == "rechunk":
        return {copy["path"]: len(copy["shape"]) for copy in body["copies"]}
    if body["verb"] == "pyramid":
        levels = body["arrays"][1:]
        beside = {
            f"{dataset['path'].rpartition('/')[0]}/{name}": rank
            for dataset in levels
            if "/" in dataset["path"]
            for name, rank in (
                *((dim, 1) for dim in dataset["dims"]),
                ("trace_mask", len(dataset["shape"]) - 1),
            )
        }
        return beside | {dataset["path"]: len(dataset["shape"]) for dataset in levels}
    arrays = body.get("arrays", {})
    if not isinstance(arrays, dict) or "master" not in arrays:
        return {}
    ranks = {array["path"]: len(array["shape"]) for array in arrays.values()}
    ranks |= dict.fromkeys(arrays["master"]["dims"], 1)
    if body["verb"] == "ingest_segy":
        ranks |= _OF_SEGY
        ranks |= {name: len(dims) for name, _, _, dims, *_ in body["index"]["coordinates"]}
        for number in range(len(body["sources"])):
            ranks |= {f"segy_files/{number}/{name}": 1 for name in ("header", "trailer")}
    return ranks


def _copied(store: Store, plan: Plan) -> dict[str, int]:
    """Return the arrays of another volume that a plan copies; none if the run ended before it listed them."""
    ranks = {"segy_file_header": 0, "crs": 0}  # they have no chunk, by which others are known
    try:
        lines = store.get(copied_objects(plan.digest)).splitlines()
        for path, rank in [chunk_of(value_from(line)[0]) for line in lines]:
            ranks[path] = rank
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return ranks  # the run that goes on lists them anew
    ranks.pop("", None)
    return ranks


def copied_objects(digest: str) -> str:
    """Return the key of the list of objects that a plan copies."""
    return f"{folder_of(digest)}/parts/objects.jsonl"
