"""NRRD and MetaImage (.mhd, .mha): a header of text before the voxels, or in a file beside them."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import METERS, Slices, Voxels, refuse_colour, unit_of
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.raw_voxels import plain
from tasks.volume.images.text_header import (
    in_brackets,
    meta_fields,
    nrrd_fields,
    number,
    numbers,
    place,
    shown,
    timed,
)
from tasks.volume.limits import HEADER_BYTES
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Source
from tasks.volume.store.source_options import of_sources

_NRRD_TYPES = {
    "int8": ("signed char", "int8", "int8_t"),
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "int64": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "uint64": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "float32": ("float",),
    "float64": ("double",),
}
_NRRD_SPACE = ("domain", "space", "???", "none")
_META_TYPES = {
    "CHAR": "int8",
    "UCHAR": "uint8",
    "SHORT": "int16",
    "USHORT": "uint16",
    "INT": "int32",
    "UINT": "uint32",
    "LONG": "int32",
    "ULONG": "uint32",
    "LONG_LONG": "int64",
    "ULONG_LONG": "uint64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
}


_TURNED = "{}'s axes are turned or mirrored; the voxels stay in the order of the file"


def describe_nrrd(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slices of an NRRD file, and the file that holds them: another one if the header is detached."""
    source, options = opened.source, opened.options
    head = source.read(0, min(source.size, HEADER_BYTES))
    fields, behind = nrrd_fields(head, source.url)
    encoding = fields.get("encoding", "raw").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputRefused(
            f"the voxels of {source.url} are encoded as {shown(encoding)}, which is not read; save it as raw or gzip"
        )
    name = fields.get("datafile", "")
    data = beside(source, name, options) if name else source
    offset = 0 if name else behind if behind >= 0 else source.size
    wanted = " ".join(fields.get("type", "").lower().split())
    dtype = next((dtype for dtype, names in _NRRD_TYPES.items() if wanted in names), "")
    shape = numbers(fields.get("sizes", ""), int, source.url)[::-1]
    if not dtype or not shape:
        raise InputRefused(
            f"{source.url} is an NRRD file of type {_shown(fields, 'type')} and sizes {_shown(fields, 'sizes')}; "
            "wanted whole numbers or floats"
        )
    skip = number(fields.get("byteskip", "0"), source.url)
    if number(fields.get("lineskip", "0"), source.url):
        raise InputRefused(f"{source.url} skips lines before its voxels; write a byte skip instead")
    big = fields.get("endian", "little").lower() == "big"
    numpy = np.dtype(dtype).newbyteorder(">" if big else "<")
    axes = len(shape)
    shape, planes = _nrrd_planes(fields, shape, source.url)
    voxels = replace(_nrrd_voxels(fields, source, axes - bool(planes)), taken="the NRRD header")
    if encoding != "raw":
        slices = plain(data, numpy, shape, skip, voxels=voxels, stream=offset)
    else:
        offset = data.size - math.prod(shape) * numpy.itemsize if skip == -1 else offset + skip
        slices = plain(data, numpy, shape, offset, voxels=voxels)
    if planes:
        slices = replace(slices, planes=planes, count=planes[1][1])
        slices = timed(slices, *_nrrd_times(fields, axes, source.url))
    return listed_as(data), slices


def _nrrd_planes(
    fields: dict[str, str], shape: tuple[int, ...], where: str
) -> tuple[tuple[int, ...], tuple[tuple[str, int], ...]]:
    """Return the extents with all slices on one axis, and the axes along which these follow each other, if several.

    Raises:
        InputRefused: Each voxel has several values, or the kinds of the axes are no image's.
    """
    kinds = fields.get("kinds", "").lower().split()[::-1]
    of_space = [kind in _NRRD_SPACE for kind in kinds]
    if len(kinds) != len(shape) or all(of_space):
        return shape, ()
    while len(shape) > 3 and shape[0] == 1:
        shape, kinds, of_space = shape[1:], kinds[1:], of_space[1:]
    if not of_space[-1] and shape[-1] > 1:
        refuse_colour(where, shape[-1])
    if not all(of_space[1:]) or len(shape) not in (3, 4):
        raise InputRefused(
            f"{where} has axes of the kinds {_shown(fields, 'kinds')} and sizes {_shown(fields, 'sizes')}; wanted "
            "those of space first, and after them times or a list at most; save one image alone"
        )
    if of_space[0] or shape[0] == 1:
        return shape, ()
    depth = shape[1] if len(shape) == 4 else 1
    return (shape[0] * depth, *shape[-2:]), (("t" if kinds[0] == "time" else "c", shape[0]), ("z", depth))


def _nrrd_times(fields: dict[str, str], axes: int, where: str) -> tuple[float, str]:
    """Return the distance of times, the last axis, and its unit; 0 if the header has none."""
    steps = numbers(fields.get("spacings", ""), float, where)
    units = in_brackets(fields.get("units", ""), '"', '"')
    return steps[-1] if len(steps) == axes else 0.0, units[-1] if len(units) == axes else ""


