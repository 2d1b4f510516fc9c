"""What numbers of a volume mean: time or depth, units, reference system, and what the user says of them.

Covers arrays/axes.py, ingest/described.py, ingest/footprint.py, segy/axis_domain.py, segy/corrections.py,
segy/header_text.py.
"""

import filecmp
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from tasks.export_segy import export_segy
from tasks.info import info
from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Image, Index, Levels
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.axis_domain import domain_of
from tests.support.command import SEISMILL
from tests.support.segy_maker import segy_bytes


def text_of(*lines: str) -> bytes:
    """A textual header of these lines and empty ones."""
    cards = [f"C{number:2d} {line}".ljust(80) for number, line in enumerate(lines, 1)]
    return "".join(cards).ljust(3200).encode("cp500")


def ingested(folder: Path, content: bytes, index: Index = Index()) -> tuple[zarr.Group, str]:
    """The volume of a file that came back as it was, and its notes."""
    source, volume = folder / "source.sgy", folder / "volume.zarr"
    source.write_bytes(content)
    notes = ingest_segy(str(source), str(volume), index)["notes"]
    export_segy(str(volume), str(folder / "back.sgy"))
    assert filecmp.cmp(source, folder / "back.sgy", shallow=False)
    return zarr.open_group(volume, mode="r"), "\n".join(notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "DOMAIN: DEPTH",
        "VERTICAL DOMAIN = DEPTH   UNITS = FEET",
        "KIRCHHOFF PSDM, SAMPLE INTERVAL: 5 M",
        "SAMPLE RATE 10 FT",
        "DEPTH (METERS)",
        "DEPTH CONVERTED VOLUME",
        "STRETCHED TO DEPTH WITH FINAL VELOCITIES",
        "FULL STACK DEPTH SECTION",
        "DATA IN DEPTH",
    ],
)
@pytest.mark.parametrize(("system", "unit"), [(1, "m"), (2, "ft")])
def test_depth_is_recognised_by_the_text(tmp_path, line, system, unit):
    content = segy_bytes(text=text_of("LINE 7", line), interval=5000, binary={(3255, "h"): system})
    group, notes = ingested(tmp_path, content)
    assert group.attrs["name"] == "PostStack3DDepth"
    np.testing.assert_array_equal(group["depth"][:], np.arange(9) * 5)
    attributes = dict(group["depth"].attrs)
    assert (attributes["unitsV1"], attributes["units"]) == ({"length": unit}, unit)
    assert attributes["long_name"] == "depth"
    assert "The samples are in depth: the text header says" in notes
    assert f"byte 3255 is {system}" in notes


@pytest.mark.parametrize(
    "line",
    [
        "WATER DEPTH 120 M",
        "SOURCE DEPTH: 5 M   CABLE DEPTH: 8 M",
        "BYTES 189-192 :WATERDEPTH AT CDP",
        "SAMPLE INTERVAL: 4 MS",
        "PSDM CONVERTED TO TIME",
        "GUN DEPTH 6 M, STREAMER DEPTH 9 M, SAMPLE RATE 4 MSEC",
        "DEPTH TO TIME CONVERSION",
        "SAMPLE INTERNAL         SAMPLES/TRACE       BITS/IN",
    ],
)
def test_other_depths_are_no_depth_of_samples(tmp_path, line):
    group, notes = ingested(tmp_path, segy_bytes(text=text_of(line), binary={(3255, "h"): 1}))
    assert group.attrs["name"] == "PostStack3DTime"
    assert group["time"].attrs["units"] == "ms"
    assert "depth" not in notes


