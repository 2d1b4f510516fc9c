"""The arrays of a survey whose blocks are done: those that blocks stored, and small ones made from their results."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.volume.arrays.attributes import NAN_FILL, statistics
from tasks.volume.arrays.axes import axis_in_short
from tasks.volume.arrays.codecs import metadata_of
from tasks.volume.arrays.spec import MASTER, ArraySpec
from tasks.volume.blocks import block_count, on_io
from tasks.volume.ingest.block import coordinates_key, exceptions_of
from tasks.volume.ingest.coordinates import merged, shared
from tasks.volume.ingest.described import (
    CRS,
    axis_attributes,
    coordinate_attributes,
    crs_attributes,
)
from tasks.volume.ingest.intake import unplaced_traces
from tasks.volume.ingest.master_plan import fill_of
from tasks.volume.ingest.small_arrays import scalar, small_chunks
from tasks.volume.ingest.survey import Survey
from tasks.volume.kernels.traces import LIVE, merge_stats
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.ready import Ready
from tasks.volume.protocol.stage import Stage
from tasks.volume.protocol.stored import StoredObjects
from tasks.volume.protocol.writer import small_array
from tasks.volume.segy.field_contents import field_contents
from tasks.volume.segy.geometry import Grid, sample_axis
from tasks.volume.segy.header_counts import Tallies, commonest
from tasks.volume.segy.placement import Coordinate, Placement
from tasks.volume.segy.samples import merge_extremes
from tasks.volume.segy.seismic_unix import field_contents as fields_of_seismic_unix
from tasks.volume.segy.standards import SEISMIC_UNIX


@dataclass(frozen=True)
class Whole:
    """The results of all blocks of a survey, and the arrays made of them, in the order of the volume's members.

    Attributes:
        stage: The stage.
        survey: The survey.
        grid: Its grid.
        specs: Arrays of the plan, by their name there.
        records: Records of all blocks, in their order.
        objects: Objects that blocks stored.
        tallies: Counts of header values.
        binary: Binary header.
        arrays: Arrays that can be made to exist.
        groups: Groups above them.
    """

    stage: Stage
    survey: Survey
    grid: Grid
    specs: dict[str, ArraySpec]
    records: list[Record]
    objects: StoredObjects
    tallies: Tallies
    binary: dict[str, Any]
    arrays: list[Ready] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def small(self, spec: ArraySpec, values: np.ndarray, attributes: dict[str, Any]) -> None:
        """Add an array that is in memory."""
        self.arrays.append(small_array(spec, values, attributes))

    def large(self, spec: ArraySpec, attributes: dict[str, Any]) -> None:
        """Add an array whose objects blocks stored."""
        self.arrays.append(Ready(spec.path, metadata_of(spec, attributes), self.objects.of_array(spec.path)))

    @property
    def placement(self) -> Placement:
        """Return how header fields place traces."""
        return self.survey.placement

    @property
    def labelled(self) -> dict[str, str]:
        """Return the attribute that names the coordinates of an array over the grid."""
        names = " ".join(coordinate.name for coordinate in self.placement.coordinates)
        return {"coordinates": names} if names else {}


def add_axes(whole: Whole) -> tuple[list[tuple[str, np.ndarray]], list[dict[str, Any]]]:
    """Add the axes; return their names and values, and their entries in the root."""
    fmt, placement = whole.survey.fmt, whole.placement
    axes = [(axis.name, axis.values) for axis in whole.grid.axes]
    first = placement.corrections.first_sample(commonest(whole.tallies, "delay"))
    axes.append(sample_axis(fmt, first, depth=placement.domain == "depth"))
    shown_axes = []
    for name, values in axes:
        fits = values.dtype.kind == "i" and np.abs(values).max(initial=0) <= np.iinfo(np.int32).max
        dtype = "int32" if fits else ("float64" if values.dtype.kind == "f" else "int64")
        about = axis_attributes(name, placement, fmt, whole.binary)
        whole.small(ArraySpec(name, values.shape, values.shape, dtype, (name,)), values.astype(dtype), about)
        shown_axes.append(axis_in_short(name, values, about.get("units", "")))
    return axes, shown_axes


def add_coordinates(whole: Whole, extents: dict[str, tuple[float, float]], epsg: int) -> str:
    """Add coordinates, the mask and the numbers of traces; return the unit of coordinates."""
    together, unit = _shared_coordinates(whole.stage, whole.survey), ""
    for item in whole.placement.coordinates:
        about = coordinate_attributes(item, whole.placement, whole.tallies, whole.binary, extents, epsg)
        unit = about.get("units", "") if item.scaled else unit
        about |= {"_FillValue": NAN_FILL} if fill_of(item.dtype) == "NaN" else {}
        if item.name in whole.specs:
            whole.large(whole.specs[item.name], about)
        else:
            whole.small(_shared_spec(item, together[item.name].shape), together[item.name], about)
    grid = whole.grid
    flat: dict[str, Any] = {"shape": grid.shape, "chunks": small_chunks(grid.shape), "dims": grid.names}
    whole.small(ArraySpec("trace_mask", dtype="bool", **flat), grid.trace_numbers >= 0, whole.labelled)
    whole.small(ArraySpec("trace_number", dtype="int64", **flat), grid.trace_numbers, whole.labelled)
    return unit


def add_files(whole: Whole, text: str, epsg: int, ends: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Add the headers of the files, and the bytes before the first and after the last trace of each."""
    about = {"textHeader": text, "binaryHeader": whole.binary}
    whole.arrays.append(Ready("segy_file_header", scalar(about)))
    if epsg:
        whole.arrays.append(Ready(CRS, scalar(crs_attributes(epsg))))
    whole.groups.append("segy_files")
    for number, raws in enumerate(ends):
        whole.groups.append(f"segy_files/{number}")
        for name, raw in zip(("header", "trailer"), raws, strict=True):
            if raw.size:
                path, chunks = f"segy_files/{number}/{name}", (min(raw.size, 1 << 22),)
                whole.small(ArraySpec(path, raw.shape, chunks, "uint8", (f"{name}_byte",)), raw, {})


