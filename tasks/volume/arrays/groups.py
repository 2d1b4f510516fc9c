"""Distinguish volumes of Seismill from another tool's group with our copies and levels.

All other code calls `root.group` and needs no cases.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.volume.arrays.documents import object_from
from tasks.volume.arrays.foreign_documents import fingerprint
from tasks.volume.arrays.level_names import is_elsewhere, level_0
from tasks.volume.arrays.root_schema import AnnexEntry
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable
from tasks.volume.store.objects import Store
from tasks.volume.store.url import stored_address

if TYPE_CHECKING:
    from tasks.volume.arrays.reader import Volume
    from tasks.volume.arrays.volume_root import Root

ROOT, ANNEX = "zarr.json", ".seismill/annex.json"  # where the root of a volume and of an annex lies
PYRAMID = "pyramid"  # the group of a volume's coarser levels


def store_at(store: Store, origin: str) -> Store:
    """Return the store of a master: the volume's own, or the store of another tool's array."""
    if not origin:
        return store
    place = origin if is_elsewhere(origin) else f"{store.url}/{origin}"
    return Store(stored_address(place), store.options)


class OwnGroup:
    """A volume: its root is the group's own document, and its master lies in it."""

    key = ROOT
    kind = "a volume"
    flat = False  # whether levels lie in the group itself
    rename = "give it another name"

    def level(self, number: int, master: str) -> str:
        """Return the path of a coarser level, counted from 1."""
        return f"{PYRAMID}/{number}/{master}"

    def coordinates(self, volume: "Volume", axis: int, count: int) -> tuple[str, np.ndarray]:
        """Return unit and coordinates of an axis without a stored array."""
        return "", np.arange(count)

    def image(self, volume: "Volume") -> Mapping[str, Any]:
        """Return name and axes of the image that the master is."""
        images = volume.attributes.get("ome", {}).get("multiscales") or [{}]
        return {"name": images[0].get("name", volume.master), "axes": images[0].get("axes", [])}

    def measured(self, volume: "Volume", raw_bytes: int) -> dict[str, Any]:
        """Return the figures of the master that its attributes lack: path, stored size and ratio."""
        return {}

    def state_of_master(self, volume: "Volume") -> dict[str, str]:
        """Return a digest of the master if no plan in the root identifies it."""
        return {}

    def refuse_changed(self, volume: "Volume") -> None:
        """Check that the master did not change since it was read."""

    def notes(self, volume: "Volume") -> list[str]:
        """Return notes on parts of the master that verification cannot check."""
        return []

    def problems(self, volume: "Volume", group: Callable[[], bytes]) -> list[tuple[str, str]]:
        """Return key and problem of damaged documents that are not ours.

        Args:
            volume: The volume.
            group: Reads the group's zarr.json; empty if there is none.
        """
        return []

    def renewed(self, store: Store, root: "Root | None", seen: "Root") -> "Root":
        """Check under the lock that the master is still the one of `seen`, the root at planning, and return the root.

        Raises:
            InputRefused: The volume was removed.
            Resumable: The master was replaced.
        """
        if root is None:
            raise InputRefused(f"the volume at {store.url} was removed meanwhile; publish it again")
        before, now = (r.state.stages.get(seen.master) for r in (seen, root))
        if before != now:
            raise Resumable(f"the master of {store.url} was replaced meanwhile; run this again")
        return root


@dataclass(frozen=True)
class ForeignGroup(OwnGroup):
    """Another tool's group: our root lies beside its document, and the master is an array of that tool.

    Attributes:
        annex: The array, as our root describes it.
    """

    annex: AnnexEntry

    key = ANNEX
    kind = "levels of an array of another tool"
    flat = True
    rename = "name a group for what is made with --target"

    def level(self, number: int, master: str) -> str:
        """Return the path of a coarser level, after the name of the array."""
        array = self.annex.array
        return str(number) if is_elsewhere(array) else level_0(array).format(number)

    def coordinates(self, volume: "Volume", axis: int, count: int) -> tuple[str, np.ndarray]:
        """Return unit and coordinates as the group states them."""
        unit, base = self.annex.axes[axis].get("unit", "") if self.annex.axes else "", volume.state.levels[0]
        return unit, base.translation[axis] + base.scale[axis] * np.arange(count)

    def image(self, volume: "Volume") -> Mapping[str, Any]:
        """Return name and axes of the image that the array is."""
        return {"name": self.annex.name, "axes": self.annex.axes}

    def measured(self, volume: "Volume", raw_bytes: int) -> dict[str, Any]:
        """Return place, listed size and ratio of the array."""
        stored = sum(size for _, size, _ in volume.store_of(volume.master).listing(""))
        return {
            "path": self.annex.array,
            "stored_bytes": stored,
            "ratio": raw_bytes / stored if stored else 0.0,
        }

    def state_of_master(self, volume: "Volume") -> dict[str, str]:
        """Return a digest of the array's objects."""
        return {"origin": fingerprint(volume.store_of(volume.master), "")}

    def refuse_changed(self, volume: "Volume") -> None:
        """Check that the array is still what was read.

        Raises:
            InputRefused: The array was written to meanwhile.
        """
        place = volume.store_of(volume.master)
        if fingerprint(place, "") != volume.master_plan:
            raise InputRefused(
                f"{place.url} was written to while it was read; run this again when nothing writes it"
            )

    def notes(self, volume: "Volume") -> list[str]:
        """Return a note that the array has no checksums, or was written to."""
        name = self.annex.array
        if fingerprint(volume.store_of(volume.master), "") == volume.master_plan:
            return [
                f"{name} is another tool's: its objects have the sizes and etags that they had, and no checksums."
            ]
        return [
            f"{name} is another tool's, and was written to since copies and levels were made of it; --errors compares "
            "these with it."
        ]

    def problems(self, volume: "Volume", group: Callable[[], bytes]) -> list[tuple[str, str]]:
        """Return what is wrong with the documents of the group and the array."""
        from tasks.volume.arrays.foreign import foreign_spec  # zarr, which a volume of ours does not need

        problems, document = [], group()
        try:
            object_from(document, ROOT)
        except IntegrityFailure:
            problems.append((ROOT, "is no JSON document" if document else "is missing"))
        try:
            there, made_of = foreign_spec(volume.store_of(volume.master), ""), volume.spec(volume.master)
            if (there.shape, there.chunks, there.dtype) != (made_of.shape, made_of.chunks, made_of.dtype):
                problems.append(
                    (self.annex.array, "describes another array than copies and levels were made of")
                )
        except Exception as error:  # whatever zarr-python raises at a document
            problems.append(
                (self.annex.array, f"cannot be opened as an array ({' '.join(str(error).split())})")
            )
        return problems

    def renewed(self, store: Store, root: "Root | None", seen: "Root") -> "Root":
        """Return our root under the lock, with the array as `seen` has it: no commit changes that."""
        if root is None:
            return seen
        master = seen.master
        root = root.with_state(annex=self.annex.to_json())
        root = root.with_levels([seen.state.levels[0], *root.state.levels[1:]])
        root = root.with_stages({master: seen.state.stages[master]})
        return root.with_members({master: seen.members[master]})
