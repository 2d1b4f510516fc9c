"""Blocks for making several copies from one read: arithmetic only.

A super-block spans, per axis, the least common multiple of the copies' stored extents and the master's chunks, so
that every stored object of every copy lies in exactly one of them and every chunk of the master is decoded once.
If that exceeds memory, axes are cut at multiples of the largest extent. Objects of the other copies that cross a cut
then belong to the block in which they start, and their part beyond the cut is read twice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.volume.arrays.spec import ArraySpec, round_up
from tasks.volume.blocks import Region
from tasks.volume.memory import enough_mb
from tasks.volume.outcomes import InputRefused

MOST_READ = 2.0  # times the master; beyond that the chunks asked for do not go together


@dataclass(frozen=True)
class SuperBlocks:
    """How the master is divided into blocks.

    Attributes:
        block: Extents of a block: they tile the master.
        hull: Extents of what one block holds in memory at most: more where objects cross its end.
        read_factor: How often the master's chunks are decoded, on average.
    """

    block: tuple[int, ...]
    hull: tuple[int, ...]
    read_factor: float


def super_blocks(
    shape: Sequence[int], copies: Sequence[ArraySpec], budget_bytes: int, *, chunks: Sequence[int]
) -> SuperBlocks:
    """Return the blocks for these copies.

    Args:
        shape: Shape of the master.
        copies: Specs of the copies.
        budget_bytes: Most bytes of samples in a block.
        chunks: The master's: one that a cut goes through is decoded in two blocks.

    Raises:
        InputRefused: Blocks that fit would read the master more than `MOST_READ` times.
    """
    extents = [[copy.unit[axis] for copy in copies] for axis in range(len(shape))]
    block = []
    for n, units, chunk in zip(shape, extents, chunks, strict=True):
        common = math.lcm(*units, chunk)
        block.append(common if common < n else max(round_up(n, unit) for unit in units))
    itemsize = max(copy.numpy.itemsize for copy in copies)
    axis = 0
    while math.prod(hull_bound(block, extents, shape)) * itemsize > budget_bytes and axis < len(shape):
        others = math.prod(hull_bound(block, extents, shape)) // block[axis] * itemsize
        room = min(block[axis], budget_bytes // max(1, others))
        block[axis] = _cut(room, max(extents[axis]), chunks[axis])
        axis += 1
    found = measured(shape, copies, block, chunks=chunks)
    samples = math.prod(found.hull)
    if samples * itemsize > budget_bytes or found.read_factor > MOST_READ:
        wanted = ", ".join(f"{copy.path} {copy.chunks}" for copy in copies)
        side = 1 << max(2, int(math.log2(max(1, budget_bytes // itemsize)) / len(shape)))
        raise InputRefused(
            f"the copies {wanted} need blocks of {enough_mb(samples * itemsize)}, but a block may take "
            f"{max(0, budget_bytes) / 1e6:,.0f} MB; give more memory, or chunk extents that divide {side}"
        )
    return found


def measured(
    shape: Sequence[int], copies: Sequence[ArraySpec], block: Sequence[int], *, chunks: Sequence[int]
) -> SuperBlocks:
    """Return blocks of these extents with the memory they need and the bytes they read."""
    extents = [[copy.unit[axis] for copy in copies] for axis in range(len(shape))]
    factor = math.prod(
        _read_factor(n, b, units, chunk)
        for n, b, units, chunk in zip(shape, block, extents, chunks, strict=True)
    )
    return SuperBlocks(tuple(block), tuple(hull_bound(block, extents, shape)), factor)


def _cut(room: int, largest: int, chunk: int) -> int:
    """Return the best multiple of `largest` up to `room`: the one that cuts the fewest chunks of the master."""
    common = math.lcm(largest, chunk)
    if room >= common:
        return room // common * common
    return max((n for n in range(largest, room + 1, largest) if common % n == 0), default=largest)


def _read_factor(n: int, block: int, units: Sequence[int], chunk: int) -> float:
    """Return how often blocks decode each chunk of the master along one axis, on average."""
    decoded = 0
    for start in range(0, n, block):
        span = _span(slice(start, min(start + block, n)), [(unit, n) for unit in units])
        decoded += -(-span.stop // chunk) - span.start // chunk
    return decoded / -(-n // chunk)


def hull_bound(block: Sequence[int], extents: Sequence[Sequence[int]], shape: Sequence[int]) -> list[int]:
    """Return the most samples per axis that one block reads: more than its span if objects cross its end."""
    return [
        min(b + max((u if b % u else 0) for u in units), max(round_up(n, u) for u in units))
        for b, units, n in zip(block, extents, shape, strict=True)
    ]


def chunks_owned(copy: ArraySpec, region: Region) -> list[range]:
    """Return, per axis, the positions of the stored objects of `copy` that start in `region`."""
    return [_owned(r, unit) for r, unit in zip(region, copy.unit, strict=True)]


def hull(copies: Sequence[ArraySpec], region: Region) -> Region:
    """Return the samples that all objects of a block need."""
    return tuple(
        _span(r, [(copy.unit[axis], copy.shape[axis]) for copy in copies]) for axis, r in enumerate(region)
    )


def _owned(r: slice, unit: int) -> range:
    return range(-(-r.start // unit), -(-r.stop // unit))


def _span(r: slice, units: Sequence[tuple[int, int]]) -> slice:
    """Return the span along one axis of objects that start in `r`, given each kind's extent and the axis length."""
    spans = [(_owned(r, unit), unit, n) for unit, n in units]
    starts = [own.start * unit for own, unit, _ in spans if len(own)]
    stops = [min(own.stop * unit, n) for own, unit, n in spans if len(own)]
    return slice(min(starts, default=r.start), max(stops, default=r.start))
