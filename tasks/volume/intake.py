"""One block of an ingest: trace records in, stored chunks, headers and coordinates out.

A block covers whole shards of the master over all samples. Its chunk columns (all samples of one chunk's
traces) are decoded straight into chunk order and encoded on the process's chunk pool, so a sample is touched
while it is in the cache: file words, values with statistics and a check that they go back, encoder.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.blocks import Region, nth_region, on_chunks, on_io
from tasks.volume.codecs import encode_chunk, encoded_bound, join_shard
from tasks.volume.kernels.headers import swap_fields
from tasks.volume.kernels.traces import merge_stats, new_stats
from tasks.volume.layout import ArraySpec
from tasks.volume.ledger import Record, Stored
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.plan import Plan
from tasks.volume.records import Records, read_records
from tasks.volume.run import Job
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.geometry import Grid, coordinates
from tasks.volume.segy.headers import FIELD_WIDTHS, word
from tasks.volume.segy.samples import decode_column, merge_extremes
from tasks.volume.spill import read_spilled
from tasks.volume.store import Source, Store


class Unpredicted(Exception):
    """A header is not what the file's first ones promised, so its geometry must be scanned."""


def grid_key(plan: Plan) -> str:
    """Where the plan's grid lies."""
    return f"{plan.folder}/grid.npz"


def grid_bytes(grid: Grid) -> bytes:
    """A grid as one object."""
    buffer = io.BytesIO()
    axes = {f"axis_{i}": axis.values for i, axis in enumerate(grid.axes)}
    np.savez_compressed(buffer, trace_numbers=grid.trace_numbers, **axes)
    return buffer.getvalue()


@dataclass(frozen=True, eq=False)
class Intake:
    """What every block of one ingest shares."""

    fmt: FileFormat
    specs: dict[str, ArraySpec]
    axes: tuple[np.ndarray, ...]
    trace_numbers: np.ndarray
    block: tuple[int, ...]
    predicted: bool
    index: dict[str, Any]
    spill: dict[str, Any]
    source: Source

    @property
    def master(self) -> ArraySpec:
        """The lossless array."""
        return self.specs["master"]

    def region(self, number: int) -> Region:
        """The cells of a block, over the dimensions without the samples."""
        return nth_region(self.trace_numbers.shape, self.block, number)


@lru_cache(maxsize=4)
def intake_of(store: Store, plan: Plan, options: StorageOptions) -> Intake:
    """The plan's shared part, read once in each process."""
    body = plan.body
    with np.load(io.BytesIO(store.get(grid_key(plan)))) as stored:
        axes = tuple(stored[f"axis_{i}"] for i in range(len(body["index"]["names"])))
        trace_numbers = stored["trace_numbers"]
    first = body["sources"][0]
    return Intake(
        fmt=FileFormat.from_json(body["file"]),
        specs={name: ArraySpec.from_json(plain) for name, plain in body["arrays"].items()},
        axes=axes,
        trace_numbers=trace_numbers,
        block=tuple(body["block"]),
        predicted=body["predicted"],
        index=body["index"],
        spill=body["spill"],
        source=Source(first["url"], options, first["identity"]),
    )


