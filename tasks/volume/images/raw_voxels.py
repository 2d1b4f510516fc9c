"""Voxels that lie in a file as they lie in memory: raw binary, .npy, NRRD and MetaImage (.mhd, .mha).

All four come down to an offset, a type, a byte order and which axis is slow; what differs is how the header is
written. A header whose numbers do not give the size of its file exactly is refused: it is the wrong one. NRRD and
MetaImage are mostly written as one stream of zlib; what that holds shows when its end is read.
"""

import io
import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np

from tasks.parameters import Raw, StorageOptions
from tasks.volume.blocks import on_io
from tasks.volume.images.deflated import SCRATCH_BYTES, Deflated
from tasks.volume.images.header import Slices, Voxels, kept_dtype, unit_of
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.text_header import (
    SHOWN,
    in_brackets,
    meta_fields,
    nrrd_fields,
    number,
    numbers,
    place,
    shown,
)
from tasks.volume.limits import DIMENSIONS, HEADER_BYTES
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Source

REQUEST_BYTES = 16 << 20  # a longer range is asked for in pieces, in parallel

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


def describe_raw(source: Source, raw: Raw) -> Slices:
    """The slices of a file without a header."""
    if len(raw.shape) != 3 or min(raw.shape) < 1 or raw.dtype == "unknown":
        raise InputRefused(
            f"{source.url} has no header that says what it holds; give its dtype and its shape (z, y, x), such as "
            "--dtype uint16 --shape 1000,2048,2048"
        )
    dtype = np.dtype(raw.dtype).newbyteorder(raw.byte_order)
    return _slices(source, dtype, tuple(raw.shape), raw.offset, fortran=raw.order == "F")


def describe_npy(source: Source) -> Slices:
    """The slices of a NumPy file (format versions 1 to 3)."""
    head = io.BytesIO(source.read(0, min(source.size, HEADER_BYTES)))
    try:
        version = np.lib.format.read_magic(head)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(head)
    except Exception as error:  # ast and tokenize raise what they like
        what = " ".join(str(error).split())[: 3 * SHOWN]
        raise InputRefused(f"{source.url} is not a NumPy file that can be read: {what}") from None
    if len(shape) > DIMENSIONS or not all(type(n) is int for n in shape):
        raise InputRefused(f"{source.url} is not a NumPy file that can be read: its shape is none")
    return _slices(source, dtype, shape, head.tell(), fortran=fortran)


def describe_nrrd(source: Source, options: StorageOptions) -> tuple[VoxelFile, Slices]:
    """The slices of an NRRD file, and the file that holds them, which is another where the header is detached."""
    head = source.read(0, min(source.size, HEADER_BYTES))
    fields, behind = nrrd_fields(head, source.url)
    encoding = fields.get("encoding", "raw").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputRefused(
            f"the voxels of {source.url} are encoded as {shown(encoding)}, which is not read; save it as raw or gzip"
        )
    name = fields.get("datafile", "")
    data = _beside(source, name, options) if name else source
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
    voxels = _nrrd_voxels(fields, source)
    if encoding != "raw":
        return _listed(data), _slices(data, numpy, shape, skip, voxels=voxels, stream=offset)
    offset = data.size - math.prod(shape) * numpy.itemsize if skip == -1 else offset + skip
    return _listed(data), _slices(data, numpy, shape, offset, voxels=voxels)


def describe_meta(source: Source, options: StorageOptions) -> tuple[VoxelFile, Slices]:
    """The slices of a MetaImage, and the file that holds them, which is another unless it is LOCAL."""
    head = source.read(0, min(source.size, HEADER_BYTES))
    fields, behind = meta_fields(head, source.url)
    name = fields["elementdatafile"]
    data = source if name.upper() == "LOCAL" else _beside(source, name, options)
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
    voxels = place(length, "", origin)
    if fields.get("compresseddata", "False").lower() == "true":
        begin = behind if data is source else max(skip, 0)
        return _listed(data), _slices(data, numpy, shape, 0, voxels=voxels, stream=begin)
    return _listed(data), _slices(data, numpy, shape, offset, voxels=voxels)


