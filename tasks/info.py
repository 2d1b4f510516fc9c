"""Describe a volume from its root alone, with one request for a volume of any size.

Such a command must answer at once, so it imports nothing large: no zarr, codecs, numba or matplotlib.
"""

import time
from typing import Any

from tasks.parameters import StorageOptions, Url
from tasks.volume.arrays.axes import axis_in_short
from tasks.volume.arrays.reader import Volume, open_any
from tasks.volume.arrays.root_schema import SourceEntry, VolumeState
from tasks.volume.arrays.spec import MEASURED, STATISTICS
from tasks.volume.store.objects import Store, traffic

LOSSY_ONLY = (
    "the lossless array {0} was left out: these are copies of it, {1} stands in its place, and the statistics are "
    "those of {0}"
)


def info(
    volume: Url, text: bool = False, storage_options: StorageOptions = StorageOptions()
) -> dict[str, Any]:
    """Show what a volume holds, from its metadata.

    Args:
        volume: The volume, or another tool's group with levels or copies by Seismill.
        text: Also show the textual header of the first source.
        storage_options: Options of the store.

    Returns:
        `axes` has first and last value, step ("irregular" where it varies), count and unit of each; `place` the
        extents of X and Y, and of a cube its corners, bin sizes and directions. `arrays` has a row for the master,
        each copy and each level, `kind` saying which; `others` are the paths of the remaining arrays. `proven_at` is
        empty for a volume whose export was not proven. Of images `voxels`, `voxel_length` and `compared_at` are
        there in place of what traces have.

    Raises:
        InputRefused: There is no volume.
    """
    began, before = time.monotonic(), traffic.snapshot()
    opened = open_any(Store(volume, storage_options))
    state, attributes = opened.state, opened.array_attributes(opened.master)
    rows = _rows(opened)
    listed = {row["path"] for row in rows} | {opened.master}
    others = [
        path
        for path, member in opened.members.items()
        if member["node_type"] == "array" and path not in listed
    ]
    about = _about(opened, text=text)
    attributes = state.left_out.statistics if opened.left_out else attributes
    notes = [LOSSY_ONLY.format(opened.left_out, opened.master)] if opened.left_out else []
    spent = traffic.since(before)
    return {
        "volume": opened.store.url,
        "stage": "info",
        **(_of_voxels(opened) if opened.of_images else {"template": opened.attributes.get("name", "")}),
        "format": state.format,
        "writer": state.writer,
        "created_on": state.created_on,
        **({} if opened.of_images else {"proven_at": state.proven_at}),
        **({"left_out": opened.left_out} if opened.left_out else {}),
        "attributes": state.attributes,
        "sources": [_source(source) for source in state.sources],
        **about,
        "arrays": rows,
        "others": others,
        "levels": [level.to_json() | {"path": opened.shown(level.path)} for level in state.levels],
        "statistics": {name: attributes[name] for name in STATISTICS if name in attributes},
        **({} if opened.of_images else _of_traces(state)),
        "seconds": round(time.monotonic() - began, 3),
        "requests": spent.requests,
        "bytes_read": spent.bytes_read,
        "notes": notes,
    }


def _of_traces(state: VolumeState) -> dict[str, Any]:
    """Return what only a volume of SEG-Y has: its index, and how many samples and traces lie beside the grid."""
    index = {name: value for name, value in state.index.items() if name != "placement"}
    return {"index": index, "exceptions": state.exceptions, "unplaced": state.unplaced}


def _of_voxels(volume: Volume) -> dict[str, Any]:
    """Return what an image is: type, number, length and place of its voxels, and when they were compared."""
    attributes, spec, looks = (
        volume.array_attributes(volume.master),
        volume.spec(volume.master),
        volume.state.looks,
    )
    unit = f" {looks.unit}" if looks.unit else ""
    return {
        "image": attributes.get("description", ""),
        "field": " ".join(
            filter(None, (attributes.get("field_name", volume.master), attributes.get("field_unit", "")))
        ),
        "voxels": f"{' x '.join(map(str, spec.shape))} {spec.dtype}",
        "voxel_length": _lengths(attributes.get("voxel_length", []), unit),
        "voxel_origin": _lengths(attributes.get("voxel_origin", []), unit),
        "labels": looks.is_labels,
        **({"label_volumes": names} if (names := volume.root.label_names) else {}),
        "compared_at": volume.state.compared_at,
    }


def _lengths(values: list[float], unit: str) -> str:
    """Return lengths along the axes with their unit, such as: 2.25, 2.25, 2.25 micrometer."""
    return ", ".join(f"{value:.10g}" for value in values) + unit if values else ""


def _about(volume: Volume, *, text: bool) -> dict[str, Any]:
    """Axes, place, reference system and text; what the root of an older volume does not say is read from its arrays."""
    state, members = volume.state, volume.members
    axes = [axis.to_json() for axis in state.axes]
    if not state.has("axes") and not volume.origin:
        dims = [dim for dim in volume.spec(volume.master).dims if dim in members]
        axes = [axis_in_short(dim, volume.read(dim), _unit(volume, dim)) for dim in dims]
    place = state.place.to_json()
    if not state.has("place") and {"cdp_x", "cdp_y", "trace_mask"} <= set(members):
        from tasks.volume.ingest.footprint import footprint_of

        place = footprint_of(volume)
    header = members.get("segy_file_header", {}).get("attributes", {})
    return {
        "axes": axes,
        "place": place,
        "epsg": state.epsg,
        **({"textual_header": header.get("textHeader", "")} if text else {}),
    }


def _unit(volume: Volume, path: str) -> str:
    attributes = volume.array_attributes(path)
    return str(attributes.get("units") or next(iter(attributes.get("unitsV1", {}).values()), ""))


def _rows(volume: Volume) -> list[dict[str, Any]]:
    """Return the master first, then copies and levels by path."""
    kinds = {volume.master: "master"}
    kinds |= {
        p: "copy" for p in volume.members if volume.array_attributes(p).get("copy_of") == volume.master_name
    }
    kinds |= {level.path: "level" for level in volume.state.levels if level.path != volume.master}
    rows = []
    for path, kind in kinds.items():
        spec, attributes = volume.spec(path), volume.array_attributes(path)
        raw, stored = attributes.get("raw_bytes", spec.raw_bytes), attributes.get("stored_bytes", 0)
        rows.append(
            {
                "path": volume.shown(path),
                "kind": kind,
                "dims": list(spec.dims),
                "shape": list(spec.shape),
                "chunks": list(spec.chunks),
                "shards": list(spec.shards),
                "dtype": spec.dtype,
                "codec": spec.codec,
                "raw_bytes": raw,
                "stored_bytes": stored,
                "ratio": raw / stored if stored else 0.0,
                **{name: attributes[name] for name in MEASURED if name in attributes and kind == "copy"},
            }
        )
    return rows


def _source(source: SourceEntry) -> dict[str, Any]:
    """Return the description of a source for display, without the checksums of its parts."""
    file, stated = source.file, source.to_json()
    kept = {
        name: stated[name] for name in ("url", "bytes", "trace_count", "crc32c", "etag") if name in stated
    }
    about = ("revision", "sample_format", "byte_order", "n_samples", "sample_interval_us", "oddities")
    return kept | {name: file[name] for name in about if name in file}
