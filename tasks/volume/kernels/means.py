"""Coarser levels: means over cells of samples, floats without their NaN samples, integers exactly.

A row of cells is made by adding the fine rows of the cell into one line of sums, which vectorises, and folding
that line along the last axis. Sums are taken in a fixed order, so a level has the same bits on any machine.
"""

import math

import numpy as np

from tasks.volume.kernels.compiled import kernel, part
from tasks.volume.kernels.rows import as_mask, as_rows

AT_ONCE = 8192  # sums of pairs of planes, which stay in the fastest cache


def mean_floats(fine: np.ndarray, factor: tuple[int, int, int], out: np.ndarray) -> None:
    """Fill `out` with the mean over the samples of each cell of `fine` that are not NaN; NaN where none is.

    Args:
        fine: float32 or float64 with 3 axes, any strides.
        factor: Samples of `fine` per sample of `out` along each axis; cells at the far edges may be short.
        out: C-contiguous, the same dtype, shape ``ceil(fine.shape / factor)``. Within one unit in the last place of
            the exact mean for float64; float32 is summed in float64.
    """
    _check(fine, factor, out, "f")
    flat, strides = as_rows(fine)
    n, m = fine.shape[2], out.shape[2]
    room = np.empty(n), np.empty(n), np.empty(m), np.empty(m)
    if fine.dtype == np.float64:
        _mean_doubles(flat, fine.shape, strides, factor, out, *room[:2], np.empty(n))
    else:
        _mean_floats(flat, fine.shape, strides, factor, out, *room)


