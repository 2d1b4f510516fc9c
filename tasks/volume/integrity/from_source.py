"""Restore objects of a master, and those stored with it, from its source.

The blocks that stored these objects run again into memory, as their plan says. The source need not be the same file:
the checksum of each object is compared before the object is restored.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.arrays.assembly import stored_object, whole_chunk
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import RAW_SAMPLES, ArraySpec
from tasks.volume.blocks import on_io
from tasks.volume.images.listing import VoxelFile, find_files
from tasks.volume.images.slab import read_block, stored_as
from tasks.volume.images.stack import Stack
from tasks.volume.ingest.block import (
    coordinates_key,
    exceptions_of,
    ingest_block,
    raw_samples_block,
    unplaced_blocks,
)
from tasks.volume.ingest.coordinates import merged, shared
from tasks.volume.ingest.intake import Intake, intake_of
from tasks.volume.ingest.moved import found_again
from tasks.volume.integrity.check import position_of
from tasks.volume.integrity.from_volume import plan_of_master, values_of
from tasks.volume.limits import DEFAULT_LIMITS
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.ledger import Record
from tasks.volume.protocol.plan import Plan
from tasks.volume.protocol.stage import Job
from tasks.volume.protocol.stored import Stored
from tasks.volume.store.objects import Source
from tasks.volume.store.source_options import of_sources
from tasks.volume.store.writable import WritableStore

EXCEPTIONS = ("trace_number", "sample", "word")


class Kept(WritableStore):
    """A volume's store that keeps the wanted objects in memory instead of writing them."""

    def __init__(self, url: str, options: StorageOptions, wanted: Collection[str]) -> None:
        """Keep these keys, and what blocks leave for the end of their stage."""
        super().__init__(url, options)
        self._wanted = frozenset(wanted)
        self.kept: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        """Keep an object, or forget it."""
        if key in self._wanted or "/parts/" in key:
            self.kept[key] = bytes(data)

    def create(self, key: str, data: bytes, *, before: Callable[[], None] = lambda: None) -> bool:
        """Keep an object as `put` does; nothing is there already."""
        self.put(key, data)
        return True

    def get(self, key: str) -> bytes:
        """Return an object as it was kept, or as the volume has it."""
        return self.kept[key] if key in self.kept else super().get(key)


@dataclass(frozen=True)
class _Again(Job):
    """A block whose objects are kept."""

    into: Any = None
    plan: Any = None

    def open(self) -> tuple[WritableStore, Plan]:
        """Return the store that keeps, and the plan."""
        return self.into, self.plan

    def open_ahead(self) -> tuple[WritableStore, Plan]:
        """As `open`: nothing is written, so the lock is not looked at."""
        return self.open()

    def put(self, store: WritableStore, spec: ArraySpec, position: tuple[int, ...], data: bytes) -> Stored:
        """Keep one object; no run can take over what is not written."""
        store.put(spec.key(position), data)
        return Stored.chunk(spec, position, data)


def made_from_source(
    volume: Volume,
    keys: Collection[str],
    options: StorageOptions,
    memory_bytes: int,
    places: Sequence[str] = (),
) -> Iterator[tuple[str, bytes]]:
    """Yield key and bytes of the objects that the source determines, one block in memory at a time.

    Args:
        volume: The volume.
        keys: Keys of chunks or shards.
        options: Options of the source's store.
        memory_bytes: Most bytes that a block may use.
        places: URLs of the files now, in their order, if they were moved.

    Raises:
        InputRefused: The source is not there any more.
    """
    plan = plan_of_master(volume)
    if plan.body["verb"] == "ingest_images":
        stack, spec = (
            _as_it_is_now(Stack.from_json(plan.body["stack"]), options, places),
            volume.spec(volume.master),
        )
        for key in sorted(key for key in keys if key.startswith(f"{spec.path}/c/")):
            yield key, _of_images(stack, spec, key, options)
        return
    # The file may have been put back since, with another time stamp. What was spilled is gone: the file is read.
    sources = [source | {"identity": ""} for source in plan.body["sources"]]
    if places:
        sources = [source | {"url": url} for source, url in zip(sources, places, strict=True)]
    plan = replace(plan, body=plan.body | {"sources": sources, "spill": {}})
    store = Kept(volume.store.url, volume.store.options, keys)
    intake = intake_of(store, plan, options)

    def carry_out(block: int) -> Record:
        where = store.url, options, plan.digest, 0, block, memory_bytes, True, DEFAULT_LIMITS
        job = _Again(*where, into=store, plan=plan)
        return (raw_samples_block if block >= _blocks(intake) else ingest_block)(job)

    of_block: dict[int, list[str]] = {}
    rest = []
    for key in sorted(keys):
        block = _block_of(intake, key)
        if block is None:
            rest.append(key)
        else:
            of_block.setdefault(block, []).append(key)
    for block, wanted in sorted(of_block.items()):
        carry_out(block)
        for key in wanted:
            yield key, store.kept.pop(key, b"")
        store.kept.clear()
    yield from _of_all_blocks(volume, store, plan, intake, rest, carry_out)


def _blocks(intake: Intake) -> int:
    """Return the number of blocks that store values; the same number of blocks of raw samples follows."""
    return intake.blocks + unplaced_blocks(intake.specs)


