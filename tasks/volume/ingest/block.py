"""One block of an ingest: trace records in, stored chunks, headers and coordinates out.

A block covers whole shards of the master over all samples. Its chunk columns (all samples of one chunk's
traces) are decoded straight into chunk order and encoded on the process's chunk pool, so a sample is touched
while it is in the cache: file words, values with statistics and a check that they go back, encoder. Blocks
beyond those of the grid take the traces that have no cell.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.arrays.array_archive import arrays_of
from tasks.volume.arrays.codecs import crc32c, encode_chunk, encoded_bound, join_shard
from tasks.volume.arrays.spec import RAW_SAMPLES, ArraySpec
from tasks.volume.blocks import Region, block_count, nth_region, on_chunks, on_io
from tasks.volume.ingest.coordinates import coordinate_parts, own_coordinates
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.footprint import block_footprint
from tasks.volume.ingest.records import Records, read_records
from tasks.volume.ingest.spill import FETCH_BYTES, read_spilled
from tasks.volume.ingest.survey import IDENTIFICATION
from tasks.volume.kernels.header_fields import swap_fields
from tasks.volume.kernels.traces import merge_stats
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.ledger import Record, Stored
from tasks.volume.protocol.plan import GRID, Plan
from tasks.volume.protocol.remembered import recall
from tasks.volume.protocol.stage import Job
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.geometry import Grid
from tasks.volume.segy.header_counts import tallies_of
from tasks.volume.segy.headers import FIELD_WIDTHS, word
from tasks.volume.segy.placement import Placement
from tasks.volume.segy.samples import Decoded, decode_column, merge_extremes, words_of_column
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore

DEAD_CODE = 2  # SEG-Y rev 1, byte 29
MOST_EXCEPTIONS = 0.01  # of all samples
MOST_EXCEPTION_ROWS = 1 << 20  # they are sorted in memory
# What a block without traces found.
NOTHING: dict[str, Any] = {
    "stats": None,
    "extremes": None,
    "dead": 0,
    "exceptions": 0,
    "exception_parts": [],
    "segments": [],
    "tallies": {},
}


class Unpredicted(Exception):
    """A header is not what the file's first ones promised, so its geometry must be scanned."""


def grid_key(plan: Plan) -> str:
    """Return the key of the plan's grid."""
    return f"{plan.folder}/{GRID}"


def grid_bytes(grid: Grid, n_traces: int) -> bytes:
    """Return a grid as one object, with the traces that it has no cell for."""
    arrays = {"trace_numbers": grid.trace_numbers, "unplaced": unplaced_traces(grid, n_traces)}
    arrays |= {f"axis_{i}": axis.values for i, axis in enumerate(grid.axes)}
    buffer = io.BytesIO()
    # As numpy.savez_compressed, but in an eighth of its time: level 6 makes trace numbers no smaller.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, values in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)
    return buffer.getvalue()


def load_grid(store: Store, plan: Plan) -> dict[str, np.ndarray]:
    """Return the arrays of a plan's grid: trace_numbers, unplaced and axis_0 to axis_n.

    Raises:
        IntegrityFailure: It is not as it was written.
    """
    data = recall(store, grid_key(plan)) or store.get(grid_key(plan))
    try:
        arrays = arrays_of(data)
        numbers = np.ascontiguousarray(arrays["trace_numbers"]).view(np.uint8).reshape(-1)
        whole = crc32c(numbers) == plan.body["grid"] and "unplaced" in arrays
    except (ValueError, LookupError, OSError, zipfile.BadZipFile, zlib.error):
        whole = False
    if not whole:
        raise IntegrityFailure(
            f"{store.url}/{grid_key(plan)} is not as it was written; repair the volume, or, if there is none yet, "
            f"remove {plan.folder} and run the same command again"
        )
    return arrays


def unplaced_traces(grid: Grid, n_traces: int) -> np.ndarray:
    """Numbers of the traces that have no cell, int64, ascending."""
    placed = np.zeros(n_traces, bool)
    flat = grid.trace_numbers.reshape(-1)
    for start in range(0, len(flat), 1 << 20):  # in parts, for a grid takes much memory
        numbers = flat[start : start + (1 << 20)]
        placed[numbers[numbers >= 0]] = True
    return np.flatnonzero(~placed)