def ingest_block(job: Job) -> Record:
    """Store one block of the master, of the headers and of the coordinates."""
    store, plan = job.open()
    intake = intake_of(store, plan, job.options)
    cells = intake.trace_numbers[intake.region(job.block)]
    live = cells[cells >= 0]
    if live.size == 0:
        return Record(job.block, [], 0, {"stats": None, "extremes": None, "exceptions": 0, "segments": []})
    numbers = np.sort(live)
    if intake.spill:
        records = read_spilled(store, intake.spill, intake.fmt, intake.trace_numbers, intake.axes[0], numbers)
    else:
        records = read_records(intake.source, intake.fmt, numbers)
    rows = records.rows_of(cells)
    headers = records.data[rows[cells >= 0], : intake.fmt.trace_header_bytes]
    _compare_index(intake, job.block, cells, headers)
    columns = _columns(intake, cells.shape)
    done = on_chunks(lambda column: _column(job, store, intake, records, rows, column), columns)
    stored = [stored for part in done for stored in part.stored]
    if intake.master.shards:
        stored += _put_shards(job, store, intake, done)
    stored += _put_headers(job, store, intake, cells >= 0, headers)
    exceptions = [part.exceptions for part in done if part.exceptions.size]
    if exceptions:
        stored_rows = np.concatenate(exceptions)
        store.put(f"{plan.folder}/parts/exceptions-{job.block:08d}", stored_rows.tobytes())
    facts = {
        "stats": merge_stats([part.stats for part in done]).tolist(),
        "extremes": merge_extremes(part.extremes for part in done),
        "exceptions": sum(len(part) for part in exceptions),
        "segments": records.segments,
    }
    raw_bytes = int(live.size) * intake.fmt.trace_bytes
    return Record(job.block, stored, raw_bytes, facts)


def exceptions_of(store: Store, plan: Plan, block: int) -> np.ndarray:
    """Rows (trace number, sample, word) that one block found, int64."""
    return np.frombuffer(store.get(f"{plan.folder}/parts/exceptions-{block:08d}"), np.int64).reshape(-1, 3)


