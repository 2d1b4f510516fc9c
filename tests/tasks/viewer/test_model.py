"""What is read for a screen, and that it is what the source holds.

Covers viewer/model.py, viewer/answers.py, viewer/sharpness.py and viewer/cursor.py.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from bokeh.document import Document

from tasks.copy import copy
from tasks.ingest_images import ingest_images
from tasks.parameters import StorageOptions
from tasks.viewer.answers import following
from tasks.viewer.cursor import header_at, place_of, sample_at
from tasks.viewer.ground_map import cell_at, map_of
from tasks.viewer.model import DIFFERENCE, FASTEST, LOSSLESS, LookedAt, Request
from tasks.viewer.page import Page
from tasks.viewer.sharpness import at_level, chosen, factors_of, is_sharp
from tasks.volume.outcomes import InputRefused, IntegrityFailure
from tasks.volume.reading.indexing import whole
from tests.support.survey import Survey

SCREEN = (500, 500)


def plane(looked: LookedAt, name: str):
    return next(plane for plane in looked.planes if plane.name == name)


def ask(looked: LookedAt, name: str, at: tuple[int, ...], pixels=SCREEN, seen=None, shown=LOSSLESS):
    chosen_plane = plane(looked, name)
    return looked.answer(Request(chosen_plane, at, seen or looked.whole(chosen_plane), pixels, shown))


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("inline section", np.s_[7, :, :]),
        ("crossline section", np.s_[:, 11, :]),
        ("time slice", np.s_[:, :, 33]),
    ],
)
def test_a_plane_of_the_master_is_the_samples_of_the_source(looked: LookedAt, survey: Survey, name, index):
    answer = ask(looked, name, (7, 11, 33))
    wanted = survey.values[index]
    shown = wanted if name == "time slice" else wanted.T
    np.testing.assert_array_equal(answer.values, shown)
    assert (answer.level, answer.array, answer.max_abs_error, answer.every) == (0, "amplitude", 0, (1, 1))
    assert answer.extent == (-0.5, shown.shape[1] - 0.5, -0.5, shown.shape[0] - 0.5)


def test_a_window_reads_its_chunks_and_nothing_else(looked: LookedAt, survey: Survey):
    answer = ask(looked, "inline section", (20, 0, 0), seen=((3, 14), (40, 60)))
    np.testing.assert_array_equal(answer.values, survey.values[20, 3:14, 40:60].T)
    assert answer.extent == (2.5, 13.5, 39.5, 59.5)
    assert looked.cache.reads == [("amplitude", np.s_[16:32, 0:16, 32:64])]


def test_a_step_and_a_pan_read_only_what_is_new(looked: LookedAt, survey: Survey):
    ask(looked, "inline section", (20, 0, 0), seen=((0, 16), (0, 32)))
    np.testing.assert_array_equal(  # another plane of the same chunks
        ask(looked, "inline section", (21, 0, 0), seen=((0, 16), (0, 32))).values,
        survey.values[21, :16, :32].T,
    )
    assert len(looked.cache.reads) == 1
    answer = ask(looked, "inline section", (21, 0, 0), seen=((4, 20), (0, 32)))
    np.testing.assert_array_equal(answer.values, survey.values[21, 4:20, :32].T)
    assert looked.cache.reads[1:] == [("amplitude", np.s_[16:32, 16:30, 0:32])]


def test_a_small_screen_gets_a_level_and_a_zoom_the_master(looked: LookedAt, viewed: str, survey: Survey):
    answer = ask(looked, "crossline section", (0, 11, 0), pixels=(20, 35))
    level = zarr.open_group(viewed, mode="r")["pyramid/1/amplitude"][:, 5, :]
    np.testing.assert_array_equal(answer.values, level.T)
    assert (answer.level, answer.array, answer.step) == (1, "pyramid/1/amplitude", (2.0, 2.0))
    assert np.isnan(answer.max_abs_error)
    assert answer.extent == (-0.5, 39.5, -0.5, 69.5)
    assert ask(looked, "crossline section", (0, 11, 0), pixels=(10, 17)).level == 2
    zoomed = ask(looked, "crossline section", (0, 11, 0), pixels=(20, 35), seen=((10, 30), (0, 35)))
    assert (zoomed.level, zoomed.values.shape) == (0, (35, 20))
    np.testing.assert_array_equal(zoomed.values, survey.values[10:30, 11, :35].T)


def test_without_a_level_that_fits_what_is_shown_is_thinned(looked: LookedAt, survey: Survey):
    answer = ask(looked, "inline section", (7, 0, 0), pixels=(10, 17), shown="fast_inline")
    assert answer.every == (3, 4)
    np.testing.assert_array_equal(answer.values, answer.full[::4, ::3])
    assert answer.full.shape == survey.values[7].T.shape
    # The middle of the first cell is the first sample, that of the second the fourth.
    assert (answer.extent[0], answer.extent[1]) == (-1.5, 28.5)


def test_a_copy_is_within_its_error_and_a_difference_is_what_it_is_off(looked: LookedAt, survey: Survey):
    copy = ask(looked, "time slice", (0, 0, 12), shown="fast_time")
    wanted = survey.values[:, :, 12]
    np.testing.assert_array_equal(np.isnan(copy.values), np.isnan(wanted))
    error = np.nanmax(np.abs(copy.values - wanted))
    assert 0 < error <= copy.max_abs_error
    difference = ask(looked, "time slice", (0, 0, 12), shown=f"{DIFFERENCE}fast_time")
    np.testing.assert_array_equal(difference.values, copy.values - wanted)


def test_the_fastest_array_for_each_plane_is_the_copy_made_for_it(looked: LookedAt):
    assert ask(looked, "time slice", (0, 0, 12), shown=FASTEST).array == "fast_time"
    assert ask(looked, "inline section", (3, 0, 0), shown=FASTEST).array == "fast_inline"
    assert looked.modes[:4] == [FASTEST, LOSSLESS, "fast_inline", "fast_time"]


def test_a_volume_of_copies_alone_shows_each_and_no_difference(viewed: str, tmp_path):
    copy(viewed, str(tmp_path / "copies.zarr"), excludes=["amplitude"])
    looked = LookedAt(str(tmp_path / "copies.zarr"), StorageOptions())
    assert looked.modes == [FASTEST, "fast_inline", "fast_time"]
    answer = ask(looked, "inline section", (8, 0, 0), shown="fast_inline")
    stored = zarr.open_group(viewed, mode="r")["fast_inline"][8]
    np.testing.assert_array_equal(answer.values, stored.T)
    assert answer.max_abs_error > 0


def test_a_copy_that_is_not_there_is_a_sentence(looked: LookedAt):
    with pytest.raises(InputRefused, match="has no copy other; it has fastest, master, fast_inline"):
        ask(looked, "time slice", (0, 0, 0), shown="other")


def test_a_line_is_the_traces_nearest_to_it(looked: LookedAt, survey: Survey):
    answer = looked.line([(10, 300), (50, 300), (88, 387)], (0, 0, 0), SCREEN, LOSSLESS)
    assert answer.traces[0].tolist() == [0, 0]
    assert answer.traces[-1].tolist() == [39, 29]
    assert [20, 0] in answer.traces.tolist()
    wanted = survey.values[answer.traces[:, 0], answer.traces[:, 1]]
    np.testing.assert_array_equal(answer.full, wanted.T)
    with pytest.raises(InputRefused, match="inline 9 is outside"):
        looked.line([(9, 300), (50, 300)], (0, 0, 0), SCREEN)


def test_a_line_on_a_small_screen_comes_from_a_level(looked: LookedAt, viewed: str):
    answer = looked.line([(10, 300), (88, 387)], (0, 0, 0), (40, 17), LOSSLESS)
    assert (answer.level, answer.full.shape) == (2, (18, 40))
    level = zarr.open_group(viewed, mode="r")["pyramid/2/amplitude"][...]
    np.testing.assert_array_equal(answer.full, level[answer.traces[:, 0] // 4, answer.traces[:, 1] // 4].T)


def test_more_than_the_limit_is_the_middle(looked: LookedAt):
    finest = looked.finest
    spans = ((0, 40), (0, 30), (33, 34))
    found = chosen([finest], spans, {0: 500, 1: 500}, limit_bytes=2 * 16 * 16 * 32 * 4)
    assert found.partial
    assert found.cost.decoded_bytes <= 2 * 16 * 16 * 32 * 4
    assert found.spans == ((0, 16), (0, 30), (33, 34))


def test_a_coarser_level_answers_where_sharp_ones_would_take_too_much(looked: LookedAt):
    levels = [looked.finest, looked.finest.at_level(1, 0.0), looked.finest.at_level(2, 0.0)]
    found = chosen(levels, ((0, 40), (0, 30), (33, 34)), {0: 500, 1: 500}, limit_bytes=5 * 16 * 16 * 32 * 4)
    assert (found.opened.level, found.partial) == (1, False)


def test_what_takes_long_is_shown_coarse_first(looked: LookedAt, viewed: str):
    request = Request(plane(looked, "inline section"), (8, 0, 0), ((0, 30), (0, 70)), SCREEN, LOSSLESS)
    assert not looked.answer(request, quick=True).is_first  # this disk takes no time worth it
    looked.quick_seconds = looked.finest.answer(whole((1, 30, 70)))[1].seconds / 2
    assert not looked.answer(request, quick=True).is_first  # it is kept
    request = replace(request, at=(24, 0, 0))
    first = looked.answer(request, quick=True)
    assert first.is_first
    level = zarr.open_group(viewed, mode="r")[first.array][...]
    np.testing.assert_array_equal(first.values, level[24 // 2**first.level].T)
    assert first.level > 0
    sharp = looked.answer(request)
    assert (sharp.level, sharp.is_first) == (0, False)
    first = looked.answer(replace(request, shown="fast_time"), quick=True)
    assert (first.is_first, first.level > 0) == (True, True)


@pytest.mark.parametrize(
    ("at", "seen", "wanted"),
    [
        ((9, 1, 0), ((0, 30), (0, 70)), [(n, 1, 0) for n in range(10, 18)]),  # a step on
        ((6, 1, 0), ((0, 30), (0, 70)), [(n, 1, 0) for n in (4, 2, 0)]),  # back by two, until the edge
        ((8, 7, 0), ((0, 30), (0, 70)), []),  # along its own axis nothing moved
        ((19, 1, 0), ((0, 30), (0, 70)), []),  # a jump
        ((8, 1, 0), ((0, 15), (0, 70)), []),  # a zoom
    ],
)
def test_what_follows_goes_on_in_the_direction_of_the_step_before(looked: LookedAt, at, seen, wanted):
    before = Request(plane(looked, "inline section"), (8, 1, 0), ((0, 30), (0, 70)), SCREEN, LOSSLESS)
    found = following(before, replace(before, at=at, seen=seen), (40, 30, 70))
    assert [request.at for request in found] == wanted


def test_a_window_goes_on_as_it_was_panned_and_what_is_not_kept_is_read(looked: LookedAt, survey: Survey):
    before = Request(plane(looked, "inline section"), (8, 0, 0), ((0, 10), (0, 20)), SCREEN, LOSSLESS)
    now = replace(before, seen=((4, 14), (0, 20)))
    found = following(before, now, (40, 30, 70))
    assert [request.seen[0] for request in found] == [
        (8, 18),
        (12, 22),
        (16, 26),
        (20, 30),
        (24, 30),
        (28, 30),
    ]
    looked.answer(now)
    looked.read_ahead(found)
    assert looked.cache.reads[1:] == [("amplitude", np.s_[0:16, 16:30, 0:32])]
    looked.read_ahead(found)  # all is kept
    assert len(looked.cache.reads) == 2


def test_a_new_question_does_not_wait_for_a_full_answer(looked: LookedAt):
    looked.quick_seconds = looked.finest.answer(whole((1, 30, 70)))[1].seconds / 2
    waiting: list[tuple[Future, Callable[[], Any]]] = []

    class ByHand(Executor):
        def submit(self, call):
            waiting.append((Future(), call))
            return waiting[-1][0]

    document = Document()
    page = Page(document, looked, ByHand())

    def answer(number: int) -> None:
        future, call = waiting.pop(number)
        future.set_result(call())
        for callback in document.session_callbacks:
            document.remove_next_tick_callback(callback)
            callback.callback()

    panel = page.panels[0]
    page.show_samples(LOSSLESS)
    while waiting:
        answer(0)
    assert "coarse" not in panel.figure.title.text
    page.move({0: 33})
    answer(0)
    assert panel.answer.is_first
    assert panel.figure.title.text.startswith("inline 76\npyramid/")
    assert panel.figure.title.text.endswith(" · coarse for now")
    page.move({0: 1})  # the full answer is not there yet
    answer(1)
    assert panel.figure.title.text.startswith("inline 12\npyramid/")
    answer(0)  # what nobody sees any more is not shown
    assert panel.answer.is_first
    while waiting:
        answer(0)
    assert not panel.answer.is_first
    assert panel.figure.title.text == "inline 12\namplitude"


def test_sharpness_counts_samples_of_what_is_seen_against_pixels():
    spans = ((0, 100), (5, 6), (0, 1000))
    assert is_sharp(spans, (2, 2, 2), {0: 50, 2: 500})
    assert not is_sharp(spans, (2, 2, 2), {0: 51, 2: 500})
    assert is_sharp(spans, (1, 1, 1), {0: 5000, 2: 5000})
    assert at_level(spans, (2, 2, 2), (50, 3, 500)) == ((0, 50), (2, 3), (0, 500))
    assert at_level(((99, 100),), (2,), (50,)) == ((49, 50),)


def test_levels_say_how_much_coarser_they_are(looked: LookedAt):
    assert factors_of(looked.finest.at_level(2, 0.0)) == (4, 4, 4)


def test_under_the_cursor_are_labels_coordinates_sample_and_header(looked: LookedAt, survey: Survey):
    at = (*tuple(int(n) for n in np.argwhere(np.isfinite(survey.values[..., 5]))[40]), 5)
    rows = dict(place_of(looked, at))
    assert rows["inline"] == str(10 + 2 * at[0])
    assert rows["crossline"] == str(300 + 3 * at[1])
    assert sample_at(looked, at) == survey.values[at]
    header = header_at(looked, at)
    assert (header["inline"], header["crossline"]) == (10 + 2 * at[0], 300 + 3 * at[1])
    assert 0 not in header.values()


def test_where_no_trace_is_there_is_no_sample_and_no_header(looked: LookedAt, survey: Survey):
    at = (*tuple(int(n) for n in np.argwhere(np.isnan(survey.values[..., 5]))[0]), 5)
    assert np.isnan(sample_at(looked, at))
    assert header_at(looked, at) == {}


def test_the_first_position_has_a_trace(looked: LookedAt, survey: Survey):
    at = looked.middle()
    assert np.isfinite(survey.values[at])
    assert np.abs(np.array(at) - [20, 15, 35]).max() <= 2


def test_a_missing_chunk_is_an_integrity_failure(viewed: str, tmp_path):
    import shutil

    url = str(tmp_path / "damaged.zarr")
    shutil.copytree(viewed, url)
    for file in (tmp_path / "damaged.zarr/amplitude/c").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(IntegrityFailure, match="is missing though traces live there"):
        ask(LookedAt(url, StorageOptions()), "inline section", (7, 0, 0))


def test_an_image_is_its_voxels(image: str, voxels: np.ndarray):
    looked = LookedAt(image, StorageOptions())
    assert [plane.name for plane in looked.planes] == ["z slice", "y slice", "x slice"]
    np.testing.assert_array_equal(ask(looked, "z slice", (3, 0, 0)).values, voxels[3])
    np.testing.assert_array_equal(ask(looked, "y slice", (0, 5, 0)).values, voxels[:, 5])
    np.testing.assert_array_equal(ask(looked, "x slice", (0, 0, 6)).values, voxels[:, :, 6])
    assert dict(place_of(looked, (3, 5, 6))) == {
        "z (micrometer)": "12",
        "y (micrometer)": "10",
        "x (micrometer)": "12",
    }
    assert sample_at(looked, (3, 5, 6)) == voxels[3, 5, 6]
    assert header_at(looked, (3, 5, 6)) == {}


def test_a_line_of_two_dimensions_is_one_section(line):
    url, samples = line
    looked = LookedAt(url, StorageOptions())
    assert [(plane.name, plane.stepped) for plane in looked.planes] == [("section", -1)]
    np.testing.assert_array_equal(ask(looked, "section", (0, 0)).values, samples.T)
    shown = map_of(looked)
    assert cell_at(looked, shown, 7.0 * 115, 9.0 * 115) == (14,)
    assert looked.line_axes is None


def test_gathers_have_a_section_along_each_axis(gathers):
    url, values = gathers
    looked = LookedAt(url, StorageOptions())
    at = (1, 2, 3, 4)
    wanted = {
        "section along crossline": values[1, :, 3].T,
        "section along inline": values[:, 2, 3].T,
        "section along offset": values[1, 2].T,
        "time slice": values[:, :, 3, 4],
    }
    assert [plane.name for plane in looked.planes] == list(wanted)
    for name, samples in wanted.items():
        np.testing.assert_array_equal(ask(looked, name, at).values, samples)
    assert (looked.axes[2].step, looked.axes[2].coordinate(4), looked.axes[2].text(4)) == (
        0,
        4,
        "offset 1600 m",
    )
    answer = looked.line([(1, 1), (3, 4)], at, SCREEN)
    np.testing.assert_array_equal(answer.full, values[answer.traces[:, 0], answer.traces[:, 1], 3].T)


@pytest.mark.slow
def test_a_volume_in_a_cloud_is_read_as_one_on_disk(viewed: str, survey: Survey, s3: str):
    copy(viewed, "s3://volumes/viewed.zarr")
    looked = LookedAt("s3://volumes/viewed.zarr", StorageOptions())
    for shown in (FASTEST, LOSSLESS):
        answer = ask(looked, "inline section", (7, 0, 0), shown=shown)
        assert np.nanmax(np.abs(answer.values - survey.values[7].T)) <= answer.max_abs_error
    np.testing.assert_array_equal(answer.values, survey.values[7].T)


def test_what_is_no_volume_is_refused(tmp_path):
    with pytest.raises(InputRefused, match="there is no published volume"):
        LookedAt(str(tmp_path / "none.zarr"), StorageOptions())


def test_slices_of_an_image_are_of_the_time_and_channel_that_are_chosen(tmp_path):
    values = np.random.default_rng(3).integers(0, 1 << 16, (3, 2, 6, 7, 9)).astype("u2")  # t, c, z, y, x
    tifffile.imwrite(tmp_path / "a.ome.tif", values.swapaxes(1, 2), metadata={"axes": "TZCYX"})
    ingest_images(str(tmp_path / "a.ome.tif"), str(tmp_path / "a.zarr"))
    looked = LookedAt(str(tmp_path / "a.zarr"), StorageOptions())
    assert [(axis.name, axis.size) for axis in looked.axes] == list(zip("tczyx", values.shape, strict=True))
    for name, wanted in (
        ("z slice", values[2, 1, 3]),
        ("y slice", values[2, 1, :, 4]),
        ("x slice", values[2, 1, :, :, 5]),
    ):
        shown = ask(looked, name, (2, 1, 3, 4, 5)).values
        np.testing.assert_array_equal(shown if shown.shape == wanted.shape else shown.T, wanted)
