"""Slices of TIFF and BigTIFF files: one page, many, or ImageJ's stacks behind a single page; all that knows tifffile.

tifffile parses a page and decodes its strips or tiles. Which pages there are is walked here, because a chain
of pages that breaks off must be a refusal and not a shorter stack, and no decoder is called whose output is
not bounded by what the page was described to hold.
"""

import logging
import math
import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import IO, Any, cast

import numpy as np
import tifffile

from tasks.volume.images import coded
from tasks.volume.images.descriptions import counts, voxels
from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import Slices, kept_dtype
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.ranged import Ranged
from tasks.volume.images.which_image import choose_image, depth_of
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Outcome
from tasks.volume.store.objects import Source

# What it complains of is refused here in one sentence, or harmless.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)
# TIFF's numbers of codings whose decoders write no more than the size they are given, or whose own header is looked at.
_BOUNDED = {1, 5, 8, 32946, 32773, 50000, 34926}  # none, LZW, deflate, PackBits, zstd
_IMAGES = {33003, 33005, 34712, 34933}  # JPEG 2000, PNG
_MOST_GROWTH = 2  # of a coding that does not compress; PackBits and LZW stay below


def describe(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """The file, and its slices; errors as for `describe_tiff`."""
    return opened.file, describe_tiff(opened.source, opened.image)


def describe_tiff(source: Source, image: int = -1) -> Slices:
    """The slices of a TIFF file, or those of one image in it, counted from 0 (-1: the only one).

    Raises:
        InputRefused: Pages differ, or hold colour, several images or a coding whose output cannot be bounded.
    """
    file = _Pages(source)
    kinds, offsets, encoded, scratch = [], [], 0, 0
    chosen = choose_image(file.tiff, file.description, image, source.url)
    pages: Iterable[tuple[int, int]] = enumerate(file.offsets())
    if chosen.pages is not None:  # the chain is followed to its end all the same
        pages = [(number, offset) for number, offset in pages if number in chosen.pages]
    for number, offset in pages:
        page = file.page(offset)
        if page.is_reduced:  # a thumbnail
            continue
        kinds.append((page.shape, _checked(page, f"page {number} of {source.url}", source.size)))
        offsets.append(offset)
        encoded, scratch = max(encoded, _span(page)[1]), max(scratch, _scratch(page))
    if not kinds:
        raise InputRefused(f"{source.url} is a TIFF file without an image of full size; it is damaged")
    odd = [k for k, kind in enumerate(kinds) if kind != kinds[0]]
    if odd:
        raise InputRefused(
            f"slice {odd[0]} of {source.url} holds {kinds[odd[0]][0]} {kinds[odd[0]][1]} where slice 0 holds "
            f"{kinds[0][0]} {kinds[0][1]}; {len(odd)} of {len(kinds)} differ, take them out"
        )
    ((rows, columns), dtype), first = kinds[0], file.page(offsets[0])
    about = {**counts(file.tiff, first), **chosen.counts}
    notes = depth_of(about, source.url)
    count = len(kinds) if len(kinds) > 1 else about.get("images", 1)
    said = voxels(file.tiff, first, chosen.described)
    said = replace(said, notes=(*notes, *said.notes))
    if count > len(kinds):  # ImageJ and tifffile write long stacks behind one page's description
        wanted = first.dataoffsets[0] + count * first.nbytes
        if not _is_plain(first) or wanted > source.size:
            raise InputRefused(
                f"{source.url} says that {count} slices follow its only page, but ends before them; it is cut off"
            )
        details = {"offset": first.dataoffsets[0], "swap": _swapped(file.tiff, dtype)}
        return Slices("plain", count, (rows, columns), dtype, details, voxels=said)
    return Slices("tiff", count, (rows, columns), dtype, {"offsets": offsets}, encoded, scratch, said)


def fetch_tiff(source: Source, details: dict[str, Any], number: int, out: np.ndarray) -> Any:
    """Read what one slice takes; `decode_tiff` turns it into voxels. None if `out` holds them already."""
    file = _pages(source)
    page = file.page(details["offsets"][number])
    if page.shape != out.shape or page.dtype != out.dtype:
        raise IntegrityFailure(
            f"slice {number} of {source.url} holds {page.shape} {page.dtype}, but held {out.shape} {out.dtype} before; "
            "bring it again"
        )
    if _is_plain(page):
        source.read_into(page.dataoffsets[0], memoryview(cast(Any, out)).cast("B"))
        if _swapped(file.tiff, out.dtype):
            out.byteswap(inplace=True)
        return None
    start, length = _span(page)
    return page, start, source.read(start, length)


def decode_tiff(fetched: Any, out: np.ndarray, where: str) -> None:
    """Fill `out` with the slice that was fetched.

    Raises:
        IntegrityFailure: It cannot be decoded.
    """
    page, start, data = fetched
    for number, (offset, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        segment = data[offset - start : offset - start + size] if size else None
        try:
            if page.compression in _IMAGES and segment:
                coded.refuse_larger(segment, math.prod(_segment_shape(page)), where)
            values, (_, _, row, column, _), shape = page.decode(segment, number, jpegtables=page.jpegtables)
        except (ArithmeticError, ValueError, RuntimeError, OSError, LookupError) as error:
            raise IntegrityFailure(f"{where} cannot be decoded: {error}; bring the file again") from None
        target = out[row : row + shape[1], column : column + shape[2]]
        # A strip that was left out holds nothing.
        target[...] = page.nodata if values is None else values[0, : target.shape[0], : target.shape[1], 0]


class _Pages:
    """A file opened for its descriptions of pages; any thread may ask."""

    def __init__(self, source: Source) -> None:
        self._source, self._lock, self._file = source, threading.Lock(), Ranged(source)
        try:
            self.tiff = tifffile.TiffFile(cast("IO[bytes]", self._file), name=source.url, _multifile=False)
            # tifffile takes a file that breaks off before its first page for one without pages.
            self.tiff.pages.first  # noqa: B018
        except Exception as error:  # tifffile raises what its arithmetic does
            if isinstance(error, (Outcome, MemoryError)):
                raise
            raise InputRefused(f"{source.url} is not a TIFF file that can be read: {error}") from None

    @property
    def description(self) -> str:
        """The description of the first page."""
        with self._lock:
            try:
                return str(cast(Any, self.tiff.pages.first).description)
            except Exception as error:  # as above
                if isinstance(error, (Outcome, MemoryError)):
                    raise
                return ""

    def page(self, offset: int) -> tifffile.TiffPage:
        """The page described at `offset`."""
        with self._lock:
            self.tiff.filehandle.seek(offset)
            try:
                page = tifffile.TiffPage(self.tiff, index=0)
                page.nbytes, page.decode, page.jpegtables  # noqa: B018  # what they need is read now, under the lock
            except Exception as error:  # as above
                if isinstance(error, (Outcome, MemoryError)):
                    raise
                raise InputRefused(
                    f"the page at byte {offset} of {self._source.url} cannot be read: {error}"
                ) from None
            return page

    def offsets(self) -> Iterator[int]:
        """Where each page is described, in the order of the chain.

        Raises:
            InputRefused: The chain leaves the file or comes back to a page.
        """
        form, seen = self.tiff.tiff, set[int]()
        offset = self.tiff.pages.first.offset
        while offset:
            if offset in seen or offset >= self._source.size:
                raise InputRefused(
                    f"after {len(seen)} pages the next one of {self._source.url} is said to be at byte {offset:,}, "
                    f"which is {'a page before' if offset in seen else 'beyond its end'}; it is cut off or damaged"
                )
            seen.add(offset)
            yield offset
            with self._lock:
                self._file.seek(offset)
                tags = struct.unpack(form.tagnoformat, self._file.read(form.tagnosize))[0]
                self._file.seek(offset + form.tagnosize + tags * form.tagsize)
                raw = self._file.read(form.offsetsize)
            if len(raw) < form.offsetsize:
                raise InputRefused(
                    f"{self._source.url} ends in the description of page {len(seen) - 1}; it is cut off"
                )
            offset = struct.unpack(form.offsetformat, raw)[0]


@lru_cache(maxsize=4)
def _pages(source: Source) -> _Pages:
    return _Pages(source)


def _checked(page: tifffile.TiffPage, where: str, file_size: int) -> str:
    """The page's dtype, after its numbers were held against each other and the file.

    Raises:
        InputRefused: The page cannot become a slice, or its numbers lie.
    """
    if page.samplesperpixel != 1 or page.imagedepth != 1 or len(page.shape) != 2:
        raise InputRefused(
            f"{where} has shape {page.shape} with {page.samplesperpixel} values per voxel; wanted gray slices"
        )
    if min(page.shape) < 1:
        raise InputRefused(f"{where} says it has the shape {page.shape}, which holds nothing; it is damaged")
    if page.compression not in _BOUNDED | _IMAGES:
        name = getattr(page.compression, "name", page.compression)
        raise InputRefused(
            f"{where} is coded with {name}, which is not read; save it with LZW, deflate, zstd or JPEG 2000"
        )
    if page.dtype is None:
        raise InputRefused(
            f"{where} has {page.bitspersample} bits per voxel in sample format {page.sampleformat}, which is not read"
        )
    dtype = kept_dtype(page.dtype, where)
    rows, columns = _segment_shape(page)
    wanted = math.ceil(page.shape[0] / rows) * math.ceil(page.shape[1] / columns)
    held = len(page.dataoffsets) == len(page.databytecounts) == wanted
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if _is_plain(page) and held:
        held = sum(page.databytecounts) >= page.nbytes
        pieces.append((page.dataoffsets[0], page.nbytes))
    if not held or any(o < 0 or o + n > file_size for o, n in pieces):
        raise InputRefused(
            f"{where} says its voxels lie where the file, of {file_size:,} bytes, has none; it is cut off or damaged"
        )
    most = _MOST_GROWTH * rows * columns * page.dtype.itemsize + 65536
    if max(page.databytecounts) > most or rows * columns > 4 * math.prod(page.shape) + 65536:
        raise InputRefused(
            f"{where} has pieces of {rows} x {columns} voxels in up to {max(page.databytecounts):,} bytes, "
            "which cannot be; it is damaged"
        )
    return dtype


def _segment_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return max(1, page.tilelength), max(1, page.tilewidth)
    return max(1, min(page.rowsperstrip, page.imagelength)), page.imagewidth


def _is_plain(page: tifffile.TiffPage) -> bool:
    """Whether the voxels lie in the file as they lie in memory."""
    return bool(page.is_contiguous) and page.predictor == 1 and page.fillorder == 1 and not page.is_tiled


def _swapped(tiff: tifffile.TiffFile, dtype: Any) -> bool:
    return np.dtype(dtype).itemsize > 1 and not np.dtype(dtype).newbyteorder(tiff.byteorder).isnative


def _span(page: tifffile.TiffPage) -> tuple[int, int]:
    """Start and length of the range that holds all of a page's pieces."""
    pieces = [(o, o + n) for o, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n]
    start = min((o for o, _ in pieces), default=0)
    return start, max((end for _, end in pieces), default=0) - start


def _scratch(page: tifffile.TiffPage) -> int:
    """Bytes that decoding takes: the bytes of a piece, unpacked, and once more without its predictor."""
    if _is_plain(page):
        return 0
    voxels = math.prod(_segment_shape(page))
    return voxels * (
        coded.JPEG2000_BYTES if page.compression in _IMAGES else 3 * np.dtype(page.dtype).itemsize
    )
