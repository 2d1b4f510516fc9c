"""The map of the traces, in X and Y if a survey map can be fitted, else in line numbers."""

from dataclasses import dataclass

import numpy as np

from tasks.dataset.opened import TRACE_MASK
from tasks.viewer.model import LookedAt
from tasks.viewer.scene import ShownAxis
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.indexing import read_arrays

MAP_PIXELS = 512
COORDINATES = ("cdp_x", "cdp_y")


@dataclass(frozen=True, eq=False)
class SurveyMap:
    """The content of the map.

    Attributes:
        live: uint8 of shape (up, across): 1 where a trace is.
        extent: Left, right, bottom and top edge.
        titles: Titles of the horizontal and the vertical axis.
        on_ground: Whether the axes are X and Y, of one scale.
        track: X and Y of the traces of a single line.
        track_axis: The axis along which these are.
    """

    live: np.ndarray
    extent: tuple[float, float, float, float]
    titles: tuple[str, str]
    on_ground: bool
    track: tuple[np.ndarray, np.ndarray] = (np.empty(0), np.empty(0))
    track_axis: int = 0


def map_of(looked: LookedAt) -> SurveyMap | None:
    """Return the map of a volume; None if it has no traces."""
    if not looked.has_traces:
        return None
    if len(looked.axes) == 2:
        return _track(looked, 0)
    sizes = [axis.size for axis in looked.axes[:2]]
    if 1 in sizes and len(looked.axes) == 3 and (found := _track(looked, sizes.index(max(sizes)))):
        return found
    live = _live(looked)
    first, second = looked.axes[:2]
    low, high = np.array([-0.5, -0.5]), np.array([first.size - 0.5, second.size - 0.5])
    if looked.survey is None:
        edges = [
            axis.coordinate(p)
            for axis, p in ((second, low[1]), (second, high[1]), (first, low[0]), (first, high[0]))
        ]
        image = live[:: 1 if edges[3] > edges[2] else -1, :: 1 if edges[1] > edges[0] else -1]
        extent = (min(edges[:2]), max(edges[:2]), min(edges[2:]), max(edges[2:]))
        return SurveyMap(image.astype(np.uint8), extent, (second.title, first.title), False)
    corners = np.array([(low[0], low[1]), (low[0], high[1]), (high[0], low[1]), (high[0], high[1])])
    x, y = looked.survey.xy(*_numbers(looked, corners[:, 0], corners[:, 1]))
    extent = (float(x.min()), float(x.max()), float(y.min()), float(y.max()))
    pixel = max(extent[1] - extent[0], extent[3] - extent[2]) / MAP_PIXELS
    columns = extent[0] + pixel * (np.arange(max(1, int(np.ceil((extent[1] - extent[0]) / pixel)))) + 0.5)
    rows = extent[2] + pixel * (np.arange(max(1, int(np.ceil((extent[3] - extent[2]) / pixel)))) + 0.5)
    numbers = looked.survey.at_xy(*np.meshgrid(columns, rows))
    places = [
        np.floor(_positions(axis.labels, number) + 0.5).astype(np.int64)
        for axis, number in zip((first, second), numbers, strict=True)
    ]
    inside = np.logical_and.reduce(
        [(place >= 0) & (place < axis.size) for place, axis in zip(places, (first, second), strict=True)]
    )
    shrunk = [
        np.clip(place * extent_live // axis.size, 0, extent_live - 1)
        for place, axis, extent_live in zip(places, (first, second), live.shape, strict=True)
    ]
    shown = inside & live[shrunk[0], shrunk[1]]
    unit = _unit(looked)
    whole = (extent[0], float(columns[-1] + pixel / 2), extent[2], float(rows[-1] + pixel / 2))
    return SurveyMap(shown.astype(np.uint8), whole, (f"X{unit}", f"Y{unit}"), True)


def _live(looked: LookedAt) -> np.ndarray:
    """Return which cells of the first two axes hold a trace, from the coarsest level that is sharp enough."""
    count = len(looked.volume.state.levels)
    for level in reversed(range(count)):
        opened = looked.finest.at_level(level, 0.0) if level else looked.finest
        if level and (not opened.has(TRACE_MASK) or max(opened.shape[:2]) < MAP_PIXELS):
            continue
        if opened.mask is not None:
            return np.asarray(opened.mask.any(axis=tuple(range(2, opened.mask.ndim))))
    return np.ones((1, 1), bool)  # the mask is too large for memory, and there is no coarser one


def _numbers(looked: LookedAt, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return line numbers of positions, also beyond the outermost lines."""
    found = []
    for axis, places in zip(looked.axes[:2], (first, second), strict=True):
        if axis.step:
            found.append(axis.labels[0] + places * axis.step)
        else:
            found.append(np.interp(places, np.arange(axis.size), axis.labels))
    return found[0], found[1]


def _positions(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return positions of line numbers, in fractions, and what is half a step beyond the outermost as well."""
    if labels.size == 1:
        return np.asarray(numbers - labels[0], np.float64)
    ascending = labels[-1] > labels[0]
    ordered = labels if ascending else labels[::-1]
    found = np.interp(numbers, ordered, np.arange(labels.size))
    below, above = numbers < ordered[0], numbers > ordered[-1]
    found = np.where(below, (numbers - ordered[0]) / (ordered[1] - ordered[0]), found)
    found = np.where(above, labels.size - 1 + (numbers - ordered[-1]) / (ordered[-1] - ordered[-2]), found)
    return np.asarray(found if ascending else labels.size - 1 - found)


def _unit(looked: LookedAt) -> str:
    stored = looked.volume.array_attributes(COORDINATES[0]) if looked.volume.has(COORDINATES[0]) else {}
    unit = stored.get("units") or next(iter(stored.get("unitsV1", {}).values()), "")
    return f" ({unit})" if unit else ""


def _track(looked: LookedAt, axis: int) -> SurveyMap | None:
    """Return the map of a survey that is a single line along an axis; None if it has no coordinates."""
    volume, dims = looked.volume, looked.finest.dims[:-1]
    if not all(volume.has(name) and volume.spec(name).dims == dims for name in COORDINATES):
        return None
    x, y = (
        values.reshape(-1)
        for values in read_arrays(volume.store, [volume.spec(name) for name in COORDINATES])
    )
    known = np.isfinite(x) & np.isfinite(y) & ~((x == 0) & (y == 0))
    if not known.any():
        return None
    x, y = np.where(known, x, np.nan), np.where(known, y, np.nan)
    extent = (float(np.nanmin(x)), float(np.nanmax(x)), float(np.nanmin(y)), float(np.nanmax(y)))
    unit = _unit(looked)
    return SurveyMap(np.zeros((1, 1), np.uint8), extent, (f"X{unit}", f"Y{unit}"), True, (x, y), axis)


def cell_at(looked: LookedAt, shown: SurveyMap, x: float, y: float) -> tuple[int, ...] | None:
    """Return the positions along the axes of traces at a point of the map; None outside of the survey.

    Of a single line it is the nearest trace.
    """
    if shown.track[0].size:
        nearest = int(np.nanargmin(np.hypot(shown.track[0] - x, shown.track[1] - y)))
        return tuple(nearest if axis == shown.track_axis else 0 for axis in range(len(looked.axes) - 1))
    first, second = looked.axes[:2]
    if looked.survey is None:
        cells = (first.cell(y), second.cell(x))
    else:
        numbers = looked.survey.at_xy(np.array([x]), np.array([y]))
        places = [
            int(np.floor(_positions(axis.labels, number)[0] + 0.5))
            for axis, number in zip((first, second), numbers, strict=True)
        ]
        cells = tuple(
            p if 0 <= p < axis.size else None for p, axis in zip(places, (first, second), strict=True)
        )  # type: ignore[assignment]
    return None if None in cells else tuple(int(cell) for cell in cells if cell is not None)


def on_map(
    looked: LookedAt, shown: SurveyMap, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where positions along the first two axes are drawn on the map, across and up."""
    if looked.survey is None:
        across = np.array([looked.axes[1].coordinate(float(p)) for p in second])
        return across, np.array([looked.axes[0].coordinate(float(p)) for p in first])
    return looked.survey.xy(*_numbers(looked, np.asarray(first, float), np.asarray(second, float)))


def corners_from(
    looked: LookedAt, shown: SurveyMap, xs: list[float], ys: list[float]
) -> list[tuple[float, float]]:
    """Return corners drawn on the map as pairs of line numbers; those beyond the survey are moved to its edge."""
    pairs = []
    for x, y in zip(xs, ys, strict=True):
        if looked.survey is not None:
            numbers = [float(n[0]) for n in looked.survey.at_xy(np.array([x]), np.array([y]))]
        else:
            numbers = [_label(looked.axes[0], y), _label(looked.axes[1], x)]
        kept = [
            float(np.clip(number, axis.labels.min(), axis.labels.max()))
            for number, axis in zip(numbers, looked.axes[:2], strict=True)
        ]
        pairs.append((kept[0], kept[1]))
    return pairs


def _label(axis: ShownAxis, coordinate: float) -> float:
    return float(np.interp(axis.position(coordinate), np.arange(axis.size), axis.labels))


def parsed_corners(text: str) -> list[tuple[float, float]]:
    """Return corners from text such as "100,300; 180,420".

    Raises:
        InputRefused: The text is not a line of at least two corners.
    """
    try:
        pairs = [
            tuple(float(number) for number in pair.split(",")) for pair in text.split(";") if pair.strip()
        ]
    except ValueError:
        pairs = []
    if len(pairs) < 2 or any(len(pair) != 2 for pair in pairs):
        raise InputRefused(f"{text!r} is no line; give two corners or more, such as 100,300; 180,420")
    return [(pair[0], pair[1]) for pair in pairs]
