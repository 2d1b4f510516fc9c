"""Coordinates and index fields of any type, at any usual place, come into a volume as the numbers that they are.

Covers segy/coordinate_detect.py, ingest/earlier.py, ingest/sampling.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Export, Index
from tasks.scan import scan
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tests.support.segy_maker import ibm_of, segy_bytes

SHAPE = (5, 7)
LINES, CROSSLINES = (axis.ravel() for axis in np.indices(SHAPE))
X, Y = 431_955.25 + 12.5 * LINES, 6_348_554.0 + 25.0 * CROSSLINES
NOTHING = {(181, "i4"): 0, (185, "i4"): 0, (71, "i2"): 1}


def ingested(folder: Path, content: bytes, index: Index = Index()) -> tuple[zarr.Group, str]:
    """The volume of a file, which came back as it was, and what is said of it in one string."""
    source, volume = folder / "a.sgy", folder / "a.zarr"
    source.write_bytes(content)
    summary = ingest_segy(str(source), str(volume), index)
    export_segy(str(volume), str(folder / "back.sgy"), overwrite=True)
    assert (folder / "back.sgy").read_bytes() == content
    found = scan(str(source), index)
    assert set(found["notes"]) <= set(summary["notes"])
    return zarr.open_group(volume, mode="r"), " ".join(summary["notes"])


COORDINATES: dict[str, tuple[dict[tuple[int, str], Any], str]] = {
    "float32": ({(181, "f4"): X, (185, "f4"): Y}, "bytes 181,185 are float32"),
    "ibm32": ({(181, "u4"): ibm_of(X), (185, "u4"): ibm_of(Y)}, "bytes 181,185 are ibm32"),
    "float32 at the source": ({(73, "f4"): X, (77, "f4"): Y}, "bytes 73,77 are float32"),
    "float32 with a scalar of integers": ({(181, "f4"): X, (185, "f4"): Y, (71, "i2"): -100}, "is not applied"),
    "centimetres at the source": (
        {(73, "i4"): 100 * X, (77, "i4"): 100 * Y, (71, "i2"): -100},
        "are taken from bytes 73,77 (source X and Y)",
    ),
    "centimetres at the group": (
        {(81, "i4"): 100 * X, (85, "i4"): 100 * Y, (71, "i2"): -100},
        "are taken from bytes 81,85 (group X and Y)",
    ),
    "the same at source and group": (
        {(b, "i4"): v for b, v in ((73, 100 * X), (77, 100 * Y), (81, 100 * X), (85, 100 * Y))} | {(71, "i2"): -100},
        "are taken from bytes 73,77",
    ),
    "where the standard has lines": (
        {(189, "i4"): 100 * X, (193, "i4"): 100 * Y, (71, "i2"): -100, (9, "i4"): LINES, (21, "i4"): 8 + CROSSLINES},
        "9,21 hold inline",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("name", COORDINATES)
def test_coordinates_are_found_at_their_place_in_their_type(tmp_path, name, order):
    words, sentence = COORDINATES[name]
    group, notes = ingested(tmp_path, segy_bytes(shape=SHAPE, order=order, traces=NOTHING | words))
    np.testing.assert_array_equal(group["cdp_x"][...].ravel(), X)
    np.testing.assert_array_equal(group["cdp_y"][...].ravel(), Y)
    assert sentence in notes


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({}, "those at bytes 181,185 are the same in every trace that was looked at (0 and 0); if they lie"),
        ({(181, "i4"): 6000, (185, "i4"): 65536}, "(6000 and 65536); if they lie elsewhere say where"),
        (
            {(73, "i4"): 100 * X, (77, "i4"): 100 * Y, (81, "i4"): 100 * X + 5000, (85, "i4"): 100 * Y},
            "bytes 73,77 and 81,85 vary: say which hold them with --coordinate-bytes",
        ),
    ],
)
def test_what_is_no_coordinate_or_one_of_two_is_told_and_not_stored(tmp_path, words, sentence):
    traces = NOTHING | {(71, "i2"): -100, (13, "i4"): 1} | words
    group, notes = ingested(tmp_path, segy_bytes(shape=SHAPE, traces=traces))
    assert "cdp_x" not in group
    assert sentence in notes


def test_a_type_or_a_place_that_is_named_is_taken(tmp_path):
    words = NOTHING | {(201, "f4"): X, (205, "f4"): Y, (181, "f4"): 7 + LINES, (185, "f4"): 9 + CROSSLINES}
    content = segy_bytes(shape=SHAPE, traces=words)
    named = Index(coordinate_bytes="181,185", coordinate_types=["float32"])
    group, _ = ingested(tmp_path, content, named)
    np.testing.assert_array_equal(group["cdp_x"][...].ravel(), 7 + LINES)
    (tmp_path / "b").mkdir()
    group, notes = ingested(tmp_path / "b", content, Index(coordinate_bytes="201,205"))
    np.testing.assert_array_equal(group["cdp_y"][...].ravel(), Y)
    assert "bytes 201,205 are float32" in notes
    with pytest.raises(InputRefused, match="coordinate types are float32,int32; X and Y need one type"):
        scan_or_raise(tmp_path / "a.sgy", Index(coordinate_types=["float32", "int32"]))


def test_another_type_that_makes_as_much_sense_is_named_with_its_values(tmp_path):
    # Within a power of two both readings are grids.
    words = NOTHING | {(181, "f4"): -1200.5 + 12.5 * LINES, (185, "f4"): -300.25 + 6.25 * CROSSLINES}
    group, notes = ingested(tmp_path, segy_bytes(shape=SHAPE, traces=words))
    assert "are ibm32: X -38416 to -36816" in notes
    flag = "X -1200.5 to -1150.5, Y -300.25 to -262.75, which --coordinate-types float32 says"
    assert flag in notes
    (tmp_path / "b").mkdir()
    group, _ = ingested(
        tmp_path / "b", segy_bytes(shape=SHAPE, traces=words), Index(coordinate_types=["float32"])
    )
    np.testing.assert_array_equal(group["cdp_x"][...].ravel(), -1200.5 + 12.5 * LINES)


def scan_or_raise(source: Path, index: Index) -> None:
    """Ingest without writing."""
    ingest_segy(str(source), str(source.with_suffix(".none")), index)


def of_type(kind: str, values: np.ndarray) -> tuple[str, np.ndarray]:
    """Values as they are stored in a type."""
    return {"float32": ("f4", values), "ibm32": ("u4", ibm_of(values)), "int16": ("i2", values)}[kind]


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("places", [(181, 183), (233, 235), (9, 11)])
def test_index_fields_two_bytes_apart_are_16_bits_wide(tmp_path, places, order):
    values = (100 + 2 * LINES, 1007 + 3 * CROSSLINES)
    words: dict[tuple[int, str], Any] = {
        (byte, "i2"): value for byte, value in zip(places, values, strict=True)
    }
    content = segy_bytes(shape=SHAPE, order=order, traces={(189, "i4"): 0, (193, "i4"): 0} | words)
    group, notes = ingested(tmp_path, content, Index(bytes=f"{places[0]},{places[1]}"))
    np.testing.assert_array_equal(group["inline"][:], 100 + 2 * np.arange(5))
    np.testing.assert_array_equal(group["crossline"][:], 1007 + 3 * np.arange(7))
    assert f"at byte {places[0]} (inline) are int16" in notes


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("named", ["", "189,193"])
@pytest.mark.parametrize("kind", ["float32", "ibm32", "int16"])
def test_inlines_and_crosslines_of_other_types_are_numbers(tmp_path, kind, named, order):
    if kind == "int16" and order == "<":
        pytest.skip("the lower half of an integer is the integer")
    words: dict[tuple[int, str], Any] = {(189, "i4"): 0, (193, "i4"): 0}
    for byte, values in ((189, 100 + 2 * LINES), (193, 1007 + 3 * CROSSLINES)):
        code, stored = of_type(kind, values)
        words[byte, code] = stored
    content = segy_bytes(shape=SHAPE, order=order, traces=words)
    group, notes = ingested(tmp_path, content, Index(bytes=named or "auto"))
    np.testing.assert_array_equal(group["inline"][:], 100 + 2 * np.arange(5))
    np.testing.assert_array_equal(group["crossline"][:], 1007 + 3 * np.arange(7))
    assert f"at byte 189 (inline) are {kind}" in notes
    assert group.attrs["seismill"]["index"]["types"] == [kind, kind]


def test_the_types_of_the_index_hold_when_bytes_are_swapped(tmp_path):
    words = NOTHING | {(181, "f4"): X, (185, "f4"): Y}
    ingested(tmp_path, segy_bytes(shape=SHAPE, traces=words))
    export_segy(str(tmp_path / "a.zarr"), str(tmp_path / "little.sgy"), Export(endian="little"))
    found = ingested_values(tmp_path / "little.sgy", tmp_path / "little.zarr")
    np.testing.assert_array_equal(found, X)


def ingested_values(source: Path, volume: Path) -> np.ndarray:
    """X of every trace."""
    ingest_segy(str(source), str(volume))
    return zarr.open_array(volume / "cdp_x", mode="r")[...].ravel()


def test_a_volume_that_an_earlier_version_made_is_recognised(tmp_path):
    """Named bytes and integers are what earlier versions took for themselves."""
    source, volume = tmp_path / "a.sgy", str(tmp_path / "a.zarr")
    source.write_bytes(segy_bytes(shape=SHAPE, traces=NOTHING | {(181, "f4"): X, (185, "f4"): Y}))
    ingest_segy(str(source), volume, Index(coordinate_bytes="181,185", coordinate_types=["int32"]))
    again = ingest_segy(str(source), volume)
    assert again["notes"][0] == "was done already"
    assert "An earlier version made it" in again["notes"][1]
    ingest_segy(str(source), volume, overwrite=True)
    source.write_bytes(segy_bytes(shape=SHAPE, traces=NOTHING | {(181, "f4"): X + 50, (185, "f4"): Y}))
    with pytest.raises(DestinationRefused, match="holds another volume"):
        ingest_segy(str(source), volume)


@pytest.mark.parametrize(
    ("path", "x", "y"),
    [
        ("seisplot/data/31_81_PR.sgy", None, None),  # bytes 181 to 188 hold times and a flag, says its text
        ("UnpluggedSegy/lineE.sgy", (797844.0, 808695.0), (953735.0, 960822.0)),
        ("seisplot/data/F3_very_small.sgy", (608264.7, 608507.7), (6076125.2, 6076382.1)),
    ],
)
def test_real_files_have_the_coordinates_that_they_say(shared, tmp_path, path, x, y):
    volume = tmp_path / "a.zarr"
    ingest_segy(str(shared / "data" / path), str(volume))
    group = zarr.open_group(volume, mode="r")
    assert ("cdp_x" in group) == (x is not None)
    if x is not None:
        found = [group[name][...].ravel() for name in ("cdp_x", "cdp_y")]
        assert [(values[0], values[-1]) for values in found] == [x, y]


@pytest.mark.parametrize("kind", ["int32", "float32", "ibm32"])
def test_scan_says_where_coordinates_can_lie_and_in_which_type(tmp_path, kind):
    values = {"int32": ("i4", X, Y), "float32": ("f4", X, Y), "ibm32": ("u4", ibm_of(X), ibm_of(Y))}[kind]
    code, x, y = values
    words = NOTHING | {(73, code): x, (77, code): y, (9, "f4"): 7.0 + LINES}
    (tmp_path / "a.sgy").write_bytes(segy_bytes(shape=SHAPE, traces=words))
    found = scan(str(tmp_path / "a.sgy"))
    (row,) = [entry for entry in found["coordinates"] if entry["bytes"] == [73, 77]]
    types = "" if kind == "int32" else f" --coordinate-types {kind}"
    assert row["option"] == f"--coordinate-bytes 73,77{types}"
    assert (row["type"], row["lasts"]) == (kind, [int(X.max()) if kind == "int32" else X.max(), Y.max()])
    words_of = {entry["byte"]: entry for entry in found["words"]}
    assert (words_of[9]["type"], words_of[9]["first"], words_of[9]["last"]) == ("float32", 7, 11)
    if kind != "int32":
        assert (words_of[77]["type"], words_of[77]["first"], words_of[77]["last"]) == (kind, Y.min(), Y.max())
