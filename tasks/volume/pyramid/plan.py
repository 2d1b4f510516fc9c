"""Which levels a pyramid has, and the blocks that make several of them from one read: arithmetic only.

Two levels are made from each read if memory allows: the second from the first while that is in memory. So a 64th of the
bytes is read again, and not an eighth. A block is whole stored objects of each level that it makes; shards are chosen
accordingly.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tasks.parameters import Levels
from tasks.volume.arrays.spec import ArraySpec, as_written, factor_by_default, round_up
from tasks.volume.blocks import Region, block_count, nth_region
from tasks.volume.limits import Limits
from tasks.volume.outcomes import InputRefused
from tasks.volume.pyramid.coarsen import MOST_COARSENED

MOST_LEVELS = 32


@dataclass(frozen=True)
class Pass:
    """Levels made from one read.

    Attributes:
        source: The level that is read, 0 for the master.
        made: Number of levels that are made below it.
        block: Extents of a block in the coarsest of them.
    """

    source: int
    made: int
    block: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary for a plan."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "Pass":
        """Return the inverse of `to_json`."""
        return cls(plain["source"], plain["made"], tuple(plain["block"]))

    @property
    def coarsest(self) -> int:
        """Return the last level made."""
        return self.source + self.made


def level_factors(
    shape: Sequence[int],
    chunks: Sequence[int],
    levels: Levels,
    lengths: Sequence[float] = (),
    *,
    below_chunk: bool = False,
) -> list[tuple[int, ...]]:
    """Return samples per cell and axis from each level to the next.

    Args:
        shape: Shape of the master.
        chunks: Chunks of the master: a level of a single chunk is the last, unless `until` asks for smaller ones.
        levels: Requested levels.
        lengths: Voxel length per axis: without a factor given, fine axes are coarsened alone until all are alike. Of
            fewer than the master's axes they are the last ones; the others are channels and times, which stay.
        below_chunk: Go on below a single chunk, as version 0.1.0 did.

    Raises:
        InputRefused: The factor does not fit the master.
    """
    rank, given = len(shape), tuple(levels.factor)
    _refuse_factor(given, rank, levels.method)
    factors: list[tuple[int, ...]] = []
    extents, steps = list(shape), list(lengths)
    lead = rank - len(steps) if steps else 0
    while len(factors) < (levels.levels or MOST_LEVELS):
        if levels.until and max(extents) <= levels.until:
            break
        usual = (1,) * lead + _toward_isotropy(steps, extents[lead:]) if steps else factor_by_default(rank)
        wanted = given or usual
        if not levels.until and not (below_chunk and levels.levels):
            axes: Sequence[int] = range(lead, rank)
            if not below_chunk and (given or not steps):  # an axis that stays as it is can be many chunks
                axes = [axis for axis in axes if wanted[axis] > 1]
            if all(extents[axis] <= chunks[axis] for axis in axes):
                break
        # A cell holds no more samples than there are: one sample keeps its place.
        factor = tuple(min(f, n) for f, n in zip(wanted, extents, strict=True))
        if max(factor) == 1:
            break
        factors.append(factor)
        extents = [-(-n // f) for n, f in zip(extents, factor, strict=True)]
        steps = [s * f for s, f in zip(steps, factor[lead:], strict=False)]
    return factors


def _refuse_factor(given: tuple[int, ...], rank: int, method: str) -> None:
    if given and (len(given) != rank or min(given) < 1 or max(given) < 2):
        raise InputRefused(
            f"factor {list(given)} does not coarsen a volume of {rank} dimensions; give {rank} whole numbers of at "
            "least 1, one of them above 1"
        )
    if sum(f > 1 for f in given[:-1]) > MOST_COARSENED - 1 and method != "nearest":
        raise InputRefused(
            f"factor {list(given)} coarsens more than {MOST_COARSENED - 1} axes beside the samples; "
            "set the others to 1"
        )
    if math.prod(given) > 2**20:
        raise InputRefused(
            f"factor {list(given)} takes {math.prod(given):,} samples together; use several levels"
        )


def _toward_isotropy(lengths: Sequence[float], extents: Sequence[int]) -> tuple[int, ...]:
    """Return 2 for each axis if lengths are within a factor of the square root of 2, else for the finer ones alone."""
    there = [length for length, n in zip(lengths, extents, strict=True) if n > 1] or list(lengths)
    fine = tuple(
        2 if length < max(there) / math.sqrt(2) and n > 1 else 1
        for length, n in zip(lengths, extents, strict=True)
    )
    return fine if max(fine) > 1 else (2,) * len(lengths)


def passes_of(
    master: ArraySpec,
    paths: Sequence[str],
    factors: Sequence[tuple[int, ...]],
    limits: Limits,
    *,
    local: bool,
) -> tuple[list[ArraySpec], list[Pass]]:
    """Return the master and its levels, finest first, and the passes that make them.

    Args:
        master: Array of the master.
        paths: Paths of the levels.
        factors: Result of `level_factors`.
        limits: Sizes of blocks.
        local: The store is this machine's disk, where chunks of their own are best.
    """
    specs: list[ArraySpec] = [master]
    passes: list[Pass] = []
    written = as_written(master)
    while len(specs) <= len(factors):
        source = specs[-1] if passes else written
        rest = factors[len(specs) - 1 :]
        both = len(rest) > 1 and _read_bytes(source, source.chunks, rest[:2]) <= limits.two_levels_bytes
        result = 2 if both else 1
        shapes = [source.shape]
        for factor in rest[:result]:
            shapes.append(tuple(-(-n // f) for n, f in zip(shapes[-1], factor, strict=True)))
        block = _block(source, shapes[-1], rest[:result], limits.level_bytes)
        passes.append(Pass(len(specs) - 1, result, block))
        for number in range(1, result + 1):
            # What a block gives of this level, as far as the level goes.
            below = [math.prod(axis) for axis in zip(*rest[number:result], strict=True)] or [1] * len(block)
            unit = tuple(
                min(b * f, round_up(n, c))
                for b, f, n, c in zip(block, below, shapes[number], written.chunks, strict=True)
            )
            shards = () if local or unit == written.chunks else unit
            path = paths[len(specs) - 1]
            specs.append(written.at(path, shape=shapes[number], shards=shards))
    return specs, passes


def _block(
    source: ArraySpec, shape: tuple[int, ...], factors: Sequence[tuple[int, ...]], most_bytes: int
) -> tuple[int, ...]:
    """Extents of a block in the coarsest level: whole chunks, more along the last axes first."""
    block = list(source.chunks)
    for axis in reversed(range(len(block))):
        wanted = -(-shape[axis] // block[axis])
        room = max(1, most_bytes // _read_bytes(source, block, factors))
        block[axis] *= min(room, wanted)
        if room < wanted:
            break
    return tuple(block)


def _read_bytes(source: ArraySpec, block: Sequence[int], factors: Sequence[tuple[int, ...]]) -> int:
    """Return the bytes of `source` that a block of such extents in the coarsest level reads."""
    wide = [b * math.prod(axis) for b, axis in zip(block, zip(*factors, strict=True), strict=True)]
    return math.prod(min(w, n) for w, n in zip(wide, source.shape, strict=True)) * source.numpy.itemsize


def read_bytes(step: Pass, specs: Sequence[ArraySpec], factors: Sequence[tuple[int, ...]]) -> int:
    """Return the most that a block of a pass reads."""
    return _read_bytes(specs[step.source], step.block, factors[step.source : step.coarsest])


def place_of(number: int, passes: Sequence[Pass], specs: Sequence[ArraySpec]) -> tuple[Pass, Region]:
    """Return the pass of a block, and its region in the coarsest level of that pass."""
    for step in passes:
        count = block_count(specs[step.coarsest].shape, step.block)
        if number < count:
            return step, nth_region(specs[step.coarsest].shape, step.block, number)
        number -= count
    raise ValueError(f"there is no block {number} after the last one")


def finer_region(region: Region, factors: Sequence[tuple[int, ...]], shape: Sequence[int]) -> Region:
    """Return the samples of a level of `shape` that a region so many factors below is made from."""
    steps = [math.prod(axis) for axis in zip(*factors, strict=True)] or [1] * len(region)
    return tuple(slice(r.start * f, min(r.stop * f, n)) for r, f, n in zip(region, steps, shape, strict=True))
