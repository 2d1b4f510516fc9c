"""What one file holds, found out with as little reading as its order allows: format, index and grid.

A trace is about as long as a page, so looking at every header reads the whole file. A file whose headers
look like a full regular grid is therefore only sampled, and each header is compared when its block is read.
Otherwise a near file is scanned, while of a far one only the sample is taken: its headers are collected when it
is read, once, to be spilled.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.parameters import Index
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.candidates import choose_index
from tasks.volume.segy.format import FileFormat, Source, read_format
from tasks.volume.segy.geometry import Grid, RegularGrid, grid_from_regular, grid_of, predict_regular
from tasks.volume.segy.headers import word
from tasks.volume.segy.tallies import commonest, tallies_of

SCAN_BYTES = 8 << 20
HEAD_BYTES, TAIL_BYTES, SCATTERED = 1 << 20, 128 << 10, 12
HEAD_FRACTION, TAIL_FRACTION = 0.04, 0.01  # of a far file at most: looking is not to cost much beside reading
ALL_HEADERS_BYTES = 32 << 20  # a near file of at most this size is looked at whole to choose the index


@dataclass(frozen=True, eq=False)
class Survey:
    """One file and its geometry.

    Attributes:
        fmt: What the file is made of.
        index_bytes: First byte of each index word, slowest dimension first.
        index_types: Type of each.
        names: Names of the dimensions.
        coordinate_bytes: First bytes of the X and Y words; () if there are none.
        grid: Where each trace lies; None if only reading the whole file can tell.
        regular: The prediction that `grid` stands on, None if headers were read.
        delay_ms: Time of the first sample, of most of the traces that were looked at.
        sample: The slowest index word in some of the traces, from all over the file.
        notes: Sentences on what was chosen and what is odd.
    """

    fmt: FileFormat
    index_bytes: tuple[int, ...]
    index_types: tuple[str, ...]
    names: tuple[str, ...]
    coordinate_bytes: tuple[int, ...]
    grid: Grid | None
    regular: RegularGrid | None
    delay_ms: float
    sample: np.ndarray
    notes: tuple[str, ...] = ()

    def index_json(self) -> dict[str, Any]:
        """What of this says where traces lie, for a plan."""
        return {
            "bytes": self.index_bytes,
            "types": self.index_types,
            "names": self.names,
            "coordinate_bytes": self.coordinate_bytes,
        }

    def unpredicted(self, source: Source, *, near: bool) -> "Survey":
        """The same file after its prediction failed: scanned if it is near, else without a grid."""
        grid = scan_grid(source, self) if near else None
        return replace(self, grid=grid, regular=None)


def survey_file(source: Source, index: Index, *, near: bool) -> Survey:
    """Find out what a file holds.

    Args:
        source: The file.
        index: What the user says of the index.
        near: Whether reading the whole file is cheap.

    Raises:
        InputRefused: The file cannot be read, or no index is found.
    """
    fmt = read_format(source)
    numbers, headers = _sample(source, fmt, near=near)
    choice = choose_index(headers, numbers, fmt.n_traces, fmt.byte_order, index)
    survey = Survey(
        fmt=fmt,
        index_bytes=choice.bytes,
        index_types=choice.types,
        names=choice.names,
        coordinate_bytes=choice.coordinate_bytes,
        grid=None,
        regular=None,
        delay_ms=commonest(tallies_of(headers, fmt), "delay"),
        sample=word(headers, choice.bytes[0], choice.types[0], fmt.byte_order).astype(np.int64),
        notes=(*fmt.oddities, *choice.notes),
    )

    def probe(trace: int) -> tuple[int, ...]:
        raw = np.frombuffer(source.read(fmt.trace_offset(trace), 240), np.uint8)[np.newaxis]
        return tuple(int(values[0]) for values in index_words(raw, survey))

    known = dict(zip(numbers.tolist(), range(len(numbers)), strict=True))

    def cheap_probe(trace: int) -> tuple[int, ...]:
        if trace not in known:
            return probe(trace)
        row = headers[known[trace] : known[trace] + 1]
        return tuple(int(values[0]) for values in index_words(row, survey))

    regular = predict_regular(cheap_probe, fmt.n_traces) if len(survey.names) == 2 else None
    if regular is not None:
        return replace(survey, grid=grid_from_regular(regular, survey.names), regular=regular)
    return replace(survey, grid=scan_grid(source, survey)) if near else survey


def index_words(headers: np.ndarray, survey: Survey) -> list[np.ndarray]:
    """The index words of some traces, one array per dimension, from their headers (uint8, shape (trace, 240))."""
    return [
        word(headers, byte, word_type, survey.fmt.byte_order)
        for byte, word_type in zip(survey.index_bytes, survey.index_types, strict=True)
    ]


def all_headers(source: Source, fmt: FileFormat) -> Iterator[tuple[int, np.ndarray]]:
    """Every trace header, as (number of the first trace, headers of a run of traces), from end to end."""
    step = max(1, SCAN_BYTES // fmt.trace_bytes)
    for first in range(0, fmt.n_traces, step):
        count = min(step, fmt.n_traces - first)
        raw = np.frombuffer(source.read(fmt.trace_offset(first), count * fmt.trace_bytes), np.uint8)
        yield first, raw.reshape(count, fmt.trace_bytes)[:, :240]


def scan_grid(source: Source, survey: Survey) -> Grid:
    """The grid from every header of the file."""
    columns: list[list[np.ndarray]] = [[] for _ in survey.names]
    for _, headers in all_headers(source, survey.fmt):
        for column, values in zip(columns, index_words(headers, survey), strict=True):
            column.append(values)
    whole = [np.concatenate(column) for column in columns]
    return grid_of(whole, survey.names, index_bytes=survey.index_bytes)


def _sample(source: Source, fmt: FileFormat, *, near: bool) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and headers of all traces of a small near file, else of its head, its tail and some between."""
    if fmt.n_traces < 1:
        raise InputRefused(f"{source.name} holds no trace; check that the file is complete")
    if near and fmt.file_size <= ALL_HEADERS_BYTES:
        parts = [headers for _, headers in all_headers(source, fmt)]
        return np.arange(fmt.n_traces), np.concatenate(parts)
    size, last = fmt.trace_bytes, fmt.n_traces
    head = min(last, max(2, int(min(HEAD_BYTES, HEAD_FRACTION * source.size)) // size))
    tail = max(head, last - max(1, int(min(TAIL_BYTES, TAIL_FRACTION * source.size)) // size))
    spread = (
        np.unique(np.linspace(head, tail - 1, SCATTERED + 2).astype(np.int64)[1:-1]) if tail > head else []
    )
    stretches = [(0, head), *((int(t), 1) for t in spread if head <= t < tail)]
    if tail < last:
        stretches.append((tail, last - tail))
    numbers, headers = [], []
    for first, count in stretches:
        length = 240 if count == 1 else count * size
        raw = np.frombuffer(source.read(fmt.trace_offset(first), length), np.uint8)
        numbers.append(np.arange(first, first + count))
        headers.append(raw.reshape(count, -1)[:, :240])
    return np.concatenate(numbers), np.concatenate(headers)
