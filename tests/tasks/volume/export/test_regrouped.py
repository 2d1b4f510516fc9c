"""A whole group of another tool in other chunks: values, coordinates, attributes, fill values and scalars as they were.

Covers export/regrouped.py, arrays/assembly.py.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from tasks.parameters import Run
from tasks.rechunk import rechunk
from tasks.volume.blocks import Compute, Progress
from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable

FORMATS = pytest.mark.parametrize("version", [2, 3])


def weather() -> xarray.Dataset:
    """Packed temperatures with gaps, rain with NaN, a mask, a scalar of the projection, and coordinates."""
    chance = np.random.default_rng(0)
    rain = chance.random((30, 20, 25)).astype("f4")
    rain[4:9, 3, 2:7] = np.nan
    warm = np.round(chance.normal(10, 5, rain.shape), 1)
    warm[2] = np.nan
    packed = {"dtype": "i2", "scale_factor": 0.1, "add_offset": 5.0, "_FillValue": -9999}
    return xarray.Dataset(
        {
            "rain": (("time", "lat", "lon"), rain, {"units": "mm", "grid_mapping": "crs"}),
            "warm": (("time", "lat", "lon"), warm, {"units": "degC"}, packed),
            "land": (("lat", "lon"), chance.random((20, 25)) > 0.5),
            "crs": ((), np.int32(4326), {"grid_mapping_name": "latitude_longitude"}),
        },
        {
            "time": np.datetime64("2026-01-01", "ns") + np.arange(30) * np.timedelta64(6, "h"),
            "lat": ("lat", np.linspace(50, 60, 20), {"units": "degrees_north"}),
            "lon": np.linspace(-5, 5, 25).astype("f4"),
        },
        {"title": "weather", "history": ["made", "by a test"]},
    )


def stored(folder: Path, version: int) -> tuple[Path, xarray.Dataset]:
    place = folder / "weather.zarr"
    weather().chunk(time=5).to_zarr(place, zarr_format=version, consolidated=version == 2)
    return place, xarray.open_zarr(place, consolidated=version == 2).load()


@pytest.mark.slow
@FORMATS
@pytest.mark.parametrize(
    ("chunks", "read"),
    [("time=30,lat=4,lon=4", (30, 4, 4)), ("auto", (30, 20, 25)), ("time=7", (7, 20, 25))],
)
def test_a_dataset_is_the_same_in_other_chunks(tmp_path, version, chunks, read):
    source, before = stored(tmp_path, version)
    summary = rechunk(str(source), target=str(tmp_path / "out.zarr"), group=chunks)
    with xarray.open_zarr(tmp_path / "out.zarr", consolidated=True) as after:
        xarray.testing.assert_identical(before, after.load())
        assert after.rain.encoding["chunks"] == read
    assert zarr.open_group(tmp_path / "out.zarr", mode="r").metadata.zarr_format == 3
    assert {row["path"] for row in summary["arrays"]} == {*before.variables}


@FORMATS
def test_groups_in_groups_arrays_of_text_and_what_is_not_stored(tmp_path, version):
    root = zarr.open_group(tmp_path / "in.zarr", mode="w", zarr_format=version)
    root.attrs["about"] = {"of": [1, 2.5, None]}
    inner = root.create_group("a/b", attributes={"depth": 2})
    values = inner.create_array("v", shape=(40, 50), chunks=(40, 1), dtype=">i4", fill_value=7)
    values[3:5, 10:12] = np.arange(4).reshape(2, 2)
    inner.create_array("none", shape=(0, 3), chunks=(1, 3), dtype="f8")
    inner.create_array("flags", shape=(9,), chunks=(2,), dtype="bool", fill_value=True)[::2] = False
    text = ["names"] if version == 3 else []
    for name in text:
        root.create_array(name, shape=(3,), chunks=(2,), dtype="c16")[...] = [1, 2j, 3]
    summary = rechunk(str(tmp_path / "in.zarr"), target=str(tmp_path / "out.zarr"), group="dim_0=8,dim_1=25")
    out = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert (dict(out.attrs), dict(out["a/b"].attrs)) == ({"about": {"of": [1, 2.5, None]}}, {"depth": 2})
    for path in ("a/b/v", "a/b/none", "a/b/flags", *text):
        np.testing.assert_array_equal(out[path][...], root[path][...])
        assert out[path].fill_value == root[path].fill_value
    assert out["a/b/v"].chunks == (8, 25)
    chunks = tmp_path / "out.zarr/a/b/v/c"
    assert {path.relative_to(chunks).as_posix() for path in chunks.rglob("*") if path.is_file()} == {"0/0"}
    assert summary["notes"] == [
        f"{name} holds no plain numbers, so its chunks are as they were" for name in text
    ]


def test_in_a_cloud_chunks_lie_in_shards_and_a_second_run_finds_them(tmp_path, s3):
    source, before = stored(tmp_path, 3)
    first = rechunk(str(source), target="s3://volumes/out.zarr", group="time=10,lat=10,lon=5")
    with xarray.open_zarr("s3://volumes/out.zarr", chunks=None) as after:
        xarray.testing.assert_identical(before, after.load())
    again = rechunk(str(source), target="s3://volumes/out.zarr", group="time=10,lat=10,lon=5")
    assert again["objects"] == first["objects"]
    assert again["notes"] == [f"{first['objects']} objects were there already"]
    row = next(row for row in first["arrays"] if row["path"] == "rain")
    assert (row["chunks"], row["shards"]) == ((10, 10, 5), (30, 20, 25))


def test_a_stopped_run_is_gone_on_with_and_no_reader_sees_its_half(tmp_path):
    source, before = stored(tmp_path, 3)
    stopping, out = threading.Event(), str(tmp_path / "out.zarr")

    def stop(progress: Progress) -> None:
        stopping.set()

    with ThreadPoolExecutor(1) as executor:
        compute: Any = Compute(executor, 1, 1 << 30, stop, stopping)
        with pytest.raises(Resumable):
            rechunk(str(source), target=out, group="auto", compute=compute)
    assert not (tmp_path / "out.zarr/zarr.json").exists()
    with pytest.raises(DestinationRefused, match="not empty"):
        rechunk(str(source), target=out, group="time=3")
    rechunk(str(source), target=out, group="auto")
    with xarray.open_zarr(out) as after:
        xarray.testing.assert_identical(before, after.load())


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path):
    source, _ = stored(tmp_path, 3)
    out = str(tmp_path / "out.zarr")
    for where, more, words in [
        (str(source), {"target": out, "group": "height=3"}, "no dimension height; it has lat, lon, time"),
        (str(source), {"group": "auto"}, "--target"),
        (f"{source}/rain", {"target": out, "group": "auto"}, "is an array"),
        (str(tmp_path / "nothing"), {"target": out, "group": "auto"}, "is no Zarr group"),
    ]:
        with pytest.raises(InputRefused, match=words):
            rechunk(where, **more)
    with pytest.raises(DestinationRefused, match="inside the group"):
        rechunk(str(source), target=f"{source}/out", group="auto")
    assert rechunk(str(source), target=out, group="auto", run=Run(dry_run=True))["dry_run"]
    assert not Path(out).exists()
