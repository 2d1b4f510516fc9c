"""Convert samples to another float format or byte order, and count what the other format cannot hold."""

from dataclasses import dataclass

import numpy as np

from tasks.volume.segy.format import FileFormat
from tasks.volume.segy.headers import ibm_values
from tasks.volume.segy.samples import decode_column

_LARGEST_IBM = 0x7FFFFFFF


@dataclass(frozen=True)
class Lost:
    """Losses of a conversion: the number of changed samples, their largest error, and the number of NaN."""

    count: int = 0
    farthest: float = 0.0
    nan: int = 0

    def __add__(self, other: "Lost") -> "Lost":
        """Return the sum of both losses."""
        return Lost(self.count + other.count, max(self.farthest, other.farthest), self.nan + other.nan)


def convert_samples(
    records: np.ndarray, fmt: FileFormat, target: FileFormat, first_sample: int
) -> tuple[np.ndarray, Lost]:
    """Return the samples of some records for the target, as bytes.

    If the format stays the same, samples are only selected and their bytes reordered, so no bit changes. For
    IBM floats, values are rounded to the nearest; NaN becomes 0, and larger values become the largest IBM
    float.

    Args:
        records: The source's, uint8, shape (record, byte of the record), C-contiguous.
        fmt: The source's format.
        target: The target's: of a float format, or the source's.
        first_sample: The source's sample that is the target's first.

    Returns:
        uint8, shape (record, byte of the target's samples), and what was lost.
    """
    n, count = len(records), target.n_samples
    stop = first_sample + count
    if target.sample_format == fmt.sample_format:
        width = fmt.sample_format.bytes_per_sample
        raw = records[:, fmt.trace_header_bytes :].reshape(n, fmt.n_samples, width)[:, first_sample:stop]
        raw = raw if target.sample_order == fmt.sample_order else raw[:, :, ::-1]
        return np.ascontiguousarray(raw).reshape(n, count * width), Lost()
    decoded = np.empty((1, n, fmt.n_samples), fmt.sample_format.dtype)
    exceptions = decode_column(fmt, records, np.arange(n), decoded, most_exceptions=decoded.size).exceptions
    stored = decoded[0, :, first_sample:stop]
    exact = stored.astype(np.float64)
    inside = (exceptions[:, 1] >= first_sample) & (exceptions[:, 1] < stop)
    rows, columns = exceptions[inside, 0], exceptions[inside, 1] - first_sample
    exact[rows, columns] = ibm_values(exceptions[inside, 2].astype(np.uint32))
    lost = _beyond_float64(stored, exact)
    if target.sample_format.name == "ibm32":
        words = ibm_words(exact)
        lost += _difference(exact, ibm_values(words))
    else:
        with np.errstate(over="ignore"):
            values = exact.astype(target.sample_format.dtype)
        lost += _difference(exact, values.astype(np.float64))
        words = values.view(f"u{values.itemsize}")
    ordered = words.astype(words.dtype.newbyteorder(target.sample_order))
    return ordered.view(np.uint8).reshape(n, count * words.itemsize), lost


def ibm_words(values: np.ndarray) -> np.ndarray:
    """Return the nearest normalised IBM words (uint32) of float64 values: 0 for NaN, the largest for larger values."""
    magnitude = np.abs(values)
    finite = np.isfinite(magnitude)
    mantissa, exponent = np.frexp(np.where(finite, magnitude, 0.0))
    sixteens = -(-exponent // 4)
    fraction = np.rint(np.ldexp(mantissa, exponent - 4 * sixteens + 24)).astype(np.int64)
    carried = fraction == 1 << 24
    fraction, sixteens = np.where(carried, 1 << 20, fraction), sixteens + carried
    words = ((sixteens.astype(np.int64) + 64) << 24) | fraction
    words = np.where((fraction == 0) | (sixteens < -64), 0, words)
    words = np.where((sixteens > 63) | np.isinf(magnitude), _LARGEST_IBM, words)
    signs = np.where(np.isnan(values), 0, np.signbit(values)).astype(np.uint32) << np.uint32(31)
    return words.astype(np.uint32) | signs


def _beyond_float64(stored: np.ndarray, exact: np.ndarray) -> Lost:
    """Return the loss of 64-bit integers as float64."""
    if stored.dtype.kind == "f" or stored.itemsize < 8:
        return Lost()
    top = 2.0 ** (63 if stored.dtype.kind == "i" else 64)
    back = np.where(exact >= top, 0.0, exact).astype(stored.dtype)
    changed = (back != stored) | (exact >= top)
    if not changed.any():
        return Lost()
    worst = max(abs(int(a) - int(b)) for a, b in zip(stored[changed], exact[changed], strict=True))
    return Lost(int(changed.sum()), float(worst))


def _difference(exact: np.ndarray, written: np.ndarray) -> Lost:
    """Return the loss between values; a NaN that is still one is no loss."""
    same = (exact == written) | (np.isnan(exact) & np.isnan(written))
    if same.all():
        return Lost()
    nan = np.isnan(exact) & ~same
    changed = ~same & ~nan
    with np.errstate(invalid="ignore"):
        errors = np.abs(written[changed] - exact[changed])
    return Lost(int(changed.sum()), float(np.max(errors, initial=0.0)), int(nan.sum()))
