"""Trace records rebuilt from a volume, byte for byte, in windows that its chunks decode well in.

A window is a set of traces whose cells fill whole rows of chunks, cut to what memory takes. Where rows of chunks
follow each other in the file, windows come in file order and can be streamed; otherwise their
records are scattered, and whoever writes needs random access (or, to prove checksums, no order at all).
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.volume.blocks import Compute, Region, cpu_count, on_chunks, on_io
from tasks.volume.codecs import decode_chunk
from tasks.volume.layout import RAW_SAMPLES, ArraySpec
from tasks.volume.outcomes import InputRefused, Resumable
from tasks.volume.reader import Volume, fetch_chunks, missing_chunk
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.samples import encode_column, put_column_of_words, put_words

WINDOW_BYTES = 96 << 20  # of records; smaller only where memory is short


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """Some records: `numbers` ascending, `records` uint8 of shape (trace, byte of the record)."""

    numbers: np.ndarray
    records: np.ndarray

    def stretches(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first trace, records) of each run of traces that follow each other in the file."""
        breaks = np.flatnonzero(np.diff(self.numbers) != 1) + 1
        for first, last in itertools.pairwise([0, *breaks.tolist(), self.numbers.size]):
            if last > first:
                yield int(self.numbers[first]), self.records[first:last]


@dataclass(frozen=True, eq=False)
class SegyParts:
    """What a volume keeps of one source file besides samples: enough to give back every byte."""

    volume: Volume
    fmt: FileFormat
    source: dict[str, Any]
    master: ArraySpec
    trace_numbers: np.ndarray
    header: bytes
    trailer: bytes
    exceptions: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.fmt.file_size


def open_parts(volume: Volume) -> SegyParts:
    """Read what rebuilding needs beside samples and trace headers.

    Raises:
        InputRefused: The volume was not made from SEG-Y.
    """
    if not volume.has("segy_files/0"):
        raise InputRefused(f"{volume.store.url} was not made from a SEG-Y file, so it cannot be exported as one")
    source = volume.state["sources"][0]
    raw = [
        volume.read(f"segy_files/0/{name}").tobytes() if volume.has(f"segy_files/0/{name}") else b""
        for name in ("header", "trailer")
    ]
    exceptions = (
        tuple(volume.read(f"sample_exceptions/{name}") for name in ("trace_number", "sample", "word"))
        if volume.has("sample_exceptions")
        else (np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.uint32))
    )
    return SegyParts(
        volume,
        FileFormat.from_json(source["file"]),
        source,
        volume.spec(RAW_SAMPLES if volume.has(RAW_SAMPLES) else volume.master),
        volume.read("trace_number"),
        raw[0],
        raw[1],
        exceptions,
    )


def windows(parts: SegyParts, window_bytes: int = WINDOW_BYTES) -> tuple[list[Region], bool]:
    """Regions of cells to rebuild one after the other, and whether that is the order of the file.

    Returns:
        Regions that tile the grid, and True if each holds traces that follow those of the one before.
    """
    numbers, chunks = parts.trace_numbers, parts.master.unit[:-1]
    for axis in range(numbers.ndim):
        lines = [np.take(numbers, range(i, min(i + chunks[axis], numbers.shape[axis])), axis) for i in range(0, numbers.shape[axis], chunks[axis])]
        spans = [(int(line[line >= 0].min()), int(line.max()), i) for i, line in enumerate(lines) if (line >= 0).any()]
        spans.sort()
        if all(a[1] < b[0] for a, b in itertools.pairwise(spans)):
            rows = [_rows(numbers, axis, i * chunks[axis], min((i + 1) * chunks[axis], numbers.shape[axis])) for _, _, i in spans]
            cut = [piece for row in rows for piece in _cut(parts, row, axis, window_bytes)]
            return cut, True
    block = tuple(min(n, c) for n, c in zip(numbers.shape, chunks, strict=True))
    tiles = itertools.product(*(range(0, n, b) for n, b in zip(numbers.shape, block, strict=True)))
    return [tuple(slice(t, min(t + b, n)) for t, b, n in zip(tile, block, numbers.shape, strict=True)) for tile in tiles], False


def _rows(numbers: np.ndarray, axis: int, start: int, stop: int) -> Region:
    return tuple(slice(start, stop) if a == axis else slice(0, n) for a, n in enumerate(numbers.shape))


