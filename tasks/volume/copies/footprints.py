"""The memory that blocks of copies take, and the reads and shards that fit in the memory of the run."""

import math
from collections.abc import Sequence
from contextlib import suppress

from tasks.volume.arrays.codecs import encoded_bound, is_zfp
from tasks.volume.arrays.foreign_documents import reading_bytes
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import AS_FOUND, COPY_SHARD_BYTES, ArraySpec, round_up
from tasks.volume.blocks import cpu_count
from tasks.volume.derived.readings import Reading, fewest_readings
from tasks.volume.derived.superblocks import SuperBlocks, super_blocks
from tasks.volume.memory import enough_mb
from tasks.volume.outcomes import InputRefused

LEAST_SHARD_BYTES = 8 << 20  # raw


def fitted(
    volume: Volume, specs: Sequence[ArraySpec], memory_bytes: int
) -> tuple[list[ArraySpec], list[Reading]]:
    """Return copies, in smaller shards if necessary, and the readings that fit in memory.

    Raises:
        InputRefused: No block fits; the sentence says how much memory is needed.
    """
    try:
        return _fitted(volume, specs, memory_bytes)
    except InputRefused as refusal:
        enough = max(memory_bytes, 1 << 20)
        while True:
            enough += enough // 16 + 1
            with suppress(InputRefused):
                _fitted(volume, specs, enough)
                break
        raise InputRefused(f"{refusal}; {enough_mb(enough)} of memory would do") from None


def _fitted(
    volume: Volume, specs: Sequence[ArraySpec], memory_bytes: int
) -> tuple[list[ArraySpec], list[Reading]]:
    master, shard_bytes, smaller = volume.spec(volume.master), COPY_SHARD_BYTES, list(specs)
    while True:

        def budget(group: Sequence[ArraySpec]) -> int:
            return (memory_bytes - beside_samples(master, group)) // times_held(volume, group)

        try:
            return smaller, fewest_readings(master.shape, smaller, budget, chunks=master.chunks)
        except InputRefused:
            # Shards are held while they are joined: smaller ones leave room for samples.
            shard_bytes //= 2
            sharded = [spec for spec in smaller if spec.shards]
            if not sharded or shard_bytes < LEAST_SHARD_BYTES:
                raise
            bare = [spec.at(spec.path, shards=()) for spec in smaller]
            again = shared_out_in_shards(bare, master.chunks, shard_bytes)
            smaller = [new if old.shards else old for old, new in zip(smaller, again, strict=True)]


def shared_out_in_shards(
    specs: Sequence[ArraySpec], chunks: Sequence[int], shard_bytes: int = COPY_SHARD_BYTES
) -> list[ArraySpec]:
    """Return copies in shards that divide the super-block of their chunks and the master's."""
    block = super_blocks(specs[0].shape, specs, 1 << 62, chunks=chunks).block
    result = []
    for spec in specs:
        shard = list(spec.chunks)
        for axis in reversed(range(len(block))):
            room = shard_bytes // (math.prod(shard) * spec.numpy.itemsize)
            per_block = round_up(block[axis], spec.chunks[axis]) // spec.chunks[axis]
            fitting_counts = [n for n in range(1, per_block + 1) if per_block % n == 0 and n <= room]
            shard[axis] = spec.chunks[axis] * max(fitting_counts, default=1)
        result.append(spec.at(spec.path, shards=tuple(shard) if tuple(shard) != spec.chunks else ()))
    return result


def block_memory(volume: Volume, specs: Sequence[ArraySpec], blocks: SuperBlocks) -> int:
    """Return the most bytes that one block of some copies takes."""
    master = volume.spec(volume.master)
    itemsize = max(spec.numpy.itemsize for spec in (master, *specs))
    samples = math.prod(blocks.hull) * itemsize
    return times_held(volume, specs) * samples + beside_samples(master, specs)


def times_held(volume: Volume, specs: Sequence[ArraySpec]) -> int:
    """Return how many times the samples of a block are in memory at once.

    Once for copies in ZFP, and once for other copies; once more unchanged, if some are or may be NaN or Inf;
    and once in encoded form, if shards or another tool's objects are read.
    """
    master = volume.spec(volume.master)
    kinds = {is_zfp(spec) for spec in specs}
    finite = master.numpy.kind in "iub" or volume.array_attributes(volume.master).get("nonfinite_count") == 0
    before = kinds == {True} and not finite
    return len(kinds) + before + bool(master.shards or master.codec == AS_FOUND)


def beside_samples(master: ArraySpec, specs: Sequence[ArraySpec]) -> int:
    """Return the bytes of shards before they are stored, and of chunks while they are encoded."""
    # One shard at a time: its chunks, and all of them joined.
    shards = max((2 * encoded_bound(s) * math.prod(s.chunks_per_shard) for s in specs if s.shards), default=0)
    chunks = 2 * max(_encoding_bytes(spec) for spec in specs) + master.chunk_bytes
    foreign = reading_bytes(master, local=False) if master.codec == AS_FOUND else 0
    return shards + cpu_count() * chunks + foreign


def _encoding_bytes(spec: ArraySpec) -> int:
    """Return the bytes that a chunk and its stored form take; rounding has a few arrays in between."""
    return spec.chunk_bytes * (4 if spec.codec.startswith("rounded:") else 1) + encoded_bound(spec)
