""".npz: arrays of NumPy in a ZIP archive, each as it lies in memory or as one stream."""

import struct
import zipfile
import zlib
from typing import IO, cast

from tasks.volume.images.formats import OpenFile
from tasks.volume.images.header import Slices
from tasks.volume.images.listing import VoxelFile
from tasks.volume.images.ranged import Ranged
from tasks.volume.images.raw_voxels import npy_header, plain
from tasks.volume.images.text_header import shown
from tasks.volume.limits import HEADER_BYTES
from tasks.volume.outcomes import InputRefused, Outcome

_SHOWN = 5


def describe(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slices of one array in the archive: the one that is named, or the only one of two or three axes.

    Raises:
        InputRefused: The file has no such array, or several.
    """
    source = opened.source
    try:
        with zipfile.ZipFile(cast("IO[bytes]", Ranged(source))) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    except Outcome:
        raise
    except Exception as error:  # zipfile raises what its arithmetic does
        raise InputRefused(f"{source.url} is not a .npz file that can be read: {shown(str(error))}") from None
    wanted = opened.part.strip("/")
    if wanted and wanted not in members:
        raise InputRefused(f"{source.url} holds no array {wanted}; it holds {_some(list(members))}")
    names = [wanted] if wanted else list(members)
    if len(names) != 1:
        raise InputRefused(
            f"{source.url} holds {len(names)} arrays ({_some(names)}); name one, such as {source.url}:/{names[0]}"
            if names
            else f"{source.url} holds no array"
        )
    info = members[names[0]]
    where = f"{source.url}:/{names[0]}"
    local = source.read(info.header_offset, min(30, max(0, source.size - info.header_offset)))
    if len(local) < 30 or local[:4] != b"PK\3\4" or info.flag_bits & 1 or info.compress_type not in (0, 8):
        raise InputRefused(
            f"{where} is encrypted, damaged, or packed by method {info.compress_type}; save it with numpy.savez"
        )
    begin = info.header_offset + 30 + sum(struct.unpack("<HH", local[26:30]))
    end = begin + info.compress_size
    if end > source.size:
        raise InputRefused(f"{where} extends beyond the end of its file; it is cut off")
    packed = source.read(begin, min(HEADER_BYTES, info.compress_size))
    if info.compress_type == 0:
        shape, fortran, dtype, offset = npy_header(packed, where)
        slices = plain(source, dtype, shape, begin + offset, fortran=fortran, exact=False)
        if begin + offset + _bytes(slices) != end:
            raise InputRefused(
                f"{where} has {info.compress_size:,} bytes, but its header states another size; it is damaged"
            )
        return _without_part(opened), slices
    try:
        head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, HEADER_BYTES)
    except zlib.error as error:
        raise InputRefused(f"{where} does not decode: {error}; it is damaged") from None
    shape, fortran, dtype, offset = npy_header(head, where)
    more = {"end": end, "wbits": -zlib.MAX_WBITS}
    return _without_part(opened), plain(
        source, dtype, shape, offset, fortran=fortran, stream=begin, more=more
    )


def _bytes(slices: Slices) -> int:
    import numpy as np

    return slices.count * slices.shape[0] * slices.shape[1] * np.dtype(slices.dtype).itemsize


def _without_part(opened: OpenFile) -> VoxelFile:
    return VoxelFile(opened.file.url, opened.file.bytes, opened.file.identity)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