def block_memory(spec: ArraySpec, block: tuple[int, ...], fmt: FileFormat, threads: int) -> int:
    """The most bytes that one block takes: records, everything encoded, and a decoded column per thread."""
    traces = int(np.prod(block))
    samples = -(-spec.shape[-1] // spec.chunks[-1]) * spec.chunks[-1]
    chunks = traces * samples // int(np.prod(spec.chunks))
    column = int(np.prod(spec.chunks[:-1])) * samples * spec.numpy.itemsize
    # A joined shard exists beside its parts for a moment.
    shard = int(np.prod(spec.shards)) * spec.numpy.itemsize if spec.shards else 0
    # Headers exist as records, as what is stored of them, and encoded.
    headers = 1000 + 2 * fmt.extension_bytes
    return traces * (fmt.trace_bytes + headers) + chunks * encoded_bound(spec) + shard + threads * column


@dataclass(frozen=True, eq=False)
class _Column:
    """What became of one chunk column: `position` in the array's grid of chunks, without the sample axis."""

    position: tuple[int, ...]
    encoded: list[bytes]
    stored: list[Stored]
    stats: np.ndarray
    extremes: tuple[int, int] | None
    exceptions: np.ndarray


def _columns(intake: Intake, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    chunks = intake.master.chunks[:-1]
    return list(np.ndindex(*(-(-n // c) for n, c in zip(shape, chunks, strict=True))))


def _compare_index(intake: Intake, block: int, cells: np.ndarray, headers: np.ndarray) -> None:
    """Check that each trace lies where the plan says it does."""
    region = intake.region(block)
    where = np.nonzero(cells >= 0)
    for axis, byte, word_type, slices, at in zip(
        intake.axes, intake.index["bytes"], intake.index["types"], region, where, strict=True
    ):
        found = word(headers, byte, word_type, intake.fmt.byte_order)
        wrong = np.flatnonzero(found != axis[slices][at])
        if wrong.size:
            trace = int(cells[tuple(w[wrong[0]] for w in where)])
            if intake.predicted:
                raise Unpredicted(f"trace {trace} has {found[wrong[0]]} at byte {byte}")
            raise IntegrityFailure(
                f"trace {trace} of {intake.source.url} has {found[wrong[0]]} at byte {byte}, but had "
                f"{axis[slices][at][wrong[0]]} when it was scanned; the source changed or was read wrongly, run again"
            )


def _column(
    job: Job, store: Store, intake: Intake, records: Records, rows: np.ndarray, position: tuple[int, ...]
) -> _Column:
    spec, fmt = intake.master, intake.fmt
    chunks = spec.chunks[:-1]
    mine = np.full(chunks, -1, np.int64)
    part = rows[tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, chunks, strict=True))]
    mine[tuple(slice(0, n) for n in part.shape)] = part
    corner = tuple(r.start // c for r, c in zip(intake.region(job.block), chunks, strict=True))
    place = tuple(k + p for k, p in zip(corner, position, strict=True))
    mine = mine.ravel()
    if (mine < 0).all():
        return _Column(place, [], [], new_stats(), None, np.empty((0, 3), np.int64))
    depth = -(-fmt.n_samples // spec.chunks[-1])
    out = np.empty((depth, mine.size, spec.chunks[-1]), spec.numpy)
    decoded = decode_column(fmt, records.data, mine, out)
    found = decoded.exceptions
    if len(found):
        by_row = np.empty(len(records.data), np.int64)
        by_row[records.rows] = records.numbers
        found[:, 0] = by_row[mine[found[:, 0]]]
    encoded = [encode_chunk(spec, out[k].reshape(spec.chunks)) for k in range(depth)]
    if spec.shards:
        return _Column(place, encoded, [], decoded.stats, decoded.extremes, found)
    keyed = [(spec.key((*place, k)), data) for k, data in enumerate(encoded)]
    stored = [job.put(store, *pair) for pair in keyed] if store.local else on_io(lambda pair: job.put(store, *pair), keyed)
    return _Column(place, [], stored, decoded.stats, decoded.extremes, found)


def _put_shards(job: Job, store: Store, intake: Intake, done: list[_Column]) -> list[Stored]:
    spec = intake.master
    per = spec.chunks_per_shard
    shards: dict[tuple[int, ...], dict[tuple[int, ...], bytes]] = {}
    for column in done:
        for k, data in enumerate(column.encoded):
            place = (*column.position, k)
            shard = tuple(p // n for p, n in zip(place, per, strict=True))
            shards.setdefault(shard, {})[tuple(p % n for p, n in zip(place, per, strict=True))] = data
    return on_io(
        lambda item: job.put(store, spec.key(item[0]), join_shard(spec, item[1])), sorted(shards.items())
    )


def _put_headers(
    job: Job, store: Store, intake: Intake, live: np.ndarray, headers: np.ndarray
) -> list[Stored]:
    """Store the block's part of headers, raw headers and coordinates; one object each."""
    fmt, big = intake.fmt, intake.fmt.byte_order == ">"
    headers, extensions = headers[:, :240], headers[:, 240:]
    fields = np.empty((len(headers), intake.specs["headers"].numpy.itemsize), np.uint8)
    if big:
        swap_fields(headers, FIELD_WIDTHS, fields)
    else:
        fields[...] = headers[:, : fields.shape[1]]
    x_y = (
        coordinates(headers, *intake.index["coordinate_bytes"], fmt.byte_order)
        if intake.index["coordinate_bytes"]
        else ()
    )
    values = {
        "headers": fields.view(intake.specs["headers"].numpy)[:, 0],
        "raw_headers": np.ascontiguousarray(headers).view(intake.specs["raw_headers"].numpy)[:, 0],
        "raw_header_extensions": extensions,
        **dict(zip(("cdp_x", "cdp_y"), x_y, strict=False)),
    }
    position = tuple(r.start // b for r, b in zip(intake.region(job.block), intake.block, strict=True))

    def put(name: str) -> Stored:
        spec, rows = intake.specs[name], values[name]
        chunk = np.full(spec.chunks, spec.fill_value, spec.numpy)
        chunk[tuple(slice(0, n) for n in live.shape)][live] = rows
        # The bytes of additional headers have an axis of their own, of one chunk.
        place = (*position, *(0 for _ in spec.chunks[len(position) :]))
        return job.put(store, spec.key(place), encode_chunk(spec, chunk))

    names = [name for name in values if name in intake.specs]
    return [put(name) for name in names] if store.local else on_io(put, names)

