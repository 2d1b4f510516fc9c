"""How far a copy is off from its original, whatever their types."""

import numpy as np

from tasks.volume.arrays.codecs import CHECKSUM_BYTES, decode_chunk, is_zfp, tolerance_of
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.kernels.error_sums import COUNT, error_sums
from tasks.volume.kernels.zfp import zfp_error_sums, zfp_takes


def add_errors_of_chunk(
    spec: ArraySpec, data: bytes, original: np.ndarray, live: np.ndarray, sums: np.ndarray
) -> None:
    """Add the errors of a stored chunk to `sums`, from the bytes it is stored as.

    Args:
        spec: The copy.
        data: The chunk's stored bytes.
        original: The samples it was made from, NaN and Inf still in it; less than a chunk at the volume's end.
        live: bool, over the leading axes of `original`.
        sums: As `kernels.error_sums.error_sums`.
    """
    tolerance = tolerance_of(spec)
    if tolerance is not None and is_zfp(spec) and zfp_takes(spec.chunks, original.dtype, tolerance):
        zfp_error_sums(data[:-CHECKSUM_BYTES], tolerance, original, spec.chunks, live, sums)
        return
    decoded = decode_chunk(spec, data)[tuple(slice(0, n) for n in original.shape)]
    add_errors_of(original, decoded, live, sums)


def add_errors_of(
    original: np.ndarray, decoded: np.ndarray, live: np.ndarray | None, sums: np.ndarray
) -> None:
    """Add the errors of `decoded` to `sums`, over samples that are live, and finite in `original`.

    Args:
        original: Numbers or booleans, 1 to 4 axes.
        decoded: The same shape; a wider type than `original` has in a lossy copy of whole numbers.
        live: bool, over the leading axes; None when all is live.
        sums: As `kernels.error_sums.error_sums`.
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
