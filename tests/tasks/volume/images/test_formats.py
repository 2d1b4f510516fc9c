"""A table of formats and their oddities: what each row's file gives, voxel by voxel, or the sentence that refuses it.

Covers images/formats.py, images/suffixes.py, images/series.py, images/bitmaps.py, images/npz.py, images/nifti.py,
images/dicom.py, images/dicom_header.py, images/hdf5.py, images/hdf5_paths.py, images/hdf5_filters.py, images/text_headed.py,
images/sidecars.py, images/which_image.py.
"""

import gzip
import io
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import h5py
import imagecodecs
import nibabel
import numpy as np
import pydicom
import pydicom.data
import pytest
import tifffile
import zarr

from tasks.ingest_images import ingest_images
from tasks.parameters import Image, Raw, Run, StorageOptions
from tasks.volume.images.formats import FORMATS, NOT_READ
from tasks.volume.images.slab import read_block
from tasks.volume.images.stack import find_stack
from tasks.volume.images.suffixes import SUFFIXES
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.publishing.kind import is_images
from tests import ROOT
from tests.support.voxel_makers import bmp, dicom, items, slab, voxels

HERE = StorageOptions()
VALUES = voxels()
BYTES = voxels("uint8")
SIGNED = voxels("int16")
COLOURS = voxels("uint8", (6, 7, 9, 3))
TIMES = voxels("uint16", (3, 2, 6, 7, 9))  # t, c, z, y, x
SHIPPED = Path(pydicom.data.__file__).parent / "test_files"


@dataclass(frozen=True)
class Row:
    """A file, and what is right of it.

    Attributes:
        id: Format and oddity.
        make: Writes files into a folder; returns the name to ingest, below the folder.
        values: The voxels; None where `sentence` refuses them.
        length: Voxel lengths z, y, x.
        unit: Their unit.
        origin: Place of the first voxel.
        sentence: Part of the refusal, or of a note.
        kept: Attributes of the array.
    """

    id: str
    make: Callable[[Path], str]
    values: np.ndarray | None = None
    length: tuple[float, ...] = ()
    unit: str = ""
    origin: tuple[float, ...] = ()
    sentence: str = ""
    kept: tuple[tuple[str, Any], ...] = ()


def written(name: str, data: bytes | Callable[[Path], Any]) -> Callable[[Path], str]:
    """Return a maker of one file."""

    def make(folder: Path) -> str:
        if callable(data):
            data(folder / name)
        else:
            (folder / name).write_bytes(data)
        return name

    return make


def in_folder(*files: Callable[[Path], Any], of: str = "") -> Callable[[Path], str]:
    """Return a maker of a folder of files."""

    def make(folder: Path) -> str:
        for file in files:
            file(folder)
        return of

    return make


def slices(
    name: str, write: Callable[[Path, np.ndarray, int], Any], values: np.ndarray = VALUES
) -> Callable[[Path], str]:
    """Return a maker of one file per slice; `name` has the number of the slice in it."""

    def make(folder: Path) -> str:
        for k, layer in enumerate(values):
            write(folder / name.format(k), layer, k)
        return ""

    return make


def h5(
    write: Callable[[h5py.File], Any], part: str = "", name: str = "scan.h5", **options: Any
) -> Callable[[Path], str]:
    """Return a maker of an HDF5 file."""

    def make(folder: Path) -> str:
        with h5py.File(folder / name, "w", **options) as file:
            write(file)
        return f"{name}:{part}" if part else name

    return make


def nifti(
    values: np.ndarray, name: str = "a.nii", kind: Any = nibabel.Nifti1Image, **said: Any
) -> Callable[[Path], str]:
    """Return a maker of a NIfTI file of voxels z, y, x."""

    def make(folder: Path) -> str:
        affine = said.get("affine", np.diag([0.5, 0.75, 2, 1]))
        image = kind(values.transpose(*range(values.ndim)[::-1]), affine)
        image.header.set_xyzt_units(said.get("unit", "mm"))
        if "step" in said:
            image.header.set_xyzt_units(said.get("unit", "mm"), "sec")
            image.header["pixdim"][4] = said["step"]
        if "slope" in said:
            image.header.set_slope_inter(*said["slope"])
        nibabel.save(image, folder / name)
        return name

    return make


def npz(pack: Callable[..., Any] = np.savez, part: str = "", **arrays: np.ndarray) -> Callable[[Path], str]:
    """Return a maker of an .npz file."""

    def make(folder: Path) -> str:
        pack(folder / "a.npz", **arrays)
        return f"a.npz:{part}" if part else "a.npz"

    return make


def npy(values: np.ndarray) -> Callable[[Path], str]:
    """Return a maker of an .npy file."""
    return written("a.npy", lambda path: np.save(path, values))


def scan(folder: Path, values: np.ndarray = VALUES, name: str = "{}.dcm", **said: Any) -> str:
    """Write a DICOM scan whose names run against its places."""
    for k, layer in enumerate(values):
        dicom(folder / name.format(len(values) - k), layer, k + 1, **said)
    return ""


