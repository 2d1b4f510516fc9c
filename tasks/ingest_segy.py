"""Turn SEG-Y files into the master of a volume: lossless samples, every header, all that export needs.

Samples and headers are read once. What the block-wise pass cannot know before its end (statistics, words that
float32 does not give back, checksums of the file) is merged from the ledger in block order and stored with
the metadata, which is what makes the volume visible.
"""

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.parameters import Index, Master, Run, Url
from tasks.volume.arrays.attributes import (
    NAN_FILL,
    axis_scale,
    mdio_attributes,
    ome_attributes,
    statistics,
    units_of,
)
from tasks.volume.arrays.codecs import crc32c, encode_chunk, metadata_of
from tasks.volume.arrays.spec import (
    MASTER,
    ArraySpec,
    chunks_by_default,
    shards_by_default,
)
from tasks.volume.blocks import Compute, block_count, cpu_count, on_io
from tasks.volume.ingest.block import (
    Unpredicted,
    block_memory,
    coordinates_key,
    exceptions_of,
    grid_bytes,
    grid_key,
    ingest_block,
    most_exceptions,
    raw_samples_block,
    raw_samples_spec,
    unplaced_blocks,
    unplaced_traces,
)
from tasks.volume.ingest.checksums import (
    Expected,
    Sums,
    checked_before,
    expected_of,
    noted_of,
    refuse_what_stores_have,
    refuse_what_stores_say,
)
from tasks.volume.ingest.coordinates import merged, shared
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.records import PART_BYTES, Segment, checksums, whole_checksums
from tasks.volume.ingest.spill import index_columns, spill_block, spill_blocks, spill_body, spill_of
from tasks.volume.ingest.survey import Survey, given_samples, grid_from_words, survey_files
from tasks.volume.kernels.traces import LIVE, merge_stats
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure
from tasks.volume.protocol.deletion import (
    clear_run,
    refuse_occupied,
    refuse_strangers,
)
from tasks.volume.protocol.ledger import Record, Stored
from tasks.volume.protocol.owner import Fit, Owner, owned
from tasks.volume.protocol.plan import digest_of, folder_of
from tasks.volume.protocol.root import members, new_root
from tasks.volume.protocol.stage import (
    Stage,
    publish_root,
    put_array,
    put_group,
    run_blocks,
)
from tasks.volume.protocol.summary import array_rows, ended, fitting, using
from tasks.volume.segy.geometry import sample_axis
from tasks.volume.segy.header_counts import commonest, coordinate_unit, doubts, merge_tallies
from tasks.volume.segy.headers import binary_header
from tasks.volume.segy.overrides import TRACE
from tasks.volume.segy.placement import Coordinate, given
from tasks.volume.segy.samples import merge_extremes
from tasks.volume.segy.templates import quantity
from tasks.volume.segy.text import textual_header
from tasks.volume.store.objects import Store, traffic

log = logging.getLogger(__name__)

