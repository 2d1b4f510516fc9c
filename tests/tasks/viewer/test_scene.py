"""Positions, labels and scales of what is drawn.

Covers viewer/scene.py, viewer/measures.py and viewer/ground_map.py.
"""

import numpy as np
import pytest

from tasks.parameters import StorageOptions
from tasks.viewer.ground_map import cell_at, corners_from, map_of, on_map, parsed_corners
from tasks.viewer.measures import histogram, limits, spectrum
from tasks.viewer.model import LookedAt
from tasks.viewer.scene import ShownAxis, planes_of, to_scale
from tasks.volume.outcomes import InputRefused
from tests.support.survey import Survey


@pytest.mark.parametrize("labels", [[10, 12, 14, 16], [16, 12, 8, 4], [0.5, 0.75, 1.0, 1.25]])
def test_regular_axes_are_drawn_at_their_labels(labels):
    axis = ShownAxis("a", "", np.array(labels, float))
    assert [axis.coordinate(n) for n in range(4)] == labels
    assert [axis.cell(label) for label in labels] == [0, 1, 2, 3]
    assert axis.cell(labels[0] - 0.6 * axis.step) is None
    assert axis.cell(labels[0] - 0.4 * axis.step) == 0
    assert axis.position(axis.coordinate(1.25)) == pytest.approx(1.25)


def test_irregular_axes_are_drawn_by_position():
    axis = ShownAxis("a", "", np.array([1.0, 2, 5, 100]))
    assert (axis.step, axis.coordinate(2), axis.position(2), axis.nearest(60)) == (0, 2, 2, 3)
    assert axis.text(3) == "a 100"


def test_what_is_to_scale_has_one_scale():
    # A plane of 100 by 50, whose axis downwards has units of double length, is as high as wide.
    added = to_scale((100, 50), (400, 200), 2.0)
    assert added == ((50, 50), (0, 0))
    added = to_scale((100, 50), (200, 400), 2.0)
    assert added[0] == (0, 0)
    height = 50 + sum(added[1])
    assert height * 2.0 / 400 == pytest.approx(100 / 200)


def test_planes_of_one_trace_are_left_out(looked: LookedAt, image: str):
    assert [plane.name for plane in looked.planes] == ["inline section", "crossline section", "time slice"]
    assert [plane.stepped for plane in looked.planes] == [0, 1, 2]
    opened = LookedAt(image, StorageOptions()).finest
    assert [(plane.across, plane.down, plane.stepped) for plane in planes_of(opened)] == [
        (2, 1, 0), (2, 0, 1), (1, 0, 2),
    ]  # fmt: skip


def test_limits_of_both_signs_are_symmetric_and_others_a_range():
    values = np.array([[-10.0, 1, 2, 3, np.nan]])
    assert limits([values], 100) == (-10, 10)
    assert limits([np.arange(101.0)], 90) == (10, 90)
    assert limits([np.full((2, 2), 7.0)], 99) == (6.5, 7.5)
    assert limits([np.full((2, 2), np.nan)], 99) == (-1, 1)
    assert limits([], 99) == (-1, 1)


def test_a_histogram_counts_each_finite_value_between_its_edges():
    values = np.array([[0.0, 1, 1, 2], [np.nan, 3, 100, -100]])
    counts, edges = histogram(values, (-4, 4))
    assert (edges[0], edges[-1]) == (-6, 6)
    assert counts.sum() == 5
    assert counts[np.searchsorted(edges, 1.0, side="right") - 1] == 2


def test_the_spectrum_of_a_sine_has_its_peak_at_its_frequency():
    times = np.arange(500) * 4.0  # ms
    values = np.sin(2 * np.pi * 0.025 * times)[:, np.newaxis] * [1, 2, 3]
    frequencies, amplitudes = spectrum(values, 4.0)
    assert frequencies[np.argmax(amplitudes)] == pytest.approx(0.025)
    assert frequencies[-1] == pytest.approx(0.125)
    values[3, 1] = np.nan
    np.testing.assert_array_equal(spectrum(values, 4.0)[1], spectrum(values[:, [0, 2]], 4.0)[1])
    assert spectrum(values[:3], 4.0)[0].size == 0


def test_the_map_shows_the_live_mask(looked: LookedAt, survey: Survey):
    shown = map_of(looked)
    live = np.isfinite(survey.values).any(axis=2)
    for place in np.ndindex(live.shape):
        x, y = on_map(looked, shown, np.array([place[0]]), np.array([place[1]]))
        assert cell_at(looked, shown, float(x[0]), float(y[0])) == place
        column = int((x[0] - shown.extent[0]) / (shown.extent[1] - shown.extent[0]) * shown.live.shape[1])
        row = int((y[0] - shown.extent[2]) / (shown.extent[3] - shown.extent[2]) * shown.live.shape[0])
        assert bool(shown.live[row, column]) == live[place], place
    assert cell_at(looked, shown, shown.extent[0] - 1e6, shown.extent[2]) is None


def test_corners_beyond_the_survey_are_moved_to_its_edge(looked: LookedAt):
    shown = map_of(looked)
    x, y = on_map(looked, shown, np.array([3, -8]), np.array([4, 99]))
    assert corners_from(looked, shown, list(x), list(y)) == [
        pytest.approx((16, 312)), pytest.approx((10, 387)),
    ]  # fmt: skip


def test_an_image_has_no_map(image: str):
    assert map_of(LookedAt(image, StorageOptions())) is None


def test_corners_are_typed_as_pairs():
    assert parsed_corners("100,300; 180,420;") == [(100, 300), (180, 420)]
    for text in ("100,300", "a,b; c,d", "1,2,3; 4,5,6", ""):
        with pytest.raises(InputRefused, match="is no line; give two corners or more"):
            parsed_corners(text)
