"""Write arrays of Zarr v2 that any program reads: Blosc with zstd, chunks in folders, no codec of ours."""

from typing import Any

import numcodecs.blosc
import numpy as np
from numcodecs import Blosc

from tasks.volume.arrays.spec import ArraySpec

_CODEC = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)


def stored_dtype(dtype: np.dtype) -> np.dtype:
    """Return the type that an array of Zarr v2 holds: uint8 for booleans, which image viewers do not read."""
    return np.dtype("u1") if dtype.kind == "b" else dtype.newbyteorder("<")


def array_document(spec: ArraySpec) -> dict[str, Any]:
    """Return the `.zarray` of an array of this shape and these chunks."""
    dtype = stored_dtype(spec.numpy)
    return {
        "zarr_format": 2,
        "shape": list(spec.shape),
        "chunks": list(spec.chunks),
        "dtype": dtype.str,
        "compressor": _CODEC.get_config(),
        "fill_value": "NaN" if dtype.kind == "f" else 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }


def plain_chunk(spec: ArraySpec, values: np.ndarray) -> bytes:
    """Return a chunk as it is stored; chunks beyond the end of the array are padded with the fill value."""
    dtype = stored_dtype(spec.numpy)
    chunk = values.astype(dtype, copy=False)
    if chunk.shape != spec.chunks:
        whole = np.full(spec.chunks, np.nan if dtype.kind == "f" else 0, dtype)
        whole[tuple(slice(0, n) for n in chunk.shape)] = chunk
        chunk = whole
    numcodecs.blosc.use_threads = False  # several chunks are encoded at once
    return bytes(_CODEC.encode(np.ascontiguousarray(chunk)))
