"""Finish an ingest of SEG-Y: merge what all blocks tell, make every array visible, and commit.

What the block-wise pass cannot know before its end (statistics, words that float32 does not give back, checksums
of the file) is merged from the ledger in block order.
"""

import logging
from typing import Any

import numpy as np

from tasks.volume.arrays.attributes import NAN_FILL, axis_scale, mdio_attributes, ome_attributes, statistics
from tasks.volume.arrays.axes import axis_in_short
from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.spec import MASTER, ArraySpec
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import block_count, on_io
from tasks.volume.ingest.block import coordinates_key, exceptions_of, raw_samples_spec
from tasks.volume.ingest.checksums import Expected, Sums
from tasks.volume.ingest.coordinates import merged, shared
from tasks.volume.ingest.described import (
    CRS,
    axis_attributes,
    coordinate_attributes,
    crs_attributes,
    reference_system,
    sentences,
)
from tasks.volume.ingest.footprint import footprint, merged_extents
from tasks.volume.ingest.intake import unplaced_traces
from tasks.volume.ingest.master_plan import fill_of
from tasks.volume.ingest.small_arrays import scalar, small_chunks
from tasks.volume.ingest.sources import described_sources, refuse_misread
from tasks.volume.ingest.survey import Survey
from tasks.volume.kernels.traces import LIVE, merge_stats
from tasks.volume.protocol.ledger import Record, Stored
from tasks.volume.protocol.ready import Ready, put_arrays
from tasks.volume.protocol.stage import Stage, publish_root
from tasks.volume.protocol.writer import small_array
from tasks.volume.segy.field_contents import field_contents
from tasks.volume.segy.geometry import sample_axis
from tasks.volume.segy.header_counts import commonest, merge_tallies
from tasks.volume.segy.headers import binary_header
from tasks.volume.segy.placement import Coordinate, given
from tasks.volume.segy.samples import merge_extremes
from tasks.volume.segy.seismic_unix import field_contents as fields_of_seismic_unix
from tasks.volume.segy.seismic_unix import made_header
from tasks.volume.segy.standards import SEISMIC_UNIX
from tasks.volume.segy.text import textual_header

log = logging.getLogger(__name__)


OME_DIMENSIONS = (2, 3)  # more do not validate without axes of time and channels


