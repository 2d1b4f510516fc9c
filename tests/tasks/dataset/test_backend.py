"""Datasets of the engine: every value is the file's or plain zarr's, from the array that answers fastest.

Covers dataset/backend.py, dataset/accessor.py, dataset/opened.py, dataset/arrays.py, dataset/variables.py.
"""

import pickle
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from tasks.copy import copy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Levels, Master
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.store.objects import traffic
from tests import ROOT
from tests.support.survey import make_survey
from tests.tasks.dataset.conftest import Made

CHUNKS = {"inline": -1, "crossline": -1, "time": 32}
SELECTIONS: dict[str, Any] = {
    "all": np.s_[:, :, :],
    "a trace": np.s_[3, 7, :],
    "a sample": np.s_[3, 7, 11],
    "backwards": np.s_[::-1, 20:3:-2, ::-3],
    "steps": np.s_[1::7, ::2, 5:60:9],
    "nothing": np.s_[5:5, :, :],
    "from the end": np.s_[-3:, -1, :-60],
    "many positions": np.s_[[30, 2, 2, 17], :, 4],
    "masks": np.s_[:, np.arange(30) % 7 == 3, :],
}


def opened(made: Made, **options: Any) -> xarray.Dataset:
    return xarray.open_dataset(made.url, engine="seismill", **options)


@pytest.mark.parametrize(
    "chunks", [None, {}, {"inline": -1, "crossline": -1, "time": 32}], ids=["lazy", "dask", "own chunks"]
)
@pytest.mark.parametrize("key", SELECTIONS.values(), ids=SELECTIONS)
def test_a_selection_gives_what_numpy_gives_of_the_file(cube: Made, key: Any, chunks: Any):
    samples = opened(cube, chunks=chunks).amplitude
    np.testing.assert_array_equal(samples[key].values, cube.values[key])


def test_several_lists_choose_the_places_where_they_cross(cube: Made):
    chosen = opened(cube).amplitude[[5, 0], [9, 9, 2], ::10]
    np.testing.assert_array_equal(chosen.values, cube.values[np.ix_([5, 0], [9, 9, 2], range(0, 70, 10))])


@pytest.mark.parametrize("max_error", [0, 2])
def test_points_are_read_where_they_are(cube: Made, max_error: float):
    inlines, crosslines = xarray.DataArray([4, 4, 39, 0], dims="p"), xarray.DataArray([1, 29, 3, 3], dims="p")
    chosen = opened(cube, max_error=max_error).amplitude.isel(inline=inlines, crossline=crosslines)
    assert chosen.dims == ("p", "time")
    np.testing.assert_allclose(
        chosen.values, cube.values[inlines.values, crosslines.values], atol=max_error, rtol=0
    )
    mixed = opened(cube).amplitude.isel(crossline=crosslines, time=xarray.DataArray([0, 3, 3, 69], dims="p"))
    assert mixed.dims == ("inline", "p")
    np.testing.assert_array_equal(mixed.values, cube.values[:, crosslines.values, [0, 3, 3, 69]])


def test_labels_choose_by_the_surveys_own_numbers(cube: Made):
    dataset = opened(cube)
    np.testing.assert_array_equal(dataset.inline, cube.survey.inlines)
    np.testing.assert_array_equal(dataset.crossline, cube.survey.crosslines)
    np.testing.assert_array_equal(dataset.time, 4 * np.arange(70))
    trace = dataset.amplitude.sel(inline=24, crossline=306)
    np.testing.assert_array_equal(trace, cube.values[7, 2])
    window = dataset.amplitude.sel(inline=slice(20, 30), crossline=[387, 300], time=slice(100, 120))
    np.testing.assert_array_equal(window, cube.values[5:11][:, [29, 0], 25:31])
    assert dataset.amplitude.sel(inline=25, method="nearest").inline == 26
    with pytest.raises(KeyError):
        dataset.amplitude.sel(inline=25)


