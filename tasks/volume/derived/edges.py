"""Fill samples beyond the end of an array, in the last ZFP cells of a chunk.

ZFP encodes cells of 4 samples along each axis. Zeros beside values are a step, which costs bits and precision: half of
the stored bytes of a volume that is one trace wide. No reader sees samples beyond the end of an array.
"""

from collections.abc import Sequence

import numpy as np

from tasks.volume.blocks import Region

CELL = 4


def continue_cells(values: np.ndarray, region: Region) -> None:
    """Repeat the last samples of a region to the end of its last cells, as far as there is room.

    Args:
        values: The samples of the region, in its first corner, and room behind them.
        region: Position of the cells in the array; cells begin at multiples of 4.
    """
    for axis, part in enumerate(region):
        count = part.stop - part.start
        behind = slice(count, count - part.stop % -CELL)
        before = (slice(None),) * axis
        values[(*before, behind)] = values[(*before, slice(count - 1, count))]


def at_origin(shape: Sequence[int]) -> Region:
    """Return the region of this shape that begins where an array does."""
    return tuple(slice(0, n) for n in shape)
