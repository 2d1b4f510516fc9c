"""Read regions of stored arrays, chunks decoded in parallel, each object asked for once."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import ABSENT, decode_chunk, index_bytes, read_index
from tasks.volume.arrays.documents import object_from, root_from
from tasks.volume.arrays.group_metadata import ANNEX, LABELS
from tasks.volume.arrays.level_names import is_elsewhere, level_0
from tasks.volume.arrays.spec import AS_FOUND, ArraySpec, positions, spec_of
from tasks.volume.blocks import Region, on_chunks, on_io
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.store.objects import Store
from tasks.volume.store.url import stored_address

PYRAMID = "pyramid"  # the group of a volume's coarser levels
MDIO_V0 = {".zmetadata", "data", "metadata"}  # what lies in a volume of multidimio 0.x
MOST_LOOKED_AT = 100  # groups in a group
WHOLE_SHARD_FRACTION = 0.4  # of its chunks wanted: from there on one request for all is cheaper than ranges


@dataclass(frozen=True)
class Volume:
    """A published volume as its root describes it."""

    store: Store
    root: dict[str, Any]

    @property
    def attributes(self) -> dict[str, Any]:
        """Return the root group's attributes."""
        return self.root["attributes"]

    @property
    def state(self) -> dict[str, Any]:
        """Return Seismill's state of the volume (`seismill` in the root's attributes)."""
        return self.root["attributes"]["seismill"]

    @property
    def members(self) -> dict[str, dict[str, Any]]:
        """Return the zarr.json of each array and group by path, without those of label volumes."""
        metadata: dict[str, dict[str, Any]] = self.root["consolidated_metadata"]["metadata"]
        if LABELS not in metadata:
            return metadata
        return {path: member for path, member in metadata.items() if not path.startswith(f"{LABELS}/")}

    @property
    def is_labels_of_image(self) -> bool:
        """Return whether it lies in an image's group, as labels of that image."""
        return "image" in self.state.get("looks", {})

    @property
    def master(self) -> str:
        """Path of the lossless array; of an annex it is empty, for its `origin` is the array itself."""
        return self.attributes["attributes"]["defaultVariableName"]

    @property
    def of_images(self) -> bool:
        """Return whether the volume was made of images: voxels, no traces."""
        return "looks" in self.state

    @property
    def origin(self) -> str:
        """Return the group that holds the master: empty for a volume; for an annex the array beside it, or its URL."""
        return self.state["annex"]["array"] if "annex" in self.state else ""

    @property
    def master_name(self) -> str:
        """Return the master as other tools find it from here; of copies without their master, what it was called."""
        return self.origin or self.left_out or self.master

    @property
    def left_out(self) -> str:
        """Path that the lossless array had, if these are copies without it; then a copy stands in its place."""
        return str(self.state.get("left_out", {}).get("array", ""))

    def store_of(self, path: str) -> Store:
        """Return the store that holds an array; the master of an annex lies elsewhere."""
        if path != self.master or not self.origin:
            return self.store
        origin = self.origin if is_elsewhere(self.origin) else f"{self.store.url}/{self.origin}"
        return Store(stored_address(origin), self.store.options)

    def level(self, number: int) -> str:
        """Path of a coarser level, counted from 1."""
        if self.is_labels_of_image:
            return str(number)  # one validator finds the levels of labels in the group itself alone
        if "annex" not in self.state:
            return f"{PYRAMID}/{number}/{self.master}"
        return str(number) if is_elsewhere(self.origin) else level_0(self.origin).format(number)

    def has(self, path: str) -> bool:
        """Return whether the volume holds an array or group of that path."""
        return path in self.members

    def spec(self, path: str) -> ArraySpec:
        """Return the spec of one array."""
        if path not in self.members:
            raise InputRefused(
                f"{self.store.url} has no array {path}; it has {', '.join(sorted(self.members))}"
            )
        try:
            return spec_of(path, self.members[path])
        except (LookupError, TypeError, AttributeError):
            raise IntegrityFailure(
                f"the root of {self.store.url} does not say how {path} is stored; run seismill verify "
                "--repair from_master"
            ) from None

    def array_attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of one array."""
        return self.members[path].get("attributes", {})

    def read(self, path: str, region: Region | None = None) -> np.ndarray:
        """Return the values of an array, or of a region of it."""
        return read_region(self.store_of(path), self.spec(path), region)


def open_volume(store: Store, data: bytes = b"") -> Volume:
    """Open the published volume at a store.

    Args:
        store: The place.
        data: Its root, if it was read already.

    Raises:
        InputRefused: There is none, or another tool wrote it.
    """
    try:
        data = data or store.get("zarr.json")
    except (FileNotFoundError, IsADirectoryError):
        if store.is_file:
            raise InputRefused(f"{store.url} is a file; name the folder of a volume") from None
        raise InputRefused(f"there is no published volume at {store.url}; publish one there first") from None
    if not _may_be_root(data):
        raise InputRefused(f"{store.url} was not written by Seismill; name a volume that was")
    return Volume(store, root_from(data, f"{store.url}/zarr.json"))


def _may_be_root(data: bytes) -> bool:
    """Return whether a group's document may be a volume's root: it has Seismill's attribute."""
    try:
        document = object_from(data, "")
    except IntegrityFailure:
        return b'"seismill"' in data or not data.strip().startswith(b"{")
    attributes = document.get("attributes")
    return isinstance(attributes, dict) and "seismill" in attributes and "consolidated_metadata" in document


