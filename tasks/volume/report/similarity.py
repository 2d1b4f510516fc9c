"""Structural similarity (SSIM) of a copy's slices to the master's, after Wang, Bovik, Sheikh and Simoncelli (2004).

Windows of 7 x 7 samples with equal weights and sample covariances, K1 = 0.01 and K2 = 0.03. The dynamic range is the
width of the colours in which the master is shown. Windows that hold a missing or a non-finite sample do not count.
"""

from collections.abc import Iterable

import numpy as np

from tasks.volume.copies.likeness import WINDOW, windows_alike

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
    side = min(WINDOW, *master.shape)
    shown = shown & np.isfinite(master) & np.isfinite(copy)
    whole = np.lib.stride_tricks.sliding_window_view(shown, (side, side)).all(axis=(-2, -1))
    if side < 2 or not whole.any():
        return 0.0, 0
    # What does not count is filled with a value that is there: no window that counts has it.
    first, second = (np.where(shown, part, part[shown][0]) for part in (master, copy))
    alike = windows_alike(first, second, width)[whole]
    return float(alike.sum()), alike.size
