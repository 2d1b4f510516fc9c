"""Describe axes and coordinates of a survey for MDIO and CF readers: names, units, reference system.

MDIO's `unitsV1` is an object; `units` and `long_name` say the same to readers of CF, such as xarray. An axis in
milliseconds has the unit "ms", which no version of xarray takes for a time difference.
"""

from collections.abc import Mapping
from typing import Any

from tasks.volume.arrays.attributes import units_of
from tasks.volume.segy.axis_domain import DEPTH, TIME, depth_unit
from tasks.volume.segy.corrections import NO_UNIT
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.header_counts import Tallies, coordinate_unit, doubts
from tasks.volume.segy.header_text import epsg_codes
from tasks.volume.segy.placement import Coordinate, Placement
from tasks.volume.segy.templates import quantity

CRS = "crs"  # the variable that says the reference system
_CF_UNITS = {"ms": "ms", "m": "m", "ft": "ft", "deg": "degree"}
_LONG_NAMES = {
    "cdp": "CDP number",
    "cdp_x": "X coordinate",
    "cdp_y": "Y coordinate",
    "source_coord_x": "X coordinate of the source",
    "source_coord_y": "Y coordinate of the source",
    "group_coord_x": "X coordinate of the receiver group",
    "group_coord_y": "Y coordinate of the receiver group",
    "receiver_x": "X coordinate of the receiver",
    "receiver_y": "Y coordinate of the receiver",
    "orig_field_record_num": "field record number",
}
_NUMBERED = (
    "inline",
    "crossline",
    "cable",
    "channel",
    "gun",
    "receiver",
    "component",
    "sail_line",
    "shot_line",
)
_MOST_DEGREES = 360


def long_name(name: str) -> str:
    """Return what a person calls an axis or a coordinate."""
    words = name.replace("_", " ")
    return _LONG_NAMES.get(name, f"{words} number" if name in _NUMBERED else words)


def cf_attributes(name: str, units: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a variable: MDIO's unit, and CF's name and unit."""
    unit = next(iter(units.get("unitsV1", {}).values()), "")
    return (
        {"long_name": long_name(name)} | ({"units": _CF_UNITS.get(unit, unit)} if unit else {}) | dict(units)
    )


def axis_attributes(
    name: str, placement: Placement, fmt: FileFormat, binary: Mapping[str, int]
) -> dict[str, Any]:
    """Return the attributes of an axis; samples that are only numbered have no unit.

    Args:
        name: Name of the axis.
        placement: Placement, for the domain and the user's units.
        fmt: Format, for the interval and the text header.
        binary: The binary header.
    """
    if name != placement.domain:
        return cf_attributes(name, units_of(quantity(name).kind, binary))
    if not fmt.sample_interval_us:
        return {"long_name": "sample number", "units": "1"}
    if name == TIME:
        return cf_attributes(name, units_of("time", binary))
    unit, _ = depth_unit(fmt.text, fmt.measurement_system, placement.corrections)
    return cf_attributes(name, {"unitsV1": {"length": unit}} if unit else {})


def coordinate_attributes(
    coordinate: Coordinate,
    placement: Placement,
    tallies: Tallies,
    binary: Mapping[str, int],
    extents: Mapping[str, tuple[float, float]],
    epsg: int,
) -> dict[str, Any]:
    """Return the attributes of a coordinate.

    Args:
        coordinate: The coordinate.
        placement: Placement, for the user's units.
        tallies: Counts over the trace headers.
        binary: The binary header.
        extents: Least and greatest value of coordinates by name.
        epsg: Code of the reference system; 0 if it is not known.
    """
    if not coordinate.scaled:
        return cf_attributes(coordinate.name, units_of(coordinate.kind, binary))
    stated = placement.corrections.coordinate_unit
    unit = coordinate_unit(tallies, binary["measurement_system_code"])
    if stated:
        unit = {} if stated == NO_UNIT else {"angle" if stated == "deg" else "length": stated}
    elif "angle" in unit and beyond_degrees(extents):
        unit = {}
    attributes = cf_attributes(coordinate.name, {"unitsV1": unit} if unit else {})
    return attributes | ({"grid_mapping": CRS} if epsg else {})


def beyond_degrees(extents: Mapping[str, tuple[float, float]]) -> bool:
    """Return whether some coordinate is larger than an angle in degrees can be."""
    return any(max(abs(low), abs(high)) > _MOST_DEGREES for low, high in extents.values())


def reference_system(placement: Placement, fmt: FileFormat) -> tuple[int, list[str]]:
    """Return the EPSG code of the coordinates, 0 if it is not known, and sentences on where it comes from."""
    if placement.corrections.epsg or not placement.coordinates:
        return placement.corrections.epsg, []
    codes = epsg_codes(fmt.text)
    if len(codes) == 1:
        return codes[0], [f"The text header says EPSG:{codes[0]}, which the coordinates refer to."]
    if codes:
        return 0, [
            f"The text header names several EPSG codes ({', '.join(map(str, codes))}); say that of the coordinates "
            "with --epsg."
        ]
    return 0, []


def crs_attributes(epsg: int) -> dict[str, Any]:
    """Return the attributes of the variable with the coordinate reference system, for CF and GDAL readers."""
    return {
        "long_name": "coordinate reference system",
        "epsg_code": f"EPSG:{epsg}",
        "spatial_ref": f"EPSG:{epsg}",
    }


def sentences(
    placement: Placement,
    fmt: FileFormat,
    tallies: Tallies,
    extents: Mapping[str, tuple[float, float]],
) -> list[str]:
    """Return notes on axis, units, coordinates and reference system."""
    depth = placement.domain == DEPTH
    notes = doubts(
        tallies,
        fmt,
        depth=depth,
        measurement_system=fmt.measurement_system,
        corrections=placement.corrections,
        beyond_degrees=beyond_degrees(extents),
    )
    if depth and fmt.sample_interval_us:
        notes += depth_unit(fmt.text, fmt.measurement_system, placement.corrections)[1]
    return notes + reference_system(placement, fmt)[1]