@pytest.mark.parametrize(
    ("interval", "n_samples", "options", "domain"),
    [
        (3048, 1001, {}, "depth"),  # ten feet
        (1524, 1001, {}, "depth"),
        (10_000, 2401, {}, "depth"),  # 24 s in time
        (12_500, 1801, {"system": 1}, "depth"),
        (10_000, 3001, {"system": 2}, "depth"),
        (5000, 801, {"stacked_grid": True, "swinging": True}, "depth"),
        (20_000, 301, {"stacked_grid": True, "swinging": True}, "depth"),
        (20_000, 301, {"stacked_grid": True}, "time"),  # velocities
        (10_000, 800, {"swinging": True}, "time"),  # an earthquake
        (4000, 7501, {"stacked_grid": True, "swinging": True}, "time"),  # 30 s through the crust
        (2000, 3001, {}, "time"),
        (250, 4001, {}, "time"),
        (0, 100, {}, "time"),
        (62.5, 70_001, {}, "time"),
    ],
)
def test_depth_is_recognised_by_what_no_record_in_time_has(interval, n_samples, options, domain):
    found = domain_of("", interval, n_samples, **options)
    assert found.domain == domain
    assert bool(found.reason) == (domain == "depth")


def test_an_interval_alone_makes_depth_of_a_stacked_cube(tmp_path):
    samples = np.random.default_rng(0).normal(size=(35, 9)).astype(">f4").view(np.uint8).reshape(35, -1)
    content = segy_bytes(code=5, samples=samples, interval=10_000, binary={(3255, "h"): 2})
    group, notes = ingested(tmp_path, content)
    assert group["depth"][:].tolist() == list(range(0, 90, 10))
    assert group["depth"].attrs["units"] == "ft"
    assert "10 ms are too coarse for stacked amplitudes in time" in notes
    assert "--domain time" in notes
    again, _ = ingested(make(tmp_path / "time"), content, Index(domain="time"))
    assert again["time"].attrs["units"] == "ms"


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("lines", "system", "index", "unit", "sentence"),
    [
        (["DEPTH IN FEET", "DEPTH SECTION"], 0, Index(), "ft", "Depth is in feet (the text header says so)"),
        (["DEPTH IN FEET", "DEPTH SECTION"], 1, Index(), "m", "but the text header says feet"),
        (["DEPTH SECTION"], 0, Index(), "", "The unit of depth is not known"),
        (["DEPTH SECTION"], 1, Index(depth_unit="ft"), "ft", ""),
        (["DEPTH SECTION"], 1, Index(depth_unit="none"), "", ""),
        ([], 2, Index(domain="depth"), "ft", "Depth is in feet (byte 3255 is 2)"),
    ],
)
def test_the_unit_of_depth_is_what_is_said(tmp_path, lines, system, index, unit, sentence):
    content = segy_bytes(text=text_of("A", *lines), interval=5000, binary={(3255, "h"): system})
    group, notes = ingested(tmp_path, content, index)
    assert group["depth"].attrs.get("units", "") == unit
    assert group["depth"].attrs.get("unitsV1", {}) == ({"length": unit} if unit else {})
    assert sentence in notes


@pytest.mark.parametrize("domain", ["time", "depth"])
def test_an_interval_of_0_gives_an_index_without_a_unit(tmp_path, domain):
    group, notes = ingested(tmp_path, segy_bytes(interval=0), Index(domain=domain))
    assert group[domain][:].tolist() == list(range(9))
    assert dict(group[domain].attrs) == {"long_name": "sample number", "units": "1"}
    assert "samples are numbered from 0" in notes


@pytest.mark.parametrize(
    ("index", "axis"),
    [
        (Index(sample_interval="2"), np.arange(9) * 2),
        (Index(sample_interval="0.5"), np.arange(9) / 2),
        (Index(sample_interval="0"), np.arange(9)),
        (Index(delay="-100"), np.arange(9) * 4 - 100),
        (Index(delay="12.5", sample_interval="1"), np.arange(9) + 12.5),
        (Index(domain="depth", sample_interval="12.5", delay="1000"), np.arange(9) * 12.5 + 1000),
    ],
)
def test_interval_and_delay_can_be_said(tmp_path, index, axis):
    content = segy_bytes(traces={(109, "i2"): 48})
    group, _ = ingested(tmp_path, content, index)
    name = "time" if index.domain == "auto" else "depth"
    shift = 48 if index.delay == "header" and index.sample_interval != "0" else 0
    np.testing.assert_array_equal(group[name][:], axis + shift)


