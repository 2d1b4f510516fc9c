"""Trace records rebuilt from a volume, byte for byte, in windows that suit its chunks.

A window is a set of traces whose cells fill whole rows of chunks, cut to what memory takes. Where rows of chunks
follow each other in the files, windows come in their order and can be streamed; otherwise their
records are scattered, and whoever writes needs random access (or, to prove checksums, no order at all). Traces that
have no cell come in windows of their own, or with the cells between which they lie.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from tasks.volume.arrays.codecs import decode_chunk
from tasks.volume.arrays.regions import fetch_chunks, missing_chunk
from tasks.volume.arrays.spec import RAW_SAMPLES
from tasks.volume.blocks import Compute, Region, cpu_count, on_chunks, on_io
from tasks.volume.export.segy_parts import Rebuilt, SegyParts, Window
from tasks.volume.outcomes import Resumable
from tasks.volume.segy.convert import ibm_words
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.headers import ibm_values
from tasks.volume.segy.samples import encode_column, put_column_of_words, put_words

WINDOW_BYTES = 96 << 20  # of records; smaller only where memory is short


def in_format(fmt: FileFormat, values: np.ndarray) -> np.ndarray:
    """Return samples of a copy, rounded to the nearest values of the file's format, in the type of the lossless array.

    Args:
        fmt: Format of the file.
        values: Floats, or already of that type.
    """
    dtype, bits = np.dtype(fmt.sample_format.dtype), 8 * fmt.sample_format.bytes_per_sample
    if fmt.sample_format.name == "ibm32":
        with np.errstate(over="ignore"):
            return ibm_values(ibm_words(values.astype(np.float64))).astype(dtype)
    if dtype.kind == "f" or values.dtype == dtype:
        return values.astype(dtype, copy=False)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.kind == "i" else (0, 2**bits - 1)
    return np.clip(np.rint(values.astype(np.float64)), low, high).astype(dtype)


def windows(parts: SegyParts, window_bytes: int = WINDOW_BYTES) -> tuple[list[Window], bool]:
    """Return the windows to rebuild in turn, and whether they follow the order of the files.

    Returns:
        Windows that hold every trace once, and True if each holds traces that follow those of the one before.
    """
    numbers, chunks = parts.trace_numbers, parts.master.unit[:-1]
    for axis in range(numbers.ndim):
        n, c = numbers.shape[axis], chunks[axis]
        spans = []
        for start in range(0, n, c):
            row = _rows(numbers, axis, start, min(start + c, n))
            if (inside := _span(numbers[row])) is not None:
                spans.append((*inside, row))
        spans.sort(key=lambda span: span[0])
        if all(a[1] < b[0] for a, b in itertools.pairwise(spans)):
            cut = [piece for _, _, row in spans for piece in _cut(parts, row, axis, window_bytes)]
            return _with_unplaced(parts, cut, window_bytes), True
    block = tuple(min(n, c) for n, c in zip(numbers.shape, chunks, strict=True))
    tiles = itertools.product(*(range(0, n, b) for n, b in zip(numbers.shape, block, strict=True)))
    regions = [
        tuple(slice(t, min(t + b, n)) for t, b, n in zip(tile, block, numbers.shape, strict=True))
        for tile in tiles
    ]
    held = [region for region in regions if _span(numbers[region]) is not None]
    return _with_unplaced(parts, held, window_bytes), False


def _span(numbers: np.ndarray) -> tuple[int, int] | None:
    """First and last trace number among some cells; None if there is no trace."""
    last = int(numbers.max(initial=-1))
    if last < 0:
        return None
    return int(numbers.min(where=numbers >= 0, initial=last)), last


def _with_unplaced(parts: SegyParts, regions: list[Region], window_bytes: int) -> list[Window]:
    """Share out the traces without a cell: windows of their own before and after regions, else with the one around."""
    nothing = tuple(slice(0, 0) for _ in parts.trace_numbers.shape)
    most = max(1, window_bytes // parts.fmt.trace_bytes)
    done, end = 0, parts.unplaced.size
    result: list[Window] = []

    def alone(stop: int) -> None:
        nonlocal done
        while done < stop:
            result.append(Window(nothing, (done, min(done + most, stop))))
            done = min(done + most, stop)

    for region in regions:
        span = _span(parts.trace_numbers[region]) if done < end else None
        if span is None:
            result.append(Window(region))
            continue
        before, inside = np.searchsorted(parts.unplaced, span).tolist()
        alone(min(before, end))
        result.append(Window(region, (done, max(done, min(inside, end)))))
        done = max(done, min(inside, end))
    alone(end)
    return result


def _rows(numbers: np.ndarray, axis: int, start: int, stop: int) -> Region:
    return tuple(slice(start, stop) if a == axis else slice(0, n) for a, n in enumerate(numbers.shape))


def _cut(parts: SegyParts, region: Region, axis: int, window_bytes: int) -> list[Region]:
    """Cut a row of chunks into windows that fit in memory, in file order if possible."""
    per_line = (
        parts.trace_numbers[region].size // (region[axis].stop - region[axis].start) * parts.fmt.trace_bytes
    )
    lines = max(1, window_bytes // max(1, per_line))
    starts = range(region[axis].start, region[axis].stop, lines)
    pieces = [
        tuple(slice(s, min(s + lines, r.stop)) if a == axis else r for a, r in enumerate(region))
        for s in starts
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


def rebuild(parts: SegyParts, window: Window) -> Rebuilt:
    """Return the records of all traces of a window, as they were in the source.

    Raises:
        IntegrityFailure: A stored chunk does not fit its checksum, or is missing.
    """
    volume, fmt, master, region = parts.volume, parts.fmt, parts.master, window.region
    cells = parts.trace_numbers[region]
    live = cells >= 0
    unplaced = parts.unplaced[slice(*window.unplaced)]
    numbers = np.sort(np.concatenate([cells[live], unplaced]))
    records = np.empty((numbers.size, fmt.trace_bytes), np.uint8)
    if not numbers.size:
        return Rebuilt(numbers, records)
    rows = np.full(cells.shape, -1, np.int64)
    rows[live] = np.searchsorted(numbers, cells[live])
    if unplaced.size:
        at = parts.unplaced_at[slice(*window.unplaced)]
        _rebuild_unplaced(parts, at, np.searchsorted(numbers, unplaced), records)
    if live.any():
        _put_headers(parts, "", region, rows[live], live, records)
    chunks = master.chunks
    depth = -(-master.shape[-1] // chunks[-1])
    grid = [range(r.start // c, -(-r.stop // c)) for r, c in zip(region, chunks[:-1], strict=True)]
    wanted = [place for place in itertools.product(*grid) if (_part(rows, region, place, chunks) >= 0).any()]

    def column(place: tuple[int, ...], data: list[bytes | memoryview | None]) -> None:
        mine = np.full(chunks[:-1], -1, np.int64)
        part = _part(rows, region, place, chunks)
        inner = tuple(
            slice(max(r.start - p * c, 0), max(r.start - p * c, 0) + n)
            for r, p, c, n in zip(region, place, chunks[:-1], part.shape, strict=True)
        )
        mine[inner] = part
        mine = mine.ravel()
        values = np.empty(
            (depth, mine.size, chunks[-1]), fmt.sample_format.dtype if parts.of_copy else master.numpy
        )
        for k, encoded in enumerate(data):
            where = f"{volume.store.url}/{master.path}, chunk {(*place, k)}"
            if encoded is None:
                raise missing_chunk(where)
            decoded = decode_chunk(master, encoded, where=where).reshape(mine.size, chunks[-1])
            values[k] = in_format(fmt, decoded) if parts.of_copy else decoded
        put = put_column_of_words if master.path == RAW_SAMPLES else encode_column
        put(fmt, values, records, mine)

    places = [[(*place, k) for k in range(depth)] for place in wanted]
    if volume.store.local and not master.shards:
        on_chunks(
            lambda pair: column(pair[0], fetch_chunks(volume.store, master, pair[1])),
            zip(wanted, places, strict=True),
        )
    else:
        step = 4  # columns whose encoded chunks are in memory at once
        for start in range(0, len(wanted), step):
            some = on_io(lambda keys: fetch_chunks(volume.store, master, keys), places[start : start + step])
            on_chunks(lambda pair: column(*pair), zip(wanted[start : start + step], some, strict=True))
    _put_back(parts, numbers, records)
    return Rebuilt(numbers, records)


def _put_headers(
    parts: SegyParts, folder: str, region: Region, rows: np.ndarray, live: np.ndarray, records: np.ndarray
) -> None:
    """Put the headers of the live cells of a region (of the arrays in a folder) into their records."""
    fmt, volume = parts.fmt, parts.volume
    headers = volume.read(f"{folder}raw_headers", region).view(np.uint8).reshape(*live.shape, 240)
    records[rows, :240] = headers[live]
    if fmt.extra_headers:
        extensions = volume.read(f"{folder}raw_header_extensions", (*region, slice(0, fmt.extension_bytes)))
        records[rows, 240 : fmt.trace_header_bytes] = extensions[live]


def _rebuild_unplaced(parts: SegyParts, at: np.ndarray, rows: np.ndarray, records: np.ndarray) -> None:
    """Fill the records of traces that have no cell: `at` their places in the arrays, ascending, `rows` the records."""
    volume, as_words = parts.volume, parts.master.path == RAW_SAMPLES
    around = slice(int(at[0]), int(at[-1]) + 1)  # traces of other files may lie between
    wanted = np.isin(np.arange(around.start, around.stop), at)
    _put_headers(parts, "unplaced/", (around,), rows, wanted, records)
    path = f"unplaced/{RAW_SAMPLES if as_words else 'samples'}"
    values = volume.read(path, (around, slice(0, volume.spec(path).shape[-1])))
    put = put_column_of_words if as_words else encode_column
    put(parts.fmt, values[wanted][np.newaxis], records, rows)


def _part(rows: np.ndarray, region: Region, place: tuple[int, ...], chunks: tuple[int, ...]) -> np.ndarray:
    """Return the rows of the region's cells that lie in one chunk column."""
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


