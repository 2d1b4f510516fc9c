"""Makers of voxel files in the formats of labs, each by a library or bytes that are not ours."""

import datetime
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tasks.volume.blocks import Region
from tasks.volume.images.stack import Stack

ONE_SCAN = generate_uid(entropy_srcs=["one scan"])


def voxels(dtype: str = "uint16", shape: tuple[int, ...] = (6, 7, 9)) -> np.ndarray:
    """Return values over the whole range of a type."""
    rng = np.random.default_rng(11)
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if np.dtype(dtype).kind == "b":
        return rng.random(shape) < 0.4
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def dicom(path: Path, values: np.ndarray, number: int = 1, **said: Any) -> None:
    """Write one DICOM file of a slice, or of frames.

    Args:
        path: The file.
        values: Voxels of one slice (y, x), or of several.
        number: InstanceNumber; the slice lies at 2.5 mm times it.
        said: Elements by keyword that differ; None leaves one out. `syntax` and `fragments` are what they say.
    """
    syntax = said.pop("syntax", ExplicitVRLittleEndian)
    fragments = said.pop("fragments", None)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = syntax
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SeriesInstanceUID, data.InstanceNumber = "CT", ONE_SCAN, number
    data.ContentDate = datetime.date(2026, 1, 2).strftime("%Y%m%d")
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * values.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i")
    data.PixelSpacing, data.SliceThickness = [0.5, 0.25], 3
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-3, 4, 2.5 * number]
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    for name, value in said.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    wide = "OB" if values.dtype.itemsize == 1 or fragments is not None else "OW"
    if fragments is not None:
        data.add_new(0x7FE00010, wide, encapsulate(fragments))
        data["PixelData"].is_undefined_length = True
    else:
        big = syntax == "1.2.840.10008.1.2.2"
        body = values.astype(values.dtype.newbyteorder(">" if big else "<")).tobytes()
        data.add_new(0x7FE00010, wide, body + b"\0" * (len(body) % 2))
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def items(**said: Any) -> Sequence:
    """Return a sequence of one item."""
    item = pydicom.Dataset()
    for name, value in said.items():
        setattr(item, name, value)
    return Sequence([item])


def bmp(
    values: np.ndarray,
    bits: int = 8,
    palette: list[tuple[int, int, int]] | None = None,
    *,
    down: bool = False,
) -> bytes:
    """Return a BMP file of a slice: 1, 4 or 8 bits with a palette, 24 or 32 bits in colours."""
    rows, columns = values.shape[:2]
    if bits <= 8:
        table = palette if palette is not None else [(k * 255 // (2**bits - 1),) * 3 for k in range(2**bits)]
        text = ["".join(format(int(v), f"0{bits}b") for v in row) for row in values]
        lines = [
            bytes(int(line[k : k + 8].ljust(8, "0"), 2) for k in range(0, len(line), 8)) for line in text
        ]
    else:
        table = []
        lines = [np.ascontiguousarray(row).tobytes() for row in values]
    lines = [line + b"\0" * (-len(line) % 4) for line in lines]
    body = b"".join(lines if down else lines[::-1])
    colours = b"".join(bytes([b, g, r, 0]) for r, g, b in table)
    offset = 54 + len(colours)
    head = struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset)
    head += struct.pack(
        "<IiiHHIIiiII", 40, columns, -rows if down else rows, 1, bits, 0, len(body), 0, 0, len(table), 0
    )
    return head + colours + body


def slab(stack: Stack, first: int, count: int) -> Region:
    """Return the region of some positions along the slow axis of a stack."""
    region = [slice(0, n) for n in stack.shape]
    region[stack.slow_axis] = slice(first, first + count)
    return tuple(region)
