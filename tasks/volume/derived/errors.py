"""The errors of a copy against its original, whatever their types."""

import numpy as np

from tasks.volume.arrays.codecs import (
    checksummed,
    decode_chunk,
    encode_chunk,
    is_zfp,
    tolerance_of,
    zfp_header,
)
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.kernels.error_sums import COUNT, error_sums
from tasks.volume.kernels.zfp import encode_zfp_measured, zfp_takes


def encode_measured(
    spec: ArraySpec,
    chunk: np.ndarray,
    original: np.ndarray,
    live: np.ndarray,
    sums: np.ndarray,
    *,
    nonfinite: bool = True,
) -> bytes:
    """Return the stored bytes of a chunk; add the errors of what they decode to to `sums`.

    For ZFP of three dimensions, the encoder computes the decoded values. Other chunks are decoded.

    Args:
        spec: The copy.
        chunk: Same as in `encode_chunk`; where `original` is live and finite, the same values.
        original: The samples it was made from, NaN and Inf still in it; less than a chunk at the volume's end.
        live: bool, over the leading axes of `original`.
        sums: Same as in `kernels.error_sums.error_sums`.
        nonfinite: Whether `original` may hold NaN and Inf.
    """
    tolerance = tolerance_of(spec)
    if tolerance is not None and is_zfp(spec) and zfp_takes(chunk.shape, chunk.dtype, tolerance):
        header = zfp_header(chunk.shape, tolerance)
        return checksummed(
            encode_zfp_measured(chunk, tolerance, header, original, live, sums, nonfinite=nonfinite)
        )
    data = encode_chunk(spec, chunk)
    decoded = decode_chunk(spec, data)[tuple(slice(0, n) for n in original.shape)]
    add_errors_of(original, decoded, live, sums)
    return data


def add_errors_of(
    original: np.ndarray, decoded: np.ndarray, live: np.ndarray | None, sums: np.ndarray
) -> None:
    """Add the errors of `decoded` to `sums`, over samples that are live, and finite in `original`.

    Args:
        original: Numbers or booleans, 1 to 4 axes.
        decoded: Array of the same shape; of a wider type than `original` in a lossy copy of whole numbers.
        live: bool, over the leading axes; None when all is live.
        sums: Same as in `kernels.error_sums.error_sums`.
    """
    if original.dtype.kind != "f" and original.dtype == decoded.dtype and np.array_equal(original, decoded):
        rows = (
            np.prod(original.shape[:-1], dtype=np.int64)
            if live is None
            else np.broadcast_to(live, original.shape[:-1]).sum()
        )
        sums[COUNT] += rows * original.shape[-1]
        return
    if original.dtype != decoded.dtype or original.dtype not in (np.float32, np.float64):
        original, decoded = original.astype(np.float64), decoded.astype(np.float64)
    if original.ndim > 4:  # more axes than the kernel takes
        if live is not None:
            live = np.broadcast_to(live, original.shape[:-1]).reshape(-1)
        original, decoded = (values.reshape(-1, values.shape[-1]) for values in (original, decoded))
    error_sums(original, decoded, live, sums)