def add_unplaced(whole: Whole) -> int:
    """Add the traces that have no cell; return how many there are."""
    unplaced = unplaced_traces(whole.grid, whole.survey.files.n_traces)
    if unplaced.size:
        whole.groups.append("unplaced")
        for name in ("unplaced", "unplaced_headers", "unplaced_extensions"):
            if name in whole.specs:
                whole.large(whole.specs[name], {})
        chunks = (min(unplaced.size, 1 << 20),)
        spec = ArraySpec("unplaced/trace_number", unplaced.shape, chunks, "int64", ("unplaced",))
        whole.small(spec, unplaced, {})
    return int(unplaced.size)


def add_samples_as_words(whole: Whole, words: Sequence[ArraySpec]) -> None:
    """Add samples that float32 cannot reproduce, as words of the file: all samples, or these few."""
    shape = whole.specs["master"].shape
    for spec in words:
        whole.large(spec, whole.labelled if spec.shape == shape else {})
    if not words and (exceptions := _exceptions(whole.stage, whole.records)):
        whole.groups.append("sample_exceptions")
        whole.arrays.extend(exceptions)


def add_trace_headers(whole: Whole) -> None:
    """Add the trace headers."""
    for name in ("headers", "raw_headers", "raw_header_extensions"):
        if name in whole.specs:
            contents = field_contents(whole.placement) if name == "headers" else {}
            if name == "headers" and whole.survey.fmt.revision == SEISMIC_UNIX:
                contents = fields_of_seismic_unix() | contents
            about = whole.labelled | ({"field_contents": contents} if contents else {})
            whole.large(whole.specs[name], about)


def add_master(whole: Whole, epsg: int) -> dict[str, Any]:
    """Add the lossless array; return its attributes."""
    master, records = whole.specs["master"], whole.records
    stats = merge_stats([np.array(r.facts["stats"]) for r in records if r.facts["stats"] is not None])
    extremes = merge_extremes(r.facts["extremes"] for r in records)
    described: dict[str, Any] = {"long_name": MASTER, **whole.labelled}
    described |= {"grid_mapping": CRS} if epsg else {}
    described |= {"_FillValue": NAN_FILL} if master.fill == "NaN" else {}
    described |= statistics(stats, extremes)
    described |= {
        "dead_coded_traces": sum(r.facts["dead"] for r in records),
        "raw_bytes": int(stats[LIVE]) * whole.survey.fmt.n_samples * master.numpy.itemsize,
        "stored_bytes": whole.objects.of_array(MASTER).total_bytes,
    }
    whole.large(master, described)
    return described


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
