"""Read arrays of other tools, Zarr v2 or v3: our `Store` reads the bytes, and zarr-python decodes them.

So every codec of zarr-python can be read, and retries, credentials and counts are the same as for other reads. Each
thread decodes one whole stored object at a time; memory is planned for that. zarr-python holds the GIL for half a
millisecond per chunk, so if a chunk is one object and was encoded only by compressors of numcodecs, as most are, it
is decoded here.
"""

import asyncio
import math
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numcodecs.blosc
import numpy as np
import zarr
from numcodecs import Blosc, GZip, Zstd
from numcodecs.checksum32 import CRC32C
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.abc.store import Store as ZarrStore
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.buffer.cpu import as_numpy_array_wrapper
from zarr.core.metadata import ArrayV2Metadata
from zarr.errors import ZarrUserWarning

from tasks.volume.arrays.bounded import decoded, most_between
from tasks.volume.arrays.spec import AS_FOUND, ArraySpec, positions
from tasks.volume.blocks import Region, on_chunks, on_io
from tasks.volume.limits import AXIS_CHUNKS, CHUNKS, DIMENSIONS
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Outcome
from tasks.volume.store.objects import Store


class _Objects(ZarrStore):
    """Serve the objects of a store to zarr-python, read only."""

    def __init__(self, store: Store) -> None:
        super().__init__(read_only=True)
        self._store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Objects) and other._store is self._store

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        def ask() -> bytes | None:
            try:
                match byte_range:
                    case RangeByteRequest(start, end):
                        return self._store.get_range(key, start, end - start)
                    case SuffixByteRequest(suffix):
                        return self._store.get_tail(key, suffix)
                    case OffsetByteRequest(offset):
                        return self._store.get(key)[offset:]
                return self._store.get(key)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

        data = await asyncio.to_thread(ask)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        return await asyncio.to_thread(self._store.exists, key)

    @property
    def supports_writes(self) -> bool:
        return False

    @property
    def supports_deletes(self) -> bool:
        return False

    @property
    def supports_listing(self) -> bool:
        return False

    async def set(self, key: str, value: Buffer) -> None:
        raise PermissionError(f"{self._store.url} is only read")

    async def delete(self, key: str) -> None:
        raise PermissionError(f"{self._store.url} is only read")

    async def list(self) -> AsyncIterator[str]:
        for key in await asyncio.to_thread(self._store.keys, ""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in await asyncio.to_thread(self._store.keys, prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        raise NotImplementedError(f"{self._store.url} is not listed by folders")
        yield ""


def foreign_array(store: Store, path: str) -> zarr.Array[Any]:
    """Open an array that another tool wrote for reading; its decoders are limited to the size of a chunk.

    Raises:
        InputRefused: zarr-python cannot read it.
    """
    try:
        return _opened(store, path)
    except Exception as error:  # whatever zarr-python and codecs raise for metadata that they do not know
        what = " ".join(str(error).split())[:300]
        raise InputRefused(
            f"{store.url}/{path} cannot be read by zarr-python {zarr.__version__}: {what}"
        ) from error


def foreign_spec(store: Store, path: str) -> ArraySpec:
    """Return the spec of an array that another tool wrote.

    Raises:
        InputRefused: zarr-python cannot read it, or it does not hold plain numbers.
    """
    where = f"{store.url}/{path}"
    array = foreign_array(store, path)
    dtype = np.dtype(array.dtype)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise InputRefused(f"{where} holds {dtype}; only numbers of up to 64 bits and booleans are coarsened")
    if not array.shape or 0 in array.shape:
        raise InputRefused(f"{where} has the shape {array.shape}; there is nothing to coarsen")
    refuse_absurd(array.shape, array.shards or array.chunks, where)
    return spec_as_found(path, array)


def spec_as_found(path: str, array: zarr.Array[Any]) -> ArraySpec:
    """Return the spec of a numeric array that another tool wrote, of any shape, for reading only."""
    return ArraySpec(
        path=path,
        shape=tuple(array.shape),
        chunks=tuple(array.chunks),
        dtype=np.dtype(array.dtype).newbyteorder("=").name,
        dims=dims_of(array),
        codec=AS_FOUND,
        shards=tuple(array.shards or ()),
    )


def dims_of(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Return the names of an array's dimensions; one without a name has its number."""
    attributes: Any = array.metadata.attributes  # whatever the document holds
    noted = attributes.get("_ARRAY_DIMENSIONS") if isinstance(attributes, dict) else None
    names: Any = getattr(array.metadata, "dimension_names", None) or noted
    if not isinstance(names, list | tuple) or len(names) != array.ndim:
        names = (None,) * array.ndim
    return tuple(name if name and isinstance(name, str) else f"dim_{axis}" for axis, name in enumerate(names))


def refuse_absurd(shape: Sequence[int], unit: Sequence[int], where: str) -> None:
    """Check that an array has chunks, and no more axes and stored objects than a run can process.

    Raises:
        InputRefused: The metadata of the array cannot be true.
    """
    if any(n and u < 1 for n, u in zip(shape, unit, strict=True)):
        raise InputRefused(
            f"{where} has the shape {[*shape]} and chunks of {[*unit]}, which do not fit; correct its metadata"
        )
    counts = [-(-n // max(1, u)) for n, u in zip(shape, unit, strict=True)]
    if len(shape) > DIMENSIONS or max(counts, default=0) > AXIS_CHUNKS or math.prod(counts) > CHUNKS:
        raise InputRefused(
            f"the metadata of {where} give the shape {list(shape)[:DIMENSIONS]} in objects of "
            f"{list(unit)[:DIMENSIONS]}, more than {CHUNKS:,} objects; they are damaged, or the array must first be "
            "written in larger chunks"
        )


def read_foreign(
    store: Store, spec: ArraySpec, region: Region, use: Callable[[np.ndarray, Region], None]
) -> None:
    """Call `use` for each stored object with its part of a region and the place of that part, on several threads.

    Absent objects hold the array's fill value.

    Raises:
        IntegrityFailure: A stored object does not decode.
    """
    array = _opened(store, spec.path)
    decode = _decoder(store, spec.path)

    def piece_at(position: tuple[int, ...]) -> tuple[np.ndarray, Region]:
        here = tuple(
            slice(max(p * u, r.start), min((p + 1) * u, r.stop))
            for p, u, r in zip(position, spec.unit, region, strict=True)
        )
        there = tuple(slice(h.start - r.start, h.stop - r.start) for h, r in zip(here, region, strict=True))
        try:
            if decode is None:
                return np.asarray(array[here]), there
            try:
                key = array.metadata.encode_chunk_key(position)
                data = store.get(f"{spec.path}/{key}" if spec.path else key)
            except FileNotFoundError:
                shape = [t.stop - t.start for t in there]
                fill = array.fill_value if spec.numeric else spec.fill_value
                return np.broadcast_to(np.asarray(fill, spec.numpy), shape), there
            inside = tuple(
                slice(h.start - p * u, h.stop - p * u)
                for h, p, u in zip(here, position, spec.unit, strict=True)
            )
            return decode(data)[inside], there
        except (Outcome, OSError, MemoryError):
            raise
        except Exception as error:  # codecs raise what they like
            raise IntegrityFailure(
                f"{store.url}/{spec.path} does not decode at {position} of its grid: {error}; "
                "it was damaged, or its codec is not what its metadata says"
            ) from error

    def hand_over(position: tuple[int, ...]) -> None:
        values, there = piece_at(position)
        if not spec.numeric:  # of headers only the fields that are known here
            values = values[list(spec.numpy.names or ())]
        use(values.astype(spec.numpy, copy=False), there)  # in the machine's byte order

    (on_chunks if store.local else on_io)(hand_over, positions(spec, region))


@lru_cache(maxsize=8)
def _decoder(store: Store, path: str) -> Callable[[bytes], np.ndarray] | None:
    """Return a function that decodes a stored chunk with numcodecs alone; None if that needs zarr-python."""
    array = _opened(store, path)
    described = array.metadata
    if array.fill_value is None:
        return None
    if isinstance(described, ArrayV2Metadata):
        codecs = [*(described.filters or ()), *([described.compressor] if described.compressor else [])]
        dtype, order = described.dtype.to_native_dtype(), described.order
    else:
        first, *rest = described.codecs
        names = {_BoundedZstd: Zstd, _BoundedGzip: GZip, _BoundedBlosc: Blosc, Crc32cCodec: CRC32C}
        if not isinstance(first, BytesCodec) or any(type(codec) not in names for codec in rest):
            return None
        codecs = [names[type(codec)]() for codec in rest]  # their settings matter for encoding alone
        big = first.endian is not None and first.endian.value == "big"
        dtype, order = array.dtype.newbyteorder(">" if big else "<"), "C"
    most = most_between(math.prod(array.chunks) * dtype.itemsize)
    numcodecs.blosc.use_threads = False  # chunks are decoded on several threads already

    def decode(data: bytes) -> np.ndarray:
        values: Any = data
        for codec in reversed(codecs):
            values = decoded(codec, values, most)
        return np.frombuffer(values, dtype).reshape(array.chunks, order=order)

    return decode


@lru_cache(maxsize=8)
def _opened(store: Store, path: str) -> zarr.Array[Any]:
    with warnings.catch_warnings():  # which would name lines of zarr-python, and the array can be read
        warnings.simplefilter("ignore", ZarrUserWarning)
        array = zarr.open_array(_Objects(store), path=path, mode="r")
    described: Any = array.metadata
    if isinstance(described, ArrayV2Metadata):
        return array
    inner = array._async_array
    bounded = replace(described, codecs=tuple(map(_bounded, described.codecs)))
    return zarr.Array(zarr.AsyncArray(bounded, inner.store_path, inner.config))


def _bounded(codec: Any) -> Any:
    """Return the codec, held to the size of the chunk that it decodes, also inside of shards."""
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=tuple(map(_bounded, codec.codecs)))
    kinds: dict[type, type] = {ZstdCodec: _BoundedZstd, GzipCodec: _BoundedGzip, BloscCodec: _BoundedBlosc}
    kind = kinds.get(type(codec))
    return codec if kind is None else kind.from_dict(codec.to_dict())  # type: ignore[attr-defined]


def _decoded_buffer(codec: Any, data: Buffer, spec: Any) -> Buffer:
    most = most_between(math.prod(spec.shape) * spec.dtype.item_size)
    return as_numpy_array_wrapper(partial(decoded, codec, most=most), data, spec.prototype)


class _BoundedZstd(ZstdCodec):
    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: Any) -> Buffer:
        return _decoded_buffer(Zstd(), chunk_bytes, chunk_spec)


class _BoundedGzip(GzipCodec):
    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: Any) -> Buffer:
        return _decoded_buffer(GZip(), chunk_bytes, chunk_spec)


class _BoundedBlosc(BloscCodec):
    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: Any) -> Buffer:
        return _decoded_buffer(Blosc(), chunk_bytes, chunk_spec)
