"""The tables of a report, from the root of a volume and its plans; figures are those that were measured."""

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import AS_FOUND
from tasks.volume.blocks import on_io
from tasks.volume.outcomes import Outcome
from tasks.volume.protocol.plan import Plan, load_plan
from tasks.volume.report.header_table import HeaderFacts
from tasks.volume.report.look import Look
from tasks.volume.report.page import Cell, Table
from tasks.volume.report.spectrum import Spectrum

Row = dict[str, Any]
Rows = list[list[str | Cell]]
STATISTICS = {
    "count": "finite samples",
    "min": "least",
    "max": "greatest",
    "mean": "mean",
    "rms": "root mean square",
    "std": "standard deviation",
    "nonfinite_count": "NaN or Inf",
    "zero_count": "zeros",
    "live_traces": "live traces",
    "zero_traces": "traces of only zeros",
    "dead_coded_traces": "dead by trace code",
}


def times(extents: Iterable[int]) -> str:
    """Return extents as a text."""
    return " x ".join(map(str, extents))


def what_it_is(volume: Volume, look: Look) -> Table:
    """Return where the volume lies and what its axes are."""
    spec, state = volume.spec(volume.master), volume.state
    rows: Rows = [
        ["values", f"{volume.master_name}, {spec.dtype}"],
        ["extent", f"{times(spec.shape)} ({', '.join(spec.dims)})"],
    ]
    if look.voxels:
        rows.append(["voxel size", voxel_size(volume, look)])
        length = " x ".join(f"{abs(v) * n:g}" for v, n in zip(look.voxel, spec.shape, strict=True))
        rows.append(["size", f"{length} {look.unit}".strip()])
        attributes = volume.array_attributes(volume.master)
        rows += [
            [name, str(attributes[key])]
            for name, key in (("unit of values", "field_unit"), ("description", "description"))
            if attributes.get(key)
        ]
    for axis in state.axes:
        step = axis.step if isinstance(axis.step, str) else f"step {axis.step:g}"
        ends = f"{axis.first:g} to {axis.last:g} {axis.unit}".strip()
        rows.append([axis.name, f"{ends}, {step}, {axis.count:,} values"])
    place = state.place
    for name, extent in (("X", place.x), ("Y", place.y)):
        if extent:
            rows.append([name, f"{extent[0]:,.10g} to {extent[1]:,.10g} {place.unit}".strip()])
    for along, size in place.bin_size.items():
        azimuth = place.azimuth.get(along)
        turned = f", azimuth {azimuth:.2f}°" if azimuth is not None else ""
        rows.append([f"step of {along}", f"{size:.6g} {place.unit}".strip() + turned])
    if place.misfit is not None:
        rows.append(["misfit of the grid", f"{place.misfit:.3g} {place.unit}"])
    if state.epsg:
        rows.append(["EPSG", str(state.epsg)])
    index = state.index.get("bytes")
    if index:
        rows.append(["index bytes", ", ".join(map(str, index))])
    return Table("volume", "Volume", [], rows)


def voxel_size(volume: Volume, look: Look) -> str:
    """Return the lengths of a voxel by axis, and their unit, or that none is known."""
    spec = volume.spec(volume.master)
    lengths = " x ".join(f"{length:g}" for length in look.voxel)
    if not look.unit:
        return f"{lengths} ({', '.join(spec.dims)}), in no known unit"
    return f"{lengths} {look.unit} ({', '.join(spec.dims)})"


def statistics(volume: Volume, look: Look) -> Table:
    """Return the statistics of the master that were taken when it was stored."""
    attributes = volume.array_attributes(volume.master)
    names = STATISTICS | ({"count": "finite voxels"} if look.voxels else {})
    rows: Rows = [[name, Cell.of(attributes[key])] for key, name in names.items() if key in attributes]
    caption = "From all finite samples of live traces." if volume.has("trace_mask") else ""
    return Table("statistics", "Statistics", [], rows, caption)


def copies_table(rows: list[Row], similarities: Mapping[str, float | None], master: str) -> Table:
    """Return, for each copy, its error bound, its measured errors, and its compression ratio."""
    columns = [
        "copy",
        "chunks",
        "bound",
        "largest error",
        "error / bound",
        "RMS error",
        "RMS error / deviation",
    ]
    columns += ["SNR (dB)", "PSNR (dB)", "SSIM", "ratio", "NaN or Inf", "target"]
    pieces: Rows = []
    for row in rows:
        bound, error = row.get("tolerance"), row.get("max_abs_error")
        share = Cell(f"{100 * error / bound:.1f} %", error / bound) if bound and error is not None else ""
        alike = similarities.get(row["path"])
        pieces.append(
            [
                row["path"],
                times(row["chunks"]),
                Cell.of(bound) if bound else "lossless",
                _figure(error, ",.4g") or ("" if bound else "0, lossless"),
                share,
                _figure(row.get("rmse"), ",.4g"),
                _figure(row.get("nrmse"), ".4g"),
                _figure(row.get("snr_db"), ".1f"),
                _figure(row.get("psnr_db"), ".1f"),
                _figure(alike, ".5f"),
                _figure(row["ratio"], ".2f"),
                _figure(row.get("nonfinite_count"), ","),
                str(row.get("target", "")),
            ]
        )
    caption = (
        f"Against {master}. Errors, SNR and PSNR were measured on all chunks when the copy was made. The "
        "deviation is the standard deviation of the master, also in SNR; PSNR is relative to its range. SSIM: "
        "mean over windows of 7 x 7 in the slices shown; its dynamic range is the width of the colours of the master."
    )
    return Table("copies", "Copies", columns, pieces, caption, wide=True)


