"""Variables of a dataset, with names, units and other CF attributes."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import xarray

from tasks.dataset.opened import TRACE_MASK, Opened
from tasks.volume.arrays.spec import MEASURED, RAW_SAMPLES, STATISTICS, ArraySpec
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.choice import ReadableArray
from tasks.volume.reading.indexing import Group, whole
from tasks.volume.segy.headers import TRACE_HEADER_FIELDS

HEADERS = "headers"
LONG_NAMES = {
    "inline": "Inline number",
    "crossline": "Crossline number",
    "cdp": "Number of the common depth point",
    "shot_point": "Shot point number",
    "channel": "Channel number",
    "cable": "Cable number",
    "offset": "Distance from source to receiver",
    "azimuth": "Azimuth from source to receiver",
    "angle": "Angle of incidence",
    "time": "Recording time",
    "depth": "Depth",
    "amplitude": "Amplitude",
    "cdp_x": "X of the common depth point",
    "cdp_y": "Y of the common depth point",
    "source_coord_x": "X of the source",
    "source_coord_y": "Y of the source",
    "group_coord_x": "X of the receiver group",
    "group_coord_y": "Y of the receiver group",
    "trace_mask": "Whether the trace exists",
    "trace_number": "Number of the trace in the source files, from 0; -1 where there is none",
    "z": "Z of the voxel centre",
    "y": "Y of the voxel centre",
    "x": "X of the voxel centre",
}
STANDARD_NAMES = {"cdp_x": "projection_x_coordinate", "cdp_y": "projection_y_coordinate"}
CF_UNITS = {"deg": "degree"}  # the others that are stored (ms, m, ft, micrometer …) are UDUNITS as they are
KEPT = (
    *STATISTICS,
    *MEASURED,
    *("copy_of", "method", "factor", "description", "voxel_length", "voxel_origin", "voxel_unit"),
)


def stored_arrays(opened: Opened, *, copies: bool) -> Iterator[ArraySpec]:
    """Yield the arrays that lie along the samples' dimensions, but for the headers; copies only if wanted."""
    folder, extents = opened.array.rpartition("/")[0], dict(zip(opened.dims, opened.shape, strict=True))
    for path, member in opened.volume.members.items():
        if member["node_type"] != "array" or path.rpartition("/")[0] != folder or not member["shape"]:
            continue
        if not isinstance(member["data_type"], str) or path == RAW_SAMPLES:
            continue
        if "copy_of" in member.get("attributes", {}) and not copies:
            continue
        spec = opened.volume.spec(path)
        # Beside another tool's array lie its coarser levels, whose dimensions have the same names.
        fits = all(extents.get(dim) == extent for dim, extent in zip(spec.dims, spec.shape, strict=True))
        if fits and path != opened.array:
            yield spec


def coordinate_names(opened: Opened) -> set[str]:
    """Return the names of variables that are coordinates of others."""
    listed = opened.volume.array_attributes(opened.volume.master).get("coordinates", "")
    return {*opened.dims, *listed.split()}


def header_fields(opened: Opened, wanted: Collection[str] | str, taken: Collection[str]) -> dict[str, str]:
    """Return header fields by the names of their variables.

    Args:
        opened: The level.
        wanted: Names of fields, or "all".
        taken: Names of the volume's own variables; a field of such a name gets `header_` before it.

    Raises:
        InputRefused: There is no such field, or the level has no headers.
    """
    known = [field.name for field in TRACE_HEADER_FIELDS]
    fields = known if wanted == "all" else [wanted] if isinstance(wanted, str) else list(wanted)
    if not fields:
        return {}
    if not opened.has(HEADERS):
        have = "level 0 has them" if opened.volume.has(HEADERS) else "it was not made from SEG-Y"
        raise InputRefused(f"{opened.where} has no trace headers at level {opened.level}; {have}")
    for name in fields:
        if name not in known:
            near = [other for other in known if name.lower() in other or other in name.lower()]
            raise InputRefused(
                f"{name} is no field of a trace header; {'similar names are' if near else 'there are'} "
                f"{', '.join(near or known)}"
            )
    return {f"header_{name}" if name in taken else name: name for name in fields}


