"""Median, mode, least and greatest of cells against Python's own arithmetic, value by value.

Covers kernels/rows.py.
"""

import itertools
import math
import statistics
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.kernels.cells import MEDIAN, MODE, extreme, median_or_mode
from tests.support.volumes import every_dtype

FACTORS = [
    (2, 2, 2),
    (1, 2, 2),
    (2, 1, 2),
    (2, 2, 1),
    (1, 1, 2),
    (1, 2, 3),
    (3, 1, 2),
    (4, 3, 5),
    (1, 1, 1),
    (20, 20, 20),
]
INTEGERS = every_dtype("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
METHODS = ["median", "mode", "min", "max"]


def reduced(fine, live, factor, method):
    shape = tuple(math.ceil(n / f) for n, f in zip(fine.shape, factor, strict=True))
    out = np.full(shape, 7, fine.dtype)
    if method in ("median", "mode"):
        median_or_mode(fine, live, factor, out, MEDIAN if method == "median" else MODE)
    else:
        extreme(fine, live, factor, out, greatest=method == "max")
    return out


def by_hand(values, method, kind):
    """One cell's value, of Python numbers."""
    values = [value for value in values if value == value]
    if not values:
        return 0 if kind in "iu" else math.nan
    if method == "median":
        if kind in "iu":
            ordered = sorted(values)
            return round(Fraction(ordered[(len(values) - 1) // 2] + ordered[len(values) // 2], 2))
        return statistics.median(values)
    if method == "mode":
        counts = Counter(values)
        return min(value for value, count in counts.items() if count == max(counts.values()))
    return min(values) if method == "min" else max(values)


def twin(fine, live, factor, method):
    shape = tuple(math.ceil(n / f) for n, f in zip(fine.shape, factor, strict=True))
    coarse = np.zeros(shape, fine.dtype)
    for index in np.ndindex(shape):
        cell = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factor, strict=True))
        values = fine[cell][live[cell[:2]]].ravel().tolist()
        coarse[index] = by_hand(values, method, fine.dtype.kind)
    return coarse


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_whole_numbers_of_every_type(dtype, method):
    rng = np.random.default_rng(13)
    limits = np.iinfo(dtype)
    fine = rng.integers(limits.min, limits.max, (9, 5, 13), dtype, endpoint=True)
    fine[rng.random(fine.shape) < 0.5] = rng.integers(0, 3, dtype=dtype)
    fine[rng.random(fine.shape) < 0.1] = limits.min
    fine[rng.random(fine.shape) < 0.1] = limits.max
    for factor, share in itertools.product(FACTORS, (1, 0.6, 0)):
        live = rng.random(fine.shape[:2]) < share
        assert np.array_equal(reduced(fine, live, factor, method), twin(fine, live, factor, method)), (
            f"factor {factor}, {share} live"
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", every_dtype("float32", "float64"))
@pytest.mark.parametrize("missing", [0, 0.02, 0.5, 1], ids=lambda share: f"{share} NaN")
def test_floats_with_and_without_nan(dtype, method, missing):
    rng = np.random.default_rng(14)
    fine = rng.standard_normal((9, 5, 13)).round(1).astype(dtype)
    fine[rng.random(fine.shape) < 0.1] = np.inf
    fine[rng.random(fine.shape) < missing] = np.nan
    live = rng.random(fine.shape[:2]) < 0.8
    for factor in FACTORS:
        found, expected = reduced(fine, live, factor, method), twin(fine, live, factor, method)
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        held = np.isfinite(expected)
        np.testing.assert_array_equal(found[~held], expected[~held])
        np.testing.assert_array_max_ulp(found[held], expected[held], 1)


@settings(deadline=None, max_examples=100)
@given(
    dtype=st.sampled_from(["uint8", "int16", "uint64"]),
    method=st.sampled_from(METHODS),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9)),
    factor=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_and_factor(dtype, method, shape, factor, seed):
    rng = np.random.default_rng(seed)
    fine = rng.integers(np.iinfo(dtype).max - 3, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    live = rng.random(shape[:2]) < 0.8
    assert np.array_equal(reduced(fine, live, factor, method), twin(fine, live, factor, method))


@pytest.mark.slow  # compiled for float64
def test_a_median_of_the_largest_floats_is_no_infinity():
    largest = np.finfo("f8").max
    fine = np.full((2, 2, 2), largest)
    assert (reduced(fine, np.ones((2, 2), bool), (2, 2, 2), "median") == largest).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "view", [lambda x: x[2:7, 1:, 3:9], lambda x: x[::-1], lambda x: x.transpose(2, 0, 1)]
)
def test_any_view_gives_the_values_of_its_copy(method, view):
    fine = view(np.random.default_rng(10).integers(0, 9, (9, 5, 13)).astype("i2"))
    live = np.ones(fine.shape[:2], bool)
    expected = reduced(fine.copy(order="C"), live, (2, 2, 2), method)
    assert np.array_equal(reduced(fine, live, (2, 2, 2), method), expected)


def test_what_does_not_fit_is_named():
    fine, live = np.zeros((9, 5, 13), "u2"), np.ones((9, 5), bool)
    with pytest.raises(ValueError, match=r"reduced by \(2, 2, 2\) is \(5, 3, 7\), C-contiguous, but out is"):
        median_or_mode(fine, live, (2, 2, 2), np.zeros((4, 2, 6), "u2"), MODE)
    with pytest.raises(ValueError, match=r"live has shape \(9, 4\)"):
        extreme(fine, live[:, :4], (2, 2, 2), np.zeros((5, 3, 7), "u2"), greatest=True)
    with pytest.raises(ValueError, match="wanted native whole numbers, float32 or float64"):
        extreme(fine.astype("f2"), live, (2, 2, 2), np.zeros((5, 3, 7), "f2"), greatest=True)
    with pytest.raises(ValueError, match="3 axes and 3 factors"):
        extreme(fine, live, (2, 2), np.zeros((5, 3, 7), "u2"), greatest=True)
