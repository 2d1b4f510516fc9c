"""What a lossy copy is made from, and how far it is off: samples without NaN and Inf, and errors in float64."""

import numpy as np
from numba import njit

COUNT, MAX_ABS_ERROR, SUM_OF_SQUARES, NONFINITE = range(4)
STEP = 2048  # samples
LANES = 64


def finite_or_zero(x: np.ndarray, out: np.ndarray, live: np.ndarray | None = None) -> int:
    """Copy `x` to `out` with 0 for NaN and Inf; return how many samples of live traces were NaN or Inf.

    Args:
        x: float32 or float64 with 1 to 4 axes, any strides.
        out: The same shape and dtype, any strides.
        live: bool, over the leading axes of `x`; None when all is live. What is not live becomes 0, uncounted.
    """
    if x.shape != out.shape or x.dtype != out.dtype or x.dtype.kind != "f" or not 1 <= x.ndim <= 4:
        raise ValueError(f"cannot copy {x.dtype} {x.shape} to {out.dtype} {out.shape}; wanted equal floats")
    if out.strides[-1] != out.itemsize and out.shape[-1] > 1:
        buffer = np.empty(out.shape, out.dtype)
        count = finite_or_zero(x, buffer, live)
        out[...] = buffer
        return count
    shape, source, strides = _rows(x)
    _, target, out_strides = _rows(out)
    return int(_finite_or_zero(shape, source, strides, target, out_strides, _live(x, live)))


def error_sums(
    original: np.ndarray, decoded: np.ndarray, live2d: np.ndarray | None, sums: np.ndarray
) -> None:
    """Add the errors of `decoded` to `sums`, over samples that are live, and finite in `original`.

    Args:
        original: float32 or float64 with 1 to 4 axes, any strides; NaN and Inf still in it.
        decoded: The same shape and dtype.
        live2d: bool, over the leading axes; None when all is live.
        sums: float64: samples, greatest absolute error (Inf if a decoded sample is not finite), sum of squared
            errors, and live samples left out as not finite, at COUNT to NONFINITE of this module.
    """
    if original.shape != decoded.shape or original.dtype != decoded.dtype or original.dtype.kind != "f":
        raise ValueError(
            f"cannot compare {original.dtype} {original.shape} with {decoded.dtype} {decoded.shape}; "
            "wanted equal floats"
        )
    shape, source, strides = _rows(original)
    _, other, other_strides = _rows(decoded)
    _error_sums(shape, source, strides, other, other_strides, _live(original, live2d), sums)


def _live(x: np.ndarray, live: np.ndarray | None) -> np.ndarray:
    """`live` for every trace, with 3 axes."""
    if live is None:
        live = np.ones((1,) * (x.ndim - 1), np.bool_)
    elif live.shape != x.shape[: live.ndim] or live.ndim >= x.ndim:
        raise ValueError(f"live has shape {live.shape}, which are not leading axes of {x.shape}")
    else:
        live = live.reshape(live.shape + (1,) * (x.ndim - 1 - live.ndim))
    live = np.broadcast_to(live, x.shape[:-1])
    return np.ascontiguousarray(live, np.bool_).reshape((1,) * (4 - x.ndim) + live.shape)


def _rows(array: np.ndarray) -> tuple[tuple[int, ...], np.ndarray, tuple[int, ...]]:
    """4-axis shape, the elements spanned as one axis, and 3 strides in elements: rows are then contiguous.

    A view whose last axis is not contiguous is copied first.
    """
    size = array.itemsize
    in_place = array.flags.aligned and all(stride >= 0 and stride % size == 0 for stride in array.strides)
    if not in_place or (array.strides[-1] != size and array.shape[-1] > 1):
        array = np.ascontiguousarray(array)
    shape = (1,) * (4 - array.ndim) + array.shape
    strides = (0,) * (4 - array.ndim) + tuple(stride // size for stride in array.strides[:-1])
    span = sum((n - 1) * s for n, s in zip(shape, strides, strict=False)) + shape[-1] if array.size else 0
    return shape, np.lib.stride_tricks.as_strided(array, (span,), (size,)), strides


@njit(cache=True, nogil=True)
def _copy_finite(row, target):
    count = np.int32(0)
    for k in range(row.size):
        # The difference of a finite number with itself is 0, of any other NaN.
        finite = row[k] - row[k] == 0
        target[k] = row[k] if finite else 0
        count += np.int32(not finite)
    return count


@njit(cache=True, nogil=True)
def _finite_or_zero(shape, source, strides, target, out_strides, live):
    count = 0
    n = shape[3]
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                to = i * out_strides[0] + j * out_strides[1] + k * out_strides[2]
                at = i * strides[0] + j * strides[1] + k * strides[2]
                if live[i, j, k]:
                    count += _copy_finite(source[at : at + n], target[to : to + n])
                else:
                    target[to : to + n] = 0
    return count


@njit(cache=True, nogil=True)
def _errors(original, decoded, errors):
    """Differences where `original` is finite, else 0; return where it is not."""
    count = np.int32(0)
    for k in range(original.size):
        finite = original[k] - original[k] == 0
        errors[k] = np.float64(decoded[k]) - np.float64(original[k]) if finite else 0.0
        count += np.int32(not finite)
    return count


@njit(cache=True, nogil=True)
def _greatest(errors):
    """Greatest magnitude as bits, which order like the numbers: float maxima are not vectorised and lose NaN."""
    bits = errors.view(np.int64)
    greatest = np.int64(0)
    for k in range(bits.size):
        magnitude = bits[k] & 0x7FFFFFFFFFFFFFFF
        greatest = magnitude if magnitude > greatest else greatest
    return greatest


@njit(cache=True, nogil=True)
def _sum_of_squares(errors, lanes):
    """The length is a multiple of LANES; lanes make the order of the sum the same on every processor."""
    lanes[:] = 0.0
    for row in range(0, errors.size, LANES):
        lane = errors[row : row + LANES]
        for k in range(LANES):
            lanes[k] += lane[k] * lane[k]
    total = 0.0
    for k in range(LANES):
        total += lanes[k]
    return total


@njit(cache=True, nogil=True)
def _error_sums(shape, source, strides, other, other_strides, live, sums):
    errors, lanes = np.empty(STEP), np.empty(LANES)
    greatest = np.int64(0)
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                if not live[i, j, k]:
                    continue
                at = i * strides[0] + j * strides[1] + k * strides[2]
                by = i * other_strides[0] + j * other_strides[1] + k * other_strides[2]
                for first in range(0, shape[3], STEP):
                    n = min(STEP, shape[3] - first)
                    padded = (n + LANES - 1) // LANES * LANES
                    a, b = at + first, by + first
                    bad = _errors(source[a : a + n], other[b : b + n], errors)
                    errors[n:padded] = 0.0
                    greatest = max(greatest, _greatest(errors[:n]))
                    sums[COUNT] += n - bad
                    sums[SUM_OF_SQUARES] += _sum_of_squares(errors[:padded], lanes)
                    sums[NONFINITE] += bad
    worst = np.int64(greatest).view(np.float64)
    sums[MAX_ABS_ERROR] = max(sums[MAX_ABS_ERROR], worst if worst == worst else np.inf)
