"""Replace NaN and Inf in the samples of a lossy copy, and sum its errors in float64."""

import numpy as np

from tasks.volume.kernels.compiled import kernel, part
from tasks.volume.kernels.rows import as_mask, as_rows

COUNT, MAX_ABS_ERROR, SUM_OF_SQUARES, NONFINITE = range(4)
STEP = 2048  # samples
LANES = 64  # STEP is a multiple of 4 LANES


def finite_or_zero(x: np.ndarray, out: np.ndarray, live: np.ndarray | None = None) -> int:
    """Copy `x` to `out` with 0 for NaN and Inf; return how many samples of live traces were NaN or Inf.

    Args:
        x: float32 or float64 with 1 to 4 axes, any strides.
        out: Array of the same shape and dtype, any strides.
        live: bool, over the leading axes of `x`; None when all is live. What is not live becomes 0, uncounted.
    """
    if x.shape != out.shape or x.dtype != out.dtype or x.dtype.kind != "f" or not 1 <= x.ndim <= 4:
        raise ValueError(f"cannot copy {x.dtype} {x.shape} to {out.dtype} {out.shape}; wanted equal floats")
    if x.size == 0:
        return 0
    if out.strides[-1] != out.itemsize and out.shape[-1] > 1:
        buffer = np.empty(out.shape, out.dtype)
        count = finite_or_zero(x, buffer, live)
        out[...] = buffer
        return count
    # numpy copies rows of any stride best; what remains is to mend the copy in place.
    np.copyto(out, x)
    if live is None and out.flags.c_contiguous:
        out = out.reshape(-1)
    target, strides = as_rows(out, writable=True)
    return int(_mend(_padded(out.shape, 4, 1), target, _padded(strides, 3, 0), _live(out, live)))


def error_sums(
    original: np.ndarray, decoded: np.ndarray, live2d: np.ndarray | None, sums: np.ndarray
) -> None:
    """Add the errors of `decoded` to `sums`, over samples that are live, and finite in `original`.

    Args:
        original: Floats or integers, any strides; NaN and Inf still in it.
        decoded: Array of the same shape and dtype.
        live2d: bool, over the leading axes; None when all is live.
        sums: float64: samples, greatest absolute error (Inf if a decoded sample is not finite), sum of squared
            errors, and live samples left out as not finite, at COUNT to NONFINITE of this module.
    """
    if original.shape != decoded.shape or original.dtype != decoded.dtype or original.dtype.kind not in "fiu":
        raise ValueError(
            f"cannot compare {original.dtype} {original.shape} with {decoded.dtype} {decoded.shape}; "
            "wanted equal floats or integers"
        )
    if original.ndim > 4:
        live = np.broadcast_to(True, original.shape[:-1]) if live2d is None else live2d
        for one in range(len(original)):
            rows = live[one] if live.ndim > 1 else np.broadcast_to(live[one], original.shape[1:-1])
            error_sums(original[one], decoded[one], rows, sums)
        return
    shape = _padded(original.shape, 4, 1)
    (source, strides), (other, other_strides) = as_rows(original), as_rows(decoded)
    strides, other_strides = _padded(strides, 3, 0), _padded(other_strides, 3, 0)
    errors = np.zeros(STEP)
    room = errors, errors.view(np.int64), np.zeros(LANES)
    worst = _error_sums(shape, source, strides, other, other_strides, _live(original, live2d), sums, *room)
    greatest = np.int64(worst).view(np.float64)
    sums[MAX_ABS_ERROR] = max(sums[MAX_ABS_ERROR], np.inf if np.isnan(greatest) else greatest)


def _live(x: np.ndarray, live: np.ndarray | None) -> np.ndarray:
    """`live` for every trace, with 3 axes."""
    if live is None:
        live = np.ones((1,) * (x.ndim - 1), np.bool_)
    elif live.shape != x.shape[: live.ndim] or live.ndim >= x.ndim:
        raise ValueError(f"live has shape {live.shape}, which are not leading axes of {x.shape}")
    else:
        live = live.reshape(live.shape + (1,) * (x.ndim - 1 - live.ndim))
    live = np.broadcast_to(live, x.shape[:-1])
    return as_mask(live).reshape(_padded(x.shape[:-1], 3, 1))


