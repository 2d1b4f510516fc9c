"""HDF5 and NeXus: h5py gives the place of an array's voxels in the file; they are read by ranges and decoded here.

Other files are never read: external links, external storage and virtual arrays are refused with their names.
"""

import math
import threading
from typing import Any

import h5py
import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.blocks import on_chunks
from tasks.volume.images.formats import OpenFile
from tasks.volume.images.hdf5_filters import NAMES, decoded, known
from tasks.volume.images.hdf5_paths import array_at, only_array, voxels_of
from tasks.volume.images.header import Slices, kept_dtype
from tasks.volume.images.listing import VoxelFile, opened_once
from tasks.volume.images.ranged import Ranged
from tasks.volume.images.raw_voxels import plain
from tasks.volume.limits import DIMENSIONS
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Outcome
from tasks.volume.store.objects import Source

_MOST_GROWTH = 2  # of a chunk whose coding does not compress


def describe(opened: OpenFile) -> tuple[VoxelFile, Slices]:
    """Return the slices of an array in an HDF5 file: the one that is named, or the only one that can be meant."""
    source = opened.source
    file = _File(source)
    try:
        with file.lock:
            return _described(opened, file)
    except (Outcome, MemoryError):
        raise
    except Exception as error:  # h5py raises what its library does
        raise _unreadable(source, error) from None
    finally:
        file.close()


