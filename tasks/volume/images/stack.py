"""A stack: slices in one or many files, described as a value that plans hold, and read slab by slab.

Every slice is read and decoded once. The description (shape, type, memory for reading) is complete before anything is
written, so that files that do not fit together, or do not fit in memory, are refused with their names.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tasks.parameters import Raw, StorageOptions
from tasks.volume.blocks import cpu_count, on_io
from tasks.volume.images.bitmaps import alike
from tasks.volume.images.descriptions import RESOLUTION
from tasks.volume.images.formats import describe
from tasks.volume.images.header import Slices, Voxels
from tasks.volume.images.listing import VoxelFile, find_files
from tasks.volume.images.sidecars import found_beside
from tasks.volume.images.spacing import agreed, chosen
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import locate

FETCHED_BYTES = 64 << 20  # of encoded slices read ahead of their decoding from a remote store
MOST_FETCHED = 16


@dataclass(frozen=True)
class Stack:
    """Slices in order; their axes are z, y, x, with t and c before them if there are any.

    Attributes:
        files: Every file and the slices it holds; all have one shape and type.
        beside: Position of the voxels in a file beside them; a plan has only its result.
    """

    files: tuple[tuple[VoxelFile, Slices], ...]
    beside: Voxels = field(default_factory=Voxels)

    @property
    def first(self) -> Slices:
        """Return the slices of the first file, which have the shape and type of all others."""
        return self.files[0][1]

    @property
    def dims(self) -> tuple[str, ...]:
        """Return names of the axes."""
        return (*(name for name, _ in self.first.leading), "z", "y", "x")

    @property
    def spatial(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return (sum(slices.count for _, slices in self.files), *self.first.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of all axes."""
        return (*(count for _, count in self.first.leading), *self.spatial)

    @property
    def apart(self) -> tuple[bool, ...]:
        """Return, per axis, whether parts of it can be read separately: times, and channels on separate pages."""
        one_by_one = [name != "c" or self.first.samples == 1 for name, _ in self.first.leading]
        return (*one_by_one, *(axis == self.first.slow_axis for axis in range(3)))

    @property
    def dtype(self) -> str:
        """Type of the stored voxels: booleans become uint8, which OME-Zarr and its readers know."""
        return "uint8" if self.first.dtype == "bool" else self.first.dtype

    @property
    def slow_axis(self) -> int:
        """Return the axis along which neighbours lie farthest apart in the files."""
        return len(self.first.leading) + self.first.slow_axis

    @property
    def voxels(self) -> Voxels:
        """Return the voxel lattice that the files agree on or, failing that, a sidecar's."""
        own = agreed([slices.voxels for _, slices in self.files])
        return chosen(own, self.beside)

    @property
    def kept(self) -> dict[str, Any]:
        """Attributes of the array that the files give and agree on."""
        first = self.first.kept
        return first if all(slices.kept == first for _, slices in self.files) else {}

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file, _ in self.files)

    def reading_bytes(self) -> int:
        """Return the most that reading takes beside the voxels read."""
        encoded = max(slices.encoded_bytes for _, slices in self.files)
        scratch = max(slices.scratch_bytes for _, slices in self.files)
        at_once = cpu_count() if locate(self.files[0][0].url).local else fetched_at_once(encoded)
        return at_once * encoded + cpu_count() * scratch

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary for a plan."""
        plain = [[asdict(file), asdict(slices)] for file, slices in self.files]
        for file, slices in plain:
            del slices["voxels"]["notes"], slices["voxels"]["taken"], slices["in_series"], slices["channels"]
            del slices["declared"], slices["time_step"], slices["time_unit"]
            # What later versions added is there only where it says something.
            for name, usual in (("kept", {}), ("samples", 1), ("planes", ())):
                if slices[name] == usual:
                    del slices[name]
            if not file["part"]:
                del file["part"]
        return {"files": plain}

    def before(self) -> list["Stack"]:
        """Return the stack as earlier versions read it, without calibration, unit or origin."""
        views: list[Callable[[Voxels], Voxels]] = [
            lambda voxels: voxels,
            lambda voxels: Voxels(),
            lambda voxels: replace(voxels, unit=""),
            lambda voxels: replace(voxels, origin=()),
        ]
        seen = [
            Stack(tuple((file, replace(slices, voxels=view(slices.voxels))) for file, slices in self.files))
            for view in views
        ]
        return [stack for stack in seen if stack.files != self.files or self.beside.length]

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Stack":
        """Return the inverse of `to_json`, also after JSON turned tuples into lists."""
        return cls(tuple((VoxelFile(**file), _slices_of(slices)) for file, slices in stored["files"]))


def find_stack(url: str, options: StorageOptions, raw: Raw = Raw(), image: int = -1) -> Stack:
    """Return the stack that `url` names, after reading the header of every file.

    Args:
        url: Same as in `listing.find_files`.
        options: Non-secret options of the store.
        raw: Description of the voxels in files without a header.
        image: Number of the image in files of several, from 0; -1: the only one.

    Raises:
        InputRefused: Files cannot be read, or do not make a stack; the sentence names them.
    """
    listed = find_files(url, options)
    files = alike(on_io(lambda file: describe(file, options, raw, image), listed))
    kinds = Counter(_kind(slices) for _, slices in files)
    kind, count = kinds.most_common(1)[0]
    odd = [(f, s) for f, s in files if _kind(s) != kind]
    if odd:
        shown = ", ".join(f"{f.url.rpartition('/')[2]} ({_kind(s)})" for f, s in odd[:5])
        raise InputRefused(
            f"{count} files of {url} hold slices of {kind}, but {len(odd)} do not: {shown}"
            f"{', …' if len(odd) > 5 else ''}; remove them, or copy them again"
        )
    declared, held = max(slices.declared for _, slices in files), sum(slices.count for _, slices in files)
    if declared > held:
        raise InputRefused(
            f"the headers of {url} state {declared} slices, but {held} are there; name the folder or a pattern of all "
            "its files, or add the missing ones"
        )
    if all(slices.in_series for _, slices in files):
        from tasks.volume.images.dicom import ordered

        files = ordered(files, url)
    if len(files) > 1 and any(slices.slow_axis for _, slices in files):
        raise InputRefused(
            f"{url} names {len(files)} files in Fortran order, which only a single file may have; save them in C order"
        )
    stack = Stack(tuple(files))
    own = stack.voxels
    if not own.length or own.taken == RESOLUTION:
        stack = replace(stack, beside=found_beside(listed, options))
    return stack


def _kind(slices: Slices) -> str:
    """Return what all files of a stack have alike, for people."""
    leading = [f"{count} {'channels' if name == 'c' else 'times'}" for name, count in slices.leading]
    of = f" of {' and '.join(leading)}" if leading else ""
    return f"{slices.shape[0]} x {slices.shape[1]} {slices.dtype}{of}"


def fetched_at_once(encoded_bytes: int) -> int:
    """Return how many encoded slices of such a size are read ahead of their decoding."""
    return max(1, min(MOST_FETCHED, FETCHED_BYTES // max(1, encoded_bytes)))


def _slices_of(stored: dict[str, Any]) -> Slices:
    stated = stored["voxels"]
    voxels = Voxels(tuple(stated["length"]), stated["unit"], tuple(stated["origin"]))
    planes = tuple((str(name), int(count)) for name, count in stored.get("planes", ()))
    return Slices(**stored | {"shape": tuple(stored["shape"]), "voxels": voxels, "planes": planes})
