"""Provide stored arrays to xarray's lazy indexing, which passes positions and gets NumPy arrays."""

from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core.indexing import ExplicitIndexer, VectorizedIndexer

from tasks.dataset.opened import Opened
from tasks.volume.reading.indexing import Group, Positions


class LazyArray(BackendArray):
    """An array of a volume that is read when its values are needed."""

    def __init__(self, opened: Opened, path: str, dtype: np.dtype[Any], field: str = "") -> None:
        """Take an array by its path; of headers one field."""
        self.opened, self.path, self.dtype, self.field = opened, path, dtype, field
        self.shape = opened.volume.spec(path).shape

    def __getitem__(self, key: ExplicitIndexer) -> np.ndarray:
        """Return what lies at a key of xarray's."""
        groups, shape = groups_of(key, self.shape)
        if self.path == self.opened.array:
            values = self.opened.samples(groups, self.dtype)
        else:
            values = self.opened.values(self.path, groups, self.dtype, self.field)
        return values.reshape(shape)


def groups_of(key: ExplicitIndexer, shape: tuple[int, ...]) -> tuple[list[Group], tuple[int, ...]]:
    """Return a key as a selection, and the shape that its result has for xarray.

    Arrays of a vectorized key are points, and their dimensions come first. Other arrays are positions along an axis.
    """
    entries = list(enumerate(zip(key.tuple, shape, strict=True)))
    groups: list[Group] = []
    result: list[int] = []
    if isinstance(key, VectorizedIndexer):
        arrays = {axis: np.asarray(k) for axis, (k, _) in entries if not isinstance(k, slice)}
        if arrays:
            spread = np.broadcast_arrays(*arrays.values())
            flat = tuple(
                _checked(values.reshape(-1), shape[axis]) for axis, values in zip(arrays, spread, strict=True)
            )
            groups.append(Group(tuple(arrays), flat))
            result += spread[0].shape
        entries = [(axis, pair) for axis, pair in entries if axis not in arrays]
    for axis, (k, extent) in entries:
        positions: Positions
        if isinstance(k, slice):
            positions = range(*k.indices(extent))
            result.append(len(positions))
        elif np.ndim(k) == 0:
            position = int(_checked(np.asarray(k).reshape(1), extent)[0])
            positions = range(position, position + 1)
        else:
            positions = _checked(np.asarray(k), extent)
            result.append(len(positions))
        groups.append(Group((axis,), (positions,)))
    return groups, tuple(result)


def _checked(positions: np.ndarray, extent: int) -> np.ndarray:
    """Return positions counted from the beginning.

    Raises:
        IndexError: An index lies outside of the array.
    """
    positions = positions.astype(np.int64)
    outside = (positions < -extent) | (positions >= extent)
    if outside.any():
        raise IndexError(f"position {positions[outside][0]} is out of bounds for an axis of {extent}")
    return np.where(positions < 0, positions + extent, positions)