def _cut(parts: SegyParts, region: Region, axis: int, window_bytes: int) -> list[Region]:
    """A row of chunks in as many windows as memory asks for, in file order if that is possible."""
    per_line = parts.trace_numbers[region].size // (region[axis].stop - region[axis].start) * parts.fmt.trace_bytes
    lines = max(1, window_bytes // max(1, per_line))
    starts = range(region[axis].start, region[axis].stop, lines)
    pieces = [
        tuple(slice(s, min(s + lines, r.stop)) if a == axis else r for a, r in enumerate(region)) for s in starts
    ]
    spans = []
    for piece in pieces:
        inside = parts.trace_numbers[piece]
        if (inside >= 0).any():
            spans.append((int(inside[inside >= 0].min()), int(inside.max()), piece))
    spans.sort(key=lambda span: span[0])
    if all(a[1] < b[0] for a, b in itertools.pairwise(spans)):
        return [piece for _, _, piece in spans]
    return [region]


def rebuild(parts: SegyParts, region: Region) -> Rebuilt:
    """The records of all traces in a region of cells, as they were in the source.

    Raises:
        IntegrityFailure: A stored chunk does not fit its checksum, or is missing.
    """
    volume, fmt, master = parts.volume, parts.fmt, parts.master
    cells = parts.trace_numbers[region]
    live = cells >= 0
    numbers = np.sort(cells[live])
    records = np.empty((numbers.size, fmt.trace_bytes), np.uint8)
    if not numbers.size:
        return Rebuilt(numbers, records)
    rows = np.full(cells.shape, -1, np.int64)
    rows[live] = np.searchsorted(numbers, cells[live])
    headers = volume.read("raw_headers", region).view(np.uint8).reshape(*cells.shape, 240)
    records[rows[live], :240] = headers[live]
    if fmt.extra_headers:
        extensions = volume.read("raw_header_extensions", (*region, slice(0, fmt.extension_bytes)))
        records[rows[live], 240 : fmt.trace_header_bytes] = extensions[live]
    chunks = master.chunks
    depth = -(-master.shape[-1] // chunks[-1])
    grid = [range(r.start // c, -(-r.stop // c)) for r, c in zip(region, chunks[:-1], strict=True)]
    wanted = [
        place
        for place in itertools.product(*grid)
        if (_part(rows, region, place, chunks) >= 0).any()
    ]

    def column(place: tuple[int, ...], data: list[bytes | memoryview | None]) -> None:
        mine = np.full(chunks[:-1], -1, np.int64)
        part = _part(rows, region, place, chunks)
        inner = tuple(
            slice(max(r.start - p * c, 0), max(r.start - p * c, 0) + n)
            for r, p, c, n in zip(region, place, chunks[:-1], part.shape, strict=True)
        )
        mine[inner] = part
        mine = mine.ravel()
        values = np.empty((depth, mine.size, chunks[-1]), master.numpy)
        for k, encoded in enumerate(data):
            where = f"{volume.store.url}/{master.path}, chunk {(*place, k)}"
            if encoded is None:
                raise missing_chunk(where)
            values[k] = decode_chunk(master, encoded, where=where).reshape(mine.size, chunks[-1])
        put = put_column_of_words if master.path == RAW_SAMPLES else encode_column
        put(fmt, values, records, mine)

    places = [[(*place, k) for k in range(depth)] for place in wanted]
    if volume.store.local and not master.shards:
        on_chunks(lambda pair: column(pair[0], fetch_chunks(volume.store, master, pair[1])), zip(wanted, places, strict=True))
    else:
        step = 4  # columns whose encoded chunks are in memory at once
        for start in range(0, len(wanted), step):
            some = on_io(lambda keys: fetch_chunks(volume.store, master, keys), places[start : start + step])
            on_chunks(lambda pair: column(*pair), zip(wanted[start : start + step], some, strict=True))
    _put_back(parts, numbers, records)
    return Rebuilt(numbers, records)


def _part(rows: np.ndarray, region: Region, place: tuple[int, ...], chunks: tuple[int, ...]) -> np.ndarray:
    """The rows of the region's cells that lie in one chunk column."""
    return rows[
        tuple(
            slice(max(p * c - r.start, 0), min((p + 1) * c, r.stop) - r.start)
            for p, c, r in zip(place, chunks[:-1], region, strict=True)
        )
    ]


def _put_back(parts: SegyParts, numbers: np.ndarray, records: np.ndarray) -> None:
    """Put the words that float32 does not give back in their places."""
    traces, samples, exact = parts.exceptions
    if not traces.size:
        return
    first, last = np.searchsorted(traces, [numbers[0], numbers[-1] + 1])
    at = np.searchsorted(numbers, traces[first:last])
    mine = numbers[np.minimum(at, numbers.size - 1)] == traces[first:last]
    put_words(parts.fmt, records, at[mine], samples[first:last][mine], exact[first:last][mine])


def fitting_windows(parts: SegyParts, memory_bytes: int) -> tuple[list[Region], bool, int]:
    """As `windows`, of a size that suits the memory, and the most bytes that rebuilding one of them takes."""
    regions, in_order = windows(parts, min(WINDOW_BYTES, memory_bytes // 8))
    largest = max((parts.trace_numbers[region].size for region in regions), default=0) * parts.fmt.trace_bytes
    samples = -(-parts.master.shape[-1] // parts.master.chunks[-1]) * parts.master.chunks[-1]
    column = int(np.prod(parts.master.chunks[:-1])) * samples * parts.master.numpy.itemsize
    return regions, in_order, 2 * largest + cpu_count() * 2 * column


def rebuilt_windows(parts: SegyParts, regions: list[Any], compute: Compute) -> Iterator[Rebuilt]:
    """Rebuild windows one after the other, the next ones while one is being used.

    Raises:
        Resumable: The run was asked to stop.
    """
    pending: list[Future[Rebuilt]] = []
    queue = iter(regions)
    with ThreadPoolExecutor(compute.workers, thread_name_prefix="window") as ahead:
        try:
            while True:
                while len(pending) < compute.workers and (region := next(queue, None)) is not None:
                    pending.append(ahead.submit(rebuild, parts, region))
                if not pending:
                    return
                if compute.stopping.is_set():
                    raise Resumable("stopped while rebuilding traces; run the same command again")
                yield pending.pop(0).result()
        finally:
            for future in pending:
                future.cancel()
