"""Grids against a dictionary of cells, predictions against files in row-major order, coordinates by hand.

Covers segy/regular_grid.py.
"""

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import read_format
from tasks.volume.segy.geometry import coordinates, grid_of, sample_axis
from tasks.volume.segy.regular_grid import RegularGrid, grid_from_regular, predict_regular

NAMES = ("inline", "crossline")
steps = st.integers(-7, 7).filter(bool)


def table(regular: RegularGrid) -> np.ndarray:
    """Index values of every trace of a regular file, shape (traces, dimensions), by plain iteration."""
    ranges = [
        range(s, s + n * d, d) for s, d, n in zip(regular.starts, regular.steps, regular.counts, strict=True)
    ]
    rows = itertools.product(*(ranges[d] for d in regular.order))
    back = np.argsort(regular.order)
    return np.array([[row[k] for k in back] for row in rows])


@st.composite
def surveys(draw):
    """Index values of a survey in any order with gaps: at least one trace."""
    dimensions = draw(st.integers(1, 3))
    axes = []
    for _ in range(dimensions):
        start, step, count = draw(st.integers(-1000, 1000)), draw(steps), draw(st.integers(1, 9))
        axes.append([start + step * k for k in range(count)])
    cells = list(itertools.product(*axes))
    kept = draw(st.lists(st.sampled_from(cells), unique=True, min_size=max(1, len(cells) // 3)))
    return np.array(kept), draw(st.sampled_from(["int16", "int32", "int64", "float64"]))


@settings(deadline=None)
@given(surveys())
def test_every_trace_has_the_cell_that_its_index_says(survey):
    values, kind = survey
    names = [f"d{k}" for k in range(values.shape[1])]
    columns = [column.astype(kind) for column in values.T]
    if (
        len(values) > 3
        and len(names) > 1
        and all(len(set(column)) == len(values) for column in values.T.tolist())
    ):
        with pytest.raises(InputRefused, match="hold no grid"):
            grid_of(columns, names)
        return
    grid = grid_of(columns, names)
    assert grid.names == tuple(names)
    assert grid.shape == tuple(len(set(column)) for column in values.T.tolist())
    for axis, column in zip(grid.axes, values.T.tolist(), strict=True):
        assert axis.values.dtype == np.int64
        assert axis.values.tolist() == sorted(set(column))
    expected = {tuple(row): number for number, row in enumerate(values.tolist())}
    for cell in np.ndindex(*grid.shape):
        labels = tuple(int(axis.values[k]) for axis, k in zip(grid.axes, cell, strict=True))
        assert grid.trace_numbers[cell] == expected.get(labels, -1)


@settings(deadline=None)
@given(
    st.tuples(st.integers(-500, 500), st.integers(-500, 500)),
    st.tuples(steps, steps),
    st.tuples(st.integers(1, 13), st.integers(1, 13)),
    st.permutations([0, 1]),
)
def test_regular_files_are_predicted_from_a_few_probes(starts, given_steps, counts, order):
    values = table(RegularGrid(starts, given_steps, counts, tuple(order)))
    probed = []

    def probe(trace):
        probed.append(trace)
        return tuple(int(v) for v in values[trace])

    found = predict_regular(probe, len(values))
    assert found is not None
    np.testing.assert_array_equal(table(found), values)
    assert [found.index_of(t) for t in range(len(values))] == [tuple(row) for row in values.tolist()]
    assert len(probed) <= 16
    predicted = grid_from_regular(found, NAMES)
    scanned = grid_of([values[:, 0], values[:, 1]], NAMES)
    np.testing.assert_array_equal(predicted.trace_numbers, scanned.trace_numbers)
    assert predicted.trace_numbers.flags.c_contiguous
    for one, other in zip(predicted.axes, scanned.axes, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values[1:],
        lambda values: values[:-1],
        lambda values: np.delete(values, 40, axis=0),
        lambda values: np.random.default_rng(3).permutation(values),
        lambda values: np.concatenate([values[65:], values[:65]]),  # lines of a later part first
        lambda values: np.repeat(values, 2, axis=0),
        lambda values: np.concatenate(
            [values.reshape(9, 13, 2)[::2], values.reshape(9, 13, 2)[1::2]]
        ).reshape(-1, 2),
        lambda values: np.zeros_like(values),
        lambda values: np.stack([values[:, 0], values[:, 0]], axis=1),
        lambda values: np.stack([np.arange(117), 3 * np.arange(117)], axis=1),
    ],
)
def test_files_that_are_not_regular_are_not_predicted(spoil):
    values = spoil(table(RegularGrid((10, 5), (2, -1), (9, 13), (0, 1))))
    assert predict_regular(lambda trace: tuple(int(v) for v in values[trace]), len(values)) is None


@pytest.mark.parametrize("n_traces", [1, 2])
def test_tiny_files_are_predicted(n_traces):
    found = predict_regular(lambda trace: (7, 20 + trace), n_traces)
    assert found is not None
    assert (found.counts, found.n_traces) == ((1, n_traces), n_traces)


def test_a_prediction_for_a_hundred_million_traces_takes_no_more_probes():
    regular = RegularGrid((1, 500), (1, -2), (10_007, 9_973), (1, 0))
    probed = []

    def probe(trace):
        probed.append(trace)
        return regular.index_of(trace)

    assert predict_regular(probe, regular.n_traces) == regular
    assert len(probed) <= 16


def test_duplicates_are_counted_and_the_first_pair_named():
    inline = np.array([1, 1, 1, 2, 2, 1, 2, 1], np.int32)
    crossline = np.array([5, 6, 7, 5, 6, 6, 7, 6], np.int32)
    with pytest.raises(
        InputRefused,
        match=r"2 of 8 traces have the inline and crossline \(bytes 189, 193\) of an earlier one, first traces 2 and 6 "
        r"\(inline 1, crossline 6\); say --has-duplicates",
    ):
        grid_of([inline, crossline], NAMES, index_bytes=(189, 193))


def test_duplicates_far_apart_in_a_large_file_are_found():
    n = 1_100_000
    values = np.arange(n) % 1_048_577
    with pytest.raises(InputRefused, match=r"51,423 of 1,100,000 traces .* first traces 1 and 1,048,578"):
        grid_of([np.zeros(n, np.int32), values], NAMES)


def test_constant_words_are_refused():
    with pytest.raises(
        InputRefused, match=r"inline and crossline \(bytes 9, 21\) are the same in all 7 traces"
    ):
        grid_of([np.zeros(7, np.int32)] * 2, NAMES, index_bytes=(9, 21))


def test_a_diagonal_holds_no_grid():
    with pytest.raises(
        InputRefused, match=r"hold no grid: all 5 traces differ in each of them \(inline 0 to 4 \(5\) x"
    ):
        grid_of([np.arange(5), 10 - 2 * np.arange(5)], NAMES)


@pytest.mark.parametrize("spread", [1, 2**20])
def test_a_grid_of_a_huge_number_of_cells_is_refused_before_it_is_allocated(spread):
    rng = np.random.default_rng(1)
    columns = [rng.permutation(20_000) // 2 * spread - 2**30 for _ in range(3)]
    tracemalloc.start()
    with pytest.raises(
        InputRefused, match=r"a grid of 1,000,000,000,000 cells for 20,000 traces .*more than 10 a trace"
    ):
        grid_of(columns, ["a", "b", "c"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000_000


def test_one_wrong_header_word_only_adds_an_empty_line():
    inline = np.repeat(np.arange(9), 13).astype(np.int32)
    crossline = np.tile(np.arange(13), 9).astype(np.int32)
    inline[50] = 2**31 - 1
    grid = grid_of([inline, crossline], NAMES)
    assert grid.shape == (10, 13)
    assert grid.axes[0].values[-1] == 2**31 - 1
    assert np.count_nonzero(grid.trace_numbers >= 0) == 117


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_index_words_that_are_no_numbers_to_count_by_are_refused(bad):
    values = np.array([1.0, 2.0, bad])
    with pytest.raises(InputRefused, match="inline is not a usable number in 1 traces"):
        grid_of([values, np.arange(3)], NAMES)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_index_words_may_be_fractions(kind):
    azimuth, offset = np.tile(np.array([22.5, -11.25, 67.5], kind), 4), np.repeat([100, 200, 300, 400], 3)
    grid = grid_of([offset, azimuth], ("offset", "azimuth"))
    assert grid.axes[1].values.tolist() == [-11.25, 22.5, 67.5]
    assert grid.axes[1].values.dtype == np.float64
    assert grid.trace_numbers.tolist() == [[1, 0, 2], [4, 3, 5], [7, 6, 8], [10, 9, 11]]
    assert str(grid.axes[1]) == "azimuth -11.25 to 67.5 in unequal steps (3)"


def test_traces_that_have_no_cell_leave_the_others_their_numbers():
    grid = grid_of([np.array([3, 1]), np.array([7, 7])], NAMES, numbers=np.array([2, 5]))
    assert grid.trace_numbers.tolist() == [[5], [2]]
    with pytest.raises(InputRefused, match="first traces 3 and 6 "):
        grid_of([np.array([3, 3, 1]), np.array([7, 7, 8])], ("a", "b"), numbers=np.array([2, 5, 9]))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-500, 500), steps, st.integers(1, 6)), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_regular_files_of_any_rank_are_predicted(axes, random):
    order = list(range(len(axes)))
    random.shuffle(order)
    regular = RegularGrid(*(tuple(axis[k] for axis in axes) for k in range(3)), tuple(order))
    values = table(regular)
    found = predict_regular(lambda trace: tuple(int(v) for v in values[trace]), len(values))
    assert found is not None
    np.testing.assert_array_equal(table(found), values)
    scanned = grid_of(list(values.T), [f"d{k}" for k in order]) if len(values) > 1 else None
    if scanned is not None:
        predicted = grid_from_regular(found, scanned.names)
        np.testing.assert_array_equal(predicted.trace_numbers, scanned.trace_numbers)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values[1:],
        lambda values: values[:-1],
        lambda values: np.delete(values, 40, axis=0),
        lambda values: np.random.default_rng(3).permutation(values),
        lambda values: np.repeat(values, 2, axis=0),
        lambda values: values * [[1, 1, 0]],
    ],
)
def test_gathers_that_are_not_regular_are_not_predicted(spoil):
    values = spoil(table(RegularGrid((10, 5, 100), (2, -1, 50), (5, 7, 9), (0, 1, 2))))
    assert predict_regular(lambda trace: tuple(int(v) for v in values[trace]), len(values)) is None


def test_axes_are_described_with_their_step():
    grid = grid_of([np.array([9, 7, 9, 7]), np.array([1, 1, 5, 6])], NAMES)
    assert [str(axis) for axis in grid.axes] == [
        "inline 7 to 9 by 2 (2)",
        "crossline 1 to 6 in unequal steps (3)",
    ]
    assert [axis.step for axis in grid.axes] == [2, 0]


@pytest.mark.parametrize("order", [">", "<"])
def test_coordinates_take_the_scalar_of_their_own_trace(headers, order):
    scalars = [0, 1, 10, -10, -1000, -32768]
    raw = headers(
        6,
        {(71, "i2"): scalars, (181, "i4"): [61000001] * 6, (185, "i4"): [-7, -7, -7, -7, 2**31 - 1, 1]},
        order=order,
    )
    x, y = coordinates(raw, 181, 185, order)
    assert x.tolist() == [61000001.0, 61000001.0, 610000010.0, 6100000.1, 61000.001, 61000001 / 32768]
    assert y.tolist() == [-7.0, -7.0, -70.0, -0.7, 2147483.647, 1 / 32768]
    assert x.dtype == y.dtype == np.float64


@pytest.mark.parametrize(
    ("interval", "delay", "kind", "expected"),
    [
        (4000, 0, "int32", [0, 4, 8, 12, 16]),
        (4000, 4, "int32", [4, 8, 12, 16, 20]),
        (2000, -100, "int32", [-100, -98, -96, -94, -92]),
        (500, 0, "float64", [0, 0.5, 1, 1.5, 2]),
        (333, 0, "float64", [0, 0.333, 0.666, 0.999, 1.332]),
        (0, 100, "int32", [0, 1, 2, 3, 4]),
    ],
)
def test_the_sample_axis_is_whole_numbers_where_it_can_be(segy, source, interval, delay, kind, expected):
    words = {(3217, "H"): interval}
    file_format = read_format(source(segy(n_samples=5, binary=words, traces={(117, "H"): interval})))
    name, values = sample_axis(file_format, delay)
    assert (name, values.dtype) == ("time", np.dtype(kind))
    assert values.tolist() == expected
    assert sample_axis(file_format, delay, depth=True)[0] == "depth"


def test_regular_grids_count_their_traces():
    regular = RegularGrid((1, 1, 1), (1, 1, 1), (3, 5, 7), (2, 0, 1))
    assert regular.n_traces == math.prod((3, 5, 7))
    assert grid_from_regular(regular, "abc").shape == (3, 5, 7)
    np.testing.assert_array_equal(
        grid_from_regular(regular, "abc").trace_numbers, grid_of(table(regular).T, "abc").trace_numbers
    )
