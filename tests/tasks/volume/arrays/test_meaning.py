"""What an array of another tool says of its values decides how copies and levels of it are made.

Covers arrays/meaning.py.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from tasks.parameters import Copies, Copy, Levels
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.volume.arrays.meaning import Meaning, hidden, meaning_of, shown
from tasks.volume.outcomes import InputRefused

SHAPE = (12, 17, 23)
LOSSLESS = Copies(presets=[], more=[Copy(name="fast", chunks=[12, 8, 8])], quality="lossless")
NAN = "AAAAAAAA+H8="


def temperatures() -> np.ndarray:
    """Degrees with a block that has no data, and single cells of it."""
    values = np.random.default_rng(5).normal(280, 15, SHAPE)
    values[3:9, 5:11, 7:20] = np.nan
    values[0, 0, 0] = np.nan
    return values


def stored(folder: Path, version: int, encoding: dict[str, Any]) -> str:
    """The temperatures as xarray writes them."""
    place = str(folder / "packed.zarr")
    data = xr.Dataset({"air": (("time", "lat", "lon"), temperatures(), {"units": "K", "note": "made"})})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr, that consolidated metadata are no part of Zarr v3 yet
        data.to_zarr(place, zarr_format=version, encoding={"air": {"chunks": (6, 17, 23)} | encoding})
    return place


def opened(place: str, name: str) -> xr.DataArray:
    return xr.open_zarr(place, consolidated=False)[name].load()


def means(values: np.ndarray) -> np.ndarray:
    """The mean of what each cell of two samples an axis has, by plain NumPy."""
    padded = np.full([-(-n // 2) * 2 for n in values.shape], np.nan)
    padded[tuple(slice(0, n) for n in values.shape)] = values
    a, b, c = (n // 2 for n in padded.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of cells with nothing
        return np.nanmean(padded.reshape(a, 2, b, 2, c, 2), axis=(1, 3, 5))


PACKED = [
    (3, {"dtype": "int16", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32767}, 0.006),
    (2, {"dtype": "int16", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32767}, 0.006),
    (3, {"dtype": "uint16", "scale_factor": 0.01, "_FillValue": 65535}, 0.006),
    (3, {"dtype": "int32", "scale_factor": 1e-4, "_FillValue": -(2**31)}, 1e-4),
    (3, {"dtype": "float32", "_FillValue": -9999.0}, 1e-4),
    (3, {"dtype": "float64", "_FillValue": np.nan}, 1e-9),
    (2, {"dtype": "float32", "_FillValue": 1e20}, 1e-4),
]


@pytest.mark.parametrize(("version", "encoding", "error"), PACKED)
def test_copies_and_levels_mean_what_the_array_means(tmp_path, version, encoding, error):
    place = stored(tmp_path, version, encoding)
    air = opened(place, "air")
    rechunk(place, LOSSLESS, array="air", target=str(tmp_path / "copies.zarr"))
    copy = opened(str(tmp_path / "copies.zarr"), "fast")
    np.testing.assert_array_equal(copy.values, air.values)
    assert (copy.attrs["units"], copy.attrs["note"]) == ("K", "made")
    pyramid(place, Levels(levels=1, until=1), array="air", target=str(tmp_path / "levels.zarr"))
    level = opened(str(tmp_path / "levels.zarr"), "1")
    wanted = means(air.values)
    np.testing.assert_array_equal(np.isnan(level.values), np.isnan(wanted))
    assert np.isnan(wanted).any()
    np.testing.assert_allclose(level.values, wanted, rtol=0, atol=error)
    assert level.attrs["units"] == "K"


@pytest.mark.parametrize(
    "encoding", [PACKED[0][1], PACKED[4][1], {"dtype": "int16", "scale_factor": 0.1, "_FillValue": None}]
)
def test_a_lossy_copy_of_packed_numbers_or_of_gaps_is_refused(tmp_path, encoding):
    place = stored(tmp_path, 3, encoding | ({} if encoding["_FillValue"] else {"_FillValue": -1}))
    lossy = Copies(presets=[], more=LOSSLESS.more, tolerance=1)
    with pytest.raises(InputRefused, match="say --quality lossless"):
        rechunk(place, lossy, array="air", target=str(tmp_path / "copies.zarr"))
    assert not (tmp_path / "copies.zarr").exists()


def made(folder: Path, path: str, values: np.ndarray, attributes: dict[str, Any]) -> str:
    """A group with an array of plain zarr."""
    root = zarr.open_group(folder / "some.zarr", mode="a")
    array = root.create_array(path, shape=values.shape, dtype=values.dtype, chunks=(8, 8, 8))
    array[...] = values
    array.attrs.update(attributes)
    return str(folder / "some.zarr")


LABELS = (np.indices((10, 20, 18))[1] // 3 % 3 * np.array(100)).astype("uint16")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "values", "group", "attributes"),
    [
        ("seg/0", LABELS, {"ome": {"version": "0.5", "image-label": {}}}, {}),
        ("seg/0", LABELS, {"image-label": {"version": "0.4"}}, {}),
        ("labels/seg/0", LABELS, {}, {}),
        ("labels/0", LABELS, {}, {}),
        ("rock/0", LABELS > 100, {}, {}),
        ("facies/0", LABELS.astype("int8"), {}, {"flag_values": [0, 100], "flag_meanings": "sand shale"}),
    ],
)
def test_levels_of_labels_hold_labels_alone(tmp_path, path, values, group, attributes):
    place = made(tmp_path, path, values, attributes)
    zarr.open_group(place, path=path.rpartition("/")[0], mode="r+").attrs.update(group)
    summary = pyramid(place, Levels(levels=2, until=1), array=path)
    assert len(summary["arrays"]) == 2
    for number in (1, 2):
        level = zarr.open_array(place, path=f"{path.rpartition('/')[0]}/{number}", mode="r")
        assert level.attrs["method"] == "mode"
        assert set(np.unique(level[...])) <= set(np.unique(values))
    with pytest.raises(InputRefused, match="lossless"):
        rechunk(place, Copies(tolerance=1), array=path)


@pytest.mark.parametrize(
    ("values", "attributes", "sentence"),
    [
        (LABELS.astype("int64"), {"_FillValue": -1}, "is not exact; say --method nearest"),
        (LABELS.astype("int16"), {"_Unsigned": "true"}, "as unsigned"),
        (LABELS.astype("int16"), {"valid_range": [0, 150]}, "could not be written"),
        (LABELS, {"valid_max": 150}, "could not be written"),
        (LABELS.astype("uint64"), {"missing_value": 200}, "is not exact"),
    ],
)
def test_what_would_come_out_wrong_is_refused(tmp_path, values, attributes, sentence):
    place = made(tmp_path, "field/0", values, attributes)
    with pytest.raises(InputRefused, match=sentence):
        pyramid(place, Levels(levels=1, until=1), array="field/0")
    pyramid(place, Levels(levels=1, until=1, method="nearest"), array="field/0")
    level = zarr.open_array(place, path="field/1", mode="r")
    np.testing.assert_array_equal(level[...], values[::2, ::2, ::2])


@pytest.mark.parametrize(
    ("dtype", "fill_value", "said", "missing", "valid"),
    [
        ("int16", None, {"_FillValue": -1}, (-1,), ()),
        ("int16", 0, {}, (), ()),  # Zarr's own default, which is data
        ("int16", -5, {"_ARRAY_DIMENSIONS": ["x"]}, (-5,), ()),  # as xarray writes Zarr v2
        ("float32", None, {"_FillValue": NAN}, (), ()),
        ("float64", None, {"_FillValue": "AAAAAACHw8A="}, (-9998.0,), ()),
        ("uint8", None, {"_FillValue": 300, "missing_value": [7, 9]}, (7, 9), ()),
        ("int16", None, {"_FillValue": -1, "valid_range": [0, 100]}, (-1,), (0, 100)),
        ("uint8", None, {"valid_min": 3}, (), (3, 255)),
        ("bool", None, {"_FillValue": False}, (), ()),
        ("int16", None, {"_FillValue": "garbage", "missing_value": None}, (), ()),
    ],
)
def test_what_an_array_says_is_read_in_one_place(dtype, fill_value, said, missing, valid):
    meaning = meaning_of(np.dtype(dtype), fill_value, said, {}, below_labels=False)
    assert (meaning.missing, meaning.valid) == (missing, valid)
    assert Meaning.from_json(meaning.to_json()) == meaning


def test_a_lossy_copy_says_that_it_has_numbers_for_gaps_and_a_rounded_one_keeps_them(tmp_path):
    values = np.random.default_rng(0).normal(size=(12, 14, 20)).astype("float32")
    values[2:5, 3:9, 4:11] = np.nan
    values[0, 0, 0] = np.inf
    zarr.open_group(tmp_path / "a.zarr", mode="w").create_array("t", data=values, chunks=(6, 7, 10))
    more = [Copy(name="fast", chunks=[12, 8, 8]), Copy(name="kept", chunks=[4, 14, 20])]
    copies = Copies(presets=[], more=more, tolerance=0.25, lossy_codec="kept=rounded")
    summary = rechunk(str(tmp_path / "a.zarr"), copies, array="t", target=str(tmp_path / "b.zarr"))
    note = "fast holds numbers where 127 values are NaN or Inf; rounded copies keep these (--lossy-codec rounded)"
    assert summary["notes"] == [note]
    kept = zarr.open_array(tmp_path / "b.zarr" / "kept", mode="r")[...]
    np.testing.assert_array_equal(np.isnan(kept), np.isnan(values))
    np.testing.assert_allclose(kept[np.isfinite(values)], values[np.isfinite(values)], atol=0.25)


def test_values_come_back_from_floats_as_they_were():
    meaning = Meaning(missing=(-1, 7), valid=(-2, 90))
    values = np.array([-1, 0, 7, 90, 91, -3, 5], "int16")
    floats = hidden(values, meaning)
    np.testing.assert_array_equal(floats, [np.nan, 0, np.nan, 90, np.nan, np.nan, 5])
    np.testing.assert_array_equal(shown(floats, values.dtype, meaning), [-1, 0, -1, 90, -1, -1, 5])
    np.testing.assert_array_equal(shown(np.array([0.5, 1.5]), values.dtype, meaning), [0, 2])
