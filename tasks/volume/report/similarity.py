"""Structural similarity (SSIM) of a copy's slices to the master's, after Wang, Bovik, Sheikh and Simoncelli (2004).

Windows of 7 x 7 samples with equal weights and sample covariances, K1 = 0.01 and K2 = 0.03. The dynamic range is the
width of the colours in which the master is shown. Windows that hold a missing or a non-finite sample do not count.
"""

from collections.abc import Iterable

import numpy as np

WINDOW = 7
MOST_SAMPLES = 1 << 20  # of one slice


def similarity(pairs: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], width: float) -> float | None:
    """Return the mean SSIM over all windows of some slices; None if there is no whole window.

    Args:
        pairs: Per slice the master's samples, the copy's, and which of them count.
        width: The dynamic range.
    """
    total, count = 0.0, 0
    for master, copy, shown in pairs:
        values, number = _windows(_middle(master), _middle(copy), _middle(shown), width)
        total, count = total + values, count + number
    return total / count if count else None


def _middle(plane: np.ndarray) -> np.ndarray:
    """Return the middle of a slice that is large."""
    rows, columns = plane.shape
    columns_shown = min(columns, max(WINDOW, MOST_SAMPLES // max(1, rows)))
    rows_shown = min(rows, max(WINDOW, MOST_SAMPLES // columns_shown))
    top, left = (rows - rows_shown) // 2, (columns - columns_shown) // 2
    return plane[top : top + rows_shown, left : left + columns_shown]


def _windows(master: np.ndarray, copy: np.ndarray, shown: np.ndarray, width: float) -> tuple[float, int]:
    """Return the sum of SSIM over all windows, and their number."""
    sides = tuple(min(WINDOW, n) for n in master.shape)
    size = sides[0] * sides[1]
    shown = shown & np.isfinite(master) & np.isfinite(copy)
    if size < 2 or not shown.any():
        return 0.0, 0
    # About the middle of the values and in units of the range: sums of squares keep their digits.
    with np.errstate(invalid="ignore", over="ignore"):
        middle = float(master[shown].astype(np.float64).mean())
        first, second = (
            np.where(shown, (part.astype(np.float64) - middle) / width, 0.0) for part in (master, copy)
        )
    whole = _sums(shown.astype(np.float64), sides) > size - 0.5
    if not whole.any():
        return 0.0, 0
    mean_1, mean_2 = (_sums(part, sides) / size for part in (first, second))
    spread = size / (size - 1)
    var_1 = spread * (_sums(first * first, sides) / size - mean_1 * mean_1)
    var_2 = spread * (_sums(second * second, sides) / size - mean_2 * mean_2)
    both = spread * (_sums(first * second, sides) / size - mean_1 * mean_2)
    shift = middle / width
    mean_1, mean_2 = mean_1 + shift, mean_2 + shift
    c1, c2 = 0.01**2, 0.03**2
    found = (2 * mean_1 * mean_2 + c1) * (2 * both + c2)
    found /= (mean_1**2 + mean_2**2 + c1) * (var_1 + var_2 + c2)
    return float(found[whole].sum()), int(np.count_nonzero(whole))


def _sums(plane: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Return the sum over every window of a plane."""
    for axis, side in enumerate(sides):
        sums = np.cumsum(plane, axis=axis)
        first = np.take(sums, [side - 1], axis)
        rest = np.take(sums, range(side, plane.shape[axis]), axis) - np.take(
            sums, range(plane.shape[axis] - side), axis
        )
        plane = np.concatenate([first, rest], axis)
    return plane
