"""Make stored objects from values: pad to whole chunks, encode, and join to a shard."""

import itertools
from collections.abc import Callable

import numpy as np

from tasks.volume.arrays.codecs import encode_chunk, join_shard
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region

ChunkOf = Callable[[ArraySpec, Region], np.ndarray | None]


def stored_object(spec: ArraySpec, position: tuple[int, ...], chunk_of: ChunkOf) -> bytes:
    """Return a stored object, one encoded chunk or a shard; b"" if it has only fill values.

    Args:
        spec: The array.
        position: Position of the object in the array's grid of objects.
        chunk_of: Returns the whole chunk at a region of the array, or None if it is all fill.
    """
    encoded = {}
    for inside in itertools.product(*map(range, spec.chunks_per_shard)):
        place = [p * n + i for p, n, i in zip(position, spec.chunks_per_shard, inside, strict=True)]
        if any(p * c >= n for p, c, n in zip(place, spec.chunks, spec.shape, strict=True)):
            continue
        region = tuple(
            slice(p * c, min((p + 1) * c, n)) for p, c, n in zip(place, spec.chunks, spec.shape, strict=True)
        )
        chunk = chunk_of(spec, region)
        if chunk is not None:
            encoded[inside] = encode_chunk(spec, chunk)
    if not encoded:
        return b""
    return join_shard(spec, encoded) if spec.shards else next(iter(encoded.values()))


def whole_chunk(spec: ArraySpec, part: np.ndarray, fill: np.ndarray | None = None) -> np.ndarray:
    """Return a whole chunk: its part inside the array, and `fill` (else the array's fill value) beyond the end."""
    chunk = np.full(spec.chunks, spec.fill_value if fill is None else fill, spec.numpy)
    chunk[tuple(slice(0, n) for n in part.shape)] = part
    return chunk
