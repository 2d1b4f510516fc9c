"""A whole Zarr group of another tool in other chunks: every array with its coordinates and attributes, consolidated.

It is an export and no volume, as an OME-Zarr 0.4 group is: the target is empty before, a note says of what it is an
export so that the same command goes on with it, and the document that makes it a group is written last. Values are
those of the source, bit for bit; Zarr v2 becomes v3 on the way.
"""

import base64
import json
import math
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import document_bytes, encode_chunk, join_shard, metadata_of
from tasks.volume.arrays.foreign import foreign_array, refuse_absurd
from tasks.volume.arrays.foreign_documents import attributes_of, documents, is_array
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.spec import ArraySpec, chunks_by_default, positions, round_up, shards_by_default
from tasks.volume.blocks import Compute, Progress, Region, block_count, on_chunks, on_io, regions
from tasks.volume.export.ome_group import NOTE, refuse_other
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Outcome, Resumable
from tasks.volume.protocol.plan import digest_of
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

AUTO = "auto"
SMALL_BYTES = 1 << 20  # an array of at most that is one chunk, if chunks are chosen here
BLOCK_BYTES = 64 << 20  # of values read at once; one stored object if that is more
MOST_CHUNK_BYTES = 1 << 30
_NAMES = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class Regrouped:
    """What is written of a group.

    Attributes:
        source: The group of another tool.
        arrays: The arrays in their new chunks.
        units: Extents of the source's stored objects, by path.
        documents: The zarr.json of each array and group as written, by path.
        as_found: Arrays whose objects are copied as they are, because they hold no plain numbers.
    """

    source: Store
    arrays: list[ArraySpec]
    units: dict[str, tuple[int, ...]]
    documents: dict[str, dict[str, Any]]
    as_found: list[str]

    @property
    def note(self) -> bytes:
        """Return the note that tells this export from another."""
        body = {"verb": "regroup", "source": self.source.url, "documents": self.documents}
        return json.dumps({"verb": "regroup", "digest": digest_of(body)}, indent=1).encode()

    @property
    def memory_bytes(self) -> int:
        """Return the most bytes that writing takes: values of a block, and its stored objects in the works."""
        blocks = (math.prod(self.block(spec)) * spec.numpy.itemsize for spec in self.arrays)
        return 3 * max([BLOCK_BYTES, *blocks])

    def block(self, spec: ArraySpec) -> tuple[int, ...]:
        """Return the extents that are read at once: whole objects of the target and, as far as fits, of the source."""
        block = list(spec.unit)
        room = BLOCK_BYTES // max(1, spec.numpy.itemsize)
        for target in (self.units[spec.path], spec.shape):
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
        InputRefused: It is no group of another tool, a dimension is not known, or an array cannot be read.
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
    arrays, units, written, as_found, dims = [], {}, {}, [], set()
    for path, found in described.items():
        if not is_array(found):
            written[path] = GROUP | {"attributes": attributes_of(found)}
            continue
        array = foreign_array(source, path)
        names = _dims(array, found)
        dims |= set(names)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            if "zarr.json" not in found:
                raise InputRefused(
                    f"{source.url}/{path} holds {array.dtype} in Zarr v2, which is not turned into v3; name the arrays "
                    "of numbers one by one with --array"
                )
            as_found.append(path)
            written[path] = found["zarr.json"]
            continue
        refuse_absurd(array.shape, array.shards or array.chunks, f"{source.url}/{path}")
        spec = _spec(path, array, names, extents, local=local)
        arrays.append(spec)
        units[path] = tuple(array.shards or array.chunks)
        written[path] = metadata_of(spec, _attributes(array, found)) | {"fill_value": _fill(array, found)}
    if unknown := sorted(set(extents) - dims):
        raise InputRefused(
            f"{source.url} has no dimension {unknown[0]}; it has {', '.join(sorted(dims)) or 'none'}"
        )
    return Regrouped(source, arrays, units, written, as_found)