RUN_BYTES = {True: 256 << 10, False: 1 << 20}  # local, remote: shortest range worth a request
BLOCK_BYTES = 96 << 20  # of samples; a block is larger only if one shard is
SCATTERED_BYTES = {True: 64 << 10, False: 512 << 10}  # ranges shorter than this on average: spill first
SMALL_FILE_BYTES = 16 << 20  # a file this small is read in any order
SMALL_ARRAY_CELLS = 1 << 22
SAMPLED_CELLS = 1 << 18  # of the grid, to see in which direction the files go
UNPLACED_CHUNK_BYTES = 4 << 20
UNPLACED_SAMPLES = 4096  # along a chunk
OME_DIMENSIONS = (2, 3)  # more do not validate without axes of time and channels


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
    """Turn SEG-Y files into a volume's lossless array, so that each can be given back byte for byte.

    Args:
        source: The SEG-Y file, or several: URLs separated by commas, or a pattern such as line_*.sgy.
        volume: Where the volume is to be.
        index: Which header words say where traces lie, and what samples are where headers are wrong.
        master: Chunks, shards and codec.
        overwrite: Replace a volume that is there already.
        run: How to run.
        compute: Where blocks run; threads of this process if not given.

    Returns:
        The summary of the stage.

    Raises:
        InputRefused: A file or a parameter cannot be used.
        DestinationRefused: Another volume is there.
        Resumable: The run stopped before its end.
    """
    began, before = time.monotonic(), traffic.snapshot()
    files = Files.open(source, run.storage_options, given_samples(index))
    survey = survey_files(files, index, near=files.local)
    store = Store(volume, run.storage_options)
    expected = expected_of({one.url: one.size for one in files.listed}, index.checksums, run.storage_options)
    request = {
        "verb": "ingest_segy",
        "sources": files.to_json(),
        "index": survey.placement_json(),
        "master": master.model_dump(),
    }
    _chunks_and_shards(master, store, survey)
    refuse_what_stores_say(expected, files.reading)
    if run.dry_run:
        return _dry_run(store, survey, master, expected)
    refuse_occupied(store)
    fit = _fit(store, survey, master) if survey.grid is not None else _anything
    with using(compute, run) as compute, owned(store, run, compute, fit) as owner:
        root = owner.root()
        if root is not None:
            stages = root["attributes"]["seismill"]["stages"]
            if stages.get(MASTER, {}).get("request") == digest_of(request):
                _checked_again(store, root, digest_of(request), expected, files, compute)
                return ended(
                    store, "ingest", array_rows(root, [MASTER]), began, before, notes=["was done already"]
                )
            if not overwrite:
                raise DestinationRefused(
                    f"{store.url} holds another volume (of {root['attributes']['seismill']['sources'][0]['url']}); "
                    "choose another place, or replace it with --overwrite"
                )
        refuse_strangers(store, root)
        survey, sums = _read_before(store, survey, master, expected, digest_of(request), root, compute)
        while True:
            spilled: dict[str, Any] = {}
            if survey.grid is None or _scattered(survey, master, store):
                survey, spilled = _spill(owner, survey, root, digest_of(request))
            body = request | _layout(store, survey, master, spilled)
            try:
                stage, records, as_words = _blocks(owner, survey, body, digest_of(request), root)
                break
            except Unpredicted as surprise:
                log.info("%s: %s, so all headers are read", files.name, surprise)
                # Noted, so that a run which goes on with this one does not begin with the wrong plan again.
                store.put(_unpredicted(digest_of(request)), str(surprise).encode())
                survey, root = survey.unpredicted(near=files.local), None
        new = _finish(stage, survey, records, as_words, digest_of(request), expected, sums)
        for digest in (digest_of(request), *([spilled["digest"]] if spilled else [])):
            clear_run(store, digest)
    notes = [*new["attributes"]["seismill"]["sources"][0]["notes"], *expected.doubts]
    if as_words:
        count = new["attributes"]["seismill"]["exceptions"]
        notes.append(
            f"float32 does not give back {count:,} IBM words: the file was read again and all were kept."
        )
    return ended(store, "ingest", array_rows(new, [MASTER]), began, before, stage=stage, notes=notes)


def _unpredicted(request: str) -> str:
    """Return the key of the note that the headers of a run's files are all read."""
    return f"{folder_of(request)}/unpredicted"


def _read_before(
    store: Store,
    survey: Survey,
    master: Master,
    expected: Expected,
    request: str,
    root: dict[str, Any] | None,
    compute: Compute,
) -> tuple[Survey, dict[int, Sums]]:
    """Read what has to be read of the files before anything is taken away; return the survey and checksums.

    Where an MD5 is expected, that is the file. Where a volume is replaced, it is every file: all bytes, against the
    checksums of their store and those that are expected, and all headers where the grid was predicted from a few.
    """
    files, note = survey.files, _unpredicted(request)
    wanted = list(range(len(files.listed))) if root is not None else expected.of_kind("md5")
    sums = checked_before(store, folder_of(request), expected, wanted, files.reading, compute)
    if survey.predicted and store.exists(note):
        survey = survey.unpredicted(near=files.local)
    if root is None:
        return survey, sums
    refuse_what_stores_have(files.reading, {file: sums[file]["crc32c"] for file in wanted}, expected.urls)
    if survey.predicted:
        scanned = survey.unpredicted(near=True)
        _fit(store, scanned, master)(compute)
        if not _same_grid(survey, scanned):
            log.info("%s: the headers are not as they were predicted, so all are read", files.name)
            store.put(note, b"the headers are not as they were predicted")
            survey = scanned if files.local else survey.unpredicted(near=False)
    return survey, {file: sums[file] for file in expected.of_kind("md5")}


