"""Copies of images: lossless in every type, lossy where ZFP can bound the error, else refused with the alternative."""

import warnings

import numpy as np
import pytest
import zarr

from tasks.ingest_images import ingest_images
from tasks.parameters import Copies, Copy, Image, Master
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused

PLATES = [Copy(name="plates", chunks=[2, 30, 30]), Copy(name="cubes", chunks=[9, 5, 13])]


def published(tmp_path, values, shards=(0,)):
    np.save(tmp_path / "v.npy", values)
    image = Image(field_name="density", voxel_length=[2], voxel_unit="micrometer")
    ingest_images(
        str(tmp_path / "v.npy"),
        str(tmp_path / "v.zarr"),
        image,
        Master(chunks=[4, 8, 16], shards=list(shards)),
    )
    return tmp_path / "v.zarr"


def voxels(dtype, shape=(19, 21, 35)):
    rng = np.random.default_rng(9)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    smooth = 90 * np.sin(np.arange(shape[2]) / 5) + 20 * np.cos(np.arange(shape[1])[:, np.newaxis] / 7)
    values = smooth + rng.normal(0, 2, shape)
    return (
        (values + 120 if dtype.kind == "u" else values)
        .clip(-120, 250 if dtype.kind == "u" else 120)
        .astype(dtype)
    )


def read(volume, path):
    with warnings.catch_warnings():
        # zarr says that ZFP is not in the Zarr v3 core
        warnings.filterwarnings("ignore", "Numcodecs codecs are not in the Zarr version 3 specification")
        array = zarr.open_group(volume, mode="r")[path]
        return array, array[...]


@pytest.mark.parametrize(
    ("dtype", "shards"),
    [(dtype, (0,)) for dtype in ("bool", "int16", "uint16", "float16")]
    + [(dtype, (8, 16, 32)) for dtype in ("uint8", "int32", "uint64", "float32")],
)
def test_lossless_copies_hold_every_voxel(tmp_path, dtype, shards):
    values = voxels(dtype)
    volume = published(tmp_path, values, shards)
    summary = rechunk(str(volume), Copies(presets=["fast_inline"], more=PLATES, quality="lossless"))
    assert [row["path"] for row in summary["arrays"]] == ["fast_z", "plates", "cubes"]
    for row in summary["arrays"]:
        array, stored = read(volume, row["path"])
        assert array.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(stored, values)
        assert row["max_abs_error"] == 0
        assert (array.attrs["copy_of"], array.attrs["_ROCKVERSE_DATATYPE"]) == ("density", "VoxelImage")
        assert array.attrs["voxel_length"] == [2.0, 2.0, 2.0]
    assert verify(str(volume), errors=True)["findings"] == []


@pytest.mark.parametrize(
    ("dtype", "stored_as"),
    [
        ("uint8", "float32"),
        ("int8", "float32"),
        ("uint16", "float32"),
        ("int16", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("uint32", "float64"),
        ("int32", "float64"),
        ("float64", "float64"),
    ],
)
def test_lossy_copies_keep_their_tolerance_in_a_float_that_holds_every_value(tmp_path, dtype, stored_as):
    values = voxels(dtype)
    volume = published(tmp_path, values)
    (row,) = rechunk(str(volume), Copies(presets=[], more=PLATES[:1], tolerance=1.5))["arrays"]
    array, stored = read(volume, "plates")
    assert array.dtype == np.dtype(stored_as)
    error = np.abs(stored.astype(np.float64) - values.astype(np.float64))
    assert 0 < error.max() <= 1.5
    assert row["max_abs_error"] == error.max()
    assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-9)
    assert verify(str(volume), errors=True)["findings"] == []


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint64"])
def test_what_zfp_cannot_bound_is_refused_with_the_alternative(tmp_path, dtype):
    volume = published(tmp_path, voxels(dtype))
    with pytest.raises(
        InputRefused, match=f"holds {dtype}, whose error ZFP cannot bound; use quality lossless"
    ):
        rechunk(str(volume), Copies(more=PLATES, quality="low"))


def test_labels_are_copied_without_loss_or_not_at_all(tmp_path):
    np.save(tmp_path / "v.npy", voxels("uint8"))
    volume = str(tmp_path / "v.zarr")
    ingest_images(str(tmp_path / "v.npy"), volume, Image(labels=True), Master(chunks=[4, 8, 16]))
    with pytest.raises(InputRefused, match="voxels are labels"):
        rechunk(volume, Copies(more=PLATES, quality="low"))
    (row,) = rechunk(volume, Copies(presets=[], more=PLATES[:1], quality="lossless"))["arrays"]
    assert row["max_abs_error"] == 0


def test_a_quality_is_reckoned_from_the_deviation_of_the_voxels(tmp_path):
    values = voxels("uint16")
    volume = published(tmp_path, values)
    (row,) = rechunk(str(volume), Copies(presets=[], more=PLATES[:1], quality="high"))["arrays"]
    assert row["tolerance"] == pytest.approx(0.1 * values.std(), rel=1e-6)
