"""Small arrays of a volume, which are in memory as a whole."""

from typing import Any

SMALL_ARRAY_CELLS = 1 << 22


def small_chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return chunks of whole rows with up to a few million cells."""
    chunks: list[int] = []
    room = SMALL_ARRAY_CELLS
    for n in reversed(shape):
        chunks.insert(0, min(n, max(1, room)))
        room //= chunks[0]
    return tuple(chunks)


def scalar(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of an array of one number, 0, that only carries attributes.

    It is a number where MDIO has text, so that a mean over a whole dataset of xarray can be taken.
    """
    return {
        "shape": [],
        "data_type": "int8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": []}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [
            {"name": "bytes"},
            {"name": "crc32c"},
        ],
        "attributes": attributes,
        "dimension_names": [],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
