"""Uncompressed voxels in a file: raw binary, .npy, and other formats once their header is read.

The layout is an offset, a type, a byte order and the order of axes. A header that does not match the size of its file
exactly is refused. NRRD, MetaImage and NIfTI are often written as one zlib stream; its size is checked when its end is
read.
"""

import io
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np

from tasks.volume.blocks import on_io
from tasks.volume.images.deflated import EITHER, STEPS, Deflated
from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import Slices, Voxels, kept_dtype
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.sidecars import layout_beside
from tasks.volume.images.text_header import SHOWN
from tasks.volume.limits import DIMENSIONS, HEADER_BYTES
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Source

REQUEST_BYTES = 16 << 20  # a longer range is asked for in pieces, in parallel


def describe_raw(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slices of a file without a header."""
    source, raw, beside, note = opened.source, opened.raw, "", ""
    if raw.dtype == "unknown" or not raw.shape:
        raw, beside, note = layout_beside(opened.file, opened.options, raw)
    if len(raw.shape) != 3 or min(raw.shape) < 1 or raw.dtype == "unknown":
        raise InputRefused(
            f"{source.url} has no header that says what it holds; give its dtype and its shape (z, y, x), such as "
            f"--dtype uint16 --shape 1000,2048,2048{f'; {note}' if note else ''}"
        )
    voxels = Voxels(notes=(note,)) if beside else Voxels()
    dtype = np.dtype(raw.dtype).newbyteorder(raw.byte_order)
    packed = source.url.lower().endswith(".gz") and source.read(0, min(source.size, 2)) == b"\x1f\x8b"
    shape, fortran = tuple(raw.shape), raw.order == "F"
    stream = 0 if packed else None
    try:
        slices = plain(source, dtype, shape, raw.offset, fortran=fortran, voxels=voxels, stream=stream)
    except InputRefused as refused:
        if not beside:
            raise
        raise InputRefused(
            f"{refused.sentence}; the layout is that of {beside}, which --dtype and --shape overrule"
        ) from None
    return opened.file, slices


def describe_npy(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slices of a NumPy file (format versions 1 to 3)."""
    source = opened.source
    shape, fortran, dtype, offset = npy_header(source.read(0, min(source.size, HEADER_BYTES)), source.url)
    return opened.file, plain(source, dtype, shape, offset, fortran=fortran)


def npy_header(data: bytes, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether in Fortran order, type, and the offset of the voxels that a NumPy header gives.

    Raises:
        InputRefused: The bytes are not a NumPy header.
    """
    head = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(head)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(head)
    except Exception as error:  # ast and tokenize raise what they like
        what = " ".join(str(error).split())[: 3 * SHOWN]
        raise InputRefused(f"{where} is not a NumPy file that can be read: {what}") from None
    if len(shape) > DIMENSIONS or not all(type(n) is int for n in shape):
        raise InputRefused(f"{where} is not a NumPy file that can be read: it states no valid shape")
    return shape, fortran, dtype, head.tell()


def read_plain(source: Source, details: dict[str, Any], first: int, out: np.ndarray) -> None:
    """Fill `out` with slices (columns, if the file is in Fortran order) from number `first` on.

    Args:
        source: The file that holds the voxels.
        details: Same as in `Slices`.
        first: The first one wanted.
        out: C-contiguous, native byte order; the slow axis of the file is its first.
    """
    view = memoryview(cast(Any, out)).cast("B")
    start = details["offset"] + first * (out.nbytes // len(out))
    if "stream" in details:
        bounds = details.get("end", source.size), details.get("wbits", EITHER)
        _stream(source, details["stream"], details["size"], *bounds).read_into(start, view)
    else:
        pieces = [(at, min(REQUEST_BYTES, len(view) - at)) for at in range(0, len(view), REQUEST_BYTES)]
        on_io(lambda piece: source.read_into(start + piece[0], view[piece[0] : piece[0] + piece[1]]), pieces)
    if details["swap"]:
        out.byteswap(inplace=True)
    if details.get("bits"):
        only_bits(out, details["bits"])
    if out.dtype == bool:  # whatever is not 0 is true; other bytes in a boolean array are undefined behaviour
        np.not_equal(out.view(np.uint8), 0, out=out)


def only_bits(out: np.ndarray, bits: int) -> None:
    """Keep the lowest bits of integers, with their sign; older scanners use the bits above for other data."""
    unused = 8 * out.dtype.itemsize - bits
    np.left_shift(out, unused, out=out)
    np.right_shift(out, unused, out=out)


@lru_cache(maxsize=8)
def _stream(source: Source, offset: int, size: int, end: int, wbits: int) -> Deflated:
    """Return the stream of a file; each process caches its decoding position."""
    return Deflated(source, offset, size, end, wbits)


def plain(
    source: Source,
    dtype: np.dtype[Any],
    shape: Sequence[int],
    offset: int,
    *,
    fortran: bool = False,
    voxels: Voxels = Voxels(),
    stream: int | None = None,
    more: Mapping[str, Any] | None = None,
    exact: bool = True,
) -> Slices:
    """Return a description, after its numbers were compared with the size of the file.

    Args:
        source: The file that holds the voxels.
        dtype: Type and byte order of a voxel.
        shape: Two or three extents, the slow axis first.
        offset: Bytes before the first voxel; of what a stream decodes to, if there is one.
        fortran: Whether the last axis is the slow one.
        voxels: Length, unit and origin of the voxels.
        stream: Offset of the stream of zlib or gzip that holds the voxels.
        more: Further `details`, and of a stream its `end` and `wbits`.
        exact: Whether nothing may stand behind the voxels.
    """
    more = dict(more or {})
    name = kept_dtype(dtype, source.url)
    shape = (1, *shape) if len(shape) == 2 else tuple(shape)
    given = shape
    if shape[-1:] not in ((3,), (4,)):  # which may be colours or, where a header does not say so, x
        shape = (*(n for n in shape[:-3] if n != 1), *shape[-3:])
    if len(shape) != 3 or min(shape) < 1:
        which = (
            "; which of them are channels or times it does not say: save each image alone, or all as OME-TIFF"
        )
        raise InputRefused(
            f"{source.url} holds an array of shape {given}; wanted two or three axes, none of them empty"
            f"{which if len(shape) > 3 else ''}"
        )
    wanted = offset + math.prod(shape) * dtype.itemsize
    swap = dtype.itemsize > 1 and not dtype.isnative
    if stream is not None:
        _refuse_stream(source, stream, offset, wanted, bare="wbits" in more)
        details = {"offset": offset, "swap": swap, "stream": stream, "size": wanted, **more}
        slow = 2 if fortran else 0
        return Slices(
            "plain",
            shape[0],
            shape[1:],
            name,
            details,
            scratch_bytes=STEPS.scratch_bytes,
            voxels=voxels,
            slow_axis=slow,
        )
    if (wanted != source.size if exact else wanted > source.size) or offset < 0:
        raise InputRefused(
            f"{source.url} has {source.size:,} bytes, but {shape} voxels of {name} after {offset:,} bytes of header "
            f"make {wanted:,}; the numbers are wrong, or the file is cut off"
        )
    details = {"offset": offset, "swap": swap, **more}
    return Slices("plain", shape[0], shape[1:], name, details, voxels=voxels, slow_axis=2 if fortran else 0)


def _refuse_stream(source: Source, stream: int, offset: int, size: int, *, bare: bool) -> None:
    """Check the first and last bytes of a stream against the expected decoded size."""
    if offset < 0:
        raise InputRefused(
            f"{source.url} counts its byte skip from the end, which a compressed file does not allow; write it from "
            "the beginning"
        )
    head = source.read(stream, min(2, max(0, source.size - stream)))
    # Nothing shrinks below a thousandth in zlib.
    begins = bare or head[:1] in (b"\x1f", b"\x78", b"\x58", b"\x68", b"\x48")
    if not begins or (source.size - stream) * 1100 < size:
        raise InputRefused(
            f"the last {source.size - stream:,} bytes of {source.url} are no compressed stream of {size:,} bytes of "
            "voxels; it is cut off, or the numbers are wrong"
        )
