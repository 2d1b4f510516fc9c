"""The planes of a volume that are shown: their axes, and the numbering along them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tasks.dataset.opened import TRACE_MASK, Opened
from tasks.volume.arrays.reader import Volume
from tasks.volume.outcomes import InputRefused

DOWNWARD = ("time", "depth")


@dataclass(frozen=True, eq=False)
class ShownAxis:
    """One axis of the samples.

    Attributes:
        name: Name of the axis.
        unit: Unit of the labels; empty if none is stored.
        labels: float64, the label of each position at level 0, such as inline numbers or times.
    """

    name: str
    unit: str
    labels: np.ndarray

    @property
    def size(self) -> int:
        """Return the number of positions."""
        return int(self.labels.size)

    @cached_property
    def step(self) -> float:
        """Difference of neighbouring labels; 0 if it varies, 1 if there is a single label."""
        if self.size < 2:
            return 1.0
        steps = np.diff(self.labels)
        mean = float(self.labels[-1] - self.labels[0]) / (self.size - 1)
        return mean if mean and np.allclose(steps, mean, rtol=1e-3, atol=0) else 0.0

    def coordinate(self, position: float) -> float:
        """Return where a position, which may be a fraction, is drawn: at its label, or at itself if steps vary."""
        return float(self.labels[0] + position * self.step) if self.step else float(position)

    def position(self, coordinate: float) -> float:
        """Return the position, with its fraction, of what is drawn at a coordinate."""
        return float((coordinate - self.labels[0]) / self.step) if self.step else float(coordinate)

    def cell(self, coordinate: float) -> int | None:
        """Return the position of the cell that holds a coordinate; None outside of the axis."""
        found = int(np.floor(self.position(coordinate) + 0.5))
        return found if 0 <= found < self.size else None

    def nearest(self, label: float) -> int:
        """Return the position whose label is nearest to a number."""
        return int(np.argmin(np.abs(self.labels - label)))

    def text(self, position: int) -> str:
        """Return the name, label and unit of a position."""
        return f"{self.name} {self.labels[position]:.10g} {self.unit}".strip()

    @property
    def title(self) -> str:
        """Return the name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class Plane:
    """A plane through a volume.

    Attributes:
        name: Name of the plane.
        across: The axis from left to right.
        down: The axis from top to bottom, or from bottom to top.
        downward: Whether the first position of `down` is at the top.
        is_section: Whether `down` is time or depth.
        stepped: The axis along which the plane moves; -1 if the volume has no other axes.
    """

    name: str
    across: int
    down: int
    downward: bool
    is_section: bool
    stepped: int

    @property
    def axes(self) -> tuple[int, int]:
        """Return both axes in the order of the array."""
        return (min(self.across, self.down), max(self.across, self.down))


def axes_of(opened: Opened) -> list[ShownAxis]:
    """Return the axes of the samples at level 0."""
    return [
        ShownAxis(name, unit_of(opened.volume, name, axis), np.asarray(labels, np.float64))
        for axis, (name, labels) in enumerate(opened.labels.items())
    ]


def unit_of(volume: Volume, name: str, axis: int) -> str:
    """Return the unit of an axis, as the volume states it; empty if it does not."""
    if volume.has(name):
        stored = volume.array_attributes(name)
        return str(stored.get("units") or next(iter(stored.get("unitsV1", {}).values()), ""))
    annex = volume.state.annex
    return str(annex.axes[axis].get("unit", "")) if annex.axes else ""


def planes_of(opened: Opened) -> list[Plane]:
    """Return the planes to show: sections and a slice of seismic, three slices of an image, one plane of 2-D.

    A plane that is one position wide is left out if others are not.

    Raises:
        InputRefused: The samples have one dimension only.
    """
    dims, last = opened.dims, len(opened.dims) - 1
    if last < 1:
        raise InputRefused(f"{opened.where} has one dimension; a viewer shows two or more")
    if opened.has(TRACE_MASK) or dims[-1] in DOWNWARD:
        planes = [_section(dims, across, last) for across in sorted(range(last), key=lambda a: (a != 1, a))]
        if last >= 2:
            planes.append(Plane(f"{dims[-1]} slice", 1, 0, False, False, last))
    elif last == 1:
        planes = [Plane("image", 1, 0, True, False, -1)]
    else:
        z, y, x = last - 2, last - 1, last
        planes = [
            Plane(f"{dims[z]} slice", x, y, True, False, z),
            Plane(f"{dims[y]} slice", x, z, True, False, y),
            Plane(f"{dims[x]} slice", y, z, True, False, x),
        ]
    wide = [plane for plane in planes if opened.shape[plane.across] > 1 and opened.shape[plane.down] > 1]
    return wide or planes[:1]


def _section(dims: tuple[str, ...], across: int, last: int) -> Plane:
    if last == 1:
        return Plane("section", across, last, True, True, -1)
    if last == 2:
        return Plane(f"{dims[1 - across]} section", across, last, True, True, 1 - across)
    # Of more than two axes of traces, the section moves along the one beside its own.
    stepped = across - 1 if across else 1
    return Plane(f"section along {dims[across]}", across, last, True, True, stepped)


def to_scale(
    extents: tuple[float, float], screen: tuple[int, int], ratio: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the margins to add at each side of a plane so that both axes have the same scale.

    Args:
        extents: Width and height of the plane, in the coordinates of its axes.
        screen: Width and height of the frame in pixels.
        ratio: Length of one unit of the axis downwards, in units of the axis across.

    Returns:
        Lengths added at the left and right, and at the top and bottom, in the coordinates of each axis.
    """
    width, height = extents[0], extents[1] * ratio
    wanted = screen[0] / screen[1]
    if width / height < wanted:
        added = (height * wanted - width) / 2
        return (added, added), (0.0, 0.0)
    added = (width / wanted - height) / 2 / ratio
    return (0.0, 0.0), (added, added)
