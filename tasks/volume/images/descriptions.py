"""Parse the description of a TIFF's first page as ImageJ, OME and tifffile write it."""

import math
import re
from dataclasses import replace
from typing import Any

from tasks.volume.images.header import Voxels, scaled, unit_of
from tasks.volume.images.text_header import place, shown


def counts(tiff: Any, page: Any) -> dict[str, int]:
    """Return the counts in a description: `images` in all, channels `C` and times `T`.

    Args:
        tiff: tifffile's `TiffFile`.
        page: Its first `TiffPage` of full size.
    """
    if tiff.is_imagej:
        meta = tiff.imagej_metadata or {}
        given = {"images": meta.get("images", 1), "C": meta.get("channels", 1), "T": meta.get("frames", 1)}
        return {name: max(1, _whole(count)) for name, count in given.items()}
    shape = (
        re.search(r'"shape": {0,9}\[((?:\d{1,12}(?:, ?)?){1,32})\]', page.description)
        if tiff.is_shaped
        else None
    )
    if shape is None:
        return {}
    sizes = [int(n) for n in re.findall(r"\d+", shape.group(1))]
    named = re.search(r'"axes": {0,9}"([A-Z]{1,32})"', page.description)
    axes = named.group(1) if named else ""
    counted = {"images": math.prod(sizes) // max(1, math.prod(page.shape))}
    if len(axes) == len(sizes) and len(set(axes)) == len(axes) and set(axes) <= set("TCZYXS"):
        counted |= {axis: n for axis, n in zip(axes, sizes, strict=True) if axis in "TCZ"}
    return counted


def page_order(tiff: Any, page: Any, described: str) -> str:
    """Return the axes along which the pages of a file follow each other, slowest first, as its description says.

    Args:
        tiff: tifffile's `TiffFile`.
        page: Its first `TiffPage` of full size.
        described: For OME, the XML of the image that is meant.
    """
    if tiff.is_ome:
        order = re.search(r'\bDimensionOrder="XY([ZCT]{3})"', described)
        return order.group(1)[::-1] if order and len(set(order.group(1))) == 3 else "TCZ"
    named = re.search(r'"axes": {0,9}"([A-Z]{1,32})"', page.description) if tiff.is_shaped else None
    given = [axis for axis in named.group(1) if axis in "TCZ"] if named else []
    return "".join([*(axis for axis in "TZC" if axis not in given), *given]) if given else "TZC"


def channels_said(described: str) -> tuple[tuple[str, str], ...]:
    """Return name and colour of each channel in the XML of an OME image."""
    found = []
    for start in marks_in(described, "<Channel", _MOST_IMAGES):
        head = described[start : start + 2000].partition(">")[0]
        name = re.search(r'\bName="([^"]{0,200})"', head)
        colour = re.search(r'\bColor="(-?\d{1,10})"', head)
        rgba = int(colour[1]) & 0xFFFFFFFF if colour else 0
        found.append((name[1] if name else "", f"{rgba >> 8:06X}" if rgba >> 8 else ""))
    return tuple(found)


def time_step(tiff: Any, described: str) -> tuple[float, str]:
    """Return the time step and its unit; OME and ImageJ mean seconds unless they name another unit.

    Args:
        tiff: tifffile's `TiffFile`.
        described: For OME, the XML of the image that is meant.
    """
    if tiff.is_ome:
        step = re.search(r'\bTimeIncrement="([\d.eE+-]{1,40})"', described)
        unit = re.search(r'\bTimeIncrementUnit="([^"]{0,40})"', described)
        return _real(step[1]) if step else 0.0, unit[1] if unit else "s"
    meta = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    return _real(meta.get("finterval", 0)), str(meta.get("tunit", "s"))


def voxels(tiff: Any, page: Any, described: str = "") -> Voxels:
    """Voxel lengths of ImageJ, OME and plain files, which say nothing of the distance of their slices. See `counts`.

    What is known of some axes is taken; what is assumed of the others is a note.

    Args:
        tiff: tifffile's `TiffFile`.
        page: Its first `TiffPage` of full size.
        described: For OME, the XML of the image that is meant.
    """
    if tiff.is_ome:
        sizes = {axis: (_real(value), unit or "µm") for axis, value, unit in _physical_sizes(described)}
        return _calibrated(sizes, "PhysicalSize") if sizes else Voxels()
    meta = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    unit = str(meta.get("unit", ""))
    if unit.strip().lower() in _NO_UNIT:
        return _without_unit(page, meta) if tiff.is_imagej else _resolution(page)
    units = {"X": unit, "Y": str(meta.get("yunit", unit)), "Z": str(meta.get("zunit", unit))}
    per_unit = {"Y": _ratio(page.tags.valueof(283)), "X": _ratio(page.tags.valueof(282))}
    lengths = {axis: 1 / ratio for axis, ratio in per_unit.items() if ratio > 0}
    if unit_of(unit) == "inch" and "spacing" not in meta and _is_screen(per_unit["Y"], per_unit["X"]):
        return Voxels(notes=(_SCREEN.format(per_unit["X"]),))
    if depth := abs(_real(meta.get("spacing", 0))):
        lengths["Z"] = depth
    origin = {axis: -_real(meta.get(f"{axis.lower()}origin", 0)) for axis in "ZYX"}
    found = _calibrated({axis: (length, units[axis]) for axis, length in lengths.items()}, "ImageJ's ")
    if found.length and any(origin.values()):
        found = replace(
            found, origin=tuple(origin[axis] * n for axis, n in zip("ZYX", found.length, strict=True))
        )
    return found


def _without_unit(page: Any, meta: dict[str, Any]) -> Voxels:
    """Lengths that ImageJ gives without a unit, which tell how long a voxel is along one axis beside another."""
    y, x = _ratio(page.tags.valueof(283)), _ratio(page.tags.valueof(282))
    depth = abs(_real(meta.get("spacing", 1))) or 1.0
    length = (depth, 1 / y if y > 0 else 1.0, 1 / x if x > 0 else 1.0)
    if length == (1.0, 1.0, 1.0) or not all(math.isfinite(n) for n in length):
        return Voxels()
    note = "ImageJ gives the lengths without a unit; --voxel-unit says which it is"
    return Voxels(length, "", (), (note,), "ImageJ's X, Y and Z")


def _resolution(page: Any) -> Voxels:
    """Return lengths in micrometers from the resolution of a plain TIFF; slices are assumed as far apart as columns."""
    unit = _MICROMETERS.get(_whole(page.tags.valueof(296, default=2)))
    y, x = _ratio(page.tags.valueof(283)), _ratio(page.tags.valueof(282))
    if not unit or min(x, y) <= 0:
        return Voxels()
    inch = 25400 / unit
    if _is_screen(y * inch, x * inch):
        return Voxels(notes=(_SCREEN.format(x * inch),))
    note = f"TIFF gives no distance of the slices; it was taken like x, {unit / x:g} micrometer"
    return Voxels((unit / x, unit / y, unit / x), "micrometer", (), (note,), RESOLUTION)


def _is_screen(y: float, x: float) -> bool:
    """Return whether a resolution per inch is that of screens and printers."""
    return x == y and any(abs(x - usual) < 0.01 for usual in _SCREENS)


_SCREEN = "TIFF's resolution of {:.0f} per inch is what programs write for screens; it was not taken"
RESOLUTION = "TIFF's resolution"
_MICROMETERS = {2: 25400.0, 3: 10000.0}  # of ResolutionUnit
_SCREENS = (72, 96, 100, 120, 150, 180, 200, 240, 300, 360, 400, 600, 1200)  # per inch
_NO_UNIT = {"", "pixel", "pixels", "px", "voxel", "voxels", "slice", "none"}


def _calibrated(sizes: dict[str, tuple[float, str]], what: str) -> Voxels:
    """Return the voxel lattice in one unit.

    Args:
        sizes: Length and unit of each axis that the description gives.
        what: Name of the lengths in the description.
    """
    notes = []
    known: dict[str, tuple[float, str]] = {}
    for axis, (length, text) in sizes.items():
        unit = unit_of(text)
        if unit and math.isfinite(length) and length > 0:
            known[axis] = (length, unit)
        else:
            notes.append(f"{what}{axis} of {length:g} {shown(text)!r} is no length in a unit that is known")
    unit = next((known[axis][1] for axis in "XYZ" if axis in known), "")
    if not unit:
        return Voxels(notes=tuple(notes))
    lengths = {}
    for axis, (length, own) in known.items():
        lengths[axis] = scaled(length, own, unit)
        if own != unit:
            notes.append(f"{what}{axis} was converted from {length:g} {own} to {lengths[axis]:g} {unit}")
    for axis, like in (("X", "Y"), ("Y", "X"), ("Z", "")):
        if axis not in lengths:
            lengths[axis] = lengths.get(like, 1.0)
            notes.append(
                f"{what}{axis} is not given and was taken as {lengths[axis]:g} {unit}; --voxel-length says otherwise"
            )
    found = place(tuple(lengths[axis] for axis in "ZYX"), unit, ())
    return replace(found, notes=tuple(notes), taken=f"{what}X, Y and Z")


def ome_images(text: str) -> list[tuple[str, str]]:
    """Return the name of each image of an OME description, and the part of the XML that is about it."""
    found = []
    for start in marks_in(text, "<Image", _MOST_IMAGES):
        end = text.find("</Image", start)
        part = text[start : end if end >= 0 else len(text)]
        name = re.match(r'<Image\b[^>]{0,2000}?\bName="([^"]{0,200})"', part)
        found.append((name[1] if name else "", part))
    return found


_MOST_IMAGES = 1000


def marks_in(text: str, mark: str, most: int) -> list[int]:
    """Return the positions of a mark that no letter follows, up to a number of them."""
    found: list[int] = []
    at = text.find(mark)
    while at >= 0 and len(found) < most:
        if not text[at + len(mark) : at + len(mark) + 1].isalnum():
            found.append(at)
        at = text.find(mark, at + len(mark))
    return found


def ome_counts(part: str) -> dict[str, int]:
    """Return the counts Z, C and T of one image, and `first`, the page that it begins with (-1: the next one)."""
    counted = {name: int(n) for name, n in re.findall(r'\bSize([ZCT])="(\d{1,9})"', part)}
    first = re.search(r'<TiffData\b[^>]{0,500}?\bIFD="(\d{1,9})"', part)
    return {"Z": 1, "C": 1, "T": 1} | counted | {"first": int(first[1]) if first else -1}


def _physical_sizes(text: str) -> list[tuple[str, str, str]]:
    sizes = re.findall(r'\bPhysicalSize([XYZ])="([\d.eE+-]{1,40})"', text)
    units = dict(re.findall(r'\bPhysicalSize([XYZ])Unit="([^"]{0,40})"', text))
    return [(axis, size, units.get(axis, "")) for axis, size in sizes]


def _ratio(value: Any) -> float:
    pair = isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int) for v in value)
    return value[0] / value[1] if pair and value[1] else 0.0


def _real(value: Any) -> float:
    """Return a number that a description gives; 0 if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _whole(value: Any) -> int:
    """Return a count that a description gives; 0 if it is none."""
    number = _real(value)
    return int(number) if math.isfinite(number) and number == int(number) else 0
