"""How alike a lossy copy of an image looks: SSIM on its middle slices, relative to the window that viewers show.

Source: Wang, Bovik, Sheikh and Simoncelli (2004), with uniform windows of 7 x 7 voxels and sample covariances.
"""

import numpy as np

from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.regions import read_region
from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.blocks import Region

WINDOW = 7
MOST_VOXELS = 1024  # along each side of a slice that is compared; the middle of larger ones
STABLE = (0.01, 0.03)  # of the display window: what keeps the quotients finite where nothing varies


def display_range(volume: Volume) -> float:
    """Return the range of values that viewers show: the window of an image, or maximum minus minimum of a survey."""
    window = volume.state.looks.window or []
    if len(window) == 2 and window[1] > window[0]:
        return float(window[1] - window[0])
    attributes = volume.array_attributes(volume.master)
    return float(attributes.get("max", 0)) - float(attributes.get("min", 0))


def least_similarity(volume: Volume, copy: ArraySpec) -> float:
    """Return the least SSIM of a copy's middle slices, one across each axis with more than one voxel beside it."""
    master, extent = volume.spec(volume.master), display_range(volume)
    least = 1.0
    for axis in range(len(master.shape)):
        region = _middle(master.shape, axis)
        pair = [
            read_region(store, spec, region).squeeze()
            for store, spec in ((volume.store_of(volume.master), master), (volume.store, copy))
        ]
        if pair[0].ndim == 2 and extent > 0:
            least = min(least, similarity(pair[0], pair[1], extent))
    return least


def similarity(master: np.ndarray, other: np.ndarray, extent: float) -> float:
    """Return the mean SSIM of two slices; as `windows_alike`."""
    return float(windows_alike(master, other, extent).mean())


def windows_alike(master: np.ndarray, other: np.ndarray, extent: float) -> np.ndarray:
    """Return the SSIM of each window of two slices.

    Args:
        master: A slice of two axes.
        other: Array of the same shape.
        extent: The width of the window of values that is shown.
    """
    side = min(WINDOW, *master.shape)
    count = side * side
    x, y = master.astype(np.float64), other.astype(np.float64)
    shift = x.mean()  # the sums of squares lose no digits to a level that both have
    x, y = x - shift, y - shift
    mean_x, mean_y = _means(x, side), _means(y, side)
    unbiased = count / max(1, count - 1)
    var_x = unbiased * (_means(x * x, side) - mean_x**2)
    var_y = unbiased * (_means(y * y, side) - mean_y**2)
    both = unbiased * (_means(x * y, side) - mean_x * mean_y)
    mean_x, mean_y = mean_x + shift, mean_y + shift
    low, high = ((share * extent) ** 2 for share in STABLE)
    return ((2 * mean_x * mean_y + low) * (2 * both + high)) / (
        (mean_x**2 + mean_y**2 + low) * (var_x + var_y + high)
    )


def _means(values: np.ndarray, side: int) -> np.ndarray:
    """Return the mean of each window of `side` x `side` that lies inside."""
    windows = np.lib.stride_tricks.sliding_window_view
    rows = windows(values, side, axis=0).mean(axis=-1)
    return np.asarray(windows(rows, side, axis=1).mean(axis=-1))


def _middle(shape: tuple[int, ...], axis: int) -> Region:
    """Return the middle slice across an axis, cut to its middle; other axes than the last three stay at theirs."""
    region = []
    for number, n in enumerate(shape):
        width = 1 if number == axis or number < len(shape) - 3 else min(n, MOST_VOXELS)
        start = n // 2 if width == 1 else (n - width) // 2
        region.append(slice(start, start + width))
    return tuple(region)
