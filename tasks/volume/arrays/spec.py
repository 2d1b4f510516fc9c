"""Describe stored arrays, and choose default chunks, shards and blocks.

Arithmetic only. An `ArraySpec` has everything that is needed to encode, decode and name the objects of an array. Plans
store it, and it can be derived from a stored array's zarr.json.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tasks.volume.blocks import Region
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.segy.headers import TRACE_HEADER_DTYPE

MASTER = "amplitude"
DEFAULT_CODEC = "zstd-1"  # in large blocks (codecs.py) higher levels cost twice the time and save 1 % at most
RAW_SAMPLES = "raw_samples"  # the file's words, where float32 does not give back too many of them
DEFAULT_CHUNKS: dict[int, tuple[int, ...]] = {
    1: (65536,),
    2: (512, 512),
    3: (64, 64, 64),
    4: (32, 32, 32, 32),
    5: (8, 8, 16, 16, 64),
    6: (4, 4, 8, 8, 16, 64),
}
CHUNK_BYTES = 4 << 20  # raw, at most, of a chunk chosen here for four dimensions or more
# Extents of a copy's chunks across its slices, and along each of the other axes; 4 MiB of float32 in 3-D and 4-D.
COPY_CHUNKS = {2: (64, 4096), 3: (4, 512), 4: (4, 64)}
MOST_ZFP_DIMENSIONS = 4  # zfpy takes no more
ROUNDED_TO = "rounded_to"  # attribute of a rounded copy: of which power of two its values are multiples
AS_FOUND = "as found"  # the codec of an array that another tool wrote
SHARD_BYTES = 48 << 20  # raw; 16 to 64 MB stored at the ratios seen (1.1 to 1.3 lossless)
COPY_SHARD_BYTES = 192 << 20  # raw; ZFP stores a fifth or less of it
# Attributes of a master that describe its live samples.
STATISTICS = (
    "count",
    "min",
    "max",
    "mean",
    "rms",
    "std",
    "nonfinite_count",
    "zero_count",
    "live_traces",
    "zero_traces",
    "dead_coded_traces",
)
# Attributes of a copy: what was asked of it, and what it loses.
MEASURED = (
    "target",
    "tolerance",
    "max_abs_error",
    "rmse",
    "nrmse",
    "snr_db",
    "psnr_db",
    "ssim",
    "nonfinite_count",
)
DTYPES: dict[str, np.dtype[Any]] = {
    "trace_header": TRACE_HEADER_DTYPE,
    "raw240": np.dtype("V240"),
}


@dataclass(frozen=True)
class ArraySpec:
    """One stored array.

    Attributes:
        path: Path in the volume, such as `pyramid/1/amplitude`.
        shape: Extents, slowest axis first.
        chunks: Shape of the part that a reader decodes at once.
        shards: Shape of a stored object, a multiple of `chunks`; () if an object is a chunk.
        dtype: NumPy's name, or `trace_header` or `raw240`.
        dims: The name of each axis.
        codec: `zstd-1`, `lz4-5` and so on (byte shuffle before), `zfp:<tolerance>`, `rounded:<tolerance>` (stored as
            `DEFAULT_CODEC`), `raw`, or `AS_FOUND`, which is only read.
        fill: Value where nothing is stored: `NaN` or `0`.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...]
    codec: str = DEFAULT_CODEC
    shards: tuple[int, ...] = ()
    fill: str = "0"

    @property
    def numpy(self) -> np.dtype[Any]:
        """Return the dtype in memory."""
        return DTYPES.get(self.dtype) or np.dtype(self.dtype)

    @property
    def fill_value(self) -> Any:
        """Return the scalar value of samples that are not stored."""
        if not self.numeric:
            return np.zeros((), self.numpy)[()]
        return np.array(np.nan if self.fill == "NaN" else 0, "f8").astype(self.dtype)[()]

    @property
    def numeric(self) -> bool:
        """Return whether elements are plain numbers or booleans."""
        return self.dtype not in DTYPES

    @property
    def unit(self) -> tuple[int, ...]:
        """Extents of one stored object."""
        return self.shards or self.chunks

    @property
    def pieces(self) -> tuple[int, ...]:
        """Extents of the part that is decoded at once: a chunk or, of another tool's array, a stored object."""
        return self.unit if self.codec == AS_FOUND else self.chunks

    @property
    def raw_bytes(self) -> int:
        """Size of the array uncompressed."""
        return math.prod(self.shape) * self.numpy.itemsize

    @property
    def chunk_bytes(self) -> int:
        """Size of a chunk uncompressed."""
        return math.prod(self.chunks) * self.numpy.itemsize

    @property
    def chunks_per_shard(self) -> tuple[int, ...]:
        """Return the number of chunks per stored object along each axis."""
        return tuple(u // c for u, c in zip(self.unit, self.chunks, strict=True))

    def key(self, position: tuple[int, ...]) -> str:
        """Return the key of the object at `position` in the grid of objects (Zarr v3, default chunk key encoding)."""
        return "/".join([self.path, "c", *map(str, position)])

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary for a plan."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "ArraySpec":
        """Return the value that `to_json` was made of, also after JSON turned tuples into lists."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return cls(**values)

    def at(self, path: str, **changes: Any) -> "ArraySpec":
        """Return the same array at another path, with some properties changed."""
        return replace(self, path=path, **changes)


def as_written(spec: ArraySpec) -> ArraySpec:
    """Return the form for arrays derived from `spec`: its own, or Seismill's if another tool wrote it.

    Its chunks are kept if their size is suitable for reading.
    """
    if spec.codec != AS_FOUND:
        return spec
    fit = CHUNK_BYTES // 64 <= spec.chunk_bytes <= 4 * CHUNK_BYTES
    chunks = spec.chunks if fit else chunks_by_default(spec.shape, spec.numpy.itemsize)
    return spec.at(spec.path, codec=DEFAULT_CODEC, shards=(), chunks=chunks)


def spec_of(path: str, metadata: dict[str, Any], where: str = "the volume") -> ArraySpec:
    """Return the spec of an array that Seismill wrote, from its zarr.json as the root has it.

    Raises:
        IntegrityFailure: The root of `where` describes no array that Seismill writes.
    """
    try:
        return _spec_of(path, metadata)
    except (LookupError, TypeError, AttributeError, ValueError):
        raise IntegrityFailure(
            f"the root of {where} does not say how {path} is stored; run seismill verify --repair from_master"
        ) from None


def _spec_of(path: str, metadata: dict[str, Any]) -> ArraySpec:
    grid = tuple(metadata["chunk_grid"]["configuration"]["chunk_shape"])
    codecs, chunks, shards = metadata["codecs"], grid, ()
    if codecs[0]["name"] == "sharding_indexed":
        configuration = codecs[0]["configuration"]
        codecs, chunks, shards = configuration["codecs"], tuple(configuration["chunk_shape"]), grid
    names = [codec["name"] for codec in codecs]
    if names[0] == "numcodecs.zfpy":
        codec = f"zfp:{codecs[0]['configuration']['tolerance']!r}"
    elif names == ["bytes", "crc32c"]:
        codec = "raw"
    elif names == [AS_FOUND]:
        codec, shards = AS_FOUND, tuple(metadata["shards"])
    elif names == ["bytes", "blosc", "crc32c"]:
        codec = f"{codecs[1]['configuration']['cname']}-{codecs[1]['configuration']['clevel']}"
        if (step := metadata.get("attributes", {}).get(ROUNDED_TO)) is not None:
            codec = f"rounded:{step / 2!r}"
    else:
        raise ValueError(", ".join(names))
    data_type = metadata["data_type"]
    if isinstance(data_type, dict):
        data_type = {"structured": "trace_header", "raw_bytes": "raw240"}[data_type["name"]]
    return ArraySpec(
        path=path,
        shape=tuple(metadata["shape"]),
        chunks=chunks,
        dtype=data_type,
        dims=tuple(metadata.get("dimension_names") or [f"dim_{i}" for i in range(len(grid))]),
        codec=codec,
        shards=shards,
        fill="NaN" if metadata["fill_value"] == "NaN" else "0",
    )


def round_up(n: int, step: int) -> int:
    """Return the smallest multiple of `step` that is at least `n`."""
    return -(-n // step) * step


def chunks_by_default(
    shape: tuple[int, ...], itemsize: int, *, fixed: Mapping[int, int] | None = None
) -> tuple[int, ...]:
    """Return the chunks of a master: from the table or, above three dimensions, fitted to the extents.

    An axis such as gun or component has few values. Then chunks grow along the other axes, the shortest first,
    by powers of two and within `CHUNK_BYTES`.

    Args:
        shape: Shape of the master.
        itemsize: Bytes of a sample.
        fixed: Extents that are given, by axis.
    """
    rank, fixed = len(shape), fixed or {}
    if rank <= 3 and not fixed:
        return DEFAULT_CHUNKS[rank]
    widest = max(DEFAULT_CHUNKS)
    table = (1,) * (rank - widest) + DEFAULT_CHUNKS[min(rank, widest)]
    chunks = [min(c, 1 << (n - 1).bit_length()) for c, n in zip(table, shape, strict=True)]
    for axis, extent in fixed.items():
        chunks[axis] = extent
    free = [axis for axis in range(rank) if axis not in fixed]
    while math.prod(chunks) * itemsize > CHUNK_BYTES and max(chunks[axis] for axis in free) > 1:
        chunks[max(free, key=lambda axis: chunks[axis])] //= 2
    while math.prod(chunks) * itemsize * 2 <= CHUNK_BYTES:
        narrow = [axis for axis in free if chunks[axis] < shape[axis]]
        if not narrow:
            break
        chunks[min(narrow, key=lambda axis: (chunks[axis], -axis))] *= 2
    return tuple(chunks)


def copy_chunks(rank: int, axis: int) -> tuple[int, ...]:
    """Return the largest chunks of a copy for slices across one axis, up to `MOST_ZFP_DIMENSIONS` dimensions."""
    thin, wide = COPY_CHUNKS[rank]
    return tuple(thin if a == axis else wide for a in range(rank))


def fitted_extent(n: int, most: int, step: int) -> int:
    """Return the extent of chunks along an axis that gives the fewest chunks and then the least padding.

    Args:
        n: Extent of the axis.
        most: The largest extent of a chunk.
        step: The extent is a multiple of it, unless such a chunk would be larger than `most`.
    """
    if n <= most:
        return most
    extent = round_up(-(-n // -(-n // most)), step)
    return extent if extent <= most else most


def factor_by_default(rank: int) -> tuple[int, ...]:
    """Return the samples averaged per axis for a level: 2 on the last three axes, 1 on gathers and shots."""
    return (1,) * (rank - 3) + (2,) * min(rank, 3)


def shards_by_default(
    shape: tuple[int, ...], chunks: tuple[int, ...], itemsize: int, *, target_bytes: int = SHARD_BYTES
) -> tuple[int, ...]:
    """Return the shape of a shard of at most `target_bytes`, grown chunk by chunk along the last axis first."""
    shard = list(chunks)
    for axis in reversed(range(len(shape))):
        room = target_bytes // (math.prod(shard) * itemsize)
        if room < 2:
            break
        wanted = math.ceil(shape[axis] / chunks[axis])
        shard[axis] = chunks[axis] * min(wanted, room)
        if room < wanted:
            break
    return tuple(shard)


def positions(spec: ArraySpec, region: Region) -> list[tuple[int, ...]]:
    """Return the positions, in the grid of stored objects, of the objects that meet `region`, in C order."""
    return list(
        itertools.product(
            *(range(r.start // u, -(-r.stop // u)) for r, u in zip(region, spec.unit, strict=True))
        )
    )
