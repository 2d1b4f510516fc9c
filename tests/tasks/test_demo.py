"""The demonstration survey is a file that another reader agrees on, and looks like seismic by numbers."""

import numpy as np
import pytest
import segyio

from tasks.demo import (
    AZIMUTH_DEGREES,
    CROSSLINE_SPACING,
    CROSSLINE_STEP,
    FIRST_CROSSLINE,
    FIRST_INLINE,
    INLINE_SPACING,
    make_survey,
)
from tasks.parameters import Index
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.survey import survey_files
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.headers import ibm_values
from tasks.volume.store.objects import Source

SHAPE = (40, 33, 301)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("demo") / "survey.sgy")
    make_survey(place, shape=SHAPE)
    return place


@pytest.fixture(scope="module")
def traces(path: str) -> np.ndarray:
    """Every trace as it lies in the file: header and words."""
    kind = np.dtype([("header", "u1", 240), ("words", ">u4", SHAPE[2])])
    return np.fromfile(path, kind, offset=3600)


def header(traces: np.ndarray, byte: int, kind: str = ">i4") -> np.ndarray:
    width = np.dtype(kind).itemsize
    return np.ascontiguousarray(traces["header"][:, byte - 1 : byte - 1 + width]).view(kind)[:, 0].astype(int)


def test_its_index_and_coordinates_are_found_without_being_named(path):
    survey = survey_files(Files.of(Source(path)), Index(), near=True)
    assert survey.index_bytes == (189, 193)
    assert survey.coordinate_bytes == (181, 185)
    assert survey.grid.shape == SHAPE[:2]
    assert [axis.step for axis in survey.grid.axes] == [1, CROSSLINE_STEP]
    assert [int(axis.values[0]) for axis in survey.grid.axes] == [FIRST_INLINE, FIRST_CROSSLINE]
    assert survey.fmt.oddities == ()
    assert (survey.fmt.revision, survey.fmt.sample_format.code) == ("1.0", 1)


def test_a_corner_is_missing_and_nothing_else(path):
    live = survey_files(Files.of(Source(path)), Index(), near=True).grid.trace_numbers >= 0
    missing = np.argwhere(~live)
    assert 0.02 < len(missing) / live.size < 0.15
    assert missing[:, 0].min() > SHAPE[0] / 2
    assert missing[:, 1].max() < SHAPE[1] / 2
    assert not live[-1, 0]
    assert live[0].all()


def test_another_reader_finds_the_same_numbers(path, traces):
    ours = ibm_values(traces["words"].astype(np.uint32))
    with segyio.open(path, ignore_geometry=True) as file:
        np.testing.assert_array_equal(file.trace.raw[:], ours.astype("f4"))
        np.testing.assert_array_equal(file.attributes(segyio.TraceField.INLINE_3D)[:], header(traces, 189))
        np.testing.assert_array_equal(file.attributes(segyio.TraceField.CDP_X)[:], header(traces, 181))
        assert file.samples[-1] == 4 * (SHAPE[2] - 1)
        text = file.text[0]
    lines = [bytes(text[i : i + 80]).decode("ascii") for i in range(0, 3200, 80)]
    assert [line[:3] for line in lines] == [f"C{n:2d}" for n in range(1, 41)]
    assert "SYNTHETIC" in lines[0]


def test_the_grid_is_rotated_and_its_bins_have_their_size(traces):
    scalar = header(traces, 71, ">i2")
    assert (scalar == -10).all()
    x, y = (header(traces, byte) / 10 for byte in (181, 185))
    inline, crossline = header(traces, 189), header(traces, 193)
    neighbours = np.flatnonzero((np.diff(crossline) == CROSSLINE_STEP) & (np.diff(inline) == 0))
    step = np.stack([np.diff(x)[neighbours], np.diff(y)[neighbours]])
    np.testing.assert_allclose(np.hypot(*step), CROSSLINE_SPACING, atol=0.15)
    np.testing.assert_allclose(np.degrees(np.arctan2(*step)), AZIMUTH_DEGREES, atol=0.4)
    first = np.flatnonzero(crossline == crossline.max())
    np.testing.assert_allclose(np.hypot(np.diff(x[first]), np.diff(y[first])), INLINE_SPACING, atol=0.15)


def test_dead_traces_are_coded_and_zero(traces):
    dead = header(traces, 29, ">i2") == 2
    assert 0 < dead.sum() <= 5
    assert not traces["words"][dead].any()
    assert traces["words"][~dead].any(axis=1).all()


def test_it_looks_like_seismic(traces):
    values = ibm_values(traces["words"].astype(np.uint32))
    live = traces["words"].any(axis=1)
    values, inline = values[live], header(traces, 189)[live]
    spectrum = (np.abs(np.fft.rfft(values, axis=1)) ** 2).mean(axis=0)
    hertz = np.fft.rfftfreq(SHAPE[2], 0.004)
    centre = (spectrum * hertz).sum() / spectrum.sum()
    assert 20 < centre < 45
    assert spectrum[hertz < 4].sum() < 0.05 * spectrum.sum()
    assert spectrum[hertz > 90].sum() < 0.05 * spectrum.sum()
    pairs = np.flatnonzero(np.diff(inline) == 0)
    likeness = [np.corrcoef(values[p], values[p + 1])[0, 1] for p in pairs]
    assert np.median(likeness) > 0.7  # beds go on from trace to trace
    assert min(likeness) < 0.6  # and end at faults
    assert abs(values.mean()) < 0.05 * values.std()
    assert np.abs(values).max() < 20 * values.std()


def test_the_same_arguments_give_the_same_file_and_other_seeds_another(path, tmp_path):
    again, other = tmp_path / "again.sgy", tmp_path / "other.sgy"
    make_survey(str(again), shape=SHAPE)
    make_survey(str(other), shape=SHAPE, seed=1)
    with open(path, "rb") as file:
        content = file.read()
    assert again.read_bytes() == content
    assert len(other.read_bytes()) == len(content)
    assert other.read_bytes() != content


@pytest.mark.parametrize("shape", [(9, 5, 13), (1, 1, 1), (1, 17, 5), (13, 1, 33), (12, 13, 1)])
def test_odd_shapes_are_whole_files(tmp_path, shape):
    path = tmp_path / "odd.sgy"
    make_survey(str(path), shape=shape)
    size = path.stat().st_size - 3600
    assert size % (240 + 4 * shape[2]) == 0
    assert 0 < size // (240 + 4 * shape[2]) <= shape[0] * shape[1]


@pytest.mark.parametrize("shape", [(0, 5, 13), (9, 5), (9, 5, 32768)])
def test_shapes_that_no_file_has_are_refused(tmp_path, shape):
    with pytest.raises(InputRefused, match="give 3 positive numbers"):
        make_survey(str(tmp_path / "no.sgy"), shape=shape)
    assert not (tmp_path / "no.sgy").exists()
