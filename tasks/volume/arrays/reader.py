"""Read regions of stored arrays, chunks decoded in parallel, each object asked for once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.volume.arrays.documents import object_from
from tasks.volume.arrays.groups import ANNEX, store_at
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.root_schema import VolumeState
from tasks.volume.arrays.spec import ArraySpec, spec_of
from tasks.volume.arrays.volume_root import LABELS, Root, root_from
from tasks.volume.blocks import Region
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.store.objects import Store

MDIO_V0 = {".zmetadata", "data", "metadata"}  # what lies in a volume of multidimio 0.x
MOST_LOOKED_AT = 100  # groups in a group


@dataclass(frozen=True)
class Volume:
    """A published volume as its root describes it."""

    store: Store
    root: Root

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Return the root group's attributes."""
        return self.root.attributes

    @property
    def state(self) -> VolumeState:
        """Return Seismill's state of the volume (`seismill` in the root's attributes)."""
        return self.root.state

    @property
    def members(self) -> Mapping[str, dict[str, Any]]:
        """Return the zarr.json of each array and group by path, label volumes excluded."""
        metadata = self.root.members
        if LABELS not in metadata:
            return metadata
        return {path: member for path, member in metadata.items() if not path.startswith(f"{LABELS}/")}

    @property
    def is_labels_of_image(self) -> bool:
        """Return whether it lies in an image's group, as labels of that image."""
        return bool(self.state.looks.image)

    @property
    def master(self) -> str:
        """Return the path of the lossless array; of an annex it is empty, for its `origin` is the array itself."""
        return self.root.master

    @property
    def master_plan(self) -> str:
        """Return the digest of the plan that made the master."""
        return self.state.stages[self.master].plan

    @property
    def of_images(self) -> bool:
        """Return whether the volume was made of images: voxels, no traces."""
        return self.state.has("looks")

    @property
    def origin(self) -> str:
        """Return the group that holds the master: empty for a volume; for an annex the array beside it, or its URL."""
        return self.state.annex.array

    @property
    def master_name(self) -> str:
        """Return the master as other tools find it from here; of copies without their master, its former name."""
        return self.origin or self.left_out or self.master

    @property
    def left_out(self) -> str:
        """Return the former path of the lossless array if a copy replaces it, else ''."""
        return self.state.left_out.array

    def store_of(self, path: str) -> Store:
        """Return the store that holds an array; the master of an annex lies elsewhere."""
        return store_at(self.store, self.origin) if path == self.master else self.store

    def shown(self, path: str) -> str:
        """Return the path of an array for messages; for an annex's master, whose path is empty, its URL."""
        return path or self.origin

    def level(self, number: int) -> str:
        """Return the path of a coarser level, counted from 1."""
        if self.is_labels_of_image:
            return str(number)  # one validator finds the levels of labels in the group itself alone
        return self.root.group.level(number, self.master)

    def has(self, path: str) -> bool:
        """Return whether the volume holds an array or group of that path."""
        return path in self.members

    def spec(self, path: str) -> ArraySpec:
        """Return the spec of one array."""
        if path not in self.members:
            raise InputRefused(
                f"{self.store.url} has no array {path}; it has {', '.join(sorted(self.members))}"
            )
        return spec_of(path, self.members[path], self.store.url)

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
        data: Content of the root, if it was read already.

    Raises:
        InputRefused: The place holds no volume, or another tool wrote it.
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
        InputRefused: The place holds neither.
    """
    try:
        return open_volume(store, data)
    except InputRefused as refused:
        names = [] if store.is_file else store.children()
        if MDIO_V0 <= set(names):
            raise InputRefused(
                f"{store.url} is a volume of multidimio 0.8; seismill migrate {store.url} NEW makes a volume of it"
            ) from None
        annexes = _annexes(store, names) if names else {}
        if not annexes:
            raise
        if "" in annexes:
            return Volume(store, annexes[""])
        named = ", ".join(f"{store.url}/{path}" for path in annexes)
        raise InputRefused(f"{refused.args[0]}; levels or copies that Seismill made lie in {named}") from None


def _annexes(store: Store, names: Sequence[str]) -> dict[str, Root]:
    """Return the roots of annexes in a group and in its member groups, by path."""
    roots = {}
    for path in ("", *(name for name in names[:MOST_LOOKED_AT] if not name.startswith("."))):
        try:
            key = f"{path}/{ANNEX}" if path else ANNEX
            roots[path] = root_from(store.get(key), f"{store.url}/{key}")
        except (FileNotFoundError, IsADirectoryError):
            continue
        if not path:
            break
    return roots
