"""Predict the grid of a file from few of its headers, where its lines have equal steps."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.volume.segy.geometry import Axis, Grid


@dataclass(frozen=True)
class RegularGrid:
    """A full grid in row-major order: per dimension the first trace's value, the step in the file, the count.

    `order` lists dimensions from the slowest to the fastest in the file. Steps may be negative.
    """

    starts: tuple[int, ...]
    steps: tuple[int, ...]
    counts: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def n_traces(self) -> int:
        """Return the number of cells."""
        return math.prod(self.counts)

    def index_of(self, trace: int) -> tuple[int, ...]:
        """Return the index values that trace number `trace` has in such a file."""
        values = [0] * len(self.counts)
        for dimension in reversed(self.order):
            trace, position = divmod(trace, self.counts[dimension])
            values[dimension] = self.starts[dimension] + position * self.steps[dimension]
        return tuple(values)


def grid_from_regular(regular: RegularGrid, names: Sequence[str]) -> Grid:
    """Return the grid of a file that is regular, without reading its headers."""
    axes = []
    for name, start, step, count in zip(names, regular.starts, regular.steps, regular.counts, strict=True):
        values = start + step * np.arange(count, dtype=np.int64)
        axes.append(Axis(name, values[::-1].copy() if step < 0 else values))
    in_file = np.arange(regular.n_traces, dtype=np.int64).reshape([regular.counts[d] for d in regular.order])
    by_dimension = in_file.transpose(np.argsort(regular.order))
    flipped = by_dimension[tuple(slice(None, None, -1 if step < 0 else 1) for step in regular.steps)]
    return Grid(tuple(axes), np.ascontiguousarray(flipped))


def predict_regular(
    probe: Callable[[int], tuple[int, ...]],
    n_traces: int,
    *,
    ahead: Callable[[Sequence[int]], None] = lambda traces: None,
) -> RegularGrid | None:
    """Return the full regular grid that a file seems to hold in row-major order, or None.

    A guess, whatever the number of traces: up to two dimensions the first, second and last trace fix
    everything, and at most 13 others test it; above that the extents are found by bisection. The caller must
    compare each trace's words when they are read.

    Args:
        probe: Reads the index words of a trace, by its number from 0.
        n_traces: Number of traces in the file.
        ahead: Called with the traces that are probed next, so that they can be read together.
    """
    first = probe(0)
    regular = (
        _by_corners(probe, first, n_traces) if len(first) <= 2 else _by_bisection(probe, first, n_traces)
    )
    if regular is None or n_traces == 1:
        return regular
    # Ends of the first and the last line, and places that no small period shares.
    line = regular.counts[regular.order[-1]]
    places = {line - 1, line, n_traces - line, n_traces - line - 1}
    places |= {int(n_traces * ((k * 0.6180339887498949) % 1)) for k in range(1, 10)}
    inside = [t for t in sorted(places) if 0 < t < n_traces - 1]
    ahead(inside)
    if any(probe(t) != regular.index_of(t) for t in inside):
        return None
    return regular


def _by_corners(
    probe: Callable[[int], tuple[int, ...]], first: tuple[int, ...], n_traces: int
) -> RegularGrid | None:
    """Return one or two dimensions that fit the first, second and last trace."""
    dimensions = len(first)
    if n_traces == 1:
        return RegularGrid(first, (1,) * dimensions, (1,) * dimensions, tuple(range(dimensions)))
    second, last = probe(1), probe(n_traces - 1)
    changed = [d for d in range(dimensions) if first[d] != second[d]]
    if len(changed) != 1:
        return None
    fast = changed[0]
    fast_step = second[fast] - first[fast]
    positions, remainder = divmod(last[fast] - first[fast], fast_step)
    fast_count = positions + 1
    if remainder or fast_count < 2 or n_traces % fast_count:
        return None
    if dimensions == 1:
        return RegularGrid(first, (fast_step,), (fast_count,), (0,)) if fast_count == n_traces else None
    slow = 1 - fast
    slow_count = n_traces // fast_count
    slow_step, remainder = divmod(last[slow] - first[slow], slow_count - 1) if slow_count > 1 else (1, 0)
    if remainder or slow_step == 0 or (slow_count == 1 and last[slow] != first[slow]):
        return None
    steps, counts = [0, 0], [0, 0]
    steps[fast], steps[slow], counts[fast], counts[slow] = fast_step, slow_step, fast_count, slow_count
    return RegularGrid(first, (steps[0], steps[1]), (counts[0], counts[1]), (slow, fast))


def _by_bisection(
    probe: Callable[[int], tuple[int, ...]], first: tuple[int, ...], n_traces: int
) -> RegularGrid | None:
    """Dimensions from the fastest on: how long each goes on in its step before another one changes."""
    steps, counts = [1] * len(first), [1] * len(first)
    order: list[int] = []
    stride = 1
    while stride < n_traces:
        changed = [d for d, (a, b) in enumerate(zip(first, probe(stride), strict=True)) if a != b]
        if len(changed) != 1 or changed[0] in order or n_traces % stride:
            return None
        here = changed[0]
        step = probe(stride)[here] - first[here]

        def goes_on(position: int, here: int = here, step: int = step, stride: int = stride) -> bool:
            wanted = list(first)
            wanted[here] += position * step
            return probe(position * stride) == tuple(wanted)

        low, high = 1, n_traces // stride  # it goes on at low, and not at high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if goes_on(middle) else (low, middle)
        steps[here], counts[here] = step, high
        order.insert(0, here)
        stride *= high
    constant = [d for d in range(len(first)) if d not in order]
    if stride != n_traces:
        return None
    return RegularGrid(first, tuple(steps), tuple(counts), (*constant, *order))