def read_chunked(
    file: VoxelFile, details: dict[str, Any], first: int, out: np.ndarray, options: StorageOptions
) -> None:
    """Fill `out` with slices from number `first` on.

    Raises:
        IntegrityFailure: A chunk cannot be decoded.
    """
    opened = _opened(file, options)
    chunk, lead = tuple(details["chunk"]), tuple(details["lead"])
    extents = (details["count"], *out.shape[1:])
    starts = [range(first // chunk[0] * chunk[0], first + len(out), chunk[0])]
    starts += [range(0, n, c) for n, c in zip(out.shape[1:], chunk[1:], strict=True)]
    corners = [(z, y, x) for z in starts[0] for y in starts[1] for x in starts[2]]

    def fill(corner: tuple[int, int, int]) -> None:
        begin = (max(first, corner[0]), *corner[1:])
        end = [min(c + n, e) for c, n, e in zip(corner, chunk, extents, strict=True)]
        end[0] = min(end[0], first + len(out))
        target = out[begin[0] - first : end[0] - first, begin[1] : end[1], begin[2] : end[2]]
        where = f"the chunk at {corner} of {opened.source.url}:{details['path']}"
        stored = opened.chunk(details["path"], _spread(corner, lead, details["kept_axes"]))
        if stored is None:
            target[...] = details["fill"]
            return
        offset, size, mask = stored
        nbytes = math.prod(chunk) * out.dtype.itemsize
        if size > _MOST_GROWTH * nbytes + 65536 or offset + size > opened.source.size:
            raise IntegrityFailure(
                f"{where} says it has {size:,} bytes, which is impossible; copy the file again"
            )
        data = opened.source.read(offset, size)
        raw = decoded(data, details["filters"], mask, nbytes, out.dtype.itemsize, where)
        values = np.frombuffer(raw, out.dtype.newbyteorder(">") if details["swap"] else out.dtype).reshape(
            chunk
        )
        inside = tuple(slice(b - c, e - c) for b, c, e in zip(begin, corner, end, strict=True))
        target[...] = values[inside]

    on_chunks(fill, corners)


class _File:
    """An HDF5 file opened for the metadata of its arrays; for one thread at a time."""

    def __init__(self, source: Source) -> None:
        self.source, self.lock = source, threading.Lock()
        try:
            self.file = h5py.File(Ranged(source), "r")
        except Outcome:
            raise
        except Exception as error:  # as above
            raise _unreadable(source, error) from None
        self._sets: dict[str, Any] = {}

    def close(self) -> None:
        """Close what the library holds."""
        self.file.close()

    def chunk(self, path: str, corner: tuple[int, ...]) -> tuple[int, int, int] | None:
        """Return offset, stored size and filter mask of a chunk; None if it was never written."""
        with self.lock:
            try:
                if path not in self._sets:
                    self._sets[path] = self.file[path].id
                found = self._sets[path].get_chunk_info_by_coord(corner)
            except Outcome:
                raise
            except Exception as error:  # as above
                raise IntegrityFailure(
                    f"the chunk at {corner} of {self.source.url}:{path} is not found: {error}; copy the file again"
                ) from None
        return None if found.byte_offset is None else (found.byte_offset, found.size, found.filter_mask)


@opened_once(4)
def _opened(file: VoxelFile, options: StorageOptions) -> _File:
    return _File(file.open(options))


def _unreadable(source: Source, error: Exception) -> InputRefused:
    inner = error.__cause__ or error.__context__
    if isinstance(inner, InputRefused):
        return inner
    return InputRefused(
        f"{source.url} is not an HDF5 file that can be read: {' '.join(str(error).split())[:200]}"
    )


def _described(opened: OpenFile, file: _File) -> tuple[VoxelFile, Slices]:
    source = opened.source
    path = opened.part or only_array(file.file, source.url)
    array = array_at(file.file, path, source.url)
    where = f"{source.url}:{path}"
    name = kept_dtype(array.dtype, where)
    if array.is_virtual or array.external:
        raise InputRefused(
            f"{where} is kept in other files (a virtual or external array); name the file that holds it"
        )
    if not 2 <= array.ndim <= DIMENSIONS:
        raise InputRefused(f"{where} has the shape {array.shape}; wanted two or three axes")
    axes = list(range(array.ndim))
    # Of more than three axes a last one of 3 or 4 may be colours, which are never taken for x.
    while len(axes) > 3 and array.shape[-1] not in (3, 4) and 1 in (array.shape[a] for a in axes):
        axes.remove(next(a for a in axes if array.shape[a] == 1))
    shape = tuple(int(array.shape[a]) for a in axes)
    shape = (1, *shape) if len(shape) == 2 else shape
    if len(shape) != 3 or min(shape) < 1:
        raise InputRefused(
            f"{where} has the shape {array.shape}; wanted at most three axes longer than 1: export one channel at one "
            "time as an array of its own"
        )
    voxels = voxels_of(array, axes)
    file_of = VoxelFile(opened.file.url, opened.file.bytes, opened.file.identity)
    if array.chunks is None:
        offset = array.id.get_offset()
        if offset is None:
            raise InputRefused(
                f"{where} holds no voxels of its own ({array.nbytes:,} bytes); write it again in chunks"
            )
        return file_of, plain(source, array.dtype, shape, offset, voxels=voxels, exact=False)
    filters = _filters(array, where)
    chunk = tuple(int(array.chunks[a]) for a in axes)
    chunk = (1, *chunk) if len(chunk) == 2 else chunk
    lead = [0] * array.ndim
    details = {
        "path": path,
        "chunk": list(chunk),
        "count": shape[0],
        "lead": lead,
        "kept_axes": axes,
        "filters": filters,
        "swap": array.dtype.itemsize > 1 and not array.dtype.isnative,
        "fill": np.asarray(array.fillvalue).astype(name).item(),
    }
    if math.prod(array.chunks) != math.prod(chunk):
        raise InputRefused(f"{where} has chunks longer than 1 along an axis of length 1; write it again")
    nbytes = math.prod(chunk) * array.dtype.itemsize
    return file_of, Slices(
        "hdf5", shape[0], shape[1:], name, details, _MOST_GROWTH * nbytes + 65536, 3 * nbytes, voxels
    )


def _spread(corner: tuple[int, ...], lead: tuple[int, ...], axes: list[int]) -> tuple[int, ...]:
    """Return a corner along z, y, x as one along all axes of the array, those of 1 too."""
    full = list(lead)
    for axis, value in zip(axes, corner[-len(axes) :], strict=True):
        full[axis] = value
    return tuple(full)


def _filters(array: Any, where: str) -> list[list[int]]:
    """Return the number and first parameter of each filter, in the order of writing."""
    properties = array.id.get_create_plist()
    found = []
    for k in range(properties.get_nfilters()):
        number, _, values, name = properties.get_filter(k)
        if not known(number):
            label = NAMES.get(number) or (name.decode("ascii", "replace") if name else f"filter {number}")
            raise InputRefused(
                f"{where} is coded with {label[:60]}, which is not read; write it again with gzip, such "
                "as by h5repack -f "
                "GZIP=1"
            )
        found.append([number, *(int(v) for v in values[:8])])
    return found
