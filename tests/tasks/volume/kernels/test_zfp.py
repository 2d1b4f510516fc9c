"""ZFP streams against those of libzfp, bit for bit, and errors read from them against its decoder's."""

import contextlib
import math

import numpy as np
import pytest
import zfpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.kernels import encode_zfp, error_sums, zfp_error_sums, zfp_takes
from tasks.volume.kernels.error_sums import COUNT, MAX_ABS_ERROR, NONFINITE, SUM_OF_SQUARES
from tasks.volume.kernels.zfp import HEADER_BITS, LEAST_EXPONENT

extents = st.tuples(*(st.integers(1, 5).map(lambda n: 4 * n) for _ in range(3)))


def reference(chunk, tolerance):
    return bytes(zfpy.compress_numpy(np.ascontiguousarray(chunk), tolerance=tolerance, write_header=True))


def stream_of(chunk, tolerance):
    header = reference(np.zeros(chunk.shape, np.float32), tolerance)[: HEADER_BITS // 8]
    return encode_zfp(chunk, tolerance, header)


def samples(shape, kind, seed):
    """Values as they come in volumes, and such as reach the ends of the format."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if kind == "smooth":
        x = np.cumsum(np.cumsum(x, axis=-1), axis=0) / 10
    elif kind == "sparse":
        x[rng.random(shape) < 0.9] = 0
    elif kind == "wide":
        x = np.ldexp(x, rng.integers(-148, 126, shape))
    elif kind == "whole":
        x = rng.integers(-(2**24), 2**24, shape)
    elif kind == "blocks":  # whole blocks of nothing, of one value, of denormals
        x[:, :4] = 0
        x[:4, :, -4:] = -3.5
        x[-4:, -4:] = 1e-42
    return x.astype(np.float32)


kinds = st.sampled_from(["noise", "smooth", "sparse", "wide", "whole", "blocks"])


@settings(deadline=None, max_examples=150)
@given(shape=extents, kind=kinds, seed=st.integers(0, 2**32 - 1), exponent=st.floats(LEAST_EXPONENT, 60))
def test_streams_are_those_of_libzfp(shape, kind, seed, exponent):
    chunk, tolerance = samples(shape, kind, seed), 2.0**exponent
    assert zfp_takes(shape, chunk.dtype, tolerance)
    assert stream_of(chunk, tolerance) == reference(chunk, tolerance)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x[2:10, 3:7, 1:13],
        lambda x: x.transpose(2, 0, 1),
        lambda x: x[::-1],
        lambda x: x[:, :, 8:12],
    ],
)
def test_chunks_may_lie_in_memory_in_any_way(view):
    chunk = view(samples((12, 8, 16), "smooth", 1))
    assert stream_of(chunk, 0.01) == reference(chunk, 0.01)


@settings(deadline=None, max_examples=150)
@given(
    shape=extents,
    kind=kinds,
    seed=st.integers(0, 2**32 - 1),
    exponent=st.floats(-40, 10),
    cut=st.tuples(*(st.integers(0, 7) for _ in range(3))),
    share=st.sampled_from([1.0, 0.7, 0.0]),
    masked=st.booleans(),
)
def test_errors_are_those_of_what_libzfp_decodes(shape, kind, seed, exponent, cut, share, masked):
    rng = np.random.default_rng(seed)
    whole, tolerance = samples(shape, kind, seed), 2.0**exponent
    stream = stream_of(whole, tolerance)
    part = tuple(slice(0, max(1, n - c)) for n, c in zip(shape, cut, strict=True))
    original = whole[part].copy()
    if masked:
        original[rng.random(original.shape) < 0.1] = np.nan
    live = rng.random(original.shape[:2]) < share
    expected, sums = np.zeros(4), np.zeros(4)
    error_sums(original, zfpy.decompress_numpy(stream)[part], live, expected)
    zfp_error_sums(stream, tolerance, original, shape, live, sums)
    for one in (COUNT, MAX_ABS_ERROR, NONFINITE):
        assert sums[one] == expected[one]
    assert sums[SUM_OF_SQUARES] == pytest.approx(expected[SUM_OF_SQUARES], rel=1e-12)
    # Sums go on from what is there.
    zfp_error_sums(stream, tolerance, original, shape, live, sums)
    assert sums[COUNT] == 2 * expected[COUNT]


def test_errors_reach_as_far_as_floats_do():
    chunk = np.full((4, 4, 4), np.finfo(np.float32).max, np.float32)
    chunk[::2] *= -1
    tolerance = 2.0**120
    decoded = zfpy.decompress_numpy(stream := stream_of(chunk, tolerance))
    sums = np.zeros(4)
    zfp_error_sums(stream, tolerance, np.zeros_like(chunk), chunk.shape, np.ones((4, 4), bool), sums)
    assert sums[MAX_ABS_ERROR] == np.abs(decoded.astype(np.float64)).max()


@pytest.mark.parametrize("change", [-8, 8])
def test_a_stream_of_another_length_is_refused(change):
    chunk = samples((8, 8, 8), "noise", 3)
    stream = stream_of(chunk, 0.01)
    wrong = stream[:change] if change < 0 else stream + bytes(change)
    with pytest.raises(ValueError, match="ZFP stream"):
        zfp_error_sums(wrong, 0.01, chunk, chunk.shape, np.ones((8, 8), bool), np.zeros(4))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(2, 40))
def test_bytes_of_any_kind_are_read_to_an_end(seed, length):
    stream = np.random.default_rng(seed).bytes(8 * length)
    sums, live = np.zeros(4), np.ones((8, 8), bool)
    with contextlib.suppress(ValueError):
        zfp_error_sums(stream, 2.0**-60, np.zeros((8, 8, 8), np.float32), (8, 8, 8), live, sums)
    assert sums[COUNT] in (0, 512)


@pytest.mark.parametrize(
    ("shape", "dtype", "tolerance"),
    [
        ((8, 8), np.float32, 1.0),
        ((8, 8, 8), np.float64, 1.0),
        ((8, 6, 8), np.float32, 1.0),
        ((8, 8, 8), np.float32, math.ldexp(1.9, LEAST_EXPONENT - 1)),
    ],
)
def test_other_chunks_are_left_to_libzfp(shape, dtype, tolerance):
    assert not zfp_takes(shape, np.dtype(dtype), tolerance)
