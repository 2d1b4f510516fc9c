"""A whole Zarr group of another tool in other chunks: every array with its coordinates and attributes, consolidated.

The result is an export, not a volume, like an OME-Zarr 0.4 group. The target must be empty. A note names the source, so
that the same command continues an interrupted export. The document that makes it a group is written last. Values are
those of the source, bit for bit; Zarr v2 becomes v3 on the way.
"""

import base64
import json
import math
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tasks.volume.arrays.assembly import stored_object, whole_chunk
from tasks.volume.arrays.chunking import refuse_large
from tasks.volume.arrays.codecs import document_bytes, metadata_of
from tasks.volume.arrays.foreign import dims_of, foreign_array, refuse_absurd, spec_as_found
from tasks.volume.arrays.foreign_documents import attributes_of, documents, is_array
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.least_of_array import least_of_array
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec, chunks_by_default, positions, round_up, shards_by_default
from tasks.volume.blocks import Compute, Progress, Region, block_count, on_chunks, on_io, regions
from tasks.volume.export.ome_group import NOTE, refuse_other
from tasks.volume.outcomes import InputRefused, Resumable
from tasks.volume.protocol.plan import digest_of
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

AUTO = "auto"
SMALL_BYTES = 1 << 20  # an array of at most that is one chunk, if chunks are chosen here
BLOCK_BYTES = 64 << 20  # of values read at once; one stored object if that is more
_NAMES = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class Regrouped:
    """A group as it is written.

    Attributes:
        source: The group of another tool.
        arrays: The arrays in their new chunks.
        found: The same arrays as the source has them, by path.
        documents: The zarr.json of each array and group as written, by path.
        as_found: Arrays whose objects are copied as they are, because they hold no plain numbers.
    """

    source: Store
    arrays: list[ArraySpec]
    found: dict[str, ArraySpec]
    documents: dict[str, dict[str, Any]]
    as_found: list[str]

    @property
    def note(self) -> bytes:
        """Return the note that identifies this export."""
        body = {"verb": "regroup", "source": self.source.url, "documents": self.documents}
        return json.dumps({"verb": "regroup", "digest": digest_of(body)}, indent=1).encode()

    @property
    def memory_bytes(self) -> int:
        """Return the most bytes that writing takes: the values of a block, and its objects while they are encoded."""
        blocks = (math.prod(self.block(spec)) * spec.numpy.itemsize for spec in self.arrays)
        return 3 * max([BLOCK_BYTES, *blocks])

    @property
    def least_bytes(self) -> int:
        """Return how many bytes the arrays take at least when they are stored."""
        return sum(least_of_array(self.source, self.found[spec.path]) for spec in self.arrays)

    def block(self, spec: ArraySpec) -> tuple[int, ...]:
        """Return the extents that are read at once: whole objects of the target and, if they fit, of the source."""
        block = list(spec.unit)
        room = BLOCK_BYTES // max(1, spec.numpy.itemsize)
        for target in (self.found[spec.path].unit, spec.shape):
            for axis in reversed(range(len(block))):
                wanted = round_up(max(1, min(target[axis], spec.shape[axis])), spec.unit[axis])
                if wanted > block[axis] and math.prod(block) // block[axis] * wanted <= room:
                    block[axis] = wanted
        return tuple(block)


def regrouped(source: Store, wanted: str, *, local: bool) -> Regrouped:
    """Return what a group becomes.

    Args:
        source: The group.
        wanted: Extents of chunks by dimension, as in "time=64,lat=128"; other dimensions keep theirs. "auto" chooses.
        local: The target is a local disk, where chunks are objects of their own.

    Raises:
        InputRefused: The group is not another tool's, a dimension is not known, or an array cannot be read.
    """
    paths = sorted({key.rpartition("/")[0] for key in source.keys("") if key.rpartition("/")[2] in _NAMES})
    paths = [path for path in paths if ".seismill" not in path.split("/")]
    described = dict(zip(paths, on_io(partial(documents, source), paths), strict=True))
    if "" not in described:
        raise InputRefused(f"{source.url} is no Zarr group; name one, or leave out --group")
    if is_array(described[""]):
        raise InputRefused(f"{source.url} is an array; leave out --group to make copies of it")
    if "seismill" in attributes_of(described[""]):
        raise InputRefused(f"{source.url} is a volume; leave out --group to make copies of its master")
    extents = _extents(wanted)
    arrays, sources, written, as_found, dims = [], {}, {}, [], set()
    for path, document in described.items():
        if not is_array(document):
            written[path] = GROUP | {"attributes": attributes_of(document)}
            continue
        array = foreign_array(source, path)
        dims |= set(dims_of(array))
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            if "zarr.json" not in document:
                raise InputRefused(
                    f"{source.url}/{path} holds {array.dtype} in Zarr v2, which cannot be converted to v3; name the "
                    "arrays of numbers one by one with --array"
                )
            as_found.append(path)
            written[path] = document["zarr.json"]
            continue
        read = spec_as_found(path, array)
        refuse_absurd(read.shape, read.unit, f"{source.url}/{path}")
        spec = _spec(read, extents, local=local)
        arrays.append(spec)
        sources[path] = read
        written[path] = metadata_of(spec, _attributes(array, document)) | {
            "fill_value": _fill(array, document)
        }
    if unknown := sorted(set(extents) - dims):
        raise InputRefused(
            f"{source.url} has no dimension {unknown[0]}; it has {', '.join(sorted(dims)) or 'none'}"
        )
    return Regrouped(source, arrays, sources, written, as_found)


