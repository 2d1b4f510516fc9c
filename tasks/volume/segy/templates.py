"""Table of MDIO's kinds of surveys: dimensions, header fields, coordinates, and attributes.

Names are those of multidimio 1.1.3 (mdio.builder.templates), because volumes carry them and mdio opens volumes.
One more kind is one more row. The byte of a field in the standard is the default. The standard has no byte for a
cable, a gun or a receiver, so the user must name one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DOMAINS = ("time", "depth")
CUSTOM = "Custom"  # a volume whose dimensions the user named otherwise


@dataclass(frozen=True)
class Template:
    """One kind of survey.

    Attributes:
        name: MDIO's.
        dims: Dimensions without the samples, slowest first.
        attributes: MDIO's dataset attributes.
        coordinates: Name and dimensions of each coordinate that is not a dimension.
        calculated: Dimensions that no header field holds; an override makes them.
        chunks: Chunks for volumes of this kind where the table by rank fits badly; () where it fits.
        domains: Domains of the sample axis; the first is the default.
    """

    name: str
    dims: tuple[str, ...]
    attributes: Mapping[str, str]
    coordinates: tuple[tuple[str, tuple[str, ...]], ...] = ()
    calculated: tuple[str, ...] = ()
    chunks: tuple[int, ...] = ()
    domains: tuple[str, ...] = DOMAINS

    @property
    def words(self) -> tuple[str, ...]:
        """Return names of the index fields, slowest first; a shot index is calculated from shot points."""
        return tuple("shot_point" if dim == "shot_index" else dim for dim in self.dims)

    @property
    def names(self) -> frozenset[str]:
        """Return all names that a header field can have for this kind."""
        return frozenset(self.words) | {name for name, _ in self.coordinates}


@dataclass(frozen=True)
class Quantity:
    """A header field by name: its byte in the standard (0: none), its type, and its form as a stored coordinate."""

    byte: int = 0
    type: str = "int32"
    dtype: str = "int32"  # which every header type fits that is not a float
    scaled: bool = False  # by the coordinate scalar at byte 71
    kind: str = ""  # length or angle, where it has a unit


QUANTITIES: dict[str, Quantity] = {
    "inline": Quantity(189),
    "crossline": Quantity(193),
    "cdp": Quantity(21),
    "offset": Quantity(37, dtype="float64", kind="length"),
    "shot_point": Quantity(17),
    "orig_field_record_num": Quantity(9),
    "channel": Quantity(13),
    "gun": Quantity(),
    "angle": Quantity(dtype="float64", kind="angle"),
    "azimuth": Quantity(dtype="float64", kind="angle"),
    "cdp_x": Quantity(181, dtype="float64", scaled=True, kind="length"),
    "cdp_y": Quantity(185, dtype="float64", scaled=True, kind="length"),
    "source_coord_x": Quantity(73, dtype="float64", scaled=True, kind="length"),
    "source_coord_y": Quantity(77, dtype="float64", scaled=True, kind="length"),
    "group_coord_x": Quantity(81, dtype="float64", scaled=True, kind="length"),
    "group_coord_y": Quantity(85, dtype="float64", scaled=True, kind="length"),
    "receiver_x": Quantity(81, dtype="float64", scaled=True, kind="length"),
    "receiver_y": Quantity(85, dtype="float64", scaled=True, kind="length"),
}


def quantity(name: str) -> Quantity:
    """Return the quantity of a field of this name; a plain number if the table lacks it."""
    return QUANTITIES.get(name, Quantity(dtype="float64"))


def _at(dims: tuple[str, ...], *names: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple((name, dims) for name in names)


_CDP, _BIN = ("cdp",), ("inline", "crossline")
_SOURCE, _GROUP = ("source_coord_x", "source_coord_y"), ("group_coord_x", "group_coord_y")
_SHOT_OF_SAIL = ("sail_line", "gun", "shot_index")
_SHOT_OF_LINE = ("shot_line", "gun", "shot_index")


def _both(
    name: str,
    dims: tuple[str, ...],
    survey: str,
    gather: str,
    at: tuple[str, ...],
    chunks: tuple[int, ...] = (),
) -> list[Template]:
    """Return a kind that MDIO has in time and in depth, with the coordinates of its CDPs."""
    attributes = {"surveyType": survey, "gatherType": gather}
    return [
        Template(
            f"{name}{domain.capitalize()}",
            dims,
            attributes,
            _at(at, "cdp_x", "cdp_y"),
            chunks=chunks,
            domains=(domain,),
        )
        for domain in DOMAINS
    ]


TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        *_both("PostStack2D", _CDP, "2D", "stacked", _CDP),
        *_both("PostStack3D", _BIN, "3D", "stacked", _BIN),
        *_both("CdpOffsetGathers2D", ("cdp", "offset"), "2D", "cdp", _CDP),
        *_both("CdpAngleGathers2D", ("cdp", "angle"), "2D", "cdp", _CDP),
        *_both("CdpOffsetGathers3D", (*_BIN, "offset"), "3D", "cdp", _BIN),
        *_both("CdpAngleGathers3D", (*_BIN, "angle"), "3D", "cdp", _BIN),
        *_both(
            "CocaGathers3D",
            (*_BIN, "offset", "azimuth"),
            "3D",
            "common_offset_common_azimuth",
            _BIN,
            (8, 8, 32, 1, 512),
        ),
        *_both(
            "OffsetTiles3D",
            (*_BIN, "inline_offset_tile", "crossline_offset_tile"),
            "3D",
            "offset_tiles",
            _BIN,
        ),
        Template(
            "StreamerShotGathers2D",
            ("shot_point", "channel"),
            {"surveyType": "2D", "gatherType": "common_source"},
            _at(("shot_point",), *_SOURCE) + _at(("shot_point", "channel"), *_GROUP),
        ),
        Template(
            "StreamerShotGathers3D",
            ("shot_point", "cable", "channel"),
            {"surveyType": "3D", "gatherType": "common_source"},
            _at(("shot_point",), "gun", *_SOURCE) + _at(("shot_point", "cable", "channel"), *_GROUP),
            chunks=(8, 1, 128, 1024),
        ),
        Template(
            "StreamerFieldRecords3D",
            (*_SHOT_OF_SAIL, "cable", "channel"),
            {"surveyDimensionality": "3D", "gatherType": "common_source"},
            _at(_SHOT_OF_SAIL, "shot_point", "orig_field_record_num", *_SOURCE)
            + _at((*_SHOT_OF_SAIL, "cable", "channel"), *_GROUP),
            calculated=("shot_index",),
            chunks=(1, 1, 16, 1, 64, 1024),
        ),
        Template(
            "ShotReceiverLineGathers3D",
            ("shot_line", "shot_point", "receiver_line", "receiver"),
            {"surveyType": "3D", "gatherType": "common_source"},
            _at(("shot_line", "shot_point"), "orig_field_record_num", *_SOURCE)
            + _at(("receiver_line", "receiver"), *_GROUP),
            chunks=(1, 32, 1, 32, 1024),
        ),
        Template(
            "ReceiverGathers3D",
            ("receiver", "shot_line", "shot_index"),
            {"surveyType": "3D", "gatherType": "receiver_gathers"},
            _at(("receiver",), "receiver_x", "receiver_y")
            + _at(("shot_line", "shot_index"), "shot_point", *_SOURCE),
            calculated=("shot_index",),
            chunks=(1, 1, 512, 2048),
            domains=("time",),
        ),
        Template(
            "ObnReceiverGathers3D",
            ("component", "receiver", *_SHOT_OF_LINE),
            {"surveyType": "3D", "gatherType": "common_receiver"},
            _at(("receiver",), *_GROUP) + _at(_SHOT_OF_LINE, "shot_point", "orig_field_record_num", *_SOURCE),
            calculated=("shot_index",),
            chunks=(1, 1, 1, 1, 512, 2048),
        ),
    )
}


def template_of(names: tuple[str, ...], domain: str, *, calculated: bool = False) -> Template | None:
    """Return the template of these dimensions or, if shot indices are calculated, these fields; else None."""
    return next(
        (
            t
            for t in TEMPLATES.values()
            if names == (t.words if calculated else t.dims) and domain in t.domains
        ),
        None,
    )
