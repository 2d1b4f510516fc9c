"""Say what a SEG-Y file is from its headers, before anything is decided about it.

A file whose index is in doubt is not refused here: the sentence that an ingest would refuse it with is part of
the answer, beside the candidates to choose from. Nothing is written.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tasks.parameters import Index, StorageOptions, Url
from tasks.volume.files import Files
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.candidates import choose_index
from tasks.volume.segy.format import FORMAT_NAMES, TEXT_BYTES, FileFormat, read_format
from tasks.volume.segy.geometry import Grid
from tasks.volume.segy.plausible import STANDARD, Candidate, anywhere, header_word, judge
from tasks.volume.segy.survey import Survey, sample_headers, survey_file
from tasks.volume.segy.text import textual_header
from tasks.volume.store import Source, traffic

NEAR_BYTES = (
    2 << 30
)  # a local file up to this size is read through for its headers; of others a few are looked at


def scan(source: Url, storage_options: StorageOptions = StorageOptions()) -> dict[str, Any]:
    """Read the headers of a SEG-Y file: its format, which header words could index it, its grid, and what is odd.

    Args:
        source: The file.
        storage_options: Non-secret options of its store.

    Returns:
        `index` and `grid` are what an ingest would find by itself; empty if it would refuse, and `error` is its
        sentence then. `candidates` are the header words that were judged, with what speaks against them.

    Raises:
        InputRefused: There is no such file, or it is not SEG-Y that is read.
    """
    began, before = time.monotonic(), traffic.snapshot()
    file = Source(source, storage_options)
    near = file.location.local and file.size <= NEAR_BYTES
    # The same ranges are wanted again; of a near file they are in the page cache.
    seen = file if near else _Remembered(file.size, file.name, cache(file.read))
    fmt = read_format(seen)
    notes, error, survey = list(fmt.oddities), "", None
    try:
        survey = survey_file(seen, Index(), near=near)
        notes += [note for note in survey.notes if note not in notes]
        if survey.grid is None:
            notes.append(
                "The traces are not in the order of a full grid, so the grid is known when all are read."
            )
    except InputRefused as refusal:
        error = str(refusal)
    candidates = _candidates(seen, fmt, near=near)
    spent = traffic.since(before)
    return {
        "stage": "scan",
        "source": file.url,
        "source_bytes": file.size,
        "format": _format(fmt),
        "traces": fmt.n_traces,
        "textual_header": textual_header(seen.read(0, TEXT_BYTES)),
        "index": _index(survey) if survey else {},
        "grid": _grid(survey.grid, fmt) if survey and survey.grid else {},
        "candidates": [_candidate(candidate) for candidate in candidates],
        "error": error,
        "seconds": round(time.monotonic() - began, 3),
        "requests": spent.requests,
        "bytes_read": spent.bytes_read,
        "notes": notes,
    }


@dataclass(frozen=True)
class _Remembered:
    """A far file, each range of which is asked for once."""

    size: int
    name: str
    read: Callable[[int, int], bytes]


def _candidates(source: Any, fmt: FileFormat, *, near: bool) -> Sequence[Candidate]:
    """What was judged: by an ingest, or, where it refuses, the standard words and all pairs that hold some grid."""
    numbers, headers = sample_headers(Files.of(source), near=near)
    try:
        return choose_index(headers, numbers, fmt.n_traces, fmt.byte_order).candidates
    except InputRefused:
        numbers, once = np.unique(numbers, return_index=True)
        complete = len(numbers) == fmt.n_traces
        headers = headers[once]
        first, second = (header_word(headers, byte, fmt.byte_order, complete=complete) for byte in STANDARD)
        others = anywhere(headers, numbers, fmt.n_traces, fmt.byte_order, complete=complete)
        standard = judge(first, second, fmt.n_traces)
        return [standard, *(other for other in others if other.bytes != standard.bytes)]


def _format(fmt: FileFormat) -> dict[str, Any]:
    code = fmt.sample_format.code
    return {
        "revision": fmt.revision,
        "sample_format": code,
        "samples_are": FORMAT_NAMES[code],
        "byte_order": "big endian" if fmt.byte_order == ">" else "little endian",
        "byte_order_reason": fmt.byte_order_reason,
        "samples_per_trace": fmt.n_samples,
        "sample_interval_us": fmt.sample_interval_us,
        "extended_textual_headers": fmt.extended_texts,
        "first_trace_offset": fmt.first_trace_offset,
        "trace_bytes": fmt.trace_bytes,
    }


def _index(survey: Survey) -> dict[str, Any]:
    return {name: list(value) for name, value in survey.index_json().items()} | {"delay_ms": survey.delay_ms}


def _grid(grid: Grid, fmt: FileFormat) -> dict[str, Any]:
    """Shape, extents and how full it is; a step of 0 is one that varies."""
    return {
        "shape": list(grid.shape),
        "axes": [
            {
                "name": axis.name,
                "first": int(axis.values[0]),
                "last": int(axis.values[-1]),
                "step": axis.step,
                "count": len(axis.values),
            }
            for axis in grid.axes
        ],
        "density": fmt.n_traces / grid.trace_numbers.size,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    """One row: where the words are, what they span (inline, then crossline), and the option that names them."""
    return {
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
