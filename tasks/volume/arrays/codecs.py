"""Encode chunks and shards to bytes and decode them, with the codec objects that zarr-python uses.

zarr-python costs about 0.4 ms of GIL-held Python per chunk, and rewrites shards part by part. So arrays and their
metadata are made with zarr-python, while whole chunks and shards are encoded here and put as whole objects;
tests read them back with plain zarr. Every chunk ends in a CRC32C, because ZFP does not detect a flipped bit.
The codecs are imported when a chunk is handled, so that looking at a volume's root does not wait for them.
"""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import numpy as np

from tasks.volume.arrays.spec import DEFAULT_CODEC, ROUNDED_TO, ArraySpec
from tasks.volume.outcomes import IntegrityFailure

ABSENT = 0xFFFFFFFFFFFFFFFF
# What Blosc shuffles and compresses at a time. Left to itself it takes 128 KiB or less, where the bytes that hold
# exponents and those that hold noise share the tables of zstd: twice as slow, and 5 % more is stored.
BLOSC_BLOCK_BYTES = 512 << 10
CHECKSUM_BYTES = 4  # CRC32C, at the end of every chunk


@lru_cache
def _blosc(codec: str) -> Any:
    import numcodecs.blosc
    from numcodecs import Blosc

    # Chunks are encoded on several threads at once: Blosc's own threads would only take turns with each other.
    numcodecs.blosc.use_threads = False
    name, level = codec.split("-")
    return Blosc(cname=name, clevel=int(level), shuffle=Blosc.SHUFFLE, blocksize=BLOSC_BLOCK_BYTES)


def tolerance_of(spec: ArraySpec) -> float | None:
    """Return the largest error of the codec, or None for a lossless one."""
    kind, _, tolerance = spec.codec.partition(":")
    return float(tolerance) if kind in ("zfp", "rounded") else None


def is_zfp(spec: ArraySpec) -> bool:
    """Return whether chunks are ZFP streams, in which NaN and absent samples get values of their neighbours."""
    return spec.codec.startswith("zfp:")