def attributes_of(opened: Opened, path: str, name: str) -> dict[str, Any]:
    """Return the attributes of a variable of a dataset."""
    stored = opened.volume.array_attributes(path) if opened.volume.has(path) else {}
    unit = next(
        iter(stored.get("unitsV1", {}).values()), stored.get("units", "") or stored.get("field_unit", "")
    )
    attributes: dict[str, Any] = {"long_name": LONG_NAMES.get(name, name.replace("_", " ").capitalize())}
    if unit:
        attributes["units"] = CF_UNITS.get(unit, unit)
    if name in STANDARD_NAMES and attributes.get("units") in ("m", "ft"):
        attributes["standard_name"] = STANDARD_NAMES[name]
    if name in ("time", "depth"):
        attributes["positive"] = "down"
    return attributes | {key: stored[key] for key in KEPT if key in stored}


def header_attributes(field: str) -> dict[str, Any]:
    """Return the attributes of a header field of a dataset."""
    place = next(entry for entry in TRACE_HEADER_FIELDS if entry.name == field)
    last = place.byte + np.dtype(place.type).itemsize - 1
    return {
        "long_name": LONG_NAMES.get(field, field.replace("_", " ").capitalize()),
        "comment": f"bytes {place.byte} to {last} of the SEG-Y trace header, as stored, without a scalar applied",
    }


def answer_attributes(opened: Opened) -> dict[str, Any]:
    """Return the names of the arrays that samples are read from: for a slice across each dimension, and for all."""
    everything = whole(opened.shape)
    answers: dict[str, ReadableArray] = {}
    for axis, dim in enumerate(opened.dims):
        middle = opened.shape[axis] // 2
        entry = Group((axis,), (range(middle, middle + 1),))
        answers[dim] = opened.answer([entry if a == axis else g for a, g in enumerate(everything)])[0]
    answers["all"] = opened.answer(everything)[0]
    return {
        "max_error": float(opened.max_error),
        "answered_by": ", ".join(f"{name}: {array.path or opened.name}" for name, array in answers.items()),
        "answers_max_abs_error": max(array.max_abs_error for array in answers.values()),
    }


def answer_to(opened: Opened, labels: Mapping[str, Any]) -> dict[str, Any]:
    """Return which stored array answers a selection by labels, and what that takes."""
    groups = whole(opened.shape)
    for axis, dim in enumerate(opened.dims):
        if dim in labels:
            numbers = xarray.DataArray(np.arange(opened.shape[axis]), {dim: opened.labels[dim]}, (dim,))
            groups[axis] = Group((axis,), (np.atleast_1d(numbers.sel({dim: labels[dim]}).values),))
    array, cost = opened.answer(groups)
    taken = {"chunks": cost.chunks, "decoded_bytes": cost.decoded_bytes, "requests": cost.requests}
    return {"array": array.path, "max_abs_error": array.max_abs_error} | taken


def dataset_attributes(opened: Opened) -> dict[str, Any]:
    """Return the attributes of a dataset."""
    root, state = opened.volume.attributes, opened.volume.state
    described = {key: root[key] for key in ("name", "createdOn", "apiVersion") if key in root}
    described |= {k: v for k, v in root.get("attributes", {}).items() if not isinstance(v, dict)}
    described |= {k: v for k, v in state.attributes.items() if not isinstance(v, dict)}
    sources = [source.url for source in state.sources]
    named = sources[0] if len(sources) == 1 else f"{len(sources)} files" if sources else ""
    return (
        described
        | ({"source": named} if named else {})
        | {
            "defaultVariableName": opened.name,
            "volume": opened.where,
            "proven_at": state.proven_at,
            "level": opened.level,
        }
    )


def is_masked(name: str) -> bool:
    """Return whether a variable says by itself where no trace is."""
    return name in (TRACE_MASK, "trace_number")
