"""What programs write into the description of a TIFF's first page: ImageJ, OME and tifffile itself."""

import math
import re
from typing import Any

from tasks.volume.images.header import Voxels, unit_of
from tasks.volume.images.text_header import place


def counts(tiff: Any, page: Any) -> dict[str, int]:
    """Counts that the description gives: `images` in all, and channels `C` and times `T`.

    Args:
        tiff: tifffile's `TiffFile`.
        page: Its first `TiffPage` of full size.
    """
    if tiff.is_imagej:
        meta = tiff.imagej_metadata or {}
        given = {"images": meta.get("images", 1), "C": meta.get("channels", 1), "T": meta.get("frames", 1)}
        return {name: max(1, _whole(count)) for name, count in given.items()}
    if tiff.is_ome:
        return {name: int(count) for name, count in re.findall(r'\bSize([CT])="(\d{1,9})"', page.description)}
    shape = (
        re.search(r'"shape": {0,9}\[((?:\d{1,12}(?:, ?)?){1,32})\]', page.description)
        if tiff.is_shaped
        else None
    )
    if shape is None:
        return {}
    sizes = [int(n) for n in re.findall(r"\d+", shape.group(1))]
    return {"images": math.prod(sizes) // max(1, math.prod(page.shape))}


def voxels(tiff: Any, page: Any) -> Voxels:
    """Voxel lengths of ImageJ and OME files; a plain TIFF says nothing of the distance of its slices. See `counts`."""
    if tiff.is_ome:
        found = {
            name: (_real(value), unit_of(unit or "µm"))
            for name, value, unit in _physical_sizes(page.description)
        }
        if len(found) == 3 and len({unit for _, unit in found.values()}) == 1:
            return place(tuple(found[axis][0] for axis in "ZYX"), found["X"][1], ())
    meta = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    unit = unit_of(str(meta.get("unit", "")))
    per_unit = [_ratio(page.tags.valueof(code)) for code in (283, 282)]  # YResolution, XResolution
    depth = _real(meta.get("spacing", 0))
    if not unit or min(per_unit) <= 0 or depth <= 0:
        return Voxels()
    return place((depth, 1 / per_unit[0], 1 / per_unit[1]), unit, ())


def _physical_sizes(text: str) -> list[tuple[str, str, str]]:
    sizes = re.findall(r'\bPhysicalSize([XYZ])="([\d.eE+-]{1,40})"', text)
    units = dict(re.findall(r'\bPhysicalSize([XYZ])Unit="([^"]{0,40})"', text))
    return [(axis, size, units.get(axis, "")) for axis, size in sizes]


def _ratio(value: Any) -> float:
    pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int) for v in value)
    return value[0] / value[1] if pair and value[1] else 0.0


def _real(value: Any) -> float:
    """A number that a description gives; 0 if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _whole(value: Any) -> int:
    """A count that a description gives; 0 if it is none."""
    number = _real(value)
    return int(number) if math.isfinite(number) and number == int(number) else 0