def write_group(group: Regrouped, target: WritableStore, compute: Compute) -> tuple[int, int]:
    """Write the missing objects; return how many were written and how many existed.

    Raises:
        DestinationRefused: The target holds something else.
        IntegrityFailure: A stored object of the source does not decode.
        Resumable: The run stopped.
    """
    present = set(target.keys(""))
    refuse_other(target, present, group.note)
    target.create(NOTE, group.note)
    written = there = read = done = 0
    began, total = time.monotonic(), sum(block_count(spec.shape, group.block(spec)) for spec in group.arrays)
    for spec in group.arrays:
        for region in regions(spec.shape, group.block(spec)):
            if compute.stopping.is_set():
                raise Resumable("rechunking the group stopped; run the same command again to go on")
            todo = [place for place in positions(spec, region) if spec.key(place) not in present]
            if todo:
                _write(group, target, spec, region, todo)
            count = len(positions(spec, region))
            written, there, done = written + len(todo), there + count - len(todo), done + 1
            read += math.prod(r.stop - r.start for r in region) * spec.numpy.itemsize
            compute.report(Progress("group", done, total, read, time.monotonic() - began))
    for path in group.as_found:
        keys = [key for key in group.source.keys(f"{path}/") if not key.endswith("/zarr.json")]
        on_io(lambda key: target.put(key, group.source.get(key)), [key for key in keys if key not in present])
        written += len(keys)
    inner = {path: document for path, document in group.documents.items() if path}
    on_io(lambda path: target.put(f"{path}/zarr.json", document_bytes(inner[path])), sorted(inner))
    consolidated = {"kind": "inline", "must_understand": False, "metadata": inner}
    root = group.documents[""] | {"consolidated_metadata": consolidated}
    target.put("zarr.json", document_bytes(root))
    return written, there


def _write(
    group: Regrouped, target: WritableStore, spec: ArraySpec, region: Region, todo: list[tuple[int, ...]]
) -> None:
    """Read a region once and store its missing objects, except those that hold only fill values."""
    values = read_region(group.source, group.found[spec.path], region)
    given = foreign_array(group.source, spec.path).fill_value
    fill = np.asarray(0 if given is None else given, spec.numpy)

    def chunk_of(spec: ArraySpec, at: Region) -> np.ndarray | None:
        part = values[
            tuple(slice(a.start - r.start, a.stop - r.start) for a, r in zip(at, region, strict=True))
        ]
        if part.tobytes() == np.broadcast_to(fill, part.shape).tobytes():
            return None
        return whole_chunk(spec, part, fill)

    def put(place: tuple[int, ...]) -> None:
        if data := stored_object(spec, place, chunk_of):
            target.put(spec.key(place), data)

    on_chunks(put, todo)


def _extents(wanted: str) -> dict[str, int]:
    """Return extents by dimension; none for "auto"."""
    extents = {}
    for part in filter(None, ("" if wanted == AUTO else wanted).split(",")):
        name, mark, number = part.rpartition("=")
        if not mark or not number.strip().isdecimal() or int(number) < 1:
            raise InputRefused(
                f"--group got {part!r}; give extents of chunks by dimension, such as --group time=64,lat=128, or auto"
            )
        extents[name.strip()] = int(number)
    return extents


def _spec(read: ArraySpec, extents: Mapping[str, int], *, local: bool) -> ArraySpec:
    shape, itemsize = read.shape, read.numpy.itemsize
    chunks = tuple(extents.get(name, c) for name, c in zip(read.dims, read.chunks, strict=True))
    if not extents:
        chunks = shape if read.raw_bytes <= SMALL_BYTES else chunks_by_default(shape, itemsize)
    chunks = tuple(max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True))
    spec = ArraySpec(read.path, shape, chunks, read.dtype, read.dims)
    refuse_large(chunks, itemsize)
    shards = () if local or not shape else shards_by_default(shape, chunks, itemsize)
    return spec if shards in ((), chunks) else spec.at(read.path, shards=shards)


def _fill(array: Any, described: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the fill value as a zarr.json of v3 holds it."""
    if "zarr.json" in described:
        return described["zarr.json"]["fill_value"]
    fill = described[".zarray"].get("fill_value")
    if fill is None:
        return False if array.dtype.kind == "b" else 0
    return bool(fill) if array.dtype.kind == "b" else fill


def _attributes(array: Any, described: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return an array's attributes; a Zarr v2 fill value, which xarray takes for no data, becomes `_FillValue`."""
    attributes = {k: v for k, v in attributes_of(dict(described)).items() if k != "_ARRAY_DIMENSIONS"}  # type: ignore[arg-type]
    if "zarr.json" in described or array.fill_value is None or "_FillValue" in attributes:
        return attributes
    kind = array.dtype.kind
    if kind == "f":  # as xarray writes it for Zarr v3
        attributes["_FillValue"] = base64.standard_b64encode(struct.pack("<d", array.fill_value)).decode()
    elif kind in "iu":
        attributes["_FillValue"] = int(array.fill_value)
    return attributes
