"""One block of an ingest: trace records in, stored chunks, headers and coordinates out.

A block covers whole shards of the master over all samples. Its chunk columns (all samples of one chunk's
traces) are decoded straight into chunk order and encoded on the process's chunk pool, so a sample is touched
while it is in the cache: file words, values with statistics and a check that they go back, encoder. Blocks
beyond those of the grid take the traces that have no cell.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import encode_chunk, encoded_bound
from tasks.volume.arrays.spec import RAW_SAMPLES, ArraySpec
from tasks.volume.blocks import on_io
from tasks.volume.ingest.columns import columns, objects
from tasks.volume.ingest.coordinates import coordinate_parts, own_coordinates
from tasks.volume.ingest.footprint import block_footprint
from tasks.volume.ingest.intake import Intake, intake_of
from tasks.volume.ingest.records import Records, read_records
from tasks.volume.ingest.spill import FETCH_BYTES, read_spilled
from tasks.volume.ingest.survey import IDENTIFICATION
from tasks.volume.kernels.header_fields import swap_fields
from tasks.volume.kernels.traces import merge_stats
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.plan import Plan
from tasks.volume.protocol.stage import Job
from tasks.volume.protocol.stored import Stored
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.header_counts import tallies_of
from tasks.volume.segy.headers import FIELD_WIDTHS, word
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
    records = _read(job, store, intake, live)
    rows = records.rows_of(cells)
    headers = records.data[rows[cells >= 0], : intake.fmt.trace_header_bytes]
    codes = _compare_index(intake, job.block, cells, headers)
    decode = _decoder(job, store, plan, intake, records)
    done = columns(job, store, intake, intake.master, job.block, rows, decode)
    stored = objects(job, store, intake.master, done)
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
    records = _read(job, store, intake, intake.unplaced[number * chunk : (number + 1) * chunk])
    out, rows = _unplaced_chunk(spec, records)
    decoded, key = _decoder(job, store, plan, intake, records)(rows, out)
    stored = _put_unplaced(job, store, spec, number, out)
    headers = records.data[rows[rows >= 0], : intake.fmt.trace_header_bytes]
    for name, part in (("unplaced_headers", headers[:, :240]), ("unplaced_extensions", headers[:, 240:])):
        if name in intake.specs:
            entry = intake.specs[name]
            values = np.zeros(entry.chunks, entry.numpy)
            values[: len(part)] = (
                part if entry.numeric else np.ascontiguousarray(part).view(entry.numpy)[:, 0]
            )
            place = (number, *(0 for _ in entry.chunks[1:]))
            stored.append(job.put(store, entry, place, encode_chunk(entry, values)))
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
        records = _read(job, store, intake, intake.unplaced[number * chunk : (number + 1) * chunk])
        out, rows = _unplaced_chunk(spec, records)
        take(rows, out)
        return Record(job.block, _put_unplaced(job, store, spec, number, out), records.data.size, {})
    cells = intake.trace_numbers[intake.region(number)]
    live = cells[cells >= 0]
    if live.size == 0:
        return Record(job.block, [], 0, {})
    records = _read(job, store, intake, live)
    spec = raw_samples_spec(intake.master)
    done = columns(job, store, intake, spec, number, records.rows_of(cells), take)
    return Record(job.block, objects(job, store, spec, done), int(live.size) * intake.fmt.trace_bytes, {})


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


def _read(job: Job, store: Store, intake: Intake, live: np.ndarray) -> Records:
    """Return the records of some traces (numbers, in any order), from the file or from where it was spilled to."""
    numbers = np.sort(live)
    if intake.spill:
        gap_bytes = job.limits.spill_gap_bytes[store.local]
        return read_spilled(store, intake.spill, intake.fmt.trace_bytes, numbers, gap_bytes)
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


def _compare_index(intake: Intake, block: int, cells: np.ndarray, headers: np.ndarray) -> np.ndarray:
    """Check that each trace lies where the plan says it does; return their identification codes."""
    region, where = intake.region(block), np.nonzero(cells >= 0)
    order = intake.fmt.byte_order
    for dimension, entry in intake.placement.compared:
        found = word(headers, entry.byte, entry.type, order)
        expected = intake.axes[dimension][region[dimension]][where[dimension]]
        wrong = np.flatnonzero(found != expected)
        if wrong.size:
            trace = int(cells[tuple(w[wrong[0]] for w in where)])
            if intake.predicted:
                raise Unpredicted(f"trace {trace} has {found[wrong[0]]} at byte {entry.byte}")
            raise IntegrityFailure(
                f"trace {trace} of {intake.files.name} has {found[wrong[0]]} at byte {entry.byte}, but had "
                f"{expected[wrong[0]]} when it was scanned; the source changed or was read wrongly, run again"
            )
    codes = word(headers, IDENTIFICATION.byte, IDENTIFICATION.type, order)
    if intake.predicted and np.isin(codes, intake.auxiliary).any():
        raise Unpredicted("some traces are auxiliary ones")
    return codes


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
