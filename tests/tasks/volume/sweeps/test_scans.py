"""A sweep publishes scans: a folder of slices as one source, volumes one by one, and what a sidecar describes.

Covers sweeps/scans.py, sweeps/places.py, sweeps/receipt.py, images/names.py.
"""

import csv
import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from flows.publishers import direct_sweep
from tasks.demo import make_survey
from tasks.parameters import Copies, Image, Index, Publication
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Store
from tasks.volume.sweeps.places import volume_name
from tasks.volume.sweeps.staging import look_under

QUICK = Publication(steps=["copies", "proof"])
VALUES = np.random.default_rng(4).integers(0, 999, (6, 9, 11)).astype("uint16")


def swept(staging: Path, **parameters: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"settle_minutes": 0, "publication": QUICK}
    return direct_sweep(staging=str(staging), volumes=str(staging.parent / "volumes"), **(usual | parameters))


def slices(folder: Path, values: np.ndarray = VALUES) -> None:
    folder.mkdir(parents=True)
    for number, layer in enumerate(values):
        tifffile.imwrite(folder / f"s{number}.tif", layer)


def opened(staging: Path, name: str) -> zarr.Group:
    return zarr.open_group(staging.parent / "volumes" / name, mode="r")


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """Scans of each kind, a survey with figures beside it, and files that are no source."""
    staging = tmp_path / "staging"
    slices(staging / "core.v1" / "scan")
    (staging / "core.v1" / "scan" / "scanner.log").write_text("kV 100\n")
    slices(staging / "gap")
    (staging / "gap" / "s3.tif").unlink()
    (staging / "volumes").mkdir()
    tifffile.imwrite(staging / "volumes" / "a1.tif", VALUES)
    tifffile.imwrite(staging / "volumes" / "a2.tif", VALUES + 1)
    (staging / "volumes" / "photo.png").write_bytes(imagecodecs.png_encode(VALUES[0]))
    np.save(staging / "one.npy", VALUES)
    (staging / "b.raw").write_bytes(VALUES.tobytes())
    (staging / "b.seismill.yaml").write_text(
        "image: {voxel_length: [2, 2, 2], voxel_unit: micrometer, raw: {dtype: uint16, shape: [6, 9, 11]}}\n"
        "copies: {presets: [fast_z]}\nattributes: {core: North 7}\n"
    )
    (staging / "other.raw").write_bytes(b"who knows")
    (staging / "survey").mkdir()
    make_survey(str(staging / "survey" / "s.sgy"), shape=(5, 4, 9))
    for number in range(3):
        (staging / "survey" / f"fig{number}.png").write_bytes(imagecodecs.png_encode(VALUES[0]))
    return staging


def test_every_object_is_published_quarantined_or_no_source(staging):
    summary = swept(staging)
    assert summary["counts"] == {"published": 6, "quarantined": 1}
    objects = sum(len(files) for _, _, files in os.walk(staging))
    assert summary["objects"] == objects
    assert sum(summary["files"].values()) + sum(summary["not_segy"].values()) == objects
    assert summary["files"] == {"published": 6 + 5, "quarantined": 5}
    assert summary["not_segy"] == {".png": 4, ".log": 1, ".seismill.yaml": 1, ".raw": 1}
    (bad,) = summary["attention"]
    assert (bad["source"], bad["state"]) == ("gap/", "quarantined")
    assert "slice is missing" in bad["sentence"]
    np.testing.assert_array_equal(opened(staging, "core.v1/scan.zarr")["attenuation"][...], VALUES)
    np.testing.assert_array_equal(opened(staging, "volumes/a2.zarr")["attenuation"][...], VALUES + 1)
    described = opened(staging, "b.zarr")
    np.testing.assert_array_equal(described["fast_z"][...], VALUES)
    assert described["attenuation"].attrs["voxel_length"] == [2.0, 2.0, 2.0]
    assert described.attrs["seismill"]["attributes"] == {"core": "North 7"}
    assert "compared_at" in described.attrs["seismill"]
    with open(staging.parent / "volumes" / ".seismill" / "catalogue.csv") as table:
        rows = {row["name"]: row for row in csv.DictReader(table)}
    assert len(rows) == 7
    assert {name: row["safe_to_release"] for name, row in rows.items()} == {
        "core.v1/scan/": "no",  # a volume does not give the files of a scan back
        "gap/": "no",
        "volumes/a1.tif": "no",
        "volumes/a2.tif": "no",
        "one.npy": "no",
        "b.raw": "no",
        "survey/s.sgy": "yes",
    }
    again = swept(staging)
    assert again["counts"] == {"unchanged": 6, "quarantined": 1}
    assert again["files"] == {"unchanged": 11, "quarantined": 5}


def test_slices_that_come_later_are_seen_and_a_gap_that_is_filled_is_published(staging):
    swept(staging)
    tifffile.imwrite(staging / "gap" / "s3.tif", VALUES[3])
    summary = swept(staging)
    assert summary["counts"] == {"unchanged": 6, "published": 1}
    np.testing.assert_array_equal(opened(staging, "gap.zarr")["attenuation"][...], VALUES)
    tifffile.imwrite(staging / "gap" / "s6.tif", VALUES[0])
    summary = swept(staging)
    assert summary["counts"] == {"unchanged": 6, "quarantined": 1}
    assert "another volume" in summary["attention"][0]["sentence"]


def test_seg_y_alone_is_swept_if_that_is_said(staging):
    summary = swept(staging, kinds="segy")
    assert summary["counts"] == {"published": 1}
    assert sum(summary["not_segy"].values()) == summary["objects"] - 1


def test_what_is_said_of_all_sources_counts_for_those_of_its_kind(staging):
    asked = Publication(
        index=Index(template="PostStack3DTime"),
        copies=Copies(quality="high"),
        image=Image(labels=True),
    )
    found = {
        source.name: source.publication
        for source in look_under(Store(str(staging)), Store(str(staging.parent / "volumes")), asked)[1]
    }
    assert found["one.npy"] == Publication(image=Image(labels=True))
    assert found["survey/s.sgy"] == Publication(index=asked.index, copies=asked.copies)
    assert found["b.raw"].image.labels
    assert found["b.raw"].copies == Copies(presets=["fast_z"])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("one.seismill.yaml", "index: {template: auto}\n", "index is not of images"),
        ("survey/s.seismill.yaml", "image: {labels: true}\n", "image is not of SEG-Y"),
        ("core.v1/scan.seismill.yaml", "image: {voxel_unit: mile}\n", "image.voxel_unit"),
    ],
)
def test_a_sidecar_of_another_kind_is_refused_for_its_own_source(staging, name, text, sentence):
    (staging / name).write_text(text)
    found = look_under(Store(str(staging)), Store(str(staging.parent / "volumes")), QUICK)[1]
    sentences = {source.name: source.sentence for source in found if source.sentence}
    assert len(sentences) == 1
    assert sentence in next(iter(sentences.values()))


def test_checksums_are_of_one_file(staging):
    with pytest.raises(InputRefused, match="checksum belongs to one file"):
        swept(staging, publication=Publication(image=Image(checksums=["00000000"])))


@pytest.mark.parametrize(
    ("name", "volume"),
    [("a/b.tif", "a/b.zarr"), ("a/core.v1/", "a/core.v1.zarr"), ("x*/", "x%2A.zarr")],
)
def test_a_scan_has_a_name_as_a_survey_has(name, volume):
    assert volume_name(name) == volume
