"""Fit the map from line numbers to coordinates on the ground, and invert it."""

from dataclasses import dataclass

import numpy as np

from tasks.volume.outcomes import InputRefused

LARGEST_RESIDUAL = 0.5  # bins: beyond it the nearest trace could be another one
LEAST_TRACES = 3


@dataclass(frozen=True, eq=False)
class Affine:
    """X and Y as an affine function of two line numbers.

    Attributes:
        origin: X and Y at the line numbers `at`.
        at: Line numbers in the middle of the survey, from which differences are taken.
        steps: float64 (2, 2): change of X and Y (rows) for one step of each line number (columns).
        residual: Largest distance of a trace's own coordinates from the fitted ones.
    """

    origin: np.ndarray
    at: np.ndarray
    steps: np.ndarray
    residual: float

    def xy(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return X and Y of line numbers, which may lie between traces."""
        away = np.stack([np.asarray(first, float) - self.at[0], np.asarray(second, float) - self.at[1]])
        x, y = np.tensordot(self.steps, away, axes=1)
        return x + self.origin[0], y + self.origin[1]

    def at_xy(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the line numbers of X and Y, with what lies between traces as fractions."""
        away = np.stack([np.asarray(x, float) - self.origin[0], np.asarray(y, float) - self.origin[1]])
        first, second = np.tensordot(np.linalg.inv(self.steps), away, axes=1)
        return first + self.at[0], second + self.at[1]

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance on the ground for one step of each line number."""
        first, second = np.hypot(*self.steps)
        return float(first), float(second)


def fitted(
    first: np.ndarray,
    second: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    steps: tuple[float, float],
    where: str,
) -> Affine:
    """Return the affine map that fits the coordinates of traces best.

    Args:
        first: Line numbers of traces along the first dimension.
        second: Line numbers along the second.
        x: Coordinates of the same traces.
        y: Likewise.
        steps: Difference of neighbouring line numbers along each dimension, which makes a bin.
        where: The volume, for messages.

    Raises:
        InputRefused: The traces lie on one line, or their coordinates are no affine function of the line numbers.
    """
    known = np.isfinite(x) & np.isfinite(y) & ~((x == 0) & (y == 0))
    first, second, x, y = (np.asarray(values, float)[known] for values in (first, second, x, y))
    needs = "read coordinates with headers=['cdp_x', 'cdp_y'] instead"
    if first.size < LEAST_TRACES:
        raise InputRefused(f"{where} has coordinates for {first.size} traces, too few to fit a map; {needs}")
    at = np.array([first.mean(), second.mean()])
    origin = np.array([x.mean(), y.mean()])
    design = np.stack([first - at[0], second - at[1]], axis=1)
    solved, _, rank, _ = np.linalg.lstsq(design, np.stack([x - origin[0], y - origin[1]], axis=1), rcond=None)
    matrix = solved.T
    sides = np.hypot(*matrix) * np.abs(steps)
    area = abs(np.linalg.det(matrix)) * abs(steps[0] * steps[1])
    if rank < 2 or area <= 1e-6 * sides[0] * sides[1]:
        raise InputRefused(
            f"the traces of {where} lie on one line, so X and Y do not determine both line numbers; {needs}"
        )
    residual = float(np.hypot(*(matrix @ design.T - np.stack([x - origin[0], y - origin[1]]))).max())
    if residual > LARGEST_RESIDUAL * sides.min():
        raise InputRefused(
            f"the coordinates of {where} are up to {residual:g} off any affine map of its line numbers, more than half "
            f"a bin ({sides.min() / 2:g}); {needs}"
        )
    return Affine(origin, at, matrix, residual)