def fitting_windows(parts: SegyParts, memory_bytes: int) -> tuple[list[Window], bool, int]:
    """Return windows that fit memory, whether they follow file order, and the peak bytes of rebuilding one."""
    regions, in_order = windows(parts, min(WINDOW_BYTES, memory_bytes // 8))
    traces = (parts.trace_numbers[w.region].size + w.unplaced[1] - w.unplaced[0] for w in regions)
    largest = max(traces, default=0) * parts.fmt.trace_bytes
    samples = -(-parts.master.shape[-1] // parts.master.chunks[-1]) * parts.master.chunks[-1]
    column = int(np.prod(parts.master.chunks[:-1])) * samples * parts.master.numpy.itemsize
    # What is brought into the file's format passes as float64, with a few arrays in between.
    return regions, in_order, 2 * largest + cpu_count() * (16 if parts.of_copy else 2) * column


def rebuilt_windows(parts: SegyParts, regions: list[Window], compute: Compute) -> Iterator[Rebuilt]:
    """Yield rebuilt windows in order, while the next ones are rebuilt.

    At most as many windows as workers, and at least two, are in memory, the one in use included.

    Raises:
        Resumable: The run was asked to stop.
    """
    pending: list[Future[Rebuilt]] = []
    queue = iter(regions)
    with ThreadPoolExecutor(compute.workers, thread_name_prefix="window") as ahead:
        try:
            while True:
                while len(pending) < max(2, compute.workers) and (region := next(queue, None)) is not None:
                    pending.append(ahead.submit(rebuild, parts, region))
                if not pending:
                    return
                if compute.stopping.is_set():
                    raise Resumable("stopped while rebuilding traces; run the same command again")
                yield pending[0].result()
                del pending[0]  # and with it what was used
        finally:
            for future in pending:
                future.cancel()