@dataclass(frozen=True, eq=False)
class Intake:
    """What every block of one ingest shares."""

    fmt: FileFormat
    specs: dict[str, ArraySpec]
    axes: tuple[np.ndarray, ...]
    trace_numbers: np.ndarray
    unplaced: np.ndarray
    block: tuple[int, ...]
    predicted: bool
    placement: Placement
    auxiliary: tuple[int, ...]
    spill: dict[str, Any]
    files: Files

    @property
    def master(self) -> ArraySpec:
        """Return the lossless array."""
        return self.specs["master"]

    @property
    def blocks(self) -> int:
        """Return the number of blocks of the grid; later blocks hold traces without a cell."""
        return block_count(self.trace_numbers.shape, self.block)

    def region(self, number: int) -> Region:
        """Return the cells of a block, over the dimensions without the samples."""
        return nth_region(self.trace_numbers.shape, self.block, number)


@lru_cache(maxsize=4)
def intake_of(store: Store, plan: Plan, options: StorageOptions) -> Intake:
    """Return the plan's shared part, read once in each process."""
    body = plan.body
    stored = load_grid(store, plan)
    axes = tuple(stored[f"axis_{i}"] for i in range(len(body["index"]["names"])))
    trace_numbers, unplaced = stored["trace_numbers"], stored["unplaced"]
    files = Files.from_json(body["sources"], options)
    return Intake(
        fmt=files.fmt,
        specs={name: ArraySpec.from_json(plain) for name, plain in body["arrays"].items()},
        axes=axes,
        trace_numbers=trace_numbers,
        unplaced=unplaced,
        block=tuple(body["block"]),
        predicted=body["predicted"],
        placement=Placement.from_json(body["index"]),
        auxiliary=tuple(body["index"]["auxiliary"]),
        spill=body["spill"],
        files=files,
    )


def ingest_block(job: Job) -> Record:
    """Store one block of the master, of the headers and of the coordinates."""
    store, plan = job.open_ahead()
    intake = intake_of(store, plan, job.options)
    if job.block >= intake.blocks:
        return _unplaced_block(job, store, plan, intake)
    region = intake.region(job.block)
    cells = intake.trace_numbers[region]
    live = cells[cells >= 0]
    if live.size == 0:
        return Record(job.block, [], 0, NOTHING)
    records = _read(store, intake, live)
    rows = records.rows_of(cells)
    headers = records.data[rows[cells >= 0], : intake.fmt.trace_header_bytes]
    codes = _compare_index(intake, job.block, cells, headers)
    decode = _decoder(job, store, plan, intake, records)
    done = _columns(job, store, intake, intake.master, job.block, rows, decode)
    stored = _objects(job, store, intake.master, done)
    stored += _put_headers(job, store, intake, cells >= 0, headers)
    parts = coordinate_parts(intake.placement, region, cells, headers, intake.fmt.byte_order)
    if parts:
        job.check()
        store.put(coordinates_key(plan, job.block), parts)
    seen = [part.seen for part in done if part.seen is not None]
    facts = {
        "stats": merge_stats([decoded.stats for decoded, _ in seen]).tolist(),
        "extremes": merge_extremes(decoded.extremes for decoded, _ in seen),
        "dead": int((codes == DEAD_CODE).sum()),
        "exceptions": sum(decoded.exception_count for decoded, _ in seen),
        "exception_parts": [key for _, key in seen if key],
        "segments": records.segments,
        "tallies": tallies_of(headers, intake.fmt),
        "place": block_footprint(
            intake.placement, intake.axes, region, cells, headers, intake.fmt.byte_order
        ),
    }
    return Record(job.block, stored, int(live.size) * intake.fmt.trace_bytes, facts)


def _decoder(
    job: Job, store: WritableStore, plan: Plan, intake: Intake, records: Records
) -> Callable[[np.ndarray, np.ndarray], tuple[Decoded, str]]:
    """Return the function that decodes a column of chunks and keeps samples that do not round-trip."""
    most = most_exceptions(intake.fmt)
    number_of_row = np.empty(len(records.data), np.int64)
    number_of_row[records.rows] = records.numbers

    def decode(mine: np.ndarray, out: np.ndarray) -> tuple[Decoded, str]:
        decoded = decode_column(intake.fmt, records.data, mine, out, most_exceptions=most)
        found, key = decoded.exceptions, ""
        if len(found):
            # Put at once, because together they could be more than memory was reckoned for.
            key = f"{plan.folder}/parts/exceptions-{job.block:08d}-{int(mine.max()):08d}"
            found[:, 0] = number_of_row[mine[found[:, 0]]]
            job.check()
            store.put(key, found.tobytes())
        return replace(decoded, exceptions=found[:0].copy()), key

    return decode


