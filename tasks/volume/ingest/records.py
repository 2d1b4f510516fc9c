"""Trace records of a block in one buffer, read from the source in ranges as long as its order allows.

The CRC32C of each range is computed while it is read, and goes to the ledger. The ranges of all blocks cover the file
once, so their checksums combine to the checksum of the whole file.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tasks.volume.arrays.codecs import crc32c
from tasks.volume.blocks import on_io
from tasks.volume.ingest.combined_crc import combine_all
from tasks.volume.ingest.files import Files
from tasks.volume.outcomes import IntegrityFailure

PART_BYTES = 64 << 20  # the file's checksums are kept per part of this size, and whole
REQUEST_BYTES = 16 << 20  # a longer range is asked for in pieces, in parallel
GAP_BYTES = {True: 64 << 10, False: 512 << 10}  # local, remote: bytes read over rather than a request more

Segment = tuple[int, int, int]  # offset in a file, length, CRC32C
FileSegment = tuple[int, int, int, int]  # which file, and a segment of it


@dataclass(frozen=True)
class Records:
    """Whole trace records in memory.

    Attributes:
        data: uint8, shape (record, byte of the record), C-contiguous.
        numbers: int64, ascending: trace numbers over all files, counted from 0.
        rows: int64: the row of `data` that holds each of these traces.
        segments: Checksums of the stretches of the files that were read and belong to these traces.
    """

    data: np.ndarray
    numbers: np.ndarray
    rows: np.ndarray
    segments: list[FileSegment] = field(default_factory=list)

    def rows_of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the row of each trace in `numbers` (any shape; all are in memory); -1 for negative numbers."""
        flat = numbers.ravel()
        rows = np.full(flat.size, -1, np.int64)
        live = flat >= 0
        rows[live] = self.rows[np.searchsorted(self.numbers, flat[live])]
        return rows.reshape(numbers.shape)


def segment_cuts(offset: int, length: int) -> list[tuple[int, int]]:
    """Return (offset, length) of the pieces into which the boundaries of parts cut a range."""
    inner = range((offset // PART_BYTES + 1) * PART_BYTES, offset + length, PART_BYTES)
    edges = [offset, *inner, offset + length]
    return [(start, stop - start) for start, stop in itertools.pairwise(edges)]


def checksums(data: np.ndarray, offset: int) -> list[Segment]:
    """Segments of a stretch of the file that starts at `offset` and holds `data` (uint8)."""
    return [
        (start, length, crc32c(data[start - offset : start - offset + length]))
        for start, length in segment_cuts(offset, data.size)
    ]


def read_records(files: Files, numbers: np.ndarray) -> Records:
    """Read the records of some traces.

    Args:
        files: All files, whose traces are numbered as one sequence.
        numbers: int64, ascending, without repeats.
    """
    several = files.split(numbers) if len(numbers) else ()
    parts = [_read_file(files, file, numbers[where] - files.firsts[file]) for file, where in several]
    if len(parts) == 1:
        data, rows, segments = parts[0]
        return Records(data, numbers, rows, segments)
    if not parts:
        return Records(np.empty((0, files.fmt.trace_bytes), np.uint8), numbers, numbers)
    starts = np.cumsum([0, *(len(data) for data, _, _ in parts)])
    return Records(
        np.concatenate([data for data, _, _ in parts]),
        numbers,
        np.concatenate([rows + start for (_, rows, _), start in zip(parts, starts, strict=False)]),
        [segment for _, _, segments in parts for segment in segments],
    )


def _read_file(
    files: Files, file: int, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[FileSegment]]:
    """Return records of some traces of one file, the row of each trace, and checksums."""
    fmt = files.formats[file]
    size, near = fmt.trace_bytes, files.near(file)
    steps = np.diff(numbers)
    wide = np.flatnonzero((steps - 1) * size > GAP_BYTES[near])
    firsts = np.concatenate(([0], wide + 1))
    lasts = np.concatenate((wide, [numbers.size - 1]))
    counts = numbers[lasts] - numbers[firsts] + 1
    places = np.concatenate(([0], np.cumsum(counts)[:-1])) * size
    data = np.empty(int(counts.sum()) * size, np.uint8)
    view = data.data
    pieces = []
    for first, count, place in zip(numbers[firsts], counts, places, strict=True):
        start, length = fmt.trace_offset(int(first)), int(count) * size
        for at in range(0, length, REQUEST_BYTES):
            n = min(REQUEST_BYTES, length - at)
            pieces.append((start + at, view[int(place) + at : int(place) + at + n]))
    with files.reading(file) as source:
        if near:
            for start, out in pieces:
                source.read_into(start, out)
        else:
            on_io(lambda piece: source.read_into(*piece), pieces)
    run = np.repeat(np.arange(firsts.size), lasts - firsts + 1)
    rows = places[run] // size + numbers - numbers[firsts][run]
    records = data.reshape(-1, size)
    segments: list[FileSegment] = []
    breaks = np.flatnonzero(steps != 1)
    for begin, end in zip(
        np.concatenate(([0], breaks + 1)), np.concatenate((breaks, [numbers.size - 1])), strict=True
    ):
        stretch = records[int(rows[begin]) : int(rows[end]) + 1].reshape(-1)
        segments += [(file, *number) for number in checksums(stretch, fmt.trace_offset(int(numbers[begin])))]
    return records, rows, segments


def whole_checksums(segments: Iterable[Segment], size: int) -> tuple[list[int], int]:
    """Return the CRC32C of each part of `PART_BYTES` of a file and of the whole, from segments in any order.

    Raises:
        IntegrityFailure: The segments do not tile the file: some byte was read never or twice.
    """
    ordered = sorted(segments)
    expected = 0
    for offset, length, _ in ordered:
        if offset != expected:
            raise IntegrityFailure(
                f"bytes {min(offset, expected)} to {max(offset, expected)} of the source were read "
                f"{'never' if offset > expected else 'twice'}; this is an error in Seismill, keep the source"
            )
        expected = offset + length
    if expected != size:
        raise IntegrityFailure(f"the source has {size} bytes, of which {expected} were read; keep the source")
    parts, lengths = [], []
    for _, group in itertools.groupby(ordered, key=lambda segment: segment[0] // PART_BYTES):
        rows = list(group)
        sums = np.array([crc for _, _, crc in rows], np.uint32)
        sizes = np.array([length for _, length, _ in rows], np.int64)
        parts.append(int(combine_all(sums, sizes)))
        lengths.append(int(sizes.sum()))
    whole = int(combine_all(np.array(parts, np.uint32), np.array(lengths, np.int64))) if parts else 0
    return parts, whole
