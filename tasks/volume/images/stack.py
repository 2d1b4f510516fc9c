"""A stack: slices in one or many files, described as a value that plans hold, and read slab by slab.

Every slice is read and decoded once. The description is complete before anything is written: shape, type,
and the memory that reading takes, so that what does not fit together or would not fit is refused by name.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.parameters import Raw, StorageOptions
from tasks.volume.blocks import cpu_count, on_chunks, on_io
from tasks.volume.images import coded, raw_voxels
from tasks.volume.images.descriptions import RESOLUTION
from tasks.volume.images.formats import describe
from tasks.volume.images.header import Slices, Voxels
from tasks.volume.images.listing import VoxelFile, find_files
from tasks.volume.images.sidecars import found_beside
from tasks.volume.images.spacing import agreed, chosen
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Source, locate

FETCHED_BYTES = 64 << 20  # of encoded slices read ahead of their decoding from a remote store
MOST_FETCHED = 16


@dataclass(frozen=True)
class Stack:
    """Slices in order, axes z, y, x.

    Attributes:
        files: Every file and the slices it holds; all have one shape and type.
        beside: Where voxels lie by a file beside them; no part of a plan, which has what was made of it.
    """

    files: tuple[tuple[VoxelFile, Slices], ...]
    beside: Voxels = field(default_factory=Voxels)

    @property
    def first(self) -> Slices:
        """The first file's, in shape and type like all others."""
        return self.files[0][1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return (sum(slices.count for _, slices in self.files), *self.first.shape)

    @property
    def dtype(self) -> str:
        """Type of the stored voxels: booleans become uint8, which OME-Zarr and its readers know."""
        return "uint8" if self.first.dtype == "bool" else self.first.dtype

    @property
    def slow_axis(self) -> int:
        """The axis along which neighbours lie farthest apart in the files."""
        return self.first.slow_axis

    @property
    def voxels(self) -> Voxels:
        """Where the voxels lie, if the files say it and agree, or else a file beside them."""
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
        """The most that reading takes beside the voxels read."""
        encoded = max(slices.encoded_bytes for _, slices in self.files)
        scratch = max(slices.scratch_bytes for _, slices in self.files)
        at_once = cpu_count() if locate(self.files[0][0].url).local else _fetched_at_once(encoded)
        return at_once * encoded + cpu_count() * scratch

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for a plan."""
        plain = [[asdict(file), asdict(slices)] for file, slices in self.files]
        for file, slices in plain:
            del slices["voxels"]["notes"], slices["voxels"]["taken"], slices["in_series"]
            # What later versions added is there only where it says something.
            if not slices["kept"]:
                del slices["kept"]
            if not file["part"]:
                del file["part"]
        return {"files": plain}

    def before(self) -> list["Stack"]:
        """The stack as earlier versions saw it, which took no calibration, no unit or no origin where they do now."""
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
        """The inverse of `to_json`, also after JSON turned tuples into lists."""
        return cls(tuple((VoxelFile(**file), _slices_of(slices)) for file, slices in stored["files"]))


@dataclass(frozen=True, eq=False)
class _Wanted:
    """One slice: its file, its number in there, and where its voxels go."""

    file: VoxelFile
    slices: Slices
    number: int
    out: np.ndarray


def find_stack(url: str, options: StorageOptions, raw: Raw = Raw(), image: int = -1) -> Stack:
    """The stack that `url` names, every header of which was looked at.

    Args:
        url: As `listing.find_files`.
        options: Non-secret options of the store.
        raw: What files without a header hold.
        image: Number of the image in files of several, from 0; -1: the only one.

    Raises:
        InputRefused: Files cannot be read, or do not make a stack; the sentence names them.
    """
    listed = find_files(url, options)
    files = on_io(lambda file: describe(file, options, raw, image), listed)
    kinds = Counter((slices.shape, slices.dtype) for _, slices in files)
    (shape, dtype), count = kinds.most_common(1)[0]
    odd = [(f, s) for f, s in files if (s.shape, s.dtype) != (shape, dtype)]
    if odd:
        shown = ", ".join(
            f"{f.url.rpartition('/')[2]} ({s.shape[0]} x {s.shape[1]} {s.dtype})" for f, s in odd[:5]
        )
        raise InputRefused(
            f"{count} files of {url} hold slices of {shape[0]} x {shape[1]} {dtype}, but {len(odd)} do not: {shown}"
            f"{', …' if len(odd) > 5 else ''}; take them out or bring them again"
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


def read_slab(stack: Stack, first: int, count: int, options: StorageOptions) -> np.ndarray:
    """Voxels of `count` positions along the slow axis from `first` on, as (z, y, x).

    The result is C-contiguous where slices are the slow axis, else a transposed view.

    Raises:
        IntegrityFailure: A slice cannot be decoded.
        InputRefused: A file changed since it was described.
    """
    if stack.slow_axis:
        nz, ny, _ = stack.shape
        out = np.empty((count, ny, nz), stack.first.dtype)
        raw_voxels.read_plain(_source(stack.files[0][0], options), stack.first.details, first, out)
        return out.transpose(2, 1, 0)
    out = np.empty((count, *stack.first.shape), stack.first.dtype)
    wanted: list[_Wanted] = []
    at = 0
    for file, slices in stack.files:
        start, stop = max(first, at), min(first + count, at + slices.count)
        if start < stop and slices.kind == "plain":
            part = out[start - first : stop - first]
            if "stream" in slices.details:
                raw_voxels.read_plain(_source(file, options), slices.details, start - at, part)
            else:
                with closing(file.open(options)) as source:
                    raw_voxels.read_plain(source, slices.details, start - at, part)
        elif start < stop and slices.kind == "hdf5":
            from tasks.volume.images.hdf5 import read_chunked

            read_chunked(file, slices.details, start - at, out[start - first : stop - first], options)
        else:
            wanted += [
                _Wanted(file, slices, number - at, out[number - first]) for number in range(start, stop)
            ]
        at += slices.count
    _decode_all(wanted, options)
    return out


def stored_as(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return voxels as a volume stores them: booleans as 0 and 1, unless it was made when they stayed booleans."""
    return values.view(np.uint8) if values.dtype.kind == "b" and dtype.kind != "b" else values


def _decode_all(wanted: Sequence[_Wanted], options: StorageOptions) -> None:
    """Fetch and decode slices, in parallel."""

    def fetch(one: _Wanted) -> Any:
        if one.slices.kind == "tiff":
            from tasks.volume.images.tiff import fetch_tiff

            if one.slices.count > 1:
                return fetch_tiff(_source(one.file, options), one.slices.details, one.number, one.out)
            with closing(one.file.open(options)) as source:
                return fetch_tiff(source, one.slices.details, one.number, one.out)
        with closing(one.file.open(options)) as source:
            if frames := one.slices.details.get("frames"):
                return b"".join(source.read(*fragment) for fragment in frames[one.number])
            return source.read(0, source.size)

    def decode(one: _Wanted, fetched: Any) -> None:
        if fetched is None:  # the voxels were read as they are
            return
        if one.slices.kind == "tiff":
            from tasks.volume.images.tiff import decode_tiff

            decode_tiff(fetched, one.out, f"slice {one.number} of {one.file.url}")
        else:
            coded.decode(fetched, one.slices.details, one.out, one.file.url)

    if not wanted:
        return
    if locate(wanted[0].file.url).local:
        on_chunks(lambda one: decode(one, fetch(one)), wanted)
        return
    step = _fetched_at_once(max(one.slices.encoded_bytes for one in wanted))
    for start in range(0, len(wanted), step):
        some = wanted[start : start + step]
        on_chunks(lambda pair: decode(*pair), zip(some, on_io(fetch, some), strict=True))


def _fetched_at_once(encoded_bytes: int) -> int:
    return max(1, min(MOST_FETCHED, FETCHED_BYTES // max(1, encoded_bytes)))


@lru_cache(maxsize=8)
def _source(file: VoxelFile, options: StorageOptions) -> Source:
    """A file of many slices, opened once in each process."""
    return file.open(options)


def _slices_of(stored: dict[str, Any]) -> Slices:
    said = stored["voxels"]
    voxels = Voxels(tuple(said["length"]), said["unit"], tuple(said["origin"]))
    return Slices(**stored | {"shape": tuple(stored["shape"]), "voxels": voxels})
