"""Place each trace of a file in the grid of the volume.

Axes hold the index values that occur, ascending, whatever the order in the file; the trace numbers record that order. A
grid is checked before anything of its size is allocated, because one wrong header word can make a grid of 10^18 cells.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.headers import word

# MDIO refuses grids of more cells per trace as well; below the floor a sparse grid costs nothing.
MOST_CELLS_PER_TRACE = 10
_FLOOR_CELLS = 10_000
# Traces handled at once where temporaries are several times as large as the index words.
_STEP = 1 << 20


@dataclass(frozen=True, eq=False)
class Axis:
    """A dimension of the grid: values strictly ascending, int64, or float64 where some are no whole numbers."""

    name: str
    values: np.ndarray

    @property
    def step(self) -> int | float:
        """Return the constant distance of the values; 0 if it varies, 1 if there is one value."""
        if len(self.values) == 1:
            return 1
        steps = np.diff(self.values)
        return steps[0].item() if (steps == steps[0]).all() else 0

    def __str__(self) -> str:
        first, last, step = self.values[0].item(), self.values[-1].item(), self.step
        by = "" if step == 1 else f" by {step}" if step else " in unequal steps"
        return f"{self.name} {first} to {last}{by} ({len(self.values):,})"


@dataclass(frozen=True, eq=False)
class Grid:
    """Axes and, for every cell, the number of its trace: int64 of the grid's shape, from 0, -1 where none."""

    axes: tuple[Axis, ...]
    trace_numbers: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the dimensions."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of lines along each dimension."""
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def placed(self) -> int:
        """Return the number of traces that have a cell."""
        return int(np.count_nonzero(self.trace_numbers >= 0))


def grid_of(
    index_values: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    index_bytes: Sequence[int] = (),
    numbers: np.ndarray | None = None,
) -> Grid:
    """Return the grid on which every trace has a cell of its own.

    Memory beyond the result is tens of MB plus, for index values spread over many more numbers than there
    are traces, a sorted copy of them.

    Args:
        index_values: For each dimension the index word of every trace, in file order; integers or floats.
        names: Names of the dimensions.
        index_bytes: First bytes of the index words, to name them in refusals.
        numbers: Numbers of these traces in the file, ascending, unless they are all.

    Raises:
        InputRefused: Two traces have one cell, the words hold no grid, or the grid would be nearly empty.
    """
    columns = [_numbers(values, name) for values, name in zip(index_values, names, strict=True)]
    n_traces = len(columns[0])
    axes = tuple(Axis(name, _distinct(values)) for name, values in zip(names, columns, strict=True))
    _refuse_no_grid(axes, n_traces, index_bytes)
    shape = tuple(len(axis.values) for axis in axes)
    trace_numbers = np.full(math.prod(shape), -1, np.int64)
    ranks = [_ranking(axis.values, n_traces) for axis in axes]
    starts = range(0, n_traces, _STEP)
    for start in reversed(starts):
        cells = _cells(columns, ranks, shape, start)
        # Backwards, so that of traces with the same cell the first keeps it.
        trace_numbers[cells[::-1]] = np.arange(start, start + len(cells))[::-1]
    duplicates, first = 0, -1
    for start in starts:
        cells = _cells(columns, ranks, shape, start)
        extra = np.flatnonzero(trace_numbers[cells] != np.arange(start, start + len(cells)))
        if len(extra) and first < 0:
            first, kept = start + int(extra[0]), int(trace_numbers[cells[extra[0]]])
        duplicates += len(extra)
    if duplicates:
        index = ", ".join(
            f"{name} {values[first].item()}" for name, values in zip(names, columns, strict=True)
        )
        entry, other = (t if numbers is None else int(numbers[t]) for t in (kept, first))
        raise InputRefused(
            f"{duplicates:,} of {n_traces:,} traces have the {_place(names, index_bytes)} of an earlier one, "
            f"first traces {entry + 1:,} and {other + 1:,} ({index})",
            flags="--has-duplicates",
        )
    if numbers is not None:
        flat = trace_numbers
        for start in range(0, len(flat), _STEP):
            part = flat[start : start + _STEP]
            part[part >= 0] = numbers[part[part >= 0]]
    return Grid(axes, trace_numbers.reshape(shape))