def arrays_table(rows: list[Row]) -> Table:
    """Return all arrays with their sizes."""
    columns = ["array", "extent", "type", "chunks", "shards", "codec", "bytes", "stored bytes", "ratio"]
    result = [
        [
            row["path"],
            times(row["shape"]),
            row["dtype"],
            times(row["chunks"]),
            times(row["shards"]),
            "as found" if row["codec"] == AS_FOUND else row["codec"],
            Cell.of(int(row["raw_bytes"])),
            Cell.of(int(row["stored_bytes"])),
            Cell.of(float(row["ratio"]), ".2f"),
        ]
        for row in rows
    ]
    return Table("arrays", "Arrays", columns, result)


def spectra_table(spectra: list[Spectrum], samples: str) -> Table:
    """Return where spectra have their peaks and how wide they are."""
    rows: Rows = [
        [
            spectrum.name,
            Cell.of(spectrum.peak, ".4g"),
            *(Cell.of(end, ".4g") for end in spectrum.band),
            Cell.of(spectrum.lines),
        ]
        for spectrum in spectra
    ]
    unit = spectra[0].unit if spectra else ""
    columns = ["spectrum", f"peak ({unit})", "from", "to (within 20 dB)", samples]
    return Table("spectrum", "Spectrum", columns, rows)


def headers_table(facts: HeaderFacts) -> Table:
    """Return the fields of trace headers; those that are 0 everywhere in one sentence."""
    zero = [entry for entry in facts.fields if entry.constant and not entry.least and not entry.odd]
    rows: Rows = [
        [
            entry.name,
            Cell.of(entry.byte),
            Cell.of(entry.least),
            Cell.of(entry.greatest),
            "constant" if entry.constant else "",
            entry.odd,
        ]
        for entry in facts.fields
        if entry not in zero
    ]
    read = (
        f"From all {facts.traces:,} traces."
        if facts.whole
        else f"From {facts.traces:,} traces, evenly spread; values of other traces may lie beyond."
    )
    names = ", ".join(f"{entry.name} ({entry.byte})" for entry in zero)
    caption = f"{read} Always 0: {names}." if zero else read
    columns = ["field", "byte", "least", "greatest", "constant", "notable"]
    return Table("headers", "Trace headers", columns, rows, caption)


def sources_table(volume: Volume) -> Table:
    """Return the sources of the volume, with checksums and warnings."""
    rows: Rows = []
    for number, source in enumerate(volume.state.sources):
        rows.append([f"source {number + 1}" if len(volume.state.sources) > 1 else "source", source.url])
        rows.append(["bytes", Cell.of(source.bytes)])
        for name, text in (("CRC32C", source.crc32c), ("MD5", source.md5), ("ETag", source.etag)):
            if text:
                rows.append([name, text])
        if source.has("trace_count"):
            rows.append(["traces", Cell.of(source.trace_count)])
        if source.files:
            rows.append(["files, slices", f"{source.files:,}, {source.slice_count:,}"])
        read = source.file
        for name, key in _READ.items():
            if read.get(key) not in (None, "", 0):
                rows.append([name, str(read[key])])
        rows += [["notable", str(sentence)] for sentence in [*read.get("oddities", []), *source.notes]]
    return Table("sources", "Source", [], rows)


_READ = {
    "revision": "revision",
    "sample format": "sample_format",
    "byte order": "byte_order_reason",
    "samples per trace": "n_samples",
    "sample interval (µs)": "sample_interval_us",
    "extended text headers": "extended_texts",
    "trailing bytes": "trailer_bytes",
}


def done_table(volume: Volume) -> Table:
    """Return which verb made each array, when, and with which versions."""
    stages = volume.state.stages
    digests = list(dict.fromkeys(stage.plan for stage in stages.values()))

    def load(digest: str) -> Plan | None:
        try:
            return load_plan(volume.store, digest)
        except (Outcome, OSError, ValueError):
            return None  # of another tool's array there is none, and verify names a damaged one

    plans = dict(zip(digests, on_io(load, digests), strict=True))
    rows = []
    for name, stage in stages.items():
        plan = plans[stage.plan]
        versions = ", ".join(f"{key} {value}" for key, value in plan.versions.items()) if plan else ""
        verb, planned = (str(plan.body.get("verb", "")), plan.created_on) if plan else ("another tool's", "")
        rows.append([name or volume.master_name, verb.replace("_", "-"), planned, stage.plan, versions])
    return Table("done", "What was done", ["array", "by", "planned", "plan", "versions"], rows)


def proof_of(volume: Volume) -> tuple[str, str]:
    """Return in a sentence whether the volume is proven, and a class for it."""
    state = volume.state
    plan = volume.master_plan
    if (proven := state.proven_at) and state.proven_plan == plan:
        return f"proven {proven}: exporting the volume gives back its source, byte for byte", "good"
    if (compared := state.compared_at) and state.compared_plan == plan:
        return f"compared {compared}: every voxel equals the source's", "good"
    if any(source.crc32c for source in state.sources):
        return "not proven yet: run seismill prove", "open"
    return "every chunk ends in a checksum: seismill verify reads them all", ""


def _figure(value: float | None, form: str) -> str | Cell:
    return "" if value is None else Cell.of(value, form)