def _unplaced_block(job: Job, store: WritableStore, plan: Plan, intake: Intake) -> Record:
    """Store some traces that have no cell: samples and raw headers."""
    spec = intake.specs["unplaced"]
    number, chunk = job.block - intake.blocks, spec.chunks[0]
    records = _read(store, intake, intake.unplaced[number * chunk : (number + 1) * chunk])
    out, rows = _unplaced_chunk(spec, records)
    decoded, key = _decoder(job, store, plan, intake, records)(rows, out)
    stored = _put_unplaced(job, store, spec, number, out)
    headers = records.data[rows[rows >= 0], : intake.fmt.trace_header_bytes]
    for name, part in (("unplaced_headers", headers[:, :240]), ("unplaced_extensions", headers[:, 240:])):
        if name in intake.specs:
            one = intake.specs[name]
            values = np.zeros(one.chunks, one.numpy)
            values[: len(part)] = part if one.numeric else np.ascontiguousarray(part).view(one.numpy)[:, 0]
            place = (number, *(0 for _ in one.chunks[1:]))
            stored.append(job.put(store, one, place, encode_chunk(one, values)))
    facts = NOTHING | {
        "exceptions": decoded.exception_count,
        "exception_parts": [key] if key else [],
        "segments": records.segments,
    }
    return Record(job.block, stored, records.data.size, facts)


