"""Slices of TIFF and BigTIFF files: one page, many, or ImageJ's stacks behind one page. Only this module uses tifffile.

tifffile parses a page and decodes its strips or tiles. The chain of pages is followed here, because a broken chain must
be refused and not become a shorter stack. No decoder is called whose output could be larger than the page.
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
from tasks.volume.images.descriptions import channels_said, counts, page_order, time_step, voxels
from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import Slices
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.ranged import Ranged
from tasks.volume.images.text_header import timed
from tasks.volume.images.tiff_page import (
    IMAGES,
    JPEG,
    PLANAR,
    checked,
    is_plain,
    laid,
    meaning_of_values,
    refuse_other_frame,
    scratch_of,
    segment_shape,
    span,
    swapped,
)
from tasks.volume.images.which_image import axes_of, choose_image
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Outcome
from tasks.volume.store.objects import Source

# What it complains of is refused here in one sentence, or harmless.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


def describe(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the file, and its slices; errors as for `describe_tiff`."""
    return opened.file, describe_tiff(opened.source, opened.image)


def describe_tiff(source: Source, image: int = -1) -> Slices:
    """Return the slices of a TIFF file, or of one image in it, counted from 0 (-1: the only one).

    Raises:
        InputRefused: Pages differ, or hold colour, several images or a coding whose output cannot be bounded.
    """
    file = _Pages(source)
    kinds, offsets, encoded, scratch = [], [], 0, 0
    resolutions = set()
    chosen = choose_image(file.tiff, file.description, image, source.url)
    pages: Iterable[tuple[int, int]] = enumerate(file.offsets())
    if chosen.pages is not None:  # the chain is followed to its end all the same
        pages = [(number, offset) for number, offset in pages if number in chosen.pages]
    for number, offset in pages:
        page = file.page(offset)
        if page.is_reduced:  # a thumbnail
            continue
        kinds.append((page.shape, checked(page, f"page {number} of {source.url}", source.size)))
        offsets.append(offset)
        resolutions.add(tuple(page.tags.valueof(code) for code in (282, 283, 296)))  # XResolution to its unit
        encoded, scratch = max(encoded, span(page)[1]), max(scratch, scratch_of(page))
    if not kinds:
        raise InputRefused(f"{source.url} is a TIFF file without an image of full size; it is damaged")
    odd = [k for k, kind in enumerate(kinds) if kind != kinds[0]]
    if odd:
        raise InputRefused(
            f"slice {odd[0]} of {source.url} holds {kinds[odd[0]][0]} {kinds[odd[0]][1]} where slice 0 holds "
            f"{kinds[0][0]} {kinds[0][1]}; {len(odd)} of {len(kinds)} differ, remove them"
        )
    dtype, first = kinds[0][1], file.page(offsets[0])
    rows, columns = first.imagelength, first.imagewidth
    about = {**counts(file.tiff, first), **chosen.counts}
    samples = first.samplesperpixel
    planes, notes = axes_of(about, page_order(file.tiff, first, chosen.described), samples, source.url)
    count = len(kinds) if len(kinds) > 1 else about.get("images", 1)
    depth = dict(planes).get("z", count)
    if planes and math.prod(n for _, n in planes) != count:
        raise InputRefused(
            f"{source.url} says it holds {' x '.join(f'{n} {axis}' for axis, n in planes)} slices, but has {count} "
            "pages; it is cut off or damaged"
        )
    stated = voxels(file.tiff, first, chosen.described)
    differ = (
        ["the pages have different resolutions; that of the first was taken"] if len(resolutions) > 1 else []
    )
    stated = replace(stated, notes=(*notes, *meaning_of_values(first), *stated.notes, *differ))
    channels, step = channels_said(chosen.described), time_step(file.tiff, chosen.described)
    if count > len(kinds):  # ImageJ and tifffile write long stacks behind one page's description
        wanted = first.dataoffsets[0] + count * first.nbytes
        if not is_plain(first) or wanted > source.size:
            raise InputRefused(
                f"{source.url} says that {count} slices follow its only page, but ends before them; it is cut off"
            )
        details = {"offset": first.dataoffsets[0], "swap": swapped(file.tiff, dtype)}
        slices = Slices(
            "plain", depth, (rows, columns), dtype, details, voxels=stated, planes=planes, channels=channels
        )
        return timed(slices, *step)
    slices = Slices(
        "tiff",
        depth,
        (rows, columns),
        dtype,
        {"offsets": offsets},
        encoded,
        scratch,
        stated,
        samples=samples,
        planes=planes,
        channels=channels,
        declared=chosen.counts.get("Z", 0),
    )
    return timed(slices, *step)