def _same_grid(survey: Survey, other: Survey) -> bool:
    """Whether two surveys of the same files put each trace into the same cell."""
    grid, scanned = survey.grid, other.grid
    assert grid is not None
    assert scanned is not None
    return np.array_equal(grid.trace_numbers, scanned.trace_numbers) and all(
        np.array_equal(one.values, same.values) for one, same in zip(grid.axes, scanned.axes, strict=True)
    )


def _anything(compute: Compute) -> Compute:
    """Accept any memory: what a block needs is known when the grid is."""
    return compute


def _fit(store: Store, survey: Survey, master: Master) -> Fit:
    """Return what fits blocks of a survey with a grid into memory."""
    spilled = _scattered(survey, master, store)
    spec, block = _master_spec(store, survey, master, ("",) * (len(survey.names) + 1), spilled=spilled)
    return lambda compute: _fitting(compute, spec, block, survey, near=store.local, spilled=spilled)


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
    owner: Owner, survey: Survey, body: dict[str, Any], request: str, root: dict[str, Any] | None
) -> tuple[Stage, list[Record], list[Record]]:
    """Run all blocks. Return the stage, its entries, and those of the pass that keeps words as they are, if needed."""
    assert survey.grid is not None
    store, spec, block = owner.store, ArraySpec.from_json(body["arrays"]["master"]), tuple(body["block"])
    stage = owner.begin(
        "ingest",
        body,
        lambda compute: _fitting(compute, spec, block, survey, near=store.local, spilled=bool(body["spill"])),
        present=root,
        after=None,
        keep=[request, *([body["spill"]["digest"]] if body["spill"] else [])],
    )
    if not stage.resumed:
        store.put(grid_key(stage.plan), grid_bytes(survey.grid, survey.files.n_traces))
    specs = {name: ArraySpec.from_json(plain) for name, plain in body["arrays"].items()}
    count = block_count(survey.grid.shape, block) + unplaced_blocks(specs)
    records = run_blocks(stage, ingest_block, range(count))
    exceptions = sum(record.facts["exceptions"] for record in records)
    if exceptions <= most_exceptions(survey.fmt):
        return stage, records, []
    log.info("%s: float32 does not give back %d IBM words, so all words are kept", store.url, exceptions)
    return stage, records, run_blocks(stage, raw_samples_block, range(count, 2 * count), of=2 * count)


def _spill(
    owner: Owner, survey: Survey, root: dict[str, Any] | None, request: str
) -> tuple[Survey, dict[str, Any]]:
    """Store the traces sorted beside the volume; the survey then has a grid."""
    store, body = owner.store, spill_body(survey)
    log.info(
        "%s is not in the order of its grid: it is read once and spilled to %s", survey.files.name, store.url
    )
    need = body["traces_per_range"] * survey.fmt.trace_bytes * 3
    stage = owner.begin(
        "spill",
        body,
        lambda compute: fitting(compute, need, "a range to spill"),
        present=root,
        after=root,
        keep=[request],
    )
    records = run_blocks(stage, spill_block, range(spill_blocks(body)))
    grid = survey.grid
    if grid is None:
        try:
            columns = index_columns(store, stage.plan.digest, body)
            grid = grid_from_words(columns, survey.placement, survey.auxiliary, survey.files.n_traces)
        except InputRefused:
            clear_run(store, stage.plan.digest)
            raise
    segments = [segment for record in records for segment in record.facts["segments"]]
    spilled = spill_of(stage.plan.digest, body) | {"segments": segments}
    return replace(survey, grid=grid, predicted=False), spilled


