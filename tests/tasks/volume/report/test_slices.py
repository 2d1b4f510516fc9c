"""What is looked at of a volume: middles in whole chunks, samples that are spread, and no more than the limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.report import slices
from tasks.volume.report.ahead import sample_regions
from tasks.volume.report.slices import central


def spec_of(shape, chunks):
    return ArraySpec("amplitude", shape, chunks, "float32", ("inline", "crossline", "time")[: len(shape)])


def decoded_bytes(spec, region):
    chunks = math.prod(-(-r.stop // c) - r.start // c for r, c in zip(region, spec.chunks, strict=True))
    return chunks, chunks * 4 * math.prod(map(min, spec.chunks, spec.shape))


@given(
    shape=st.tuples(*[st.integers(1, 90)] * 3),
    chunks=st.tuples(*[st.integers(1, 40)] * 3),
    axis=st.integers(0, 2),
    limit=st.integers(1, 200_000),
)
def test_a_middle_keeps_the_limit_in_whole_chunks_around_the_centre(shape, chunks, axis, limit):
    spec = spec_of(shape, chunks)
    whole = tuple(slice(n // 2, n // 2 + 1) if a == axis else slice(0, n) for a, n in enumerate(shape))
    found = central(spec, whole, limit_bytes=limit)
    count, size = decoded_bytes(spec, found)
    assert size <= limit or count == 1
    for part, all_of_it, chunk in zip(found, whole, chunks, strict=True):
        assert all_of_it.start <= part.start < part.stop <= all_of_it.stop
        assert part.start == all_of_it.start or part.start % chunk == 0
        assert part.stop == all_of_it.stop or part.stop % chunk == 0
        centre = (all_of_it.start + all_of_it.stop) / 2
        assert part.start - chunk <= centre <= part.stop + chunk
    if decoded_bytes(spec, whole)[1] <= limit:
        assert found == whole


def test_a_middle_keeps_the_limit_of_samples_where_chunks_are_thin():
    spec = spec_of((9, 4096, 4096), (1, 64, 64))
    whole = (slice(4, 5), slice(0, 4096), slice(0, 4096))
    found = central(spec, whole, limit_bytes=1 << 40, limit_samples=1 << 20)
    assert math.prod(r.stop - r.start for r in found) <= 1 << 20
    assert found[1] == found[2] == slice(1536, 2560)


@pytest.mark.parametrize(
    ("shape", "chunks", "count"),
    [
        ((9, 5, 13), (4, 4, 4), 24),  # few: all of them
        ((345, 188, 1501), (64, 64, 64), 64),
        ((2000, 2000, 2000), (512, 512, 512), 1),  # one chunk is more than the limit, and still needed
        ((10_000, 10_000, 3_000), (4, 512, 512), 16),  # by their bytes
    ],
)
def test_a_sample_is_of_different_chunks_and_not_of_more_than_the_limits(shape, chunks, count):
    regions = sample_regions(spec_of(shape, chunks))
    assert len(regions) == count
    assert len({tuple(r.start for r in region) for region in regions}) == count


def test_a_sample_is_spread_over_all_axes():
    starts = np.array(
        [[r.start for r in region] for region in sample_regions(spec_of((512,) * 3, (64,) * 3))]
    )
    for axis in range(3):
        _, counts = np.unique(starts[:, axis], return_counts=True)
        assert len(counts) == 8
        assert counts.max() <= 12


def test_limits_leave_an_ordinary_survey_whole():
    spec = spec_of((345, 188, 1501), (64, 64, 64))
    whole = (slice(172, 173), slice(0, 188), slice(0, 1501))
    assert central(spec, whole, limit_bytes=slices.SLICE_BYTES) == whole
