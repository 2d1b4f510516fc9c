"""One level of a volume that is open for reading: its arrays, its traces, and the largest accepted error."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.arrays.mdio_v0 import MdioV0
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.volume_root import Root
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.choice import Cost, ReadableArray, candidates, fastest
from tasks.volume.reading.indexing import Group, read_arrays, read_selection, taken
from tasks.volume.store.objects import Store

MASK_CELLS = 1 << 26  # a mask of more cells is read where it is needed, not as a whole
KEPT_HEADER_BYTES = 64 << 20  # of the headers read last, for the next field of the same traces
TRACE_MASK = "trace_mask"


class Opened:
    """A level of a volume, and how it is read.

    Attributes:
        volume: The volume.
        level: 0 for the finest.
        max_error: Largest error of a sample that is accepted.
        masked: Whether cells without a trace are NaN.
        array: Path of the samples of this level.
        candidates: The arrays that samples may be read from.
    """

    def __init__(self, volume: Volume, level: int, max_error: float, masked: bool) -> None:
        """Open a level; nothing is read."""
        self.volume, self.level, self.max_error, self.masked = volume, level, max_error, masked
        self.array: str = volume.state.levels[level].path or volume.master
        self.candidates = candidates(volume, self.array, max_error)
        self._headers: tuple[Any, np.ndarray] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as the address and the root; connections stay here."""
        store = self.volume.store
        return _opened_again, (
            store.url,
            store.options,
            self.volume.root,
            self.level,
            self.max_error,
            self.masked,
        )

    @property
    def name(self) -> str:
        """Return the name of the samples."""
        return (self.array if self.level == 0 else self.volume.master_name).rpartition("/")[2] or (
            self.volume.origin.rstrip("/").rpartition("/")[2]
        )

    @property
    def dims(self) -> tuple[str, ...]:
        """Return names of the dimensions."""
        return self.candidates[0].spec.dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the samples."""
        return self.candidates[0].spec.shape

    @property
    def where(self) -> str:
        """Return the volume's address, for messages."""
        return self.volume.store.url

    def path(self, name: str) -> str:
        """Return the path of an array that lies beside the samples of this level."""
        folder = self.array.rpartition("/")[0]
        return f"{folder}/{name}" if folder else name

    def has(self, name: str) -> bool:
        """Return whether there is an array of that name beside the samples."""
        return self.volume.has(self.path(name)) and name != ""

    @cached_property
    def has_holes(self) -> bool:
        """Return whether some cells of the grid have no trace."""
        if not self.volume.has(TRACE_MASK):
            return False
        cells = math.prod(self.volume.spec(TRACE_MASK).shape)
        live = self.volume.array_attributes(self.volume.master).get("live_traces")
        return live != cells

    @cached_property
    def mask(self) -> np.ndarray | None:
        """Return the live mask, bool; None if there is no grid of traces, or if it is too large for memory."""
        if not self.has(TRACE_MASK):
            return None
        spec = self.volume.spec(self.path(TRACE_MASK))
        if not self.has_holes:
            return np.broadcast_to(np.True_, spec.shape)
        return read_arrays(self.volume.store, [spec])[0] if math.prod(spec.shape) <= MASK_CELLS else None

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """Return the coordinates along each dimension; they and the mask are read in one round of requests."""
        specs = [self.volume.spec(self.path(dim)) for dim in self.dims if self.has(dim)]
        mask = self.volume.spec(self.path(TRACE_MASK)) if self.has_holes and self.has(TRACE_MASK) else None
        if mask and math.prod(mask.shape) <= MASK_CELLS and "mask" not in self.__dict__:
            *values, self.__dict__["mask"] = read_arrays(self.volume.store, [*specs, mask])
        else:
            values = read_arrays(self.volume.store, specs)
        stored = dict(zip((dim for dim in self.dims if self.has(dim)), values, strict=True))
        base = self.volume.state.levels[self.level]
        for axis, dim in enumerate(self.dims):
            if dim not in stored:
                stored[dim] = base.translation[axis] + base.scale[axis] * np.arange(self.shape[axis])
        return {dim: stored[dim] for dim in self.dims}

    def at_level(self, level: int, max_error: float) -> "Opened":
        """Return another level of the same volume."""
        return Opened(self.volume, level, max_error, self.masked)

    def answer(self, groups: Sequence[Group]) -> tuple[ReadableArray, Cost]:
        """Return the array that serves a selection of the samples fastest, and the cost of reading it."""
        return fastest(self.candidates, groups, local=self.volume.store.local)

    def samples(self, groups: Sequence[Group], dtype: np.dtype[Any]) -> np.ndarray:
        """Return a selection of the samples, from the array that answers it fastest."""
        chosen, _ = self.answer(groups)
        values = read_selection(self.volume.store_of(chosen.path), chosen.spec, groups, live=self.mask)
        stored_so = chosen.path == self.array and chosen.spec.fill == "NaN"  # where no trace is
        return values.astype(dtype, copy=False) if stored_so else self._hidden(values, groups, dtype)

    def values(self, path: str, groups: Sequence[Group], dtype: np.dtype[Any], field: str = "") -> np.ndarray:
        """Return a selection of another array of this level, or of a field of the trace headers."""
        spec = self.volume.spec(path)
        if not field:
            values = read_selection(self.volume.store, spec, groups)
        else:
            key = tuple(
                (g.axes, tuple(p if isinstance(p, range) else p.tobytes() for p in g.positions))
                for g in groups
            )
            kept = self._headers
            if kept is None or kept[0] != key:
                kept = (key, read_selection(self.volume.store, spec, groups, live=None))
                self._headers = kept if kept[1].nbytes <= KEPT_HEADER_BYTES else None
            values = kept[1][field]
        if dtype == values.dtype.newbyteorder("="):
            return values.astype(dtype)
        return self._hidden(values, groups, dtype)

    def reading_dtype(self, spec_dims: Sequence[str], dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of an array when read: integers become floats if some places have no trace."""
        dtype = dtype.newbyteorder("=")
        of_traces = tuple(spec_dims) in (self.dims, self.dims[:-1])
        if not (self.masked and self.has_holes and of_traces and dtype.kind in "iu"):
            return dtype
        return np.dtype("f4" if dtype.itemsize <= 2 else "f8")

    @property
    def samples_dtype(self) -> np.dtype[Any]:
        """Return the dtype of samples read: floats if a floating-point copy may replace an integer master."""
        dtypes = [self.reading_dtype(self.dims, array.spec.numpy) for array in self.candidates]
        return np.result_type(*dtypes)

    def _hidden(self, values: np.ndarray, groups: Sequence[Group], dtype: np.dtype[Any]) -> np.ndarray:
        """Return values with NaN at places without a trace."""
        if not (self.masked and self.has_holes and dtype.kind == "f" and self.has(TRACE_MASK)):
            return values.astype(dtype, copy=False)
        shown = self.live(groups)
        if not values.flags.writeable or values.dtype != dtype:
            values = values.astype(dtype)
        values[np.broadcast_to(~shown, values.shape)] = np.nan
        return values

    def live(self, groups: Sequence[Group]) -> np.ndarray:
        """Return which traces of a selection exist; its dimensions are the selection's, of extent 1 without traces."""
        spec = self.volume.spec(self.path(TRACE_MASK))
        kept, shape = [], []
        for group in groups:
            pairs = [
                (axis, p)
                for axis, p in zip(group.axes, group.positions, strict=True)
                if axis < len(spec.shape)
            ]
            if pairs:
                kept.append(Group(tuple(a for a, _ in pairs), tuple(p for _, p in pairs)))
            shape.append(len(group) if pairs else 1)
        mask = self.mask
        values = read_selection(self.volume.store, spec, kept) if mask is None else taken(mask, kept)
        return values.reshape(shape)


def _opened_again(
    url: str, options: StorageOptions, root: Root, level: int, max_error: float, masked: bool
) -> Opened:
    if root.state.mdio_v0:
        return Opened(MdioV0(url, options).as_volume(), level, max_error, masked)
    return Opened(Volume(Store(url, options), root), level, max_error, masked)


def level_of(volume: Volume, level: int, max_samples: int) -> int:
    """Return the level with a given number, or the finest level with at most `max_samples` samples.

    Raises:
        InputRefused: There is no such level.
    """
    levels = volume.state.levels
    if not all(isinstance(number, int | np.integer) for number in (level, max_samples)):
        raise InputRefused(f"level is {level!r} and max_samples {max_samples!r}; give whole numbers")
    if level and max_samples:
        raise InputRefused("level and max_samples both choose a level; give only one of them")
    if not -len(levels) <= level < len(levels):
        raise InputRefused(
            f"{volume.store.url} has no level {level}; it has 0 to {len(levels) - 1}, and seismill pyramid makes more"
        )
    if not max_samples:
        return level % len(levels)
    sizes = [math.prod(volume.spec(entry.path or volume.master).shape) for entry in levels]
    for number, size in enumerate(sizes):
        if size <= max_samples:
            return number
    raise InputRefused(
        f"the coarsest level of {volume.store.url} has {sizes[-1]:,} samples, more than max_samples={max_samples}; "
        "seismill pyramid makes coarser ones"
    )
