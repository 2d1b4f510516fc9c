"""Make the report: read the volume, draw the pictures and write the page."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import AS_FOUND
from tasks.volume.blocks import cpu_count
from tasks.volume.report import sections
from tasks.volume.report.header_table import header_facts
from tasks.volume.report.histograms import draw_curves
from tasks.volume.report.kept import name_of
from tasks.volume.report.look import Look, look_of
from tasks.volume.report.map_picture import draw_map
from tasks.volume.report.page import ReportPage, rendered
from tasks.volume.report.pictures import colour_scale, draw_views
from tasks.volume.report.sheet import Picture
from tasks.volume.report.similarity import similarity
from tasks.volume.report.slices import Mask, Slice, compared, mask_of, sample, sides_of, slice_of
from tasks.volume.report.spectrum import spectra_of
from tasks.volume.report.survey_map import survey_map

LEGEND = (
    "Grey: no trace. Yellow: NaN or Inf. Colours reach to the 99th percentile of the slice; those of an enlarged "
    "difference to its own."
)
VOXEL_LEGEND = "Yellow: NaN or Inf. Differences that are enlarged have colours of their own."
TEXT_HEADER = "segy_file_header"
Row = dict[str, Any]
_Drawn = tuple[Picture, Slice]


@cache
def _pool() -> ThreadPoolExecutor:
    """Return the one pool of this process for pictures: reading waits for tasks of the others.

    matplotlib keeps fonts open for each thread that drew, so their number must not grow with that of the reports.
    """
    return ThreadPoolExecutor(cpu_count() + 1, thread_name_prefix="report")


def draw_report(
    volume: Volume, rows: list[Row], copies: list[str], shown: Mapping[str, tuple[int, int]]
) -> tuple[bytes, list[Picture], list[str]]:
    """Return the page, its pictures, and notes on what they leave out.

    Args:
        volume: The volume.
        rows: Rows of its arrays, the master's first.
        copies: Paths of copies.
        shown: Axes of each slice, by name.
    """
    mask, look, sides = mask_of(volume), look_of(volume), sides_of(volume)
    captions = {row["path"]: caption(row) for row in rows}
    reading = _pool().submit(sample, volume, volume.master, mask)
    heading = _pool().submit(header_facts, volume, mask)
    mapping = _pool().submit(survey_map, volume, mask, sides)
    drawing = {
        name: _pool().submit(_slice, volume, name, axes, copies, mask, look, sides, captions)
        for name, axes in shown.items()
    }
    wait([*drawing.values()])
    wait([reading])
    wait([heading])
    wait([mapping])  # nothing outlives a failure of another
    drawn: dict[str, _Drawn] = {name: future.result() for name, future in drawing.items()}
    values, words = reading.result()
    slices = {name: found for name, (_, found) in drawn.items()}
    pictures = [picture for picture, _ in drawn.values()]
    notes = [f"{name}.png shows {phrase}" for name, found in slices.items() for phrase in found.partial]
    spectra = [] if look.labels else spectra_of(slices, look.voxels, look.unit)
    bounds = {row["path"]: float(row.get("tolerance") or 0) for row in rows}
    against = [(path, *compared(path, list(slices.values())), bounds[path]) for path in copies]
    name, kind = name_of(volume), "labels" if look.labels else volume.master_name
    curves = draw_curves("histogram", f"{name}: values", kind, (words, values), against, spectra)
    place = mapping.result()
    maps = [draw_map("map", f"{name}: map", place)] if place is not None else []
    pictures = [*maps, curves, *pictures]
    low, high = colour_scale(values, look)
    alike = {path: similarity(_pairs(path, slices), high - low) for path in copies}
    facts = heading.result()
    tables = [
        sections.what_it_is(volume, look),
        sections.statistics(volume, look),
        sections.spectra_table(spectra, "lines" if look.voxels else "traces"),
        sections.copies_table([row for row in rows if row["path"] in copies], alike, volume.master_name),
        sections.arrays_table(rows),
        *([sections.headers_table(facts)] if facts is not None else []),
        sections.sources_table(volume),
        sections.done_table(volume),
    ]
    page = ReportPage(
        title=name,
        lead=_lead(volume, look),
        badge=sections.proof_of(volume),
        pictures=[(picture.name, f"{name}: {picture.name}", picture.png) for picture in pictures],
        tables=tables,
        texts=_texts(volume),
        first=len(maps),
        first_tables=3,
        notes=[VOXEL_LEGEND if look.voxels else LEGEND, *notes],
        made=f"Seismill {volume.state.writer}, created {volume.state.created_on}",
        labels={str(value): "#{:02x}{:02x}{:02x}".format(*rgb) for value, rgb in sorted(look.labels.items())},
    )
    return rendered(page), pictures, notes


def _slice(
    volume: Volume,
    name: str,
    axes: tuple[int, int],
    copies: list[str],
    mask: Mask,
    look: Look,
    sides: Sequence[Any],
    captions: Mapping[str, str],
) -> _Drawn:
    found = slice_of(volume, axes, copies, mask=mask, sides=list(sides), captions=captions)
    title = f"{name_of(volume)}: {found.title}"
    if look.voxels:
        title += f"; voxels of {sections.voxel_size(volume, look)}"
    return draw_views(name, title, list(found.views.values()), look), found


def _pairs(path: str, slices: Mapping[str, Slice]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    views = [found.views[path] for found in slices.values()]
    return [(view.master, view.copy, view.live) for view in views if view.copy is not None]


def caption(row: Row) -> str:
    """Return a short description of how an array is stored."""
    kept = "as found" if row["codec"] == AS_FOUND else "lossless"
    words = [
        f"within ±{row['tolerance']:.4g}" if row.get("tolerance") else kept,
        f"{row['ratio']:.1f} : 1",
    ]
    if row.get("tolerance") and "snr_db" in row:
        words.append(f"SNR {row['snr_db']:.1f} dB")
    return ", ".join(words)


def _lead(volume: Volume, look: Look) -> str:
    spec = volume.spec(volume.master)
    kind = "Labels" if look.labels else "Image" if look.voxels else "Survey"
    words = f"{kind} of {sections.times(spec.shape)} ({', '.join(spec.dims)}), {spec.dtype}"
    return f"{words}, voxels of {sections.voxel_size(volume, look)}" if look.voxels else words


def _texts(volume: Volume) -> list[tuple[str, str, str]]:
    """Return the text header and the binary header, where there are any."""
    if not volume.has(TEXT_HEADER):
        return []
    attributes = volume.array_attributes(TEXT_HEADER)
    numbers = {name: value for name, value in attributes.get("binaryHeader", {}).items() if value}
    return [
        ("text-header", "Text header", str(attributes.get("textHeader", ""))),
        (
            "binary-header",
            "Binary header, nonzero fields",
            "\n".join(f"{k:32} {v}" for k, v in numbers.items()),
        ),
    ]
