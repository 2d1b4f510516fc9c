"""How far a copy is off from its original, whatever their types."""

import numpy as np

from tasks.volume.kernels.errors import COUNT, error_sums


def add_errors_of(
    original: np.ndarray, decoded: np.ndarray, live: np.ndarray | None, sums: np.ndarray
) -> None:
    """Add the errors of `decoded` to `sums`, over samples that are live, and finite in `original`.

    Args:
        original: Numbers or booleans, 1 to 4 axes.
        decoded: The same shape; a wider type than `original` has in a lossy copy of whole numbers.
        live: bool, over the leading axes; None when all is live.
        sums: As `kernels.errors.error_sums`.
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
