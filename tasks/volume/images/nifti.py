"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz, .hdr with .img): nibabel reads the header, the voxels lie behind it."""

import math
import zlib
from dataclasses import replace
from typing import Any

import nibabel
import numpy as np

from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import Slices, Voxels, refuse_colour
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.raw_voxels import plain
from tasks.volume.images.text_headed import beside, listed_as
from tasks.volume.images.text_header import shown, timed
from tasks.volume.limits import HEADER_BYTES
from tasks.volume.outcomes import InputRefused

_UNITS = {1: "meter", 2: "millimeter", 3: "micrometer"}  # xyzt_units, its lowest three bits
_TIMES = {8: "s", 16: "ms", 24: "µs"}  # xyzt_units, its next three bits
_COLOURS = {128: 3, 2304: 4}  # datatype codes of RGB24 and RGBA32
_SIZES = {348: nibabel.Nifti1Header, 540: nibabel.Nifti2Header}


def describe(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slices of a NIfTI file, and the file that holds them: the .img beside a .hdr."""
    source = opened.source
    packed = source.read(0, min(source.size, HEADER_BYTES))
    stream = packed.startswith(b"\x1f\x8b")
    try:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, 540) if stream else packed[:540]
        kind, order = _kind(head)
        # nibabel sets its own log going where a header is odd; what is odd is looked at here.
        header = kind(head[: kind.sizeof_hdr], order, check=False)
        dtype = np.dtype(header.get_data_dtype())
    except Exception as error:  # nibabel and zlib raise what their arithmetic does
        if isinstance(error, MemoryError):
            raise
        raise InputRefused(
            f"{source.url} is not a NIfTI file that can be read: {shown(str(error))}"
        ) from None
    code = int(header["datatype"])
    if code in _COLOURS:
        refuse_colour(source.url, _COLOURS[code])
    shape, planes = _shape(header, source.url)
    if not math.isfinite(float(header["vox_offset"])) or not 0 <= float(header["vox_offset"]) < 1 << 40:
        raise InputRefused(f"{source.url} states no valid offset of its voxels; it is damaged")
    offset = int(header["vox_offset"])
    voxels, kept = _voxels(header), _rescaling(header)
    if not planes and shape[0] > max(1, int(header["dim"][3])):
        note = "NIfTI's fourth or fifth axis was taken as its slices, because it has no third"
        voxels = replace(voxels, notes=(*voxels.notes, note))
    # Bits 3 to 5 of xyzt_units are the unit of what lies along the fourth axis; frequencies are among them.
    step = float(header["pixdim"][4]), _TIMES.get(int(header["xyzt_units"]) & 56, "")
    if bytes(header["magic"].tobytes())[:3] in (b"ni1", b"ni2"):
        name = source.url.rpartition("/")[2]
        data = beside(source, f"{name.rpartition('.')[0]}.img", opened.options)
        slices = plain(data, dtype, shape, offset, voxels=voxels, exact=False)
        return listed_as(data), timed(_with(slices, kept, planes), *step)
    offset = max(offset, kind.sizeof_hdr + 4)
    if stream:
        slices = plain(source, dtype, shape, offset, voxels=voxels, stream=0)
    else:
        slices = plain(source, dtype, shape, offset, voxels=voxels)
    return opened.file, timed(_with(slices, kept, planes), *step)


def _kind(head: bytes) -> tuple[Any, str]:
    """Return the class of the header, and its byte order, by the size that it begins with."""
    for order in "<>":
        size = int.from_bytes(head[:4], "little" if order == "<" else "big")
        if size in _SIZES and len(head) >= size:
            return _SIZES[size], order
    raise ValueError("its header does not begin with 348 or 540")


def _shape(header: Any, where: str) -> tuple[tuple[int, ...], tuple[tuple[str, int], ...]]:
    """Return extents z, y, x, with all times and channels along z, and the axes of successive slices.

    The fourth axis of NIfTI is time, the fifth that of several values per voxel.
    """
    dims = [int(n) for n in header["dim"]]
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise InputRefused(f"{where} says it has the extents {dims}; it is damaged")
    x, y, z, times, channels, *more = [*dims[1 : dims[0] + 1], *[1] * 7][:7]
    if max(more) > 1:
        raise InputRefused(f"{where} has {dims[0]} axes ({dims[1 : dims[0] + 1]}); save a single image")
    planes = (("c", channels), ("t", times), ("z", z))
    # Where only one is above 1 it is the depth.
    return (channels * times * z, y, x), planes if (channels > 1) + (times > 1) + (z > 1) > 1 else ()


def _voxels(header: Any) -> Voxels:
    """Return voxel lengths, and the origin if the voxel axes are parallel to the axes of space."""
    unit = _UNITS.get(int(header["xyzt_units"]) & 7, "")
    length = tuple(abs(float(x)) for x in header["pixdim"][1:4])[::-1]
    if not all(math.isfinite(x) and x > 0 for x in length):
        return Voxels(notes=("NIfTI's pixdim gives no lengths",))
    length = tuple(round(x, 9) if x > 1e-3 else x for x in length)
    notes = [] if unit else ["NIfTI's xyzt_units gives no unit of the lengths"]
    origin: tuple[float, ...] = ()
    if int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0:
        try:
            affine = np.asarray(header.get_best_affine(), np.float64)
        except Exception:  # a quaternion that is none
            affine = np.full((4, 4), np.nan)
        straight = np.allclose(affine[:3, :3], np.diag(np.diag(affine)[:3]), rtol=0, atol=1e-4 * max(length))
        if straight and (np.diag(affine)[:3] > 0).all() and np.isfinite(affine).all():
            origin = tuple(float(x) for x in affine[:3, 3][::-1])
        else:
            notes.append(
                "NIfTI's axes are turned or mirrored; the voxels stay in the order of the file, and its origin was not "
                "taken"
            )
        steps = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
        if np.isfinite(steps).all() and not np.allclose(steps, length, rtol=1e-3, atol=0):
            notes.append(
                f"NIfTI's sform says voxels of {' x '.join(f'{x:g}' for x in steps)}; the lengths of its pixdim were "
                "taken"
            )
    return Voxels(length, unit, origin, tuple(notes), "NIfTI's pixdim")


def _rescaling(header: Any) -> dict[str, Any]:
    """Return slope and intercept from stored to measured values, as attributes; the voxels stay unchanged."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope) or not math.isfinite(inter) or slope == 0 or (slope, inter) == (1, 0):
        return {}
    return {"rescale_slope": slope, "rescale_intercept": inter}


def _with(slices: Slices, kept: dict[str, Any], planes: tuple[tuple[str, int], ...]) -> Slices:
    if not planes:
        return replace(slices, kept=kept)
    return replace(slices, kept=kept, planes=planes, count=dict(planes)["z"])
