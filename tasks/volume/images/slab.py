"""Reading voxels of a stack: slices are fetched and decoded once, several at a time."""

import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.blocks import Region, on_chunks, on_io
from tasks.volume.images import coded, raw_voxels
from tasks.volume.images.header import Slices
from tasks.volume.images.listing import VoxelFile, opened_once
from tasks.volume.images.stack import Stack, fetched_at_once
from tasks.volume.store.objects import Source, locate


@dataclass(frozen=True, eq=False)
class _Wanted:
    """One slice: its file, its number in there, and where its voxels go."""

    file: VoxelFile
    slices: Slices
    number: int
    out: np.ndarray

    @property
    def decoded(self) -> np.ndarray:
        """Return the part that decoders fill: rows, columns and, of several values per voxel, these last."""
        return self.out if self.slices.samples == 1 else np.moveaxis(self.out, 0, -1)


def read_block(stack: Stack, region: Region, options: StorageOptions) -> np.ndarray:
    """Read the voxels of a region; axes that cannot be read in parts (see `Stack.apart`) are read whole.

    The result is C-contiguous where slices are the slow axis, else a transposed view.

    Raises:
        IntegrityFailure: A slice cannot be decoded.
        InputRefused: A file changed since it was described.
    """
    first, slow = stack.first, region[stack.slow_axis]
    if first.slow_axis:
        nz, ny, _ = stack.spatial
        out = np.empty((slow.stop - slow.start, ny, nz), first.dtype)
        raw_voxels.read_plain(_source(stack.files[0][0], options), first.details, slow.start, out)
        return out.transpose(2, 1, 0)
    out = np.empty([r.stop - r.start for r in region], first.dtype)
    pages = [(name, r) for (name, _), r in zip(first.leading, region, strict=False) if first.planes]
    wanted: list[_Wanted] = []
    for at in itertools.product(*(range(r.start, r.stop) for _, r in pages)):
        place = {name: number for (name, _), number in zip(pages, at, strict=True)}
        part = out[tuple(number - r.start for number, (_, r) in zip(at, pages, strict=True))]
        wanted += _read_slab(stack, slow, place, part, options)
    _decode_all(wanted, options)
    return out


def _read_slab(
    stack: Stack, slow: slice, at: dict[str, int], out: np.ndarray, options: StorageOptions
) -> list[_Wanted]:
    """Read the slices at one time and of one channel that need no decoding; return the others."""
    wanted: list[_Wanted] = []
    begin = 0
    for file, slices in stack.files:
        start, stop = max(slow.start, begin), min(slow.stop, begin + slices.count)
        part = out[start - slow.start : stop - slow.start] if slices.samples == 1 else out
        if start < stop and slices.kind == "plain":
            # Of several axes the slices of one are not neighbours in the file.
            single = [
                (slices.page(z - begin, **at), part[z - start : z - start + 1]) for z in range(start, stop)
            ]
            _read_plain(file, slices, single if slices.planes else [(start - begin, part)], options)
        elif start < stop and slices.kind == "hdf5":
            from tasks.volume.images.hdf5 import read_chunked

            read_chunked(file, slices.details, start - begin, part, options)
        else:
            wanted += [
                _Wanted(
                    file,
                    slices,
                    slices.page(z - begin, **at),
                    out[z - slow.start] if slices.samples == 1 else out[:, z - slow.start],
                )
                for z in range(start, stop)
            ]
        begin += slices.count
    return wanted


def _read_plain(
    file: VoxelFile, slices: Slices, parts: Sequence[tuple[int, np.ndarray]], options: StorageOptions
) -> None:
    """Read slices that lie in a file as they are, from some numbers on."""
    if "stream" in slices.details:
        for first, out in parts:
            raw_voxels.read_plain(_source(file, options), slices.details, first, out)
        return
    with closing(file.open(options)) as source:
        for first, out in parts:
            raw_voxels.read_plain(source, slices.details, first, out)


def stored_as(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return voxels as a volume stores them: booleans as uint8, but as booleans in volumes of early versions."""
    return values.view(np.uint8) if values.dtype.kind == "b" and dtype.kind != "b" else values


def _decode_all(wanted: Sequence[_Wanted], options: StorageOptions) -> None:
    """Fetch and decode slices, in parallel."""

    def fetch(wanted: _Wanted) -> Any:
        if wanted.slices.kind == "tiff":
            from tasks.volume.images.tiff import fetch_tiff

            if wanted.slices.count > 1 or wanted.slices.planes:
                return fetch_tiff(
                    _source(wanted.file, options), wanted.slices.details, wanted.number, wanted.decoded
                )
            with closing(wanted.file.open(options)) as source:
                return fetch_tiff(source, wanted.slices.details, wanted.number, wanted.decoded)
        with closing(wanted.file.open(options)) as source:
            if frames := wanted.slices.details.get("frames"):
                return b"".join(source.read(*fragment) for fragment in frames[wanted.number])
            return source.read(0, source.size)

    def decode(wanted: _Wanted, fetched: Any) -> None:
        if fetched is None:  # the voxels were read as they are
            return
        if wanted.slices.kind == "tiff":
            from tasks.volume.images.tiff import decode_tiff

            decode_tiff(fetched, wanted.decoded, f"slice {wanted.number} of {wanted.file.url}")
        else:
            coded.decode(fetched, wanted.slices.details, wanted.decoded, wanted.file.url)

    if not wanted:
        return
    if locate(wanted[0].file.url).local:
        on_chunks(lambda entry: decode(entry, fetch(entry)), wanted)
        return
    step = fetched_at_once(max(entry.slices.encoded_bytes for entry in wanted))
    for start in range(0, len(wanted), step):
        some = wanted[start : start + step]
        on_chunks(lambda pair: decode(*pair), zip(some, on_io(fetch, some), strict=True))


@opened_once(8)
def _source(file: VoxelFile, options: StorageOptions) -> Source:
    """Return a file of many slices."""
    return file.open(options)