def finish(
    stage: Stage,
    survey: Survey,
    records: list[Record],
    as_words: list[Record],
    request: str,
    expected: Expected,
    sums: dict[int, Sums],
) -> Root:
    """Store what all blocks together tell, make every array visible, and commit."""
    store, body, fmt, grid, files = stage.store, stage.plan.body, survey.fmt, survey.grid, survey.files
    assert grid is not None
    placement = survey.placement
    specs = {name: ArraySpec.from_json(plain) for name, plain in body["arrays"].items()}
    master = specs["master"]
    words = (
        [raw_samples_spec(specs[name]) for name in ("master", "unplaced") if name in specs]
        if as_words
        else []
    )
    objects: dict[str, list[Stored]] = {spec.path: [] for spec in (*specs.values(), *words)}
    for record in (*records, *as_words):
        for stored in record.objects:
            objects[stored.key.partition("/c/")[0]].append(stored)
    arrays: list[Ready] = []
    groups: list[str] = []

    def small(spec: ArraySpec, values: np.ndarray, attributes: dict[str, Any]) -> None:
        arrays.append(small_array(spec, values, attributes))

    def large(spec: ArraySpec, attributes: dict[str, Any]) -> None:
        arrays.append(Ready(spec.path, metadata_of(spec, attributes), objects[spec.path]))

    # First, because this tells whether every byte was read: nothing is shown of files that were not read whole.
    sources, ends = described_sources(
        files, [s for r in records for s in r.facts["segments"]] + body["spill_segments"]
    )
    refuse_misread(stage, files, sources, expected, sums)
    header = ends[0][0].tobytes() or made_header(fmt)
    binary = binary_header(header[3200:3600], fmt.byte_order)

    axes = [(axis.name, axis.values) for axis in grid.axes]
    depth = placement.domain == "depth"
    tallies = merge_tallies(r.facts["tallies"] for r in records)
    places = [r.facts.get("place", {}) for r in records]
    axes.append(
        sample_axis(fmt, placement.corrections.first_sample(commonest(tallies, "delay")), depth=depth)
    )
    shown_axes = []
    for name, values in axes:
        fits = values.dtype.kind == "i" and np.abs(values).max(initial=0) <= np.iinfo(np.int32).max
        dtype = "int32" if fits else ("float64" if values.dtype.kind == "f" else "int64")
        about = axis_attributes(name, placement, fmt, binary)
        small(ArraySpec(name, values.shape, values.shape, dtype, (name,)), values.astype(dtype), about)
        shown_axes.append(axis_in_short(name, values, about.get("units", "")))
    labelled = {}
    if placement.coordinates:
        labelled = {"coordinates": " ".join(coordinate.name for coordinate in placement.coordinates)}
    together = _shared_coordinates(stage, survey)
    extents, (epsg, _) = merged_extents(places), reference_system(placement, fmt)
    unit = ""
    for item in placement.coordinates:
        about = coordinate_attributes(item, placement, tallies, binary, extents, epsg)
        unit = about.get("units", "") if item.scaled else unit
        about |= {"_FillValue": NAN_FILL} if fill_of(item.dtype) == "NaN" else {}
        if item.name in specs:
            large(specs[item.name], about)
        else:
            small(_shared_spec(item, together[item.name].shape), together[item.name], about)
    flat: dict[str, Any] = {"shape": grid.shape, "chunks": small_chunks(grid.shape), "dims": grid.names}
    small(ArraySpec("trace_mask", dtype="bool", **flat), grid.trace_numbers >= 0, labelled)
    small(ArraySpec("trace_number", dtype="int64", **flat), grid.trace_numbers, labelled)
    text = {"textHeader": textual_header(header[:3200]), "binaryHeader": binary}
    arrays.append(Ready("segy_file_header", scalar(text)))
    if epsg:
        arrays.append(Ready(CRS, scalar(crs_attributes(epsg))))
    groups.append("segy_files")
    for number, raws in enumerate(ends):
        groups.append(f"segy_files/{number}")
        for name, raw in zip(("header", "trailer"), raws, strict=True):
            if raw.size:
                path = f"segy_files/{number}/{name}"
                small(
                    ArraySpec(path, raw.shape, (min(raw.size, 1 << 22),), "uint8", (f"{name}_byte",)), raw, {}
                )
    unplaced = unplaced_traces(grid, files.n_traces)
    if unplaced.size:
        groups.append("unplaced")
        for name in ("unplaced", "unplaced_headers", "unplaced_extensions"):
            if name in specs:
                large(specs[name], {})
        chunks = (min(unplaced.size, 1 << 20),)
        small(
            ArraySpec("unplaced/trace_number", unplaced.shape, chunks, "int64", ("unplaced",)), unplaced, {}
        )
    for spec in words:
        large(spec, labelled if spec.shape == master.shape else {})
    if not words and (exceptions := _exceptions(stage, records)):
        groups.append("sample_exceptions")
        arrays += exceptions
    for name in ("headers", "raw_headers", "raw_header_extensions"):
        if name in specs:
            contents = field_contents(placement) if name == "headers" else {}
            if name == "headers" and fmt.revision == SEISMIC_UNIX:
                contents = fields_of_seismic_unix() | contents
            large(specs[name], labelled | ({"field_contents": contents} if contents else {}))
    stats = merge_stats([np.array(r.facts["stats"]) for r in records if r.facts["stats"] is not None])
    extremes = merge_extremes(r.facts["extremes"] for r in records)
    described: dict[str, Any] = {"long_name": MASTER, **labelled, **({"grid_mapping": CRS} if epsg else {})}
    described |= {"_FillValue": NAN_FILL} if master.fill == "NaN" else {}
    described |= statistics(stats, extremes)
    described |= {
        "dead_coded_traces": sum(r.facts["dead"] for r in records),
        "raw_bytes": int(stats[LIVE]) * fmt.n_samples * master.numpy.itemsize,
        "stored_bytes": sum(o.bytes for o in objects[MASTER]),
    }
    large(master, described)

    notes = [*survey.notes, *sentences(placement, fmt, tallies, extents)]
    if unplaced.size:
        notes.append(
            f"Auxiliary traces by their code (byte 29): {unplaced.size:,}; they have no cell and are kept in unplaced."
        )
    if described["dead_coded_traces"]:
        notes.append(
            f"Dead traces: {described['dead_coded_traces']:,} by their code (byte 29 is 2), "
            f"{described['zero_traces']:,} by zeros alone."
        )
    scales = [axis_scale(np.asarray(values)) for _, values in axes]
    level = {"path": MASTER, "scale": [s for s, _ in scales], "translation": [t for _, t in scales]}
    created_on = stage.plan.created_on
    ome = ome_attributes(MASTER, master.dims, [level], described["min"], described["max"])
    root = Root.new(
        mdio_attributes(placement.template, created_on, MASTER, given(placement.overrides))
        | ({"ome": ome} if len(master.dims) in OME_DIMENSIONS else {})
        | {
            "seismill": {
                "format": 1,
                "writer": stage.plan.versions["seismill"],
                "created_on": created_on,
                "sources": [
                    entry | sums.get(file, {}) | {"notes": notes} for file, entry in enumerate(sources)
                ],
                "index": survey.index_json() | {"placement": survey.placement_json()},
                "axes": shown_axes,
                "place": footprint(placement, grid.axes, places, unit=unit),
                **({"epsg": epsg} if epsg else {}),
                "levels": [level],
                "stages": {MASTER: {"plan": stage.plan.digest, "request": request}},
                "exceptions": sum(r.facts["exceptions"] for r in records),
                "unplaced": int(unplaced.size),
            },
        }
    )
    root = root.with_members(put_arrays(stage, arrays, {group: {} for group in groups}, everything=True))
    root = publish_root(
        stage, root=root, leftovers=[request, *([body["spill"]["digest"]] if body["spill"] else [])]
    )
    log.info("%s: %d traces of %s", store.url, files.n_traces, files.name)
    return root


