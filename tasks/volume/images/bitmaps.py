"""Slices in BMP and JPEG files: their headers, and the voxels of BMP, which are stored row by row."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import Slices, refuse_colour
from tasks.volume.images.listing import VoxelFile
from tasks.volume.outcomes import InputRefused, IntegrityFailure

JPEG = b"\xff\xd8\xff"
JPEG_BYTES = 3  # a voxel while decoding, beside the file's own
JPEG_HEAD = 256 << 10  # thumbnails and profiles stand before the frame
_KINDS = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive", 0xC3: "lossless", 0xF7: "JPEG-LS"}
_MARKERS = 1000
BAND_BYTES = 4 << 20  # of a BMP in colours, read at once to see whether they are gray
_BMP_TYPES = {0: "BI_RGB", 1: "BI_RLE8", 2: "BI_RLE4", 3: "BI_BITFIELDS", 4: "BI_JPEG", 5: "BI_PNG"}


@dataclass(frozen=True)
class Frame:
    """The frame header of a JPEG (ITU-T T.81, B.2.2)."""

    kind: str
    bits: int
    rows: int
    columns: int
    components: int


def jpeg_frame(data: bytes) -> Frame | None:
    """Return the frame of a JPEG, from its first bytes; None if they hold none."""
    at = 2
    for _ in range(_MARKERS):
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        head = data[at : at + 10]
        if len(head) < 10 or head[0] != 0xFF:
            return None
        if (0xC0 <= head[1] <= 0xCF and head[1] not in (0xC4, 0xC8, 0xCC)) or head[1] == 0xF7:
            bits, rows, columns, components = struct.unpack(">BHHB", head[4:10])
            return Frame(_KINDS.get(head[1], f"type {head[1]:#x}"), bits, rows, columns, components)
        if head[1] in (0xD9, 0xDA):
            return None
        at += 2 if 0xD0 <= head[1] <= 0xD8 or head[1] == 1 else 2 + int.from_bytes(head[2:4], "big")
    return None


def describe_jpeg(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slice of a JPEG file, baseline, progressive, lossless or JPEG-LS."""
    source = opened.source
    frame = jpeg_frame(source.read(0, min(source.size, JPEG_HEAD)))
    if frame is None:
        raise InputRefused(f"{source.url} is a JPEG file without a frame; it is damaged")
    dtype = jpeg_dtype(frame, source.url, 3)
    if min(frame.rows, frame.columns) < 1:
        raise InputRefused(f"{source.url} says it has {frame.rows} x {frame.columns} voxels; it is damaged")
    return opened.file, Slices(
        "coded",
        1,
        (frame.rows, frame.columns),
        dtype,
        {"bits": frame.bits},
        source.size,
        (JPEG_BYTES + 1) * frame.rows * frame.columns * frame.components,
        samples=frame.components,
    )


def jpeg_dtype(frame: Frame, where: str, most: int = 1) -> str:
    """Return the voxel type of a JPEG with one value per voxel, or with `most` values.

    Raises:
        InputRefused: The JPEG has a coding that is not supported.
    """
    if frame.components not in (1, most):
        refuse_colour(where, frame.components)
    lossy = frame.kind in ("baseline", "extended", "progressive")
    if frame.kind not in _KINDS.values() or (lossy and frame.bits != 8) or not 2 <= frame.bits <= 16:
        raise InputRefused(
            f"{where} is a JPEG of kind {frame.kind} with {frame.bits} bits, which is not read; save it "
            "with 8 bits, or "
            "as JPEG 2000 or TIFF"
        )
    return "uint8" if frame.bits <= 8 else "uint16"