def _layout(store: Store, survey: Survey, master: Master, spilled: dict[str, Any]) -> dict[str, Any]:
    """The rest of the plan: arrays, blocks and grid."""
    grid = survey.grid
    assert grid is not None
    dims = (*survey.names, survey.placement.domain)
    spec, block = _master_spec(store, survey, master, dims, spilled=bool(spilled))
    flat: dict[str, Any] = {"shape": grid.shape, "chunks": block, "dims": dims[:-1]}
    arrays = {
        "master": spec,
        "headers": ArraySpec("headers", dtype="trace_header", **flat),
        "raw_headers": ArraySpec("raw_headers", dtype="raw240", **flat),
    }
    if extra := survey.fmt.extension_bytes:
        whole: dict[str, Any] = {
            "shape": (*grid.shape, extra),
            "chunks": (*block, extra),
            "dims": (*dims[:-1], "byte"),
        }
        arrays["raw_header_extensions"] = ArraySpec("raw_header_extensions", dtype="uint8", **flat | whole)
    for one in survey.placement.coordinates:
        if one.dims == survey.names:
            arrays[one.name] = ArraySpec(one.name, dtype=one.dtype, fill=_fill(one.dtype), **flat)
    unplaced = survey.files.n_traces - grid.placed
    if unplaced:
        arrays |= _unplaced_arrays(spec, unplaced, extra)
    return {
        "arrays": {name: one.to_json() for name, one in arrays.items()},
        "block": block,
        "grid": crc32c(np.ascontiguousarray(grid.trace_numbers).view(np.uint8).reshape(-1)),
        "predicted": survey.predicted,
        "spill": {k: v for k, v in spilled.items() if k != "segments"},
        "spill_segments": spilled.get("segments", []),
    }


def _fill(dtype: str) -> str:
    return "NaN" if np.dtype(dtype).kind == "f" else "0"


