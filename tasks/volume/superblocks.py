"""Blocks for making several copies from one read: arithmetic only.

A super-block spans, per axis, the least common multiple of the copies' stored extents, so that every stored
object of every copy lies in exactly one of them. Where that is more than memory takes, axes are cut at multiples of
the largest extent; objects of the other copies that cross a cut then belong to the block in which they start, and
the samples beyond it are read twice.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.volume.blocks import Region
from tasks.volume.layout import ArraySpec, round_up
from tasks.volume.outcomes import InputRefused

MOST_READ = 2.0  # times the master; beyond that the chunks asked for do not go together


@dataclass(frozen=True)
class SuperBlocks:
    """How the master is cut.

    Attributes:
        block: Extents of a block: they tile the master.
        hull: Extents of what one block holds in memory at most: more where objects cross its end.
        read_factor: How often samples are read, on average and at most.
    """

    block: tuple[int, ...]
    hull: tuple[int, ...]
    read_factor: float


def super_blocks(shape: Sequence[int], copies: Sequence[ArraySpec], budget_bytes: int) -> SuperBlocks:
    """The blocks for these copies.

    Args:
        shape: Of the master.
        copies: Their specs.
        budget_bytes: What the samples of one block may take.

    Raises:
        InputRefused: Blocks that fit would read the master more than `MOST_READ` times.
    """
    extents = [[copy.unit[axis] for copy in copies] for axis in range(len(shape))]
    block = []
    for n, units in zip(shape, extents, strict=True):
        common = math.lcm(*units)
        block.append(common if common < n else max(round_up(n, unit) for unit in units))
    itemsize = copies[0].numpy.itemsize
    axis = 0
    while math.prod(hull_bound(block, extents, shape)) * itemsize > budget_bytes and axis < len(shape):
        largest = max(extents[axis])
        others = math.prod(hull_bound(block, extents, shape)) // block[axis] * itemsize
        block[axis] = max(largest, min(block[axis], budget_bytes // max(1, others) // largest * largest))
        axis += 1
    hull = hull_bound(block, extents, shape)
    factor = math.prod(h / b for h, b in zip(hull, block, strict=True))
    if math.prod(hull) * itemsize > budget_bytes or factor > MOST_READ:
        wanted = ", ".join(f"{copy.path} {copy.chunks}" for copy in copies)
        side = 1 << max(2, int(math.log2(max(1, budget_bytes // itemsize)) / len(shape)))
        raise InputRefused(
            f"the copies {wanted} need blocks of {math.prod(hull) * itemsize / 1e6:,.0f} MB, but a block may take "
            f"{budget_bytes / 1e6:,.0f} MB; give more memory, or chunk extents that divide {side}"
        )
    return SuperBlocks(tuple(block), tuple(hull), factor)


def hull_bound(block: Sequence[int], extents: Sequence[Sequence[int]], shape: Sequence[int]) -> list[int]:
    """The most samples per axis that one block holds: more than it spans where objects cross its end."""
    return [
        min(b + max((u if b % u else 0) for u in units), max(round_up(n, u) for u in units))
        for b, units, n in zip(block, extents, shape, strict=True)
    ]


def owned(copy: ArraySpec, region: Region) -> list[range]:
    """Per axis, the positions of the stored objects of `copy` that start in `region`."""
    return [range(-(-r.start // u), -(-r.stop // u)) for r, u in zip(region, copy.unit, strict=True)]


def hull(copies: Sequence[ArraySpec], region: Region) -> Region:
    """The samples that all objects of a block need."""
    result = []
    for axis, r in enumerate(region):
        spans = [(owned(copy, region)[axis], copy.unit[axis], copy.shape[axis]) for copy in copies]
        starts = [span.start * unit for span, unit, _ in spans if len(span)]
        stops = [min(span.stop * unit, n) for span, unit, n in spans if len(span)]
        result.append(slice(min(starts, default=r.start), max(stops, default=r.start)))
    return tuple(result)
