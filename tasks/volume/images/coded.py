"""Slices that are decoded whole, PNG, JPEG 2000 and JPEG: headers read by us, voxels decoded by libraries.

The decoders trust the header. So the header is read first: its numbers give the memory for decoding, and a file whose
numbers differ from those of the other slices is refused before it is decoded.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.volume.images.bitmaps import JPEG, decode_bmp, jpeg_frame
from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import Slices
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.raw_voxels import only_bits
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.store.objects import Source

HEADER_BYTES = 4096
PNG = b"\x89PNG\r\n\x1a\n"
JP2 = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
_PNG_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type
_MOST_PNG_GROWTH = 1100  # zlib makes at most 1,032 bytes of one
_BOX_LEVELS = 64  # boxes of a JP2 looked at before its codestream
# Bytes a voxel while decoding, beside the file's own: measured 2.0 and 8.4 on 4096 x 4096 uint16.
PNG_BYTES, JPEG2000_BYTES = 3, 10
_WITH_OPACITY = (4, 6)  # colour types
_OPACITY = "the last value of each voxel is its opacity (alpha); it was taken as a channel"


def describe_png(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slice of a PNG file (PNG 1.2, IHDR)."""
    source = opened.source
    head = source.read(0, min(source.size, 33))
    if len(head) < 33 or head[12:16] != b"IHDR":
        raise InputRefused(f"{source.url} is a PNG file without a header; it is damaged")
    width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
    bits, colour = head[24], head[25]
    if colour not in _PNG_SAMPLES:
        raise InputRefused(
            f"{source.url} is a PNG with a palette; save it as gray or in colours of three values per voxel"
        )
    samples = _PNG_SAMPLES[colour]
    if bits not in (1, 2, 4, 8, 16):
        raise InputRefused(f"{source.url} says it has {bits} bits per voxel, which no PNG has; it is damaged")
    if (width * bits * samples // 8 + 1) * height > _MOST_PNG_GROWTH * source.size:
        raise InputRefused(
            f"{source.url} says it has {height:,} x {width:,} voxels, which {source.size:,} bytes of PNG cannot hold; "
            "it is damaged"
        )
    dtype = {1: "bool", 16: "uint16"}.get(bits, "uint8")
    slices = coded_slice(source, height, width, dtype, {"bits": bits}, PNG_BYTES, samples)
    if colour in _WITH_OPACITY:
        slices = replace(slices, voxels=replace(slices.voxels, notes=(*slices.voxels.notes, _OPACITY)))
    return opened.file, slices


def describe_jpeg2000(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slice of a JPEG 2000 file, JP2 or bare codestream (ISO/IEC 15444-1, A.5.1)."""
    source = opened.source
    at = _codestream(source.read, source.size)
    if at < 0:
        raise InputRefused(f"{source.url} is a JP2 file without an image; it is damaged")
    head = source.read(at, min(source.size - at, 128))
    size = [int.from_bytes(head[8 + 4 * k : 12 + 4 * k], "big") for k in range(8)]
    components = int.from_bytes(head[40:42], "big")
    if head[:4] != CODESTREAM or len(head) < 42 + 3 * components:
        raise InputRefused(f"{source.url} is a JPEG 2000 file without a size; it is damaged")
    if (
        not 1 <= components <= 4
        or len({bytes(head[at : at + 3]) for at in range(42, 42 + 3 * components, 3)}) > 1
    ):
        raise InputRefused(f"{source.url} has {components} values per voxel; wanted up to 4, all alike")
    depth, across, down = head[42:45]
    bits, signed = (depth & 0x7F) + 1, bool(depth & 0x80)
    if bits > 16 or across != 1 or down != 1:
        raise InputRefused(
            f"{source.url} has {bits} bits per voxel, subsampled {across} x {down}; wanted up to 16 bits, all of them"
        )
    width, height = size[0] - size[2], size[1] - size[3]
    dtype = f"{'' if signed else 'u'}int{8 if bits <= 8 else 16}"
    return opened.file, coded_slice(source, height, width, dtype, {"bits": bits}, JPEG2000_BYTES, components)


def decode(data: bytes, details: dict[str, Any], out: np.ndarray, where: str) -> None:
    """Fill `out` with the slice that the bytes of a whole file hold.

    Raises:
        IntegrityFailure: The bytes do not hold the image that the header describes.
    """
    import imagecodecs

    if "bmp" in details:
        decode_bmp(data, details["bmp"], out, where)
        return
    # Decoders fill rows of voxels with their values together.
    alone = out.dtype == bool or not out.flags.c_contiguous
    values = np.empty(out.shape, np.uint8 if out.dtype == bool else out.dtype) if alone else out
    try:
        # Decoders are given what to fill: one that finds other numbers in the file refuses instead of taking memory.
        if "rle" in details:
            rle = imagecodecs.dicomrle_decode(data, values.dtype.newbyteorder("<"), out=values.nbytes)
            values = np.frombuffer(rle, values.dtype.newbyteorder("<")).reshape(out.shape).astype(out.dtype)
        elif data.startswith(JPEG):
            frame = jpeg_frame(data)
            laid = (frame.rows, frame.columns, frame.components) if frame else ()
            if frame is None or laid != (*out.shape, 1)[:3]:
                raise ValueError("its header gives another size")
            decoder = {"lossless": imagecodecs.ljpeg_decode, "JPEG-LS": imagecodecs.jpegls_decode}
            decoder.get(frame.kind, imagecodecs.jpeg8_decode)(data, out=values)
        elif data.startswith(PNG):
            refuse_larger(data, math.prod(out.shape[:2]), where)
            imagecodecs.png_decode(data, out=values)
        else:
            refuse_larger(data, math.prod(out.shape[:2]), where)
            imagecodecs.jpeg2k_decode(data, numthreads=1, out=values)
    except (RuntimeError, ValueError) as error:
        raise IntegrityFailure(
            f"{where} cannot be decoded to {out.shape} {out.dtype}, as its header says: {error}; copy the file again"
        ) from None
    if details.get("stored"):
        only_bits(values, details["stored"])
    if data.startswith(PNG) and details["bits"] < 8:
        values = values // (255 // (2 ** details["bits"] - 1))  # libpng stretches small values over 0 to 255
    out[...] = values


def refuse_larger(data: bytes, voxels: int, where: str) -> None:
    """Check that a PNG or JPEG 2000 inside of another file says that it holds no more than `voxels`.

    Raises:
        IntegrityFailure: The image gives a larger size, or none.
    """
    if data.startswith(PNG):
        width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    else:
        at = _codestream(lambda start, length: bytes(data[start : start + length]), len(data))
        if at < 0:
            raise IntegrityFailure(f"{where} holds a piece that is no JPEG 2000; it is damaged")
        size = [int.from_bytes(data[at + 8 + 4 * k : at + 12 + 4 * k], "big") for k in range(4)]
        width, height = size[0] - size[2], size[1] - size[3]
    if min(width, height) < 1 or width * height > voxels:
        raise IntegrityFailure(
            f"{where} holds a piece of {height} x {width} voxels where {voxels:,} belong; it is damaged"
        )


def coded_slice(
    source: Source,
    height: int,
    width: int,
    dtype: str,
    details: dict[str, Any],
    voxel_bytes: int,
    samples: int = 1,
) -> Slices:
    """Return the description of a file of one slice that is decoded whole.

    Raises:
        InputRefused: The file is empty.
    """
    if min(height, width) < 1:
        raise InputRefused(f"{source.url} says it has {height} x {width} voxels; it is damaged")
    scratch = (voxel_bytes + np.dtype(dtype).itemsize * (samples > 1)) * height * width * samples
    return Slices("coded", 1, (height, width), dtype, details, source.size, scratch, samples=samples)


def _codestream(read: Callable[[int, int], bytes], size: int) -> int:
    """Offset of the codestream: 0, or the content of the first `jp2c` box; -1 if there is none."""
    at = 0
    for _ in range(_BOX_LEVELS):
        head = read(at, min(size - at, 16))
        if head.startswith(CODESTREAM):
            return at
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        skip = 8
        if length == 1:
            length, skip = int.from_bytes(head[8:16], "big"), 16
        if kind == b"jp2c":
            return at + skip if at + skip < size else -1
        if length < skip or at + length + 16 > size:
            break
        at += length
    return -1