def open_any(store: Store, data: bytes = b"") -> Volume:
    """Open the published volume at a store, or the annex of levels and copies in another tool's group.

    Args as `open_volume`.

    Raises:
        InputRefused: There is neither.
    """
    try:
        return open_volume(store, data)
    except InputRefused as refused:
        names = [] if store.is_file else store.children()
        if MDIO_V0 <= set(names):
            raise InputRefused(
                f"{store.url} is a volume of multidimio 0.8; seismill migrate {store.url} NEW makes a volume of it"
            ) from None
        found = _annexes(store, names) if names else {}
        if not found:
            raise
        if "" in found:
            return Volume(store, found[""])
        named = ", ".join(f"{store.url}/{path}" for path in found)
        raise InputRefused(f"{refused.args[0]}; levels or copies that Seismill made lie in {named}") from None


def _annexes(store: Store, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the roots of annexes in a group and in its member groups, by path."""
    found = {}
    for path in ("", *(one for one in names[:MOST_LOOKED_AT] if not one.startswith("."))):
        try:
            key = f"{path}/{ANNEX}" if path else ANNEX
            found[path] = root_from(store.get(key), f"{store.url}/{key}")
        except (FileNotFoundError, IsADirectoryError):
            continue
        if not path:
            break
    return found


def read_region(
    store: Store,
    spec: ArraySpec,
    region: Region | None = None,
    out: np.ndarray | None = None,
    *,
    live: np.ndarray | None = None,
) -> np.ndarray:
    """Return the values of a region, in C order; absent samples hold the fill value.

    Args:
        store: The volume's store.
        spec: The array.
        region: Slices per axis; all of it if None.
        out: Where to put the values, of the region's shape; made if None.
        live: Which traces of the region exist, bool of its shape without the last axis: their chunks must be there.

    Raises:
        IntegrityFailure: A chunk does not fit its checksum, or is missing where a trace is live.
    """
    region = region or tuple(slice(0, n) for n in spec.shape)
    if out is None:
        out = np.empty(tuple(r.stop - r.start for r in region), spec.numpy)

    def paste(values: np.ndarray, place: Region) -> None:
        out[place] = values

    read_pieces(store, spec, region, paste, live=live)
    return out


def read_pieces(
    store: Store,
    spec: ArraySpec,
    region: Region,
    use: Callable[[np.ndarray, Region], None],
    *,
    live: np.ndarray | None = None,
) -> None:
    """Call `use` for each chunk with its part of a region and the place of that part, on several threads.

    So what is made of a chunk is made while it lies in the processor's cache, and the region is nowhere as a whole.
    The pieces cut the region only where chunks do; of another tool's array, where its stored objects do.

    Args as `read_region`, which raises the same.
    """
    if spec.codec == AS_FOUND:
        # Imported here: zarr takes half a second, and only arrays of other tools are read with it.
        from tasks.volume.arrays.foreign import read_foreign

        read_foreign(store, spec, region, use)
        return

    def hand_over(chunk_index: tuple[int, ...], data: bytes | memoryview | None) -> None:
        inside, outside = [], []
        for i, c, r in zip(chunk_index, spec.chunks, region, strict=True):
            start, stop = max(i * c, r.start), min((i + 1) * c, r.stop)
            inside.append(slice(start - i * c, stop - i * c))
            outside.append(slice(start - r.start, stop - r.start))
        where, place = f"{store.url}/{spec.path}, chunk {chunk_index}", tuple(outside)
        if data is None:
            if live is not None and live[place[:-1]].any():
                raise missing_chunk(where)
            use(np.broadcast_to(spec.fill_value, [s.stop - s.start for s in place]), place)
        else:
            use(decode_chunk(spec, data, where=where)[tuple(inside)], place)

    if spec.shards:
        shards = {p: _wanted_of(spec, p, region) for p in positions(spec, region)}
        on_chunks(lambda pair: hand_over(*pair), _from_shards(store, spec, shards, on_io))
        return
    wanted = positions(spec, region)
    if store.local:
        on_chunks(lambda p: hand_over(p, _get(store, spec.key(p))), wanted)
        return
    for start in range(0, len(wanted), 32):  # encoded chunks of 32 objects in memory at once
        some = wanted[start : start + 32]
        on_chunks(
            lambda pair: hand_over(*pair),
            zip(some, on_io(lambda p: _get(store, spec.key(p)), some), strict=True),
        )


def missing_chunk(where: str) -> IntegrityFailure:
    """Return the error for a chunk that must be stored and is missing."""
    return IntegrityFailure(
        f"{where}, is missing though traces live there; run seismill verify to find all that are"
    )


def fetch_chunks(
    store: Store, spec: ArraySpec, places: Sequence[tuple[int, ...]]
) -> list[bytes | memoryview | None]:
    """Return the encoded bytes of some chunks, by position in the grid of chunks; None for an absent one."""
    if not spec.shards:
        return [_get(store, spec.key(place)) for place in places]
    per = spec.chunks_per_shard
    shards: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for place in places:
        shards.setdefault(tuple(p // n for p, n in zip(place, per, strict=True)), []).append(place)
    # One after the other: this is called on the pool for store calls.
    found = dict(_from_shards(store, spec, shards, lambda work, items: list(map(work, items))))
    return [found[place] for place in places]


def _get(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except (FileNotFoundError, IsADirectoryError):
        return None


def _wanted_of(spec: ArraySpec, position: tuple[int, ...], region: Region) -> list[tuple[int, ...]]:
    """Return the chunks of one shard that meet `region`, by position in the grid of chunks."""
    corner = [p * n for p, n in zip(position, spec.chunks_per_shard, strict=True)]
    return list(
        itertools.product(
            *(
                range(max(r.start // c, k), min(-(-r.stop // c), k + n))
                for r, c, k, n in zip(region, spec.chunks, corner, spec.chunks_per_shard, strict=True)
            )
        )
    )


def _from_shards(
    store: Store,
    spec: ArraySpec,
    shards: Mapping[tuple[int, ...], list[tuple[int, ...]]],
    each: Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]],
) -> list[tuple[tuple[int, ...], memoryview | None]]:
    """Fetch some encoded chunks of some shards: a whole shard if most of it is wanted, else its index, then ranges.

    Args:
        store: The volume's store.
        spec: The array.
        shards: The chunks that are wanted of each shard.
        each: Calls a function for each item and returns the results in order, such as `on_io`.
    """
    opened = each(lambda item: _opened_shard(store, spec, *item), shards.items())
    found: list[tuple[tuple[int, ...], memoryview | None]] = []
    ranges: list[tuple[str, list[Any]]] = []
    for (position, wanted), (index, data) in zip(shards.items(), opened, strict=True):
        corner = [p * n for p, n in zip(position, spec.chunks_per_shard, strict=True)]
        if index is None:
            found += [(w, None) for w in wanted]
        elif data is not None:
            found += [(w, _cut(index, data, w, corner)) for w in wanted]
        else:
            spans = [(_span(index, w, corner), w) for w in wanted]
            found += [(w, None) for span, w in spans if span[0] == ABSENT]
            present = sorted((span, w) for span, w in spans if span[0] != ABSENT)
            ranges += [(spec.key(position), run) for run in _runs(present)]
    for pieces in each(lambda part: _range_of(store, *part), ranges):
        found += pieces
    return found


def _opened_shard(
    store: Store, spec: ArraySpec, position: tuple[int, ...], wanted: list[tuple[int, ...]]
) -> tuple[np.ndarray | None, memoryview | None]:
    """Return the index of a shard and, if most of it is wanted, all of it; None twice if there is none."""
    corner = [p * n for p, n in zip(position, spec.chunks_per_shard, strict=True)]
    key, where = spec.key(position), f"{store.url}/{spec.key(position)}"
    inside = [
        len(range(k, min(k + n, -(-extent // c))))
        for k, n, extent, c in zip(corner, spec.chunks_per_shard, spec.shape, spec.chunks, strict=True)
    ]
    try:
        if len(wanted) >= WHOLE_SHARD_FRACTION * math.prod(inside):
            data = memoryview(store.get(key))
            return read_index(spec, data, where=where), data
        return read_index(spec, store.get_tail(key, index_bytes(spec)), where=where), None
    except FileNotFoundError:
        return None, None


def _range_of(store: Store, key: str, run: list[Any]) -> list[tuple[tuple[int, ...], memoryview]]:
    """Return neighbouring chunks of a shard, fetched with one request."""
    start, stop = run[0][0][0], run[-1][0][0] + run[-1][0][1]
    data = memoryview(store.get_range(key, start, stop - start))
    return [(w, data[offset - start : offset - start + size]) for (offset, size), w in run]


def _span(index: np.ndarray, wanted: tuple[int, ...], corner: list[int]) -> tuple[int, int]:
    """Return offset and size of a chunk in its shard; the offset of an absent one is `ABSENT`."""
    offset, size = (int(v) for v in index[tuple(i - k for i, k in zip(wanted, corner, strict=True))])
    return offset, size


def _cut(
    index: np.ndarray, data: memoryview, wanted: tuple[int, ...], corner: list[int]
) -> memoryview | None:
    offset, size = _span(index, wanted, corner)
    return None if offset == ABSENT else data[offset : offset + size]


def _runs(present: list[Any], gap: int = 1 << 16) -> list[list[Any]]:
    """Join neighbouring ranges into one request if the gap between them is small."""
    runs: list[list[Any]] = []
    for item in present:
        (offset, _), _ = item
        if runs and offset - sum(runs[-1][-1][0]) <= gap:
            runs[-1].append(item)
        else:
            runs.append([item])
    return runs