def write_group(group: Regrouped, target: WritableStore, compute: Compute) -> tuple[int, int]:
    """Write what is not there yet; return how many objects were written and how many were there.

    Raises:
        DestinationRefused: Something else is at the target.
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
    """Read a region once and store those of its objects that are not there; one that is all fill is left out."""
    array = foreign_array(group.source, spec.path)
    try:
        values = np.asarray(array[region] if spec.shape else array[()]).astype(spec.numpy, copy=False)
    except (Outcome, OSError, MemoryError):
        raise
    except Exception as error:  # codecs raise what they like
        raise IntegrityFailure(
            f"{group.source.url}/{spec.path} does not decode: {error}; it was damaged, or its codec is not what its "
            "metadata says"
        ) from error
    fill = np.zeros((), spec.numpy) if array.fill_value is None else np.asarray(array.fill_value, spec.numpy)

    def encoded(corner: tuple[int, ...]) -> bytes | None:
        part = values[tuple(slice(c, c + n) for c, n in zip(corner, spec.chunks, strict=True))]
        if not part.size or (part.tobytes() == np.broadcast_to(fill, part.shape).tobytes()):
            return None
        chunk = np.full(spec.chunks, fill, spec.numpy)
        chunk[tuple(slice(0, n) for n in part.shape)] = part
        return encode_chunk(spec, chunk)

    def put(place: tuple[int, ...]) -> None:
        corner = [p * u - r.start for p, u, r in zip(place, spec.unit, region, strict=True)]
        inside = list(np.ndindex(*spec.chunks_per_shard))
        chunks = {
            at: data
            for at in inside
            if (data := encoded(tuple(c + i * n for c, i, n in zip(corner, at, spec.chunks, strict=True))))
        }
        if chunks:
            data = join_shard(spec, chunks) if spec.shards else chunks[inside[0]]
            target.put(spec.key(place) if place else f"{spec.path}/c", data)

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


def _spec(
    path: str, array: Any, names: tuple[str, ...], extents: Mapping[str, int], *, local: bool
) -> ArraySpec:
    shape, dtype = tuple(array.shape), array.dtype.newbyteorder("=").name
    chunks = tuple(extents.get(name, c) for name, c in zip(names, array.chunks, strict=True))
    if not extents:
        small = array.dtype.itemsize * math.prod(shape) <= SMALL_BYTES
        chunks = shape if small else chunks_by_default(shape, array.dtype.itemsize)
    chunks = tuple(max(1, min(c, n)) for c, n in zip(chunks, shape, strict=True))
    spec = ArraySpec(path, shape, chunks, dtype, names)
    if spec.chunk_bytes > MOST_CHUNK_BYTES:
        raise InputRefused(
            f"a chunk of {path} would take {spec.chunk_bytes / 1e6:,.0f} MB; give smaller extents with --group"
        )
    shards = () if local or not shape else shards_by_default(shape, chunks, spec.numpy.itemsize)
    return spec if shards in ((), chunks) else spec.at(path, shards=shards)


def _dims(array: Any, found: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    names = getattr(array.metadata, "dimension_names", None) or attributes_of(dict(found)).get(  # type: ignore[arg-type]
        "_ARRAY_DIMENSIONS"
    )
    numbered: Iterator[str] = (f"dim_{axis}" for axis in range(array.ndim))
    given = list(names or ()) if names and len(names) == array.ndim else [None] * array.ndim
    return tuple(name or usual for name, usual in zip(given, numbered, strict=True))


def _fill(array: Any, found: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the fill value as a zarr.json of v3 holds it."""
    if "zarr.json" in found:
        return found["zarr.json"]["fill_value"]
    fill = found[".zarray"].get("fill_value")
    if fill is None:
        return False if array.dtype.kind == "b" else 0
    return bool(fill) if array.dtype.kind == "b" else fill


def _attributes(array: Any, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return an array's attributes; of Zarr v2 its fill value, which xarray takes for no data, becomes one of them."""
    attributes = {k: v for k, v in attributes_of(dict(found)).items() if k != "_ARRAY_DIMENSIONS"}  # type: ignore[arg-type]
    if "zarr.json" in found or array.fill_value is None or "_FillValue" in attributes:
        return attributes
    kind = array.dtype.kind
    if kind == "f":  # as xarray writes it for Zarr v3
        attributes["_FillValue"] = base64.standard_b64encode(struct.pack("<d", array.fill_value)).decode()
    elif kind in "iu":
        attributes["_FillValue"] = int(array.fill_value)
    return attributes
