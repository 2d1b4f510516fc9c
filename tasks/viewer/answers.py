"""Define the request of a screen and its answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tasks.viewer.scene import Plane

LONGEST_STEP = 10  # positions from one plane to the next; what goes further is a jump
STEPS_AHEAD = 8


@dataclass(frozen=True)
class Request:
    """The request of a screen.

    Attributes:
        plane: The plane.
        at: The position along each axis at level 0; those along the plane's own axes are ignored.
        seen: Start and stop of the visible range across and down, in positions of level 0.
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
        values: float32 of shape (down, across), NaN where there is no sample; thinned to the resolution of the screen.
        extent: Left, right, first and last edge of the cells, in positions of level 0.
        level: The level it was read from.
        array: Path of the array it was read from; a difference names the copy.
        max_abs_error: Largest error of a sample against the master; NaN for a coarser level of means.
        every: Thinning across and down: every n-th sample is shown.
        partial: Whether this is only the middle of the requested range.
        full: The values before they were thinned.
        step: Positions of level 0 from one row and column of `full` to the next: across, down.
        distance: For an arbitrary line, the distance on the ground for each column of `full`.
        is_first: Whether this is a coarser level, shown until a sharper answer is ready.
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


def following(before: Request, now: Request, sizes: Sequence[int]) -> list[Request]:
    """Return the next requests if the view continues to move as it did; none if it did not move, or jumped.

    Args:
        before: Request that was answered before.
        now: Request that was answered last.
        sizes: Number of positions along each axis.
    """
    plane = now.plane
    if (before.plane, before.pixels, before.shown) != (plane, now.pixels, now.shown):
        return []
    steps = [
        0 if axis in plane.axes else new - old
        for axis, (old, new) in enumerate(zip(before.at, now.at, strict=True))
    ]
    pans = [new[0] - old[0] for old, new in zip(before.seen, now.seen, strict=True)]
    widths = [(new[1] - new[0], old[1] - old[0]) for old, new in zip(before.seen, now.seen, strict=True)]
    is_zoom = any(abs(new - old) > 1 for new, old in widths)
    is_jump = any(abs(step) > LONGEST_STEP for step in steps) or any(
        abs(pan) > width for pan, (width, _) in zip(pans, widths, strict=True)
    )
    if is_zoom or is_jump or not any((*steps, *pans)):
        return []
    found = []
    for count in range(1, STEPS_AHEAD + 1):
        at = tuple(place + count * step for place, step in zip(now.at, steps, strict=True))
        seen = tuple(
            (max(start + count * pan, 0), min(stop + count * pan, sizes[axis]))
            for (start, stop), pan, axis in zip(now.seen, pans, (plane.across, plane.down), strict=True)
        )
        is_inside = all(0 <= place < size for place, size in zip(at, sizes, strict=True))
        if not is_inside or any(start >= stop for start, stop in seen):
            break
        found.append(replace(now, at=at, seen=(seen[0], seen[1])))
    return found
