"""Coarser levels other than by means: median, mode, least and greatest of each cell of samples.

The valid values of a cell (live, and not NaN) are collected and sorted; cells hold few values. Least and greatest are
found row by row instead, which vectorises. The median of an even number of values is the mean of the two in the middle,
rounded half to even for integers; of equally frequent values, the mode is the smallest.
"""

import math

import numpy as np

from tasks.volume.kernels.compiled import kernel, part
from tasks.volume.kernels.rows import as_mask, as_rows

MEDIAN, MODE = range(2)
FEW = 64  # values that are put in order one by one; more are sorted


def median_or_mode(
    fine: np.ndarray, live: np.ndarray, factor: tuple[int, int, int], out: np.ndarray, which: int
) -> None:
    """Fill `out` with the median or mode of each cell of `fine`; 0, or NaN in floats, for cells without valid values.

    Args:
        fine: Whole numbers of 8 to 64 bits, float32 or float64, with 3 axes, any strides.
        live: bool, over the first two axes. NaN values are not valid either.
        factor: Samples of `fine` per sample of `out` along each axis; cells at the far edges may be short.
        out: C-contiguous, the same dtype, shape ``ceil(fine.shape / factor)``.
        which: MEDIAN or MODE.
    """
    _check(fine, live, factor, out)
    flat, strides = as_rows(fine)
    room = np.empty(math.prod(min(f, n) for f, n in zip(factor, fine.shape, strict=True)), fine.dtype)
    live = as_mask(live)
    nothing = np.array(np.nan if fine.dtype.kind == "f" else 0, fine.dtype)[()]
    if which == MODE:
        _modes(flat, fine.shape, strides, live, factor, out, room, nothing)
    elif fine.dtype.kind == "f":
        _float_medians(flat, fine.shape, strides, live, factor, out, room, nothing)
    else:
        _integer_medians(flat, fine.shape, strides, live, factor, out, room)


def extreme(
    fine: np.ndarray, live: np.ndarray, factor: tuple[int, int, int], out: np.ndarray, *, greatest: bool
) -> None:
    """Fill `out` with the least, or greatest, value of each cell of `fine`; 0, or NaN, for cells without valid values.

    Args as `median_or_mode`.
    """
    _check(fine, live, factor, out)
    flat, strides = as_rows(fine)
    live = as_mask(live)
    if fine.dtype.kind == "f":
        first = np.array(-np.inf if greatest else np.inf, fine.dtype)[()]
        _float_extremes(
            flat, fine.shape, strides, live, factor, out, np.empty(fine.shape[2], fine.dtype), first, greatest
        )
    else:
        limits = np.iinfo(fine.dtype)
        first = np.array(limits.min if greatest else limits.max, fine.dtype)[()]
        _integer_extremes(
            flat, fine.shape, strides, live, factor, out, np.empty(fine.shape[2], fine.dtype), first, greatest
        )


def _check(fine: np.ndarray, live: np.ndarray, factor: tuple[int, int, int], out: np.ndarray) -> None:
    if fine.ndim != 3 or len(factor) != 3 or min(factor) < 1 or math.prod(factor) > 2**30:
        raise ValueError(
            f"cells take 3 axes and 3 factors of at least 1, got shape {fine.shape} and {factor}"
        )
    if not (fine.dtype.isnative and (fine.dtype.kind in "iu" or fine.dtype in (np.float32, np.float64))):
        raise ValueError(f"got {fine.dtype}, wanted native whole numbers, float32 or float64")
    if live.shape != fine.shape[:2]:
        raise ValueError(f"live has shape {live.shape}, but the rows have {fine.shape[:2]}")
    shape = tuple(math.ceil(n / f) for n, f in zip(fine.shape, factor, strict=True))
    if out.shape != shape or out.dtype != fine.dtype or not out.flags.c_contiguous:
        raise ValueError(
            f"{fine.dtype} {fine.shape} reduced by {factor} is {shape}, C-contiguous, but out is "
            f"{out.dtype} {out.shape}"
        )


@part
def _sort(values):
    """Shell's sort: numpy's own takes numba a second to compile for each type."""
    gap = 1
    while gap < values.size // 3:
        gap = 3 * gap + 1
    while gap:
        for k in range(gap, values.size):
            value, place = values[k], k
            while place >= gap and values[place - gap] > value:
                values[place] = values[place - gap]
                place -= gap
            values[place] = value
        gap //= 3


