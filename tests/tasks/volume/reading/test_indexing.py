"""Selections of stored arrays: equal to NumPy's indexing, whatever the chunks and shards."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.arrays.spec import ArraySpec
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.reading.indexing import Group, Positions, read_selection, taken
from tasks.volume.store.writable import WritableStore
from tests.tasks.volume.arrays.test_reader import CHUNKS, LAYOUTS, SHAPE, VALUES, write

PLACE = st.integers(0, 10**6)


@pytest.fixture(scope="module", params=["chunks", "shards", "raw"])
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    store = WritableStore(str(tmp_path_factory.mktemp(request.param)))
    write(store, LAYOUTS[request.param], VALUES)
    return store, LAYOUTS[request.param]


@st.composite
def along(draw: st.DrawFn, axis: int) -> tuple[Positions, np.ndarray]:
    extent = SHAPE[axis]
    if draw(st.booleans()):
        ends = st.integers(-extent - 2, extent + 2) | st.none()
        step = draw(st.sampled_from([1, 1, -1, 2, -3, 5]))
        chosen = range(*slice(draw(ends), draw(ends), step).indices(extent))
        return chosen, np.array(chosen, int)
    positions = np.array(draw(st.lists(st.integers(0, extent - 1), max_size=7)), int)
    return positions, positions


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(picks=st.tuples(along(0), along(1), along(2)), order=st.permutations([0, 1, 2]))
def test_positions_along_each_axis_give_what_numpy_gives_in_any_order_of_dimensions(stored, picks, order):
    store, spec = stored
    groups = [Group((axis,), (picks[axis][0],)) for axis in order]
    expected = VALUES[np.ix_(*(positions for _, positions in picks))].transpose(order)
    np.testing.assert_array_equal(read_selection(store, spec, groups), expected)
    np.testing.assert_array_equal(taken(VALUES, groups), expected)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(PLACE, PLACE), max_size=12), rest=along(2), axes=st.permutations([0, 1, 2]))
def test_points_of_two_axes_give_what_numpy_gives(stored, rows, rest, axes):
    store, spec = stored
    first, second, third = axes
    points = np.array(rows, int).reshape(-1, 2) % [SHAPE[first], SHAPE[second]]
    positions = rest[1] % SHAPE[third]
    groups = [Group((first, second), (points[:, 0], points[:, 1])), Group((third,), (positions,))]
    moved = np.moveaxis(VALUES, axes, (0, 1, 2))
    expected = moved[points[:, 0], points[:, 1]][:, positions]
    np.testing.assert_array_equal(read_selection(store, spec, groups), expected)
    np.testing.assert_array_equal(taken(VALUES, groups), expected)


def test_a_missing_chunk_is_fill_where_no_trace_is_and_an_error_where_one_is(tmp_path: Path):
    store, spec = WritableStore(str(tmp_path)), LAYOUTS["chunks"]
    write(store, spec, VALUES, absent=((1, 0, 2),))
    groups = [
        Group((0,), (np.array([8, 0, 5]),)),
        Group((1,), (range(0, 5),)),
        Group((2,), (range(0, 13, 2),)),
    ]
    live = np.ones(SHAPE[:2], bool)
    with pytest.raises(IntegrityFailure, match=r"chunk \(1, 0, 2\), is missing though traces live there"):
        read_selection(store, spec, groups, live=live)
    live[CHUNKS[0] : 2 * CHUNKS[0], : CHUNKS[1]] = False
    expected = VALUES.copy()
    expected[4:8, 0:2, 6:9] = np.nan
    values = read_selection(store, spec, groups, live=live)
    np.testing.assert_array_equal(values, expected[[8, 0, 5]][:, :, ::2])


def test_each_object_is_asked_for_once_for_many_points(tmp_path: Path):
    from tasks.volume.store.objects import traffic

    store, spec = (
        WritableStore(str(tmp_path)),
        ArraySpec("a", SHAPE, CHUNKS, "float32", ("i", "x", "t"), "zstd-1"),
    )
    write(store, spec, VALUES)
    rows = np.array([0, 1, 2, 3, 3, 2, 1, 0])
    before = traffic.snapshot()
    groups = [Group((0, 1), (rows, rows % 2)), Group((2,), (range(0, 13),))]
    np.testing.assert_array_equal(read_selection(store, spec, groups), VALUES[rows, rows % 2])
    assert traffic.since(before).requests == 5, "the five chunks along the traces"


def test_how_many_chunks_a_group_touches_is_counted_without_reading():
    assert Group((0,), (range(3, 9),)).units([4, 2, 3]) == 3
    assert Group((0,), (range(0, 9, 8),)).units([4, 2, 3]) == 2
    assert Group((0,), (range(5, 5),)).units([4, 2, 3]) == 0
    assert Group((1, 2), (np.array([0, 1, 4]), np.array([0, 2, 12]))).units([4, 2, 3]) == 2
