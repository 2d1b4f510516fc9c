"""Means over cells against a float64 twin for floats, and against exact fractions for integers.

Covers kernels/rows.py.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.kernels import any_live, mean_floats, mean_integers
from tests.support.volumes import COMPILED_SOON, every_dtype

FACTORS = [(2, 2, 2), (1, 2, 3), (3, 1, 2), (1, 1, 1), (2, 2, 1), (4, 3, 5), (20, 20, 20)]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def ceil_shape(shape, factor):
    return tuple(math.ceil(n / f) for n, f in zip(shape, factor, strict=True))


def cells(shape, factor):
    """(index of the cell, its samples) for each cell; short at the far edges."""
    for index in np.ndindex(ceil_shape(shape, factor)):
        yield index, tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factor, strict=True))


def float_twin(fine, factor):
    total, count = np.where(np.isnan(fine), 0, fine).astype(np.float64), (~np.isnan(fine)).astype(np.float64)
    for axis, step in enumerate(factor):
        starts = np.arange(0, fine.shape[axis], step)
        total = np.add.reduceat(total, starts, axis=axis)
        count = np.add.reduceat(count, starts, axis=axis)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def integer_twin(fine, live, factor):
    """Python integers and fractions: round() of a Fraction rounds half to even."""
    coarse = np.zeros(ceil_shape(fine.shape, factor), fine.dtype)
    for index, cell in cells(fine.shape, factor):
        values = fine[cell][live[cell[:2]]].ravel().tolist()
        coarse[index] = round(Fraction(sum(values), len(values))) if values else 0
    return coarse


def floats(fine, factor):
    coarse = np.full(ceil_shape(fine.shape, factor), 7, fine.dtype)
    mean_floats(fine, factor, coarse)
    return coarse


def integers(fine, live, factor):
    coarse = np.full(ceil_shape(fine.shape, factor), 7, fine.dtype)
    mean_integers(fine, live, factor, coarse)
    return coarse


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("missing", [0, 0.02, 0.5, 0.95, 1], ids=lambda share: f"{share} NaN")
def test_float32_means_are_within_one_ulp_of_float64_arithmetic(factor, missing):
    rng = np.random.default_rng(7)
    fine = (rng.standard_normal((9, 5, 13)) * 1000).astype(np.float32)
    fine[rng.random(fine.shape) < missing] = np.nan
    coarse, expected = floats(fine, factor), float_twin(fine, factor).astype(np.float32)
    assert np.array_equal(np.isnan(coarse), np.isnan(expected))
    held = ~np.isnan(expected)
    np.testing.assert_array_max_ulp(coarse[held], expected[held], 1)


@pytest.mark.parametrize("factor", FACTORS)
def test_float64_means_are_as_good_as_a_sum_in_float64_is(factor):
    rng = np.random.default_rng(8)
    fine = rng.standard_normal((9, 5, 13))
    fine[rng.random(fine.shape) < 0.3] = np.nan
    coarse = floats(fine, factor)
    for index, cell in cells(fine.shape, factor):
        values = fine[cell][~np.isnan(fine[cell])]
        if values.size:
            exact = math.fsum(values) / values.size
            assert abs(coarse[index] - exact) <= values.size * np.abs(values).max() * 2**-53
        else:
            assert np.isnan(coarse[index])


def test_dead_traces_and_edges_by_hand():
    nan = np.nan
    fine = np.array([[[1, 2, 3], [nan, nan, nan], [5, nan, nan]]], np.float32)
    assert floats(fine, (1, 2, 2)).tolist()[0][0] == [1.5, 3.0]
    assert floats(fine, (1, 2, 2))[0, 1, 0] == 5
    assert np.isnan(floats(fine, (1, 2, 2))[0, 1, 1])


def test_infinite_samples_stay_visible():
    fine = np.array([[[1, np.inf, np.inf, -np.inf, np.nan, -np.inf]]], np.float32)
    assert floats(fine, (1, 1, 2)).ravel().tolist()[::2] == [np.inf, -np.inf]
    assert np.isnan(floats(fine, (1, 1, 2))[0, 0, 1])  # inf - inf, as in numpy


def test_a_row_without_nan_gives_the_same_bits_beside_one_with_nan():
    rng = np.random.default_rng(9)
    fine = rng.standard_normal((4, 6, 13)).astype(np.float32)
    plain = floats(fine, (2, 2, 2))
    fine[0, 0, 12] = np.nan
    assert floats(fine, (2, 2, 2)).tobytes()[28:] == plain.tobytes()[28:]
    assert np.array_equal(floats(fine, (2, 2, 2))[0, 0, :6], plain[0, 0, :6])


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[2:7, 1:, 3:9],
        lambda x: x[::2, ::3, ::2],
        lambda x: x[::-1, :, ::-1],
        lambda x: x.transpose(2, 0, 1),
        lambda x: x[:, :, :1],
        lambda x: np.broadcast_to(x[:1], x.shape),
        np.asfortranarray,
    ],
)
def test_any_view_gives_the_bits_of_its_copy(view):
    rng = np.random.default_rng(10)
    fine = view(rng.standard_normal((9, 5, 13)).astype(np.float32))
    assert floats(fine, (2, 2, 2)).tobytes() == floats(fine.copy(order="C"), (2, 2, 2)).tobytes()
    whole = view(rng.integers(-99, 99, (9, 5, 13)).astype("i2"))
    live = rng.random(whole.shape[:2]) < 0.7
    assert np.array_equal(integers(whole, live, (2, 2, 2)), integers(whole.copy(order="C"), live, (2, 2, 2)))


@pytest.mark.parametrize("dtype", every_dtype(*INTEGERS))
@pytest.mark.parametrize("share", [1, 0.6, 0.1, 0], ids=lambda share: f"{share} live")
def test_integer_means_are_exact_and_rounded_half_to_even(dtype, share):
    rng = np.random.default_rng(11)
    limits = np.iinfo(dtype)
    fine = rng.integers(limits.min, limits.max, (9, 5, 13), dtype, endpoint=True)
    fine[rng.random(fine.shape) < 0.3] = limits.max
    fine[rng.random(fine.shape) < 0.3] = limits.min
    live = rng.random(fine.shape[:2]) < share
    for factor in FACTORS:
        assert np.array_equal(integers(fine, live, factor), integer_twin(fine, live, factor)), factor


@pytest.mark.parametrize("dtype", every_dtype(*INTEGERS))
def test_extremes_of_every_integer_type_are_their_own_mean(dtype):
    for extreme in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        fine = np.full((5, 5, 5), extreme, dtype)
        assert np.all(integers(fine, np.ones((5, 5), bool), (2, 2, 2)) == extreme)


@pytest.mark.parametrize(
    ("values", "mean"),
    [([0, 1], 0), ([1, 2], 2), ([-1, 0], 0), ([-2, -1], -2), ([-3, -2], -2), ([1, 1, 2], 1), ([1, 2, 2], 2)],
)
@pytest.mark.parametrize("dtype", every_dtype("int8", "int16", "int32", "int64"))
def test_halves_go_to_the_even_neighbour(values, mean, dtype):
    fine = np.array([[values]], dtype)
    assert integers(fine, np.ones((1, 1), bool), (1, 1, len(values))).item() == mean


@settings(deadline=None, max_examples=100)
@given(
    dtype=st.sampled_from([name for name in INTEGERS if name in COMPILED_SOON]),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9)),
    factor=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    near=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_and_factor_gives_the_exact_integer_mean(dtype, shape, factor, near, seed):
    rng = np.random.default_rng(seed)
    limits = np.iinfo(dtype)
    low = limits.max - 2 if near else limits.min
    fine = rng.integers(low, limits.max, shape, dtype, endpoint=True)
    live = rng.random(shape[:2]) < 0.7
    assert np.array_equal(integers(fine, live, factor), integer_twin(fine, live, factor))


@pytest.mark.parametrize("factor", [(1, 1), (2, 2), (1, 3), (4, 2), (9, 9)])
def test_a_coarser_trace_is_live_where_any_of_its_traces_is(factor):
    live = np.random.default_rng(12).random((9, 5)) < 0.3
    coarse = any_live(live, factor)
    assert coarse.dtype == bool
    assert coarse.shape == ceil_shape(live.shape, factor)
    for index, cell in cells(live.shape, factor):
        assert coarse[index] == live[cell].any()


def test_the_shape_wanted_is_named():
    fine, live = np.zeros((9, 5, 13), np.float32), np.ones((9, 5), bool)
    with pytest.raises(ValueError, match=r"reduced by \(2, 2, 2\) is \(5, 3, 7\), C-contiguous, but out is"):
        mean_floats(fine, (2, 2, 2), np.zeros((4, 2, 6), np.float32))
    with pytest.raises(ValueError, match=r"live has shape \(9, 4\), but the traces have \(9, 5\)"):
        mean_integers(fine.astype(np.int16), live[:, :4], (2, 2, 2), np.zeros((5, 3, 7), np.int16))
    with pytest.raises(ValueError, match="pass a 2-D array as"):
        mean_floats(fine[0], (2, 2), np.zeros((3, 7), np.float32))
    with pytest.raises(ValueError, match="got float32, wanted a native dtype of kind i or u"):
        mean_integers(fine, live, (2, 2, 2), np.zeros((5, 3, 7), np.float32))
