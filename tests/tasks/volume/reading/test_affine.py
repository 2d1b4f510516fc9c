"""The map from line numbers (IL, XL) to coordinates: both ways, and refused where there is none."""

import numpy as np
import pytest

from tasks.volume.outcomes import InputRefused
from tasks.volume.reading.affine import fitted

IL, XL = (
    values.ravel() for values in np.meshgrid(np.arange(100, 160, 2), np.arange(300, 400, 5), indexing="ij")
)
EAST = 605_000.0 + 12.5 * np.cos(0.3) * (IL - 100) - 5 * np.sin(0.3) * (XL - 300)
NORTH = 6_073_000.0 + 12.5 * np.sin(0.3) * (IL - 100) + 5 * np.cos(0.3) * (XL - 300)


def test_coordinates_and_line_numbers_are_each_others_inverse():
    survey = fitted(IL, XL, EAST, NORTH, (2, 5), "v")
    assert survey.residual < 1e-6
    np.testing.assert_allclose(survey.xy(IL, XL), [EAST, NORTH], rtol=0, atol=1e-6)
    np.testing.assert_allclose(survey.at_xy(EAST, NORTH), [IL, XL], rtol=0, atol=1e-6)
    between = survey.at_xy(*survey.xy(101.25, 333.5))
    np.testing.assert_allclose(between, [101.25, 333.5], rtol=0, atol=1e-6)
    np.testing.assert_allclose(survey.spacing, [12.5, 5], rtol=1e-9)


def test_rounded_coordinates_and_holes_do_not_matter():
    x, y = np.round(EAST), np.round(NORTH)
    x[::7], y[::7] = np.nan, np.nan
    x[3::7], y[3::7] = 0, 0
    survey = fitted(IL, XL, x, y, (2, 5), "v")
    assert 0.1 < survey.residual < 1
    np.testing.assert_allclose(survey.at_xy(EAST, NORTH), [IL, XL], rtol=0, atol=0.1)


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        (EAST + 40 * (IL > 140), NORTH, "more than half a bin"),
        (EAST, 2 * EAST, "lie on one line"),
        (EAST, np.full(IL.size, np.nan), "coordinates for 0 traces"),
        (np.zeros(IL.size), np.zeros(IL.size), "coordinates for 0 traces"),
        (EAST * 0 + 7, NORTH * 0 + 7, "lie on one line"),
    ],
)
def test_what_does_not_fit_is_refused(x, y, sentence):
    with pytest.raises(InputRefused, match=sentence):
        fitted(IL, XL, x, y, (2, 5), "v")


def test_one_line_of_traces_does_not_tell_both_numbers():
    line = IL == 100
    with pytest.raises(InputRefused, match="lie on one line"):
        fitted(IL[line], XL[line], EAST[line], NORTH[line], (2, 5), "v")
