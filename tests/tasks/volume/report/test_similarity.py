"""Structural similarity is that of every window reckoned one by one, and equal slices are 1."""

import numpy as np
import pytest

from tasks.volume.report.similarity import similarity


def one_by_one(master, copy, width):
    found = []
    for top in range(master.shape[0] - 6):
        for left in range(master.shape[1] - 6):
            a, b = (part[top : top + 7, left : left + 7].ravel() for part in (master, copy))
            (va, both), (_, vb) = np.cov(a, b)
            c1, c2 = (0.01 * width) ** 2, (0.03 * width) ** 2
            value = (2 * a.mean() * b.mean() + c1) * (2 * both + c2)
            found.append(value / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2)))
    return np.mean(found)


@pytest.mark.parametrize(("offset", "noise"), [(0, 0.1), (50, 1.0), (1e6, 3.0)])
def test_it_is_the_mean_over_all_windows(offset, noise):
    rng = np.random.default_rng(0)
    master = offset + rng.normal(0, 2, (17, 23))
    copy = master + rng.normal(0, noise, master.shape)
    whole = np.ones(master.shape, bool)
    assert similarity([(master, copy, whole)], 8.0) == pytest.approx(one_by_one(master, copy, 8.0), rel=1e-7)


def test_windows_with_a_missing_or_non_finite_sample_do_not_count():
    rng = np.random.default_rng(1)
    master = rng.normal(size=(9, 20)).astype("f4")
    copy = master + 0.5
    shown = np.ones(master.shape, bool)
    shown[:, 9] = False
    copy[:, :9] = 100
    master[4, 3] = np.nan
    wanted = one_by_one(master[:, 10:].astype(float), copy[:, 10:].astype(float), 2.0)
    assert similarity([(master, copy, shown)], 2.0) == pytest.approx(wanted, rel=1e-7)


def test_equal_slices_are_1_and_none_is_none():
    plane = np.random.default_rng(2).normal(size=(3, 40)).astype("f4")
    whole = np.ones(plane.shape, bool)
    assert similarity([(plane, plane, whole)], 1.0) == pytest.approx(1, abs=1e-12)
    assert similarity([(plane, plane, ~whole)], 1.0) is None
    assert similarity([(plane[:1, :1], plane[:1, :1], whole[:1, :1])], 1.0) is None


def test_of_a_large_slice_the_middle_counts():
    plane = np.zeros((3000, 1000), "f4")
    copy = plane.copy()
    copy[:, 0], copy[:, -1] = 5, 5
    assert similarity([(plane, copy, np.ones(plane.shape, bool))], 1.0) == pytest.approx(1)
