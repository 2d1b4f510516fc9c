"""Every method and type against plain NumPy in a wider type, on shapes that no factor divides."""

import math

import numpy as np
import pytest

from tasks.volume.pyramid.coarsen import coarsen, coarsen_in_parts, coarsen_live
from tests.support.volumes import every_dtype

DTYPES = every_dtype(
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)
METHODS = ["mean", "median", "mode", "min", "max", "nearest"]
SHAPES = [
    ((65, 65, 65), (2, 2, 2)),
    ((1, 97, 1024), (1, 2, 2)),
    ((7, 30, 61), (1, 2, 3)),
    ((97, 61), (2, 2)),
    ((101,), (4,)),
]


def made(dtype, shape, missing=0.0):
    rng = np.random.default_rng(17)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        values = rng.normal(100, 30, shape).astype(dtype)
        values[rng.random(shape) < missing] = np.nan
        return values
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -(2**50)), min(limits.max, 2**50)  # what float64 holds eight of
    values = rng.integers(low, high, shape, dtype, endpoint=True)
    return np.where(rng.random(shape) < 0.5, values % 3, values).astype(dtype)


def wide(dtype):
    """What the reference computes in: sums of a few float64 are not exact in float64."""
    return np.longdouble if dtype == np.float64 else np.float64


def cells(values, factor):
    """Cells as the last axis, of a wide type, NaN where a cell is short."""
    room = [-(-n // f) * f for n, f in zip(values.shape, factor, strict=True)]
    padded = np.pad(
        values.astype(wide(values.dtype)),
        [(0, r - n) for r, n in zip(room, values.shape, strict=True)],
        constant_values=np.nan,
    )
    split = [extent for r, f in zip(room, factor, strict=True) for extent in (r // f, f)]
    rank = values.ndim
    moved = padded.reshape(split).transpose([*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)])
    return moved.reshape(*moved.shape[:rank], math.prod(factor))


def reference(values, factor, method):
    held = cells(values, factor)
    empty = np.isnan(held).all(axis=-1)
    held[empty] = 0
    if method == "nearest":
        result = held[..., 0]
    elif method == "mode":
        equal = held[..., :, np.newaxis] == held[..., np.newaxis, :]
        counts = equal.sum(axis=-1)
        result = np.where(counts == counts.max(axis=-1, keepdims=True), held, np.inf).min(axis=-1)
    else:
        result = {"mean": np.nanmean, "median": np.nanmedian, "min": np.nanmin, "max": np.nanmax}[method](
            held, axis=-1
        )
    if values.dtype.kind != "f":
        return np.rint(result).astype(values.dtype)  # half to even
    result[empty] = np.nan
    return result


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_levels_equal_numpy_to_the_last_bit_or_one_ulp(dtype, method):
    for shape, factor in SHAPES:
        values = made(dtype, shape)
        check(coarsen(values, factor, method), reference(values, factor, method), values.dtype)


def check(found, expected, dtype):
    assert found.dtype == dtype
    if dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    expected = expected.astype(dtype)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    held = ~np.isnan(expected)
    np.testing.assert_array_max_ulp(found[held], expected[held], 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_that_cancel_are_within_one_ulp(dtype):
    values = made(dtype, (9, 15, 31))
    values[::2] = -values[1::2].mean() * np.sign(values[::2])  # what is left is a thousandth of what is added
    check(coarsen(values, (2, 2, 2)), reference(values, (2, 2, 2), "mean"), values.dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mean_with_an_infinite_sample_is_infinite(dtype):
    values = made(dtype, (2, 2, 6))
    values[0, 0, 0], values[0, 1, 2], values[1, 1, 3] = np.inf, -np.inf, np.inf
    found = coarsen(values, (2, 2, 2))[0, 0]
    assert found[0] == np.inf
    assert np.isnan(found[1])
    assert np.isfinite(found[2])


# Every method with every type is compared on small arrays above.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "dtype"),
    list(zip(METHODS, ["uint8", "int16", "uint32", "float16", "float32", "float64"], strict=True)),
)
def test_levels_of_a_survey_equal_numpy(dtype, method):
    values = made(dtype, (345, 188, 1501))
    found = coarsen_in_parts(values, (2, 2, 2), method)
    for start in (0, 90, 169):  # the last with the short cells at the edge
        part = values[2 * start : 2 * (start + 4)]
        check(found[start : start + 4], reference(part, (2, 2, 2), method), values.dtype)


@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max"])
@pytest.mark.parametrize("dtype", every_dtype("float16", "float32", "float64"))
def test_nan_is_left_out(dtype, method):
    values = made(dtype, (9, 15, 31), missing=0.4)
    check(coarsen(values, (2, 2, 2), method), reference(values, (2, 2, 2), method), values.dtype)


@pytest.mark.parametrize("method", ["mean", "median", "mode", "min", "max"])
@pytest.mark.parametrize("dtype", every_dtype("bool", "int16", "uint64", "int32", "float32"))
def test_what_is_not_live_is_left_out(dtype, method):
    values = made(dtype, (9, 15, 31))
    live = np.random.default_rng(3).random(values.shape[:-1]) < 0.5
    numbers = np.where(live[..., np.newaxis], values.astype(np.float64), np.nan)
    expected = reference(numbers, (2, 2, 2), method)
    expected = expected if dtype == "float32" else np.rint(np.nan_to_num(expected)).astype(dtype)
    check(coarsen(values, (2, 2, 2), method, live), expected, values.dtype)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_four_dimensions_are_three_for_each_index_of_the_first(method):
    values = made("uint16", (3, 9, 15, 31))
    live = np.random.default_rng(3).random(values.shape[:-1]) < 0.7
    found = coarsen(values, (1, 2, 2, 2), method, live)
    for n, cube in enumerate(values):
        np.testing.assert_array_equal(found[n], coarsen(cube, (2, 2, 2), method, live[n]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 97), (97, 1), (30, 5, 9), (5, 30, 9), (3, 9, 5, 7)])
def test_parts_give_what_the_whole_gives(shape, method):
    values = made("int16", shape)
    live = np.random.default_rng(4).random(shape[:-1]) < 0.8
    factor = (1, 2, 2, 2)[4 - len(shape) :]
    np.testing.assert_array_equal(
        coarsen_in_parts(values, factor, method, live), coarsen(values, factor, method, live)
    )


def test_means_of_whole_numbers_have_no_bias():
    values = np.random.default_rng(5).integers(0, 256, (128, 128, 128)).astype(np.uint8)
    level = values
    for _ in range(3):
        finer, level = level, coarsen(level, (2, 2, 2))
        assert abs(level.mean() - finer.mean()) < 1e-2
    ties = np.arange(2**16, dtype=np.uint32)[:, np.newaxis] + np.array(
        [0, 1], np.uint32
    )  # every mean is a half
    assert abs(coarsen(ties, (1, 2)).astype(float).mean() - ties.astype(float).mean()) < 1e-3


def test_a_coarser_trace_is_live_where_its_samples_are():
    live = np.array([[True, False, False], [False, False, False]])
    assert coarsen_live(live, (2, 2)).tolist() == [[True, False]]
    assert coarsen_live(live, (1, 2), "nearest").tolist() == [[True, False], [False, False]]


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="got method 'sum', wanted mean, median"):
        coarsen(np.zeros((3, 3)), (2, 2), "sum")