def rounded(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Return floats as multiples of twice a power of two, which is the largest error; NaN and Inf stay.

    Numbers so large that their type has only such multiples stay, too, and so do those that would become Inf.

    Args:
        values: float32 or float64.
        tolerance: A power of two.
    """
    exponent = math.frexp(tolerance)[1]  # of the step: 0.5 * 2**exponent is the tolerance
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        result = np.ldexp(np.rint(np.ldexp(values, -exponent)), exponent) + 0  # no negative zero
        kept = ~np.isfinite(result) | (
            np.abs(values) >= np.ldexp(1.0, exponent + np.finfo(values.dtype).nmant)
        )
    return np.where(kept, values, result)


def crc32c(data: bytes | np.ndarray, before: int = 0) -> int:
    """Return the CRC32C (Castagnoli) of some bytes, as S3 and GCS compute it for an object.

    Args:
        data: The bytes.
        before: CRC32C of the bytes before them.
    """
    import google_crc32c

    return int(google_crc32c.extend(before, data))


def encode_chunk(spec: ArraySpec, chunk: np.ndarray) -> bytes:
    """Return the stored bytes of one whole chunk.

    Args:
        spec: The array.
        chunk: Values of shape `spec.chunks` and the array's dtype; any strides for ZFP, else C order.
    """
    if (tolerance := tolerance_of(spec)) is not None and is_zfp(spec):
        data = _encode_zfp(chunk, tolerance)
    elif spec.codec == "raw":
        data = np.ascontiguousarray(chunk).tobytes()
    elif tolerance is not None:
        data = _blosc(DEFAULT_CODEC).encode(np.ascontiguousarray(rounded(chunk, tolerance)))
    else:
        data = _blosc(spec.codec).encode(np.ascontiguousarray(chunk))
    return checksummed(bytes(data))


def checksummed(data: bytes) -> bytes:
    """Return an encoded chunk with its checksum at the end, as it is stored."""
    return data + crc32c(data).to_bytes(CHECKSUM_BYTES, "little")


def _encode_zfp(chunk: np.ndarray, tolerance: float) -> bytes:
    """Return the stream of libzfp, from the compiled kernel if that makes the same bits."""
    import zfpy

    from tasks.volume.kernels.zfp import encode_zfp, zfp_takes

    if zfp_takes(chunk.shape, chunk.dtype, tolerance):
        return encode_zfp(chunk, tolerance, zfp_header(chunk.shape, tolerance))
    return bytes(zfpy.compress_numpy(chunk, tolerance=tolerance, write_header=True))


@lru_cache
def zfp_header(shape: tuple[int, ...], tolerance: float) -> bytes:
    """Return the first bytes of the stream of a float32 chunk."""
    import zfpy

    from tasks.volume.kernels.zfp import HEADER_BITS

    zeros = np.zeros(shape, np.float32)  # in full: to libzfp strides of 0 mean contiguous
    return bytes(zfpy.compress_numpy(zeros, tolerance=tolerance, write_header=True)[: HEADER_BITS // 8])


def decode_chunk(spec: ArraySpec, data: bytes | memoryview, *, where: str = "") -> np.ndarray:
    """Return the values of one stored chunk, of shape `spec.chunks`.

    Raises:
        IntegrityFailure: The checksum does not fit: bits changed after they were written.
    """
    view = np.frombuffer(data, np.uint8)
    body = view[:-CHECKSUM_BYTES]
    if len(view) <= CHECKSUM_BYTES or crc32c(body) != int.from_bytes(view[-CHECKSUM_BYTES:], "little"):
        raise IntegrityFailure(
            f"a chunk of {where or spec.path} does not fit its checksum: its bytes changed after they were written; "
            "run seismill verify to find all that did"
        )
    # The checksum says that nothing changed since it was written, not that we wrote it: the size is looked at first.
    if is_zfp(spec):
        import zfpy

        header = zfpy.header(body.tobytes())
        extents = tuple(n for n in (header["nw"], header["nz"], header["ny"], header["nx"]) if n)
        if extents != spec.chunks:
            raise _no_chunk(spec, where)
        return zfpy.decompress_numpy(body.tobytes())
    size = body.nbytes if spec.codec == "raw" else int.from_bytes(body[4:8].tobytes(), "little")
    if size != spec.chunk_bytes:
        raise _no_chunk(spec, where)
    raw = body.tobytes() if spec.codec == "raw" else _blosc(_stored_codec(spec)).decode(body)
    return np.frombuffer(raw, spec.numpy).reshape(spec.chunks)


def _stored_codec(spec: ArraySpec) -> str:
    return DEFAULT_CODEC if spec.codec.startswith("rounded:") else spec.codec


def _no_chunk(spec: ArraySpec, where: str) -> IntegrityFailure:
    return IntegrityFailure(
        f"a chunk of {where or spec.path} holds another number of values than {spec.chunks}; it is of another array, "
        "or was tampered with"
    )


def encoded_bound(spec: ArraySpec) -> int:
    """Return the most bytes that an encoded chunk can take, for any values. Memory is planned with it."""
    # ZFP's fixed accuracy mode can need a few bits more than the raw value (zfp manual, maximum size).
    return math.ceil(spec.chunk_bytes * (1.1 if is_zfp(spec) else 1.0)) + 4096


def join_shard(spec: ArraySpec, chunks: Mapping[tuple[int, ...], bytes]) -> bytes:
    """Return one stored object made of its encoded chunks (Zarr v3 sharding codec, index at the end).

    Args:
        spec: A sharded array.
        chunks: Encoded bytes by position inside the shard; positions left out hold only fill values.
    """
    index = np.full((*spec.chunks_per_shard, 2), ABSENT, "<u8")
    parts, offset = [], 0
    for position in sorted(chunks):
        data = chunks[position]
        index[position] = (offset, len(data))
        parts.append(data)
        offset += len(data)
    table = index.tobytes()
    return b"".join([*parts, table, crc32c(table).to_bytes(4, "little")])


def index_bytes(spec: ArraySpec) -> int:
    """Return the size of the index at the end of a shard."""
    return math.prod(spec.chunks_per_shard) * 16 + 4


def read_index(spec: ArraySpec, tail: bytes | memoryview, *, where: str) -> np.ndarray:
    """Return offsets and sizes of a shard's chunks, uint64 (*chunks_per_shard, 2), from its last bytes."""
    table = bytes(tail[-index_bytes(spec) : -4])
    if len(tail) < index_bytes(spec) or crc32c(table) != int.from_bytes(tail[-4:], "little"):
        raise IntegrityFailure(f"the index of {where} does not fit its checksum; run seismill verify")
    return np.frombuffer(table, "<u8").reshape(*spec.chunks_per_shard, 2)


def index_count(spec: ArraySpec) -> int:
    """Return how many places the index of a stored object has; 0 if the object is one chunk without an index."""
    return math.prod(spec.chunks_per_shard) if spec.shards else 0


def checksum_of_chunks(data: bytes, places: int) -> int:
    """Return a CRC32C that distinguishes a chunk or shard from others of the same size.

    The CRC32C of data that end in their own CRC32C is a constant. So this one covers the object and then, once
    more, the CRC32Cs at the ends of its chunks.

    Args:
        data: The stored object.
        places: Entries of the index at its end; 0 if it is one chunk.
    """
    import google_crc32c

    chunks: Any = [(0, len(data))]
    if places:
        table = data[-16 * places - 4 : -4]
        chunks = np.frombuffer(table, "<u8").reshape(-1, 2).tolist() if len(table) == 16 * places else []
    ends = (data[max(0, at + size - CHECKSUM_BYTES) : at + size] for at, size in chunks if at != ABSENT)
    return int(google_crc32c.extend(crc32c(data), b"".join(ends)))


def metadata_of(spec: ArraySpec, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the zarr.json of an array, made by zarr-python."""
    step = {ROUNDED_TO: 2 * (tolerance_of(spec) or 0)} if spec.codec.startswith("rounded:") else {}
    return _metadata_template(spec) | {"attributes": dict(attributes) | step}


@lru_cache(maxsize=256)
def _metadata_template(spec: ArraySpec) -> dict[str, Any]:
    import warnings

    import zarr
    import zfpy
    from zarr.codecs import BloscCodec, Crc32cCodec
    from zarr.storage import MemoryStore

    compressors: list[Any] = [Crc32cCodec()]
    options: dict[str, Any] = {}
    with warnings.catch_warnings():
        # zarr warns that numcodecs' codecs and structured types are not in the Zarr v3 core: the readers named in the
        # README all know them.
        warnings.simplefilter("ignore")
        if is_zfp(spec):
            from zarr.codecs.numcodecs import ZFPY

            options["serializer"] = ZFPY(mode=zfpy.mode_fixed_accuracy, tolerance=tolerance_of(spec))
        elif spec.codec != "raw":
            name, level = _stored_codec(spec).split("-")
            compressors.insert(
                0,
                BloscCodec(
                    cname=cast(Any, name),
                    clevel=int(level),
                    shuffle="shuffle",
                    typesize=spec.numpy.itemsize,
                    blocksize=BLOSC_BLOCK_BYTES,
                ),
            )
        if spec.numeric:
            options["fill_value"] = spec.fill_value
        store = MemoryStore()
        zarr.create_array(
            store,
            name=spec.path,
            shape=spec.shape,
            chunks=spec.chunks,
            shards=spec.shards or None,
            dtype=spec.numpy,
            compressors=compressors,
            dimension_names=spec.dims,
            **options,
        )
        document: dict[str, Any] = json.loads(store._store_dict[f"{spec.path}/zarr.json"].to_bytes())
    return document


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the stored text of a zarr.json, the same for the same content."""
    return json.dumps(document, indent=2, allow_nan=False).encode()
