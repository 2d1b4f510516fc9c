"""Check the chunks and shards that a user requests against the array, or choose them."""

import math
from collections.abc import Iterable, Sequence

from tasks.volume.arrays.spec import ArraySpec, shards_by_default
from tasks.volume.blocks import block_count
from tasks.volume.limits import Limits
from tasks.volume.outcomes import InputRefused

MOST_CHUNK_BYTES = 1 << 30  # compressors have buffers of 2 GiB at most


def unsharded(shape: Sequence[int], chunks: Sequence[int], limits: Limits, *, local: bool) -> bool:
    """Return whether each chunk is an object of its own by default: on a local disk, up to a number of chunks."""
    return local and block_count(tuple(shape), tuple(chunks)) <= limits.local_objects


def many_objects(specs: Iterable[ArraySpec], limits: Limits, *, local: bool) -> list[str]:
    """Return a note for each array that would be more files than a local disk handles well."""
    counts = {spec.path: block_count(spec.shape, spec.unit) for spec in specs}
    return [
        f"{path} would be {count:,} files; fewer are faster to list and to copy: use larger shards, or leave them out"
        for path, count in counts.items()
        if local and count > limits.local_objects
    ]


def refuse_large(chunks: Sequence[int], itemsize: int) -> None:
    """Check that a chunk is not larger than one that can be compressed.

    Args:
        chunks: Extents of the chunk.
        itemsize: Bytes of an element.

    Raises:
        InputRefused: It is larger than `MOST_CHUNK_BYTES`.
    """
    if (size := math.prod(chunks) * itemsize) > MOST_CHUNK_BYTES:
        raise InputRefused(
            f"a chunk of {' x '.join(f'{n:,}' for n in chunks)} takes {size / 1e6:,.0f} MB; give chunks of at most "
            f"{MOST_CHUNK_BYTES / 1e6:,.0f} MB"
        )


def chosen_chunks(
    wanted: Sequence[int], shape: tuple[int, ...], default: tuple[int, ...], itemsize: int
) -> tuple[int, ...]:
    """Return the requested chunks, or `default` if there are none.

    Raises:
        InputRefused: The chunks do not fit the shape, or are too large.
    """
    if not wanted:
        return default
    if len(wanted) != len(shape) or min(wanted) < 1:
        raise InputRefused(
            f"chunks {tuple(wanted)} do not fit a volume of shape {shape}; give {len(shape)} positive numbers"
        )
    refuse_large(wanted, itemsize)
    return tuple(wanted)


def chosen_shards(
    wanted: Sequence[int],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    itemsize: int,
    limits: Limits,
    *,
    local: bool,
    last_axis_first: bool = True,
) -> tuple[int, ...]:
    """Return the requested shards, or those by default; () for none.

    Args:
        wanted: Shards of the user: empty to choose, [0] for none.
        shape: Shape of the array.
        chunks: Chunks of the array.
        itemsize: Bytes of an element.
        limits: How many objects of an array a local disk gets.
        local: The store is this machine's disk, where chunks of their own are best, unless there are too many.
        last_axis_first: Along which axes shards chosen here grow first.

    Raises:
        InputRefused: The shards are not multiples of the chunks.
    """
    if list(wanted) == [0] or (not wanted and unsharded(shape, chunks, limits, local=local)):
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
