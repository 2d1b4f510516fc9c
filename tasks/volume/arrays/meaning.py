"""Interpret the attributes of another tool's array: values that mean "no data", packing, labels.

Attributes are those of CF (_FillValue, missing_value, valid_range, scale_factor, flag_values), as xarray writes them,
and OME-Zarr's image labels. Copies and levels, and refusals of them, use this interpretation only.
"""

import base64
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tasks.volume.outcomes import InputRefused

MOST_MISSING = 16  # values that an array may name
# What is measured anew of a copy or level, or describes the group that the array lies in.
_NOT_CARRIED = frozenset(
    "_ARRAY_DIMENSIONS ome multiscales image-label omero copy_of codec tolerance max_abs_error rmse snr_db ratio "
    "method factor raw_bytes stored_bytes statsV1 count min max mean rms std nonfinite_count zero_count live_traces "
    "zero_traces _ROCKVERSE_DATATYPE description field_name field_unit voxel_unit voxel_origin voxel_length".split()
)


@dataclass(frozen=True)
class Meaning:
    """The meaning of an array's values.

    Attributes:
        missing: Values that mean "no data"; the first is the one to write.
        valid: Least and greatest value that mean data; empty where every value may.
        packed: Numbers are to be multiplied (scale_factor), shifted (add_offset) or taken as unsigned.
        labels: Values are names, not measures.
        carried: Attributes that copies and levels have from the array.
    """

    missing: tuple[float, ...] = ()
    valid: tuple[float, ...] = ()
    packed: bool = False
    labels: bool = False
    carried: dict[str, Any] = field(default_factory=dict)

    @property
    def has_gaps(self) -> bool:
        """Return whether some values mean no data."""
        return bool(self.missing or self.valid)

    def to_json(self) -> dict[str, Any]:
        """Return a plain dictionary without empty fields."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items() if v}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Meaning":
        """Return the inverse of `to_json`."""
        fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in plain.items()}
        return cls(**fields)

    def refuse_levels(self, dtype: np.dtype, method: str) -> None:
        """Check that cells can be made of such values.

        Raises:
            InputRefused: Means of these values would be wrong.
        """
        if method == "nearest":
            return
        if self.carried.get("_Unsigned") in ("true", True) and dtype.kind == "i":
            raise InputRefused(
                f"the array holds {dtype} to be read as unsigned integers (_Unsigned)",
                flags="--method nearest",
            )
        if self.has_gaps and dtype.kind in "iu" and dtype.itemsize > 4:
            raise InputRefused(
                f"the array holds {dtype} of which some mean no data, and their {method} is not exact",
                flags="--method nearest",
            )
        if self.valid and not self.missing:
            raise InputRefused(
                "the array has a valid_range and no _FillValue, so a cell without data could not be written",
                flags="--method nearest",
            )


def meaning_of(
    dtype: np.dtype,
    fill_value: Any,
    attributes: Mapping[str, Any],
    around: Mapping[str, Any],
    *,
    below_labels: bool,
) -> Meaning:
    """Return the meaning of an array from its own attributes.

    Args:
        dtype: Type of its values.
        fill_value: Value that Zarr gives where nothing is stored.
        attributes: Attributes of the array.
        around: Attributes of the group that it lies in.
        below_labels: Whether that group lies in a group of labels.
    """
    carried = {name: value for name, value in attributes.items() if name not in _NOT_CARRIED}
    # Of Zarr v2, xarray writes and reads this as CF's _FillValue; other tools leave Zarr's 0 there, which is data.
    if "_ARRAY_DIMENSIONS" in attributes and "_FillValue" not in attributes and fill_value is not None:
        plain = fill_value.item() if hasattr(fill_value, "item") else fill_value
        carried["_FillValue"] = (
            base64.b64encode(struct.pack("<d", plain)).decode() if dtype.kind == "f" else plain
        )
    missing: list[float] = []
    for name in ("_FillValue", "missing_value"):
        values = carried.get(name)
        for value in values if isinstance(values, list) else [values]:
            number = _number(value, dtype)
            if number is not None and number not in missing:
                missing.append(number)
    valid = _valid(attributes, dtype)
    around_ome = around.get("ome") if isinstance(around.get("ome"), Mapping) else {}
    named = "image-label" in around or "image-label" in (around_ome or {}) or below_labels
    flags = "flag_values" in attributes and "flag_masks" not in attributes
    return Meaning(
        missing=tuple(missing[:MOST_MISSING]),
        valid=valid,
        packed=any(name in attributes for name in ("scale_factor", "add_offset", "_Unsigned")),
        labels=dtype.kind == "b" or (dtype.kind in "iu" and (named or flags)),
        carried=carried,
    )


def hidden(values: np.ndarray, meaning: Meaning) -> np.ndarray:
    """Return values as floats that represent each exactly, with NaN for no data."""
    wide = values if values.dtype.kind == "f" else values.astype(np.float64)
    gone = np.zeros(values.shape, bool)
    for number in meaning.missing:
        gone |= values == np.asarray(number).astype(values.dtype)
    if meaning.valid:
        gone |= (values < meaning.valid[0]) | (values > meaning.valid[1])
    return np.where(gone, wide.dtype.type(np.nan), wide) if gone.any() else wide


def shown(level: np.ndarray, dtype: np.dtype, meaning: Meaning) -> np.ndarray:
    """Return values in the array's type, rounded half to even, NaN as its no-data value; the inverse of `hidden`."""
    gone = np.isnan(level)
    if dtype.kind == "f" and not gone.any():
        return level
    rounded = level if dtype.kind == "f" else np.rint(level)
    return np.where(gone, meaning.missing[0], rounded).astype(dtype)


def _number(value: Any, dtype: np.dtype) -> float | None:
    """Return an attribute's value in the array's type; None if it does not fit, or for NaN, which is no data anyway."""
    if isinstance(value, str) and dtype.kind == "f":  # xarray's way to write a float in Zarr v3
        try:
            value = struct.unpack("<d", base64.b64decode(value, validate=True))[0]
        except (ValueError, struct.error):
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:
        return None
    if dtype.kind == "b":
        return None
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return value if value == int(value) and limits.min <= value <= limits.max else None
    return float(value)


def _valid(attributes: Mapping[str, Any], dtype: np.dtype) -> tuple[float, ...]:
    """Least and greatest valid value, of valid_range or valid_min and valid_max."""
    both = attributes.get("valid_range")
    pair = (
        both
        if isinstance(both, list) and len(both) == 2
        else [attributes.get("valid_min"), attributes.get("valid_max")]
    )
    if dtype.kind not in "iuf" or all(value is None for value in pair):
        return ()
    limits: Any = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    ends = [float(limits.min), float(limits.max)]
    for place, value in enumerate(pair):
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
            ends[place] = value
    return tuple(ends)