@part
def _gather(flat, shape, strides, live, factor, i, j, k, room):
    """Put what counts of one cell into `room` in order; return how many that is."""
    held = 0
    start, stop = k * factor[2], min((k + 1) * factor[2], shape[2])
    for p in range(i * factor[0], min((i + 1) * factor[0], shape[0])):
        for q in range(j * factor[1], min((j + 1) * factor[1], shape[1])):
            if not live[p, q]:
                continue
            at = p * strides[0] + q * strides[1]
            for r in range(start, stop):
                value = flat[at + r]
                if value != value:
                    continue
                if held >= FEW:
                    room[held] = value
                else:
                    place = held
                    while place > 0 and room[place - 1] > value:
                        room[place] = room[place - 1]
                        place -= 1
                    room[place] = value
                held += 1
    if held > FEW:
        _sort(room[:held])
    return held


@part
def _lesser(x, y):
    return x if x < y else y


@part
def _greater(x, y):
    return y if x < y else x


@part
def _in_order(a, b, c, d, e, f, g, h):
    """Eight values in order, without a branch: 19 exchanges (Knuth, The Art of Computer Programming, 5.3.4)."""
    a, c = _lesser(a, c), _greater(a, c)
    b, d = _lesser(b, d), _greater(b, d)
    e, g = _lesser(e, g), _greater(e, g)
    f, h = _lesser(f, h), _greater(f, h)
    a, e = _lesser(a, e), _greater(a, e)
    b, f = _lesser(b, f), _greater(b, f)
    c, g = _lesser(c, g), _greater(c, g)
    d, h = _lesser(d, h), _greater(d, h)
    a, b = _lesser(a, b), _greater(a, b)
    c, d = _lesser(c, d), _greater(c, d)
    e, f = _lesser(e, f), _greater(e, f)
    g, h = _lesser(g, h), _greater(g, h)
    c, e = _lesser(c, e), _greater(c, e)
    d, f = _lesser(d, f), _greater(d, f)
    b, e = _lesser(b, e), _greater(b, e)
    d, g = _lesser(d, g), _greater(d, g)
    b, c = _lesser(b, c), _greater(b, c)
    d, e = _lesser(d, e), _greater(d, e)
    f, g = _lesser(f, g), _greater(f, g)
    return a, b, c, d, e, f, g, h


@part
def _middle(low, high):
    """Mean of two whole numbers: rounded down, which cannot overflow; a half goes to the even neighbour."""
    middle = (low & high) + ((low ^ high) >> 1)
    return middle + ((low ^ high) & middle & 1)


@part
def _middle_float(low, high):
    middle = (np.float64(low) + np.float64(high)) / 2
    # A sum beyond float64's range is no Inf.
    return middle if middle - middle == 0 else np.float64(low) / 2 + np.float64(high) / 2


@part
def _most(values):
    """Return the most frequent of eight ordered values, the smallest of several."""
    best, last, most, count = values[0], values[0], 1, 1
    for value in values[1:]:
        count = count + 1 if value == last else 1
        last = value
        if count > most:
            best, most = value, count
    return best


@part
def _clean(row):
    """Return whether a row is without NaN."""
    count = np.int32(0)
    for k in range(row.size):
        count += np.int32(row[k] != row[k])
    return count == 0


@part
def _rows_of(flat, shape, strides, live, factor, i, j):
    """Return the four rows of a line of cells of factors 1 and 2; one that is not there is the other once more.

    A value that comes twice, like all others of its cell, changes neither its median nor its mode.
    """
    p = i * factor[0]
    q = j * factor[1]
    r = min(p + factor[0], shape[0]) - 1
    s = min(q + factor[1], shape[1]) - 1
    n = shape[2]
    good = live[p, q] and live[p, s] and live[r, q] and live[r, s]
    a, b = p * strides[0] + q * strides[1], p * strides[0] + s * strides[1]
    c, d = r * strides[0] + q * strides[1], r * strides[0] + s * strides[1]
    return good, flat[a : a + n], flat[b : b + n], flat[c : c + n], flat[d : d + n]


@kernel
def _modes(flat, shape, strides, live, factor, out, room, nothing):
    n, step = shape[2], factor[2]
    narrow = factor[0] <= 2 and factor[1] <= 2 and step <= 2
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            row, done = out[i, j], 0
            if narrow:
                good, a, b, c, d = _rows_of(flat, shape, strides, live, factor, i, j)
                if good and _clean(a) and _clean(b) and _clean(c) and _clean(d):
                    done = n // step
                    for k in range(done):
                        x, y = k * step, k * step + step - 1
                        row[k] = _most(_in_order(a[x], a[y], b[x], b[y], c[x], c[y], d[x], d[y]))
            for k in range(done, row.size):
                held = _gather(flat, shape, strides, live, factor, i, j, k, room)
                best, most, count = nothing, 0, 0
                for m in range(held):
                    count = count + 1 if m > 0 and room[m] == room[m - 1] else 1
                    if count > most:
                        best, most = room[m], count
                row[k] = best


