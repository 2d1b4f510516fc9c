"""A file of every kind of survey: each trace, axis and coordinate of its volume against what the file was made of.

What a kind is made of is written here by hand from multidimio's documentation and the standard's bytes, not taken
from the table under test.
"""

from pathlib import Path

import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index, Overrides
from tasks.prove import prove
from tasks.volume.segy.templates import TEMPLATES
from tests.support.gathers import write_gathers

# First byte and NumPy type of each word: the standard's, or from 201 on what the user names.
BYTES = {
    "inline": (189, "i4"), "crossline": (193, "i4"), "cdp": (21, "i4"), "offset": (37, "i4"),
    "shot_point": (17, "i4"), "orig_field_record_num": (9, "i4"), "channel": (13, "i4"),
    "cdp_x": (181, "i4"), "cdp_y": (185, "i4"), "source_coord_x": (73, "i4"), "source_coord_y": (77, "i4"),
    "group_coord_x": (81, "i4"), "group_coord_y": (85, "i4"), "receiver_x": (81, "i4"), "receiver_y": (85, "i4"),
    "angle": (201, "f4"), "azimuth": (205, "f4"), "inline_offset_tile": (201, "i2"),
    "crossline_offset_tile": (203, "i2"), "cable": (201, "i2"), "gun": (203, "i2"), "sail_line": (205, "i2"),
    "shot_line": (207, "i2"), "receiver_line": (209, "i2"), "receiver": (211, "i4"), "component": (215, "i2"),
}  # fmt: skip
TYPES = {"i4": "int32", "i2": "int16", "f4": "float32"}
AXES = {
    "inline": [11, 12, 14], "crossline": [100, 103], "cdp": [7, 8, 9, 20], "offset": [-50, 0, 150],
    "angle": [2.5, 5, 10],
    "azimuth": [0, 45.5], "inline_offset_tile": [-1, 0, 1], "crossline_offset_tile": [3, 4], "shot_point": [40, 42, 43],
    "cable": [1, 2], "channel": [1, 2, 3, 4], "sail_line": [501, 503], "gun": [1, 2], "shot_index": [0, 1, 2],
    "shot_line": [8, 9], "receiver_line": [70, 71], "receiver": [5, 6, 90], "component": [1, 2, 3],
}  # fmt: skip
BIN, SOURCE, GROUP = (
    ("inline", "crossline"),
    ("source_coord_x", "source_coord_y"),
    ("group_coord_x", "group_coord_y"),
)
SAIL, LINE = ("sail_line", "gun", "shot_index"), ("shot_line", "gun", "shot_index")


def of_cdps(*dims: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    along = tuple(dim for dim in dims if dim in ("cdp", *BIN))
    return dims, dict.fromkeys(("cdp_x", "cdp_y"), along)


# Dimensions, and what each coordinate varies along.
KINDS: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    **{f"PostStack2D{domain}": of_cdps("cdp") for domain in ("Time", "Depth")},
    **{f"PostStack3D{domain}": of_cdps(*BIN) for domain in ("Time", "Depth")},
    **{f"CdpOffsetGathers2D{domain}": of_cdps("cdp", "offset") for domain in ("Time", "Depth")},
    **{f"CdpAngleGathers2D{domain}": of_cdps("cdp", "angle") for domain in ("Time", "Depth")},
    **{f"CdpOffsetGathers3D{domain}": of_cdps(*BIN, "offset") for domain in ("Time", "Depth")},
    **{f"CdpAngleGathers3D{domain}": of_cdps(*BIN, "angle") for domain in ("Time", "Depth")},
    **{f"CocaGathers3D{domain}": of_cdps(*BIN, "offset", "azimuth") for domain in ("Time", "Depth")},
    **{
        f"OffsetTiles3D{domain}": of_cdps(*BIN, "inline_offset_tile", "crossline_offset_tile")
        for domain in ("Time", "Depth")
    },
    "StreamerShotGathers2D": (
        ("shot_point", "channel"),
        dict.fromkeys(SOURCE, ("shot_point",)) | dict.fromkeys(GROUP, ("shot_point", "channel")),
    ),
    "StreamerShotGathers3D": (
        ("shot_point", "cable", "channel"),
        dict.fromkeys(("gun", *SOURCE), ("shot_point",)) | dict.fromkeys(GROUP, ("shot_point", "cable", "channel")),
    ),
    "StreamerFieldRecords3D": (
        (*SAIL, "cable", "channel"),
        dict.fromkeys(("shot_point", "orig_field_record_num", *SOURCE), SAIL)
        | dict.fromkeys(GROUP, (*SAIL, "cable", "channel")),
    ),
    "ShotReceiverLineGathers3D": (
        ("shot_line", "shot_point", "receiver_line", "receiver"),
        dict.fromkeys(("orig_field_record_num", *SOURCE), ("shot_line", "shot_point"))
        | dict.fromkeys(GROUP, ("receiver_line", "receiver")),
    ),
    "ReceiverGathers3D": (
        ("receiver", "shot_line", "shot_index"),
        dict.fromkeys(("receiver_x", "receiver_y"), ("receiver",))
        | dict.fromkeys(("shot_point", *SOURCE), ("shot_line", "shot_index")),
    ),
    "ObnReceiverGathers3D": (
        ("component", "receiver", *LINE),
        dict.fromkeys(GROUP, ("receiver",)) | dict.fromkeys(("shot_point", "orig_field_record_num", *SOURCE), LINE),
    ),
}  # fmt: skip
OVERRIDES = {
    "StreamerFieldRecords3D": Overrides(AutoShotWrap=True),
    "ReceiverGathers3D": Overrides(CalculateShotIndex=True),
    "ObnReceiverGathers3D": Overrides(CalculateShotIndex=True),
}


