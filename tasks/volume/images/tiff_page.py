"""Read the tags of a page of a TIFF file, and check them against the size of the file before anything is decoded."""

import math
from typing import Any

import numpy as np

from tasks.volume.images import coded
from tasks.volume.images.bitmaps import jpeg_frame
from tasks.volume.images.header import kept_dtype
from tasks.volume.outcomes import InputRefused, IntegrityFailure

# TIFF's numbers of codings whose decoders write no more than the size they are given, or whose own header is looked at.
_BOUNDED = {1, 5, 7, 8, 32946, 32773, 50000, 34926}  # none, LZW, deflate, PackBits, zstd
JPEG = 7
IMAGES = {33003, 33005, 34712, 34933}  # JPEG 2000, PNG
PLANAR = 2  # TIFF's number for values of voxels that lie in planes of their own
_MOST_SAMPLES = 4
_MOST_GROWTH = 2  # of a coding that does not compress; PackBits and LZW stay below


def checked(page: Any, where: str, file_size: int) -> str:
    """Return the page's dtype, after its numbers were compared with each other and with the file.

    Raises:
        InputRefused: The page cannot become a slice, or its numbers lie.
    """
    rank = 2 if page.samplesperpixel == 1 else 3
    if not 1 <= page.samplesperpixel <= _MOST_SAMPLES or page.imagedepth != 1 or len(page.shape) != rank:
        raise InputRefused(
            f"{where} has shape {page.shape} with {page.samplesperpixel} values per voxel; wanted slices of up to "
            f"{_MOST_SAMPLES} values per voxel"
        )
    if min(page.shape) < 1:
        raise InputRefused(f"{where} states the shape {page.shape}, which has no voxels; it is damaged")
    if page.compression not in _BOUNDED | IMAGES:
        name = getattr(page.compression, "name", page.compression)
        raise InputRefused(
            f"{where} is coded with {name}, which is not read; save it with LZW, deflate, zstd or JPEG 2000"
        )
    if page.dtype is None:
        raise InputRefused(
            f"{where} has {page.bitspersample} bits per voxel in sample format {page.sampleformat}, which is not read"
        )
    dtype = kept_dtype(page.dtype, where)
    rows, columns = segment_shape(page)
    wanted = math.ceil(page.imagelength / rows) * math.ceil(page.imagewidth / columns)
    wanted *= page.samplesperpixel if page.planarconfig == PLANAR and page.samplesperpixel > 1 else 1
    held = len(page.dataoffsets) == len(page.databytecounts) == wanted
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if is_plain(page) and held:
        held = sum(page.databytecounts) >= page.nbytes
        pieces.append((page.dataoffsets[0], page.nbytes))
    if not held or any(o < 0 or o + n > file_size for o, n in pieces):
        raise InputRefused(
            f"{where} states voxels beyond the end of the file, of {file_size:,} bytes; it is cut off or damaged"
        )
    most = _MOST_GROWTH * rows * columns * page.dtype.itemsize * page.samplesperpixel + 65536
    if max(page.databytecounts) > most or rows * columns > 4 * math.prod(page.shape) + 65536:
        raise InputRefused(
            f"{where} has pieces of {rows} x {columns} voxels in up to {max(page.databytecounts):,} bytes, "
            "which is impossible; it is damaged"
        )
    return dtype


def meaning_of_values(page: Any) -> tuple[str, ...]:
    """Return a note if a viewer would show other values than the page stores; they are stored unchanged."""
    return _MEANINGS.get(page.photometric, ())


_MEANINGS = {
    0: ("TIFF shows 0 as white; values were taken as they are",),
    3: ("TIFF shows values by a palette of colours; values were taken as they are",),
}


def laid(page: Any) -> tuple[int, ...]:
    """Return rows and columns of a page and, last, the values per voxel if there are several."""
    plane = (page.imagelength, page.imagewidth)
    return plane if page.samplesperpixel == 1 else (*plane, page.samplesperpixel)


def refuse_other_frame(page: Any, segment: bytes, where: str) -> None:
    """Check that a JPEG in a page holds no more than its strip or tile.

    Raises:
        IntegrityFailure: The JPEG holds more, or is not an eight-bit JPEG.
    """
    frame, (rows, columns) = jpeg_frame(segment), segment_shape(page)
    values = 1 if page.planarconfig == PLANAR else page.samplesperpixel
    if (
        not frame
        or frame.bits != 8
        or frame.rows > rows
        or frame.columns > columns
        or frame.components != values
    ):
        raise IntegrityFailure(
            f"{where} holds a JPEG that is not of {rows} x {columns} voxels of {values} values; it is damaged"
        )


def segment_shape(page: Any) -> tuple[int, int]:
    """Rows and columns of a strip or tile."""
    if page.is_tiled:
        return max(1, page.tilelength), max(1, page.tilewidth)
    return max(1, min(page.rowsperstrip, page.imagelength)), page.imagewidth


def is_plain(page: Any) -> bool:
    """Return whether the voxels lie in the file as they lie in memory."""
    alone = page.samplesperpixel == 1
    return (
        alone
        and bool(page.is_contiguous)
        and page.predictor == 1
        and page.fillorder == 1
        and not page.is_tiled
    )


def swapped(tiff: Any, dtype: Any) -> bool:
    """Return whether the bytes of voxels stand in the other order than in memory."""
    return np.dtype(dtype).itemsize > 1 and not np.dtype(dtype).newbyteorder(tiff.byteorder).isnative


def span(page: Any) -> tuple[int, int]:
    """Start and length of the range that holds all of a page's pieces."""
    pieces = [(o, o + n) for o, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n]
    start = min((o for o, _ in pieces), default=0)
    return start, max((end for _, end in pieces), default=0) - start


def scratch_of(page: Any) -> int:
    """Return bytes that decoding takes: the bytes of a piece, unpacked, and once more without its predictor."""
    if is_plain(page):
        return 0
    voxels = math.prod(segment_shape(page)) * page.samplesperpixel
    return voxels * (
        coded.JPEG2000_BYTES if page.compression in IMAGES else 3 * np.dtype(page.dtype).itemsize
    )
