"""Define the request of a screen and its answer."""

from dataclasses import dataclass, field

import numpy as np

from tasks.viewer.scene import Plane


@dataclass(frozen=True)
class Request:
    """The request of a screen.

    Attributes:
        plane: The plane.
        at: The position along each axis at level 0; those of the plane's own axes do not matter.
        seen: Start and stop of what is seen across and down, in positions of level 0.
        pixels: Width and height of the screen.
        shown: `fastest`, `master`, the path of a copy, or `difference: ` and the path of a copy.
    """

    plane: Plane
    at: tuple[int, ...]
    seen: tuple[tuple[int, int], tuple[int, int]]
    pixels: tuple[int, int]
    shown: str = "fastest"


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a screen's request.

    Attributes:
        values: float32 of shape (down, across), NaN where nothing is; thinned to what the screen can show.
        extent: Left, right, first and last edge in positions of level 0: those of cells, not of their middles.
        level: The level it was read from.
        array: Path of the array it was read from; a difference names the copy.
        max_abs_error: Largest error of a sample against the master; NaN for a coarser level of means.
        every: Thinning across and down: every so manyth sample is shown.
        partial: Whether this is the middle of what was asked for.
        full: The values before they were thinned.
        step: Positions of level 0 from one row and column of `full` to the next: across, down.
        distance: For an arbitrary line, the distance on the ground for each column of `full`.
        is_first: Whether this is a coarser level, to be shown until a sharper answer is there.
        traces: For an arbitrary line, the positions along both axes of lines for each column of `full`.
    """

    values: np.ndarray
    extent: tuple[float, float, float, float]
    level: int
    array: str
    max_abs_error: float
    every: tuple[int, int]
    partial: bool
    full: np.ndarray
    step: tuple[float, float]
    distance: np.ndarray = field(default_factory=lambda: np.empty(0))
    is_first: bool = False
    traces: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))
