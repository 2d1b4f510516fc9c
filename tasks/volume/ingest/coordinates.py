"""Coordinates from trace headers, per trace or shared by many traces.

A source lies where its shot is, whatever the channel, so its coordinate varies along some dimensions only. Blocks
of the grid share its cells; each notes what it found, with the number of the trace, and the first trace of the
files has the last word, whatever the order in which blocks ended.
"""

import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tasks.volume.arrays.array_archive import arrays_of
from tasks.volume.blocks import Region
from tasks.volume.segy.geometry import scaled
from tasks.volume.segy.headers import word
from tasks.volume.segy.placement import Coordinate, Placement


def shared(placement: Placement) -> list[Coordinate]:
    """Return the coordinates that do not vary along every dimension."""
    return [coordinate for coordinate in placement.coordinates if coordinate.dims != placement.dims]


def coordinate_values(
    coordinate: Coordinate, headers: np.ndarray, byte_order: str, scalar: int = 0
) -> np.ndarray:
    """Return a coordinate of some traces from their headers, in its stored type.

    Args:
        coordinate: The coordinate.
        headers: Uint8, shape (trace, byte).
        byte_order: Byte order of the files.
        scalar: Coordinate scalar of all traces; 0 takes it from byte 71 of each.
    """
    values = word(headers, coordinate.byte, coordinate.type, byte_order)
    return (
        scaled(values, headers, byte_order, scalar) if coordinate.scaled else values.astype(coordinate.dtype)
    )


def own_coordinates(placement: Placement, headers: np.ndarray, byte_order: str) -> dict[str, np.ndarray]:
    """Return the coordinates of some traces that vary along every dimension, by name; headers as above."""
    scalar = placement.corrections.coordinate_scalar
    return {
        coordinate.name: coordinate_values(coordinate, headers, byte_order, scalar)
        for coordinate in placement.coordinates
        if coordinate.dims == placement.dims
    }


def coordinate_parts(
    placement: Placement, region: Region, cells: np.ndarray, headers: np.ndarray, byte_order: str
) -> bytes:
    """Return one block's part of the shared coordinates; empty without any.

    Args:
        placement: Placement of the volume.
        region: Cells of the block.
        cells: Trace numbers of the region, -1 where none.
        headers: Headers of its traces, in the order of the cells.
        byte_order: Byte order of the files.
    """
    parts: dict[str, Any] = {}
    live = np.nonzero(cells >= 0)
    numbers = cells[live]
    for coordinate in shared(placement):
        key = "|".join(coordinate.dims)
        if key not in parts:
            axes = [placement.dims.index(dim) for dim in coordinate.dims]
            shape = [cells.shape[axis] for axis in axes]
            inside = np.ravel_multi_index([live[axis] for axis in axes], shape)
            order = np.lexsort((numbers, inside))
            kept = order[np.unique(inside[order], return_index=True)[1]]
            parts[key] = kept
            parts[f"{key}|cells"] = np.stack([live[axis][kept] + region[axis].start for axis in axes])
            parts[f"{key}|numbers"] = numbers[kept]
        parts[f"={coordinate.name}"] = coordinate_values(
            coordinate, headers[parts[key]], byte_order, placement.corrections.coordinate_scalar
        )
    if not parts:
        return b""
    buffer = io.BytesIO()
    np.savez(buffer, **parts)
    return buffer.getvalue()


def merged(placement: Placement, shape: tuple[int, ...], parts: Iterable[bytes]) -> dict[str, np.ndarray]:
    """Return the shared coordinates of a whole volume by name, NaN (0 in integers) where no trace is.

    Args:
        placement: Placement of the volume.
        shape: Shape of its grid.
        parts: Results of `coordinate_parts` for all blocks.
    """
    values, firsts = {}, {}
    for coordinate in shared(placement):
        extents = tuple(shape[placement.dims.index(dim)] for dim in coordinate.dims)
        values[coordinate.name] = np.full(
            extents, np.nan if coordinate.dtype == "float64" else 0, coordinate.dtype
        )
        firsts[coordinate.name] = np.full(math.prod(extents), np.iinfo(np.int64).max)
    for part in parts:
        arrays = arrays_of(part)
        for coordinate in shared(placement):
            key = "|".join(coordinate.dims)
            cells = np.ravel_multi_index(tuple(arrays[f"{key}|cells"]), values[coordinate.name].shape)
            numbers = arrays[f"{key}|numbers"]
            earlier = numbers < firsts[coordinate.name][cells]
            firsts[coordinate.name][cells[earlier]] = numbers[earlier]
            values[coordinate.name].reshape(-1)[cells[earlier]] = arrays[f"={coordinate.name}"][earlier]
    return values