def coordinates(
    headers: np.ndarray, x_byte: int, y_byte: int, byte_order: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return X and Y of each trace as float64, multiplied by the scalar at byte 71 of its own header.

    SEG-Y rev 1, table 3: a positive scalar multiplies, a negative one divides; 0 is taken as 1.

    Args:
        headers: Trace headers as stored, uint8, shape (traces, 240).
        x_byte: First byte of the X word (int32).
        y_byte: First byte of the Y word (int32).
        byte_order: '>' or '<', of the file.
    """
    x, y = (
        scaled(word(headers, byte, "int32", byte_order), headers, byte_order) for byte in (x_byte, y_byte)
    )
    return x, y


def scaled(values: np.ndarray, headers: np.ndarray, byte_order: str, given: int = 0) -> np.ndarray:
    """Return a coordinate of some traces as float64, with the given scalar or their own (byte 71)."""
    scalar = np.where(given, given, word(headers, 71, "int16", byte_order)).astype(np.float64)
    factor, divisor = np.where(scalar > 0, scalar, 1.0), np.where(scalar < 0, -scalar, 1.0)
    # Divided, not multiplied by the inverse: 61000001 / 10 is the double nearest to what was meant.
    return values * factor / divisor


def sample_axis(file_format: FileFormat, delay: float, *, depth: bool = False) -> tuple[str, np.ndarray]:
    """Name and values of the sample axis: time in ms, or depth likewise in 1000 units of the interval.

    int32 where all values are whole, else float64. With an interval of 0 the samples are numbered from 0.

    Args:
        file_format: Format, for the number of samples and the interval (µs).
        delay: Delay of the first sample, in ms (byte 109 of the trace headers).
        depth: The axis is depth.
    """
    name, count = "depth" if depth else "time", file_format.n_samples
    if file_format.sample_interval_us == 0:
        return name, np.arange(count, dtype=np.int32)
    values = delay + np.arange(count) * file_format.sample_interval_us / 1000
    whole = (values == np.rint(values)).all() and np.abs(values).max() <= np.iinfo(np.int32).max
    return name, values.astype(np.int32) if whole else values


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Index values as integers where all are whole."""
    if values.dtype.kind in "iu":
        return values
    usable = np.abs(values) < 2**53
    if not usable.all():
        raise InputRefused(
            f"the index word of {name} is not a usable number in {int((~usable).sum()):,} traces "
            f"(first {values[~usable][0]:g}); give its type or another byte"
        )
    return values.astype(np.int64) if (values == np.rint(values)).all() else values.astype(np.float64)


def _distinct(values: np.ndarray) -> np.ndarray:
    """Return the values that occur, ascending, int64 or float64."""
    if values.dtype.kind == "f":
        return np.unique(values)
    low, high = int(values.min()), int(values.max())
    if high - low >= max(4 * len(values), _STEP):
        return np.unique(values).astype(np.int64)
    present = np.zeros(high - low + 1, bool)
    for start in range(0, len(values), _STEP):
        present[values[start : start + _STEP].astype(np.int64) - low] = True
    return np.flatnonzero(present) + low


def _ranking(axis: np.ndarray, n_traces: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from index values to positions on the axis: a table where that is small, else a search."""
    low, high = int(axis[0]), int(axis[-1])
    if axis.dtype.kind == "f" or high - low >= max(4 * n_traces, _STEP):
        return lambda values: np.searchsorted(axis, values)
    table = np.zeros(high - low + 1, np.int64)
    table[axis - low] = np.arange(len(axis))
    return lambda values: table[values.astype(np.int64) - low]


def _cells(
    columns: Sequence[np.ndarray],
    ranks: Sequence[Callable[[np.ndarray], np.ndarray]],
    shape: tuple[int, ...],
    start: int,
) -> np.ndarray:
    """Flat cell numbers of `_STEP` traces from `start`."""
    cells = np.zeros(min(_STEP, len(columns[0]) - start), np.int64)
    for values, rank, count in zip(columns, ranks, shape, strict=True):
        cells = cells * count + rank(values[start : start + _STEP])
    return cells


def _refuse_no_grid(axes: tuple[Axis, ...], n_traces: int, index_bytes: Sequence[int]) -> None:
    place = _place([axis.name for axis in axes], index_bytes)
    counts = [len(axis.values) for axis in axes]
    cells = math.prod(counts)
    if n_traces > 1 and cells == 1:
        raise InputRefused(f"{place} are the same in all {n_traces:,} traces; name other index bytes")
    extents = " x ".join(str(axis) for axis in axes)
    if cells > MOST_CELLS_PER_TRACE * n_traces and cells > _FLOOR_CELLS:
        raise InputRefused(
            f"{place} would make a grid of {cells:,} cells for {n_traces:,} traces ({extents}), more than "
            f"{MOST_CELLS_PER_TRACE} a trace; name other index bytes"
        )
    if len(axes) > 1 and n_traces > 3 and min(counts) == n_traces:
        raise InputRefused(
            f"{place} hold no grid: all {n_traces:,} traces differ in each of them ({extents}); name other "
            "index bytes"
        )


def _place(names: Sequence[str], index_bytes: Sequence[int]) -> str:
    """Return the index words by name and byte."""
    where = f" (bytes {', '.join(map(str, index_bytes))})" if index_bytes else ""
    return " and ".join(names) + where
