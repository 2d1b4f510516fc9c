"""The traces along a line through a survey."""

import numpy as np
import pytest

from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.polyline import corners_of, positions_of, traces_along


def test_a_line_passes_from_neighbour_to_neighbour_through_its_corners():
    corners = np.array([[0.0, 0.0], [9.0, 4.0], [9.0, 20.0], [2.0, 13.0]])
    cells = traces_along(corners)
    assert np.abs(np.diff(cells, axis=0)).max() == 1
    assert {(0, 0), (9, 4), (9, 20), (2, 13)} <= {tuple(cell) for cell in cells}
    assert len(cells) == 10 + 16 + 7, "each cell once, corners too"
    first = cells[:10]
    assert np.abs(first[:, 1] - first[:, 0] * 4 / 9).max() <= 0.5, "the nearest trace"


def test_a_line_along_an_axis_is_all_of_its_cells():
    assert traces_along(np.array([[3.0, 0.0], [3.0, 5.0]])).tolist() == [[3, n] for n in range(6)]
    assert traces_along(np.array([[3.0, 2.0], [3.0, 2.0]])).tolist() == [[3, 2]]


@pytest.mark.parametrize("turned", [False, True])
def test_line_numbers_become_positions_also_between_lines(turned: bool):
    labels = np.array([10, 12, 14, 20])[:: -1 if turned else 1]
    found = positions_of(labels, np.array([10, 13, 20, 17]), "inline", "v")
    expected = np.array([0, 1.5, 3, 2.5])
    np.testing.assert_allclose(found, 3 - expected if turned else expected)
    with pytest.raises(InputRefused, match="inline 21 is outside of v, whose inline goes from 10 to 20"):
        positions_of(labels, np.array([10, 21]), "inline", "v")


@pytest.mark.parametrize(
    "points", [[(1, 2)], [], [(1, 2, 3), (4, 5, 6)], [(1, "a"), (2, 3)], [(1, np.nan), (1, 2)], 7]
)
def test_what_is_no_line_is_refused(points):
    with pytest.raises(InputRefused, match="two points or more"):
        corners_of(points)
