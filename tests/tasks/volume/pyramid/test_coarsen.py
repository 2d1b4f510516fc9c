"""Coarser levels of any number of dimensions against plain loops over cells, and the chunks chosen by rank."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.arrays.spec import (
    CHUNK_BYTES,
    COPY_CHUNKS,
    DEFAULT_CHUNKS,
    chunks_by_default,
    copy_chunks,
    factor_by_default,
)
from tasks.volume.kernels.error_sums import COUNT, MAX_ABS_ERROR, NONFINITE, SUM_OF_SQUARES, error_sums
from tasks.volume.pyramid.coarsen import coarsen


def means_by_loops(values: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    """The mean over the numbers of every cell; NaN where there is none."""
    shape = tuple(math.ceil(n / f) for n, f in zip(values.shape, factor, strict=True))
    means = np.full(shape, np.nan)
    for cell in np.ndindex(*shape):
        inside = values[tuple(slice(c * f, (c + 1) * f) for c, f in zip(cell, factor, strict=True))]
        if not np.isnan(inside).all():
            means[cell] = np.nanmean(inside.astype(np.float64))
    return means.astype(values.dtype)


@pytest.mark.parametrize(
    ("shape", "factor"),
    [
        ((9, 13), (2, 2)),
        ((9, 5, 13), (2, 2, 2)),
        ((3, 9, 5, 13), (1, 2, 2, 2)),  # gathers of a 2-D line kept apart
        ((9, 5, 3, 13), (2, 2, 1, 2)),  # offsets kept apart: the coarsened axes are not the last ones
        ((3, 4, 5, 13), (1, 1, 3, 1)),
        ((2, 3, 2, 5, 13), (1, 1, 1, 2, 4)),
        ((5, 2, 3, 2, 2, 7), (2, 1, 1, 1, 2, 1)),
    ],
)
def test_levels_of_any_rank_are_means_over_the_samples_that_are_there(shape, factor):
    rng = np.random.default_rng(3)
    values = rng.standard_normal(shape).astype(np.float32)
    values[rng.random(shape[:-1]) < 0.3] = np.nan
    np.testing.assert_allclose(coarsen(values, factor), means_by_loops(values, factor), rtol=1e-6)


def test_more_axes_than_the_kernel_takes_are_refused():
    with pytest.raises(ValueError, match="at most two axes beside the last"):
        coarsen(np.zeros((4, 4, 4, 4), np.float32), (2, 2, 2, 2))


@pytest.mark.parametrize(
    ("rank", "factor"), [(2, (2, 2)), (3, (2, 2, 2)), (4, (1, 2, 2, 2)), (6, (1, 1, 1, 2, 2, 2))]
)
def test_the_default_factor_coarsens_the_last_three_axes(rank, factor):
    assert factor_by_default(rank) == factor


@settings(deadline=None)
@given(st.lists(st.integers(1, 3000), min_size=4, max_size=8), st.sampled_from([1, 2, 4, 8]))
def test_chunks_above_three_dimensions_are_powers_of_two_that_fill_four_mebibytes(shape, itemsize):
    chunks = chunks_by_default(tuple(shape), itemsize)
    assert all(c & (c - 1) == 0 for c in chunks)
    assert all(c < 2 * n for c, n in zip(chunks, shape, strict=True)), "no axis is padded to twice its extent"
    size = math.prod(chunks) * itemsize
    assert size <= CHUNK_BYTES
    assert size * 2 > CHUNK_BYTES or all(c >= n for c, n in zip(chunks, shape, strict=True))


def test_chunks_are_the_table_s_where_extents_are_large():
    for rank, chunks in DEFAULT_CHUNKS.items():
        assert chunks_by_default((3000,) * rank, 4) == chunks
    assert chunks_by_default((9, 5, 13), 4) == (64, 64, 64)


def test_what_a_short_axis_does_not_need_goes_to_the_others():
    # component, receiver, shot line, gun, shot, sample of a node survey
    assert chunks_by_default((1, 200, 30, 2, 900, 2001), 4) == (1, 16, 16, 2, 32, 64)


@pytest.mark.parametrize("rank", COPY_CHUNKS)
def test_copies_are_thin_across_their_slices(rank):
    for axis in range(rank):
        chunks = copy_chunks(rank, axis)
        assert chunks[axis] == min(chunks)
        assert math.prod(chunks) * 4 <= CHUNK_BYTES


def test_errors_of_five_dimensions_are_the_sum_over_their_parts():
    rng = np.random.default_rng(5)
    original = rng.standard_normal((2, 3, 2, 5, 13)).astype(np.float32)
    decoded = original + rng.standard_normal(original.shape).astype(np.float32) / 100
    original[0, 1, 1, 4, 7] = np.nan
    for axes in (1, 2, 4, None):
        live = None if axes is None else rng.random(original.shape[:axes]) < 0.7
        whole = np.ones(original.shape[:4], bool)
        if live is not None:
            whole &= live.reshape(live.shape + (1,) * (4 - live.ndim))
        sums = np.zeros(4)
        error_sums(original, decoded, live, sums)
        kept = whole[..., np.newaxis] & np.isfinite(original)
        difference = (decoded.astype(np.float64) - original)[kept]
        assert sums[COUNT] == kept.sum()
        assert sums[MAX_ABS_ERROR] == np.abs(difference).max()
        assert sums[NONFINITE] == int(whole[0, 1, 1, 4])
        np.testing.assert_allclose(sums[SUM_OF_SQUARES], (difference**2).sum(), rtol=1e-12)


def test_every_axis_of_a_volume_up_to_four_dimensions_has_its_preset():
    from tasks.volume.copies.presets import PRESET_AXES

    for rank, axes in PRESET_AXES.items():
        assert sorted(axes.values()) == list(range(rank))
    assert list(itertools.chain(PRESET_AXES)) == list(COPY_CHUNKS)
