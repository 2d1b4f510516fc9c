"""Readings of a master: which arrays are made together from one read of it, and in which blocks.

Arrays that fit in memory together are made from one reading. Others are divided among several readings, each of which
decodes the master again. Of all divisions, the one that decodes the fewest chunks is taken.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region, block_count, nth_region
from tasks.volume.derived.superblocks import SuperBlocks, super_blocks
from tasks.volume.outcomes import InputRefused

MOST_TRIED = 5  # arrays; more of them have too many ways to be shared out


@dataclass(frozen=True)
class Reading:
    """Arrays made from one reading of the master.

    Attributes:
        paths: Paths of the arrays.
        blocks: Blocks of the master.
    """

    paths: tuple[str, ...]
    blocks: SuperBlocks


def fewest_readings(
    shape: Sequence[int],
    arrays: Sequence[ArraySpec],
    budget_of: Callable[[Sequence[ArraySpec]], int],
    *,
    chunks: Sequence[int],
) -> list[Reading]:
    """Return the readings that decode the fewest chunks of the master, all in all.

    Args:
        shape: Shape of the master.
        arrays: Arrays to make from it.
        budget_of: Function that gives the most bytes of samples in a block of some of the arrays.
        chunks: Chunks of the master.

    Raises:
        InputRefused: Memory does not hold a block of one array, even alone.
    """
    tried: dict[tuple[str, ...], Reading | InputRefused] = {}

    def reading(group: Sequence[ArraySpec]) -> Reading | InputRefused:
        paths = tuple(array.path for array in group)
        if paths not in tried:
            try:
                blocks = super_blocks(shape, group, max(1, budget_of(group)), chunks=chunks)
                tried[paths] = Reading(paths, blocks)
            except InputRefused as refusal:
                tried[paths] = refusal
        return tried[paths]

    best: list[Reading] = []
    for groups in sorted(_shared_out(arrays), key=len):
        if best and len(groups) >= decoded(best):
            break
        whole = [candidate for group in groups if isinstance(candidate := reading(group), Reading)]
        if len(whole) == len(groups) and (not best or decoded(whole) < decoded(best)):
            best = whole
    if not best:
        refused = [reading([array]) for array in arrays]
        raise next(array for array in [*refused, reading(arrays)] if isinstance(array, InputRefused))
    return best


def decoded(readings: Sequence[Reading]) -> float:
    """Return how often the master's chunks are decoded, on average, in all readings together."""
    return sum(reading.blocks.read_factor for reading in readings)


def _shared_out(arrays: Sequence[ArraySpec]) -> Iterator[list[list[ArraySpec]]]:
    """Yield ways to share out arrays among readings, in which they keep their order."""
    if len(arrays) > MOST_TRIED:
        for size in range(len(arrays), 0, -1):
            yield [list(arrays[start : start + size]) for start in range(0, len(arrays), size)]
        return
    if not arrays:
        yield []
        return
    last = arrays[-1]
    for groups in _shared_out(arrays[:-1]):
        for number, group in enumerate(groups):
            yield [*groups[:number], [*group, last], *groups[number + 1 :]]
        yield [*groups, [last]]


def to_json(readings: Sequence[Reading]) -> dict[str, Any]:
    """Return the readings as a plan has them: the block of the only one, or all."""
    if len(readings) == 1:
        return {"block": readings[0].blocks.block}
    return {
        "block": None,
        "readings": [{"arrays": reading.paths, "block": reading.blocks.block} for reading in readings],
    }


def planned(
    body: Mapping[str, Any], arrays: Sequence[ArraySpec]
) -> list[tuple[list[ArraySpec], tuple[int, ...]]]:
    """Return the arrays and the block of each reading of a plan, the inverse of `to_json`."""
    rows = body.get("readings") or [{"arrays": [array.path for array in arrays], "block": body["block"]}]
    return [([array for array in arrays if array.path in row["arrays"]], tuple(row["block"])) for row in rows]


def count_of(body: Mapping[str, Any], arrays: Sequence[ArraySpec], shape: tuple[int, ...]) -> int:
    """Return how many blocks all readings of a plan have."""
    return sum(block_count(shape, block) for _, block in planned(body, arrays))


def block_of(
    body: Mapping[str, Any], arrays: Sequence[ArraySpec], shape: tuple[int, ...], number: int
) -> tuple[list[ArraySpec], Region]:
    """Return the copies that block `number` of a plan makes, and its region of the master."""
    for group, block in planned(body, arrays):
        count = block_count(shape, block)
        if number < count:
            return group, nth_region(shape, block, number)
        number -= count
    raise ValueError(f"there is no block {number} after the last one")