def read_plain(source: Source, details: dict[str, Any], first: int, out: np.ndarray) -> None:
    """Fill `out` with slices (columns, if the file is in Fortran order) from number `first` on.

    Args:
        source: The file that holds the voxels.
        details: As `Slices.details`.
        first: The first one wanted.
        out: C-contiguous, native byte order; the slow axis of the file is its first.
    """
    view = memoryview(cast(Any, out)).cast("B")
    start = details["offset"] + first * (out.nbytes // len(out))
    if "stream" in details:
        _stream(source, details["stream"], details["size"]).read_into(start, view)
    else:
        pieces = [(at, min(REQUEST_BYTES, len(view) - at)) for at in range(0, len(view), REQUEST_BYTES)]
        on_io(lambda piece: source.read_into(start + piece[0], view[piece[0] : piece[0] + piece[1]]), pieces)
    if details["swap"]:
        out.byteswap(inplace=True)
    if out.dtype == bool:  # whatever is not 0 is true; other bytes in a boolean array are undefined behaviour
        np.not_equal(out.view(np.uint8), 0, out=out)


@lru_cache(maxsize=8)
def _stream(source: Source, offset: int, size: int) -> Deflated:
    """The stream of a file, of which each process remembers how far it came."""
    return Deflated(source, offset, size)


def _slices(
    source: Source,
    dtype: np.dtype[Any],
    shape: Sequence[int],
    offset: int,
    *,
    fortran: bool = False,
    voxels: Voxels = Voxels(),
    stream: int | None = None,
) -> Slices:
    """A description, after the numbers were held against the size of the file.

    Where the voxels are a stream that begins at byte `stream`, `offset` counts what it decodes to.
    """
    name = kept_dtype(dtype, source.url)
    shape = (1, *shape) if len(shape) == 2 else tuple(shape)
    if len(shape) != 3 or min(shape) < 1:
        raise InputRefused(
            f"{source.url} holds an array of shape {shape}; wanted two or three axes, none of them empty"
        )
    wanted = offset + math.prod(shape) * dtype.itemsize
    swap = dtype.itemsize > 1 and not dtype.isnative
    if stream is not None:
        _refuse_stream(source, stream, offset, wanted)
        details = {"offset": offset, "swap": swap, "stream": stream, "size": wanted}
        return Slices("plain", shape[0], shape[1:], name, details, scratch_bytes=SCRATCH_BYTES, voxels=voxels)
    if wanted != source.size or offset < 0:
        raise InputRefused(
            f"{source.url} has {source.size:,} bytes, but {shape} voxels of {name} after {offset:,} bytes of header "
            f"make {wanted:,}; the numbers are wrong, or the file is cut off"
        )
    details = {"offset": offset, "swap": swap}
    if fortran:
        return Slices("plain", shape[0], shape[1:], name, details, voxels=voxels, slow_axis=2)
    return Slices("plain", shape[0], shape[1:], name, details, voxels=voxels)


def _beside(source: Source, name: str, options: StorageOptions) -> Source:
    """The data file of a detached header: one file, in the header's folder."""
    # A header that led elsewhere would let a triggered run read what its operator did not allow.
    if name.upper().startswith("LIST") or "%" in name or _is_numbered(name):
        raise InputRefused(
            f"{source.url} spreads its voxels over several files; name those files instead, with their dtype and shape"
        )
    if "/" in name or "\\" in name or name.startswith("."):
        raise InputRefused(
            f"{source.url} names {name} as its data, which lies elsewhere; put both into one folder"
        )
    return Source(f"{source.url.rpartition('/')[0]}/{name}", options)


def _listed(source: Source) -> VoxelFile:
    return VoxelFile(source.url, source.size, source.identity)


def _refuse_stream(source: Source, stream: int, offset: int, size: int) -> None:
    """Return if a stream can be one of so many bytes, as far as its ends tell."""
    if offset < 0:
        raise InputRefused(
            f"{source.url} counts its voxels from the end, which a compressed file cannot; write a byte skip"
        )
    head = source.read(stream, min(2, max(0, source.size - stream)))
    # Nothing shrinks below a thousandth in zlib.
    if head[:1] not in (b"\x1f", b"\x78", b"\x58", b"\x68", b"\x48") or (source.size - stream) * 1100 < size:
        raise InputRefused(
            f"the last {source.size - stream:,} bytes of {source.url} are no stream that {size:,} bytes of voxels come "
            "out of; it is cut off, or the numbers are wrong"
        )


def _is_numbered(name: str) -> bool:
    """Whether a data file is named as a pattern and the numbers that it stands for."""
    words = name.split(" ")[1:]
    return any(one.isdecimal() and after[:1].isdecimal() for one, after in itertools.pairwise(words))


def _shown(fields: dict[str, str], name: str) -> str:
    return f"'{shown(fields[name])}'" if name in fields else "none"


def _nrrd_voxels(fields: dict[str, str], source: Source) -> Voxels:
    """Lengths and origin, where the axes of the voxels are those of the space."""
    units = in_brackets(fields.get("spaceunits", fields.get("units", "")), '"', '"')
    unit = unit_of(units[0]) if units and len(set(units)) == 1 else ""
    directions = in_brackets(fields.get("spacedirections", ""), "(", ")")
    vectors = (
        [numbers(v.replace(",", " "), float, source.url) for v in directions] if len(directions) == 3 else []
    )
    if vectors and all(len(v) == 3 for v in vectors):
        matrix = np.array(vectors)
        with np.errstate(all="ignore"):
            length = tuple(float(x) for x in np.linalg.norm(matrix, axis=1)[::-1])
        straight = np.array_equal(matrix, np.diag(np.diag(matrix))) and (np.diag(matrix) > 0).all()
        origins = in_brackets(fields.get("spaceorigin", ""), "(", ")")
        known = origins and straight
        origin = numbers(origins[0].replace(",", " "), float, source.url)[::-1] if known else ()
        return place(length, unit, origin)
    return place(numbers(fields.get("spacings", ""), float, source.url)[::-1], unit, ())