def _block_of(intake: Intake, key: str) -> int | None:
    """Return the block that stored an object; None for what was stored at the end."""
    path = key.partition("/c/")[0]
    words = path.rpartition("/")[2] == RAW_SAMPLES
    specs = {spec.path: spec for spec in intake.specs.values()}
    if not words and path not in specs:
        return None
    first = _blocks(intake) if words else 0
    position = position_of(key)
    if path.startswith("unplaced/"):
        return first + intake.blocks + position[0]
    unit = (intake.master if words else specs[path]).unit
    shape, block = intake.trace_numbers.shape, intake.block
    counts = [-(-n // b) for n, b in zip(shape, block, strict=True)]
    at = [p * u // b for p, u, b in zip(position, unit, block, strict=False)]
    return first + int(np.ravel_multi_index(at, counts))


def places_of(volume: Volume, source: str, options: StorageOptions, check: Callable[[], None]) -> list[str]:
    """Return where the files that a volume was made of are now, in their order.

    Files of SEG-Y are recognized by size and CRC32C, images by their number and sizes: of these no checksum is kept.

    Raises:
        InputRefused: The files are not those of the volume.
    """
    if volume.state.sources[0].crc32c:
        return found_again(volume.state.sources, source, options, check)
    stored = [file for file, _ in Stack.from_json(plan_of_master(volume).body["stack"]).files]
    files = find_files(source, options)
    # Slices that say where they lie may be stored in another order than that of their names.
    names, by_name = [_name(file) for file in stored], {_name(file): file for file in files}
    if len(by_name) == len(files) and set(by_name) == set(names):
        files = [by_name[name] for name in names]
    if [file.bytes for file in files] != [file.bytes for file in stored]:
        raise InputRefused(
            f"{source} names {len(files)} files of other sizes than the {len(stored)} that {volume.store.url} was made "
            f"of, such as {stored[0].url}; name these with --source"
        )
    return [file.url for file in files]


def _name(file: VoxelFile) -> str:
    return file.url.rpartition("/")[2]


def _as_it_is_now(stack: Stack, options: StorageOptions, places: Sequence[str]) -> Stack:
    """Return the stack of the same files at their present places and with their present ETags."""

    def look(file: VoxelFile) -> VoxelFile:
        with closing(Source(file.url, of_sources(options))) as source:
            return replace(file, identity=source.identity)

    listed = [file for file, _ in stack.files]
    if places:
        listed = [replace(file, url=url) for file, url in zip(listed, places, strict=True)]
    files = on_io(look, listed)
    return Stack(tuple((file, slices) for file, (_, slices) in zip(files, stack.files, strict=True)))


def _of_images(stack: Stack, spec: ArraySpec, key: str, options: StorageOptions) -> bytes:
    wanted = tuple(
        slice(place * unit, min((place + 1) * unit, n)) if apart else slice(0, n)
        for place, unit, n, apart in zip(position_of(key), spec.unit, spec.shape, stack.apart, strict=True)
    )
    slab = stored_as(read_block(stack, wanted, options), spec.numpy)

    def chunk_of(spec: ArraySpec, region: tuple[slice, ...]) -> np.ndarray:
        inside = [slice(r.start - w.start, r.stop - w.start) for r, w in zip(region, wanted, strict=True)]
        return whole_chunk(spec, slab[tuple(inside)])

    return stored_object(spec, position_of(key), chunk_of)


def _of_all_blocks(
    volume: Volume, store: Kept, plan: Plan, intake: Intake, keys: list[str], carry_out: Any
) -> Iterator[tuple[str, bytes]]:
    """Objects of small arrays: bytes of the files beside their traces, and what all blocks together tell."""
    values: dict[str, np.ndarray] = {}
    for path in sorted({key.partition("/c/")[0] for key in keys}):
        if path.startswith("segy_files/"):
            values[path] = _beside_traces(intake, path)
    common = {coordinate.name for coordinate in shared(intake.placement)}
    if any(path in common or path.startswith("sample_exceptions/") for path in _paths(keys)):
        records = [carry_out(block) for block in range(_blocks(intake))]
        if any(record.facts["exceptions"] for record in records):
            rows = exceptions_of(store, records)
            values |= {f"sample_exceptions/{name}": rows[:, i] for i, name in enumerate(EXCEPTIONS)}
        parts = (store.kept.get(coordinates_key(plan, block)) for block in range(intake.blocks))
        values |= merged(intake.placement, intake.trace_numbers.shape, (part for part in parts if part))
    for key in keys:
        path = key.partition("/c/")[0]
        if path in values:
            yield key, stored_object(volume.spec(path), position_of(key), values_of(values[path]))


def _paths(keys: list[str]) -> list[str]:
    return [key.partition("/c/")[0] for key in keys]


def _beside_traces(intake: Intake, path: str) -> np.ndarray:
    """Return the bytes of a file before its first trace or after its last."""
    _, number, name = path.split("/")
    files, file = intake.files, int(number)
    fmt = files.formats[file]
    start = 0 if name == "header" else fmt.trace_offset(fmt.n_traces)
    stop = fmt.first_trace_offset if name == "header" else fmt.file_size
    return np.frombuffer(files.read(file, start, stop - start), np.uint8)
