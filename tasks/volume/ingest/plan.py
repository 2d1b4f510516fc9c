"""Plan an ingest of SEG-Y: chunks, shards, blocks and the arrays that it makes, and what memory they take.

Arithmetic only, but for the grid of a survey that was read before.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tasks.parameters import Index, Master
from tasks.volume.arrays.chunking import many_objects
from tasks.volume.arrays.codecs import crc32c
from tasks.volume.arrays.spec import MASTER, ArraySpec, spec_of
from tasks.volume.arrays.volume_root import Root
from tasks.volume.blocks import Compute, block_count, cpu_count
from tasks.volume.ingest.block import block_memory
from tasks.volume.ingest.checksums import Expected
from tasks.volume.ingest.master_plan import block_of_traces, fill_of, is_scattered, master_spec_of
from tasks.volume.ingest.part_to_try import parts_to_try
from tasks.volume.ingest.spill import fit_spill
from tasks.volume.ingest.survey import Survey
from tasks.volume.memory import enough_mb
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.owner import Fit
from tasks.volume.protocol.summary import fitting, planned_row, promised
from tasks.volume.store.objects import Store

UNPLACED_CHUNK_BYTES = 4 << 20


UNPLACED_SAMPLES = 4096  # along a chunk


Follow = Callable[
    [ArraySpec, Compute], Sequence[ArraySpec]
]  # plans what follows a master; refuses what cannot be
NAMED_FILES = 3  # in a refusal


def fit_of(store: Store, survey: Survey, master: Master, follow: Follow) -> Fit:
    """Return the function that fits blocks of a survey, or of its spill, and of later stages into memory."""
    if survey.grid is None:
        return fit_spill(survey)
    spilled = is_scattered(survey, master, store)
    dims = (*survey.names, survey.placement.domain)
    spec, block = master_spec_of(store, survey, master, dims, spilled=spilled)

    def fit(compute: Compute) -> Compute:
        if spilled:
            fit_spill(survey)(compute)
        follow(spec, compute)
        return fit_blocks(compute, spec, block, survey, near=store.local, spilled=spilled)

    return fit


def fit_blocks(
    compute: Compute, spec: ArraySpec, block: tuple[int, ...], survey: Survey, *, near: bool, spilled: bool
) -> Compute:
    """Return `compute`, limited to the number of concurrent blocks that fit in memory.

    Raises:
        InputRefused: No block fits; the sentence names chunks for which one does.
    """
    need = block_memory(spec, block, survey.fmt, cpu_count(), spilled=spilled)
    if need <= compute.memory_bytes:
        return fitting(compute, need, "a block")
    smaller, least = spec, need
    while least > compute.memory_bytes and max(smaller.chunks[:-1]) > 1:
        widest = max(smaller.chunks[:-1])
        fewer = tuple(c // 2 if c == widest else c for c in smaller.chunks[:-1])
        smaller = smaller.at(spec.path, chunks=(*fewer, smaller.chunks[-1]), shards=())
        its_block = block_of_traces(smaller, survey, near=near, spilled=spilled)
        least = block_memory(smaller, its_block, survey.fmt, cpu_count(), spilled=spilled)
    what = f"a block of {block} traces in chunks of {spec.chunks}"
    what += f" and shards of {spec.shards}" if spec.shards else ""
    ways = f"give it {enough_mb(need)}"
    if least <= compute.memory_bytes:
        ways += f", or use chunks of {smaller.chunks}{' without shards (0)' if spec.shards else ''}"
    raise InputRefused(
        f"{what} needs {enough_mb(need)}, but the run may use {compute.memory_bytes / 1e6:,.0f} MB; {ways}"
    )


def layout_of(store: Store, survey: Survey, master: Master, spilled: dict[str, Any]) -> dict[str, Any]:
    """Return the rest of the plan: arrays, blocks and grid."""
    grid = survey.grid
    assert grid is not None
    dims = (*survey.names, survey.placement.domain)
    spec, block = master_spec_of(store, survey, master, dims, spilled=bool(spilled))
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
    for coordinate in survey.placement.coordinates:
        if coordinate.dims == survey.names:
            arrays[coordinate.name] = ArraySpec(
                coordinate.name, dtype=coordinate.dtype, fill=fill_of(coordinate.dtype), **flat
            )
    unplaced = survey.files.n_traces - grid.placed
    if unplaced:
        arrays |= _unplaced_arrays(spec, unplaced, extra)
    return {
        "arrays": {name: array.to_json() for name, array in arrays.items()},
        "block": block,
        "grid": crc32c(np.ascontiguousarray(grid.trace_numbers).view(np.uint8).reshape(-1)),
        "predicted": survey.predicted,
        "spill": {k: v for k, v in spilled.items() if k != "segments"},
        "spill_segments": spilled.get("segments", []),
    }


def _unplaced_arrays(master: ArraySpec, count: int, extra: int) -> dict[str, ArraySpec]:
    """Return the arrays for traces without a cell, one chunk of traces at a time."""
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


def how_ingests_differ(root: Root, survey: Survey, master: Master) -> str:
    """Return the differences between the ingest that made a volume and the requested one, field by field."""
    state = root.state
    sources = state.sources
    files = [(file.url, file.size) for file in survey.files.listed]
    there = [(source.url, source.bytes) for source in sources]
    if not state.has("index"):
        return "it holds images"
    result = spec_of(MASTER, root.members[MASTER]) if MASTER in root.members else None
    differing = []
    if files != there:
        differing.append(
            f"source {', '.join(f'{url} of {size:,} bytes' for url, size in files[:NAMED_FILES])} is asked for"
        )
    elif [file.identity for file in survey.files.listed] != [source.etag for source in sources]:
        differing.append("the source was written to since")
    before, now = state.index.get("placement", {}), json.loads(json.dumps(survey.placement_json()))
    differing += [
        f"{name} {before.get(name)}, asked for {value}"
        for name, value in now.items()
        if value != before.get(name)
    ]
    if result is not None and master.chunks and tuple(master.chunks) != result.chunks:
        differing.append(f"chunks {result.chunks}, asked for {tuple(master.chunks)}")
    if result is not None and master.codec != result.codec:
        differing.append(f"codec {result.codec}, asked for {master.codec}")
    return "; ".join(differing) or "with other chunks, shards or sample settings"


def planned(
    store: Store,
    survey: Survey,
    master: Master,
    expected: Expected,
    follow: Follow,
    compute: Compute,
    *,
    to_try: Index | None,
) -> dict[str, Any]:
    """Return what would be stored, without writing; if there is an index `to_try`, with parts for an estimate."""
    notes = [*survey.notes, *expected.notes(expected.of_kind("md5")), *expected.doubts]
    if survey.grid is None:
        notes.append(
            "the headers do not follow a regular grid: the source would be read once and spilled first"
        )
        return {"dry_run": True, "volume": store.url, "stage": "ingest", "arrays": [], "notes": notes}
    spilled = is_scattered(survey, master, store)
    if spilled:
        notes.append(
            "the traces are not in the order of the grid: the source would be read once and spilled first"
        )
    body = layout_of(store, survey, master, {"digest": ""} if spilled else {})
    spec = ArraySpec.from_json(body["arrays"]["master"])
    compute = replace(compute, needs=[])
    following = follow(spec, compute)
    block = tuple(body["block"])
    fit_blocks(compute, spec, block, survey, near=store.local, spilled=spilled)
    rows = [planned_row(array) for array in (spec, *following)]
    return {
        "dry_run": True,
        "volume": store.url,
        "stage": "ingest",
        "arrays": rows,
        "grid": [str(axis) for axis in survey.grid.axes],
        "objects": rows[0]["objects"],
        "blocks": block_count(survey.grid.shape, block),
        "memory_bytes": block_memory(spec, block, survey.fmt, cpu_count(), spilled=spilled),
        **promised(compute, store, (spec, *following)),
        **(parts_to_try(survey, spec, to_try) if to_try else {}),
        "notes": [*notes, *many_objects((spec, *following), survey.files.limits, local=store.local)],
    }