def mean_integers(
    fine: np.ndarray, live: np.ndarray | None, factor: tuple[int, int, int], out: np.ndarray
) -> None:
    """Fill `out` with the mean over the live samples of each cell, rounded half to even; 0 where none is live.

    Args:
        fine: Signed or unsigned integers of 8 to 64 bits with 3 axes, any strides.
        live: bool, over the first two axes; None where all is live.
        factor: Samples of `fine` per sample of `out` along each axis; cells at the far edges may be short.
        out: C-contiguous, the same dtype, shape ``ceil(fine.shape / factor)``. Exact for every value.
    """
    _check(fine, factor, out, "iu")
    flat, strides = as_rows(fine)
    bits = 8 * fine.itemsize + math.ceil(math.log2(math.prod(factor)))
    wide = np.int32 if bits <= 31 else np.int64
    n = fine.shape[2]
    halved = factor[0] <= 2 and factor[1] <= 2 and factor[2] == 2
    if live is None and halved and strides[1] == n and fine.itemsize < 8:
        sums = np.zeros(max(2, AT_ONCE // n) * n + 1, wide)
        _mean_pairs(flat, fine.shape, strides[0], factor, out, sums)
        return
    live = as_mask(np.ones(fine.shape[:2], np.bool_) if live is None else live)
    if live.shape != fine.shape[:2]:
        raise ValueError(f"live has shape {live.shape}, but the traces have {fine.shape[:2]}")
    if fine.itemsize == 8:
        flip = np.int64(0 if fine.dtype.kind == "i" else -(2**63))
        _mean_wide(flat.view(np.int64), fine.shape, strides, live, factor, out.view(np.int64), flip)
    else:
        room = np.zeros(n, wide), np.empty(out.shape[2], wide)
        _mean_narrow(flat, fine.shape, strides, live, factor, out, *room)


def any_live(live: np.ndarray, factor: tuple[int, int]) -> np.ndarray:
    """Return the live mask of the coarser level: each cell of `factor` traces that holds a live one."""
    for axis, step in enumerate(factor):
        live = np.logical_or.reduceat(live, np.arange(0, live.shape[axis], step), axis=axis)
    return live


def _check(fine: np.ndarray, factor: tuple[int, int, int], out: np.ndarray, kinds: str) -> None:
    if fine.ndim != 3 or len(factor) != 3 or min(factor) < 1 or math.prod(factor) > 2**30:
        raise ValueError(
            f"means take 3 axes and 3 factors of at least 1, got shape {fine.shape} and {factor}; "
            "pass a 2-D array as (1, n, m) with factor 1 first"
        )
    shape = tuple(math.ceil(n / f) for n, f in zip(fine.shape, factor, strict=True))
    if fine.dtype.kind not in kinds or not fine.dtype.isnative or fine.dtype.itemsize not in (1, 2, 4, 8):
        raise ValueError(f"got {fine.dtype}, wanted a native dtype of kind {' or '.join(kinds)}")
    if out.shape != shape or out.dtype != fine.dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"{fine.dtype} {fine.shape} reduced by {factor} is {shape}, C-contiguous, but out is "
            f"{out.dtype} {out.shape}"
        )


@part
def _add(row, sums):
    for k in range(row.size):
        sums[k] += row[k]


@part
def _add_numbers(row, sums, counts):
    for k in range(row.size):
        number = row[k] == row[k]
        sums[k] += row[k] if number else 0.0
        counts[k] += 1.0 if number else 0.0


@part
def _fold(line, factor, folded):
    """Sum groups of `factor`; the last group may be short."""
    whole = line.size // factor
    if factor == 2:
        for k in range(whole):
            folded[k] = line[2 * k] + line[2 * k + 1]
    else:
        for k in range(whole):
            total = line[k * factor]
            for r in range(1, factor):
                total += line[k * factor + r]
            folded[k] = total
    if whole < folded.size:
        total = line[whole * factor]
        for r in range(whole * factor + 1, line.size):
            total += line[r]
        folded[whole] = total


@part
def _has_nan(row):
    count = np.int32(0)
    for k in range(row.size):
        count += np.int32(row[k] != row[k])
    return count > 0


@kernel
def _mean_floats(flat, shape, strides, factor, out, sums, counts, folded, folded_counts):
    n = shape[2]
    for i in range(out.shape[0]):
        i_stop = min((i + 1) * factor[0], shape[0])
        for j in range(out.shape[1]):
            j_stop = min((j + 1) * factor[1], shape[1])
            row = out[i, j]
            sums[:] = 0.0
            for p in range(i * factor[0], i_stop):
                for q in range(j * factor[1], j_stop):
                    at = p * strides[0] + q * strides[1]
                    _add(flat[at : at + n], sums)
            _fold(sums, factor[2], folded)
            if not _has_nan(folded):
                rows = (i_stop - i * factor[0]) * (j_stop - j * factor[1])
                whole = n // factor[2]
                cell = np.float64(rows * factor[2])
                for k in range(whole):
                    row[k] = folded[k] / cell
                if whole < row.size:
                    row[whole] = folded[whole] / (rows * (n - whole * factor[2]))
                continue
            sums[:] = 0.0
            counts[:] = 0
            for p in range(i * factor[0], i_stop):
                for q in range(j * factor[1], j_stop):
                    at = p * strides[0] + q * strides[1]
                    _add_numbers(flat[at : at + n], sums, counts)
            _fold(sums, factor[2], folded)
            _fold(counts, factor[2], folded_counts)
            for k in range(row.size):
                row[k] = folded[k] / folded_counts[k] if folded_counts[k] else np.nan


@part
def _add_exactly(value, total, lost):
    """Return a sum, and what its rounding and those before it lost (Knuth's two-sum, Neumaier's summation)."""
    added = total + value
    back = added - total
    return added, lost + ((total - (added - back)) + (value - back))


@part
def _add_numbers_exactly(row, sums, lost, counts):
    for k in range(row.size):
        number = row[k] == row[k]
        sums[k], lost[k] = _add_exactly(row[k] if number else 0.0, sums[k], lost[k])
        counts[k] += np.int32(number)


@kernel
def _mean_doubles(flat, shape, strides, factor, out, sums, counts, lost):
    n = shape[2]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            sums[:] = 0.0
            lost[:] = 0.0
            counts[:] = 0
            for p in range(i * factor[0], min((i + 1) * factor[0], shape[0])):
                for q in range(j * factor[1], min((j + 1) * factor[1], shape[1])):
                    at = p * strides[0] + q * strides[1]
                    _add_numbers_exactly(flat[at : at + n], sums, lost, counts)
            for k in range(out.shape[2]):
                total, left, held = 0.0, 0.0, 0
                for r in range(k * factor[2], min((k + 1) * factor[2], n)):
                    total, left = _add_exactly(sums[r], total, left)
                    left += lost[r]
                    held += counts[r]
                if left - left == 0.0:  # else a sample was infinite, or the sum is
                    total += left
                out[i, j, k] = total / held if held else np.nan


@part
def _rounded(total, count):
    """Divide and round half to even."""
    quotient = total // count
    twice = 2 * (total - quotient * count)
    if twice > count or (twice == count and quotient & 1):
        quotient += 1
    return quotient


@part
def _round_row(folded, held, n, factor, row):
    whole = n // factor
    cell = held * factor
    if cell & (cell - 1) == 0:
        shift = 0
        while (1 << shift) < cell:
            shift += 1
        for k in range(whole):
            floor = folded[k] >> shift
            twice = 2 * (folded[k] & (cell - 1))
            row[k] = floor + ((twice > cell) | ((twice == cell) & (floor & 1 == 1)))
    else:
        for k in range(whole):
            row[k] = _rounded(folded[k], cell)
    if whole < row.size:
        row[whole] = _rounded(folded[whole], held * (n - whole * factor))


@kernel
def _mean_pairs(flat, shape, plane, factor, out, sums):
    """Cells of two samples along the last axis, one or two along the others, in rows that follow each other.

    Whole planes are added at a time, for loops over the short rows of a chunk take five times longer; and the
    divisor is a constant, from which the compiler sees how few bits of a sum matter. A plane or row that is not
    there is the other of its cell once more, which leaves the mean as it is: so the divisor is eight everywhere.
    """
    n = shape[2]
    step = sums.size // n // factor[1]
    for i in range(out.shape[0]):
        top = i * factor[0] * plane
        bottom = (min((i + 1) * factor[0], shape[0]) - 1) * plane
        for start in range(0, out.shape[1], step):
            stop = min(start + step, out.shape[1])
            first, last = start * factor[1], min(stop * factor[1], shape[1])
            upper = flat[top + first * n : top + last * n]
            lower = flat[bottom + first * n : bottom + last * n]
            for k in range(upper.size):
                sums[k] = upper[k] + lower[k]
            for j in range(start, stop):
                left = (j * factor[1] - first) * n
                right = (min((j + 1) * factor[1], shape[1]) - 1 - first) * n
                one, other, row = sums[left : left + n + 1], sums[right : right + n + 1], out[i, j]
                # The last cell of an odd row gets nonsense here, for a branch would make this three times slower.
                for k in range(row.size):
                    total = one[2 * k] + one[2 * k + 1] + other[2 * k] + other[2 * k + 1]
                    row[k] = (total + 3 + (total >> 3 & 1)) >> 3
    if n % 2:
        _mean_ends(flat, shape, plane, factor, out[:, :, n // 2])


@part
def _mean_ends(flat, shape, plane, factor, ends):
    n = shape[2]
    for i in range(ends.shape[0]):
        top = i * factor[0] * plane + n - 1
        bottom = (min((i + 1) * factor[0], shape[0]) - 1) * plane + n - 1
        for j in range(ends.shape[1]):
            left, right = j * factor[1] * n, (min((j + 1) * factor[1], shape[1]) - 1) * n
            total = (
                np.int64(flat[top + left]) + flat[top + right] + flat[bottom + left] + flat[bottom + right]
            )
            ends[i, j] = _rounded(total, np.int64(4))


@kernel
def _mean_narrow(flat, shape, strides, live, factor, out, sums, folded):
    n = shape[2]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            sums[:] = 0
            held = np.int64(0)
            for p in range(i * factor[0], min((i + 1) * factor[0], shape[0])):
                for q in range(j * factor[1], min((j + 1) * factor[1], shape[1])):
                    if live[p, q]:
                        held += 1
                        at = p * strides[0] + q * strides[1]
                        _add(flat[at : at + n], sums)
            if held:
                _fold(sums, factor[2], folded)
                _round_row(folded, held, n, factor[2], out[i, j])
            else:
                out[i, j, :] = 0


@kernel
def _mean_wide(flat, shape, strides, live, factor, out, flip):
    """64-bit integers: sums of the high and the low 32 bits apart, so that none overflows.

    Unsigned ones come as signed ones whose highest bit `flip` turns, which subtracts 2^63; that is even, so
    the rounding is the same.
    """
    n = shape[2]
    high, low = np.empty(n, np.int64), np.empty(n, np.int64)
    folded_high, folded_low = np.empty(out.shape[2], np.int64), np.empty(out.shape[2], np.int64)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            high[:] = 0
            low[:] = 0
            held = 0
            for p in range(i * factor[0], min((i + 1) * factor[0], shape[0])):
                for q in range(j * factor[1], min((j + 1) * factor[1], shape[1])):
                    if live[p, q]:
                        held += 1
                        at = p * strides[0] + q * strides[1]
                        _add_halves(flat[at : at + n], flip, high, low)
            if held == 0:
                out[i, j, :] = 0
                continue
            _fold(high, factor[2], folded_high)
            _fold(low, factor[2], folded_low)
            for k in range(out.shape[2]):
                count = held * min(factor[2], n - k * factor[2])
                # (high 2^32 + low) / count; what the high half leaves over is carried down.
                floor = folded_high[k] // count
                carried = ((folded_high[k] - floor * count) << 32) + folded_low[k]
                out[i, j, k] = ((floor << 32) + _rounded(carried, count)) ^ flip


@part
def _add_halves(row, flip, high, low):
    for k in range(row.size):
        value = row[k] ^ flip
        high[k] += value >> 32
        low[k] += value & 0xFFFFFFFF
