"""Chunks and shards that a user asked for, held against the array they are for; or those chosen for it."""

from collections.abc import Sequence

from tasks.volume.arrays.spec import shards_by_default
from tasks.volume.outcomes import InputRefused


def chosen_chunks(wanted: Sequence[int], shape: tuple[int, ...], default: tuple[int, ...]) -> tuple[int, ...]:
    """Return the requested chunks, or `default` if there are none.

    Raises:
        InputRefused: They do not fit the shape.
    """
    if not wanted:
        return default
    if len(wanted) != len(shape) or min(wanted) < 1:
        raise InputRefused(
            f"chunks {tuple(wanted)} do not fit a volume of shape {shape}; give {len(shape)} positive numbers"
        )
    return tuple(wanted)


def chosen_shards(
    wanted: Sequence[int],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    itemsize: int,
    *,
    local: bool,
    last_axis_first: bool = True,
) -> tuple[int, ...]:
    """Return the requested shards, or those by default; () for none.

    Args:
        wanted: As the user gave them: empty to choose, [0] for none.
        shape: Of the array.
        chunks: Of the array.
        itemsize: Bytes of an element.
        local: The store is this machine's disk, where chunks of their own are best.
        last_axis_first: Along which axes shards chosen here grow first.

    Raises:
        InputRefused: They are not multiples of the chunks.
    """
    if list(wanted) == [0] or (not wanted and local):
        return ()
    if not wanted:
        turn = slice(None) if last_axis_first else slice(None, None, -1)
        shards = shards_by_default(shape[turn], chunks[turn], itemsize)[turn]
        return shards if shards != chunks else ()
    if len(wanted) != len(shape) or any(s < 1 or s % c for s, c in zip(wanted, chunks, strict=False)):
        raise InputRefused(
            f"shards {tuple(wanted)} are not multiples of the chunks {chunks}; give multiples, one per axis"
        )
    return tuple(wanted)
