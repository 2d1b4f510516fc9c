"""How the values of a volume are shown: as a survey, as an image in greys, or in the colours of its labels."""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.volume.arrays.reader import Volume

SAMPLE_AXES = ("time", "depth")
Rgb = tuple[int, int, int]
# From negative to positive; dark at both ends, so that clipped amplitudes stand out. The viewer has the same.
SEISMIC_STOPS = ("#0b1f5c", "#2b5fc1", "#a9c6ea", "#ffffff", "#f0b5a4", "#c8372d", "#5e0a12")
NO_TRACE = (200, 200, 200)


@dataclass(frozen=True)
class Look:
    """How the report shows the values of a volume.

    Attributes:
        voxels: Whether it is an image: pictures are to scale, in greys.
        window: Values at the ends of the greys; None: as the samples shown have them.
        labels: Colour of each label, if values are labels.
        unit: Unit of lengths, for images.
        voxel: Length of a voxel along each axis, of images.
    """

    voxels: bool = False
    window: tuple[float, float] | None = None
    labels: Mapping[int, Rgb] = field(default_factory=dict)
    unit: str = ""
    voxel: tuple[float, ...] = ()


def look_of(volume: Volume) -> Look:
    """Return how the values of a volume are shown: by its dimensions, its window, its labels and their colours."""
    spec, state = volume.spec(volume.master), volume.state
    if volume.has("trace_mask") or set(spec.dims) & set(SAMPLE_AXES):
        return Look()
    looks = state.looks
    colours = {
        int(item["label-value"]): (int(item["rgba"][0]), int(item["rgba"][1]), int(item["rgba"][2]))
        for item in volume.attributes.get("ome", {}).get("image-label", {}).get("colors", [])
    }
    labels = {int(value): colours.get(int(value), _unnamed(int(value))) for value in looks.labels}
    low, high = looks.window or (0.0, 0.0)
    axes = state.annex.axes or [{}]
    return Look(
        voxels=True,
        window=(float(low), float(high)) if high > low else None,
        labels=(colours | labels) if looks.is_labels else {},
        unit=looks.unit if looks.unit or volume.of_images else axes[-1].get("unit", ""),
        voxel=tuple(float(length) for length in state.levels[0].scale),
    )


def _unnamed(value: int) -> Rgb:
    """Return a colour for a label that has none: bright, and another for the next label."""
    if not value:
        return (0, 0, 0)
    red, green, blue = colorsys.hsv_to_rgb(value * 0.6180339887498949 % 1, 0.65, 0.95)
    return (round(255 * red), round(255 * green), round(255 * blue))