def describe_meta(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slices of a MetaImage, and the file that holds them, which is another unless it is LOCAL."""
    source, options = opened.source, opened.options
    head = source.read(0, min(source.size, HEADER_BYTES))
    fields, behind = meta_fields(head, source.url)
    name = fields["elementdatafile"]
    data = source if name.upper() == "LOCAL" else beside(source, name, options)
    if fields.get("elementnumberofchannels", "1") != "1":
        raise InputRefused(
            f"{source.url} holds {shown(fields['elementnumberofchannels'])} values per voxel; split them first"
        )
    dtype = _META_TYPES.get(fields.get("elementtype", "").upper().removeprefix("MET_"), "")
    shape = numbers(fields.get("dimsize", ""), int, source.url)[::-1]
    if not dtype or not shape:
        raise InputRefused(
            f"{source.url} is a MetaImage of type {_shown(fields, 'elementtype')} and size {_shown(fields, 'dimsize')}"
            "; wanted whole numbers or floats"
        )
    big = fields.get("binarydatabyteordermsb", fields.get("elementbyteordermsb", "False")).lower() == "true"
    numpy = np.dtype(dtype).newbyteorder(">" if big else "<")
    skip = number(fields.get("headersize", "0"), source.url)
    offset = (
        data.size - math.prod(shape) * numpy.itemsize
        if skip == -1
        else skip + (behind if data is source else 0)
    )
    length, origin = (
        numbers(next((fields[name] for name in names if name in fields), ""), float, source.url)[::-1]
        for names in (("elementspacing", "elementsize"), ("offset", "position", "origin"))
    )
    unit = unit_of(fields.get("distanceunits", "").removeprefix("MET_"))
    voxels = replace(place(length, unit, origin), taken="MetaImage's ElementSpacing")
    turned = next(
        (fields[name] for name in ("transformmatrix", "rotation", "orientation") if name in fields), ""
    )
    matrix = numbers(turned, float, source.url)
    if len(matrix) == len(shape) ** 2 and not np.allclose(matrix, np.eye(len(shape)).ravel()):
        voxels = replace(voxels, notes=(_TURNED.format("MetaImage"),))
    if fields.get("compresseddata", "False").lower() == "true":
        begin = behind if data is source else max(skip, 0)
        return listed_as(data), plain(data, numpy, shape, 0, voxels=voxels, stream=begin)
    return listed_as(data), plain(data, numpy, shape, offset, voxels=voxels)


def beside(source: Source, name: str, options: StorageOptions) -> Source:
    """Return the data file of a detached header: one file, in the header's folder."""
    # A header that led elsewhere would let a triggered run read what its operator did not allow.
    if name.upper().startswith("LIST") or "%" in name or _is_numbered(name):
        raise InputRefused(
            f"{source.url} spreads its voxels over several files; name those files instead, with their dtype and shape"
        )
    if not name.isprintable() or not 0 < len(name.encode()) <= 255:  # as disks have it
        raise InputRefused(f"{source.url} names no file as its data; the header is damaged, or was cut off")
    if "/" in name or "\\" in name or name.startswith("."):
        raise InputRefused(
            f"{source.url} names {name} as its data file, which lies elsewhere; put both into one folder, and write "
            "the name without a folder into the header"
        )
    return Source(f"{source.url.rpartition('/')[0]}/{name}", of_sources(options))


def listed_as(source: Source) -> VoxelFile:
    """Return a file that was opened as one that was found."""
    return VoxelFile(source.url, source.size, source.identity)


def _is_numbered(name: str) -> bool:
    """Return whether a data file is named as a pattern and the numbers that it stands for."""
    words = name.split(" ")[1:]
    return any(word.isdecimal() and after[:1].isdecimal() for word, after in itertools.pairwise(words))


def _shown(fields: dict[str, str], name: str) -> str:
    return f"'{shown(fields[name])}'" if name in fields else "none"


def _nrrd_voxels(fields: dict[str, str], source: Source, of_space: int) -> Voxels:
    """Return voxel lengths and origin if the first `of_space` voxel axes are parallel to the axes of space."""
    units = [
        unit_of(text)
        for text in in_brackets(fields.get("spaceunits", fields.get("units", "")), '"', '"')[:of_space]
    ]
    # One unit for all: of several, that of the first axis, into which the others are converted.
    unit = units[0] if units and all(units) else ""
    factors = [METERS[own] / METERS[unit] if own != unit else 1.0 for own in units] if unit else []
    factors = factors if len(factors) == 3 else [1.0] * 3

    def rounded(lengths: Iterable[float]) -> tuple[float, ...]:
        """Return lengths without the last digits that a conversion gets wrong."""
        return tuple(lengths if factors == [1.0] * 3 else (float(f"{x:.12g}") for x in lengths))

    directions = in_brackets(fields.get("spacedirections", ""), "(", ")")
    vectors = (
        [numbers(v.replace(",", " "), float, source.url) for v in directions] if len(directions) == 3 else []
    )
    if vectors and all(len(v) == 3 for v in vectors):
        matrix = np.array(vectors) * factors
        with np.errstate(all="ignore"):
            length = tuple(float(x) for x in np.linalg.norm(matrix, axis=1)[::-1])
        straight = np.array_equal(matrix, np.diag(np.diag(matrix))) and (np.diag(matrix) > 0).all()
        origins = in_brackets(fields.get("spaceorigin", ""), "(", ")")
        known = origins and straight
        origin = numbers(origins[0].replace(",", " "), float, source.url) if known else ()
        found = place(
            rounded(length), unit, rounded(x * f for x, f in zip(origin, factors, strict=False))[::-1]
        )
        left_out = ", and its origin was not taken" if origins else ""
        return found if straight else replace(found, notes=(_TURNED.format("NRRD") + left_out,))
    spacings = numbers(fields.get("spacings", ""), float, source.url)[: min(3, of_space)]
    return place(rounded(x * f for x, f in zip(spacings, factors, strict=False))[::-1], unit, ())
