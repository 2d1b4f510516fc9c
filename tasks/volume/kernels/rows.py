"""Convert views of any strides to the form that kernels take: one axis of elements, and the position of each row in it.

Numba has no type for arrays with contiguous rows and gaps between them, such as regions of larger arrays; its loops
over such rows would not become vector instructions.
"""

import numpy as np


def as_rows(array: np.ndarray, *, writable: bool = False) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return the elements `array` spans as one axis, and the strides of all its axes but the last, in elements.

    A view whose last axis is not contiguous is copied first, and refused when it is to be `writable`. What is
    only read is marked read-only, so that one compiled kernel serves both kinds.
    """
    size = array.itemsize
    whole = array.flags.aligned and all(stride >= 0 and stride % size == 0 for stride in array.strides)
    if not whole or (array.strides[-1] != size and array.shape[-1] > 1):
        if writable:
            raise ValueError(f"rows to be written must be contiguous, got strides {array.strides}")
        array = np.ascontiguousarray(array)
    strides = tuple(stride // size for stride in array.strides[:-1])
    span = sum((n - 1) * s for n, s in zip(array.shape[:-1], strides, strict=True)) + array.shape[-1]
    flat = np.lib.stride_tricks.as_strided(array, (span if array.size else 0,), (size,), writeable=writable)
    return flat, strides


def as_mask(live: np.ndarray) -> np.ndarray:
    """Return a live mask, contiguous and marked read-only, for the same reason."""
    mask = np.ascontiguousarray(live, np.bool_).view()
    mask.flags.writeable = False
    return mask
