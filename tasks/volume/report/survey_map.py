"""The map of a survey: where its traces lie on the ground, or, without coordinates, on the grid of its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.blocks import block_count
from tasks.volume.report.slices import Mask, Side

PAIRS = (
    ("cdp_x", "cdp_y"),
    ("source_coord_x", "source_coord_y"),
    ("group_coord_x", "group_coord_y"),
)


@dataclass(frozen=True, eq=False)
class TraceMap:
    """Positions of traces, and lines through them.

    Attributes:
        across: Name and unit of X.
        up: Name and unit of Y.
        x: X of live traces.
        y: Y of the same traces.
        ground: Whether X and Y are coordinates, so that their scales are equal.
        lines: The slices shown: a name, and positions along it.
        corners: Positions with labels.
        traces: Number of live traces.
    """

    across: str
    up: str
    x: np.ndarray
    y: np.ndarray
    ground: bool
    traces: int
    lines: list[tuple[str, np.ndarray, np.ndarray]] = field(default_factory=list)
    corners: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Return least and greatest X, then least and greatest Y of the traces."""
        return float(self.x.min()), float(self.x.max()), float(self.y.min()), float(self.y.max())


def survey_map(
    volume: Volume, mask: Mask, sides: Sequence[Side], *, whole_chunks: int = 16
) -> TraceMap | None:
    """Return the map of a volume; None if it is no survey or too large to be read for one.

    If a coordinate has more than `whole_chunks` chunks, it is not read, but computed from the corners of the
    grid in the root; without corners there is no map.
    """
    if mask.whole is None or not mask.whole.any():
        return None
    live = mask.whole
    traces = int(np.count_nonzero(live))
    middles = [mask.middle(axis, count) for axis, count in enumerate(live.shape)]
    for names in PAIRS:
        if not all(volume.has(name) for name in names):
            continue
        if all(_chunk_count(volume, name) <= whole_chunks for name in names):
            x, y = (_spread(volume, name, live.shape) for name in names)
        elif (found := _by_corners(volume, sides)) is not None and names == PAIRS[0]:
            x, y = found
        else:
            continue
        shown = live & np.isfinite(x) & np.isfinite(y)
        if not shown.any():
            continue
        return TraceMap(
            across=_titled(volume, names[0]),
            up=_titled(volume, names[1]),
            x=x[shown],
            y=y[shown],
            ground=True,
            traces=traces,
            lines=_lines(sides, middles, x, y, shown),
            corners=_corners(volume, sides),
        )
    if live.ndim != 2:
        return None
    down, along = np.nonzero(live)
    return TraceMap(
        across=sides[1].name,
        up=sides[0].name,
        x=sides[1].values[along].astype(float),
        y=sides[0].values[down].astype(float),
        ground=False,
        traces=traces,
    )


def _spread(volume: Volume, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a coordinate for every cell, although it may not depend on all axes."""
    dims, own = volume.spec(volume.master).dims, volume.spec(name).dims
    values = volume.read(name)
    return np.broadcast_to(
        values.reshape([n if d in own else 1 for d, n in zip(dims, shape, strict=False)]), shape
    )


def _chunk_count(volume: Volume, name: str) -> int:
    spec = volume.spec(name)
    return block_count(spec.shape, spec.chunks)


def _by_corners(volume: Volume, sides: Sequence[Side]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return X and Y of every cell of a plane grid; None if the grid is none."""
    corners = volume.state.place.corners
    names = [side.name for side in sides[:-1]]
    if len(names) != 2 or len(corners) < 3 or not all(name in corner for corner in corners for name in names):
        return None
    known = np.array([[1.0, *(corner[name] for name in names)] for corner in corners])
    first, second = (side.values.astype(np.float64) for side in sides[:2])
    planes = [
        np.linalg.lstsq(known, [corner[key] for corner in corners], rcond=None)[0] for key in ("x", "y")
    ]
    x, y = (plane[0] + plane[1] * first[:, np.newaxis] + plane[2] * second for plane in planes)
    return x, y


def _titled(volume: Volume, name: str) -> str:
    attributes = volume.array_attributes(name)
    unit = attributes.get("units") or next(iter(attributes.get("unitsV1", {}).values()), "")
    return f"{attributes.get('long_name', name)} ({unit})" if unit else str(attributes.get("long_name", name))


def _lines(
    sides: Sequence[Side], middles: list[int], x: np.ndarray, y: np.ndarray, shown: np.ndarray
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return the lines of a 3-D survey that pictures show."""
    if shown.ndim != 2:
        return []
    lines = []
    for axis, at in enumerate(middles):
        if shown.shape[1 - axis] < 2:
            continue
        part = shown.take(at, axis)
        lines.append((sides[axis].label(at), x.take(at, axis)[part], y.take(at, axis)[part]))
    return [line for line in lines if len(line[1]) > 1]


def _corners(volume: Volume, sides: Sequence[Side]) -> list[tuple[str, float, float]]:
    corners = volume.state.place.corners
    names = [side.name for side in sides]
    return [
        (
            "/".join(f"{corner[name]:g}" for name in names if name in corner),
            float(corner["x"]),
            float(corner["y"]),
        )
        for corner in corners
    ]
