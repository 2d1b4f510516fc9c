"""Measure lossy copies over a range of tolerances, on a sample of the master; nothing is stored.

Tolerances are powers of two, from errors above the signal down to invisible ones. The sample is that from which the
tolerance of a target is chosen, so that a row shows the figures that a copy would have.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tasks.volume.arrays.codecs import decode_chunk, encode_chunk
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import MOST_ZFP_DIMENSIONS, ArraySpec
from tasks.volume.copies.likeness import display_range, similarity
from tasks.volume.copies.quality import ZFP_DTYPES
from tasks.volume.copies.target import figures_of, sampled
from tasks.volume.kernels.error_sums import finite_or_zero
from tasks.volume.outcomes import InputRefused

FIRST_DB, LAST_DB = 5, 85  # of noise below the signal, about


@dataclass(frozen=True)
class Trial:
    """Figures of a codec with a tolerance on the sample; those in dB are infinite if there is no error."""

    codec: str
    tolerance: float
    ratio: float
    snr_db: float
    psnr_db: float
    ssim: float
    max_abs_error: float

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary without infinite figures, which JSON cannot hold."""
        return {name: value for name, value in asdict(self).items() if value != math.inf}


def explored(volume: Volume) -> list[Trial]:
    """Return the figures of ZFP, and of rounding for floats, over tolerances from the largest down.

    Raises:
        InputRefused: Lossy copies of such a master cannot be made, or its statistics are not known.
    """
    master, attributes = volume.spec(volume.master), volume.array_attributes(volume.master)
    kinds = {
        "zfp": ZFP_DTYPES.get(master.dtype, "") if len(master.shape) <= MOST_ZFP_DIMENSIONS else "",
        "rounded": master.dtype if master.dtype in ("float32", "float64") else "",
    }
    kinds = {kind: dtype for kind, dtype in kinds.items() if dtype}
    if volume.of_images and master.numpy.kind != "f":
        kinds = {}
    if not kinds:
        raise InputRefused(f"the master holds {master.dtype}, for which there are no lossy copies to explore")
    if not attributes.get("std"):
        raise InputRefused(
            "statistics of the values are unknown (another tool wrote the array) or constant; explore a "
            "published volume whose values vary"
        )
    std, extent = attributes["std"], display_range(volume)
    trials = []
    for kind, dtype in kinds.items():
        samples = list(sampled(volume, dtype))
        for exponent in _exponents(std):
            codec = f"{kind}:{2.0**exponent!r}"
            figures = figures_of(samples, dtype, codec, std, extent)
            trials.append(
                Trial(
                    kind,
                    2.0**exponent,
                    figures["ratio"],
                    figures.get("snr_db", math.inf),
                    figures.get("psnr_db", math.inf),
                    float(np.mean(list(_similarities(samples, dtype, codec, extent)))),
                    figures["max_abs_error"],
                )
            )
    return trials


def _exponents(std: float) -> range:
    """Powers of two: errors are about a third of a tolerance, so that each is some 6 dB from the next."""
    top, bottom = (math.floor(math.log2(3 * std) - db / 20 * math.log2(10)) for db in (FIRST_DB, LAST_DB))
    return range(max(top, -118), max(bottom, -119), -1)


def _similarities(
    samples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], dtype: str, codec: str, extent: float
) -> Iterator[float]:
    """Yield the structural similarity of the middle slice of each part of the sample, along its last two axes."""
    for chunk, values, live in samples:
        spec = ArraySpec("sample", chunk.shape, chunk.shape, dtype, ("",) * chunk.ndim, codec)
        decoded = decode_chunk(spec, encode_chunk(spec, chunk))[tuple(slice(0, n) for n in values.shape)]
        clean = np.array(values, values.dtype)
        finite_or_zero(clean, clean, live)
        middle = tuple(n // 2 for n in values.shape[:-2])
        shown = np.where(live[..., np.newaxis], decoded, 0)
        yield similarity(np.atleast_2d(clean[middle]), np.atleast_2d(shown[middle]), extent)
