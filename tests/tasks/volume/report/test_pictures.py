"""Pixels are means of samples, colours say what they should, and no input stops a picture from being drawn.

Covers report/histograms.py and report/sheet.py.
"""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tasks.volume.report import sheet
from tasks.volume.report.histograms import amplitude_range, draw_curves
from tasks.volume.report.pictures import NO_TRACE, NOT_FINITE, SEISMIC, colour_scale, draw_views, pixels_of
from tasks.volume.report.sheet import THUMBNAIL_BASE64_BYTES
from tasks.volume.report.slices import Side, View
from tasks.volume.report.spectrum import Spectrum

WHITE = (255, 255, 255)


def view_of(master, copy=None, *, live=None, upward=False, ratio=None):
    rows, columns = master.shape
    live = np.ones(master.shape, bool) if live is None else np.broadcast_to(live, master.shape)
    return View(
        across=Side("crossline", "", 2040 + 2 * np.arange(columns)),
        down=Side("time", "ms", 4.0 * np.arange(rows)),
        upward=upward,
        ratio=ratio,
        master=master,
        live=live,
        master_title=("amplitude", "lossless"),
        copy=copy,
        copy_title=("fast_inline", "within 1"),
    )


def image_of(picture):
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB")).astype(int)


def near(pixels, colour, tolerance=6):
    return (np.abs(pixels - np.array(colour)).max(axis=-1) <= tolerance).any()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([], "f4"), (-1, 1)),
        (np.zeros(7, "f4"), (-1, 1)),
        (np.array([0] * 500 + [-3], "f4"), (-3, 3)),  # nearly all zeros: by what is not
        (np.linspace(-2, 1, 3001, dtype="f4"), (-1.97, 1.97)),
        (np.full(5, 3e38, "f4"), (-3e38, 3e38)),
        (np.arange(101, dtype="u1"), (1, 99)),
        (np.full(9, 7, "u2"), (7, 8)),
        (np.full(9, 2**64 - 1, "u8"), (2.0**64, 2.0**64 + 4096)),
    ],
)
def test_colours_are_symmetric_for_signed_values_and_never_empty(values, wanted):
    np.testing.assert_allclose(colour_scale(values), wanted, rtol=1e-6)


def test_pixels_are_the_colours_of_means_over_whole_cells():
    values = np.random.default_rng(0).normal(size=(12, 20)).astype("f4")
    live = np.ones(values.shape, bool)
    pixels = pixels_of(values, live, (4, 5), SEISMIC, -2.0, 2.0)
    means = np.clip(values, -2, 2).reshape(4, 3, 5, 4).mean(axis=(1, 3))
    np.testing.assert_array_equal(pixels, SEISMIC[((means + 2) / 4 * 254 + 0.5).astype(int)])


def test_samples_are_repeated_not_blended_where_there_are_fewer_than_pixels():
    values = np.array([[-1, 1], [1, -1]], "f4")
    pixels = pixels_of(values, np.ones((2, 2), bool), (6, 8), SEISMIC, -1.0, 1.0)
    low, high = SEISMIC[0], SEISMIC[-1]
    assert (pixels[:3, :4] == low).all()
    assert (pixels[:3, 4:] == high).all()
    assert (pixels[3:, :4] == high).all()


def test_zero_is_white_and_the_ends_are_blue_and_red():
    assert tuple(SEISMIC[127]) == WHITE
    assert SEISMIC[40, 2] > SEISMIC[40, 0]
    assert SEISMIC[-40, 0] > SEISMIC[-40, 2]


def test_missing_traces_are_grey_and_do_not_spread():
    values = np.full((9, 5), 0.5, "f4")
    live = np.ones((9, 5), bool)
    live[:, 2] = False
    values[:, 2] = np.nan
    pixels = pixels_of(values, live, (9, 50), SEISMIC, -1.0, 1.0)
    assert (pixels[:, 20:30] == NO_TRACE).all()
    expected = SEISMIC[int(0.75 * 254 + 0.5)]
    assert (pixels[:, :20] == expected).all()
    assert (pixels[:, 30:] == expected).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_yellow_and_does_not_spread(bad):
    values = np.zeros((8, 6), "f4")
    values[3, 4] = bad
    pixels = pixels_of(values, np.ones(values.shape, bool), (8, 6), SEISMIC, -1.0, 1.0)
    yellow = (pixels == NOT_FINITE).all(axis=-1)
    assert yellow.sum() == 1
    assert yellow[3, 4]
    shrunk = pixels_of(values, np.ones(values.shape, bool), (4, 3), SEISMIC, -1.0, 1.0)
    assert (shrunk[1, 2] == NOT_FINITE).all()  # seen also where it shares a pixel


def test_a_time_axis_points_down_and_a_map_up():
    values = np.zeros((10, 10), "f4")
    values[0] = 1  # the first row
    for upward in (False, True):
        image = image_of(draw_views("x", "x", [view_of(values, upward=upward)]))
        rows = np.flatnonzero((np.abs(image - SEISMIC[-1].astype(int)).max(axis=-1) < 6).sum(axis=1) > 100)
        # The colour bar is as high as the image and has this colour at its top, so only wide runs are looked at.
        middle = image.shape[0] / 2
        assert (rows > middle).all() if upward else (rows < middle).all()
        assert rows.size