def describe_bmp(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slice of a BMP file: gray, by a palette or as three equal values, or in colours.

    A file with three values per voxel is read whole, because only all values show whether it is gray.
    """
    source = opened.source
    head = source.read(0, min(source.size, 54))
    if len(head) < 54:
        raise InputRefused(f"{source.url} is a BMP file without a header; it is cut off")
    offset, header, width, height, planes, bits, coding, _, _, _, used = struct.unpack(
        "<IIiiHHIIiiI", head[10:50]
    )
    if header < 40 or planes != 1 or width < 1 or height == 0:
        raise InputRefused(f"{source.url} is a BMP file with an invalid header; it is damaged")
    if coding != 0 or bits not in (1, 4, 8, 24, 32):
        raise InputRefused(
            f"{source.url} is a BMP of {bits} bits coded with {_BMP_TYPES.get(coding, coding)}, which is "
            "not read; save it "
            "without compression"
        )
    stride, rows = (width * bits + 31) // 32 * 4, abs(height)
    if offset + stride * rows > source.size:
        raise InputRefused(
            f"{source.url} says it has {rows:,} x {width:,} voxels, which {source.size:,} bytes do not "
            "hold; it is cut off"
        )
    palette: list[int] = []
    if bits <= 8:
        count = min(used or 1 << bits, 1 << bits)
        entries = np.frombuffer(
            source.read(14 + header, max(0, min(4 * count, offset - 14 - header))), np.uint8
        )
        entries = entries[: len(entries) // 4 * 4].reshape(-1, 4)
        if (entries[:, :3] != entries[:, :1]).any():
            refuse_colour(f"{source.url} (by its palette)", 3)
        palette = entries[:, 0].tolist()
    details: dict[str, Any] = {"offset": offset, "stride": stride, "bits": bits, "upward": height > 0}
    if palette != list(range(256)):
        details["palette"] = palette
    step = max(1, BAND_BYTES // stride)
    bands = ((first, min(step, rows - first)) for first in range(0, rows, step))
    in_colours = bits > 8 and any(
        _differ(_pixels(_lines(source.read(offset + first * stride, n * stride), stride, n), bits, width))
        for first, n in bands
    )
    gray = Slices("coded", 1, (rows, width), "uint8", {"bmp": details}, source.size, 4 * rows * width)
    return opened.file, _with_colours(gray) if in_colours else gray


def alike(files: Sequence[tuple[VoxelFile, Slices]]) -> list[tuple[VoxelFile, Slices]]:
    """Return the files of a stack; if some slices of BMP have colours, gray ones are read as colours, too."""
    in_colours = any(slices.samples == 3 and "bmp" in slices.details for _, slices in files)
    gray = [in_colours and slices.details.get("bmp", {}).get("bits", 0) > 8 for _, slices in files]
    return [
        (file, _with_colours(slices) if change else slices)
        for (file, slices), change in zip(files, gray, strict=True)
    ]


def _with_colours(slices: Slices) -> Slices:
    return replace(slices, samples=3, details={"bmp": slices.details["bmp"] | {"colours": True}})


def decode_bmp(data: bytes, details: dict[str, Any], out: np.ndarray, where: str) -> None:
    """Fill `out` with the slice of a BMP file.

    Raises:
        IntegrityFailure: The file has colours but had none when it was described, or it is shorter.
    """
    rows, columns = out.shape[:2]
    stride, bits, begin = details["stride"], details["bits"], details["offset"]
    if len(data) < begin + stride * rows:
        raise IntegrityFailure(f"{where} is shorter than its header states; copy the file again")
    lines = _lines(data[begin : begin + stride * rows], stride, rows)
    lines = lines[::-1] if details["upward"] else lines
    if bits > 8:
        pixels = _pixels(lines, bits, columns)
        if details.get("colours"):
            out[...] = pixels[:, :, 2::-1]
            return
        if _differ(pixels):
            raise IntegrityFailure(f"{where} has colours, and had none before; copy the file again")
        out[...] = pixels[:, :, 0]
        return
    if bits < 8:
        shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        lines = (lines[:, :, None] >> shifts & ((1 << bits) - 1)).reshape(rows, -1)
    values = lines[:, :columns]
    if "palette" in details:
        table = np.array(details["palette"], np.uint8)
        if values.size and int(values.max()) >= len(table):
            raise IntegrityFailure(f"{where} has values that its palette does not; copy the file again")
        values = table[values]
    out[...] = values


def _lines(data: bytes, stride: int, rows: int) -> np.ndarray:
    """Return the bytes of each row, in the order of the file."""
    return np.frombuffer(data, np.uint8).reshape(rows, stride)


def _pixels(lines: np.ndarray, bits: int, columns: int) -> np.ndarray:
    """Return blue, green and red of each voxel, and of 32 bits a fourth value that means nothing."""
    return lines[:, : columns * bits // 8].reshape(len(lines), columns, bits // 8)


def _differ(pixels: np.ndarray) -> bool:
    """Return whether a voxel is in colour."""
    return bool((pixels[:, :, 1:3] != pixels[:, :, :1]).any())