def test_every_template_is_here():
    assert set(KINDS) == set(TEMPLATES)


def made_up(coordinate: str, along: tuple[str, ...], places: dict[str, np.ndarray]) -> np.ndarray:
    """A value of a coordinate for every trace, different wherever one of its dimensions is."""
    value = np.full(len(next(iter(places.values()))), 10 + len(coordinate))
    for dim in along:
        value = value * 7 + places[dim]
    return value


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_each_kind_has_its_traces_axes_and_coordinates_where_they_belong(
    tmp_path: Path, name: str
) -> None:
    dims, coordinates = KINDS[name]
    shape = tuple(len(AXES[dim]) for dim in dims)
    cells = np.random.default_rng(4).permutation(np.argwhere(np.ones(shape)))
    places = dict(zip(dims, cells.T, strict=True))
    values = {dim: np.array(AXES[dim])[place] for dim, place in places.items()}
    if "shot_index" in dims:
        # Guns fire in turns, 20, 21, 22 …; where no word tells guns apart, any ascending shot points.
        fired = (
            20 + 2 * places["shot_index"] + places["gun"] if "gun" in dims else 20 + 3 * places["shot_index"]
        )
        values["shot_point"] = fired + 100 * places.get("sail_line", places.get("shot_line", 0))
        del values["shot_index"]
    for coordinate, along in coordinates.items():
        values.setdefault(coordinate, made_up(coordinate, along, places))
    words = {BYTES[one]: value for one, value in values.items()} | {(71, "i2"): -10, (109, "i2"): 0}
    samples = write_gathers(tmp_path / "a.sgy", words)
    named = [one for one in values if BYTES[one][0] > 200]
    index = Index(
        template=name,
        names=named,
        bytes=",".join(str(BYTES[one][0]) for one in named) or "auto",
        types=[TYPES[BYTES[one][1]] for one in named],
        overrides=OVERRIDES.get(name, Overrides()),
    )
    if name.startswith("PostStack"):  # found in the file where no bytes are given
        where = {"bytes": "21", "names": ["cdp"]} if "2D" in name else {"bytes": "189,193"}
        index = Index(template=name, **where)
    ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"), index)
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    vertical = "depth" if name.endswith("Depth") else "time"
    assert group.attrs["name"] == name
    assert group["amplitude"].metadata.dimension_names == (*dims, vertical)
    assert group["amplitude"].shape == (*shape, 13)
    np.testing.assert_array_equal(group["amplitude"][...][tuple(cells.T)], samples)
    for dim in dims:
        assert group[dim][...].tolist() == AXES[dim]
    for coordinate, along in coordinates.items():
        assert group[coordinate].metadata.dimension_names == along
        scaled = coordinate.endswith(("_x", "_y"))
        expected = values[coordinate] / 10 if scaled else values[coordinate]
        stored = group[coordinate][...][tuple(places[dim] for dim in along)]
        np.testing.assert_array_equal(stored, expected)
    prove(str(tmp_path / "a.zarr"))
    export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "back.sgy"))
    assert (tmp_path / "back.sgy").read_bytes() == (tmp_path / "a.sgy").read_bytes()
