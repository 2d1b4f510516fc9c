"""The accessor: headers, places on the ground, lines, gathers, pictures and exports, as the source file has them.

Covers dataset/accessor.py, dataset/ground.py, dataset/grid.py, dataset/thumbnails.py, dataset/handover.py.
"""

import filecmp
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from tasks.copy import copy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tests.support.survey import make_survey
from tests.tasks.dataset.conftest import Made
from tests.tasks.dataset.test_backend import opened


def ground(inline, crossline):
    """X and Y as `make_survey` puts them into the headers, in whole units of the scalar -10."""
    x = 4_000_000 + np.asarray(inline) * 250 - np.asarray(crossline) * 3
    return x / 10, (61_000_000 + np.asarray(crossline) * 250 + np.asarray(inline) * 3) / 10


def test_the_headers_of_the_file_are_those_of_the_source(cube: Made):
    volume = opened(cube).seismill
    assert len(volume.text_header) == 40
    assert volume.text_header[0] == "C 1 SURVEY OF A TEST".ljust(80)
    assert {len(line) for line in volume.text_header} == {80}
    assert volume.binary_header["samples_per_trace"] == 70
    assert volume.binary_header["sample_interval"] == 4000
    assert opened(cube, level=1).seismill.binary_header == volume.binary_header


def test_the_header_of_a_trace_is_that_of_the_file(cube: Made):
    volume = opened(cube).seismill
    i, x = np.argwhere(cube.live)[17]
    place = {"inline": cube.survey.inlines[i], "crossline": cube.survey.crosslines[x]}
    raw = cube.survey.headers[cube.survey.numbers[i, x]].tobytes()
    assert volume.trace_header(**place, raw=True) == raw
    header = volume.trace_header(**place)
    assert len(header) == 89
    assert header["inline"] == place["inline"]
    assert header["cdp_x"] == int.from_bytes(raw[180:184], "big")
    assert header["trace_seq_num_line"] == 1 + cube.survey.numbers[i, x]
    i, x = np.argwhere(~cube.live)[0]
    with pytest.raises(InputRefused, match="there is no trace at inline"):
        volume.trace_header(inline=cube.survey.inlines[i], crossline=cube.survey.crosslines[x])
    with pytest.raises(InputRefused, match="inline has no 11; it goes from 10 to 88"):
        volume.trace_header(inline=11, crossline=300)
    with pytest.raises(InputRefused, match="named by inline, crossline"):
        volume.trace_header(inline=10)


def test_places_on_the_ground_and_line_numbers_are_found_from_each_other(cube: Made):
    for dataset in opened(cube), opened(cube, level=2), opened(cube).isel(inline=3):
        np.testing.assert_allclose(dataset.seismill.xy(24, 306), ground(24, 306), rtol=0, atol=1e-4)
        np.testing.assert_allclose(dataset.seismill.at(*ground(24.5, 307)), [24.5, 307], rtol=0, atol=1e-4)
    inlines, crosslines = np.array([10, 88]), np.array([300, 387])
    assert {type(number) for number in opened(cube).seismill.xy(24, 306)} == {float}
    x, y = opened(cube).seismill.xy(inlines, crosslines)
    np.testing.assert_allclose([x, y], ground(inlines, crosslines), rtol=0, atol=1e-4)


def test_where_no_map_fits_it_is_refused(tmp_path: Path, line: Made, image: Made):
    bent = np.arange(45) ** 2 * 1000
    survey = make_survey(tmp_path / "a.sgy", headers={(181, "i4"): bent})
    ingest_segy(str(survey.path), str(tmp_path / "a.zarr"), Index(bytes="189,193"))
    volume = opened(Made(str(tmp_path / "a.zarr"), survey.values)).seismill
    with pytest.raises(InputRefused, match="more than half a bin"):
        volume.at(0, 0)
    assert "distance" not in volume.line([(11, 101), (19, 105)]).coords
    for made in line, image:
        with pytest.raises(InputRefused, match="not numbered by inline and crossline"):
            opened(made).seismill.xy(1, 2)


@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
def test_a_line_through_the_survey_takes_the_nearest_traces(cube: Made, chunks):
    dataset = opened(cube, chunks=chunks)
    points = [(10, 300), (60, 345), (20, 387)]
    section = dataset.seismill.line(points)
    i, x = (section.inline.values - 10) // 2, (section.crossline.values - 300) // 3
    assert (i[0], x[0], i[25], x[25], i[-1], x[-1]) == (0, 0, 25, 15, 5, 29)
    assert max(np.abs(np.diff(i)).max(), np.abs(np.diff(x)).max()) == 1
    np.testing.assert_array_equal(section.amplitude, cube.values[i, x])
    np.testing.assert_array_equal(section.trace_mask, cube.live[i, x])
    steps = np.hypot(*np.diff(ground(section.inline, section.crossline)))
    np.testing.assert_allclose(np.diff(section.distance), steps, rtol=0, atol=1e-4)
    assert section.distance.attrs["units"] == "m"
    by_ground = dataset.seismill.line([ground(*point) for point in points], xy=True)
    xarray.testing.assert_equal(by_ground.amplitude.compute(), section.amplitude.compute())


