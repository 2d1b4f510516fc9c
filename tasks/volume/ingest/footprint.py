"""Compute the place of a survey: extents of coordinates, corner points, bin sizes, directions of lines.

Blocks sum up what their traces say, as counts, means and products of deviations, which add exactly. The plane through
all traces then gives the coordinates of corners that have no trace, too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import Region
from tasks.volume.ingest.coordinates import coordinate_values
from tasks.volume.segy.geometry import Axis
from tasks.volume.segy.placement import XY, Coordinate, Placement

Facts = dict[str, Any]
_MOST_READ = 1 << 23  # coordinates of an older volume, to say where it lies
_MOST_MISFIT = 0.5  # of a bin; beyond it coordinates follow no grid


def block_footprint(
    placement: Placement,
    axes: Sequence[np.ndarray],
    region: Region,
    cells: np.ndarray,
    headers: np.ndarray,
    byte_order: str,
) -> Facts:
    """Return the X, Y and line numbers of a block's traces, in the form that JSON stores.

    Args:
        placement: Placement of the volume.
        axes: Values of each dimension.
        region: Cells of the block.
        cells: Trace numbers of the region, -1 where none.
        headers: Headers of its traces, in the order of the cells.
        byte_order: Byte order of the files.
    """
    scalar = placement.corrections.coordinate_scalar
    values = {
        coordinate.name: coordinate_values(coordinate, headers, byte_order, scalar)
        for coordinate in placement.coordinates
        if coordinate.scaled
    }
    facts: Facts = {"extents": {}, "moments": []}
    for first, second in _pairs(values):
        # Where nobody filled the coordinates in, both are 0.
        there = (values[first] != 0) | (values[second] != 0)
        if not there.any():
            continue
        for name in (first, second):
            some = values[name][there]
            facts["extents"][name] = [float(some.min()), float(some.max())]
        dims = _lines(placement)
        if (first, second) == XY and dims:
            live = np.nonzero(cells >= 0)
            numbers = [axes[d][live[d] + region[d].start][there] for d in dims]
            facts["moments"] = _moments([*numbers, values[first][there], values[second][there]])
    return facts


def merged_extents(parts: Iterable[Facts]) -> dict[str, tuple[float, float]]:
    """Return least and greatest value of each coordinate over all blocks."""
    merged: dict[str, tuple[float, float]] = {}
    for part in parts:
        for name, (low, high) in part.get("extents", {}).items():
            before = merged.get(name, (low, high))
            merged[name] = (min(before[0], low), max(before[1], high))
    return merged


def footprint(
    placement: Placement, axes: Sequence[Axis], parts: Sequence[Facts], *, unit: str
) -> dict[str, Any]:
    """Return where the survey lies; nothing where no coordinates say it.

    Args:
        placement: Placement of the volume.
        axes: Axes of its grid.
        parts: Results of `block_footprint` for all blocks.
        unit: Unit of the coordinates; angles have no distances.

    Returns:
        `x` and `y` as least and greatest value; and for lines on a plane grid `corners`, `bin_size` per step and
        `azimuth` (degrees from north, clockwise) in which each number increases, and `misfit`, the root mean square
        of the distance of the traces from that grid.
    """
    extents = merged_extents(parts)
    if not all(name in extents for name in XY):
        return {}
    place: dict[str, Any] = {"unit": unit} if unit else {}
    place |= {axis: [*extents[name]] for axis, name in zip("xy", XY, strict=True)}
    moments = _added([part["moments"] for part in parts if part.get("moments")])
    dims = _lines(placement)
    if unit == "deg" or len(dims) != 2 or not moments:
        return place
    return place | _plane(moments, [axes[d] for d in dims])


def footprint_of(volume: Volume) -> dict[str, Any]:
    """Return where the survey of a volume lies whose root does not say it, from its coordinates."""
    placement = Placement.from_json(volume.state.index["placement"])
    xy = [coordinate for coordinate in placement.coordinates if coordinate.name in XY]
    if len(xy) != len(XY) or math.prod(volume.spec(XY[0]).shape) > _MOST_READ:
        return {}
    x, y = (volume.read(name) for name in XY)
    there = np.isfinite(x) & np.isfinite(y) & ((x != 0) | (y != 0))
    if not there.any():
        return {}
    values = dict(zip(XY, (x[there], y[there]), strict=True))
    extents = {name: [float(some.min()), float(some.max())] for name, some in values.items()}
    facts: Facts = {"extents": extents, "moments": []}
    axes = [Axis(name, volume.read(name)) for name in placement.dims]
    if dims := _lines(placement):
        where = np.nonzero(there)
        numbers = [axes[d].values[where[xy[0].dims.index(axes[d].name)]] for d in dims]
        facts["moments"] = _moments([*numbers, *values.values()])
    unit = volume.array_attributes(XY[0]).get("unitsV1", {})
    return footprint(placement, axes, [facts], unit=next(iter(unit.values()), ""))


def _plane(moments: Sequence[Any], axes: Sequence[Axis]) -> dict[str, Any]:
    count, means, products = moments[0], np.array(moments[1]), np.array(moments[2])
    if any(len(axis.values) < 2 for axis in axes) or np.linalg.matrix_rank(products[:2, :2]) < 2:
        return {}
    slopes = np.linalg.solve(products[:2, :2], products[:2, 2:])  # by line number, of x and y
    rest = products[2:, 2:] - slopes.T @ products[:2, 2:]
    misfit = float(np.sqrt(max(0.0, np.trace(rest)) / count))
    steps = np.array([axis.step or 1 for axis in axes], float)
    bins = np.linalg.norm(slopes, axis=1) * np.abs(steps)
    if not bins.all() or misfit > _MOST_MISFIT * bins.min():
        return {}
    ends = [(axis.values[0].item(), axis.values[-1].item()) for axis in axes]
    corners = []
    for numbers in (
        (ends[0][0], ends[1][0]),
        (ends[0][0], ends[1][1]),
        (ends[0][1], ends[1][1]),
        (ends[0][1], ends[1][0]),
    ):
        x, y = means[2:] + (np.array(numbers) - means[:2]) @ slopes
        named = dict(zip((axis.name for axis in axes), numbers, strict=True))
        corners.append(named | {"x": _rounded(x), "y": _rounded(y)})
    directions = np.degrees(np.arctan2(slopes[:, 0], slopes[:, 1])) % 360
    names = [axis.name for axis in axes]
    return {
        "corners": corners,
        "bin_size": {name: _rounded(size) for name, size in zip(names, bins, strict=True)},
        "azimuth": {name: _rounded(angle) for name, angle in zip(names, directions, strict=True)},
        "misfit": _rounded(misfit),
    }


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names of X and Y that belong together."""
    return [(name, f"{name[:-1]}y") for name in values if name.endswith("x") and f"{name[:-1]}y" in values]


def _lines(placement: Placement) -> list[int]:
    """Return the dimensions of inlines and crosslines along which X and Y vary; none if they vary otherwise."""
    xy: list[Coordinate] = [coordinate for coordinate in placement.coordinates if coordinate.name in XY]
    wanted = ("inline", "crossline")
    if len(xy) != len(XY) or not all(set(wanted) <= set(coordinate.dims) for coordinate in xy):
        return []
    return [placement.dims.index(name) for name in wanted]


def _moments(columns: Sequence[np.ndarray]) -> list[Any]:
    """Count, means, and products of deviations from them."""
    table = np.stack([column.astype(np.float64) for column in columns])
    means = table.mean(axis=1)
    deviations = table - means[:, np.newaxis]
    return [table.shape[1], means.tolist(), (deviations @ deviations.T).tolist()]


def _added(parts: Sequence[Sequence[Any]]) -> Sequence[Any]:
    if not parts:
        return []
    count, means, products = 0, np.zeros(len(parts[0][1])), np.zeros((len(parts[0][1]),) * 2)
    for number, own, deviations in parts:
        apart = np.array(own) - means
        total = count + number
        products += np.array(deviations) + np.outer(apart, apart) * count * number / total
        means += apart * number / total
        count = total
    return [count, means, products]
