"""Measure the samples on the screen: limits of the colours, a histogram, a spectrum."""

from collections.abc import Sequence

import numpy as np

BINS = 128
MOST_VALUES = 1 << 20
MOST_TRACES = 512


def finite(values: np.ndarray) -> np.ndarray:
    """Return the finite values, thinned to about a million."""
    flat = values.reshape(-1)
    flat = flat[:: max(1, flat.size // MOST_VALUES)]
    return flat[np.isfinite(flat)]


def limits(values: Sequence[np.ndarray], percent: float) -> tuple[float, float]:
    """Return the values that get the first and the last colour.

    Of samples with both signs they are -c and c, where `percent` of the samples are no larger than c. Of others they
    leave out 100 - `percent` at each end.

    Args:
        values: Values in view.
        percent: Percentage from 50 to 100.
    """
    seen = np.concatenate([finite(value) for value in values]) if values else np.empty(0)
    if seen.size == 0:
        return -1.0, 1.0
    if seen.min() < 0 < seen.max():
        high = float(np.percentile(np.abs(seen), percent)) or float(np.abs(seen).max())
        return -high, high
    low, high = (float(value) for value in np.percentile(seen, [100 - percent, percent]))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def histogram(values: np.ndarray, bounds: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts and edges of bins that extend slightly beyond the limits of the colours."""
    seen = finite(values)
    margin = (bounds[1] - bounds[0]) / 4
    low, high = bounds[0] - margin, bounds[1] + margin
    if seen.size:
        low, high = max(low, float(seen.min())), min(high, float(seen.max()))
    if not high > low:
        low, high = low - 0.5, low + 0.5
    return np.histogram(seen, BINS, (low, high))


def spectrum(values: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies and the mean amplitude spectrum of columns, each without its mean and tapered at its ends.

    Args:
        values: Shape (down, across); columns with a value that is not finite are left out.
        step: Distance of rows; frequencies are in its inverse.

    Returns:
        Frequencies and amplitudes; both empty if no column is left, or if they are shorter than 4 samples.
    """
    columns = values[:, :: max(1, values.shape[1] // MOST_TRACES)].astype(np.float64)
    columns = columns[:, np.isfinite(columns).all(axis=0)]
    if columns.shape[0] < 4 or columns.shape[1] == 0:
        return np.empty(0), np.empty(0)
    columns = (columns - columns.mean(axis=0)) * np.hanning(columns.shape[0])[:, np.newaxis]
    return np.fft.rfftfreq(columns.shape[0], abs(step)), np.abs(np.fft.rfft(columns, axis=0)).mean(axis=1)