def test_a_line_is_drawn_through_what_was_selected(cube: Made):
    part = opened(cube).sel(inline=slice(20, 40), crossline=slice(330, None, None))[["amplitude"]]
    section = part.seismill.line([(20, 330), (40, 387)])
    np.testing.assert_array_equal(section.inline[[0, -1]], [20, 40])
    i, x = (section.inline.values - 10) // 2, (section.crossline.values - 300) // 3
    np.testing.assert_array_equal(section.amplitude, cube.values[i, x])
    with pytest.raises(InputRefused, match="inline 18 is outside of"):
        part.seismill.line([(18, 330), (40, 387)])
    with pytest.raises(InputRefused, match="lacks a dimension of inline and crossline"):
        part.isel(inline=0).seismill.line([(20, 330), (40, 387)])


def test_a_gather_holds_the_live_traces_at_a_place(gathers: Made, cube: Made):
    dataset = opened(gathers)
    gather = dataset.seismill.gather(inline=2, crossline=3)
    live = gathers.live[1, 2]
    assert 0 < live.sum() < 5
    np.testing.assert_array_equal(gather, gathers.values[1, 2][live])
    np.testing.assert_array_equal(gather.offset, 1 + np.flatnonzero(live))
    np.testing.assert_array_equal(dataset.seismill.gather(inline=2), gathers.values[1])
    np.testing.assert_array_equal(opened(cube).seismill.gather(inline=24), cube.values[7][cube.live[7]])
    with pytest.raises(InputRefused, match="inline has no 9; it goes from 1 to 3"):
        dataset.seismill.gather(inline=9)
    with pytest.raises(InputRefused, match="there is no dimension cdp"):
        dataset.seismill.gather(cdp=9)