def _shared_coordinates(stage: Stage, survey: Survey) -> dict[str, np.ndarray]:
    """Return the coordinates that blocks share, by name."""
    assert survey.grid is not None
    if not shared(survey.placement):
        return {}
    blocks = range(block_count(survey.grid.shape, tuple(stage.plan.body["block"])))

    def part(block: int) -> bytes:
        try:
            return stage.store.get(coordinates_key(stage.plan, block))
        except FileNotFoundError:
            return b""  # nothing is live there

    parts = (
        values for at in range(0, len(blocks), 64) for values in on_io(part, blocks[at : at + 64]) if values
    )
    return merged(survey.placement, survey.grid.shape, parts)


def _shared_spec(coordinate: Coordinate, shape: tuple[int, ...]) -> ArraySpec:
    return ArraySpec(
        coordinate.name,
        shape,
        small_chunks(shape),
        coordinate.dtype,
        coordinate.dims,
        fill=fill_of(coordinate.dtype),
    )


def _exceptions(stage: Stage, records: list[Record]) -> list[Ready]:
    """Return the words that float32 does not give back, sorted by trace and sample; nothing if there are none."""
    if not any(record.facts["exceptions"] for record in records):
        return []
    rows = exceptions_of(stage.store, records)
    arrays = []
    for name, column, dtype in (("trace_number", 0, "int64"), ("sample", 1, "int32"), ("word", 2, "uint32")):
        spec = ArraySpec(
            f"sample_exceptions/{name}", (len(rows),), (min(len(rows), 1 << 20),), dtype, ("exception",)
        )
        arrays.append(small_array(spec, rows[:, column].astype(dtype), {}))
    return arrays
