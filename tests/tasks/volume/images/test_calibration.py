"""Calibration that is partly known is taken as far as it goes, in one unit, and each assumption is a note.

Covers images/descriptions.py.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from tasks.ingest_images import ingest_images
from tasks.parameters import Image, Run, StorageOptions
from tasks.volume.images.header import Voxels, unit_of
from tasks.volume.images.stack import Stack, find_stack
from tests.support.volumes import tree

VALUES = np.random.default_rng(3).integers(0, 60000, (5, 7, 9), dtype="u2")


def imagej(path: Path, resolution: tuple[float, float] | None, **metadata: Any) -> Voxels:
    """What an ImageJ stack with this metadata says of its voxels."""
    options = {"resolution": resolution} if resolution else {}
    tifffile.imwrite(path, VALUES, imagej=True, metadata={"axes": "ZYX"} | metadata, **options)
    return find_stack(str(path), StorageOptions()).voxels


def ome(path: Path, **sizes: Any) -> Voxels:
    """What an OME stack with these PhysicalSizes says of its voxels."""
    named = {f"PhysicalSize{name}": value for name, value in sizes.items()}
    tifffile.imwrite(path, VALUES, metadata={"axes": "ZYX"} | named)
    return find_stack(str(path), StorageOptions()).voxels


@pytest.mark.parametrize(
    ("resolution", "metadata", "length", "unit", "notes"),
    [
        ((2, 2), {"unit": "um", "spacing": 4}, (4, 0.5, 0.5), "micrometer", []),
        ((2, 2), {"unit": "um"}, (1, 0.5, 0.5), "micrometer", ["ImageJ's Z is not given and was taken as 1"]),
        ((2, 4), {"unit": "micron"}, (1, 0.25, 0.5), "micrometer", ["--voxel-length"]),
        ((10, 10), {"unit": "mm", "spacing": 0.2}, (0.2, 0.1, 0.1), "millimeter", []),
        (
            (2, 2),
            {"unit": "nm", "zunit": "um", "spacing": 3},
            (3000, 0.5, 0.5),
            "nanometer",
            ["3 micrometer"],
        ),
        ((2, 2), {"unit": "um", "spacing": -3}, (3, 0.5, 0.5), "micrometer", []),
        ((2, 2), {"unit": "furlong"}, (), "", ["'furlong' is no length"]),
        ((2, 2), {"unit": "pixel", "spacing": 1}, (1, 0.5, 0.5), "", ["without a unit"]),
        ((2, 2), {}, (1, 0.5, 0.5), "", ["without a unit"]),
        ((1, 1), {"unit": "pixel", "spacing": 1}, (), "", []),
    ],
)
def test_what_imagej_says(tmp_path, resolution, metadata, length, unit, notes):
    said = imagej(tmp_path / "a.tif", resolution, **metadata)
    assert said.length == pytest.approx(length)
    assert said.unit == unit
    assert_notes(said, notes)


@pytest.mark.parametrize(
    ("sizes", "length", "unit", "notes"),
    [
        ({"X": 0.5, "Y": 0.75, "Z": 2.0}, (2, 0.75, 0.5), "micrometer", []),
        (
            {"X": 0.5, "Y": 0.75},
            (1, 0.75, 0.5),
            "micrometer",
            ["PhysicalSizeZ is not given and was taken as 1"],
        ),
        ({"X": 0.5}, (1, 0.5, 0.5), "micrometer", ["PhysicalSizeY is not given and was taken as 0.5"]),
        (
            {"X": 500.0, "XUnit": "nm", "Y": 500.0, "YUnit": "nm", "Z": 2.0, "ZUnit": "µm"},
            (2000, 500, 500),
            "nanometer",
            ["PhysicalSizeZ was converted from 2 micrometer to 2000 nanometer"],
        ),
        (
            {"X": 0.5, "Y": 0.5, "Z": 3.0, "ZUnit": "reference frame"},
            (1, 0.5, 0.5),
            "micrometer",
            ["'reference frame' is no length"],
        ),
        ({"X": 3.0, "XUnit": "pixel", "Y": 3.0, "YUnit": "pixel"}, (), "", ["'pixel' is no length"]),
    ],
)
def test_what_ome_says(tmp_path, sizes, length, unit, notes):
    said = ome(tmp_path / "a.ome.tif", **sizes)
    assert said.length == pytest.approx(length)
    assert said.unit == unit
    assert_notes(said, notes)


def assert_notes(said: Voxels, notes: list[str]) -> None:
    for words in notes:
        assert any(words in note for note in said.notes), said.notes
    assert bool(said.notes) == bool(notes)


@pytest.mark.parametrize(
    ("texts", "unit"),
    [
        (("um", "µm", "\u03bcm", "micron", "microns", "Micrometer", "micrometres", " um "), "micrometer"),
        (("mm", "MM", "millimeter", "millimetre", "millimeters"), "millimeter"),
        (("nm", "nanometers", "nanometre"), "nanometer"),
        (("m", "meter", "metres"), "meter"),
        (("inch", "inches", "in"), "inch"),
        (("", "pixel", "furlong", "s", "metric", "centimeterss"), ""),
    ],
)
def test_a_unit_is_known_by_its_usual_names(texts, unit):
    assert {unit_of(text) for text in texts} == {unit}


def test_an_assumption_is_told_and_stored_as_what_it_is(tmp_path):
    imagej(tmp_path / "a.tif", (2, 2), unit="um")
    summary = ingest_images(str(tmp_path / "a.tif"), str(tmp_path / "a.zarr"))
    assert any("ImageJ's Z is not given" in note for note in summary["notes"])
    attributes = zarr.open_array(tmp_path / "a.zarr", path="attenuation", mode="r").attrs
    assert (attributes["voxel_length"], attributes["voxel_unit"]) == ([1.0, 0.5, 0.5], "micrometer")
    given = ingest_images(str(tmp_path / "a.tif"), str(tmp_path / "b.zarr"), Image(voxel_length=[2.0]))
    assert not any("ImageJ" in note for note in given["notes"]), "nothing is assumed of what was said"
    assert any("ImageJ" in note for note in dry(tmp_path)["notes"])


def dry(folder: Path) -> dict[str, Any]:
    return ingest_images(str(folder / "a.tif"), str(folder / "c.zarr"), run=Run(dry_run=True))


def test_a_volume_made_before_an_assumption_was_made_is_recognised(tmp_path, monkeypatch):
    imagej(tmp_path / "a.tif", (2, 2), unit="um")
    places = (str(tmp_path / "a.tif"), str(tmp_path / "a.zarr"))
    with monkeypatch.context() as earlier:
        earlier.setattr(Stack, "voxels", Voxels())
        earlier.setattr(
            Stack, "to_json", lambda stack, now=Stack.to_json: now((stack.before() or [stack])[0])
        )
        ingest_images(*places)
    before = tree(tmp_path / "a.zarr")
    summary = ingest_images(*places)
    assert summary["notes"][0] == "was done already"
    assert "--overwrite" in summary["notes"][1]
    assert tree(tmp_path / "a.zarr") == before
    ingest_images(*places, overwrite=True)
    attributes = zarr.open_array(tmp_path / "a.zarr", path="attenuation", mode="r").attrs
    assert attributes["voxel_length"] == [1.0, 0.5, 0.5]
    assert ingest_images(*places)["notes"][0] == "was done already"


def test_pages_of_different_resolutions_are_told(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number, page in enumerate(VALUES):
            writer.write(
                page, resolution=(100 + 100 * (number > 2), 100), resolutionunit="CENTIMETER", metadata=None
            )
    found = find_stack(str(tmp_path / "a.tif"), StorageOptions()).voxels
    assert "the pages have different resolutions; that of the first was taken" in found.notes
    assert (found.length[1:], found.unit) == ((100, 100), "micrometer")


@pytest.mark.parametrize(
    ("affine", "sentence"),
    [
        (np.diag([1.0, 1, 1, 1]), "sform says voxels of 1 x 1 x 1; the lengths of its pixdim were taken"),
        (np.diag([-0.5, 0.75, 2, 1]), "turned or mirrored; .* and its origin was not taken"),
        (np.diag([0.5, 0.75, 2, 1]), ""),
    ],
)
def test_what_nifti_says_twice_is_told(tmp_path, affine, sentence):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(VALUES.transpose(2, 1, 0), affine)
    image.header.set_zooms((0.5, 0.75, 2))
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1, update_affine=False)
    nibabel.save(image, tmp_path / "a.nii")
    found = find_stack(str(tmp_path / "a.nii"), StorageOptions()).voxels
    assert found.length == (2, 0.75, 0.5)
    assert len(found.notes) == bool(sentence)
    assert re.search(sentence, "".join(found.notes))