def _padded(lengths: tuple[int, ...], size: int, value: int) -> tuple[int, ...]:
    """Return a tuple of length `size`, with leading `value`."""
    return (value,) * (size - len(lengths)) + lengths


# Rows may be as short as 4 samples (a chunk of an inline copy), so they are reached by unsigned offsets: slices
# and indices that may be negative cost more than such a row.
@part
def _mend_row(target, at, n):
    count = np.int32(0)
    for k in range(np.uint64(n)):
        value = target[at + k]
        # The difference of a finite number with itself is 0, of any other NaN.
        finite = value - value == 0
        target[at + k] = value if finite else 0
        count += np.int32(not finite)
    return count


@kernel
def _mend(shape, target, strides, live):
    count = 0
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                at = np.uint64(i * strides[0] + j * strides[1] + k * strides[2])
                if live[i, j, k]:
                    count += _mend_row(target, at, shape[3])
                else:
                    for q in range(np.uint64(shape[3])):
                        target[at + q] = 0
    return count


@part
def _errors(original, at, decoded, by, n, errors, held):
    """Append differences where `original` is finite, else 0; return where it is not."""
    count = np.int32(0)
    for k in range(np.uint64(n)):
        value = original[at + k]
        finite = value - value == 0
        errors[held + k] = np.float64(decoded[by + k]) - np.float64(value) if finite else 0.0
        count += np.int32(not finite)
    return count


@part
def _greatest(bits):
    """Greatest magnitude as bits, which order like the numbers: float maxima are not vectorised and lose NaN."""
    greatest = np.int64(0)
    for k in range(STEP):
        magnitude = bits[k] & np.int64(0x7FFFFFFFFFFFFFFF)
        greatest = magnitude if magnitude > greatest else greatest
    return greatest


@part
def _add_squares(errors, lanes):
    """Add squares of a step to lanes, which make the order of the sum the same on every processor."""
    for row in range(np.uint64(0), np.uint64(STEP), np.uint64(4 * LANES)):
        for k in range(np.uint64(LANES)):
            at = row + k
            a, b = errors[at], errors[at + np.uint64(LANES)]
            c, d = errors[at + np.uint64(2 * LANES)], errors[at + np.uint64(3 * LANES)]
            lanes[k] += (a * a + b * b) + (c * c + d * d)


@kernel
def _error_sums(shape, source, strides, other, other_strides, live, sums, errors, magnitudes, lanes):
    """Add counts and squares to `sums`; return the bits of the greatest error. The last three are room to work."""
    greatest, held, compared, nonfinite = np.int64(0), 0, 0, 0
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                if not live[i, j, k]:
                    continue
                at = i * strides[0] + j * strides[1] + k * strides[2]
                by = i * other_strides[0] + j * other_strides[1] + k * other_strides[2]
                done = 0
                while done < shape[3]:
                    n = shape[3] - done
                    n = STEP - held if n > STEP - held else n
                    a, b = np.uint64(at + done), np.uint64(by + done)
                    bad = _errors(source, a, other, b, n, errors, np.uint64(held))
                    compared += n - bad
                    nonfinite += bad
                    done += n
                    held += n
                    if held == STEP:
                        most = _greatest(magnitudes)
                        greatest = most if most > greatest else greatest
                        _add_squares(errors, lanes)
                        held = 0
    # What the last step left behind the held errors has been counted and would be again.
    for k in range(held, STEP):
        errors[k] = 0.0
    most = _greatest(magnitudes)
    greatest = most if most > greatest else greatest
    _add_squares(errors, lanes)
    sums[COUNT] += compared
    sums[NONFINITE] += nonfinite
    for k in range(LANES):
        sums[SUM_OF_SQUARES] += lanes[k]
    return greatest
