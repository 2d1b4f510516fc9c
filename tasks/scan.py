"""Describe a SEG-Y file from its headers, before it is ingested.

A file whose index is in doubt is not refused here: the result holds the sentence with which an ingest would refuse
it, and the candidates to choose from. Nothing is written.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tasks.parameters import Index, StorageOptions, Url
from tasks.volume.arrays.axes import axis_in_short
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.lines import SourceLine, lines_of
from tasks.volume.ingest.parts import expected_of_parts, open_whole_or_part
from tasks.volume.ingest.sampling import Sample, sample_of
from tasks.volume.ingest.survey import Survey, oddities, survey_files
from tasks.volume.limits import Limits
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.binary_header import ORDER_NAMES
from tasks.volume.segy.coordinate_detect import Traces
from tasks.volume.segy.field_types import FLOATS, PLACES
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.geometry import Grid
from tasks.volume.segy.headers import TRACE_HEADER_FIELDS
from tasks.volume.segy.index_detect import choose_index
from tasks.volume.segy.index_score import STANDARD, Candidate, anywhere, header_word, judge, varying
from tasks.volume.segy.sample_guess import Resemblance, likelier_reading
from tasks.volume.segy.standards import FORMAT_NAMES
from tasks.volume.segy.text import textual_header
from tasks.volume.segy.trace_reading import TEXT_BYTES
from tasks.volume.store.objects import traffic

_NAMES = {field.byte: field.name for field in TRACE_HEADER_FIELDS}


def scan(
    source: Url,
    index: Index = Index(),
    storage_options: StorageOptions = StorageOptions(),
    *,
    limits: Limits = Limits(),
) -> dict[str, Any]:
    """Show what SEG-Y files hold, from their headers: formats, candidate index bytes, warnings.

    With options of the index, show what an ingest with these options would find.

    Args:
        source: The SEG-Y, or several of one survey, separated by commas or as a quoted pattern such as 'line_*.sgy'.
        index: Parameters that an ingest would get, to see their effect; nothing: detected ones.
        storage_options: Options of the store.
        limits: Sizes from which the files are read in another way.

    Returns:
        `index` and `grid` are what an ingest would find; empty if it would refuse, and `error` is its sentence then,
        with the flags that do work as `error_flags`.
        `candidates` are the header fields that were judged, with the objections to them. `words` are all that
        differ from trace to trace, with their extents; of far or large files, in a sample. `proposal` is the sample
        format that the samples look like, with the option that reads them so; empty if the header states it. `lines`
        are those that `--split line` would publish, with their traces. `coordinates` are fields that vary as X and Y
        would, each with the type in which it makes sense and its extents before the scalar at byte 71.

    Raises:
        InputRefused: A file does not exist or is not supported SEG-Y, or several do not belong together.
    """
    began, before = time.monotonic(), traffic.snapshot()
    files = open_whole_or_part(source, index, storage_options, limits)
    near = files.local and files.size <= limits.scanned_bytes
    fmt = files.fmt
    sample = sample_of(files, near=near)
    notes, error, flags, survey = oddities(files, sample), "", "", None
    proposal = likelier_reading(fmt, sample.samples)
    lines: list[SourceLine] = []
    try:
        if index.split == "line" and not index.traces:
            lines = lines_of(files, index)
        else:
            survey = survey_files(files, index, near=near, sample=sample)
            notes += survey.notes
        expected = expected_of_parts(files, index.checksums, storage_options)
        notes += [*expected.notes(expected.of_kind("md5")), *expected.doubts]
        if survey and survey.grid is None:
            notes.append(
                "The traces are not in the order of a full grid, so the grid is known when all are read."
            )
    except InputRefused as refusal:
        error, flags = str(refusal), refusal.flags
    candidates = _candidates(sample, fmt)
    spent = traffic.since(before)
    several = len(files.listed) > 1
    return {
        "stage": "scan",
        "source": source if several else files.listed[0].url,
        "source_bytes": files.size,
        "files": _files(files) if several else [],
        "format": _format(fmt),
        "proposal": _proposal(proposal) if proposal else {},
        "traces": fmt.n_traces,
        "textual_header": textual_header(files.read(0, 0, TEXT_BYTES)) if fmt.first_trace_offset else "",
        "index": _index(survey) if survey else {},
        "grid": _grid(survey.grid) if survey and survey.grid else {},
        "auxiliary_traces": fmt.n_traces - survey.grid.placed if survey and survey.grid else 0,
        "lines": [line.to_json() for line in lines],
        "candidates": [_candidate(candidate) for candidate in candidates],
        "coordinates": _coordinates(sample, fmt),
        "words": _words(sample, fmt),
        "error": error,
        "error_flags": flags,
        "seconds": round(time.monotonic() - began, 3),
        "requests": spent.requests,
        "bytes_read": spent.bytes_read,
        "notes": list(dict.fromkeys(notes)),
    }


def _candidates(sample: Sample, fmt: FileFormat) -> Sequence[Candidate]:
    """Return the candidates that an ingest judged or, if it refuses, the standard fields and all pairs with a grid."""
    try:
        return choose_index(sample.headers, sample.numbers, fmt.n_traces, fmt.byte_order).candidates
    except InputRefused:
        numbers, once = np.unique(sample.numbers, return_index=True)
        complete = len(numbers) == fmt.n_traces
        headers = sample.headers[once]
        first, second = (header_word(headers, byte, fmt.byte_order, complete=complete) for byte in STANDARD)
        others = anywhere(headers, numbers, fmt.n_traces, fmt.byte_order, complete=complete)
        standard = judge(first, second, fmt.n_traces)
        return [standard, *(other for other in others if other.bytes != standard.bytes)]


def _words(sample: Sample, fmt: FileFormat) -> list[dict[str, Any]]:
    """Return the words that vary: what they span, how densely, and how they go on from trace to trace."""
    numbers, once = np.unique(sample.numbers, return_index=True)
    adjacent = np.diff(numbers) == 1
    complete = len(numbers) == fmt.n_traces
    read = {
        byte: {"type": row["type"], "first": row["firsts"][axis], "last": row["lasts"][axis]}
        for row in _coordinates(sample, fmt)
        for axis, byte in enumerate(row["bytes"])
        if row["type"] in FLOATS
    }
    return [
        {
            "byte": word.byte,
            "name": _NAMES[word.byte],
            "type": word.type,
            "first": word.low,
            "last": word.high,
            "step": word.step,
            "count": word.distinct,
            "density": word.distinct / word.span,
            "order": word.direction,
            "changes": float(np.count_nonzero(np.diff(word.values)[adjacent]) / max(1, adjacent.sum())),
        }
        | read.get(word.byte, {})
        for word in varying(sample.headers[once], fmt.byte_order, complete=complete)
    ]


def _coordinates(sample: Sample, fmt: FileFormat) -> list[dict[str, Any]]:
    """Return possible X and Y fields: type, extents, and the option that selects them."""
    numbers, once = np.unique(sample.numbers, return_index=True)
    traces = Traces(sample.headers[once], numbers, fmt.byte_order, fmt.sample_format.name == "ibm32")
    rows = []
    for places in PLACES:
        judged = traces.judge(places)[0]
        if judged.varies and np.isfinite(judged.misfit):
            where = f"--coordinate-bytes {places[0]},{places[1]}"
            rows.append(
                {
                    "bytes": list(places),
                    "type": judged.type,
                    "firsts": list(judged.lows),
                    "lasts": list(judged.highs),
                    "scaled": judged.scaled,
                    "option": where
                    + (f" --coordinate-types {judged.type}" if judged.type != "int32" else ""),
                }
            )
    return rows


def _files(files: Files) -> list[dict[str, Any]]:
    """Return one row for each of several files."""
    return [
        {"url": file.url, "bytes": file.size, "revision": fmt.revision, "traces": fmt.n_traces}
        for file, fmt in zip(files.listed, files.formats, strict=True)
    ]


def _proposal(reading: Resemblance) -> dict[str, Any]:
    return {
        "sample_format": reading.code,
        "samples_are": FORMAT_NAMES[reading.code],
        "byte_order": ORDER_NAMES[reading.byte_order],
        "reason": reading.reason,
        "option": reading.option,
    }


def _format(fmt: FileFormat) -> dict[str, Any]:
    code = fmt.sample_format.code
    return {
        "revision": fmt.revision,
        "sample_format": code,
        "samples_are": FORMAT_NAMES[code],
        "byte_order": ORDER_NAMES[fmt.byte_order],
        "byte_order_reason": fmt.byte_order_reason,
        "samples_per_trace": fmt.n_samples,
        "sample_interval_us": fmt.sample_interval_us,
        "extended_textual_headers": fmt.extended_texts,
        "first_trace_offset": fmt.first_trace_offset,
        "trace_bytes": fmt.trace_bytes,
    }


def _index(survey: Survey) -> dict[str, Any]:
    about = {
        "template": survey.placement.template,
        "domain": survey.placement.domain,
        "delay_ms": survey.delay_ms,
    }
    return {name: list(value) for name, value in survey.index_json().items()} | about


def _grid(grid: Grid) -> dict[str, Any]:
    """Return shape, extents and how full the grid is."""
    return {
        "shape": list(grid.shape),
        "axes": [axis_in_short(axis.name, axis.values) for axis in grid.axes],
        "density": grid.placed / grid.trace_numbers.size,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    """Return one row: bytes, span, and option of a candidate; without bytes, traces are taken in file order."""
    return {
        "template": candidate.template,
        "names": list(candidate.names),
        "bytes": list(candidate.bytes),
        "types": list(candidate.types),
        "firsts": list(candidate.lows),
        "lasts": list(candidate.highs),
        "steps": list(candidate.steps),
        "counts": list(candidate.counts),
        "density": candidate.density,
        "objection": candidate.objection,
        "option": candidate.option,
    }
