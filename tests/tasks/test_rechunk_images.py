"""Copies of images: lossless in every type, lossy where ZFP can bound the error, else refused with the alternative.

Covers copies/likeness.py.
"""

import warnings

import numpy as np
import pytest
import zarr

from tasks.info import info
from tasks.ingest_images import ingest_images
from tasks.parameters import Copies, Copy, Image, Master
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.copies.likeness import similarity
from tasks.volume.images.stack import Stack
from tasks.volume.outcomes import InputRefused

SLABS = [Copy(name="slabs", chunks=[4, 40, 40])]
SMOOTH = (24, 40, 40)
PLATES = [Copy(name="plates", chunks=[2, 30, 30]), Copy(name="cubes", chunks=[9, 5, 13])]


def published(tmp_path, values, shards=(0,)):
    np.save(tmp_path / "v.npy", values)
    image = Image(field_name="density", voxel_length=[2], voxel_unit="micrometer")
    with pytest.MonkeyPatch.context() as earlier:
        if values.dtype.kind == "b":  # volumes made before keep their booleans
            earlier.setattr(Stack, "dtype", "bool")
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


@pytest.mark.slow
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


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_lossy_copies_of_floats_keep_their_tolerance(tmp_path, dtype):
    values = voxels(dtype, SMOOTH)
    volume = published(tmp_path, values)
    (row,) = rechunk(str(volume), Copies(presets=[], more=SLABS, tolerance=1.5))["arrays"]
    array, stored = read(volume, "slabs")
    assert array.dtype == np.dtype("float64" if dtype == "float64" else "float32")
    error = np.abs(stored.astype(np.float64) - values.astype(np.float64))
    assert 0 < error.max() <= 1.5
    assert row["max_abs_error"] == error.max()
    assert row["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-9)
    assert verify(str(volume), errors=True)["findings"] == []


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "int64"])
@pytest.mark.parametrize("copies", [{"quality": "low"}, {"quality": "psnr=60"}, {"tolerance": 0.5}])
def test_whole_numbers_stay_whole_or_the_copy_is_refused(tmp_path, dtype, copies):
    volume = published(tmp_path, voxels(dtype))
    with pytest.raises(InputRefused, match=f"the voxels are {dtype}, .* say --quality lossless"):
        rechunk(str(volume), Copies(more=PLATES, **copies))
    (row,) = rechunk(str(volume), Copies(presets=[], more=PLATES[:1]))["arrays"]  # what is made by default
    array, stored = read(volume, "plates")
    assert (array.dtype, row["codec"]) == (np.dtype(dtype), "zstd-1")
    np.testing.assert_array_equal(stored, voxels(dtype))


def test_nan_and_inf_are_kept_or_the_copy_is_refused(tmp_path):
    values = voxels("float32")
    values[1, 2, 3], values[4, 5, 6] = np.nan, -np.inf
    volume = published(tmp_path, values)
    with pytest.raises(InputRefused, match=r"2 voxels are NaN or Inf, .* say --quality lossless"):
        rechunk(str(volume), Copies(more=PLATES, quality="high"))
    rechunk(str(volume), Copies(presets=["fast_y"]))
    assert read(volume, "fast_y")[1].tobytes() == values.tobytes()


def test_floats_that_swing_about_zero_are_kept_whole_as_well(tmp_path):
    values = voxels("float32") - 50
    volume = published(tmp_path, values)
    (row,) = rechunk(str(volume), Copies(presets=["fast_z"]))["arrays"]
    assert row["tolerance"] == 0
    assert read(volume, "fast_z")[1].tobytes() == values.tobytes()


def test_a_lossy_copy_larger_than_its_voxels_is_refused_and_not_seen(tmp_path):
    volume = published(tmp_path, voxels("float16"))
    with pytest.raises(InputRefused, match=r"takes [\d,]+ bytes, more than the 27,930 of its voxels"):
        rechunk(str(volume), Copies(presets=[], more=PLATES[:1], tolerance=1e-6))
    assert "plates" not in zarr.open_group(volume, mode="r")
    rechunk(str(volume), Copies(presets=[], more=PLATES[:1]))
    np.testing.assert_array_equal(read(volume, "plates")[1], voxels("float16"))


def test_quality_is_relative_to_the_window_that_is_shown(tmp_path):
    values = voxels("float32", SMOOTH)
    values[0, 0, 0] = 1e6  # in the extent of the voxels, and not in the window
    volume = published(tmp_path, values)
    low, high = zarr.open_group(volume, mode="r").attrs["seismill"]["looks"]["window"]
    assert high - low < 300
    (row,) = rechunk(str(volume), Copies(presets=[], more=SLABS, quality="high"))["arrays"]
    assert row["tolerance"] == pytest.approx(0.01 * (high - low), rel=1e-9)
    (row,) = rechunk(str(volume), Copies(presets=[], more=SLABS, quality="psnr=40"), overwrite=True)["arrays"]
    stored = read(volume, "slabs")[1]
    rmse = np.sqrt(((stored.astype(np.float64) - values) ** 2).mean())
    assert row["psnr_db"] == pytest.approx(20 * np.log10((high - low) / rmse), abs=1e-6)
    assert 40 <= row["psnr_db"] < 50
    assert row["ssim"] == pytest.approx(ssim_of_middles(values, stored, high - low), abs=1e-9)
    assert info(str(volume))["arrays"][1]["ssim"] == row["ssim"]
    array, _ = read(volume, "slabs")
    assert f"SSIM {row['ssim']:.4f}" in array.attrs["long_name"]


def ssim_of_middles(image, other, extent):
    """The least SSIM of the middle slices, window by window."""
    least = 1.0
    low, high = (0.01 * extent) ** 2, (0.03 * extent) ** 2
    for axis in range(3):
        x, y = (np.take(a.astype(np.float64), a.shape[axis] // 2, axis) for a in (image, other))
        quotients = []
        for row, column in np.ndindex(x.shape[0] - 6, x.shape[1] - 6):
            pair = [a[row : row + 7, column : column + 7].ravel() for a in (x, y)]
            (var_x, both), (_, var_y) = np.cov(pair)
            mean_x, mean_y = pair[0].mean(), pair[1].mean()
            quotients.append(
                (2 * mean_x * mean_y + low)
                * (2 * both + high)
                / ((mean_x**2 + mean_y**2 + low) * (var_x + var_y + high))
            )
        least = min(least, np.mean(quotients))
    return least


@pytest.mark.parametrize("shape", [(1, 40), (5, 6), (40, 3)])
def test_slices_smaller_than_a_window_are_compared_as_well(shape):
    image = np.random.default_rng(3).random(shape)
    assert similarity(image, image, 1.0) == pytest.approx(1, abs=1e-12)
    assert similarity(image, 1 - image, 1.0) < 0.9


def test_labels_are_copied_without_loss_or_not_at_all(tmp_path):
    np.save(tmp_path / "v.npy", voxels("uint8"))
    volume = str(tmp_path / "v.zarr")
    ingest_images(str(tmp_path / "v.npy"), volume, Image(labels=True), Master(chunks=[4, 8, 16]))
    with pytest.raises(InputRefused, match="voxels are labels"):
        rechunk(volume, Copies(more=PLATES, quality="low"))
    (row,) = rechunk(volume, Copies(presets=[], more=PLATES[:1], quality="lossless"))["arrays"]
    assert row["max_abs_error"] == 0
