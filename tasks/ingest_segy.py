"""Turn a SEG-Y file into the master of a volume: lossless samples, every header, all that export needs.

Samples and headers are read once. What the block-wise pass cannot know before its end (statistics, words that
float32 does not give back, checksums of the file) is merged from the ledger in block order and stored with
the metadata, which is what makes the volume visible.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.parameters import Index, Master, Run, Url
from tasks.volume.blocks import Compute, block_count, cpu_count
from tasks.volume.codecs import crc32c, encode_chunk, metadata_of
from tasks.volume.intake import (
    Unpredicted,
    block_memory,
    exceptions_of,
    grid_bytes,
    grid_key,
    ingest_block,
    most_exceptions,
    raw_samples_block,
    raw_samples_spec,
)
from tasks.volume.kernels.traces import LIVE, merge_stats
from tasks.volume.layout import (
    DEFAULT_CHUNKS,
    MASTER,
    RAW_SAMPLES,
    ArraySpec,
    shards_by_default,
)
from tasks.volume.ledger import Record, Stored
from tasks.volume.lock import locked
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.plan import digest_of, folder_of
from tasks.volume.records import PART_BYTES, checksums, whole_checksums
from tasks.volume.root import current_root, members, new_root
from tasks.volume.run import (
    Stage,
    begin_stage,
    clear_leftovers,
    publish_root,
    put_array,
    put_group,
    refuse_foreign,
    run_blocks,
    unpublish,
)
from tasks.volume.schema import NAN_FILL, axis_scale, mdio_attributes, ome_attributes, statistics
from tasks.volume.segy.geometry import grid_of, sample_axis
from tasks.volume.segy.headers import binary_header
from tasks.volume.segy.samples import merge_extremes
from tasks.volume.segy.survey import Survey, survey_file
from tasks.volume.segy.tallies import commonest, coordinate_unit, doubts, merge_tallies
from tasks.volume.segy.text import textual_header
from tasks.volume.spill import index_columns, spill_block, spill_blocks, spill_body, spill_of
from tasks.volume.store import Source, Store, traffic
from tasks.volume.summary import array_rows, ended, fitting, using

log = logging.getLogger(__name__)

RUN_BYTES = {True: 256 << 10, False: 1 << 20}  # local, remote: shortest range worth a request
BLOCK_BYTES = 96 << 20  # of samples; a block is larger only if one shard is
SCATTERED_BYTES = {True: 64 << 10, False: 512 << 10}  # ranges shorter than this on average: spill first
SMALL_FILE_BYTES = 16 << 20  # a file this small is read in any order
SMALL_ARRAY_CELLS = 1 << 22


def ingest_segy(
    source: Url,
    volume: Url,
    index: Index = Index(),
    master: Master = Master(),
    overwrite: bool = False,
    run: Run = Run(),
    *,
    compute: Compute | None = None,
) -> dict[str, Any]:
    """Turn a SEG-Y file into a volume's lossless array, so that the file can be given back byte for byte.

    Args:
        source: The SEG-Y file.
        volume: Where the volume is to be.
        index: Which header words say where traces lie.
        master: Chunks, shards and codec.
        overwrite: Replace a volume that is there already.
        run: How to run.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage.

    Raises:
        InputRefused: The file or a parameter cannot be used.
        DestinationRefused: Another volume is there.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    file = Source(source, run.storage_options)
    survey = survey_file(file, index, near=file.location.local)
    store = Store(volume, run.storage_options)
    request = {
        "verb": "ingest_segy",
        "sources": [{"url": file.url, "bytes": file.size, "identity": file.identity}],
        "file": survey.fmt.to_json(),
        "index": survey.index_json(),
        "template": index.template,
        "master": master.model_dump(),
    }
    _chunks_and_shards(master, store, survey)
    if run.dry_run:
        return _dry_run(store, survey, master, index)
    refuse_foreign(store)
    with using(compute, run) as compute, _owned(store, file, survey, master, run, compute) as epoch:
        root = current_root(store)
        if root is not None:
            stages = root["attributes"]["seismill"]["stages"]
            if stages.get(MASTER, {}).get("request") == digest_of(request):
                return ended(store, "ingest", array_rows(root, [MASTER]), began, before, notes=["was done already"])
            if not overwrite:
                raise DestinationRefused(
                    f"{store.url} holds another volume (of {root['attributes']['seismill']['sources'][0]['url']}); "
                    "choose another place, or replace it with --overwrite"
                )
            unpublish(store, epoch, root)
        surprised = f"{folder_of(digest_of(request))}/unpredicted"
        if survey.regular is not None and store.exists(surprised):
            survey = survey.unpredicted(file, near=file.location.local)
        while True:
            spilled: dict[str, Any] = {}
            if survey.grid is None or _scattered(file, survey, master, store):
                survey, spilled = _spill(store, file, survey, epoch, run, compute)
            body = request | _layout(store, survey, master, spilled, index)
            try:
                stage, records, as_words = _blocks(store, survey, body, digest_of(request), epoch, run, compute)
                break
            except Unpredicted as surprise:
                log.info("%s: %s, so all headers are read", file.url, surprise)
                # Noted, so that a run which goes on with this one does not begin with the wrong plan again.
                store.put(surprised, str(surprise).encode())
                survey = survey.unpredicted(file, near=file.location.local)
        new = _finish(stage, file, survey, records, as_words, digest_of(request), index)
        for digest in (digest_of(request), *([spilled["digest"]] if spilled else [])):
            store.delete_all(folder_of(digest))
    notes = list(new["attributes"]["seismill"]["sources"][0]["notes"])
    if as_words:
        count = new["attributes"]["seismill"]["exceptions"]
        notes.append(f"float32 does not give back {count:,} IBM words: the file was read again and all were kept.")
    return ended(store, "ingest", array_rows(new, [MASTER]), began, before, stage=stage, notes=notes)