def _unplaced_arrays(master: ArraySpec, count: int, extra: int) -> dict[str, ArraySpec]:
    """Where traces go that have no cell, as many at a time as make a chunk."""
    along = min(master.shape[-1], UNPLACED_SAMPLES)
    traces = min(count, max(1, UNPLACED_CHUNK_BYTES // (along * master.numpy.itemsize)))
    samples = ArraySpec(
        "unplaced/samples",
        (count, master.shape[-1]),
        (traces, along),
        master.dtype,
        ("unplaced", master.dims[-1]),
        master.codec,
        (),
        master.fill,
    )
    arrays = {
        "unplaced": samples,
        "unplaced_headers": ArraySpec("unplaced/raw_headers", (count,), (traces,), "raw240", ("unplaced",)),
    }
    if extra:
        path, dims = "unplaced/raw_header_extensions", ("unplaced", "byte")
        arrays["unplaced_extensions"] = ArraySpec(path, (count, extra), (traces, extra), "uint8", dims)
    return arrays


def _master_spec(
    store: Store, survey: Survey, master: Master, dims: tuple[str, ...], *, spilled: bool
) -> tuple[ArraySpec, tuple[int, ...]]:
    """The master, and how many of its traces a block has."""
    assert survey.grid is not None
    chunks, shards = _chunks_and_shards(master, store, survey)
    dtype = survey.fmt.sample_format.dtype
    shape = (*survey.grid.shape, survey.fmt.n_samples)
    chunks = chunks or _default_chunks(survey, shape)
    if shards is None:
        shards = shards_by_default(shape, chunks, np.dtype(dtype).itemsize)
    spec = ArraySpec(
        MASTER, shape, chunks, dtype, dims, master.codec, shards if shards != chunks else (), _fill(dtype)
    )
    return spec, _block(spec, survey, near=store.local, spilled=spilled)


def _chunks_and_shards(
    master: Master, store: Store, survey: Survey
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunks and shards where they do not depend on the shape, () and None where they do.

    Raises:
        InputRefused: They do not fit the dimensions or each other.
    """
    rank = len(survey.names) + 1
    chunks = tuple(master.chunks)
    if chunks and (len(chunks) != rank or min(chunks) < 1):
        raise InputRefused(
            f"chunks {chunks} do not fit a volume of {', '.join(survey.names)} and samples; give {rank} positive "
            "numbers"
        )
    if master.shards == [0] or (not master.shards and store.local):
        return chunks, ()
    if not master.shards:
        return chunks, None
    shards = tuple(master.shards)
    if not chunks:
        shape = (*(survey.grid.shape if survey.grid else (1,) * (rank - 1)), survey.fmt.n_samples)
        chunks = _default_chunks(survey, shape)
        if rank > 3 and survey.grid is None and not survey.placement.chunks:
            raise InputRefused("shards of more than three dimensions depend on the chunks; give chunks too")
    if len(shards) != rank or any(s < 1 or s % c for s, c in zip(shards, chunks, strict=True)):
        raise InputRefused(
            f"shards {shards} are not multiples of the chunks {chunks}; give multiples, one per axis"
        )
    return chunks, shards


def _default_chunks(survey: Survey, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The template's chunks, or those by rank."""
    if survey.placement.chunks:
        return survey.placement.chunks
    overrides, fixed = survey.placement.overrides, {}
    if overrides.HasDuplicates or overrides.NonBinned:
        fixed = {survey.names.index(TRACE): overrides.chunksize or 1}
    return chunks_by_default(shape, np.dtype(survey.fmt.sample_format.dtype).itemsize, fixed=fixed)


def _block(spec: ArraySpec, survey: Survey, *, near: bool, spilled: bool) -> tuple[int, ...]:
    """Traces per block and dimension: whole shards, long enough in the file's fast direction for large ranges.

    A spilled file is sorted by the index, so it is best read along the fastest dimension.
    """
    grid = survey.grid
    assert grid is not None
    unit = spec.unit[:-1]
    numbers = grid.trace_numbers
    # The dimension along which neighbours in the grid are most often neighbours in the file is the fast one.
    side = max(2, int(SAMPLED_CELLS ** (1 / numbers.ndim)))
    corner = numbers[tuple(slice(0, side) for _ in numbers.shape)]
    neighbours = [
        int((np.abs(np.diff(corner, axis=axis)) == 1).sum()) if numbers.shape[axis] > 1 else 0
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
        while (
            block[fast] < numbers.shape[fast]
            and (int(np.prod(block)) + int(np.prod(block)) * unit[fast] // block[fast]) * samples
            <= BLOCK_BYTES
        ):
            block[fast] += unit[fast]
    return tuple(block)


def _scattered(survey: Survey, master: Master, store: Store) -> bool:
    """Whether blocks of the grid would read the file in ranges too short to be worth a request each."""
    grid = survey.grid
    assert grid is not None
    files = survey.files
    if files.size <= SMALL_FILE_BYTES and files.local:
        return False
    _, block = _master_spec(store, survey, master, ("",) * (len(grid.shape) + 1), spilled=False)
    counts = [-(-n // b) for n, b in zip(grid.shape, block, strict=True)]
    block_of_cell = np.ravel_multi_index(
        np.ix_(*(np.arange(n) // b for n, b in zip(grid.shape, block, strict=True))), counts
    )
    live = grid.trace_numbers >= 0
    block_of_trace = np.full(files.n_traces, -1, np.int64)
    block_of_trace[grid.trace_numbers[live]] = np.broadcast_to(block_of_cell, grid.shape)[live]
    runs = 1 + int(np.count_nonzero(np.diff(block_of_trace[block_of_trace >= 0])))
    return files.n_traces * survey.fmt.trace_bytes / runs < SCATTERED_BYTES[files.local]


def _finish(
    stage: Stage,
    survey: Survey,
    records: list[Record],
    as_words: list[Record],
    request: str,
    expected: Expected,
    sums: dict[int, Sums],
) -> dict[str, Any]:
    """Store what all blocks together tell, make every array visible, and commit."""
    store, body, fmt, grid, files = stage.store, stage.plan.body, survey.fmt, survey.grid, survey.files
    assert grid is not None
    placement = survey.placement
    specs = {name: ArraySpec.from_json(plain) for name, plain in body["arrays"].items()}
    master = specs["master"]
    words = (
        [raw_samples_spec(specs[name]) for name in ("master", "unplaced") if name in specs]
        if as_words
        else []
    )
    objects: dict[str, list[Stored]] = {spec.path: [] for spec in (*specs.values(), *words)}
    for record in (*records, *as_words):
        for stored in record.objects:
            objects[stored.key.partition("/c/")[0]].append(stored)
    shown: list[tuple[str, dict[str, Any]]] = []

    def small(spec: ArraySpec, values: np.ndarray, attributes: dict[str, Any]) -> None:
        shown.append(
            put_array(stage, spec.path, metadata_of(spec, attributes), put_values(stage, spec, values))
        )

    def large(spec: ArraySpec, attributes: dict[str, Any]) -> None:
        shown.append(put_array(stage, spec.path, metadata_of(spec, attributes), objects[spec.path]))

    # First, because this tells whether every byte was read: nothing is shown of files that were not read whole.
    sources, ends = _sources(
        files, [s for r in records for s in r.facts["segments"]] + body["spill_segments"]
    )
    _refuse_misread(stage, files, sources, expected, sums)
    header = ends[0][0]
    binary = binary_header(header[3200:3600].tobytes(), fmt.byte_order)

    axes = [(axis.name, axis.values) for axis in grid.axes]
    depth = placement.domain == "depth"
    tallies = merge_tallies(r.facts["tallies"] for r in records)
    axes.append(sample_axis(fmt, commonest(tallies, "delay"), depth=depth))
    for name, values in axes:
        fits = values.dtype.kind == "i" and np.abs(values).max(initial=0) <= np.iinfo(np.int32).max
        dtype = "int32" if fits else ("float64" if values.dtype.kind == "f" else "int64")
        units = units_of("time" if name == "time" else quantity(name).kind, binary)
        small(ArraySpec(name, values.shape, values.shape, dtype, (name,)), values.astype(dtype), units)
    labelled = {}
    if placement.coordinates:
        labelled = {"coordinates": " ".join(one.name for one in placement.coordinates)}
    together = _shared_coordinates(stage, survey)
    system = binary["measurement_system_code"]
    for one in placement.coordinates:
        unit = coordinate_unit(tallies, system) if one.scaled else None
        about: dict[str, Any] = {"_FillValue": NAN_FILL} if _fill(one.dtype) == "NaN" else {}
        about |= {"unitsV1": unit} if unit else {} if one.scaled else units_of(one.kind, binary)
        if one.name in specs:
            large(specs[one.name], about)
        else:
            small(_shared_spec(one, together[one.name].shape), together[one.name], about)
    flat: dict[str, Any] = {"shape": grid.shape, "chunks": _small_chunks(grid.shape), "dims": grid.names}
    small(ArraySpec("trace_mask", dtype="bool", **flat), grid.trace_numbers >= 0, labelled)
    small(ArraySpec("trace_number", dtype="int64", **flat), grid.trace_numbers, labelled)
    text = {"textHeader": textual_header(header[:3200].tobytes()), "binaryHeader": binary}
    shown.append(put_array(stage, "segy_file_header", _scalar_text(text), []))
    shown.append(put_group(stage, "segy_files"))
    for number, raws in enumerate(ends):
        shown.append(put_group(stage, f"segy_files/{number}"))
        for name, raw in zip(("header", "trailer"), raws, strict=True):
            if raw.size:
                path = f"segy_files/{number}/{name}"
                small(
                    ArraySpec(path, raw.shape, (min(raw.size, 1 << 22),), "uint8", (f"{name}_byte",)), raw, {}
                )
    unplaced = unplaced_traces(grid, files.n_traces)
    if unplaced.size:
        shown.append(put_group(stage, "unplaced"))
        for name in ("unplaced", "unplaced_headers", "unplaced_extensions"):
            if name in specs:
                large(specs[name], {})
        chunks = (min(unplaced.size, 1 << 20),)
        small(
            ArraySpec("unplaced/trace_number", unplaced.shape, chunks, "int64", ("unplaced",)), unplaced, {}
        )
    for spec in words:
        large(spec, labelled if spec.shape == master.shape else {})
    if not words:
        shown += _exceptions(stage, records)
    for name in ("headers", "raw_headers", "raw_header_extensions"):
        if name in specs:
            large(specs[name], labelled)
    stats = merge_stats([np.array(r.facts["stats"]) for r in records if r.facts["stats"] is not None])
    extremes = merge_extremes(r.facts["extremes"] for r in records)
    described = (
        labelled | ({"_FillValue": NAN_FILL} if master.fill == "NaN" else {}) | statistics(stats, extremes)
    )
    described |= {
        "dead_coded_traces": sum(r.facts["dead"] for r in records),
        "raw_bytes": int(stats[LIVE]) * fmt.n_samples * master.numpy.itemsize,
        "stored_bytes": sum(o.bytes for o in objects[MASTER]),
    }
    large(master, described)

    notes = [*survey.notes, *doubts(tallies, fmt, depth=depth, measurement_system=system)]
    if unplaced.size:
        notes.append(
            f"Auxiliary traces by their code (byte 29): {unplaced.size:,}; they have no cell and are kept in unplaced."
        )
    if described["dead_coded_traces"]:
        notes.append(
            f"Dead traces: {described['dead_coded_traces']:,} by their code (byte 29 is 2), "
            f"{described['zero_traces']:,} by zeros alone."
        )
    scales = [axis_scale(np.asarray(values)) for _, values in axes]
    level = {"path": MASTER, "scale": [s for s, _ in scales], "translation": [t for _, t in scales]}
    created_on = stage.plan.created_on
    ome = ome_attributes(MASTER, master.dims, [level], described["min"], described["max"])
    root = new_root(
        mdio_attributes(placement.template, created_on, MASTER, given(placement.overrides))
        | ({"ome": ome} if len(master.dims) in OME_DIMENSIONS else {})
        | {
            "seismill": {
                "format": 1,
                "writer": stage.plan.versions["seismill"],
                "created_on": created_on,
                "sources": [one | sums.get(file, {}) | {"notes": notes} for file, one in enumerate(sources)],
                "index": survey.index_json() | {"placement": survey.placement_json()},
                "levels": [level],
                "stages": {MASTER: {"plan": stage.plan.digest, "request": request}},
                "exceptions": sum(r.facts["exceptions"] for r in records),
                "unplaced": int(unplaced.size),
            },
        }
    )
    members(root).update(dict(shown))
    publish_root(stage, root)
    log.info("%s: %d traces of %s", store.url, files.n_traces, files.name)
    return root


def _shared_coordinates(stage: Stage, survey: Survey) -> dict[str, np.ndarray]:
    """The coordinates that blocks share, by name."""
    assert survey.grid is not None
    if not shared(survey.placement):
        return {}
    blocks = range(block_count(survey.grid.shape, tuple(stage.plan.body["block"])))

    def part(block: int) -> bytes:
        try:
            return stage.store.get(coordinates_key(stage.plan, block))
        except FileNotFoundError:
            return b""  # nothing is live there

    parts = (
        found for at in range(0, len(blocks), 64) for found in on_io(part, blocks[at : at + 64]) if found
    )
    return merged(survey.placement, survey.grid.shape, parts)


def _shared_spec(one: Coordinate, shape: tuple[int, ...]) -> ArraySpec:
    return ArraySpec(one.name, shape, _small_chunks(shape), one.dtype, one.dims, fill=_fill(one.dtype))


def _sources(
    files: Files, segments: list[Any]
) -> tuple[list[dict[str, Any]], list[tuple[np.ndarray, np.ndarray]]]:
    """What the volume says of each file, and its bytes before the first and after the last trace.

    Raises:
        IntegrityFailure: Some byte of a file was read never or twice.
    """
    of_file: dict[int, list[Segment]] = {}
    for file, offset, length, crc in segments:
        of_file.setdefault(file, []).append((offset, length, crc))
    sources, ends = [], []
    for file, (one, fmt) in enumerate(zip(files.listed, files.formats, strict=True)):
        tail_at = fmt.trace_offset(fmt.n_traces)
        head = np.frombuffer(files.read(file, 0, fmt.first_trace_offset), np.uint8)
        tail = head[:0]
        if fmt.file_size > tail_at:
            tail = np.frombuffer(files.read(file, tail_at, fmt.file_size - tail_at), np.uint8)
        read = of_file.get(file, []) + checksums(head, 0) + (checksums(tail, tail_at) if tail.size else [])
        parts, whole = whole_checksums(read, fmt.file_size)
        ends.append((head, tail))
        sources.append(
            {
                "url": one.url,
                "bytes": one.size,
                "etag": one.identity,
                "first_trace": int(files.firsts[file]),
                "trace_count": fmt.n_traces,
                "crc32c": f"{whole:08x}",
                "crc32c_part_bytes": PART_BYTES,
                "crc32c_parts": [f"{part:08x}" for part in parts],
                "file": fmt.to_json(),
            }
        )
    return sources, ends


def _refuse_misread(
    stage: Stage,
    files: Files,
    sources: list[dict[str, Any]],
    expected: Expected,
    sums: dict[int, Sums],
) -> None:
    """Return if what was read of every file is what its store has of it, and what is expected of it.

    A range comes without a checksum of its own, so a bit that turned over on the way is only seen here. S3 (full-object
    CRC32C) and GCS keep one of the whole, and so does every store of what was written here; for other objects there is
    what is expected, and TLS.

    Raises:
        IntegrityFailure: It is not; the next run reads everything again.
    """

    def known(file: int) -> str:
        with files.reading(file) as source:
            return str(source.crc32c)

    try:
        for file, crc in enumerate(on_io(known, range(len(sources)))):
            url, own = sources[file]["url"], sources[file]["crc32c"]
            before = sums.get(file, {}).get("crc32c", "")
            for other, known_as in ((crc, "its store has"), (before, "with its MD5 it had")):
                if other and other != own:
                    raise IntegrityFailure(
                        f"{url} was read with the CRC32C {own}, but {known_as} {other}: bytes were damaged on the way; "
                        "run the same command again, which reads all of it anew"
                    )
            expected.refuse(file, {"crc32c": own})
    except IntegrityFailure:
        for digest in {stage.plan.digest, *(s["digest"] for s in [stage.plan.body["spill"]] if s)}:
            clear_run(stage.store, digest, ("ledger",))
        raise


def _checked_again(
    store: Store, root: dict[str, Any], request: str, expected: Expected, files: Files, compute: Compute
) -> None:
    """Return if a volume was made of files that have what is expected of them now.

    Raises:
        IntegrityFailure: One has another checksum.
    """
    known = noted_of(root["attributes"]["seismill"]["sources"])
    for file in expected.said:
        expected.refuse(file, known[file])
    unread = [file for file in expected.of_kind("md5") if "md5" not in known[file]]
    if unread:
        checked_before(store, folder_of(request), expected, unread, files.reading, compute)
        clear_run(store, request)


def put_values(stage: Stage, spec: ArraySpec, values: np.ndarray) -> list[Stored]:
    """Store a small array that is in memory, chunk by chunk."""
    stored = []
    for position in np.ndindex(*(-(-n // c) for n, c in zip(spec.shape, spec.chunks, strict=True))):
        part = values[tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, spec.chunks, strict=True))]
        chunk = np.full(spec.chunks, spec.fill_value, spec.numpy)
        chunk[tuple(slice(0, n) for n in part.shape)] = part
        data = encode_chunk(spec, chunk)
        stage.settle(spec.key(position), data)
        stored.append(Stored(spec.key(position), len(data), crc32c(data)))
    return stored


def _small_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Whole rows, up to a few million cells."""
    chunks: list[int] = []
    room = SMALL_ARRAY_CELLS
    for n in reversed(shape):
        chunks.insert(0, min(n, max(1, room)))
        room //= chunks[0]
    return tuple(chunks)


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
    shown = [put_group(stage, "sample_exceptions")]
    for name, column, dtype in (("trace_number", 0, "int64"), ("sample", 1, "int32"), ("word", 2, "uint32")):
        spec = ArraySpec(
            f"sample_exceptions/{name}", (len(rows),), (min(len(rows), 1 << 20),), dtype, ("exception",)
        )
        values = rows[:, column].astype(dtype)
        shown.append(put_array(stage, spec.path, metadata_of(spec, {}), put_values(stage, spec, values)))
    return shown


def _dry_run(store: Store, survey: Survey, master: Master, expected: Expected) -> dict[str, Any]:
    """What would be stored, without writing."""
    notes = [*survey.notes, *expected.notes(expected.of_kind("md5")), *expected.doubts]
    if survey.grid is None:
        notes.append(
            "the headers do not follow a regular grid: the source would be read once and spilled first"
        )
        return {"dry_run": True, "volume": store.url, "stage": "ingest", "arrays": [], "notes": notes}
    body = _layout(store, survey, master, {})
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