@pytest.mark.parametrize("scalar", [-1000, -10, 1, 2, 100])
def test_the_coordinate_scalar_can_be_said(tmp_path, scalar):
    group, notes = ingested(tmp_path, segy_bytes(traces={(71, "i2"): 7}), Index(coordinate_scalar=scalar))
    factor = scalar if scalar > 0 else -1 / scalar
    np.testing.assert_allclose(group["cdp_x"][:, 0], (4_000_000 + 250 * np.arange(5)) * factor)
    assert "byte 71" not in notes


@pytest.mark.parametrize(
    ("said", "unit", "units"),
    [
        ("m", {"length": "m"}, "m"),
        ("ft", {"length": "ft"}, "ft"),
        ("deg", {"angle": "deg"}, "degree"),
        ("none", None, None),
        ("header", None, None),
    ],
)
def test_the_unit_of_coordinates_can_be_said(tmp_path, said, unit, units):
    content = segy_bytes(traces={(89, "i2"): 3}, binary={(3255, "h"): 1})
    group, notes = ingested(tmp_path, content, Index(coordinate_unit=said))
    assert group["cdp_x"].attrs.get("unitsV1") == unit
    assert group["cdp_x"].attrs.get("units") == units
    assert ("exceed 360" in notes) == (said == "header")


@pytest.mark.parametrize("largest", [359, 180, 90, 360, -45])
def test_degrees_up_to_360_are_degrees(tmp_path, largest):
    traces = {(89, "i2"): 3, (71, "i2"): 1, (181, "i4"): largest, (185, "i4"): np.arange(35)}
    group, notes = ingested(tmp_path, segy_bytes(traces=traces))
    assert group["cdp_x"].attrs["unitsV1"] == {"angle": "deg"}
    assert "exceed" not in notes


@pytest.mark.parametrize(
    ("line", "index", "code"),
    [
        ("EPSG:23031", Index(), 23031),
        ("COORDINATES: ED50 / UTM ZONE 31N (EPSG CODE 23031)", Index(), 23031),
        ("CRS EPSG = 32631", Index(), 32631),
        ("urn:ogc:def:crs:EPSG::2193", Index(), 2193),
        ("NO CODE HERE", Index(epsg=28992), 28992),
        ("EPSG:23031", Index(epsg=4326), 4326),
        ("EPSG:23031 CONVERTED FROM EPSG:32631", Index(), 0),
        ("NO CODE HERE, 23031", Index(), 0),
    ],
)
def test_the_reference_system_lies_on_coordinates_and_root(tmp_path, line, index, code):
    group, notes = ingested(tmp_path, segy_bytes(text=text_of("A", line)), index)
    assert group.attrs["seismill"].get("epsg", 0) == code
    for name in ("cdp_x", "cdp_y", "amplitude"):
        assert group[name].attrs.get("grid_mapping") == ("crs" if code else None)
    assert ("crs" in group) == bool(code)
    if code:
        assert group["crs"].attrs["epsg_code"] == f"EPSG:{code}"
    assert ("several EPSG codes" in notes) == line.endswith("EPSG:32631")


def test_requests_hold_only_what_was_said(tmp_path):
    group, _ = ingested(tmp_path, segy_bytes())
    placement = group.attrs["seismill"]["index"]["placement"]
    assert "corrections" not in placement
    index = Index(epsg=23031, delay="4", coordinate_scalar=-100)
    group, _ = ingested(make(tmp_path / "said"), segy_bytes(), index)
    placement = group.attrs["seismill"]["index"]["placement"]
    assert placement["corrections"] == {"epsg": 23031, "delay": 4.0, "coordinate_scalar": -100}
    assert set(Index().model_dump()) == {
        "bytes", "names", "types", "coordinate_bytes", "template", "domain", "sample_format", "sample_endian",
        "checksums", "overrides",
    }  # fmt: skip


