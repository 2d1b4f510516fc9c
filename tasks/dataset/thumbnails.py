"""Small pictures of a slice, from the coarsest level that has enough samples."""

import numpy as np

from tasks.dataset.opened import Opened
from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.indexing import Group

CLIP_PERCENT = 99.0
DOWNWARD = ("time", "depth")


def thumbnail(opened: Opened, dim: str, label: float | None, size: int) -> np.ndarray:
    """Return a slice as RGBA, uint8 of shape (height, width, 4); pixels without a trace are transparent.

    Args:
        opened: The volume; no finer level than its own is used.
        dim: The dimension perpendicular to the slice; "" for a 2-D volume.
        label: Coordinate of the slice, rounded to the nearest one; None: the middle slice.
        size: Largest number of pixels along each side.

    Raises:
        InputRefused: The volume has no such dimension.
    """
    if dim and dim not in opened.dims:
        raise InputRefused(f"{opened.where} has no dimension {dim}; it has {', '.join(opened.dims)}")
    if size < 1:
        raise InputRefused(f"a thumbnail has 1 pixel or more along a side, not {size}")
    axis = opened.dims.index(dim) if dim else -1
    last = len(opened.dims) - 1
    plane = [a for a in (last, last - 1, last - 2) if a >= 0 and a != axis][:2][::-1]
    for level in reversed(range(opened.level, len(opened.volume.state.levels))):
        source = opened.at_level(level, np.inf) if level != opened.level else opened
        if max(source.shape[a] for a in plane) >= size or level == opened.level:
            break
    groups = []
    for a, (name, extent) in enumerate(zip(source.dims, source.shape, strict=True)):
        if a in plane:
            groups.append(Group((a,), (range(0, extent, -(-extent // size)),)))
            continue
        middle = _middle(source, a)
        if a == axis and label is not None:
            middle = int(np.argmin(np.abs(source.labels[name].astype(float) - label)))
        groups.append(Group((a,), (range(middle, middle + 1),)))
    shape = [len(groups[a]) for a in plane]
    values = source.samples(groups, source.candidates[0].spec.numpy.newbyteorder("=")).reshape(shape)
    live = np.broadcast_to(np.True_, shape)
    if source.has("trace_mask"):
        live = np.broadcast_to(source.live(groups), [len(group) for group in groups]).reshape(shape)
    pixels = _coloured(
        values.astype(np.float64), live & np.isfinite(values), signed=values.dtype.kind not in "ub"
    )
    return pixels.transpose(1, 0, 2) if source.dims[plane[1]] in DOWNWARD else pixels


def _middle(source: Opened, axis: int) -> int:
    """Return the position nearest to the middle of an axis at which there is a trace."""
    middle, mask = source.shape[axis] // 2, source.mask
    if mask is None or axis >= mask.ndim:
        return middle
    present = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
    return int(present[np.argmin(np.abs(present - middle))]) if present.size else middle


def _coloured(values: np.ndarray, shown: np.ndarray, *, signed: bool) -> np.ndarray:
    """Return values as greys: signed ones from -c to c, others from low to high, clipped by percentile."""
    known = values[shown]
    if known.size == 0:
        low, high = -1.0, 1.0
    elif signed:
        high = float(np.percentile(np.abs(known), CLIP_PERCENT)) or float(np.abs(known).max()) or 1.0
        low = -high
    else:
        low, high = (float(v) for v in np.percentile(known, [100 - CLIP_PERCENT, CLIP_PERCENT]))
        high = high if high > low else low + 1.0
    grey = np.clip((np.where(shown, values, low) - low) / (high - low) * 255, 0, 255)
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = np.rint(grey)[..., np.newaxis]
    pixels[..., 3] = np.where(shown, 255, 0)
    return pixels
