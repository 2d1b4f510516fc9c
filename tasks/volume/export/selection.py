"""Select traces and samples of a volume by their coordinates.

A selection is ranges of labels, both ends included, and a mask over the grid; errors in it are reported before anything
is written.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Source

_RANGE = re.compile(r"(?P<name>\w+)=(?P<first>[^:]*)(?P<colon>:?)(?P<last>[^:]*)")
_NPY_HEADER_BYTES = 4096


@dataclass(frozen=True, eq=False)
class Selection:
    """Some cells of the grid, bool of its shape, and some of the samples of each trace."""

    cells: np.ndarray
    first_sample: int
    last_sample: int

    @property
    def n_samples(self) -> int:
        """Per trace."""
        return self.last_sample - self.first_sample + 1


def select(volume: Volume, ranges: Sequence[str], mask: str) -> Selection:
    """Return the cells that have a trace and lie in every range and in the mask.

    Args:
        volume: The volume.
        ranges: Such as `inline=100:200`, `crossline=300` or `time=:1500`, of dimensions or coordinates of the grid.
        mask: Path of a .npy file of booleans; empty: none.

    Raises:
        InputRefused: A range or the mask cannot be read, or nothing is selected.
    """
    dims = volume.spec(volume.master).dims
    cells = volume.read("trace_mask").copy()
    first_sample, last_sample = 0, volume.spec(volume.master).shape[-1] - 1
    for text in ranges:
        name, low, high = _range(text)
        if name not in dims and (not volume.has(name) or volume.spec(name).shape != cells.shape):
            over = [path for path in ("cdp_x", "cdp_y") if volume.has(path)]
            raise InputRefused(
                f"selection {text} names no coordinate of {volume.store.url}; it has {', '.join([*dims, *over])}"
            )
        values = volume.read(name)
        if values.dtype.kind not in "iuf":
            raise InputRefused(f"selection {text}: {name} holds no numbers; name another coordinate")
        inside = (values >= low) & (values <= high)
        if not inside.any():
            raise InputRefused(
                f"selection {text} holds nothing: {name} goes from {np.nanmin(values):g} to {np.nanmax(values):g}"
            )
        if name == dims[-1]:
            positions = np.flatnonzero(inside)
            first_sample, last_sample = (
                max(first_sample, int(positions[0])),
                min(last_sample, int(positions[-1])),
            )
        elif name in dims:
            axis = dims.index(name)
            cells &= inside.reshape([-1 if a == axis else 1 for a in range(cells.ndim)])
        else:
            cells &= inside
    if mask:
        cells &= _mask(volume, mask, cells.shape)
    if not cells.any() or last_sample < first_sample:
        raise InputRefused("the selection holds no trace, or no sample; choose wider ranges")
    return Selection(cells, first_sample, last_sample)


def _range(text: str) -> tuple[str, float, float]:
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match:
        first, last = match["first"], match["last"] if match["colon"] else match["first"]
        try:
            low, high = float(first or "-inf"), float(last or "inf")
            if low <= high and (match["colon"] or first):
                return match["name"], low, high
        except ValueError:
            pass
    raise InputRefused(
        f"selection {text!r} is no range; write NAME=FIRST:LAST, such as inline=100:200 or time=:1500"
    )


def _mask(volume: Volume, url: str, shape: tuple[int, ...]) -> np.ndarray:
    file = Source(url, volume.store.options)
    most = int(np.prod(shape)) + _NPY_HEADER_BYTES
    if file.size > most:
        raise InputRefused(
            f"{url} has {file.size:,} bytes, and a mask of the grid {shape} at most {most:,}; save booleans with "
            "numpy.save"
        )
    try:
        mask = np.load(io.BytesIO(file.read(0, file.size)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputRefused(f"{url} is not a .npy file of booleans; save one with numpy.save") from error
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != shape:
        kind = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else "an archive"
        raise InputRefused(f"{url} holds {kind}, and the mask of this volume is bool of shape {shape}")
    return mask
