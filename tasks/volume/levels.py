"""Means of a block of any number of dimensions, by a kernel that takes three axes.

At most three axes are coarsened, the samples always counted among them. The others are gone through one index
after the other, so that a gather, a shot or a gun is never averaged with its neighbour unless it was asked for.
"""

import numpy as np

from tasks.volume.kernels.means import mean_floats

MOST_COARSENED = 3


def coarsen(values: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    """The means over cells of `factor` samples, NaN left out; of shape ``ceil(values.shape / factor)``.

    Args:
        values: Floats, samples last.
        factor: Samples per mean and axis; above 1 on at most two axes beside the last.
    """
    shape = tuple(-(-n // f) for n, f in zip(values.shape, factor, strict=True))
    means = np.empty(shape, values.dtype)
    if values.ndim <= MOST_COARSENED:
        # A section is a volume of one line.
        lead = (1,) * (MOST_COARSENED - values.ndim)
        mean_floats(values.reshape(lead + values.shape), (*lead, *factor), means.reshape(lead + shape))
        return means
    traces = range(values.ndim - 1)
    wide = [axis for axis in traces if factor[axis] > 1]
    # Filled up with the last of the other axes, which makes the fewest calls of the largest arrays it can.
    wide = sorted([*wide, *[axis for axis in reversed(traces) if factor[axis] == 1][: 2 - len(wide)]])
    if len(wide) > MOST_COARSENED - 1:
        raise ValueError(f"at most two axes beside the last are coarsened, got factor {factor}")
    order = [*(axis for axis in traces if axis not in wide), *wide, values.ndim - 1]
    fine, coarse = values.transpose(order), means.transpose(order)
    cell = (factor[wide[0]], factor[wide[1]], factor[-1])
    for at in np.ndindex(fine.shape[:-MOST_COARSENED]):
        out = np.empty(coarse.shape[-MOST_COARSENED:], values.dtype)
        mean_floats(fine[at], cell, out)
        coarse[at] = out
    return means