def fetch_tiff(source: Source, details: dict[str, Any], number: int, out: np.ndarray) -> Any:
    """Read the encoded bytes of one slice, for `decode_tiff`; None if `out` holds the voxels already."""
    file = _pages(source)
    page = file.page(details["offsets"][number])
    if laid(page) != out.shape or page.dtype != out.dtype:
        raise IntegrityFailure(
            f"slice {number} of {source.url} holds {laid(page)} {page.dtype}, but held {out.shape} {out.dtype} "
            "before; copy it again"
        )
    if is_plain(page):
        source.read_into(page.dataoffsets[0], memoryview(cast(Any, out)).cast("B"))
        if swapped(file.tiff, out.dtype):
            out.byteswap(inplace=True)
        return None
    start, length = span(page)
    return page, start, source.read(start, length)


def decode_tiff(fetched: Any, out: np.ndarray, where: str) -> None:
    """Fill `out` with the slice that was fetched.

    Raises:
        IntegrityFailure: The slice cannot be decoded.
    """
    page, start, data = fetched
    for number, (offset, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        segment = data[offset - start : offset - start + size] if size else None
        try:
            if page.compression == JPEG and segment:
                refuse_other_frame(page, segment, where)
            if page.compression in IMAGES and segment:
                coded.refuse_larger(segment, math.prod(segment_shape(page)), where)
            values, (sample, _, row, column, _), shape = page.decode(
                segment, number, jpegtables=page.jpegtables
            )
        except (ArithmeticError, ValueError, RuntimeError, OSError, LookupError) as error:
            raise IntegrityFailure(f"{where} cannot be decoded: {error}; copy the file again") from None
        target = out[row : row + shape[1], column : column + shape[2]]
        if page.samplesperpixel > 1 and page.planarconfig == PLANAR:
            target = target[..., sample : sample + 1]
        elif page.samplesperpixel == 1:
            target = target[..., np.newaxis]
        # A strip that was left out holds nothing.
        target[...] = page.nodata if values is None else values[0, : target.shape[0], : target.shape[1]]


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
            why = "it has no page" if isinstance(error, LookupError) else error
            raise InputRefused(
                f"{source.url} is not a TIFF file that can be read: {why}; copy it again"
            ) from None

    @property
    def description(self) -> str:
        """Return the description of the first page."""
        with self._lock:
            try:
                return str(cast(Any, self.tiff.pages.first).description)
            except Exception as error:  # as above
                if isinstance(error, (Outcome, MemoryError)):
                    raise
                return ""

    def page(self, offset: int) -> tifffile.TiffPage:
        """Return the page described at `offset`."""
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
        """Yield the offset of each page's directory, in the order of the chain.

        Raises:
            InputRefused: The chain leaves the file or comes back to a page.
        """
        form, seen = self.tiff.tiff, set[int]()
        offset = self.tiff.pages.first.offset
        while offset:
            if offset in seen or offset >= self._source.size:
                raise InputRefused(
                    f"page {len(seen) + 1} of {self._source.url} should begin at byte {offset:,}, which is "
                    f"{'an earlier page' if offset in seen else 'beyond its end'}; the file is cut off or damaged"
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