@pytest.mark.parametrize("codes", [[2], [2, 7], [-1], [3], [1, 2]])
def test_traces_of_some_codes_have_no_cell_and_come_back(tmp_path, codes):
    # Every third trace repeats the numbers of its predecessor under a code of its own.
    numbers = np.repeat(np.arange(12), 3)[:35]
    own = np.array([5, 6, 100])[np.arange(35) % 3]
    words = {
        (189, "i4"): numbers, (193, "i4"): np.where(np.arange(35) % 3 == 2, 6, own),
        (29, "i2"): np.where(np.arange(35) % 3 == 2, codes[-1], 9 if 1 in codes else 1),
    }  # fmt: skip
    if 1 in codes:
        words[29, "i2"] = np.where(np.arange(35) % 3 == 2, 2, 11)
    content = segy_bytes(traces=words)
    (tmp_path / "source.sgy").write_bytes(content)
    with pytest.raises(InputRefused, match="of an earlier one"):
        ingest_segy(str(tmp_path / "source.sgy"), str(tmp_path / "volume.zarr"))
    group, notes = ingested(tmp_path, content, Index(unplaced_codes=codes))
    assert group["amplitude"].shape == (12, 2, 9)
    assert group["unplaced/samples"].shape == (11, 9)
    assert group["unplaced/trace_number"][:].tolist() == list(range(2, 35, 3))
    assert "11; they have no cell" in notes


def volume_of(folder: Path, **more: Any) -> Path:
    (folder / "a.sgy").write_bytes(segy_bytes(binary={(3255, "h"): 1}, **more))
    ingest_segy(str(folder / "a.sgy"), str(folder / "a.zarr"), Index(epsg=23031))
    return folder / "a.zarr"


def test_xarray_takes_means_and_writes_netcdf(tmp_path):
    data = xarray.open_zarr(volume_of(tmp_path))
    assert data.time.dtype.kind in "if"
    assert data.time.attrs["units"] == "ms"
    means = data.mean()
    np.testing.assert_allclose(means.amplitude, data.amplitude.values.mean(), rtol=1e-5)
    data[["amplitude"]].drop_attrs().to_netcdf(tmp_path / "a.nc")
    again = xarray.open_dataset(tmp_path / "a.nc")
    np.testing.assert_array_equal(again.amplitude, data.amplitude)
    np.testing.assert_array_equal(again.time, data.time)
    np.testing.assert_array_equal(again.cdp_x, data.cdp_x)


@pytest.mark.parametrize(
    "options", [{}, {"copies": True, "headers": ["cdp_x", "delay_recording_time"]}, {"level": 1}]
)
def test_what_the_engine_opens_becomes_netcdf_as_it_is(tmp_path, options):
    place = str(volume_of(tmp_path))
    rechunk(place, Copies(presets=["fast_inline"], quality="high"))
    pyramid(place, Levels(levels=1, until=1))
    with xarray.open_dataset(place, engine="seismill", **options) as data:
        data.to_netcdf(tmp_path / "a.nc")
        with xarray.open_dataset(tmp_path / "a.nc") as again:
            assert set(again.variables) == set(data.variables)
            for name in data.variables:
                np.testing.assert_array_equal(again[name].values, data[name].values)
                assert again[name].attrs.get("units") == data[name].attrs.get("units")


def test_voxels_that_the_engine_opens_become_netcdf(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 9, (8, 9, 10), np.uint8))
    image = Image(voxel_length=[2.0, 1.0, 1.0], voxel_unit="micrometer", labels=True)
    ingest_images(str(tmp_path / "a.npy"), str(tmp_path / "v.zarr"), image)
    with xarray.open_dataset(str(tmp_path / "v.zarr"), engine="seismill") as data:
        data.to_netcdf(tmp_path / "a.nc")
        with xarray.open_dataset(tmp_path / "a.nc") as again:
            np.testing.assert_array_equal(again.attenuation, np.load(tmp_path / "a.npy"))
            assert again.z.attrs["units"] == "micrometer"


@pytest.mark.parametrize("interval", [4000, 500, 62])
def test_time_is_never_a_time_difference(tmp_path, interval):
    place = volume_of(tmp_path, interval=interval)
    for decode in (None, True, False):
        data = xarray.open_zarr(place, decode_timedelta=decode)
        np.testing.assert_allclose(data.time, np.arange(9) * interval / 1000)
        assert data.time.dtype.kind in "if"