def _unplaced_chunk(spec: ArraySpec, records: Records) -> tuple[np.ndarray, np.ndarray]:
    """Room for a column of chunks of traces without a cell, and the record of each."""
    rows = np.full(spec.chunks[0], -1, np.int64)
    rows[: len(records.numbers)] = records.rows
    return np.empty((-(-spec.shape[-1] // spec.chunks[-1]), *spec.chunks), spec.numpy), rows


def _put_unplaced(
    job: Job, store: WritableStore, spec: ArraySpec, number: int, out: np.ndarray
) -> list[Stored]:
    placed = [((number, k), encode_chunk(spec, part)) for k, part in enumerate(out)]
    if store.local:
        return [job.put(store, spec, *pair) for pair in placed]
    return on_io(lambda pair: job.put(store, spec, *pair), placed)


def raw_samples_block(job: Job) -> Record:
    """Store one block of the file's words as they are; such blocks have their numbers after all others."""
    store, plan = job.open()
    intake = intake_of(store, plan, job.options)
    number = job.block - intake.blocks - unplaced_blocks(intake.specs)

    def take(mine: np.ndarray, out: np.ndarray) -> None:
        words_of_column(intake.fmt, records.data, mine, out)

    if number >= intake.blocks:
        spec = raw_samples_spec(intake.specs["unplaced"])
        number, chunk = number - intake.blocks, spec.chunks[0]
        records = _read(store, intake, intake.unplaced[number * chunk : (number + 1) * chunk])
        out, rows = _unplaced_chunk(spec, records)
        take(rows, out)
        return Record(job.block, _put_unplaced(job, store, spec, number, out), records.data.size, {})
    cells = intake.trace_numbers[intake.region(number)]
    live = cells[cells >= 0]
    if live.size == 0:
        return Record(job.block, [], 0, {})
    records = _read(store, intake, live)
    spec = raw_samples_spec(intake.master)
    done = _columns(job, store, intake, spec, number, records.rows_of(cells), take)
    return Record(job.block, _objects(job, store, spec, done), int(live.size) * intake.fmt.trace_bytes, {})


def unplaced_blocks(specs: Mapping[str, ArraySpec]) -> int:
    """Return the number of blocks of traces without a cell."""
    if "unplaced" not in specs:
        return 0
    return -(-specs["unplaced"].shape[0] // specs["unplaced"].chunks[0])


def coordinates_key(plan: Plan, block: int) -> str:
    """Return the key of the coordinates that a block shares with others."""
    return f"{plan.folder}/parts/coordinates-{block:08d}"


def raw_samples_spec(master: ArraySpec) -> ArraySpec:
    """Return the array of the file's words, in the chunks of the master, or of the traces without a cell."""
    folder = master.path.rpartition("/")[0]
    return master.at(f"{folder}/{RAW_SAMPLES}" if folder else RAW_SAMPLES, dtype="uint32", fill="0")


def most_exceptions(fmt: FileFormat) -> int:
    """Return how many samples that do not round-trip are kept one by one; beyond it all raw samples are kept."""
    return min(int(MOST_EXCEPTIONS * fmt.n_traces * fmt.n_samples), MOST_EXCEPTION_ROWS)


def _read(store: Store, intake: Intake, live: np.ndarray) -> Records:
    """Return the records of some traces (numbers, in any order), from the file or from where it was spilled to."""
    numbers = np.sort(live)
    if intake.spill:
        return read_spilled(store, intake.spill, intake.fmt.trace_bytes, numbers)
    return read_records(intake.files, numbers)


def exceptions_of(store: Store, records: Iterable[Record]) -> np.ndarray:
    """Rows (trace number, sample, word) that all blocks found, int64, sorted."""
    keys = [key for record in records for key in record.facts["exception_parts"]]
    rows = np.concatenate([np.frombuffer(data, np.int64).reshape(-1, 3) for data in on_io(store.get, keys)])
    return rows[np.lexsort((rows[:, 1], rows[:, 0]))]


def block_memory(
    spec: ArraySpec, block: tuple[int, ...], fmt: FileFormat, threads: int, *, spilled: bool = False
) -> int:
    """Return the most bytes that one block takes: records, everything encoded, and a decoded column per thread."""
    traces = int(np.prod(block))
    samples = -(-spec.shape[-1] // spec.chunks[-1]) * spec.chunks[-1]
    chunks = traces * samples // int(np.prod(spec.chunks))
    column = int(np.prod(spec.chunks[:-1])) * samples * spec.numpy.itemsize
    # A joined shard exists beside its parts for a moment.
    shard = int(np.prod(spec.shards)) * spec.numpy.itemsize if spec.shards else 0
    # Rows of three numbers, found and as they are stored.
    found = (
        min(most_exceptions(fmt), column // spec.numpy.itemsize) if fmt.sample_format.name == "ibm32" else 0
    )
    fetched = FETCH_BYTES if spilled else 0
    # Headers exist as records, as what is stored of them, and encoded.
    records = traces * (fmt.trace_bytes + 1000 + 2 * fmt.extension_bytes)
    encoded = chunks * encoded_bound(spec) + shard
    return records + fetched + encoded + threads * (column + 48 * found)


@dataclass(frozen=True, eq=False)
class _Column:
    """What became of one chunk column: `position` in the array's grid of chunks, without the sample axis.

    `seen` is what filling it gave, None where there is no trace.
    """

    position: tuple[int, ...]
    encoded: list[bytes]
    stored: list[Stored]
    seen: Any


def _compare_index(intake: Intake, block: int, cells: np.ndarray, headers: np.ndarray) -> np.ndarray:
    """Check that each trace lies where the plan says it does; return their identification codes."""
    region, where = intake.region(block), np.nonzero(cells >= 0)
    order = intake.fmt.byte_order
    for dimension, one in intake.placement.compared:
        found = word(headers, one.byte, one.type, order)
        expected = intake.axes[dimension][region[dimension]][where[dimension]]
        wrong = np.flatnonzero(found != expected)
        if wrong.size:
            trace = int(cells[tuple(w[wrong[0]] for w in where)])
            if intake.predicted:
                raise Unpredicted(f"trace {trace} has {found[wrong[0]]} at byte {one.byte}")
            raise IntegrityFailure(
                f"trace {trace} of {intake.files.name} has {found[wrong[0]]} at byte {one.byte}, but had "
                f"{expected[wrong[0]]} when it was scanned; the source changed or was read wrongly, run again"
            )
    codes = word(headers, IDENTIFICATION.byte, IDENTIFICATION.type, order)
    if intake.predicted and np.isin(codes, intake.auxiliary).any():
        raise Unpredicted("some traces are auxiliary ones")
    return codes


def _columns(
    job: Job,
    store: WritableStore,
    intake: Intake,
    spec: ArraySpec,
    block: int,
    rows: np.ndarray,
    fill: Callable[[np.ndarray, np.ndarray], Any],
) -> list[_Column]:
    """Fill, encode and, where chunks are objects, store all chunk columns of a block of one array.

    Args:
        job: The job.
        store: The volume.
        intake: What all blocks share.
        spec: The array.
        block: Which block of its cells.
        rows: The record of each cell, -1 where there is none.
        fill: Fills the chunks of a column from the records of its cells.
    """
    chunks, depth = spec.chunks[:-1], -(-spec.shape[-1] // spec.chunks[-1])
    corner = tuple(r.start // c for r, c in zip(intake.region(block), chunks, strict=True))

    def column(position: tuple[int, ...]) -> _Column:
        mine = np.full(chunks, -1, np.int64)
        part = rows[tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, chunks, strict=True))]
        mine[tuple(slice(0, n) for n in part.shape)] = part
        mine = mine.ravel()
        place = tuple(k + p for k, p in zip(corner, position, strict=True))
        if (mine < 0).all():
            return _Column(place, [], [], None)
        out = np.empty((depth, mine.size, spec.chunks[-1]), spec.numpy)
        seen = fill(mine, out)
        encoded = [encode_chunk(spec, out[k].reshape(spec.chunks)) for k in range(depth)]
        if spec.shards:
            return _Column(place, encoded, [], seen)
        placed = [((*place, k), data) for k, data in enumerate(encoded)]
        if store.local:
            return _Column(place, [], [job.put(store, spec, *pair) for pair in placed], seen)
        return _Column(place, [], on_io(lambda pair: job.put(store, spec, *pair), placed), seen)

    return on_chunks(column, np.ndindex(*(-(-n // c) for n, c in zip(rows.shape, chunks, strict=True))))


def _objects(job: Job, store: WritableStore, spec: ArraySpec, done: list[_Column]) -> list[Stored]:
    """Write the shards of a block; return the stored objects of one array."""
    if not spec.shards:
        return [stored for column in done for stored in column.stored]
    per = spec.chunks_per_shard
    shards: dict[tuple[int, ...], dict[tuple[int, ...], bytes]] = {}
    for column in done:
        for k, data in enumerate(column.encoded):
            place = (*column.position, k)
            shard = tuple(p // n for p, n in zip(place, per, strict=True))
            shards.setdefault(shard, {})[tuple(p % n for p, n in zip(place, per, strict=True))] = data
    return on_io(
        lambda item: job.put(store, spec, item[0], join_shard(spec, item[1])), sorted(shards.items())
    )


def _put_headers(
    job: Job, store: WritableStore, intake: Intake, live: np.ndarray, headers: np.ndarray
) -> list[Stored]:
    """Store the block's part of headers, raw headers and coordinates; one object each."""
    fmt, big = intake.fmt, intake.fmt.byte_order == ">"
    whole, headers, extensions = headers, headers[:, :240], headers[:, 240:]
    fields = np.empty((len(headers), intake.specs["headers"].numpy.itemsize), np.uint8)
    if big:
        swap_fields(headers, FIELD_WIDTHS, fields)
    else:
        fields[...] = headers[:, : fields.shape[1]]
    values = {
        "headers": fields.view(intake.specs["headers"].numpy)[:, 0],
        "raw_headers": np.ascontiguousarray(headers).view(intake.specs["raw_headers"].numpy)[:, 0],
        "raw_header_extensions": extensions,
    }
    values |= own_coordinates(intake.placement, whole, fmt.byte_order)
    position = tuple(r.start // b for r, b in zip(intake.region(job.block), intake.block, strict=True))

    def put(name: str) -> Stored:
        spec, rows = intake.specs[name], values[name]
        chunk = np.full(spec.chunks, spec.fill_value, spec.numpy)
        chunk[tuple(slice(0, n) for n in live.shape)][live] = rows
        # The bytes of additional headers have an axis of their own, of one chunk.
        place = (*position, *(0 for _ in spec.chunks[len(position) :]))
        return job.put(store, spec, place, encode_chunk(spec, chunk))

    names = [name for name in values if name in intake.specs]
    return [put(name) for name in names] if store.local else on_io(put, names)
