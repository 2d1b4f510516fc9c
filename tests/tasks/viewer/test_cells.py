"""The cache keeps what it may, and boxes of cells hold nothing else."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.viewer.cells import CellCache, boxes, cells_of
from tasks.viewer.model import LookedAt
from tasks.volume.arrays.spec import ArraySpec
from tests.support.survey import Survey

SPEC = ArraySpec("a", (40, 30, 70), (16, 16, 32), "float32", ("i", "x", "t"))


def test_cells_are_whole_chunks_as_thick_as_the_chunks():
    cells = cells_of(SPEC, np.s_[20:21, 3:20, 0:10])
    assert cells == [((16, 32), (0, 16), (0, 32)), ((16, 32), (16, 30), (0, 32))]
    assert cells_of(SPEC, np.s_[39:40, 29:30, 69:70]) == [((32, 40), (16, 30), (64, 70))]


def test_slabs_of_large_planes_are_thinner():
    large = ArraySpec("a", (640, 4096, 4096), (64, 64, 64), "float32", ("i", "x", "t"))
    (cell,) = cells_of(large, np.s_[70:71, 0:64, 0:64])
    assert cell[0] == (70, 71)  # a plane has 64 MiB
    middle = ArraySpec("a", (640, 1024, 1024), (64, 64, 64), "float32", ("i", "x", "t"))
    (cell,) = cells_of(middle, np.s_[70:71, 0:64, 0:64])
    assert cell[0] == (64, 72)  # 8 planes have 32 MiB


@given(
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1),
)
def test_boxes_hold_each_cell_once_and_nothing_else(places):
    cells = [((5, 6), (10 * a, 10 * a + 10), (7 * b, 7 * b + 7)) for a, b in sorted(places)]
    covered = [
        place for box in boxes(cells) for place in itertools.product(*(range(low, high) for low, high in box))
    ]
    wanted = [
        place for cell in cells for place in itertools.product(*(range(low, high) for low, high in cell))
    ]
    assert sorted(covered) == sorted(wanted)


def test_a_row_that_is_missing_is_one_box():
    cells = [((0, 1), (0, 8), (8 * n, 8 * n + 8)) for n in range(5)]
    assert boxes(cells) == [((0, 1), (0, 8), (0, 40))]
    assert boxes([]) == []


def test_the_cache_forgets_what_was_used_least_recently(looked: LookedAt, survey: Survey):
    spec, live = looked.finest.candidates[0].spec, looked.finest.mask
    cache = CellCache(limit_bytes=2 * 16 * 16 * 32 * 4)
    regions = [
        np.s_[0:1, 0:16, 0:32],
        np.s_[16:17, 0:16, 0:32],
        np.s_[0:1, 0:16, 0:32],
        np.s_[17:18, 0:16, 32:64],
    ]
    for region in regions:
        np.testing.assert_array_equal(cache.read(looked.volume, spec, region, live), survey.values[region])
        assert cache.bytes <= cache.limit_bytes
    assert [region[0].start for _, region in cache.reads] == [0, 16, 16]
    cache.read(looked.volume, spec, regions[0], live)
    assert len(cache.reads) == 3
    cache.read(looked.volume, spec, regions[1], live)
    assert len(cache.reads) == 4


@pytest.mark.parametrize("limit", [0, 1000])
def test_a_cache_too_small_for_a_cell_still_answers(looked: LookedAt, survey: Survey, limit):
    cache = CellCache(limit_bytes=limit)
    region = np.s_[3:4, 2:29, 5:70]
    values = cache.read(looked.volume, looked.finest.candidates[0].spec, region, looked.finest.mask)
    np.testing.assert_array_equal(values, survey.values[region])
    assert cache.bytes == 0