def enhanced(path: Path, places: Sequence[float] = range(len(VALUES)), slopes: Sequence[float] = ()) -> None:
    """Write frames with functional groups."""
    frames = [items(PlanePositionSequence=items(ImagePositionPatient=[0, 0, 1.5 * k]))[0] for k in places]
    for frame, slope in zip(frames, slopes, strict=False):
        frame.PixelValueTransformationSequence = items(RescaleSlope=slope, RescaleIntercept=0)
    shared = items(
        PixelMeasuresSequence=items(PixelSpacing=[0.5, 0.25], SliceThickness=9),
        PlaneOrientationSequence=items(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
    )
    dicom(
        path, VALUES, PixelSpacing=None, ImagePositionPatient=None, ImageOrientationPatient=None, SliceThickness=None,
        SharedFunctionalGroupsSequence=shared, PerFrameFunctionalGroupsSequence=pydicom.Sequence(frames),
    )  # fmt: skip


def rle(layer: np.ndarray) -> bytes:
    """Return a slice in DICOM's run lengths, every run a literal one."""
    planes = [
        layer.view(np.uint8).reshape(-1, layer.dtype.itemsize)[:, k] for k in range(layer.dtype.itemsize)
    ][::-1]
    parts = []
    for plane in planes:
        data = plane.tobytes()
        part = b"".join(
            bytes([len(data[k : k + 128]) - 1]) + data[k : k + 128] for k in range(0, len(data), 128)
        )
        parts.append(part + b"\0" * (len(part) % 2))
    offsets, at = [], 64
    for part in parts:
        offsets.append(at)
        at += len(part)
    return struct.pack("<16I", len(parts), *offsets, *[0] * (15 - len(parts))) + b"".join(parts)


def tiff(values: np.ndarray = VALUES, name: str = "a.tif", **options: Any) -> Callable[[Path], str]:
    """Return a maker of a TIFF file."""
    return written(name, lambda path: tifffile.imwrite(path, values, **options))


def imagej(**metadata: Any) -> Callable[[Path], str]:
    """Return a maker of a stack of ImageJ, with two voxels to a unit."""
    return tiff(imagej=True, resolution=(2, 2), metadata={"axes": "ZYX"} | metadata)


def mha(values: np.ndarray, place: float, more: str = "") -> bytes:
    """Return a MetaImage whose header gives slices of 1 apart."""
    dims = " ".join(map(str, values.shape[::-1]))
    head = f"NDims = 3\nDimSize = {dims}\nElementSpacing = 0.25 0.5 1\nOffset = 3 4 {place}\n{more}ElementType = MET_USHORT\n"
    return f"{head}ElementDataFile = LOCAL\n".encode() + values.tobytes()


def nrrd(more: str) -> bytes:
    """Return an NRRD file."""
    head = f"NRRD0004\ntype: ushort\ndimension: 3\nsizes: 9 7 6\nendian: little\nencoding: raw\n{more}\n"
    return head.encode() + VALUES.tobytes()


def nrrd_of(kinds: str, values: np.ndarray, more: str = "spacings: 0.25 0.5 2 nan\n") -> bytes:
    """Return an NRRD file of axes of some kinds."""
    sizes = " ".join(map(str, values.shape[::-1]))
    head = f"NRRD0005\ntype: ushort\ndimension: {values.ndim}\nsizes: {sizes}\nkinds: {kinds}\n{more}endian: little\nencoding: raw\n\n"
    return head.encode() + values.tobytes()


def beside(name: str, sidecar: str, text: str, encoding: str = "utf-8") -> Callable[[Path], str]:
    """Return a maker of an array without calibration, and of what a scanner writes beside it."""

    def make(folder: Path) -> str:
        np.save(folder / name, VALUES)
        (folder / sidecar).write_text(text, encoding, newline="")
        return name

    return make


def raw_beside(
    sidecar: str, text: str, values: np.ndarray = VALUES, before: bytes = b"", *, packed: bool = False
) -> Callable[[Path], str]:
    """Return a maker of a raw file, and of what a scanner writes beside it."""

    def make(folder: Path) -> str:
        data, name = before + values.tobytes(), "a.raw.gz" if packed else "a.raw"
        (folder / name).write_bytes(gzip.compress(data) if packed else data)
        (folder / sidecar).write_text(text)
        return name

    return make


VGI = """{volume1}
[representation]
size = 9 7 6
datatype = unsigned integer
bitsperelement = 8
[file1]
SkipHeader = 0
FileFormat = raw
Size = 9 7 6
Name = a.raw
Datatype = unsigned integer
BitsPerElement = 16
{volumeprimitive12}
[geometry]
resolution = 0.25 0.5 2
unit = mm
"""
MM = (2.5, 0.5, 0.25)
FIRST = (2.5, 4.0, -3.0)
RESCALED = (("rescale_slope", 0.5), ("rescale_intercept", -1024.0))
GRAY = [(k, k, k) for k in range(256)]
TABLE = [
    # DICOM
    Row("dicom sorted by place", scan, VALUES, MM, "millimeter", FIRST, "places of the slices"),
    Row(
        "dicom spacing at the detector",
        lambda f: scan(f, PixelSpacing=None, ImagerPixelSpacing=[0.5, 0.25]),
        VALUES, MM, "millimeter", FIRST, "ImagerPixelSpacing (at the detector, not in the object) and the places",
    ),
    Row("dicom signed", lambda f: scan(f, SIGNED), SIGNED, MM, "millimeter", FIRST),
    Row("dicom bytes, odd rows", lambda f: scan(f, BYTES), BYTES, MM, "millimeter", FIRST),
    Row("dicom implicit", lambda f: scan(f, syntax="1.2.840.10008.1.2"), VALUES, MM, "millimeter", FIRST),
    Row("dicom big endian", lambda f: scan(f, syntax="1.2.840.10008.1.2.2"), VALUES, MM, "millimeter", FIRST),
    Row(
        "dicom rescaled",
        lambda f: scan(f, RescaleSlope=0.5, RescaleIntercept=-1024, RescaleType="HU"),
        VALUES, MM, "millimeter", FIRST, "", (*RESCALED, ("rescale_type", "HU")),
    ),
    Row(
        "dicom 12 bits with others above",
        lambda f: scan(f, BitsStored=12, HighBit=11), VALUES & 0xFFF, MM, "millimeter", FIRST,
    ),
    Row(
        "dicom 12 bits with a sign",
        lambda f: scan(f, SIGNED, BitsStored=12, HighBit=11), (SIGNED << 4) >> 4, MM, "millimeter", FIRST,
    ),
    Row(
        "dicom without suffix", lambda f: scan(f, name="IM{}"), VALUES, MM, "millimeter", FIRST, "places of the slices"
    ),
    Row("dicom named by uid", lambda f: scan(f, name="1.2.840.{}"), VALUES, MM, "millimeter", FIRST),
    Row(
        "dicom coronal",
        lambda f: scan_turned(f),
        VALUES, MM, "millimeter", (), "turned against the patient's axes",
    ),
    Row(
        "dicom by number",
        lambda f: scan(f, ImagePositionPatient=None),
        VALUES, (3, 0.5, 0.25), "millimeter", (), "sorted by InstanceNumber",
    ),
    Row("dicom enhanced", written("a.dcm", enhanced), VALUES, (1.5, 0.5, 0.25), "millimeter", (0, 0, 0)),
    Row(
        "dicom enhanced, shuffled", written("a.dcm", lambda p: enhanced(p, (3, 1, 0, 4, 2, 5))),
        sentence="frames of .*a.dcm do not follow each other at one distance",
    ),
    Row(
        "dicom enhanced, a place twice", written("a.dcm", lambda p: enhanced(p, (0, 0, 1, 1, 2, 2))),
        sentence="do not follow each other at one distance",
    ),
    Row(
        "dicom enhanced, downward", written("a.dcm", lambda p: enhanced(p, range(0, -6, -1))),
        VALUES, (1.5, 0.5, 0.25), "millimeter", (), "the frames run downward",
    ),
    Row(
        "dicom enhanced, rescaled per frame", written("a.dcm", lambda p: enhanced(p, slopes=range(1, 7))),
        sentence="differ in their RescaleSlope",
    ),
    Row(
        "dicom of two spacings",
        slices("{}.dcm", lambda p, v, k: dicom(p, v, k, PixelSpacing=[0.5, 0.5 if k == 3 else 0.25])),
        sentence="0.dcm and 3.dcm in .* differ in the spacing of their voxels",
    ),
    Row(
        "dicom with a view from the side",
        slices("{}.dcm", lambda p, v, k: dicom(p, v, k, ImageOrientationPatient=[1, 0, 0, 0, 1, 0] if k else [0, 1, 0, 0, 0, -1])),
        sentence="0.dcm and 1.dcm in .* differ in the direction of their voxels",
    ),
    Row("dicom frames", written("a.dcm", lambda p: dicom(p, VALUES)), VALUES, (3, 0.5, 0.25), "millimeter", FIRST),
    Row(
        "dicom jpeg 2000",
        slices(
            "{}.dcm",
            lambda p, v, k: dicom(
                p, v, k + 1, syntax="1.2.840.10008.1.2.4.90",
                fragments=[imagecodecs.jpeg2k_encode(v, level=0, codecformat="j2k", reversible=True)],
            ),
        ),
        VALUES, MM, "millimeter", FIRST,
    ),
    Row(
        "dicom jpeg-ls",
        slices(
            "{}.dcm",
            lambda p, v, k: dicom(
                p, v, k + 1, syntax="1.2.840.10008.1.2.4.80", fragments=[imagecodecs.jpegls_encode(v)]
            ),
        ),
        VALUES, MM, "millimeter", FIRST,
    ),
    Row(
        "dicom lossless jpeg",
        slices(
            "{}.dcm",
            lambda p, v, k: dicom(
                p, v, k + 1, syntax="1.2.840.10008.1.2.4.70", fragments=[imagecodecs.ljpeg_encode(v)]
            ),
        ),
        VALUES, MM, "millimeter", FIRST,
    ),
    Row(
        "dicom run lengths, frames",
        written("a.dcm", lambda p: dicom(p, VALUES, syntax="1.2.840.10008.1.2.5", fragments=[rle(v) for v in VALUES])),
        VALUES, (3, 0.5, 0.25), "millimeter", FIRST,
    ),
    Row(
        "dicom slice missing",
        in_folder(scan, lambda f: (f / "3.dcm").unlink()),
        sentence="lie 2.5 apart, but 5 between 4.dcm and 2.dcm",
    ),
    Row(
        "dicom slice twice",
        in_folder(scan, lambda f: (f / "9.dcm").write_bytes((f / "3.dcm").read_bytes())),
        sentence="3.dcm and 9.dcm in .* have the same position, 10; remove one",
    ),
    Row(
        "dicom two scans",
        in_folder(scan, lambda f: dicom(f / "7.dcm", VALUES[0], 7, SeriesInstanceUID="1.2.3")),
        sentence=r"slices of 2 scans: .* \(6 files\), 1.2.3 \(1 files\)",
    ),
    Row(
        "dicom rescaled per slice",
        slices("{}.dcm", lambda p, v, k: dicom(p, v, k, RescaleSlope=k + 2.0, RescaleIntercept=0)),
        sentence="are rescaled differently",
    ),
    Row(
        "dicom colour",
        written("a.dcm", lambda p: dicom(p, BYTES, NumberOfFrames=None, SamplesPerPixel=3, PhotometricInterpretation="RGB")),
        sentence="a colour image",
    ),
    Row("dicom report", lambda f: shipped(f, "reportsi.dcm"), sentence="without an image .class Basic Text SR"),
    Row("dicom deflated", lambda f: shipped(f, "image_dfl.dcm"), sentence="deflated as a whole"),
    Row("dicom cut off", lambda f: shipped(f, "MR_truncated.dcm"), sentence="it is cut off or damaged"),
    Row(
        "dicom with a tiff before it", lambda f: shipped(f, "MR_small.dcm"),
        pydicom.dcmread(SHIPPED / "MR_small.dcm").pixel_array[None],
        (0.8, 0.3125, 0.3125), "millimeter", (6.6406, -91.2, -83.9063),
    ),
    Row(
        "dicom jpeg-ls with a sign", lambda f: shipped(f, "MR_small_jpeg_ls_lossless.dcm"),
        pydicom.dcmread(SHIPPED / "MR_small.dcm").pixel_array[None],
        (0.8, 0.3125, 0.3125), "millimeter", (6.6406, -91.2, -83.9063),
    ),
    Row(
        "dicom dose", lambda f: shipped(f, "rtdose.dcm"), pydicom.dcmread(SHIPPED / "rtdose.dcm").pixel_array,
        (5, 10, 10), "millimeter", (-761.87, 199.43125, 189.43125),
    ),
    Row(
        "dicom of a tilted gantry",
        slices("{}.dcm", lambda p, v, k: dicom(p, v, k, ImagePositionPatient=[-3, 4 + 0.3 * k, 2.5 * k])),
        VALUES, MM, "millimeter", (0, 4, -3), "shifted against each other by up to 1.5 millimeter",
    ),
    Row("dicom white", lambda f: scan(f, PhotometricInterpretation="MONOCHROME1"), VALUES, MM, "millimeter", FIRST, "the least value as white"),
    # NIfTI
    Row("nifti", nifti(VALUES), VALUES, (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row("nifti gz", nifti(VALUES, "a.nii.gz"), VALUES, (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row("nifti 2", nifti(VALUES, kind=nibabel.Nifti2Image), VALUES, (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row(
        "nifti 2 gz, bytes", nifti(BYTES, "a.nii.gz", nibabel.Nifti2Image), BYTES, (2, 0.75, 0.5), "millimeter", (0, 0, 0)
    ),
    Row(
        "nifti pair", lambda f: nifti(VALUES, "a.img", nibabel.Nifti1Pair)(f).replace("img", "hdr"),
        VALUES, (2, 0.75, 0.5), "millimeter", (0, 0, 0),
    ),
    Row("nifti micron", nifti(VALUES, unit="micron"), VALUES, (2, 0.75, 0.5), "micrometer", (0, 0, 0)),
    Row("nifti no unit", nifti(VALUES, unit=0), VALUES, (2, 0.75, 0.5), "", (0, 0, 0), "gives no unit"),
    Row(
        "nifti mirrored", nifti(VALUES, affine=np.diag([-0.5, 0.75, 2, 1])),
        VALUES, (2, 0.75, 0.5), "millimeter", (), "turned or mirrored",
    ),
    Row("nifti big endian", written("a.nii", lambda p: big_nifti(p)), SIGNED, (2, 0.75, 0.5), "millimeter"),
    Row(
        "nifti rescaled", nifti(SIGNED, slope=(0.5, -1024)),
        SIGNED, (2, 0.75, 0.5), "millimeter", (0, 0, 0), "", RESCALED,
    ),
    Row("nifti float64", nifti(voxels("float64")), voxels("float64"), (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row("nifti time of one", nifti(VALUES[None]), VALUES, (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row("nifti of times", nifti(TIMES[:, 0]), TIMES[:, 0], (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row("nifti gz of times", nifti(TIMES[:, 0], "a.nii.gz"), TIMES[:, 0], (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row("nifti of channels and times", nifti(TIMES.swapaxes(0, 1)), TIMES, (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row("nifti of values per voxel", nifti(TIMES[:1].swapaxes(0, 1)), TIMES[0], (2, 0.75, 0.5), "millimeter", (0, 0, 0)),
    Row("nifti of times and no slices", nifti(VALUES[:, None]), VALUES, (2, 0.75, 0.5), "millimeter", (0, 0, 0), "taken as its slices"),
    Row("nifti of six axes", nifti(TIMES[:, None, None]), sentence="has 7 axes|has 6 axes"),
    Row("npy of four axes, one of them one", npy(VALUES[None]), VALUES),
    Row("npy of four axes", npy(TIMES[0]), sentence="which of them are channels or times it does not say"),
    Row("npz, without a slash", lambda f: npz(one=VALUES + 1, two=VALUES)(f) + ":two", VALUES),
    Row("nifti colour", written("a.nii", lambda p: colour_nifti(p)), sentence="3 values per voxel"),
    Row("analyze", written("a.hdr", struct.pack("<i", 348) + bytes(344)), sentence="is a header of Analyze 7.5, which is not read"),
    Row("nifti without .img", in_folder(lambda f: nifti(VALUES, "a.img", nibabel.Nifti1Pair)(f),
        lambda f: (f / "a.img").unlink(), of="a.hdr"), sentence=r"there is no file .*a\.img"),
    # HDF5
    Row("hdf5 exchange", h5(lambda f: f.create_dataset("exchange/data", data=VALUES)), VALUES),
    Row("hdf5 named", h5(lambda f: two(f), "/other/stack"), VALUES + 1),
    Row("hdf5 in chunks", h5(lambda f: f.create_dataset("v", data=VALUES, chunks=(2, 4, 5))), VALUES),
    Row(
        "hdf5 gzip, shuffle, checksum",
        h5(lambda f: f.create_dataset("v", data=VALUES, chunks=(4, 4, 4), compression="gzip", shuffle=True, fletcher32=True)),
        VALUES,
    ),
    Row("hdf5 lzf", h5(lambda f: f.create_dataset("v", data=VALUES, chunks=(4, 7, 9), compression="lzf")), VALUES),
    Row("hdf5 lzf of zeros", h5(lambda f: f.create_dataset("v", data=VALUES * 0, chunks=(4, 7, 9), compression="lzf")), VALUES * 0),
    Row("hdf5 big endian", h5(lambda f: f.create_dataset("v", data=SIGNED.astype(">i2"), chunks=(3, 7, 9))), SIGNED),
    Row("hdf5 big endian, whole", h5(lambda f: f.create_dataset("v", data=SIGNED.astype(">i2"))), SIGNED),
    Row("hdf5 behind a user block", h5(lambda f: f.create_dataset("v", data=VALUES), userblock_size=512, name="a.mat"), VALUES),
    Row("hdf5 latest format", h5(lambda f: f.create_dataset("v", data=VALUES, chunks=(2, 7, 9)), libver="latest"), VALUES),
    Row("hdf5 booleans", h5(lambda f: f.create_dataset("v", data=voxels("bool"))), voxels("bool").astype("u1")),
    Row("hdf5 five axes", h5(lambda f: f.create_dataset("v", data=VALUES[None, :, :, :, None], chunks=(1, 2, 4, 5, 1))), VALUES),
    Row("hdf5 one slice", h5(lambda f: f.create_dataset("v", data=VALUES[0]), "/v"), VALUES[:1]),
    Row("hdf5 unwritten chunks", h5(lambda f: partly(f)), np.where(np.arange(6)[:, None, None] < 2, VALUES, 7).astype("u2")),
    Row("hdf5 soft link", h5(lambda f: linked(f), "/link"), VALUES),
    Row(
        "hdf5 element size", h5(lambda f: f.create_dataset("v", data=VALUES).attrs.update(element_size_um=[3, 2, 1.5])),
        VALUES, (3, 2, 1.5), "micrometer", (), "element_size_um",
    ),
    Row("nexus default and axes", h5(lambda f: nexus(f), name="a.nxs"), VALUES, (2000, 500, 250), "micrometer",
        (10000, 0, 0), "axes of NeXus"),
    Row("hdf5 two stacks", h5(lambda f: two(f)), sentence=r"holds 2 arrays of three axes \(/one \(6, 7, 9\), /other/stack"),
    Row("hdf5 group named", h5(lambda f: two(f), "/other"), sentence="is a group, which holds stack"),
    Row("hdf5 nothing there", h5(lambda f: two(f), "/some"), sentence="holds nothing at /some; / holds one, other"),
    Row("hdf5 no stack", h5(lambda f: f.create_dataset("v", data=[1, 2])), sentence="holds no array of three axes"),
    Row("hdf5 one slice of colours", h5(lambda f: f.create_dataset("v", data=COLOURS[:1])), sentence="wanted at most three axes longer than 1"),
    Row("hdf5 external link", h5(lambda f: external(f), "/out"), sentence="is a link to elsewhere"),
    Row("hdf5 virtual", h5(lambda f: virtual(f), "/v"), sentence="kept in other files"),
    Row("hdf5 external storage", h5(lambda f: f.create_dataset("v", (6, 7, 9), "u2", external=[("/etc/passwd", 0, 756)])),
        sentence="kept in other files"),
    Row("hdf5 compound", h5(lambda f: f.create_dataset("v", (3, 3, 3), "u2,f4"), "/v"), sentence="wanted whole numbers"),
    Row("hdf5 scale and offset", h5(lambda f: f.create_dataset("v", data=VALUES, chunks=(2, 7, 9), scaleoffset=4)),
        sentence="coded with scale and offset, which is not read; write it again with gzip"),
    Row("hdf5 cut off", in_folder(lambda f: h5(lambda g: g.create_dataset("v", data=VALUES))(f),
        lambda f: os.truncate(f / "scan.h5", 900), of="scan.h5"), sentence="is not an HDF5 file that can be read"),
    # .npz and .npy
    Row("npz", npz(rock=VALUES), VALUES),
    Row("npz compressed", npz(np.savez_compressed, rock=VALUES), VALUES),
    Row("npz fortran", npz(rock=np.asfortranarray(VALUES)), VALUES),
    Row("npz fortran, compressed", npz(np.savez_compressed, rock=np.asfortranarray(VALUES)), VALUES),
    Row("npz big endian", npz(rock=SIGNED.astype(">i2")), SIGNED),
    Row("npz named", npz(part="/pore", rock=VALUES, pore=BYTES), BYTES),
    Row("npz of two", npz(rock=VALUES, pore=BYTES), sentence=r"holds 2 arrays \(rock, pore\); name one, such as .*:/rock"),
    Row("npz without it", npz(part="/x", rock=VALUES), sentence="holds no array x; it holds rock"),
    Row("npz of objects", npz(rock=np.array([None, 1], dtype=object)), sentence="wanted whole numbers"),
    Row("npz of text", written("a.npz", lambda p: zipped(p, b"hello")), sentence="is not a NumPy file"),
    Row("npy with a path", in_folder(lambda f: np.save(f / "a.npy", VALUES), of="a.npy"), VALUES),
    # BMP
    Row("bmp", slices("{}.bmp", lambda p, v, k: p.write_bytes(bmp(v)), BYTES), BYTES),
    Row("bmp downward", slices("{}.bmp", lambda p, v, k: p.write_bytes(bmp(v, down=True)), BYTES), BYTES),
    Row("bmp inverted palette", slices("{}.BMP", lambda p, v, k: p.write_bytes(bmp(v, palette=GRAY[::-1])), BYTES), 255 - BYTES),
    Row("bmp of four bits", slices("{}.bmp", lambda p, v, k: p.write_bytes(bmp(v & 15, 4)), BYTES), (BYTES & 15) * 17),
    Row("bmp of one bit", slices("{}.bmp", lambda p, v, k: p.write_bytes(bmp(v & 1, 1)), BYTES), (BYTES & 1) * 255),
    Row("bmp of three equal", slices("{}.bmp", lambda p, v, k: p.write_bytes(bmp(np.stack([v] * 3, -1), 24)), BYTES), BYTES),
    Row("bmp of four values", slices("{}.bmp", lambda p, v, k: p.write_bytes(bmp(np.stack([v] * 4, -1), 32)), BYTES), BYTES),
    Row("bmp in colours", slices("{}.bmp", lambda p, v, k: p.write_bytes(bmp(v[..., ::-1], 24)), COLOURS), COLOURS.transpose(3, 0, 1, 2)),
    Row("bmp in colours, one slice gray", slices("{}.bmp", lambda p, v, k: p.write_bytes(bmp(v[..., ::-1] * (k > 1), 24)), COLOURS),
        (COLOURS * (np.arange(6) > 1)[:, None, None, None].astype("u1")).transpose(3, 0, 1, 2)),
    Row("bmp colour palette", written("a.bmp", bmp(BYTES[0], palette=[(255, 0, 0)] * 256)), sentence="by its palette"),
    Row("bmp cut off", written("a.bmp", bmp(BYTES[0])[:-9]), sentence="it is cut off"),
    # JPEG, PNG
    Row("jpeg", slices("{}.jpg", lambda p, v, k: p.write_bytes(imagecodecs.jpeg8_encode(v, 90)), BYTES),
        np.stack([imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(v, 90)) for v in BYTES])),
    Row("jpeg lossless", slices("{}.jpeg", lambda p, v, k: p.write_bytes(imagecodecs.ljpeg_encode(v))), VALUES),
    Row("jpeg-ls", slices("{}.jpg", lambda p, v, k: p.write_bytes(imagecodecs.jpegls_encode(v)), BYTES), BYTES),
    Row("jpeg without frame", written("a.jpg", b"\xff\xd8\xff\xe0\0\4ab\xff\xd9" + bytes(20)), sentence="without a frame"),
    # Calibration of TIFF
    Row("tiff per centimeter", tiff(resolution=(10000, 20000), resolutionunit="CENTIMETER", metadata=None),
        VALUES, (1, 0.5, 1), "micrometer", (), "no distance of the slices; it was taken like x, 1 micrometer"),
    Row("tiff per inch", tiff(resolution=(25400, 25400), resolutionunit="INCH", metadata=None),
        VALUES, (1, 1, 1), "micrometer", (), "TIFF's resolution"),
    Row("tiff for screens", tiff(resolution=(72, 72), resolutionunit="INCH", metadata=None), VALUES, (), "", (), "72 per inch is what programs"),
    Row("tiff without unit", tiff(resolution=(2, 2), resolutionunit="NONE", metadata=None), VALUES, (), "", (), "no voxel length was found"),
    Row("tiff slices per centimeter",
        slices("s{}.tif", lambda p, v, k: tifffile.imwrite(p, v, resolution=(5000, 5000), resolutionunit="CENTIMETER", metadata=None)),
        VALUES, (2, 2, 2), "micrometer", (), "TIFF's resolution"),
    Row("imagej of depth one", imagej(unit="um"), VALUES, (1, 0.5, 0.5), "micrometer", (), "Z is not given and was taken as 1"),
    Row("imagej negative", imagej(unit="mm", spacing=-3), VALUES, (3, 0.5, 0.5), "millimeter"),
    Row("imagej origin", imagej(unit="um", spacing=3, xorigin=10, zorigin=-2), VALUES, (3, 0.5, 0.5), "micrometer", (6, 0, -5)),
    Row("imagej escaped unit", imagej(unit="\\u00B5m", spacing=3), VALUES, (3, 0.5, 0.5), "micrometer"),
    Row("imagej of units", imagej(unit="nm", zunit="um", spacing=3), VALUES, (3000, 0.5, 0.5), "nanometer", (), "converted from 3 micrometer"),
    Row("imagej pixels", imagej(unit="pixel", spacing=3), VALUES, (3, 0.5, 0.5), "", (), "lengths without a unit"),
    Row("imagej of a screen", tiff(imagej=True, resolution=(100, 100), metadata={"axes": "ZYX", "unit": "inch"}), VALUES, (), "", (), "100 per inch is what programs write for screens"),
    Row("imagej without unit", imagej(spacing=3), VALUES, (3, 0.5, 0.5), "", (), "lengths without a unit"),
    Row("imagej of nothing", tiff(imagej=True, metadata={"axes": "ZYX"}), VALUES, (), "", (), "no voxel length was found"),
    Row("one file of an ome set", written("a.ome.tif", lambda p: one_of_a_set(p)), sentence="state 3 slices, but 1 are there"),
    Row("tiff of a palette", tiff(BYTES, photometric="palette", colormap=np.zeros((3, 256), "u2")), BYTES, sentence="by a palette of colours"),
    Row("tiff white", tiff(BYTES, photometric="miniswhite"), BYTES, sentence="TIFF shows 0 as white"),
    Row("tiff in zip", written("a.zip", lambda p: zipped(p, tiffed(VALUES), "rock.tif")), VALUES),
    Row("tiff named in zip", in_folder(lambda f: zipped(f / "a.zip", tiffed(VALUES), "rock.tif", "notes"), of="a.zip:rock.tif"), VALUES),
    Row("two files in zip", written("a.zip", lambda p: zipped(p, tiffed(VALUES), "a.tif", "b.tif")), sentence="holds 2 files .a.tif, b.tif.; name one"),
    Row("tiff jpeg", tiff(np.repeat(BYTES[:, :1, :1], 16, 1).repeat(16, 2), compression="jpeg", tile=(16, 16), compressionargs={"level": 100}),
        np.repeat(BYTES[:, :1, :1], 16, 1).repeat(16, 2)),
    Row("imagej single slices",
        slices("s{}.tif", lambda p, v, k: tifffile.imwrite(p, v, imagej=True, resolution=(2, 2), metadata={"unit": "um"})),
        VALUES, (1, 0.5, 0.5), "micrometer", (), "Z is not given and was taken as 1"),
    Row("imagej slices that differ",
        slices("s{}.tif", lambda p, v, k: tifffile.imwrite(p, v, imagej=True, resolution=(2 + k % 2, 2), metadata={"unit": "um"})),
        VALUES, (), "", (), "the files give 2 voxel lengths"),
    # Which image, and which axis
    Row("imagej channels alone", imagej(axes="CYX"), VALUES, (1, 0.5, 0.5), "", (), "calls 6 channels was taken as its slices"),
    Row("imagej times alone", imagej(axes="TYX", unit="um"), VALUES, (1, 0.5, 0.5), "micrometer", (), "calls 6 times was taken as its slices"),
    Row("ome times alone", tiff(name="a.ome.tif", metadata={"axes": "TYX"}), VALUES, (), "", (), "calls 6 times was taken as its slices"),
    Row("ome of units", tiff(name="a.ome.tif", metadata={"axes": "ZYX", "PhysicalSizeX": 500, "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "\u00b5m", "PhysicalSizeZ": 2, "PhysicalSizeZUnit": "\u00b5m"}),
        VALUES, (2000, 500, 500), "nanometer", (), "converted from 2 micrometer"),
    Row("ome of two images", written("a.ome.tif", lambda p: two_images(p)), sentence=r"2 images \(0: overview .*, 1: scan .*choose one, such as with --image 0"),
    # Headers of text
    Row("metaimage series", slices("s{}.mha", lambda p, v, k: p.write_bytes(mha(v[None], 5 + 2.5 * k))), VALUES, (2.5, 0.5, 0.25), "", (5, 4, 3), "2.5 was taken"),
    Row("metaimage series downward", slices("s{}.mha", lambda p, v, k: p.write_bytes(mha(v[None], -2.5 * k))), VALUES, (2.5, 0.5, 0.25), "", ()),
    Row("metaimage turned", written("a.mha", lambda p: p.write_bytes(mha(VALUES, 5, "TransformMatrix = 0 1 0 -1 0 0 0 0 1\n"))),
        VALUES, (1, 0.5, 0.25), "", (5, 4, 3), "MetaImage's axes are turned"),
    Row("nrrd turned", written("a.nrrd", lambda p: p.write_bytes(nrrd("space dimension: 3\nspace directions: (0,0.25,0) (-0.5,0,0) (0,0,2)\n"))),
        VALUES, (2, 0.5, 0.25), "", (), "NRRD's axes are turned"),
    Row("metaimage unit", written("a.mha", lambda p: p.write_bytes(mha(VALUES, 5, "DistanceUnits = um\n"))), VALUES, (1, 0.5, 0.25), "micrometer", (5, 4, 3)),
    Row("nrrd of units", written("a.nrrd", lambda p: p.write_bytes(nrrd('spacings: 250 500 2\nunits: "nm" "nm" "um"\n'))),
        VALUES, (2000, 500, 250), "nanometer", (), "the NRRD header"),
    Row("nrrd space units", written("a.nrrd", lambda p: p.write_bytes(nrrd(
        'space dimension: 3\nspace directions: (0.25,0,0) (0,0.5,0) (0,0,2)\nspace origin: (1,2,3)\nspace units: "mm" "mm" "mm"\n'))),
        VALUES, (2, 0.5, 0.25), "millimeter", (3, 2, 1), "the NRRD header"),
    # Sidecars
    Row("raw and vgi", beside("a.npy", "a.vgi", "{volume1}\n[geometry]\nresolution = 0.25 0.5 2\nunit = mm\n"), VALUES, (2, 0.5, 0.25), "millimeter", (), "taken from a.vgi"),
    Row(
        "raw and vgi in UTF-16",
        beside("a.npy", "a.vgi", "{volume1}\r\n[geometry]\r\nresolution = 0.25 0.5 2\r\nunit = mm\r\n", "utf-16"),
        VALUES, (2, 0.5, 0.25), "millimeter", (), "taken from a.vgi",
    ),
    Row("raw as vgi describes it", raw_beside("a.vgi", VGI), VALUES, (2, 0.5, 0.25), "millimeter", (), "6 x 7 x 9 (z, y, x) voxels of uint16, as a.vgi describes it"),
    Row("floats behind a header, as vgi describes them", raw_beside("a.vgi", VGI.replace("unsigned integer\nBitsPerElement = 16", "float\nBitsPerElement = 32").replace("SkipHeader = 0", "SkipHeader = 5"),
        voxels("float32"), b"12345"), voxels("float32"), (2, 0.5, 0.25), "millimeter", (), "voxels of float32, as a.vgi"),
    Row("raw as xtekct counts it", raw_beside("a.xtekct", "VoxelsX=9\nVoxelsY=7\nVoxelsZ=6\nVoxelSizeX=0.25\nVoxelSizeY=0.5\nVoxelSizeZ=2\n"), VALUES, (2, 0.5, 0.25), "millimeter", (), "as a.xtekct"),
    Row("raw as pcr counts it", raw_beside("a.pcr", "[Geometry]\nVoxelSizeRec=0.005\n[VolumeData]\nVolume_SizeX=9\nVolume_SizeY=7\nVolume_SizeZ=6\n", BYTES), BYTES, (0.005,) * 3, "millimeter", (), "of uint8, as a.pcr"),
    Row("packed raw as vgi describes it", raw_beside("a.vgi", VGI, packed=True), VALUES, (2, 0.5, 0.25), "millimeter", (), "6 x 7 x 9 (z, y, x) voxels of uint16, as a.vgi describes it"),
    Row("packed raw of which a sidecar gives no type", raw_beside("a.xtekct", "VoxelsX=9\nVoxelsY=7\nVoxelsZ=6\n", np.tile(VALUES[:1], (6, 1, 1)), packed=True), sentence="no type of them that fits"),
    Row("packed raw without a sidecar", raw_beside("a.txt", "", packed=True), sentence="give its dtype and its shape"),
    Row("raw that vgi does not fit", raw_beside("a.vgi", VGI, VALUES[1:]), sentence="make 756; the numbers are wrong, or the file is cut off; the layout is that of a.vgi, which --dtype and --shape overrule"),
    Row("raw with a vgi of lengths alone", raw_beside("a.vgi", "resolution = 1 1 1\n"), sentence="give its dtype and its shape"),
    Row("raw that pcr does not fit", raw_beside("a.pcr", "Volume_SizeX=9\nVolume_SizeY=7\nVolume_SizeZ=5\n"), sentence=r"a.pcr beside it describes 5 x 7 x 9 \(z, y, x\) voxels, but no type of them that fits its 756 bytes"),
    Row("raw behind a header of too many digits", raw_beside("a.vgi", VGI.replace("SkipHeader = 0", "SkipHeader = " + "9" * 5000)), sentence="after 99,999,999,999,999,999,999 bytes of header .* that of a.vgi"),
    Row("raw beside another's vgi", in_folder(raw_beside("a.vgi", VGI), lambda f: (f / "b.raw").write_bytes(SIGNED.tobytes()), of="b.raw"), sentence="give its dtype and its shape"),
    Row("raw named like another's vgi", in_folder(raw_beside("b.vgi", VGI), lambda f: (f / "b.raw").write_bytes(SIGNED.tobytes()), of="b.raw"), sentence="give its dtype and its shape"),
    Row("raw whose vgi has another name", in_folder(raw_beside("b.vgi", VGI.replace("Name = ", "Name = C:\\scans\\")), lambda f: (f / "b.raw").write_bytes(SIGNED.tobytes()), of="a.raw"), VALUES, (2, 0.5, 0.25), "millimeter", (), "of uint16, as b.vgi"),
    Row("raw that got another name with its vgi", raw_beside("a.vgi", VGI.replace("a.raw", "before.raw")), VALUES, (2, 0.5, 0.25), "millimeter", (), "of uint16, as a.vgi"),
    Row("raw and the only sidecar", raw_beside("b.pcr", "Volume_SizeX=9\nVolume_SizeY=7\nVolume_SizeZ=6\n"), VALUES, (), "", (), "of uint16, as b.pcr"),
    Row("raws and the only sidecar", in_folder(raw_beside("c.pcr", "Volume_SizeX=9\nVolume_SizeY=7\nVolume_SizeZ=6\n"), lambda f: (f / "b.vol").write_bytes(SIGNED.tobytes()), of="a.raw"), sentence="give its dtype and its shape"),
    Row("array beside another's vgi", in_folder(raw_beside("a.vgi", VGI), npy(VALUES), lambda f: (f / "a.npy").rename(f / "b.npy"), of="b.npy"), VALUES, (), "", (), "no voxel length was found"),
    Row("array beside another's pcr", in_folder(raw_beside("a.pcr", "VoxelSizeRec=0.1\n"), npy(VALUES), lambda f: (f / "a.npy").rename(f / "b.npy"), of="b.npy"), VALUES, (), "", (), "no voxel length was found"),
    Row("nrrd of times", written("a.nrrd", nrrd_of("space space space time", TIMES[:, 0])), TIMES[:, 0], (2, 0.5, 0.25)),
    Row("nrrd of a list", written("a.nrrd", nrrd_of("domain domain domain list", TIMES[:, 0])), TIMES[:, 0], (2, 0.5, 0.25)),
    Row("nrrd of colours in each voxel", written("a.nrrd", nrrd_of("RGB-color domain domain domain", TIMES[:, 0])), sentence="9 values per voxel"),
    Row("nrrd of four axes of space", written("a.nrrd", nrrd_of("domain domain domain domain", TIMES[:, 0])), sentence="it does not say"),
    Row("nrrd of one slice of colours in each voxel", written("a.nrrd", nrrd_of("RGB-color domain domain domain", VALUES[:1, :, :, None].repeat(3, 3))), sentence="3 values per voxel"),
    Row("nrrd of a slice, its colours in each voxel", written("a.nrrd", nrrd_of("RGB-color domain domain", VALUES[0, :, :, None].repeat(3, 2))), sentence="3 values per voxel"),
    Row("nrrd of times between slices", written("a.nrrd", nrrd_of("domain domain time domain", TIMES[:, 0])), sentence="of the kinds 'domain domain time domain' and sizes '9 7 6 3'"),
    Row("nrrd of one value in each voxel", written("a.nrrd", nrrd_of("scalar domain domain domain", VALUES[..., None])), sentence="of the kinds 'scalar domain"),
    Row("nrrd of a slice at times", written("a.nrrd", nrrd_of("domain domain time", VALUES, 'spacings: 0.25 0.5 30\nunits: "mm" "mm" "s"\n')), VALUES[:, None], (), "", (), "the times lie 30 second apart"),
    Row("nrrd of times apart", written("a.nrrd", nrrd_of("domain domain domain time", TIMES[:, 0], 'spacings: 0.25 0.5 2 30\nunits: "mm" "mm" "mm" "s"\n')), TIMES[:, 0], (2, 0.5, 0.25), "millimeter", (), "the times lie 30 second apart"),
    Row("nrrd of one time", written("a.nrrd", nrrd_of("domain domain domain time", VALUES[None])), VALUES, (2, 0.5, 0.25)),
    Row("npy of one slice of colours", npy(COLOURS[:1]), sentence="which of them are channels or times it does not say"),
    Row("nifti of times apart", nifti(TIMES[:, 0], step=2.5), TIMES[:, 0], (2, 0.75, 0.5), "millimeter", (0, 0, 0), "the times lie 2.5 second apart"),
    Row("ome of times apart", tiff(TIMES[:, 0], "a.ome.tif", metadata={"axes": "TZYX", "TimeIncrement": 2.5, "TimeIncrementUnit": "ms"}), TIMES[:, 0], (), "", (), "the times lie 2.5 millisecond apart"),
    Row("ome of times apart, in seconds", tiff(TIMES[:, 0], "a.ome.tif", metadata={"axes": "TZYX", "TimeIncrement": 1}), TIMES[:, 0], (), "", (), "the times lie 1 second apart"),
    Row("imagej of times apart", tiff(TIMES[:, 0], imagej=True, metadata={"axes": "TZYX", "finterval": 0.5}), TIMES[:, 0], (), "", (), "the times lie 0.5 second apart"),
    Row("nrrd of times apart in a unit unknown", written("a.nrrd", nrrd_of("domain domain domain time", TIMES[:, 0], 'spacings: 0.25 0.5 2 30\nunits: "mm" "mm" "mm" "mo\x1bons"\n')), TIMES[:, 0], (2, 0.5, 0.25), "millimeter", (), "the times lie 30 mo?ons apart, in a unit that is not known"),
    Row("nrrd of negative spacings", written("a.nrrd", nrrd('spacings: -0.25 0.5 2\nspace units: "um" "um" "um"\n')), VALUES, (2, 0.5, 0.25), "micrometer", (), "negative voxel lengths; their amounts were taken"),
    Row("metaimage of a negative spacing", written("a.mha", mha(VALUES, 5).replace(b"Spacing = 0.25", b"Spacing = -0.25")), VALUES, (1, 0.5, 0.25), "", (), "negative voxel lengths"),
    Row("raw and xtekct", beside("a.npy", "other.xtekct", "[XTekCT]\nVoxelSizeX=0.25\nVoxelSizeY=0.5\nVoxelSizeZ=2\n"), VALUES, (2, 0.5, 0.25), "millimeter", (), "taken from other.xtekct"),
    Row("raw and pcr", beside("a.npy", "a.pcr", "[Geometry]\nVoxelSizeRec=0.00499\n"), VALUES, (0.00499,) * 3, "millimeter", (), "taken from a.pcr"),
    Row("decimal comma", beside("a.npy", "a.pcr", "[Geometry]\r\nVoxelSizeRec=0,005\r\n"), VALUES, (0.005,) * 3, "millimeter"),
    Row("skyscan log", in_folder(slices("rec{:04}.bmp", lambda p, v, k: p.write_bytes(bmp(v)), BYTES), lambda f: (f / "rec.log").write_text(
        "[Acquisition]\nCamera Pixel Size (um)=9\nImage Pixel Size (um)=3\n[Reconstruction]\nPixel Size (um)=2.25\nSection to Section Step=2\n")),
        BYTES, (4.5, 2.25, 2.25), "micrometer", (), "taken from rec.log"),
    Row("log over tags", in_folder(slices("rec{:04}.tif", lambda p, v, k: tifffile.imwrite(p, v, resolution=(300, 299), resolutionunit="INCH", metadata=None)),
        lambda f: (f / "rec.log").write_text("Image Pixel Size (um)=3\n")), VALUES, (3, 3, 3), "micrometer", (), "taken from rec.log"),
    Row("another log", beside("a.npy", "a.log", "all went well\nspeed=9\n"), VALUES, (), "", (), "no voxel length was found"),
    Row("sidecars that contradict", in_folder(beside("a.npy", "b.pcr", "VoxelSizeRec=0.1\n"), lambda f: (f / "c.pcr").write_text("VoxelSizeRec=0.2\n"), of="a.npy"),
        VALUES, (), "", (), "contradict each other (b.pcr: 0.1 millimeter, c.pcr: 0.2 millimeter)"),
    # Folders
    Row(
        "tif and tiff are one stack",
        slices("s_{:03}", lambda p, v, k: tifffile.imwrite(f"{p}.{('tif', 'tiff', 'TIF')[k % 3]}", v, metadata=None)),
        VALUES,
    ),
    Row(
        "tif and tiff of one number",
        in_folder(*(lambda f, s=s: tifffile.imwrite(f / f"a1.{s}", VALUES[0]) for s in ("tif", "tiff"))),
        sentence="holds slice 1 twice",
    ),
]  # fmt: skip


def two_images(path: Path) -> None:
    """Write an OME-TIFF of an overview and a scan."""
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(BYTES[0, :3, :4], metadata={"axes": "YX", "Name": "overview"})
        sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2}
        writer.write(VALUES, metadata={"axes": "ZYX", "Name": "scan", **sizes})


def scan_turned(folder: Path) -> str:
    """Write a scan whose slices are stacked against y."""
    for k, layer in enumerate(VALUES):
        place = [0, 2.5 * k, 0]
        dicom(
            folder / f"{9 - k}.dcm",
            layer,
            k,
            ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
            ImagePositionPatient=place,
        )
    return ""


def shipped(folder: Path, name: str) -> str:
    """Copy a file that pydicom ships."""
    (folder / name).write_bytes((SHIPPED / name).read_bytes())
    return name


def big_nifti(path: Path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_shape(SIGNED.shape[::-1])
    header.set_data_dtype(np.dtype(">i2"))
    header.set_zooms((0.5, 0.75, 2))
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.write_bytes(header.binaryblock + bytes(4) + SIGNED.astype(">i2").tobytes())


def one_of_a_set(path: Path) -> None:
    """Write one of three files of an OME-TIFF."""
    data = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(3)
    )
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="9" SizeY="7" SizeZ="3" '
        f'SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )
    tifffile.imwrite(path, VALUES[0], description=xml, metadata=None)


def colour_nifti(path: Path) -> None:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), kind), np.eye(4)), path)


def two(file: h5py.File) -> None:
    file["one"], file["other/stack"] = VALUES, VALUES + 1


def partly(file: h5py.File) -> None:
    array = file.create_dataset("v", VALUES.shape, "u2", chunks=(2, 7, 9), fillvalue=7, compression="gzip")
    array[:2] = VALUES[:2]


def linked(file: h5py.File) -> None:
    file["deep/v"] = VALUES
    file["link"] = h5py.SoftLink("/deep/v")


def external(file: h5py.File) -> None:
    file["out"] = h5py.ExternalLink("/etc/other.h5", "/v")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(VALUES.shape, "u2")
    layout[...] = h5py.VirtualSource("other.h5", "v", VALUES.shape)
    file.create_virtual_dataset("v", layout)


def nexus(file: h5py.File) -> None:
    file.attrs["default"] = "entry"
    entry = file.create_group("entry")
    entry.attrs["default"] = "scan"
    place = entry.create_group("scan")
    place.attrs.update(signal="counts", axes=["z", "y", "x"])
    place["counts"], place["dark"] = VALUES, VALUES
    for name, step, first, unit in (("z", 2, 10, "mm"), ("y", 0.5, 0, "mm"), ("x", 250, 0, "um")):
        place[name] = first + step * np.arange(VALUES.shape["zyx".index(name)])
        place[name].attrs["units"] = unit


def zipped(path: Path, data: bytes, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names or ("rock.npy",):
            archive.writestr(name, data)


def tiffed(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values)
    return file.getvalue()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
def test_a_file_gives_its_voxels_or_a_sentence(tmp_path, row):
    url = str(tmp_path / row.make(tmp_path))
    if row.values is None:
        with pytest.raises((InputRefused, IntegrityFailure), match=row.sentence) as refused:
            ingest_images(url, str(tmp_path / "out.zarr"))
        assert len(str(refused.value).splitlines()) == 1
        assert not (tmp_path / "out.zarr").exists()
        return
    stack = find_stack(url, HERE)
    expected = row.values.astype("u1") if row.values.dtype == bool else row.values
    found = read_block(stack, slab(stack, 0, stack.shape[stack.slow_axis]), HERE)
    assert found.astype(expected.dtype).tolist() == expected.tolist()
    said = stack.voxels
    assert said.length == tuple(float(f"{x:.12g}") for x in said.length)
    assert (said.length, said.unit) == (pytest.approx(row.length), row.unit)
    assert said.origin == pytest.approx(row.origin, abs=1e-6)
    assert stack.kept == dict(row.kept)
    notes = ingest_images(url, str(tmp_path / "out.zarr"), run=Run(dry_run=True))["notes"]
    assert any("voxel length" in note for note in notes)
    assert any(row.sentence in note for note in notes), notes


STORED = (
    "dicom sorted by place",
    "nifti gz",
    "nifti pair",
    "hdf5 in chunks",
    "hdf5 exchange",
    "npz compressed",
    "bmp",
    "jpeg",
    "tiff in zip",
)
FULL = (
    "dicom rescaled",
    "nifti gz",
    "nifti mirrored",
    "hdf5 gzip, shuffle, checksum",
    "nexus default and axes",
    "npz fortran, compressed",
)


@pytest.mark.parametrize("row", [row for row in TABLE if row.id in FULL], ids=lambda row: row.id)
def test_a_volume_holds_what_the_table_says(tmp_path, row):
    url, volume = str(tmp_path / row.make(tmp_path)), str(tmp_path / "out.zarr")
    ingest_images(url, volume)
    array = zarr.open_array(volume, path="attenuation", mode="r")
    stored = dict(array.attrs)
    assert array[...].tolist() == row.values.tolist()
    assert stored["voxel_length"] == pytest.approx(list(row.length or (1, 1, 1)))
    assert stored["voxel_unit"] == row.unit
    assert stored["voxel_origin"] == pytest.approx(list(row.origin or (0, 0, 0)))
    assert {key: value for key, value in stored.items() if key.startswith("rescale")} == dict(row.kept)
    assert ingest_images(url, volume)["notes"] == ["was done already"]


def test_one_of_several_images_is_chosen_by_its_number(tmp_path):
    two_images(tmp_path / "a.ome.tif")
    overview, scan = (find_stack(str(tmp_path / "a.ome.tif"), HERE, image=number) for number in (0, 1))
    assert read_block(overview, slab(overview, 0, 1), HERE).tolist() == BYTES[:1, :3, :4].tolist()
    assert read_block(scan, slab(scan, 0, 6), HERE).tolist() == VALUES.tolist()
    assert (overview.voxels.length, scan.voxels.length) == ((), (2, 0.5, 0.5))
    with pytest.raises(InputRefused, match="holds 2 images, counted from 0; there is no image 2"):
        find_stack(str(tmp_path / "a.ome.tif"), HERE, image=2)
    ingest_images(str(tmp_path / "a.ome.tif"), str(tmp_path / "a.zarr"), Image(image=1))
    assert zarr.open_array(tmp_path / "a.zarr", path="attenuation", mode="r")[...].tolist() == VALUES.tolist()
    np.save(tmp_path / "a.npy", VALUES)
    with pytest.raises(InputRefused, match=r"is a \.npy file, which holds one image; leave out --image 1"):
        find_stack(str(tmp_path / "a.npy"), HERE, image=1)


def test_a_request_without_an_image_is_written_as_before():
    assert "image" not in Image().model_dump()
    assert Image(image=0).model_dump()["image"] == 0


def test_the_rows_of_the_table_are_found_by_name():
    assert set(SUFFIXES) == {row.name for row in FORMATS}
    assert len({row.id for row in TABLE}) == len(TABLE) >= 80
    assert len({what for what, _, _ in NOT_READ}) == len(NOT_READ)


def test_what_is_known_and_not_read_is_named_with_the_formats_that_are(tmp_path):
    for number, (what, magic, suffixes) in enumerate(NOT_READ):
        names = [f"a{number}{suffix}" for suffix in suffixes] or [f"a{number}"]
        for name in names:
            (tmp_path / name).write_bytes((magic[0] if magic else b"") + bytes(2000))
            with pytest.raises(
                InputRefused, match=r"which is not read; save it as one of DICOM, TIFF, .* raw binary"
            ) as no:
                find_stack(str(tmp_path / name), HERE)
            assert what in str(no.value) or not magic


@pytest.mark.parametrize("row", [row for row in TABLE if row.id in STORED], ids=lambda row: row.id)
def test_the_source_of_a_publish_is_taken_for_images(tmp_path, row):
    assert is_images(str(tmp_path / row.make(tmp_path)), Image(), HERE)


def test_a_publish_of_what_is_not_read_names_it(tmp_path):
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE" + bytes(4000))
    with pytest.raises(InputRefused, match="is a Zeiss CZI file, which is not read"):
        is_images(str(tmp_path / "a.czi"), Image(), HERE)


@pytest.mark.parametrize("name", ["a.sgy.gz", "a.zip", "a.segy.bz2"])
def test_an_archive_is_left_to_those_who_look_into_it(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1f\x8b" + bytes(4000))
    assert not is_images(str(tmp_path / name), Image(), HERE)


def test_raw_voxels_that_begin_like_something_else_are_read_where_their_layout_is_given(tmp_path):
    data = b"PK\3\4" + bytes(23)
    (tmp_path / "a.raw").write_bytes(data)
    stack = find_stack(str(tmp_path / "a.raw"), HERE, Raw(dtype="uint8", shape=[3, 3, 3]))
    assert read_block(stack, slab(stack, 0, 3), HERE).tobytes() == data


@pytest.mark.parametrize("row", [row for row in FORMATS if row.library], ids=lambda row: row.name)
def test_without_its_library_a_format_is_refused_with_the_command_that_installs_it(
    tmp_path, monkeypatch, row
):
    made = {"pydicom": scan, "nibabel": nifti(VALUES), "h5py": h5(lambda f: two(f))}[row.library](tmp_path)
    monkeypatch.setitem(sys.modules, row.library, None)
    monkeypatch.delitem(sys.modules, f"tasks.volume.images.{row.describe[0]}", raising=False)
    with pytest.raises(InputRefused, match=f"{row.name} file, which is read with {row.library}; ") as refused:
        find_stack(str(tmp_path / made), HERE)
    assert refused.value.sentence.endswith(f"pip install -e '{ROOT}[imaging]'")


def test_a_library_is_loaded_only_when_its_format_is_met(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    code = (
        "import sys; from tasks.ingest_images import ingest_images; ingest_images(*sys.argv[1:]); "
        "print([name for name in ('h5py', 'nibabel', 'pydicom', 'tifffile') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.npy"), str(tmp_path / "a.zarr")],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("row", [row for row in TABLE if row.id in STORED], ids=lambda row: row.id)
def test_the_same_voxels_come_from_an_object_store(tmp_path, row):
    made = row.make(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), f"/formats/{tmp_path.name}", recursive=True)
    try:
        stack = find_stack(f"memory://formats/{tmp_path.name}/{made}".rstrip("/"), HERE)
        for first, count in ((0, 4), (4, 2), (3, 1)):
            assert (
                read_block(stack, slab(stack, first, count), HERE).tolist()
                == row.values[first : first + count].tolist()
            )
    finally:
        memory.rm("/formats", recursive=True)


def mutated(tmp_path: Path, row: Row, turns: int) -> None:
    """Read files of which a few bytes are others, or whose end is missing: either they are refused, or they are read."""
    made = row.make(tmp_path)
    rng = np.random.default_rng(len(row.id))
    path = min(path for path in tmp_path.iterdir() if path.is_file())
    whole = path.read_bytes()
    for turn in range(turns):
        data = bytearray(whole)
        for at in rng.integers(0, min(len(data), 700 if turn % 2 else len(data)), 1 + turn % 4):
            data[at] = (0, 255, 127, rng.integers(256))[turn % 4]
        path.write_bytes(data[: len(data) - (turn % 5 == 4) * int(rng.integers(len(data)))])
        with suppress(InputRefused, IntegrityFailure):
            stack = find_stack(str(tmp_path / made), HERE)
            if stack.reading_bytes() + int(np.prod(stack.shape)) < 64 << 20:
                read_block(stack, slab(stack, 0, stack.shape[stack.slow_axis]), HERE)


READ = [row for row in TABLE if row.values is not None]


@pytest.mark.parametrize("row", READ[::4], ids=lambda row: row.id)
def test_a_mutated_file_ends_in_a_sentence_or_in_voxels(tmp_path, row):
    mutated(tmp_path, row, 8)


@pytest.mark.slow
@pytest.mark.parametrize("row", READ, ids=lambda row: row.id)
def test_many_mutated_files_end_in_a_sentence_or_in_voxels(tmp_path, row):
    mutated(tmp_path, row, 15)
