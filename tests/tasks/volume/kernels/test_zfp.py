"""ZFP streams against those of libzfp, bit for bit, and errors that the encoder measures against its decoder's."""

import math

import numpy as np
import pytest
import zfpy
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.kernels import encode_zfp, encode_zfp_measured, error_sums, zfp_takes
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


def measured(chunk, tolerance, original, live, *, nonfinite=True):
    """The stream of a chunk and the errors that the encoder names."""
    header, sums = reference(np.zeros(chunk.shape, np.float32), tolerance)[: HEADER_BITS // 8], np.zeros(4)
    stream = encode_zfp_measured(chunk, tolerance, header, original, live, sums, nonfinite=nonfinite)
    return stream, sums


def refuted(whole, tolerance, original, live, *, nonfinite=True):
    """What the encoder says that the decoder of libzfp does not; empty if they agree."""
    stream, sums = measured(whole, tolerance, original, live, nonfinite=nonfinite)
    if stream != reference(whole, tolerance):
        return "the stream is another"
    decoded, expected = zfpy.decompress_numpy(stream), np.zeros(4)
    error_sums(original, decoded[tuple(map(slice, original.shape))], live, expected)
    if not np.array_equal(
        sums[[COUNT, MAX_ABS_ERROR, NONFINITE]], expected[[COUNT, MAX_ABS_ERROR, NONFINITE]]
    ):
        return f"the encoder measures {sums}, the decoder has {expected}"
    if sums[SUM_OF_SQUARES] != pytest.approx(expected[SUM_OF_SQUARES], rel=1e-12):
        return f"the sum of squares is {sums[SUM_OF_SQUARES]}, of what is decoded {expected[SUM_OF_SQUARES]}"
    # Each sample is the decoder's, bit for bit: against what it decodes there is no error at all.
    everywhere = np.ones(whole.shape[:2], bool)
    _, against = measured(whole, tolerance, decoded, everywhere)
    if against[COUNT] != np.isfinite(decoded).sum() or against[MAX_ABS_ERROR] or against[SUM_OF_SQUARES]:
        return f"the encoder has other samples than the decoder: {against}"
    return ""


@settings(deadline=None, max_examples=150)
@given(
    shape=extents,
    kind=kinds,
    seed=st.integers(0, 2**32 - 1),
    exponent=st.floats(LEAST_EXPONENT, 60),
    cut=st.tuples(*(st.integers(0, 7) for _ in range(3))),
    share=st.sampled_from([1.0, 0.7, 0.0]),
    masked=st.booleans(),
)
def test_errors_are_those_of_what_libzfp_decodes(shape, kind, seed, exponent, cut, share, masked):
    rng = np.random.default_rng(seed)
    whole, tolerance = samples(shape, kind, seed), 2.0**exponent
    part = tuple(slice(0, max(1, n - c)) for n, c in zip(shape, cut, strict=True))
    original = whole[part].copy()
    if masked:  # the chunk has 0 where the original is no number
        original[rng.random(original.shape) < 0.1] = np.nan
        whole[part][np.isnan(original)] = 0
    live = rng.random(original.shape[:2]) < share
    assert not refuted(whole, tolerance, original, live, nonfinite=masked)


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", ["noise", "smooth", "sparse", "wide", "whole", "blocks"])
def test_errors_of_each_chunk_are_the_decoder_s_at_every_rate(kind, axis):
    """Chunks as presets have them, at the end of a volume too, from one bit a block to all planes."""
    shape = tuple(4 if a == axis else 40 for a in range(3))
    for number, exponent in enumerate(range(LEAST_EXPONENT, 60, 3)):
        rng = np.random.default_rng(number)
        chunk, tolerance = samples(shape, kind, number), math.ldexp(1 + rng.random(), exponent)
        part = tuple(slice(0, n - (number * (a + 1)) % min(n, 9)) for a, n in enumerate(shape))
        padded = np.zeros(shape, np.float32)
        padded[part] = chunk[part]
        live = rng.random(padded[part].shape[:2]) < (1.0, 0.6)[number % 2]
        padded[part][~live] = 0
        assert not refuted(padded, tolerance, padded[part], live), (kind, axis, exponent)
        assert not refuted(chunk, tolerance, chunk, np.ones(shape[:2], bool), nonfinite=False)


def test_sums_go_on_from_what_is_there():
    chunk, live, sums = samples((8, 8, 8), "noise", 3), np.ones((8, 8), bool), np.zeros(4)
    header = reference(chunk, 0.01)[: HEADER_BITS // 8]
    encode_zfp_measured(chunk, 0.01, header, chunk, live, sums, nonfinite=False)
    once = sums.copy()
    encode_zfp_measured(chunk, 0.01, header, chunk, live, sums, nonfinite=False)
    assert sums.tolist() == [2 * once[COUNT], once[MAX_ABS_ERROR], 2 * once[SUM_OF_SQUARES], 0]


def test_errors_reach_as_far_as_floats_do():
    chunk = np.full((4, 4, 4), np.finfo(np.float32).max, np.float32)
    chunk[::2] *= -1
    stream, sums = measured(chunk, 2.0**120, np.zeros_like(chunk), np.ones((4, 4), bool))
    decoded = zfpy.decompress_numpy(stream)
    assert sums[MAX_ABS_ERROR] == np.abs(decoded.astype(np.float64)).max()


@pytest.mark.parametrize("blocks", [1, 15, 16, 17, 200])
def test_blocks_of_zeros_are_one_bit_each(blocks):
    shape = (4, 4, 4 * blocks)
    stream, sums = measured(
        np.zeros(shape, np.float32), 0.01, np.zeros(shape, np.float32), np.ones((4, 4), bool)
    )
    assert len(stream) == 8 * -(-(HEADER_BITS + blocks) // 64)
    assert sums.tolist() == [64 * blocks, 0, 0, 0]
    for place in {0, blocks // 2, blocks - 1}:  # with one other block among them
        chunk = np.full(shape, -0.0, np.float32)
        chunk[..., 4 * place : 4 * place + 4] = samples((4, 4, 4), "noise", place)
        assert not refuted(chunk, 0.01, chunk, np.ones((4, 4), bool))


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
