"""Coarser levels of a block of any type, any method and any number of dimensions, by kernels that take three axes.

At most three axes are coarsened, the last always counted among them. The others are gone through one index after
the other, so that a gather, a shot or a gun is never mixed with its neighbour unless the factors say so. Samples that
are not live, and NaN, are left out.
"""

import math
from collections.abc import Sequence

import numpy as np

from tasks.volume.blocks import cpu_count, on_chunks
from tasks.volume.kernels.cells import MEDIAN, MODE, extreme, median_or_mode
from tasks.volume.kernels.means import any_live, mean_floats, mean_integers

MOST_COARSENED = 3


def coarsen(
    values: np.ndarray, factor: tuple[int, ...], method: str = "mean", live: np.ndarray | None = None
) -> np.ndarray:
    """Return the level below: one value for each cell of `factor` samples, of shape ``ceil(values.shape / factor)``.

    Args:
        values: Numbers or booleans of any size, samples last.
        factor: Samples per cell and axis; above 1 on at most two axes beside the last, except for `nearest`.
        method: `mean`, `median`, `mode` (of equally frequent values the smallest), `min`, `max`, or `nearest`, the
            first sample of each cell. Whole numbers are rounded half to even, booleans likewise as 0 and 1.
        live: bool, over all axes but the last; None where all is live. Cells with nothing live are 0, NaN in floats.
    """
    if method == "nearest":
        return np.ascontiguousarray(values[tuple(slice(None, None, f) for f in factor)])
    if values.dtype == bool:
        return coarsen(values.view(np.uint8), factor, method, live).view(bool)
    if values.dtype == np.float16:  # which numba does not compute with
        return coarsen(values.astype(np.float32), factor, method, live).astype(np.float16)
    if live is not None:
        live = np.broadcast_to(live, values.shape[:-1])
    shape = tuple(-(-n // f) for n, f in zip(values.shape, factor, strict=True))
    level = np.empty(shape, values.dtype)
    if values.ndim <= MOST_COARSENED:
        # A section is a volume of one line.
        lead = (1,) * (MOST_COARSENED - values.ndim)
        fine, out = values.reshape(lead + values.shape), level.reshape(lead + shape)
        lives = None if live is None else live.reshape(fine.shape[:-1])
        _by_kernel(fine, lives, (*lead, *factor), out, method)
        return level
    traces = range(values.ndim - 1)
    wide = [axis for axis in traces if factor[axis] > 1]
    # Filled up with the last of the other axes, which makes the fewest calls of the largest arrays it can.
    wide = sorted([*wide, *[axis for axis in reversed(traces) if factor[axis] == 1][: 2 - len(wide)]])
    if len(wide) > MOST_COARSENED - 1:
        raise ValueError(f"at most two axes beside the last are coarsened, got factor {factor}")
    order = [*(axis for axis in traces if axis not in wide), *wide, values.ndim - 1]
    fine, coarse = values.transpose(order), level.transpose(order)
    lives = None if live is None else live.transpose(order[:-1])
    cell = (factor[wide[0]], factor[wide[1]], factor[-1])
    for at in np.ndindex(fine.shape[:-MOST_COARSENED]):
        out = np.empty(coarse.shape[-MOST_COARSENED:], values.dtype)
        _by_kernel(fine[at], None if lives is None else lives[at], cell, out, method)
        coarse[at] = out
    return level


def coarsen_in_parts(
    values: np.ndarray, factor: tuple[int, ...], method: str = "mean", live: np.ndarray | None = None
) -> np.ndarray:
    """Coarsen as `coarsen` does, on all processors; cells are independent."""
    shape = tuple(-(-n // f) for n, f in zip(values.shape, factor, strict=True))
    if values.ndim < 2:
        return coarsen(values, factor, method, live)
    axis = max(range(values.ndim - 1), key=lambda a: shape[a])
    edges = np.linspace(0, shape[axis], min(shape[axis], 2 * cpu_count()) + 1).astype(int)
    level = np.empty(shape, values.dtype)

    def part(number: int) -> None:
        low, high = int(edges[number]), int(edges[number + 1])
        here = [slice(None)] * (values.ndim - 1)
        here[axis] = slice(low * factor[axis], high * factor[axis])
        some = None if live is None else np.broadcast_to(live, values.shape[:-1])[tuple(here)]
        there = [slice(None)] * values.ndim
        there[axis] = slice(low, high)
        level[tuple(there)] = coarsen(values[tuple(here)], factor, method, some)

    on_chunks(part, range(len(edges) - 1))
    return level


def fit_together(extents: Sequence[int], shape: Sequence[int], factor: Sequence[int]) -> bool:
    """Return whether no cell of an array of this shape lies in two pieces of these extents."""
    return all(p % f == 0 or n <= p for p, n, f in zip(extents, shape, factor, strict=True))


def coarsen_live(live: np.ndarray, factor: tuple[int, ...], method: str = "mean") -> np.ndarray:
    """Return the live mask of the level below: any live trace of a cell or, with `nearest`, the one taken."""
    if method == "nearest":
        return np.ascontiguousarray(live[tuple(slice(None, None, f) for f in factor)])
    return any_live(live, factor)  # type: ignore[arg-type]  # of any number of axes


def _by_kernel(
    fine: np.ndarray, live: np.ndarray | None, factor: tuple[int, ...], out: np.ndarray, method: str
) -> None:
    factor = (factor[0], factor[1], factor[2])
    if method == "mean" and fine.dtype.kind == "f":
        if live is not None and not live.all():
            fine = np.where(live[..., np.newaxis], fine, np.nan)
        mean_floats(fine, factor, out)
        return
    if method == "mean":
        mean_integers(fine, live, factor, out)
        return
    if live is None:
        live = np.ones(fine.shape[:-1], bool)
    if method in ("median", "mode"):
        median_or_mode(fine, live, factor, out, MEDIAN if method == "median" else MODE)
    elif method in ("min", "max"):
        extreme(fine, live, factor, out, greatest=method == "max")
    else:
        raise ValueError(f"got method {method!r}, wanted mean, median, mode, min, max or nearest")


def cell_bytes(values_bytes: int, factor: tuple[int, ...], dtype: np.dtype) -> int:
    """Return the peak bytes of `coarsen_in_parts` beside its input: the level, and 16-bit floats made wider."""
    level = values_bytes / math.prod(factor)
    wider = 2 * values_bytes if dtype == np.float16 else 0
    return math.ceil(2 * level + wider)
