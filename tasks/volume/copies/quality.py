"""Turn the quality of each copy into a codec: lossless, or with a tolerance or a target.

Data that do not swing about zero are stored lossless unless a quality is named: in velocities, labels and counts, an
error is more than noise.
"""

from collections.abc import Mapping
from typing import Any

from tasks.parameters import TARGETS, Copies
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import DEFAULT_CODEC, MOST_ZFP_DIMENSIONS, ArraySpec
from tasks.volume.copies.likeness import display_range
from tasks.volume.copies.target import with_bound, with_target
from tasks.volume.outcomes import InputRefused
from tasks.volume.protocol.foreign_target import foreign_meaning

# What a lossy copy holds, by what the master does: a float that has each of its values.
ZFP_DTYPES = {
    **dict.fromkeys(("uint8", "int8", "uint16", "int16", "float16", "float32"), "float32"),
    **dict.fromkeys(("uint32", "int32", "float64"), "float64"),
}

DEFAULT_TARGET = "snr=40"
_LOSSLESS = "--quality lossless"
MOST_OFFSET = 0.5  # standard deviations of the mean from zero, in data that swing about it
# Largest errors, in standard deviations, and for images in shares of the window of values that viewers open with.
QUALITY = {"very_low": 6.0, "low": 3.0, "medium": 1.0, "high": 0.1, "very_high": 0.01, "ultra": 0.001}
OF_WINDOW = {"very_low": 0.1, "low": 0.05, "medium": 0.02, "high": 0.01, "very_high": 0.001, "ultra": 0.0001}


def codec_of(volume: Volume, copies: Copies, name: str) -> tuple[str, str, str]:
    """Return codec, fill and dtype of a copy.

    ZFP bounds its error in floats alone. Whole numbers of up to 32 bits are therefore stored as floats that
    hold every one of them exactly, so that the bound is on the numbers themselves.

    Raises:
        InputRefused: No requested quality fits the master.
    """
    master, attributes = volume.spec(volume.master), volume.array_attributes(volume.master)
    quality, kind = copies.quality_of(name), copies.codec_of(name)
    stated, _, figure = quality.partition("=")
    tolerance = float(figure) if stated == "tolerance" else 0.0
    if quality == copies.common_quality:
        tolerance = tolerance or copies.tolerance
    by_default = quality == "auto" and not tolerance
    # Who names a codec for lossy copies wants some.
    lossless = by_default and kind == "zfp" and not swings(volume)
    if (quality == "lossless" and not tolerance) or lossless:
        return DEFAULT_CODEC, master.fill, master.dtype
    meaning = foreign_meaning(volume)
    if meaning.packed or meaning.has_gaps:
        raise InputRefused(
            "the numbers of the array are packed (scale_factor, add_offset) or some of them mean no data "
            "(_FillValue, missing_value, valid_range), and a small error would change their meaning",
            flags=_LOSSLESS,
        )
    if volume.state.looks.is_labels or meaning.labels:
        raise InputRefused("the voxels are labels, and any error makes another label", flags=_LOSSLESS)
    if volume.of_images:
        _refuse_inexact(master, attributes)
    if kind == "rounded" and master.dtype not in ("float32", "float64"):
        raise InputRefused(f"the master holds {master.dtype}, and only floats are rounded", flags=_LOSSLESS)
    if kind == "zfp" and master.dtype not in ZFP_DTYPES:
        raise InputRefused(f"the master holds {master.dtype}, whose error ZFP cannot bound", flags=_LOSSLESS)
    if kind == "zfp" and len(master.shape) > MOST_ZFP_DIMENSIONS:
        raise InputRefused(
            f"the volume has {len(master.shape)} dimensions and ZFP takes at most {MOST_ZFP_DIMENSIONS}",
            flags="--lossy-codec rounded",
        )
    if not tolerance and "std" not in attributes:
        raise InputRefused(
            "another tool wrote the array, so statistics of its values are unknown; a tolerance would be in "
            "their unit",
            flags=_LOSSLESS,
        )
    fill, dtype = (master.fill, master.dtype) if kind == "rounded" else ("0", ZFP_DTYPES[master.dtype])
    if by_default or stated in TARGETS:
        return with_target(kind, DEFAULT_TARGET if by_default else quality), fill, dtype
    if not tolerance:
        tolerance = (
            OF_WINDOW[quality] * display_range(volume)
            if volume.of_images
            else QUALITY[quality] * attributes["std"]
        )
    if not tolerance:
        # A master that is constant: any positive tolerance stores it in a few bytes.
        tolerance = max(abs(attributes["max"]) * 1e-6, 1e-30)
    return with_bound(kind, tolerance), fill, dtype


def _refuse_inexact(master: ArraySpec, attributes: Mapping[str, Any]) -> None:
    """Check that a lossy copy of an image can stand for it: its voxels are floats, and all of them are numbers.

    Raises:
        InputRefused: The voxels are not floats, or some of them are not numbers.
    """
    if master.numpy.kind != "f":
        raise InputRefused(
            f"the voxels are {master.dtype}, and a lossy copy would hold floats in their place",
            flags=_LOSSLESS,
        )
    if count := attributes.get("nonfinite_count"):
        raise InputRefused(
            f"{count:,} voxels are NaN or Inf, and a lossy copy would hold 0 there", flags=_LOSSLESS
        )


def swings(volume: Volume) -> bool:
    """Return whether the master holds floats that swing about zero, as amplitudes do; images are kept whole."""
    master, attributes = volume.spec(volume.master), volume.array_attributes(volume.master)
    if volume.of_images:
        return False
    if master.numpy.kind != "f" or "std" not in attributes or len(master.shape) > MOST_ZFP_DIMENSIONS:
        return False
    swinging = attributes["min"] < 0 < attributes["max"]
    return swinging and abs(attributes.get("mean", 0)) <= MOST_OFFSET * attributes["std"]
