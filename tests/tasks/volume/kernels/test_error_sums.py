"""Samples made finite, and errors summed, against NumPy in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.kernels import error_sums, finite_or_zero
from tasks.volume.kernels.error_sums import COUNT, MAX_ABS_ERROR, NONFINITE, SUM_OF_SQUARES

VIEWS = [
    lambda x: x,
    lambda x: x[2:7, 1:, 3:9],
    lambda x: x[:, :, 4:8],
    lambda x: x[::2, ::-1, ::3],
    lambda x: x.transpose(2, 0, 1),
    lambda x: x[:, :, :1],
    lambda x: x[0],
    lambda x: x[0, 0],
    lambda x: x[:, None],
    lambda x: x[:0],
]


def sample(dtype=np.float32, seed=1):
    """Floats of which some are NaN and Inf, signed zeros and denormals among them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((9, 5, 13)).astype(dtype)
    for value in (np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).smallest_subnormal):
        x[rng.random(x.shape) < 0.05] = value
    return x


def errors(original, decoded, live=None):
    sums = np.zeros(4)
    error_sums(original, decoded, live, sums)
    return sums


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("view", VIEWS)
def test_a_copy_holds_every_finite_sample_and_zero_for_the_rest(view, dtype):
    x = view(sample(dtype))
    out = np.full(x.shape, 7, dtype)
    assert finite_or_zero(x, out) == np.count_nonzero(~np.isfinite(x))
    assert out.tobytes() == np.where(np.isfinite(x), x, dtype(0)).tobytes()


@pytest.mark.parametrize("view", [v for v in VIEWS if v(np.zeros((9, 5, 13))).ndim > 1])
def test_what_is_not_live_is_zero_and_not_counted(view):
    x = view(sample())
    live = np.random.default_rng(2).random(x.shape[:-1]) < 0.6
    x = np.where(live[..., None] | (np.arange(x.shape[-1]) % 2 == 0), x, np.nan).astype(np.float32)
    out = np.full(x.shape, 7, np.float32)
    held = live[..., None] & np.isfinite(x)
    assert finite_or_zero(x, out, live) == np.count_nonzero(live[..., None] & ~np.isfinite(x))
    assert out.tobytes() == np.where(held, x, np.float32(0)).tobytes()


def test_live_may_cover_fewer_axes_than_traces_have():
    x = sample()[:, None]
    live = np.arange(9) % 2 == 0
    out = np.empty(x.shape, np.float32)
    assert finite_or_zero(x, out, live) == np.count_nonzero(~np.isfinite(x[::2]))
    assert not out[1::2].any()


@pytest.mark.parametrize("view", VIEWS[:5])
def test_a_copy_into_part_of_a_chunk_leaves_the_padding(view):
    x = view(sample())
    chunk = np.full([n + 3 for n in x.shape], 7, np.float32)
    part = chunk[tuple(slice(1, n + 1) for n in x.shape)]
    finite_or_zero(x, part)
    assert np.array_equal(part, np.where(np.isfinite(x), x, 0))
    assert np.count_nonzero(chunk == 7) == chunk.size - x.size
    strided = np.full([*x.shape[:-1], 2 * x.shape[-1]], 7, np.float32)
    finite_or_zero(x, strided[..., ::2])
    assert np.array_equal(strided[..., ::2], np.where(np.isfinite(x), x, 0))
    assert np.all(strided[..., 1::2] == 7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("view", VIEWS)
def test_errors_equal_those_of_float64_arithmetic(view, masked, dtype):
    original = view(sample(dtype))
    rng = np.random.default_rng(3)
    decoded = (np.nan_to_num(original, posinf=0, neginf=0) + rng.normal(0, 0.1, original.shape)).astype(dtype)
    live = rng.random(original.shape[:-1]) < 0.6 if masked and original.ndim > 1 else None
    chosen = np.isfinite(original) if live is None else np.isfinite(original) & live[..., None]
    off = decoded[chosen].astype(np.float64) - original[chosen].astype(np.float64)
    sums = errors(original, decoded, live)
    considered = original.size if live is None else live.sum() * original.shape[-1]
    assert sums[COUNT] == off.size
    assert sums[NONFINITE] == considered - off.size
    assert sums[MAX_ABS_ERROR] == np.abs(off).max(initial=0)
    assert sums[SUM_OF_SQUARES] == pytest.approx(np.square(off).sum(), rel=1e-13)


@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 4, 63, 256, 2047, 2049])),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_of_any_length_sum_to_the_same(shape, seed):
    rng = np.random.default_rng(seed)
    original = rng.standard_normal(shape).astype(np.float32)
    decoded = rng.standard_normal(shape).astype(np.float32)
    off = decoded.astype(np.float64) - original
    sums = errors(original, decoded)
    assert sums[:2].tolist() == [original.size, np.abs(off).max()]
    assert sums[SUM_OF_SQUARES] == pytest.approx(np.square(off).sum(), rel=1e-12)
    # The same samples in the same order give the same bits, however the rows lie.
    assert errors(original.reshape(-1), decoded.reshape(-1)).tobytes() == sums.tobytes()
    wide = np.repeat(original, 2, axis=1)[:, ::2]
    assert errors(wide, decoded).tobytes() == sums.tobytes()


def test_errors_add_up_over_chunks():
    original, sums = np.zeros((2, 3, 5), np.float32), np.zeros(4)
    error_sums(original, original + np.float32(0.5), None, sums)
    error_sums(original, original - np.float32(2), None, sums)
    assert sums.tolist() == [60, 2.0, 30 * 0.25 + 30 * 4, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_decoded_sample_that_is_not_finite_is_an_infinite_error(value):
    original = np.zeros((3, 5, 13), np.float32)
    decoded = original.copy()
    decoded[1, 2, 3] = value
    assert errors(original, decoded)[MAX_ABS_ERROR] == np.inf
    live = np.ones((3, 5), bool)
    live[1, 2] = False
    assert errors(original, decoded, live)[MAX_ABS_ERROR] == 0


def test_the_greatest_possible_error_does_not_overflow():
    original = np.full((1, 1, 1), -np.finfo(np.float32).max, np.float32)
    assert errors(original, -original)[MAX_ABS_ERROR] == 2 * float(np.finfo(np.float32).max)


def test_what_does_not_fit_is_refused():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"cannot copy float32 \(2, 3\) to float64 \(2, 3\)"):
        finite_or_zero(x, x.astype(np.float64))
    with pytest.raises(ValueError, match=r"cannot compare float32 \(2, 3\) with float32 \(3, 2\)"):
        error_sums(x, x.reshape(3, 2), None, np.zeros(4))
    with pytest.raises(ValueError, match=r"live has shape \(3,\), which are not leading axes of \(2, 3\)"):
        finite_or_zero(x, x.copy(), np.ones(3, bool))