def test_a_difference_has_colours_of_its_own():
    master = np.random.default_rng(1).normal(size=(60, 40)).astype("f4") * 1000
    copy = master.copy()
    copy[30, 20] += 0.25
    equal, differs = (image_of(draw_views("x", "x", [view_of(master, c)])) for c in (master.copy(), copy))
    assert equal.shape == differs.shape
    changed = np.argwhere((equal != differs).any(axis=-1))
    right = changed[changed[:, 1] > equal.shape[1] * 0.6]  # the third panel
    assert near(differs[tuple(right.T)], SEISMIC[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "master",
    [
        np.zeros((13, 5), "f4"),
        np.full((13, 5), np.nan, "f4"),
        np.full((13, 5), np.inf, "f4"),
        np.full((13, 5), -3.4e38, "f4"),
        np.full((13, 5), 1e-42, "f4"),
        np.ones((1, 1), "f4"),
        np.ones((1, 700), "f4"),
        np.ones((700, 1), "f4"),
        np.arange(65, dtype="u2").reshape(13, 5),
        np.arange(65, dtype="i2").reshape(13, 5) - 30,
        np.arange(65, dtype="f8").reshape(13, 5),
    ],
    ids=lambda a: f"{a.dtype}-{a.shape}-{a.flat[0]}",
)
def test_anything_can_be_drawn(master):
    for live in (np.full(master.shape, True), np.full(master.shape, False)):
        alone, beside = (
            view_of(master, live=live),
            view_of(master, np.nan_to_num(master), live=live, ratio=0.5),
        )
        picture = draw_views("inline", "odd: inline 1", [beside, beside] if live.any() else [alone])
        assert image_of(picture).shape[0] > 100
    shown = master[np.isfinite(master)]
    draw_curves("histogram", "odd", "amplitude", ("all", shown), [("copy", shown, shown, 1.0)])


def test_a_thumbnail_is_small_whatever_the_picture_holds():
    noise = np.random.default_rng(2).normal(size=(900, 900)).astype("f4")
    picture = draw_views("time", "noise", [view_of(noise, noise * 1.01, upward=True, ratio=1.0)] * 3)
    assert len(picture.thumbnail) <= THUMBNAIL_BASE64_BYTES
    with Image.open(io.BytesIO(base64.b64decode(picture.thumbnail))) as small:
        assert small.format == "PNG"
        assert small.width > 400


def test_a_figure_that_is_used_again_shows_nothing_of_the_one_before():
    sheet._IDLE.clear()
    drawn = np.random.default_rng(5)
    values, wide = drawn.normal(size=4_000).astype("f4"), 1e6 * drawn.normal(size=90_000).astype("f4")
    spectrum = [Spectrum("amplitude", "Hz", np.arange(4.0), np.array([1, 9, 4, 2.0]), 3)]

    def pictures():
        yield draw_curves("histogram", "a", "amplitude", ("some", values), [("fast", values + 1, values, 1)])
        yield draw_curves("histogram", "b", "velocity", ("all", wide), [("slow", wide * 2, wide, 0)])
        yield draw_curves("histogram", "c", "amplitude", ("some", values), [], spectrum)
        yield draw_curves("histogram", "d", "counts", ("some", np.arange(9, dtype="u1")), [])

    first, again = (
        [image_of(picture) for picture in pictures()],
        [image_of(picture) for picture in pictures()],
    )
    assert len(sheet._IDLE) == 3
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one, other)
    sheet._IDLE.clear()
    alone = image_of(draw_curves("histogram", "d", "counts", ("some", np.arange(9, dtype="u1")), []))
    assert np.array_equal(alone, first[3])


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (200, 301)])
def test_a_page_becomes_the_same_pixels_as_png(shape):
    page = np.random.default_rng(7).integers(0, 256, (*shape, 3), dtype="u1")
    with Image.open(io.BytesIO(sheet.png(page))) as read:
        assert (read.format, read.mode) == ("PNG", "RGB")
        assert np.array_equal(np.asarray(read), page)


def test_a_histogram_is_not_squeezed_by_a_few_wild_samples():
    values = np.random.default_rng(3).normal(size=100_000).astype("f4")
    low, high = amplitude_range(values)
    assert 3 < high < 8
    assert low == -high
    values[:3] = 1e30
    assert amplitude_range(values)[1] < 8


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.zeros(9, "f4"), (-1, 1)),
        (np.array([], "f4"), (-1, 1)),
        (np.array([-5], "f4"), (-5, 5)),
        (np.array([3, 9], "u1"), (3, 9)),
        (np.array([3, 3], "u1"), (2.5, 3.5)),
        (np.full(9, 2**64 - 1, "u8"), (2.0**64 - 4096, 2.0**64 + 4096)),
    ],
)
def test_a_histogram_has_a_range_for_any_samples(values, wanted):
    assert amplitude_range(values) == wanted