@contextmanager
def _owned(
    store: Store, file: Source, survey: Survey, master: Master, run: Run, compute: Compute
) -> Iterator[int]:
    """The lock, after what memory does not hold was refused: nothing is written before."""
    if survey.grid is not None:
        spilled = _scattered(file, survey, master, store)
        spec, block = _master_spec(store, survey, master, ("",) * (len(survey.names) + 1), spilled=spilled)
        _fitting(compute, spec, block, survey, near=store.local, spilled=spilled)
    store.probe()
    with locked(store, wait_seconds=run.lock_wait, say=log.info) as epoch:
        yield epoch


def _fitting(
    compute: Compute, spec: ArraySpec, block: tuple[int, ...], survey: Survey, *, near: bool, spilled: bool
) -> Compute:
    """The compute with as many blocks in flight as its memory holds.

    Raises:
        InputRefused: Not one; the sentence has chunks of which one fits.
    """
    need = block_memory(spec, block, survey.fmt, cpu_count(), spilled=spilled)
    if need <= compute.memory_bytes:
        return fitting(compute, need, "a block")
    smaller, least = spec, need
    while least > compute.memory_bytes and max(smaller.chunks[:-1]) > 1:
        widest = max(smaller.chunks[:-1])
        fewer = tuple(c // 2 if c == widest else c for c in smaller.chunks[:-1])
        smaller = smaller.at(spec.path, chunks=(*fewer, smaller.chunks[-1]), shards=())
        its_block = _block(smaller, survey, near=near, spilled=spilled)
        least = block_memory(smaller, its_block, survey.fmt, cpu_count(), spilled=spilled)
    what = f"a block of {block} traces in chunks of {spec.chunks}"
    what += f" and shards of {spec.shards}" if spec.shards else ""
    ways = f"give it {need / 1e6:,.0f} MB"
    if least <= compute.memory_bytes:
        ways += f", or use chunks of {smaller.chunks}{' without shards (0)' if spec.shards else ''}"
    raise InputRefused(
        f"{what} needs {need / 1e6:,.0f} MB, but the run may use {compute.memory_bytes / 1e6:,.0f} MB; {ways}"
    )


def _blocks(
    store: Store, survey: Survey, body: dict[str, Any], request: str, epoch: int, run: Run, compute: Compute
) -> tuple[Stage, list[Record], list[Record]]:
    """Carry the plan out, without its end; the second records are of the words as they are, if these are wanted."""
    assert survey.grid is not None
    spec, block = ArraySpec.from_json(body["arrays"]["master"]), tuple(body["block"])
    compute = _fitting(compute, spec, block, survey, near=store.local, spilled=bool(body["spill"]))
    keep = [digest_of(body), request, *([body["spill"]["digest"]] if body["spill"] else [])]
    if not store.exists(f"{folder_of(keep[0])}/plan.json"):
        clear_leftovers(store, None, keep)
    stage = begin_stage("ingest", store, body, epoch, run, compute)
    if not stage.resumed:
        store.put(grid_key(stage.plan), grid_bytes(survey.grid))
    count = block_count(survey.grid.shape, block)
    records = run_blocks(stage, ingest_block, range(count))
    exceptions = sum(record.facts["exceptions"] for record in records)
    if exceptions <= most_exceptions(survey.fmt):
        return stage, records, []
    log.info("%s: float32 does not give back %d IBM words, so all words are kept", store.url, exceptions)
    return stage, records, run_blocks(stage, raw_samples_block, range(count, 2 * count), of=2 * count)


def _spill(
    store: Store, file: Source, survey: Survey, epoch: int, run: Run, compute: Compute
) -> tuple[Survey, dict[str, Any]]:
    """Bucket the file beside the volume; the survey then has a grid."""
    body = spill_body(file, survey.fmt, survey.index_json(), survey.sample)
    log.info("%s is not in the order of its grid: it is read once and spilled to %s", file.url, store.url)
    need = body["traces_per_range"] * survey.fmt.trace_bytes * 3
    stage = begin_stage("spill", store, body, epoch, run, fitting(compute, need, "a range to spill"))
    records = run_blocks(stage, spill_block, range(spill_blocks(body)))
    grid = survey.grid
    if grid is None:
        try:
            grid = grid_of(index_columns(store, stage.plan.digest, body), survey.names, index_bytes=survey.index_bytes)
        except InputRefused:
            store.delete_all(stage.plan.folder)
            raise
    segments = [segment for record in records for segment in record.facts["segments"]]
    spilled = spill_of(stage.plan.digest, body) | {"segments": segments}
    return replace(survey, grid=grid, regular=None), spilled


def _axes_dims(survey: Survey, index: Index) -> tuple[str, ...]:
    return (*survey.names, "depth" if index.template.endswith("Depth") else "time")


def _layout(store: Store, survey: Survey, master: Master, spilled: dict[str, Any], index: Index) -> dict[str, Any]:
    """The rest of the plan: arrays, blocks and grid."""
    grid = survey.grid
    assert grid is not None
    dims = _axes_dims(survey, index)
    spec, block = _master_spec(store, survey, master, dims, spilled=bool(spilled))
    flat = {"shape": grid.shape, "chunks": block, "dims": dims[:-1], "codec": "zstd-3"}
    arrays = {
        "master": spec,
        "headers": ArraySpec("headers", dtype="trace_header", **flat),
        "raw_headers": ArraySpec("raw_headers", dtype="raw240", **flat),
    }
    if extra := survey.fmt.extension_bytes:
        whole = {"shape": (*grid.shape, extra), "chunks": (*block, extra), "dims": (*dims[:-1], "byte")}
        arrays["raw_header_extensions"] = ArraySpec("raw_header_extensions", dtype="uint8", **flat | whole)
    if survey.coordinate_bytes:
        arrays |= {name: ArraySpec(name, dtype="float64", fill="NaN", **flat) for name in ("cdp_x", "cdp_y")}
    return {
        "arrays": {name: one.to_json() for name, one in arrays.items()},
        "block": block,
        "grid": crc32c(np.ascontiguousarray(grid.trace_numbers).view(np.uint8).reshape(-1)),
        "predicted": survey.regular is not None,
        "spill": {k: v for k, v in spilled.items() if k != "segments"},
        "spill_segments": spilled.get("segments", []),
    }


def _master_spec(
    store: Store, survey: Survey, master: Master, dims: tuple[str, ...], *, spilled: bool
) -> tuple[ArraySpec, tuple[int, ...]]:
    """The master, and how many of its traces a block has."""
    assert survey.grid is not None
    chunks, shards = _chunks_and_shards(master, store, survey)
    dtype = survey.fmt.sample_format.dtype
    fill = "NaN" if np.dtype(dtype).kind == "f" else "0"
    shape = (*survey.grid.shape, survey.fmt.n_samples)
    if shards is None:
        shards = shards_by_default(shape, chunks, np.dtype(dtype).itemsize)
    spec = ArraySpec(MASTER, shape, chunks, dtype, dims, master.codec, shards if shards != chunks else (), fill)
    return spec, _block(spec, survey, near=store.local, spilled=spilled)


def _chunks_and_shards(
    master: Master, store: Store, survey: Survey
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunks, and shards where they do not depend on the shape.

    Raises:
        InputRefused: They do not fit the dimensions or each other.
    """
    rank = len(survey.names) + 1
    chunks = tuple(master.chunks) or DEFAULT_CHUNKS[rank]
    if len(chunks) != rank or min(chunks) < 1:
        raise InputRefused(
            f"chunks {chunks} do not fit a volume of {', '.join(survey.names)} and samples; give {rank} positive "
            "numbers"
        )
    if master.shards == [0] or (not master.shards and store.local):
        return chunks, ()
    if not master.shards:
        return chunks, None
    shards = tuple(master.shards)
    if len(shards) != rank or any(s < 1 or s % c for s, c in zip(shards, chunks, strict=True)):
        raise InputRefused(f"shards {shards} are not multiples of the chunks {chunks}; give multiples, one per axis")
    return chunks, shards


def _block(spec: ArraySpec, survey: Survey, *, near: bool, spilled: bool) -> tuple[int, ...]:
    """Traces per block and dimension: whole shards, long enough in the file's fast direction for large ranges.

    A spilled file is bucketed by the slowest dimension, so it is best read along the fastest.
    """
    grid = survey.grid
    assert grid is not None
    unit = spec.unit[:-1]
    numbers = grid.trace_numbers
    # The dimension along which neighbours in the grid are most often neighbours in the file is the fast one.
    neighbours = [
        int((np.abs(np.diff(numbers[:512, :512], axis=axis)) == 1).sum()) if numbers.shape[axis] > 1 else 0
        for axis in range(numbers.ndim)
    ]
    fast = numbers.ndim - 1 if spilled else int(np.argmax(neighbours))
    block = list(unit)
    wanted = RUN_BYTES[near]
    samples = spec.shape[-1] * spec.numpy.itemsize
    while (
        block[fast] < numbers.shape[fast]
        and block[fast] * survey.fmt.trace_bytes < wanted
        and int(np.prod(block)) * samples * 2 <= BLOCK_BYTES
    ):
        block[fast] += unit[fast]
    if not near or spilled:
        while block[fast] < numbers.shape[fast] and (int(np.prod(block)) + int(np.prod(block)) * unit[fast] // block[fast]) * samples <= BLOCK_BYTES:
            block[fast] += unit[fast]
    return tuple(block)


def _scattered(file: Source, survey: Survey, master: Master, store: Store) -> bool:
    """Whether blocks of the grid would read the file in ranges too short to be worth a request each."""
    grid = survey.grid
    assert grid is not None
    if survey.fmt.file_size <= SMALL_FILE_BYTES and file.location.local:
        return False
    _, block = _master_spec(store, survey, master, ("",) * (len(grid.shape) + 1), spilled=False)
    counts = [-(-n // b) for n, b in zip(grid.shape, block, strict=True)]
    block_of_cell = np.ravel_multi_index(
        np.ix_(*(np.arange(n) // b for n, b in zip(grid.shape, block, strict=True))), counts
    )
    live = grid.trace_numbers >= 0
    block_of_trace = np.empty(survey.fmt.n_traces, np.int64)
    block_of_trace[grid.trace_numbers[live]] = np.broadcast_to(block_of_cell, grid.shape)[live]
    runs = 1 + int(np.count_nonzero(np.diff(block_of_trace)))
    return survey.fmt.n_traces * survey.fmt.trace_bytes / runs < SCATTERED_BYTES[file.location.local]


def _finish(
    stage: Stage,
    file: Source,
    survey: Survey,
    records: list[Record],
    as_words: list[Record],
    request: str,
    index: Index,
) -> dict[str, Any]:
    """Store what all blocks together tell, make every array visible, and commit."""
    store, body, fmt, grid = stage.store, stage.plan.body, survey.fmt, survey.grid
    assert grid is not None
    specs = {name: ArraySpec.from_json(plain) for name, plain in body["arrays"].items()}
    master = specs["master"]
    stats = merge_stats([np.array(r.facts["stats"]) for r in records if r.facts["stats"] is not None])
    head = np.frombuffer(file.read(0, fmt.first_trace_offset), np.uint8)
    tail_at = fmt.trace_offset(fmt.n_traces)
    tail = np.frombuffer(file.read(tail_at, fmt.file_size - tail_at), np.uint8) if fmt.file_size > tail_at else head[:0]
    segments = [tuple(s) for r in records for s in r.facts["segments"]] + [tuple(s) for s in body["spill_segments"]]
    segments += checksums(head, 0) + (checksums(tail, tail_at) if tail.size else [])
    parts, whole = whole_checksums(segments, fmt.file_size)
    objects: dict[str, list[Stored]] = {path: [] for path in (RAW_SAMPLES, *(spec.path for spec in specs.values()))}
    for record in (*records, *as_words):
        for stored in record.objects:
            objects[stored.key.partition("/c/")[0]].append(stored)

    shown: list[tuple[str, dict[str, Any]]] = []
    where = " ".join(name for name in ("cdp_x", "cdp_y") if name in specs)
    labelled = {"coordinates": where} if where else {}

    def small(spec: ArraySpec, values: np.ndarray, attributes: dict[str, Any]) -> None:
        shown.append(put_array(stage, spec.path, metadata_of(spec, attributes), put_values(stage, spec, values)))

    axes = [(axis.name, axis.values) for axis in grid.axes]
    depth = index.template.endswith("Depth")
    tallies = merge_tallies(r.facts["tallies"] for r in records)
    axes.append(sample_axis(fmt, commonest(tallies, "delay"), depth=depth))
    for name, values in axes:
        fits = values.dtype.kind == "i" and np.abs(values).max(initial=0) <= np.iinfo(np.int32).max
        dtype = "int32" if fits else ("float64" if values.dtype.kind == "f" else "int64")
        units = {"unitsV1": {"time": "ms"}} if name == "time" else {}
        small(ArraySpec(name, values.shape, values.shape, dtype, (name,)), values.astype(dtype), units)
    flat = {"shape": grid.shape, "chunks": _small_chunks(grid.shape), "dims": grid.names}
    small(ArraySpec("trace_mask", dtype="bool", **flat), grid.trace_numbers >= 0, labelled)
    small(ArraySpec("trace_number", dtype="int64", **flat), grid.trace_numbers, labelled)
    binary = binary_header(head[3200:3600].tobytes(), fmt.byte_order)
    system = binary["measurement_system_code"]
    notes = [*survey.notes, *doubts(tallies, fmt, depth=depth, measurement_system=system)]
    text = {"textHeader": textual_header(head[:3200].tobytes()), "binaryHeader": binary}
    shown.append(put_array(stage, "segy_file_header", _scalar_text(text), []))
    shown += [put_group(store, "segy_files"), put_group(store, "segy_files/0")]
    for name, raw in (("header", head), ("trailer", tail)):
        if raw.size:
            small(ArraySpec(f"segy_files/0/{name}", raw.shape, (min(raw.size, 1 << 22),), "uint8", (f"{name}_byte",)), raw, {})
    if as_words:
        spec = raw_samples_spec(master)
        shown.append(put_array(stage, spec.path, metadata_of(spec, labelled), objects[RAW_SAMPLES]))
    else:
        shown += _exceptions(stage, records)
    for name in ("headers", "raw_headers", "raw_header_extensions", "cdp_x", "cdp_y"):
        if name in specs:
            unit = coordinate_unit(tallies, system)
            cdp = {"_FillValue": NAN_FILL} | ({"unitsV1": unit} if unit else {})
            extra = cdp if name.startswith("cdp") else labelled
            shown.append(put_array(stage, name, metadata_of(specs[name], extra), objects[name]))
    extremes = merge_extremes(r.facts["extremes"] for r in records)
    described = labelled | ({"_FillValue": NAN_FILL} if master.fill == "NaN" else {}) | statistics(stats, extremes)
    stored_bytes = sum(o.bytes for o in objects[MASTER])
    raw_bytes = int(stats[LIVE]) * fmt.n_samples * master.numpy.itemsize
    described |= {"raw_bytes": raw_bytes, "stored_bytes": stored_bytes}
    shown.append(put_array(stage, MASTER, metadata_of(master, described), objects[MASTER]))

    scales = [axis_scale(np.asarray(values)) for _, values in axes]
    level = {"path": MASTER, "scale": [s for s, _ in scales], "translation": [t for _, t in scales]}
    created_on = stage.plan.created_on
    root = new_root(
        mdio_attributes(index.template, created_on, MASTER)
        | {
            "ome": ome_attributes(MASTER, master.dims, [level], described["min"], described["max"]),
            "seismill": {
                "format": 1,
                "writer": stage.plan.versions["seismill"],
                "created_on": created_on,
                "sources": [
                    {
                        "url": file.url,
                        "bytes": file.size,
                        "etag": file.identity,
                        "first_trace": 0,
                        "trace_count": fmt.n_traces,
                        "crc32c": f"{whole:08x}",
                        "crc32c_part_bytes": PART_BYTES,
                        "crc32c_parts": [f"{part:08x}" for part in parts],
                        "file": fmt.to_json(),
                        "notes": notes,
                    }
                ],
                "index": {k: list(v) for k, v in survey.index_json().items()},
                "levels": [level],
                "stages": {MASTER: {"plan": stage.plan.digest, "request": request}},
                "exceptions": sum(r.facts["exceptions"] for r in records),
            },
        }
    )
    members(root).update(dict(shown))
    publish_root(stage, root)
    log.info("%s: %d traces of %s, crc32c %08x", store.url, fmt.n_traces, file.url, whole)
    return root


def put_values(stage: Stage, spec: ArraySpec, values: np.ndarray) -> list[Stored]:
    """Store a small array that is in memory, chunk by chunk."""
    stored = []
    for position in np.ndindex(*(-(-n // c) for n, c in zip(spec.shape, spec.chunks, strict=True))):
        part = values[tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, spec.chunks, strict=True))]
        chunk = np.full(spec.chunks, spec.fill_value, spec.numpy)
        chunk[tuple(slice(0, n) for n in part.shape)] = part
        data = encode_chunk(spec, chunk)
        stage.store.create_or_match(spec.key(position), data)
        stored.append(Stored(spec.key(position), len(data), crc32c(data)))
    return stored


def _small_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Whole rows, up to a few million cells."""
    rows = max(1, SMALL_ARRAY_CELLS // max(1, int(np.prod(shape[1:]))))
    return (min(shape[0], rows), *shape[1:])


def _scalar_text(attributes: dict[str, Any]) -> dict[str, Any]:
    """MDIO's segy_file_header: a scalar text array that only carries attributes."""
    return {
        "shape": [],
        "data_type": {"name": "fixed_length_utf32", "configuration": {"length_bytes": 4}},
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": []}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "",
        "codecs": [
            {"name": "bytes", "configuration": {"endian": "little"}},
            {"name": "crc32c"},
        ],
        "attributes": attributes,
        "dimension_names": [],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _exceptions(stage: Stage, records: list[Record]) -> list[tuple[str, dict[str, Any]]]:
    """Store the words that float32 does not give back, sorted by trace and sample; nothing if there are none."""
    if not any(record.facts["exceptions"] for record in records):
        return []
    rows = exceptions_of(stage.store, records)
    shown = [put_group(stage.store, "sample_exceptions")]
    for name, column, dtype in (("trace_number", 0, "int64"), ("sample", 1, "int32"), ("word", 2, "uint32")):
        spec = ArraySpec(
            f"sample_exceptions/{name}", (len(rows),), (min(len(rows), 1 << 20),), dtype, ("exception",)
        )
        values = rows[:, column].astype(dtype)
        shown.append(put_array(stage, spec.path, metadata_of(spec, {}), put_values(stage, spec, values)))
    return shown


def _dry_run(store: Store, survey: Survey, master: Master, index: Index) -> dict[str, Any]:
    """What would be stored, without writing."""
    notes = list(survey.notes)
    if survey.grid is None:
        notes.append("the file's headers do not follow a regular grid: it would be read once and spilled first")
        return {"dry_run": True, "volume": store.url, "stage": "ingest", "arrays": [], "notes": notes}
    body = _layout(store, survey, master, {}, index)
    spec = ArraySpec.from_json(body["arrays"]["master"])
    count = block_count(survey.grid.shape, tuple(body["block"]))
    objects = int(np.prod([-(-n // u) for n, u in zip(spec.shape, spec.unit, strict=True)]))
    return {
        "dry_run": True,
        "volume": store.url,
        "stage": "ingest",
        "arrays": [
            {
                "path": MASTER,
                "shape": spec.shape,
                "chunks": spec.chunks,
                "shards": spec.shards,
                "dtype": spec.dtype,
                "raw_bytes": spec.raw_bytes,
            }
        ],
        "grid": [str(axis) for axis in survey.grid.axes],
        "objects": objects,
        "blocks": count,
        "memory_bytes": block_memory(spec, tuple(body["block"]), survey.fmt, cpu_count()),
        "notes": notes,
    }