@kernel
def _float_medians(flat, shape, strides, live, factor, out, room, nothing):
    n, step = shape[2], factor[2]
    narrow = factor[0] <= 2 and factor[1] <= 2 and step <= 2
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            row, done = out[i, j], 0
            if narrow:
                good, a, b, c, d = _rows_of(flat, shape, strides, live, factor, i, j)
                if good and _clean(a) and _clean(b) and _clean(c) and _clean(d):
                    done = n // step
                    for k in range(done):
                        x, y = k * step, k * step + step - 1
                        ordered = _in_order(a[x], a[y], b[x], b[y], c[x], c[y], d[x], d[y])
                        row[k] = _middle_float(ordered[3], ordered[4])
            for k in range(done, row.size):
                held = _gather(flat, shape, strides, live, factor, i, j, k, room)
                if held == 0:
                    row[k] = nothing
                else:
                    row[k] = _middle_float(room[(held - 1) // 2], room[held // 2])


@kernel
def _integer_medians(flat, shape, strides, live, factor, out, room):
    n, step = shape[2], factor[2]
    narrow = factor[0] <= 2 and factor[1] <= 2 and step <= 2
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            row, done = out[i, j], 0
            if narrow:
                good, a, b, c, d = _rows_of(flat, shape, strides, live, factor, i, j)
                if good:
                    done = n // step
                    for k in range(done):
                        x, y = k * step, k * step + step - 1
                        ordered = _in_order(a[x], a[y], b[x], b[y], c[x], c[y], d[x], d[y])
                        row[k] = _middle(ordered[3], ordered[4])
            for k in range(done, row.size):
                held = _gather(flat, shape, strides, live, factor, i, j, k, room)
                if held:
                    row[k] = _middle(room[(held - 1) // 2], room[held // 2])
                else:  # as an expression with 0, uint64 would become float64
                    row[k] = 0


@kernel
def _integer_extremes(flat, shape, strides, live, factor, out, line, first, greatest):
    n = shape[2]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            line[:] = first
            held = 0
            for p in range(i * factor[0], min((i + 1) * factor[0], shape[0])):
                for q in range(j * factor[1], min((j + 1) * factor[1], shape[1])):
                    if live[p, q]:
                        held += 1
                        at = p * strides[0] + q * strides[1]
                        row = flat[at : at + n]
                        if greatest:
                            for k in range(n):
                                line[k] = max(line[k], row[k])
                        else:
                            for k in range(n):
                                line[k] = min(line[k], row[k])
            for k in range(out.shape[2]):
                best = line[k * factor[2]]
                for r in range(k * factor[2] + 1, min((k + 1) * factor[2], n)):
                    best = max(best, line[r]) if greatest else min(best, line[r])
                if held:
                    out[i, j, k] = best
                else:
                    out[i, j, k] = 0


@kernel
def _float_extremes(flat, shape, strides, live, factor, out, line, first, greatest):
    """Return a comparison with NaN is false, so NaN never enters; a line that is still `first` may be all NaN."""
    n = shape[2]
    numbers = np.empty(n, np.bool_)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            line[:] = first
            numbers[:] = False
            for p in range(i * factor[0], min((i + 1) * factor[0], shape[0])):
                for q in range(j * factor[1], min((j + 1) * factor[1], shape[1])):
                    if live[p, q]:
                        at = p * strides[0] + q * strides[1]
                        row = flat[at : at + n]
                        if greatest:
                            for k in range(n):
                                line[k] = row[k] if row[k] > line[k] else line[k]
                                numbers[k] |= row[k] == row[k]
                        else:
                            for k in range(n):
                                line[k] = row[k] if row[k] < line[k] else line[k]
                                numbers[k] |= row[k] == row[k]
            for k in range(out.shape[2]):
                best, held = first, False
                for r in range(k * factor[2], min((k + 1) * factor[2], n)):
                    held |= numbers[r]
                    if greatest:
                        best = line[r] if line[r] > best else best
                    else:
                        best = line[r] if line[r] < best else best
                out[i, j, k] = best if held else np.nan
