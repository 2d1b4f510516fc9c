"""A spectrum is the mean of the lines' own, and lines that say nothing are left out."""

import numpy as np
import pytest

from tasks.volume.report.spectrum import spectrum_of


def test_it_is_the_mean_of_the_absolute_transforms_without_the_mean():
    lines = 3 + np.random.default_rng(0).normal(size=(6, 50)).astype("f4")
    found = spectrum_of("x", lines, np.ones(lines.shape, bool), 4.0, "Hz", 1000.0)
    wanted = np.mean([np.abs(np.fft.rfft(line - line.mean()))[1:] for line in lines.astype(float)], axis=0)
    np.testing.assert_allclose(found.values, wanted / 50, rtol=1e-9)
    np.testing.assert_allclose(found.frequencies, np.arange(1, 26) / (50 * 0.004))
    assert found.peak == found.frequencies[wanted.argmax()]
    inside = found.frequencies[wanted >= wanted.max() / 10]
    assert found.band == (inside[0], inside[-1])


def test_dead_missing_and_non_finite_lines_do_not_count():
    lines = np.random.default_rng(1).normal(size=(5, 32))
    live = np.ones(lines.shape, bool)
    wanted = spectrum_of("x", lines[4:], live[4:], 1.0, "1/m").values
    lines[0], lines[1, 3], live[2] = 7.0, np.inf, False
    lines[3] = 0
    found = spectrum_of("x", lines, live, 1.0, "1/m")
    assert found.lines == 1
    np.testing.assert_allclose(found.values, wanted)


@pytest.mark.parametrize(
    "lines", [np.zeros((3, 16)), np.full((3, 16), np.nan), np.ones((3, 2)), np.ones((0, 9))]
)
def test_nothing_to_see_has_no_spectrum(lines):
    assert spectrum_of("x", lines, np.ones(lines.shape, bool), 1.0, "Hz") is None


def test_no_step_has_no_spectrum():
    assert (
        spectrum_of("x", np.random.default_rng(2).normal(size=(3, 16)), np.ones((3, 16), bool), 0.0, "Hz")
        is None
    )