def test_info_says_axes_and_place(tmp_path):
    summary = info(str(volume_of(tmp_path)))
    assert summary["axes"] == [
        {"name": "inline", "first": 100, "last": 108, "step": 2, "count": 5},
        {"name": "crossline", "first": 7, "last": 25, "step": 3, "count": 7},
        {"name": "time", "first": 0, "last": 32, "step": 4, "count": 9, "unit": "ms"},
    ]
    place = summary["place"]
    assert (place["x"], place["y"]) == ([400_000.0, 400_100.0], [6_100_000.0, 6_100_075.0])
    assert place["bin_size"] == {"inline": 25.0, "crossline": 12.5}
    assert place["azimuth"] == {"inline": 90.0, "crossline": 0.0}
    assert place["corners"][2] == {"inline": 108, "crossline": 25, "x": 400_100.0, "y": 6_100_075.0}
    assert place["unit"] == "m"
    assert summary["epsg"] == 23031
    assert "text" not in summary
    assert info(str(tmp_path / "a.zarr"), text=True)["textual_header"].startswith("C 1 A SMALL FILE")


@pytest.mark.slow
def test_the_command_shows_axes_place_and_text(tmp_path):
    place = volume_of(tmp_path)
    command = [*SEISMILL, "info", str(place), "--text"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    for expected in (
        "time 0 to 32 by 4 ms (9)", "x: 400000 to 400100 m", "y: 6100000 to 6100075 m", "C 1 A SMALL FILE",
        "bin size: inline 25, crossline 12.5", "azimuth: inline 90, crossline 0",
    ):  # fmt: skip
        assert expected in shown
    without = subprocess.run(command[:-1], capture_output=True, text=True, check=True, timeout=120).stdout
    assert "A SMALL FILE" not in without
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout.splitlines()[-1])["place"]["bin_size"]["inline"] == 25.0


@pytest.mark.parametrize("angle", [0, 30, 137.5, 200, 359])
def test_directions_and_bins_are_those_of_a_turned_grid(tmp_path, angle):
    lines, crosslines = np.indices((5, 7)).reshape(2, -1)
    turn = np.radians(angle)
    north, east = np.cos(turn), np.sin(turn)
    x = 500_000 + 50 * lines * east + 12.5 * crosslines * north
    y = 6_000_000 + 50 * lines * north - 12.5 * crosslines * east
    traces = {(71, "i2"): -100, (181, "i4"): np.rint(100 * x), (185, "i4"): np.rint(100 * y)}
    place = info(str(volume_of(tmp_path, traces=traces)))["place"]
    assert place["bin_size"]["inline"] == pytest.approx(50, abs=0.01)
    assert place["bin_size"]["crossline"] == pytest.approx(12.5, abs=0.01)
    assert np.cos(np.radians(place["azimuth"]["inline"] - angle)) == pytest.approx(1, abs=1e-6)
    assert np.cos(np.radians(place["azimuth"]["crossline"] - angle - 90)) == pytest.approx(1, abs=1e-6)
    assert place["misfit"] < 0.01


def test_info_of_a_volume_made_before_reads_its_axes(tmp_path):
    place = volume_of(tmp_path)
    old = tmp_path / "old.zarr"
    shutil.copytree(place, old)
    root = json.loads((old / "zarr.json").read_text())
    for name in ("axes", "place"):
        del root["attributes"]["seismill"][name]
    (old / "zarr.json").write_text(json.dumps(root))
    found = info(str(old))
    assert found["axes"] == info(str(place))["axes"]


@pytest.mark.parametrize(("interval", "said"), [(5, True), (99, True), (100, False), (5000, False)])
def test_an_interval_too_fine_for_depth_is_told_with_the_flag_for_whole_units(tmp_path, interval, said):
    text = text_of("C 1 DOMAIN: DEPTH")
    (tmp_path / "a.sgy").write_bytes(segy_bytes(text=text, interval=interval))
    notes = " ".join(ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"))["notes"])
    assert f"{interval} at byte 3217 is {interval / 1000:g} a sample" in notes
    assert (f"say --sample-interval {interval}" in notes) == said
    again = str(tmp_path / "b.zarr")
    ingest_segy(str(tmp_path / "a.sgy"), again, Index(sample_interval=str(interval)))
    assert info(again)["axes"][-1]["step"] == interval