def test_a_thumbnail_shows_the_middle_from_a_level_that_is_fine_enough(cube: Made, image: Made):
    volume = opened(cube).seismill
    picture = volume.thumbnail("time", size=10)
    level = cube.group["pyramid/2/amplitude"][...]
    assert (picture.shape, picture.dtype) == ((10, 8, 4), np.uint8)
    values = level[:, :, level.shape[2] // 2]
    np.testing.assert_array_equal(picture[..., 3] == 255, np.isfinite(values))
    live = np.isfinite(values)
    c = np.percentile(np.abs(values[live]), 99)
    grey = np.rint(np.clip((values[live] + c) / (2 * c) * 255, 0, 255))
    np.testing.assert_allclose(picture[live][:, 0], grey, atol=1)
    section = volume.thumbnail(label=24, size=500)
    assert section.shape == (70, 30, 4), "time goes down"
    np.testing.assert_array_equal(section[0, :, 3] == 255, cube.live[7])
    assert volume.thumbnail(size=3).shape[0] <= 3
    assert opened(image).seismill.thumbnail("z", size=40).shape == (30, 25, 4)
    with pytest.raises(InputRefused, match="has no dimension depth"):
        volume.thumbnail("depth")


def test_what_mdios_reader_has_is_there_by_its_name(cube: Made, gathers: Made, image: Made):
    volume = opened(cube).seismill
    assert (volume.shape, volume.n_dim, volume.chunks) == ((40, 30, 70), 3, (16, 16, 32))
    assert volume.trace_count == 1150
    np.testing.assert_array_equal(volume.live_mask, cube.live)
    known = cube.values[np.isfinite(cube.values)].astype(float)
    for name, value in {
        "mean": known.mean(),
        "std": known.std(),
        "min": known.min(),
        "max": known.max(),
    }.items():
        assert volume.stats[name] == pytest.approx(value, rel=1e-9)
    assert volume.stats["rms"] == pytest.approx(np.sqrt((known**2).mean()))
    np.testing.assert_array_equal(volume[15], cube.values[15])
    np.testing.assert_array_equal(volume[..., 33], cube.values[..., 33])
    np.testing.assert_array_equal(volume[[3, 1], [2, 5]], cube.values[np.ix_([3, 1], [2, 5])])
    np.testing.assert_array_equal(volume.coord_to_index([14, 10], dimensions="inline"), [2, 0])
    places = volume.coord_to_index(24, [306, 300], 8)
    assert [place.tolist() for place in places] == [[7], [2, 0], [2]]
    with pytest.raises(InputRefused, match="crossline has no 301"):
        volume.coord_to_index(301, dimensions=["crossline"])
    with pytest.raises(InputRefused, match="given for 1 dimensions"):
        volume.coord_to_index(301)
    assert volume.grid.dim_names == ("inline", "crossline", "time")
    assert (volume.grid.shape, volume.grid.ndim) == (volume.shape, 3)
    assert (volume.grid.get_min("inline"), volume.grid.get_max("time")) == (10, 276)
    assert volume.grid.select_dim("crossline").coords.tolist() == list(cube.survey.crosslines)
    assert opened(gathers).seismill.n_dim == 4
    for wanted in ("text_header", "live_mask", "trace_count"):
        with pytest.raises(InputRefused, match="only volumes made from SEG-Y"):
            getattr(opened(image).seismill, wanted)


def test_who_answers_a_selection_can_be_asked_before(cube: Made):
    volume = opened(cube, max_error=2).seismill
    assert volume.answered_by(time=36)["array"] == "fast_time"
    answer = opened(cube).seismill.answered_by(inline=slice(10, 30))
    assert answer == {
        "array": "exact",
        "max_abs_error": 0,
        "chunks": 3,
        "decoded_bytes": 3 * 4 * 32 * 72 * 4,
        "requests": 3,
    }


def test_the_export_is_the_source_or_the_part_that_was_selected(cube: Made, tmp_path: Path):
    dataset = opened(cube)
    whole, part, masked = tmp_path / "a.sgy", tmp_path / "b.sgy", tmp_path / "c.sgy"
    assert dataset.seismill.export_segy(str(whole))["identical"]
    assert filecmp.cmp(whole, cube.survey.path, shallow=False)
    assert dataset.seismill.export_segy(whole)["identical"], "again: the same file is there already"
    whole.write_bytes(whole.read_bytes()[:-1] + b"?")
    with pytest.raises(DestinationRefused):
        dataset.seismill.export_segy(whole)
    dataset.sel(inline=slice(20, 30), time=slice(40, 80)).seismill.export_segy(part)
    ingest_segy(str(part), str(tmp_path / "b.zarr"))
    again = xarray.open_dataset(tmp_path / "b.zarr", engine="seismill")
    np.testing.assert_array_equal(again.inline, [20, 22, 24, 26, 28, 30])
    np.testing.assert_array_equal(again.time, np.arange(40, 81, 4))
    x = (again.crossline.values - 300) // 3
    np.testing.assert_array_equal(again.amplitude, cube.values[5:11, x, 10:21])
    wanted = cube.live & (np.arange(30) == 4)
    dataset.seismill.export_segy(masked, mask=wanted)
    assert masked.stat().st_size == 3600 + wanted.sum() * (240 + 4 * 70)


@pytest.mark.parametrize(
    "key", [{"inline": slice(None, None, -1)}, {"inline": [3, 5]}, {"time": slice(0, 9, 2)}]
)
def test_what_is_no_range_is_not_exported(cube: Made, tmp_path: Path, key):
    with pytest.raises(InputRefused, match="is not a range of"):
        opened(cube).isel(key).seismill.export_segy(tmp_path / "a.sgy")
    assert not list(tmp_path.iterdir())


def test_a_coarser_level_is_not_exported(cube: Made, tmp_path: Path):
    with pytest.raises(InputRefused, match=r"level 1 .* open level 0"):
        opened(cube, level=1).seismill.export_segy(tmp_path / "a.sgy")


def test_a_copy_of_the_volume_holds_what_was_asked_for(cube: Made, tmp_path: Path):
    opened(cube).seismill.copy(tmp_path / "b.zarr", excludes=["fast_time", "pyramid"])
    group = zarr.open_group(tmp_path / "b.zarr", mode="r")
    assert "fast_time" not in group
    np.testing.assert_array_equal(group["amplitude"][...], cube.values)


def test_a_dataset_that_is_of_no_volume_says_so(cube: Made):
    for dataset in xarray.Dataset(), xarray.open_zarr(cube.url):
        with pytest.raises(InputRefused, match="does not name its volume"):
            _ = dataset.seismill.text_header


@pytest.mark.slow
def test_a_volume_in_a_cloud_answers_alike(cube: Made, s3: str, tmp_path: Path):
    copy(cube.url, "s3://volumes/accessor.zarr")
    volume = xarray.open_dataset("s3://volumes/accessor.zarr", engine="seismill").seismill
    np.testing.assert_allclose(volume.xy(24, 306), ground(24, 306), rtol=0, atol=1e-4)
    assert volume.text_header[0].startswith("C 1 SURVEY")
    volume.export_segy(tmp_path / "a.sgy")
    assert filecmp.cmp(tmp_path / "a.sgy", cube.survey.path, shallow=False)


def test_a_real_survey_lies_where_its_headers_say(shared: Path, tmp_path: Path):
    file = shared / "data/segysak/tests/test-data-segysak/f3-withdead.sgy"
    ingest_segy(str(file), str(tmp_path / "a.zarr"))
    dataset = xarray.open_dataset(tmp_path / "a.zarr", engine="seismill")
    x, y = dataset.seismill.xy(
        dataset.inline.values[:, None] + 0 * dataset.crossline.values,
        dataset.crossline.values + 0 * dataset.inline.values[:, None],
    )
    off = np.hypot(x - dataset.cdp_x, y - dataset.cdp_y).values
    assert np.nanmax(off) < 1, "coordinates are rounded to decimetres or metres; bins are 25 m"
    i, c = np.argwhere(dataset.trace_mask.values)[5]
    header = dataset.seismill.trace_header(inline=int(dataset.inline[i]), crossline=int(dataset.crossline[c]))
    assert header["inline"] == dataset.inline[i]
