"""Define the user's corrections of headers: first sample, units, scalar, reference system.

Corrections are part of a placement, so plans and volumes store them, but only those that the user gave.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tasks.parameters import Index
from tasks.volume.segy.format import Given
from tasks.volume.segy.standards import SAMPLE_FORMATS

NO_UNIT = "none"


@dataclass(frozen=True)
class Corrections:
    """Corrections of headers; None, "" and 0 leave the header's value.

    Attributes:
        delay: Time or depth of the first sample.
        depth_unit: Unit of the sample axis in depth: m, ft, or none.
        coordinate_unit: Unit of X and Y: m, ft, deg, or none.
        coordinate_scalar: Scalar in the form of byte 71: positive numbers multiply, negative ones divide.
        epsg: Code of the reference system of the coordinates.
    """

    delay: float | None = None
    depth_unit: str = ""
    coordinate_unit: str = ""
    coordinate_scalar: int = 0
    epsg: int = 0

    @classmethod
    def of(cls, index: Index) -> "Corrections":
        """Return the corrections in index parameters."""
        return cls(
            delay=None if index.delay == "header" else float(index.delay),
            depth_unit="" if index.depth_unit == "header" else index.depth_unit,
            coordinate_unit="" if index.coordinate_unit == "header" else index.coordinate_unit,
            coordinate_scalar=index.coordinate_scalar,
            epsg=index.epsg,
        )

    def first_sample(self, delay: float) -> float:
        """Return the first value of the sample axis: the user's, else the delay of the traces."""
        return delay if self.delay is None else self.delay

    def to_json(self) -> dict[str, Any]:
        """Return plain values of the given corrections, under `corrections`; an empty dictionary if there are none."""
        given = {name: value for name, value in asdict(self).items() if value != getattr(_NOTHING, name)}
        return {"corrections": given} if given else {}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Corrections":
        """Return the corrections that a placement's plain values hold."""
        return cls(**plain.get("corrections", {}))


_NOTHING = Corrections()


def given_of(index: Index) -> Given:
    """Return the user's corrections of samples and traces, before a file is read."""
    codes = {sample_format.name: code for code, sample_format in SAMPLE_FORMATS.items()}
    orders: dict[str, Literal["", ">", "<"]] = {"header": "", "big": ">", "little": "<"}
    return Given(
        code=codes.get(index.sample_format, 0),
        order=orders[index.sample_endian],
        n_samples=index.samples_per_trace,
        interval_us=None if index.sample_interval == "header" else float(index.sample_interval) * 1000,
        keep_trailing=index.trailing == "keep",
        seismic_unix=index.file_format == "su",
    )
