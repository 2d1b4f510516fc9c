"""Make a synthetic image: a Zarr array of any shape, chunks and type, for tests of levels, copies and viewers.

It is written as another tool would write it, as field/0 in a group without our metadata, so that verbs treat it as
they treat an instrument's image. Every chunk is a function of its position and the seed: memory does not grow with
the image, and the same arguments give the same bytes.
"""

import time
from functools import partial
from typing import Any

import numpy as np

from tasks.parameters import ArrayPath, Form, StorageOptions, Url
from tasks.volume.arrays.codecs import document_bytes, encode_chunk, metadata_of
from tasks.volume.arrays.group_metadata import GROUP
from tasks.volume.arrays.spec import ArraySpec, positions
from tasks.volume.blocks import on_chunks
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tasks.volume.protocol.place import refuse_ours
from tasks.volume.protocol.summary import ended
from tasks.volume.store.objects import traffic
from tasks.volume.store.writable import WritableStore

MOST_CHUNK_BYTES = 256 << 20
GRAIN = 40.0  # voxels from one grain to the next


def make_image(
    volume: Url,
    array: ArrayPath = "field/0",
    form: Form = Form(),
    seed: int = 0,
    storage_options: StorageOptions = StorageOptions(),
) -> dict[str, Any]:
    """Make a Zarr array of grains and noise, to try levels, copies and viewers on.

    Args:
        volume: The Zarr group for the array; made if it does not exist.
        array: Path of the array in the group, such as field/0.
        form: Shape, chunks and type of the array.
        seed: Seed of the noise.
        storage_options: Options of the store.

    Returns:
        The summary.

    Raises:
        InputRefused: Shape and chunks do not make an array.
        DestinationRefused: Something is there already, or the place is a volume or the folder of a sweep.
    """
    shape, chunks = form.shape, form.chunks
    began, before = time.monotonic(), traffic.snapshot()
    if not shape or len(shape) != len(chunks) or min(*shape, *chunks) < 1:
        raise InputRefused(
            f"got shape {shape} and chunks {chunks}; give the same number of positive integers for both"
        )
    if not array:
        raise InputRefused("the array has no path; give it one such as --array field/0")
    dims = ("z", "y", "x")[-len(shape) :] if len(shape) <= 3 else tuple(f"dim_{n}" for n in range(len(shape)))
    spec = ArraySpec(array, tuple(shape), tuple(chunks), form.dtype, dims)
    if spec.chunk_bytes > MOST_CHUNK_BYTES:
        raise InputRefused(
            f"a chunk of {chunks} {form.dtype} takes {spec.chunk_bytes / 1e6:,.0f} MB; give chunks of at most "
            f"{MOST_CHUNK_BYTES / 1e6:,.0f} MB"
        )
    store = WritableStore(volume, storage_options)
    refuse_ours(store)
    if store.exists(f"{array}/zarr.json") or store.keys(f"{array}/"):
        raise DestinationRefused(f"{store.url}/{array} is there already; remove it, or name another array")
    around = ["", *("/".join(array.split("/")[:n]) for n in range(1, array.count("/") + 1))]
    for path in around:
        store.create(f"{path}/zarr.json" if path else "zarr.json", document_bytes(GROUP))
    sizes = on_chunks(partial(_put, store, spec, seed), positions(spec, tuple(slice(0, n) for n in shape)))
    store.create(f"{array}/zarr.json", document_bytes(metadata_of(spec, {})))
    row: dict[str, Any] = {"path": array, **form.model_dump(), "codec": spec.codec}
    row |= {"raw_bytes": spec.raw_bytes, "stored_bytes": sum(sizes), "ratio": spec.raw_bytes / sum(sizes)}
    return ended(store, "make_image", [row], began, before)


def _put(store: WritableStore, spec: ArraySpec, seed: int, position: tuple[int, ...]) -> int:
    data = encode_chunk(spec, _values(spec, seed, position))
    store.create(spec.key(position), data)
    return len(data)


def _values(spec: ArraySpec, seed: int, position: tuple[int, ...]) -> np.ndarray:
    """Return a chunk: grains at the corners of a grid, bright in their middles, and noise of a tenth."""
    axes = [np.arange(p * c, (p + 1) * c) for p, c in zip(position, spec.chunks, strict=True)]
    waves = [np.cos(2 * np.pi * axis / GRAIN) for axis in axes]
    grains = sum(np.meshgrid(*waves, indexing="ij", sparse=True)) / len(waves)
    noise = np.random.default_rng([seed, *position]).random(spec.chunks)
    values = 0.45 + 0.4 * grains + 0.1 * (noise - 0.5)  # from 0 to 0.9
    if spec.numpy.kind == "b":
        return values > 0.5
    if spec.numpy.kind == "f":
        return values.astype(spec.numpy)
    return np.floor(values * float(np.iinfo(spec.numpy).max)).astype(spec.numpy)