@pytest.mark.parametrize(
    ("max_error", "key", "array"),
    [
        (0, np.s_[5], "exact"),
        (0, np.s_[:, :, 9], "amplitude"),
        (0, np.s_[:, 9], "amplitude"),
        (1e-9, np.s_[:, 9], "amplitude"),
        (2, np.s_[:, 9], "fast_crossline"),
        (2, np.s_[:, :, 9], "fast_time"),
        (2, np.s_[::-1, 29, ::2], "fast_crossline"),
        (2, np.s_[3:9, 4:7, 26:30], "amplitude"),
    ],
)
def test_each_request_is_answered_by_the_array_that_decodes_least(cube: Made, max_error, key, array):
    dataset, stored = opened(cube, max_error=max_error), cube.group[array]
    dataset.trace_mask.load()
    before = traffic.snapshot()
    values = dataset.amplitude[key].values
    asked = traffic.since(before).requests
    np.testing.assert_array_equal(values, np.where(cube.live[..., None], stored[...], np.nan)[key])
    touched = [len({i // c for i in np.atleast_1d(np.arange(n)[k])}) for n, c, k in spans(stored, key)]
    assert asked == np.prod(touched), "an object for each chunk of that array and nothing else"


def spans(stored: Any, key: Any) -> Any:
    keys = key if isinstance(key, tuple) else (key,)
    return zip(stored.shape, stored.chunks, (*keys, *[slice(None)] * (3 - len(keys))), strict=True)


def test_the_samples_say_which_array_answers_what(cube: Made):
    about = opened(cube).amplitude.attrs
    assert about["answered_by"] == "inline: exact, crossline: amplitude, time: amplitude, all: exact"
    assert (about["max_error"], about["answers_max_abs_error"]) == (0, 0)
    about = opened(cube, max_error=2).amplitude.attrs
    assert about["answered_by"].startswith("inline: exact, crossline: fast_crossline, time: fast_time, all: ")
    assert about["answers_max_abs_error"] == cube.group["fast_time"].attrs["max_abs_error"] <= 2


def test_what_lies_where_no_trace_is_is_nan_in_copies_too(cube: Made):
    holes = ~cube.live
    assert holes.sum() == 50
    assert np.isfinite(cube.group["fast_time"][...][holes]).all()
    for key in np.s_[:, :, 3:4], np.s_[:, 0:1]:
        values = opened(cube, max_error=2).amplitude[key].values
        here = np.broadcast_to(holes[..., None], cube.values.shape)[key]
        assert np.isnan(values[here]).all()
        assert np.isfinite(values[~here]).all()


def test_a_copy_of_samples_that_are_not_finite_is_not_used(tmp_path: Path):
    words = np.full((45, 13), np.float32(1.5).view(np.uint32))
    words[7, 3] = np.float32(np.inf).view(np.uint32)
    survey = make_survey(tmp_path / "a.sgy", fmt="ieee", words=words)
    ingest_segy(str(survey.path), str(tmp_path / "a.zarr"))
    rechunk(str(tmp_path / "a.zarr"), Copies(presets=["fast_time"]))
    made = Made(str(tmp_path / "a.zarr"), survey.values)
    assert made.group["fast_time"].attrs["nonfinite_count"] == 1
    dataset = opened(made, max_error=1e9)
    assert "fast_time" not in dataset.amplitude.attrs["answered_by"]
    np.testing.assert_array_equal(dataset.amplitude[:, :, 3], survey.values[:, :, 3])


def test_integers_are_floats_only_where_some_places_hold_nothing(integers: Made, image: Made):
    samples = opened(integers).amplitude
    assert samples.dtype == np.float32
    expected = np.where(integers.live[..., None], integers.values, np.nan)
    np.testing.assert_array_equal(samples[::-1, :, 2:], expected[::-1, :, 2:])
    as_stored = opened(integers, mask_and_scale=False).amplitude
    assert as_stored.dtype == np.int16
    np.testing.assert_array_equal(as_stored, integers.values)
    assert opened(image).attenuation.dtype == np.uint16


def test_copies_of_integers_are_read_as_the_floats_that_they_hold(image: Made, tmp_path: Path):
    # Of an array of another tool: a lossy copy of whole voxels of our own is refused.
    group = zarr.create_group(tmp_path / "a.zarr").create_group("field")
    group.create_array("0", data=image.values, chunks=(16, 16, 16))
    lossy = Copies(presets=[], more=[Copy(name="lossy", chunks=[40, 30, 4])], tolerance=500)
    rechunk(str(tmp_path / "a.zarr"), lossy, array="field/0")
    url = str(tmp_path / "a.zarr/field")
    stored = zarr.open_group(url, mode="r")["lossy"]
    error = stored.attrs["max_abs_error"]
    assert stored.dtype.kind == "f"
    assert 0 < error <= 500
    samples = xarray.open_dataset(url, engine="seismill", max_error=500)["0"]
    assert samples.dtype == stored.dtype
    np.testing.assert_array_equal(samples[:, :, 7], stored[:, :, 7])
    assert np.abs(samples[:, :, 7].values - image.values[:, :, 7].astype(float)).max() <= error
    np.testing.assert_array_equal(samples[10], image.values[10])
    assert xarray.open_dataset(url, engine="seismill")["0"].dtype == np.uint16


def test_header_fields_are_variables_on_demand(cube: Made):
    assert "trace_seq_num_line" not in opened(cube)
    dataset = opened(cube, headers=["cdp_x", "trace_seq_num_line", "trace_id_code"])
    stored, live = cube.group["headers"][...], cube.live
    for name, field in [("header_cdp_x", "cdp_x"), ("trace_seq_num_line", "trace_seq_num_line")]:
        np.testing.assert_array_equal(dataset[name], np.where(live, stored[field], np.nan))
    assert dataset.trace_id_code.dtype == np.float32
    assert dataset.header_cdp_x.attrs["comment"].startswith("bytes 181 to 184 of the SEG-Y trace header")
    np.testing.assert_array_equal(dataset.cdp_x, cube.group["cdp_x"][...])
    raw = opened(cube, headers="all", mask_and_scale=False).load()
    assert all(
        np.array_equal(
            raw[name if name not in ("cdp_x", "cdp_y", "inline", "crossline") else f"header_{name}"],
            stored[name],
        )
        for name in stored.dtype.names
    )
    sequence = raw.trace_seq_num_line.values[live]
    np.testing.assert_array_equal(sequence, 1 + cube.survey.numbers[live])


def test_units_and_names_are_those_of_cf(cube: Made, image: Made):
    dataset = opened(cube)
    assert dataset.time.attrs == {"long_name": "Recording time", "units": "ms", "positive": "down"}
    assert dataset.cdp_x.attrs["standard_name"] == "projection_x_coordinate"
    assert dataset.cdp_x.attrs["units"] == "m"
    assert {"cdp_x", "cdp_y", "inline", "crossline", "time"} == set(dataset.coords)
    assert all(variable.attrs["long_name"] for variable in dataset.variables.values())
    voxels = opened(image)
    assert (voxels.z.attrs["units"], voxels.attenuation.attrs["units"]) == ("micrometer", "1/cm")
    assert dataset.attrs["surveyType"] == "3D"


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_has_its_own_labels_and_holes(cube: Made, level: int):
    plain = xarray.open_zarr(cube.url, group=f"pyramid/{level}")
    dataset = opened(cube, level=level)
    np.testing.assert_array_equal(dataset.amplitude, plain.amplitude)
    for dim in ("inline", "crossline", "time"):
        np.testing.assert_array_equal(dataset[dim], plain[dim])
    np.testing.assert_array_equal(dataset.trace_mask, plain.trace_mask)
    assert opened(cube, max_samples=dataset.amplitude.size).sizes == dataset.sizes
    assert opened(cube, level=level - 3).attrs["level"] == level


def test_volumes_of_every_rank_open(gathers: Made, line: Made, image: Made):
    dataset = opened(gathers)
    assert dataset.amplitude.dims == ("inline", "crossline", "offset", "time")
    np.testing.assert_array_equal(
        dataset.amplitude.sel(offset=4, inline=[3, 1]), gathers.values[[2, 0], :, 3]
    )
    np.testing.assert_array_equal(
        opened(gathers, chunks={}).amplitude[:, :, ::-1], gathers.values[:, :, ::-1]
    )
    dataset = opened(line)
    assert dataset.amplitude.dims == ("cdp", "time")
    np.testing.assert_array_equal(dataset.amplitude.sel(cdp=[130, 101]), line.values[[29, 0]])
    dataset = opened(image)
    np.testing.assert_array_equal(dataset.z, 2.0 * np.arange(40))
    np.testing.assert_array_equal(dataset.attenuation.sel(z=20.0), image.values[10])
    assert dataset.attenuation.attrs["answered_by"].startswith("z: slices, ")
    np.testing.assert_array_equal(
        opened(image, level=1).attenuation, image.group["pyramid/1/attenuation"][...]
    )
    np.testing.assert_array_equal(opened(image, copies=True).slices, image.values)


def test_levels_beside_another_tools_array_open_like_a_volume(tmp_path: Path):
    values = np.random.default_rng(9).integers(0, 60000, (40, 30, 50)).astype(np.uint16)
    field = zarr.create_group(tmp_path / "a.zarr").create_array(
        "field/0", shape=values.shape, chunks=(16, 16, 16), dtype="u2"
    )
    field[...] = values
    pyramid(str(tmp_path / "a.zarr"), Levels(levels=2, until=1), array="field/0")
    dataset = xarray.open_dataset(tmp_path / "a.zarr/field", engine="seismill")
    assert list(dataset.data_vars) == ["0"]
    np.testing.assert_array_equal(dataset["0"][::-3, [4, 2]], values[::-3, [4, 2]])
    points = xarray.DataArray([7, 1, 39], dims="p"), xarray.DataArray([29, 2, 0], dims="p")
    chosen = dataset["0"].isel(z=points[0], x=points[1])
    np.testing.assert_array_equal(chosen.transpose("p", ...), values[[7, 1, 39], :, [29, 2, 0]])
    level = xarray.open_dataset(tmp_path / "a.zarr/field", engine="seismill", level=1)
    np.testing.assert_array_equal(level["0"], zarr.open_group(tmp_path / "a.zarr/field", mode="r")["1"][...])
    np.testing.assert_array_equal(level.z, 0.5 + 2 * np.arange(20))
    with pytest.raises(InputRefused, match=r"lie in .*/a.zarr/field"):
        xarray.open_dataset(tmp_path / "a.zarr", engine="seismill")


@pytest.mark.slow
@pytest.mark.parametrize("max_error", [0, 2])
def test_shards_of_an_object_store_are_read_in_few_requests(tmp_path: Path, s3: str, max_error: float):
    survey = make_survey(
        tmp_path / "a.sgy", inlines=range(40), crosslines=range(50), n_samples=100, drop=30, interval_us=2000
    )
    url = "s3://volumes/shards.zarr"
    ingest_segy(str(survey.path), url, master=Master(chunks=[8, 8, 32], shards=[16, 24, 128]))
    rechunk(url, Copies(presets=["fast_time"], quality="high"))
    dataset = xarray.open_dataset(url, engine="seismill", max_error=max_error)
    dataset.inline.load()
    before = traffic.snapshot()
    values = dataset.amplitude.isel(inline=[3, 38], crossline=[0, 49, 20]).values
    assert traffic.since(before).requests <= 2 * 3 * 2, "an index and a range of each shard at most"
    np.testing.assert_allclose(values, survey.values[[3, 38]][:, [0, 49, 20]], atol=max_error, rtol=0)
    before = traffic.snapshot()
    np.testing.assert_allclose(dataset.amplitude[:, :, 7], survey.values[:, :, 7], atol=max_error, rtol=0)
    assert traffic.since(before).requests <= (2 if max_error else 2 * 3 * 3)


def test_a_chunk_that_is_missing_or_damaged_is_an_error_and_never_data(cube: Made, tmp_path: Path):
    url = str(tmp_path / "a.zarr")
    copy(cube.url, url)
    chunk = Path(url) / "amplitude/c/0/0/0"
    whole = chunk.read_bytes()
    chunk.unlink()
    samples = xarray.open_dataset(url, engine="seismill").amplitude
    for key in np.s_[:2, :2, :2], np.s_[[0, 5], :2, :2]:
        with pytest.raises(IntegrityFailure, match="missing though traces live there"):
            samples[key].load()
    chunk.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    with pytest.raises(IntegrityFailure, match="does not fit its checksum"):
        samples[:2, :2, :2].load()


def test_a_mask_that_is_too_large_for_memory_is_read_where_it_is_needed(cube: Made, integers: Made):
    for made, max_error in (cube, 2), (integers, 0):
        dataset = opened(made, max_error=max_error)
        dataset.encoding["seismill"].mask = None  # as of a grid of more than MASK_CELLS
        expected = np.where(made.live[..., None], made.values, np.nan)
        np.testing.assert_allclose(dataset.amplitude[:, 3:, 2], expected[:, 3:, 2], atol=max_error, rtol=0)
        points = xarray.DataArray([4, 4, 0], dims="p"), xarray.DataArray([1, 6, 3], dims="p")
        chosen = dataset.amplitude.isel(inline=points[0], crossline=points[1])
        np.testing.assert_allclose(chosen, expected[[4, 4, 0], [1, 6, 3]], atol=max_error, rtol=0)


def test_a_dataset_travels_to_other_processes(cube: Made):
    dataset = opened(cube, max_error=2, headers=["cdp_x"])
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again.amplitude[:, :, 3], dataset.amplitude[:, :, 3])
    xarray.testing.assert_identical(again.copy(deep=True).load(), dataset.load())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"level": 3}, r"has no level 3; it has 0 to 2"),
        ({"level": 1, "max_samples": 9}, "give only one"),
        ({"max_samples": 9}, r"has 1,440 samples, more than max_samples=9"),
        ({"max_error": -1}, "give 0 for lossless"),
        ({"max_error": "low"}, "max_error is 'low'; give 0 for lossless"),
        ({"level": "low"}, "level is 'low' and max_samples 0; give whole numbers"),
        ({"max_error": float("nan")}, "give 0 for lossless"),
        ({"headers": ["cdp"]}, "cdp is no field of a trace header; similar names are cdp_x, cdp_y"),
        ({"headers": ["cdp_x"], "level": 1}, "no trace headers at level 1; level 0 has them"),
        (
            {"storage_options": {"key": "AKIA", "secret": "hidden"}},
            "storage_options has key, secret; it takes",
        ),
        ({"storage_options": {"endpoint_url": "ftp://hidden"}}, "an invalid value for endpoint_url"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_a_sentence(cube: Made, options, sentence):
    with pytest.raises(InputRefused, match=sentence) as refused:
        opened(cube, **options)
    assert "hidden" not in str(refused.value)


def test_what_is_no_volume_is_refused(tmp_path: Path):
    zarr.create_group(tmp_path / "other.zarr")
    for name, sentence in [
        ("other.zarr", "was not written by Seismill"),
        ("none", "there is no published volume"),
    ]:
        with pytest.raises(InputRefused, match=sentence):
            xarray.open_dataset(tmp_path / name, engine="seismill")
    with pytest.raises(InputRefused, match="opened by its address"):
        xarray.open_dataset(b"CDF", engine="seismill")


def test_other_engines_are_still_chosen_for_zarr_groups(cube: Made):
    assert xarray.backends.list_engines()["seismill"].guess_can_open(cube.url) is False


@pytest.mark.slow
def test_a_volume_on_a_cloud_is_read_alike(cube: Made, cloud: str):
    url = f"{cloud}://volumes/{uuid.uuid4().hex}/a.zarr"
    copy(cube.url, url)
    dataset = xarray.open_dataset(url, engine="seismill", max_error=2, chunks={})
    exact = xarray.open_dataset(url, engine="seismill", chunks={})
    np.testing.assert_array_equal(exact.amplitude.sel(inline=24), cube.values[7])
    np.testing.assert_allclose(dataset.amplitude[:, :, 9], cube.values[:, :, 9], atol=2, rtol=0)
    inlines, crosslines = xarray.DataArray([4, 4, 39], dims="p"), xarray.DataArray([1, 29, 3], dims="p")
    chosen = pickle.loads(pickle.dumps(dataset)).amplitude.isel(inline=inlines, crossline=crosslines)
    np.testing.assert_allclose(chosen, cube.values[inlines.values, crosslines.values], atol=2, rtol=0)


@pytest.mark.slow
def test_storage_options_may_name_the_endpoint_of_a_store(
    cube: Made, s3: str, monkeypatch: pytest.MonkeyPatch
):
    import fsspec.config

    url = "s3://volumes/named.zarr"
    copy(cube.url, url)
    monkeypatch.setitem(fsspec.config.conf, "s3", {})
    for options in {"endpoint_url": s3}, {"client_kwargs": {"endpoint_url": s3, "region_name": "us-east-1"}}:
        dataset = xarray.open_dataset(url, engine="seismill", storage_options=options)
        np.testing.assert_array_equal(dataset.amplitude[3], cube.values[3])


@pytest.mark.parametrize(
    "file",
    ["segysak/tests/test-data-segysak/f3-withdead.sgy", "seisplot/data/F3_very_small.sgy", "segyio/f3.sgy"],
)
def test_real_files_read_as_plain_zarr_reads_them(shared: Path, tmp_path: Path, file: str):
    url = str(tmp_path / "a.zarr")
    ingest_segy(str(shared / "data" / file), url)
    plain = zarr.open_group(url, mode="r")
    dataset = xarray.open_dataset(url, engine="seismill")
    live = plain["trace_mask"][...]
    expected = np.where(live[..., None], plain["amplitude"][...], np.nan)
    np.testing.assert_array_equal(dataset.amplitude, expected)
    np.testing.assert_array_equal(dataset.amplitude[::-2, [3, 1]].values, expected[::-2, [3, 1]])
    label = int(dataset.inline[4])
    np.testing.assert_array_equal(dataset.amplitude.sel(inline=label), expected[4])


def test_the_command_line_does_not_import_xarray():
    program = "import sys, flows.cli; print('xarray' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]
