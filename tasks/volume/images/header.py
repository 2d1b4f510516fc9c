"""Define `Slices`, the description of a file of slices that every format gives and every reader takes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.volume.outcomes import InputRefused

DTYPES = (
    "bool",
    *(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
)

# How units are written in files, and their names in OME-Zarr (UDUNITS-2).
UNITS = {
    "nm": "nanometer",
    "µm": "micrometer",
    "μm": "micrometer",
    "um": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "\\u00b5m": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "å": "angstrom",
    "inch": "inch",
    "in": "inch",
}


# Of time, likewise.
TIME_UNITS = {
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "msec": "millisecond",
    "us": "microsecond",
    "µs": "microsecond",
    "μs": "microsecond",
    "ns": "nanosecond",
    "min": "minute",
    "h": "hour",
    "hr": "hour",
    "d": "day",
}

METERS = {
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "inch": 0.0254,
    "meter": 1.0,
}


@dataclass(frozen=True)
class Voxels:
    """The lattice of voxels, axes z, y, x; a field is empty if the file does not state it.

    Attributes:
        length: Distance of neighbours per axis.
        unit: OME-Zarr's name of the unit of `length` and `origin`.
        origin: Place of the first voxel per axis.
        notes: Assumptions and conversions, for people; no part of a plan.
        taken: Origin of the lengths, for people; no part of a plan.
    """

    length: tuple[float, ...] = ()
    unit: str = ""
    origin: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    taken: str = field(default="", compare=False)


@dataclass(frozen=True)
class InSeries:
    """Place of a slice among the others of its scan, where the files state it and their names do not.

    Attributes:
        series: Identifier of the scan; a stack is of one.
        position: Coordinate along the normal of the slices, in the unit of their lengths; NaN if it is not known.
        number: Number of the slice in its scan.
        turned: Directions of its rows and columns; empty if they are not known.
    """

    series: str
    position: float
    number: int
    turned: tuple[float, ...] = ()


@dataclass(frozen=True)
class Slices:
    """The slices of one file.

    Attributes:
        kind: Which reader takes `details`: `plain`, `tiff`, `coded` or `hdf5`.
        count: Number of slices.
        shape: Rows and columns of each.
        dtype: NumPy's name of the voxels' type, without byte order.
        details: Values that reading needs beside the file; plain JSON.
        encoded_bytes: Most bytes read to decode one slice; 0 where slices are stored uncoded.
        scratch_bytes: Most bytes of memory to decode one slice, beside those read and the voxels.
        voxels: Length, unit and origin of the voxels.
        slow_axis: The slow axis in the file: 0, slices follow each other; 2, columns do (Fortran order).
        kept: Attributes of the array that the file gives, such as the rescaling of its values.
        in_series: Place among the slices of a scan; no part of a plan.
        samples: Values per voxel, such as 3 of a colour image; they become channels.
        planes: Axes along which pages of the file follow each other, slowest first, with their counts: `t`, `c` and
            `z`. Empty: along z alone.
        declared: Number of slices that the file states for itself and the others of its set; 0: none stated.
            No part of a plan.
        time_step: Distance from one time to the next; 0 if the file has none. No part of a plan.
        time_unit: OME-Zarr's name of its unit; empty if it is not known. No part of a plan.
        channels: Names and colours (RRGGBB) of the channels, as the file gives them; no part of a plan.
    """

    kind: str
    count: int
    shape: tuple[int, int]
    dtype: str
    details: dict[str, Any] = field(default_factory=dict)
    encoded_bytes: int = 0
    scratch_bytes: int = 0
    voxels: Voxels = Voxels()
    slow_axis: int = 0
    kept: dict[str, Any] = field(default_factory=dict)
    in_series: InSeries | None = None
    samples: int = 1
    planes: tuple[tuple[str, int], ...] = ()
    channels: tuple[tuple[str, str], ...] = ()
    declared: int = 0
    time_step: float = 0.0
    time_unit: str = ""

    @property
    def leading(self) -> tuple[tuple[str, int], ...]:
        """Return the axes before z, y and x that the file has (`t`, `c`), with their counts."""
        counts = {name: count for name, count in self.planes if count > 1}
        counts |= {"c": self.samples} if self.samples > 1 else {}
        return tuple((name, counts[name]) for name in ("t", "c") if name in counts)

    def page(self, z: int, **at: int) -> int:
        """Return the number of the page of a slice at a time and of a channel."""
        number = 0
        for name, count in self.planes or (("z", self.count),):
            number = number * count + (z if name == "z" else at.get(name, 0))
        return number


def unit_of(text: str) -> str:
    """Return OME-Zarr's name for a file's unit of length; empty if it is no such unit."""
    plain = text.strip().strip('"').strip().lower()
    if plain in UNITS:
        return UNITS[plain]
    # As a whole word, in either spelling, of one or of many: micrometre, micrometers, inches.
    word = plain.removesuffix("es") if plain == "inches" else plain.removesuffix("s")
    word = f"{word.removesuffix('re')}er" if word.endswith("metre") else word
    return word if word in METERS else ""


def time_unit_of(text: str) -> str:
    """Return OME-Zarr's name for a file's unit of time; empty if it is no such unit."""
    plain = text.strip().lower()
    word = plain.removesuffix("s")
    return TIME_UNITS.get(plain) or (word if word in TIME_UNITS.values() else "")


def scaled(length: float, own: str, unit: str) -> float:
    """Return a length in another unit, without the last digits that the conversion gets wrong."""
    return length if own == unit else float(f"{length * METERS[own] / METERS[unit]:.12g}")


def refuse_colour(where: str, count: int) -> None:
    """Refuse voxels of several values.

    Raises:
        InputRefused: Always.
    """
    raise InputRefused(
        f"{where} has {count} values per voxel (a colour image), which is not read; save a single channel, or save "
        "colours as PNG or TIFF with three values per voxel"
    )


def kept_dtype(dtype: np.dtype, where: str) -> str:
    """Return the name of a voxel type that a volume can hold.

    Raises:
        InputRefused: A volume cannot hold this type.
    """
    name = dtype.newbyteorder("=").name
    if name not in DTYPES:
        raise InputRefused(
            f"{where} holds {name} voxels; wanted whole numbers, floats or booleans, one per voxel"
        )
    return name
