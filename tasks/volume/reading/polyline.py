"""Find the traces along a line through a survey."""

import itertools
from collections.abc import Sequence

import numpy as np

from tasks.volume.outcomes import InputRefused


def positions_of(labels: np.ndarray, wanted: np.ndarray, name: str, where: str) -> np.ndarray:
    """Return where line numbers lie on an axis, as fractions of positions.

    Raises:
        InputRefused: A line number lies outside of the axis.
    """
    ascending = labels if labels[0] <= labels[-1] else labels[::-1]
    outside = ~((wanted >= ascending[0]) & (wanted <= ascending[-1]))
    if outside.any():
        raise InputRefused(
            f"{name} {wanted[outside][0]:g} is outside of {where}, whose {name} goes from {ascending[0]:g} to "
            f"{ascending[-1]:g}"
        )
    positions = np.interp(wanted, ascending, np.arange(labels.size))
    return positions if ascending is labels else labels.size - 1 - positions


def traces_along(corners: np.ndarray) -> np.ndarray:
    """Return the cells along a line through corners, in its order and none twice in a row, int64 (trace, 2).

    From one cell to the next neither position changes by more than 1.

    Args:
        corners: Positions on both axes, in fractions, of shape (corner, 2).
    """
    pieces = []
    for start, end in itertools.pairwise(corners):
        count = max(int(np.ceil(np.abs(end - start).max())), 1)
        pieces.append(start + np.linspace(0, 1, count + 1)[:, np.newaxis] * (end - start))
    # Half-way between two traces the same one is taken, whatever the last bits of the positions are.
    cells = np.floor(np.round(np.concatenate(pieces), 6) + 0.5).astype(np.int64)
    return cells[np.concatenate([[True], (np.diff(cells, axis=0) != 0).any(axis=1)])]


def corners_of(points: Sequence[Sequence[float]]) -> np.ndarray:
    """Return points as float64 of shape (point, 2).

    Raises:
        InputRefused: There are fewer than two points, or they are not pairs of numbers.
    """
    try:
        corners = np.asarray(points, float)
    except (TypeError, ValueError):
        corners = np.empty(0)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 2 or not np.isfinite(corners).all():
        raise InputRefused(
            "a line needs two points or more; give pairs of numbers such as [(100, 300), (180, 420)]"
        )
    return corners
