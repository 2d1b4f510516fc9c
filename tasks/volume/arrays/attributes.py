"""The attributes of a volume: MDIO v1's, OME-Zarr 0.5's, and Seismill's own, all in one group.

OME-Zarr metadata is written for 2-D and 3-D masters only, because readers refuse more dimensions unless they are time
and channel axes, which images may have; `seismill.levels` is always written.
"""

import colorsys
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tasks.volume.kernels.traces import (
    COUNT,
    DEAD,
    LIVE,
    MAXIMUM,
    MINIMUM,
    NONFINITE,
    SUM,
    SUM_OF_SQUARES,
    ZERO,
)
from tasks.volume.segy.templates import TEMPLATES

MDIO_API_VERSION = "1.1.3"  # whose layout of variables and attributes this is
NAN_FILL = "AAAAAAAA+H8="  # xarray's encoding of NaN (float64, base64) for _FillValue in Zarr v3


def mdio_attributes(
    name: str, created_on: str, master: str, grid_overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the attributes of the root group after MDIO v1 (dataset metadata).

    Args:
        name: Name of the template; if MDIO does not have it, the survey is not described.
        created_on: ISO 8601.
        master: Path of the lossless array.
        grid_overrides: Overrides under MDIO's names.
    """
    template = TEMPLATES.get(name)
    return {
        "apiVersion": MDIO_API_VERSION,
        "createdOn": created_on,
        "name": name,
        "attributes": (dict(template.attributes) if template else {})
        | {"defaultVariableName": master}
        | ({"gridOverrides": dict(grid_overrides)} if grid_overrides else {}),
    }


def units_of(kind: str, binary: Mapping[str, int]) -> dict[str, Any]:
    """Return MDIO's unit of a coordinate: the file's unit of length (byte 3255), milliseconds or degrees; else none."""
    lengths = {1: {"length": "m"}, 2: {"length": "ft"}}
    if kind == "length":
        unit = lengths.get(binary["measurement_system_code"])
    else:
        unit = {"time": {"time": "ms"}, "angle": {"angle": "deg"}}.get(kind)
    return {"unitsV1": unit} if unit else {}


def image_attributes(description: str, created_on: str, master: str) -> dict[str, Any]:
    """Return the attributes of the root group of an image volume: a survey's without those that only a survey has."""
    return {
        "apiVersion": MDIO_API_VERSION,
        "createdOn": created_on,
        "name": description or master,
        "attributes": {"defaultVariableName": master},
    }


def statistics(stats: np.ndarray, extremes: tuple[int, int] | None = None) -> dict[str, Any]:
    """Return the statistics of the samples as attributes: MDIO's statsV1 as JSON text, and the same figures as numbers.

    Args:
        stats: Counts and sums in the layout of `kernels.traces.new_stats`.
        extremes: Least and greatest sample if they are integers, which float64 may not hold exactly.
    """
    # JSON has no Inf: what float64 samples sum up to beyond its range becomes the nearest number that it has.
    stats = np.nan_to_num(stats)
    count = int(stats[COUNT])
    mean = float(stats[SUM] / count) if count else 0.0
    square = float(stats[SUM_OF_SQUARES] / count) if count else 0.0
    low, high = extremes or ((float(stats[MINIMUM]), float(stats[MAXIMUM])) if count else (0.0, 0.0))
    text = json.dumps(
        {
            "count": count,
            "sum": float(stats[SUM]),
            "sumSquares": float(stats[SUM_OF_SQUARES]),
            "min": low,
            "max": high,
            "histogram": {"counts": [], "binCenters": []},
        },
        separators=(",", ":"),
    )
    return {
        "statsV1": text,
        "count": count,
        "min": low,
        "max": high,
        "mean": mean,
        "rms": float(np.sqrt(square)),
        # Beyond 1e150 squares of float64 are not what they should be, and their difference would be nothing.
        "std": float(np.sqrt(max(square - mean * mean, 0.0) if abs(mean) < 1e150 else square)),
        "nonfinite_count": int(stats[NONFINITE]),
        "zero_count": int(stats[ZERO]),
        "live_traces": int(stats[LIVE]),
        "zero_traces": int(stats[DEAD]),
    }


def voxel_statistics(stats: np.ndarray, extremes: tuple[int, int] | None) -> dict[str, Any]:
    """Return `statistics` without the counts of traces."""
    of_traces = ("live_traces", "zero_traces")
    return {name: value for name, value in statistics(stats, extremes).items() if name not in of_traces}


def axis_scale(values: np.ndarray) -> tuple[float, float]:
    """Return OME scale and translation of an axis: its step and first value; 1 and 0 if steps differ."""
    if values.size == 1:
        return 1.0, float(values[0])
    steps = np.diff(values.astype(np.float64))
    if not np.allclose(steps, steps[0], rtol=1e-9, atol=0) or steps[0] <= 0:
        return 1.0, 0.0
    return float(steps[0]), float(values[0])


def level_scale(scale: float, translation: float, factor: int) -> tuple[float, float]:
    """Return scale and translation of a level whose samples are means of `factor` samples of the master."""
    return scale * factor, translation + scale * (factor - 1) / 2


def coarse_axis(values: np.ndarray, factor: int) -> np.ndarray:
    """Return the coordinates of a coarser level, float64: the mean label of each cell; the last cell may be shorter."""
    starts = np.arange(0, values.size, factor)
    sums = np.add.reduceat(values.astype(np.float64), starts)
    counts = np.diff(np.append(starts, values.size))
    return sums / counts


def level_labels(
    values: np.ndarray, factor: int, scale: float, translation: float, method: str
) -> np.ndarray:
    """Return the coordinates of a coarser level along one axis.

    Args:
        values: Labels of the master's axis.
        factor: Samples of the master per sample of the level.
        scale: The level's step.
        translation: First coordinate of the level.
        method: Method of the level; `nearest` takes the first sample of each cell, with its label.
    """
    if method == "nearest":
        return values[::factor]
    if axis_scale(values) == (1.0, 0.0):
        return coarse_axis(values, factor)
    return translation + scale * np.arange(-(-values.size // factor))


def ome_attributes(
    name: str,
    dims: Sequence[str],
    levels: Sequence[dict[str, Any]],
    low: float,
    high: float,
    looks: Mapping[str, Any] | None = None,
    *,
    value_unit: str = "",
) -> dict[str, Any]:
    """Return OME-Zarr 0.5 `ome`: multiscales with one image, and a one-channel omero window or what labels have.

    Args:
        name: Name of the image.
        dims: Names of the axes, equal to the arrays' dimension names.
        levels: Finest first: `path`, `scale` and `translation` per axis.
        low: Smallest sample.
        high: Largest sample.
        looks: Display of voxels: `unit` of the axes, `time_unit` of axis t, `window` of values to show, `is_labels`,
            the `labels` present; for labels, the relative path to their `image`; `channels`, each with `label`,
            `color`, `active` and `window`. Without it axes have no unit, and the window is symmetric.
        value_unit: Unit of the values. OME-Zarr has no field for it: the label of the only channel names it.
    """
    looks = looks or {}
    largest = max(abs(low), abs(high)) or 1.0
    start, end = looks.get("window") or (-largest, largest)
    unit = {"unit": looks["unit"]} if looks.get("unit") else {}
    of_time = {"unit": looks["time_unit"]} if looks.get("time_unit") else {}
    if looks.get("is_labels") or start >= end:  # nearly all voxels have one value
        start, end = low, high
    if start >= end:  # all have; napari opens nothing whose window is empty
        start, end = (min(start, 0), max(end, 0)) if start else (0, 1)
    described: dict[str, Any] = {
        "version": "0.5",
        "multiscales": [
            {
                "name": name,
                "axes": [
                    {"name": dim, "type": _AXES[dim]} | (of_time if dim == "t" else {})
                    if dim in _AXES and "window" in looks
                    else {"name": dim, "type": "space", **unit}
                    for dim in dims
                ],
                "datasets": [
                    {
                        "path": level["path"],
                        "coordinateTransformations": [
                            {"type": "scale", "scale": level["scale"]},
                            {"type": "translation", "translation": level["translation"]},
                        ],
                    }
                    for level in levels
                ],
            }
        ],
        "omero": {
            "channels": [
                {
                    "label": channel.get("label") or (f"{name} ({value_unit})" if value_unit else name),
                    "color": channel.get("color", "FFFFFF"),
                    "active": channel.get("active", True),
                    "window": {"min": low, "max": high} | _window(channel.get("window"), start, end),
                }
                for channel in looks.get("channels") or [{}]
            ]
        },
    }
    if looks.get("is_labels"):
        del described["omero"]  # napari takes it for colours of an image, of which a layer of labels has none
        # Of very many labels none has a colour of its own; an empty list of colours would not be valid.
        colours = [{"label-value": v, "rgba": _colour(v)} for v in looks["labels"]]
        source = {"source": {"image": looks["image"]}} if "image" in looks else {}
        described["image-label"] = ({"colors": colours} if colours else {}) | source
    return described


_AXES = {"c": "channel", "t": "time"}  # of images


def _window(own: Sequence[float] | None, start: float, end: float) -> dict[str, float]:
    """Return the display window of a channel, or the common window if the channel's has no width."""
    return {"start": own[0], "end": own[1]} if own and own[0] < own[1] else {"start": start, "end": end}


def _colour(label: int) -> list[int]:
    """Return a colour for a label that contrasts with adjacent labels; transparent for 0, usually the background."""
    if label == 0:
        return [0, 0, 0, 0]
    red, green, blue = colorsys.hsv_to_rgb(label * 0.6180339887498949 % 1, 0.65, 0.95)  # the golden section
    return [round(255 * red), round(255 * green), round(255 * blue), 255]
