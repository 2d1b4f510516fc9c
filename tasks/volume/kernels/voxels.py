"""Statistics of voxels of any type, added in a fixed order, so that they have the same bits on every processor.

Whole numbers of up to 16 bits are added exactly. Rows of a chunk are reached by strides, so that the part of a
chunk that lies in the volume is not copied.
"""

import numpy as np

from tasks.volume.kernels.compiled import kernel
from tasks.volume.kernels.rows import as_rows

COUNT, MINIMUM, MAXIMUM, SUM, SUM_OF_SQUARES, NONFINITE, ZERO = range(7)  # as in `samples`
LANES = 32


def add_voxels(values: np.ndarray, stats: np.ndarray) -> tuple[int, int] | None:
    """Add voxels to statistics; return the least and the greatest if they are whole numbers.

    Args:
        values: Voxels of any number type or bool, 1 to 3 axes, any strides, at most 2^30.
        stats: Result of `traces.new_stats`; COUNT to ZERO are added to. NaN and Inf are counted only.
    """
    if values.dtype.kind not in "biuf" or not 1 <= values.ndim <= 3 or values.size > 2**30:
        raise ValueError(
            f"statistics take up to 2^30 numbers with 1 to 3 axes, got {values.dtype} {values.shape}"
        )
    if values.size == 0:
        return None
    if values.dtype == bool:
        values = values.view(np.uint8)
    elif values.dtype == np.float16:  # which numba does not compute with
        values = values.astype(np.float32)
    values = values.reshape((1,) * (3 - values.ndim) + values.shape)
    flat, strides = as_rows(values)
    if values.dtype.kind == "f":
        _floats(flat, values.shape, strides, stats)
        return None
    limits = np.array([flat[0], flat[0]])
    if values.dtype.itemsize <= 2:
        _small_integers(flat, values.shape, strides, stats, limits)
    else:
        _integers(flat, values.shape, strides, stats, limits)
    low, high = int(limits[0]), int(limits[1])
    stats[MINIMUM], stats[MAXIMUM] = min(stats[MINIMUM], low), max(stats[MAXIMUM], high)
    return low, high


@kernel
def _small_integers(flat, shape, strides, stats, limits):
    low, high = limits[0], limits[1]
    total, squares, zeros = np.int64(0), np.int64(0), np.int64(0)
    for i in range(shape[0]):
        for j in range(shape[1]):
            at = i * strides[0] + j * strides[1]
            row = flat[at : at + shape[2]]
            # In steps short enough for sums of 32 bits: twice as many fit into a vector.
            for first in range(0, row.size, 16384):
                part = row[first : first + 16384]
                sum_, none = np.int32(0), np.int32(0)
                for k in range(part.size):
                    sum_ += np.int32(part[k])
                    none += np.int32(part[k] == 0)
                    low = min(low, part[k])
                    high = max(high, part[k])
                total += sum_
                zeros += none
                for k in range(part.size):
                    squares += np.int64(np.int32(part[k])) * np.int64(np.int32(part[k]))
    limits[0], limits[1] = low, high
    stats[COUNT] += shape[0] * shape[1] * shape[2]
    stats[SUM] += total
    stats[SUM_OF_SQUARES] += squares
    stats[ZERO] += zeros


@kernel
def _integers(flat, shape, strides, stats, limits):
    low, high = limits[0], limits[1]
    sums, squares, zeros = np.zeros(LANES), np.zeros(LANES), 0
    for i in range(shape[0]):
        for j in range(shape[1]):
            at = i * strides[0] + j * strides[1]
            row = flat[at : at + shape[2]]
            for k in range(row.size):
                value = np.float64(row[k])
                lane = k & (LANES - 1)
                sums[lane] += value
                squares[lane] += value * value
                zeros += row[k] == 0
                low = min(low, row[k])
                high = max(high, row[k])
    limits[0], limits[1] = low, high
    stats[COUNT] += shape[0] * shape[1] * shape[2]
    stats[ZERO] += zeros
    for k in range(LANES):
        stats[SUM] += sums[k]
        stats[SUM_OF_SQUARES] += squares[k]


@kernel
def _floats(flat, shape, strides, stats):
    sums, squares = np.zeros(LANES), np.zeros(LANES)
    lows, highs = np.full(LANES, np.inf), np.full(LANES, -np.inf)
    finite, zeros = np.int64(0), np.int64(0)
    for i in range(shape[0]):
        for j in range(shape[1]):
            at = i * strides[0] + j * strides[1]
            row = flat[at : at + shape[2]]
            whole = row.size - row.size % LANES
            for first in range(0, whole, LANES):
                for k in range(LANES):
                    value = np.float64(row[first + k])
                    # The difference of a finite number with itself is 0, of any other NaN.
                    good = value - value == 0
                    kept = value if good else 0.0
                    sums[k] += kept
                    squares[k] += kept * kept
                    lows[k] = value if good and value < lows[k] else lows[k]
                    highs[k] = value if good and value > highs[k] else highs[k]
                    finite += good
                    zeros += value == 0
            for at in range(whole, row.size):
                value, k = np.float64(row[at]), at - whole
                if value - value == 0:
                    sums[k] += value
                    squares[k] += value * value
                    lows[k] = min(lows[k], value)
                    highs[k] = max(highs[k], value)
                    finite += 1
                    zeros += value == 0
    stats[COUNT] += finite
    stats[NONFINITE] += shape[0] * shape[1] * shape[2] - finite
    stats[ZERO] += zeros
    for k in range(LANES):
        stats[SUM] += sums[k]
        stats[SUM_OF_SQUARES] += squares[k]
        stats[MINIMUM] = min(stats[MINIMUM], lows[k])
        stats[MAXIMUM] = max(stats[MAXIMUM], highs[k])
