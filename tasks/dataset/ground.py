"""Locate the traces of an open volume on the ground, and find those that a line through the survey meets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.dataset.opened import Opened
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.affine import Affine, fitted
from tasks.volume.reading.indexing import Group, read_selection
from tasks.volume.reading.polyline import corners_of, positions_of, traces_along

COORDINATES = ("cdp_x", "cdp_y")
FITTED_TRACES = 1 << 20  # more are thinned to whole rows of the grid


def line_dims(opened: Opened) -> tuple[str, str]:
    """Return the two dimensions that number the lines of a 3-D survey.

    Raises:
        InputRefused: The volume is not a 3-D survey.
    """
    first, second = ((*opened.dims, "", "")[:2]) if len(opened.dims) > 2 else ("", "")
    if not opened.volume.has("trace_mask") or (first, second) != ("inline", "crossline"):
        raise InputRefused(
            f"{opened.where} is not numbered by inline and crossline, but by {', '.join(opened.dims)}; choose traces "
            "with sel"
        )
    return first, second


def survey_map(opened: Opened) -> Affine:
    """Return the affine map between line numbers and coordinates of the volume's traces.

    Raises:
        InputRefused: There are no coordinates, or they do not fit.
    """
    finest = opened if opened.level == 0 else opened.at_level(0, 0.0)
    dims = line_dims(finest)
    volume = finest.volume
    if not all(volume.has(name) and volume.spec(name).dims == dims for name in COORDINATES):
        raise InputRefused(
            f"{finest.where} has no cdp_x and cdp_y for each inline and crossline, so there is no map of it"
        )
    labels = [finest.labels[dim] for dim in dims]
    rows = np.arange(labels[0].size)
    every = -(-labels[0].size * labels[1].size // FITTED_TRACES)
    rows = np.unique(np.append(rows[::every], rows[-1]))
    groups = [Group((0,), (rows,)), Group((1,), (range(labels[1].size),))]
    x, y = (read_selection(volume.store, volume.spec(name), groups) for name in COORDINATES)
    first, second = np.meshgrid(labels[0][rows], labels[1], indexing="ij")
    steps = tuple(float(np.abs(np.diff(values)).min()) if values.size > 1 else 1.0 for values in labels)
    return fitted(first.ravel(), second.ravel(), x.ravel(), y.ravel(), (steps[0], steps[1]), finest.where)


def line_positions(
    labels: Mapping[str, np.ndarray], points: Sequence[Sequence[float]], survey: Affine | None, where: str
) -> dict[str, np.ndarray]:
    """Return the positions along both line dimensions of the traces that a line meets.

    Args:
        labels: Line numbers along both dimensions.
        points: Corners of the line, pairs of inline and crossline.
        survey: Map of the survey, if the points are pairs of X and Y.
        where: The volume, for messages.

    Raises:
        InputRefused: The line leaves the survey.
    """
    corners = corners_of(points)
    if survey is not None:
        corners = np.stack(survey.at_xy(corners[:, 0], corners[:, 1]), axis=1)
        # What lies on the outermost line by its coordinates may be off by what the coordinates were rounded.
        for column, numbers in enumerate(labels.values()):
            low, high = numbers.min(), numbers.max()
            half = float(np.abs(np.diff(numbers)).min()) / 2 if numbers.size > 1 else 0.5
            values = corners[:, column]
            near = (values >= low - half) & (values <= high + half)
            corners[:, column] = np.where(near, np.clip(values, low, high), values)
    places = [
        positions_of(numbers, corners[:, column], dim, where)
        for column, (dim, numbers) in enumerate(labels.items())
    ]
    return dict(zip(labels, traces_along(np.stack(places, axis=1)).T, strict=True))


def along(survey: Affine, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distance on the ground from the first trace of a line to each."""
    x, y = survey.xy(first, second)
    return np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])


def as_numbers(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return two numbers as Python's own, which print as numbers; arrays as they are."""
    first, second = (value.item() if np.ndim(value) == 0 else value for value in pair)
    return first, second
