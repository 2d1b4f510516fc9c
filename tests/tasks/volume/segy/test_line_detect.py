"""Several 2-D lines in one file are told from a survey by their coordinates, whatever numbers they have."""

import numpy as np
import pytest

from tasks.parameters import Index
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.index_detect import choose_index
from tasks.volume.segy.line_detect import SeveralLines


def lines(lengths, starts, steps, *, first_cdp=None, crooked=0.0):
    """Line, CDP, X and Y of lines of these lengths that begin at `starts` and go on by `steps`."""
    line = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    k = np.concatenate([np.arange(n) for n in lengths])
    first = np.asarray(first_cdp if first_cdp is not None else [101] * len(lengths))[line - 1]
    origin, step = np.asarray(starts, float)[line - 1], np.asarray(steps, float)[line - 1]
    x, y = (origin + k[:, np.newaxis] * step).T
    bend = crooked * np.cumsum(np.random.default_rng(3).normal(0, 1, len(k)))
    return line, first + k, 400_000 + x + bend, 6_000_000 + y - bend


THREE = ((30, 50, 20), [(1000, 2000), (5000, 1000), (9000, 7000)], [(25, 0), (0, 25), (18, -18)])
# What makes the lines, the byte of the line number, further fields, and the type of the coordinates.
FILES = {
    "three in three directions": (lines(*THREE), 9, {}, "i4"),
    "line numbers as inlines": (lines(*THREE), 189, {"cdp": 193}, "i4"),
    "floats": (lines(*THREE), 9, {}, "f4"),
    "coordinates of the source": (lines(*THREE), 9, {"x": 73}, "i4"),
    "parallel, shifted along": (
        lines((40, 40, 40, 40), [(0, 100), (900, 600), (-400, 1100), (2000, 1600)], [(25, 0)] * 4),
        9,
        {},
        "i4",
    ),
    "parallel, at unequal distances": (
        lines((40, 40, 40, 40), [(0, 100), (0, 600), (0, 4100), (0, 4600)], [(25, 0)] * 4),
        9,
        {},
        "i4",
    ),
    "two that cross": (lines((60, 60), [(0, 750), (750, 1)], [(25, 0), (0, 25)]), 9, {}, "i4"),
    "two that part at 46 degrees": (
        lines((40, 40), [(0, 0), (3000, 2000)], [(25, 0), (17.4, 17.9)]),
        9,
        {},
        "i4",
    ),
    "crooked": (lines(*THREE, crooked=4.0), 9, {}, "i4"),
    "CDPs that go on": (lines(*THREE, first_cdp=[101, 201, 301]), 9, {}, "i4"),
    "CDPs of their own": (lines(*THREE, first_cdp=[5001, 101, 900]), 17, {}, "i4"),
}


def words_of(table, byte, more, kind):
    """Fields of trace headers."""
    line, cdp, x, y = table
    place = more.get("x", 181)
    words = {(byte, "i4"): line, (more.get("cdp", 21), "i4"): cdp, (71, "i2"): 1}
    return words | {(place, kind): np.rint(x), (place + 4, kind): np.rint(y)}


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("name", FILES)
def test_lines_are_refused_with_the_flag_that_splits_them(headers, name, order):
    table, byte, more, kind = FILES[name]
    n = len(table[0])
    raw = headers(n, words_of(table, byte, more, kind), order=order)
    with pytest.raises(
        SeveralLines, match=rf"{table[0].max()} 2-D lines.* at byte {byte} \(1 to.*--split line"
    ) as found:
        choose_index(raw, np.arange(n), n, order)
    assert found.value.field == (byte, "int32")


def test_lines_are_found_in_a_sample(headers):
    table = lines((300, 500, 200), THREE[1], THREE[2])
    raw = headers(1000, words_of(table, 9, {}, "i4"))
    numbers = np.concatenate([np.arange(60), np.arange(80, 990, 75), np.arange(990, 1000)])
    with pytest.raises(SeveralLines, match="several 2-D lines"):
        choose_index(raw[numbers], numbers, 1000, ">")


def area(shape=(12, 40), **more):
    """Inline, crossline, X and Y of a survey on a rotated grid."""
    inline, crossline = (axis.ravel() for axis in np.indices(shape))
    return (
        inline + 1,
        crossline + 101,
        1000 + 20 * inline + 15 * crossline,
        5000 - 15 * inline + 20 * crossline,
    )


def spoilt(table, rows, value):
    """The same, with other coordinates in some traces."""
    line, cdp, x, y = (np.array(column, float) for column in table)
    x[rows], y[rows] = value, value
    return line.astype(int), cdp.astype(int), x, y


def some_of(table, rows):
    return tuple(column[rows] for column in table)


ragged = np.concatenate([np.arange(40 * k + 2 * k, 40 * k + 40 - k) for k in range(12)])
SURVEYS = {
    "whole": area(),
    "of two lines": area((2, 60)),
    "of lines of two": area((60, 2)),
    "ragged": some_of(area(), ragged),
    "every third line missing": some_of(area(), np.arange(480)[(np.arange(480) // 40) % 3 > 0]),
    "dead traces at 0,0": spoilt(area(), np.arange(0, 480, 5), 0),
    "wrong coordinates in places": spoilt(area(), np.arange(3, 480, 9), 90_000),
    "wrong coordinates along one line": spoilt(area(), np.arange(80, 120), 90_000),
    "shaken": tuple(
        column + np.random.default_rng(k).normal(0, 8, 480) if k > 1 else column
        for k, column in enumerate(area())
    ),
}


@pytest.mark.parametrize("byte", [189, 9])
@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_stays_one_whatever_is_missing_or_wrong_in_it(headers, name, byte):
    table = SURVEYS[name]
    n = len(table[0])
    raw = headers(n, words_of(table, byte, {"cdp": 193} if byte == 189 else {}, "i4"))
    choice = choose_index(raw, np.arange(n), n, ">")
    assert (choice.placement.template, choice.bytes[0]) == ("PostStack3DTime", byte)


def moved(table, x, y):
    """The same traces at other places."""
    return table[0], table[1], x, y


ROWS, COLUMNS = (axis.ravel() for axis in np.indices((12, 40)))
RANDOM = np.random.default_rng(7)
NO_LINES = {
    "places without order": moved(area(), *RANDOM.integers(1, 100_000, (2, 480))),
    "places of other traces": moved(area(), *np.array(area()[2:])[:, RANDOM.permutation(480)]),
    "every second line backwards": moved(
        area(), 1000 + 25 * np.where(ROWS % 2, 39 - COLUMNS, COLUMNS), 5000 + 25 * ROWS
    ),
    "along curves": moved(
        area(), 40_000 * np.cos(COLUMNS * 7.0 + ROWS * ROWS), 40_000 * np.sin(COLUMNS * 11.0 + ROWS)
    ),
}


@pytest.mark.parametrize("name", NO_LINES)
def test_coordinates_that_contradict_the_index_and_are_no_lines_are_a_note(headers, name):
    table = NO_LINES[name]
    raw = headers(480, words_of(table, 189, {"cdp": 193}, "i4"))
    choice = choose_index(raw, np.arange(480), 480, ">")
    assert (choice.placement.template, choice.bytes) == ("PostStack3DTime", (189, 193))
    assert "do not fit the grid of bytes 189,193" in " ".join(choice.notes)


def test_without_coordinates_lines_are_the_grid_that_their_numbers_make(headers):
    raw = headers(100, words_of(lines(*THREE), 189, {"cdp": 193}, "i4"))
    choice = choose_index(raw, np.arange(100), 100, ">", Index(coordinate_bytes="none"))
    assert (choice.placement.template, choice.bytes) == ("PostStack3DTime", (189, 193))


def test_who_says_that_lines_are_a_cube_gets_one(headers):
    table = lines(*THREE)
    raw = headers(100, words_of(table, 9, {}, "i4"))
    for index in (Index(bytes="9,21"), Index(template="PostStack3DTime")):
        assert choose_index(raw, np.arange(100), 100, ">", index).placement.template == "PostStack3DTime"


@pytest.mark.parametrize(
    "words",
    [
        lambda k: {(73, "i4"): 1000 + 25 * k, (77, "i4"): 500 + 5 * k},
        lambda k: {(81, "i4"): 1000 + 25 * k, (85, "i4"): 500 + 5 * k},
        lambda k: {(73, "i4"): 1000 + 25 * k, (77, "i4"): 500 + 5 * k, (81, "i4"): 7, (85, "i4"): 9},
        lambda k: {(73, "f4"): 1000.5 + 25 * k, (77, "f4"): 500.5 + 5 * k, (85, "i4"): 3},
        lambda k: {(73, "i4"): 1000 + 50 * (k // 2), (77, "i4"): 5, (81, "i4"): 1000 + 25 * k, (85, "i4"): 6},
        lambda k: {
            (73, "i4"): 1000 + 25 * k,
            (77, "i4"): 5,
            (81, "i4"): 1100 + 25 * k - k % 7,
            (85, "i4"): 6,
        },
    ],
)
def test_a_stack_with_a_trace_for_each_cdp_is_a_line_whatever_its_source_and_group_hold(headers, words):
    k = np.arange(80)
    choice = choose_index(headers(80, {(21, "i4"): 101 + k} | words(k)), k, 80, ">")
    assert (choice.placement.template, choice.bytes) == ("PostStack2DTime", (21,))


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (lambda g, k: {(21, "i4"): 101 + g}, "--template CdpOffsetGathers2DTime --non-binned"),
        (
            lambda g, k: {(189, "i4"): 1 + g // 5, (193, "i4"): 40 + g % 5},
            "--template CdpOffsetGathers3DTime --non-binned",
        ),
        (
            lambda g, k: {(181, "i4"): 1 + g // 5, (185, "i4"): 40 + g % 5},
            "--template CdpOffsetGathers3DTime --index-bytes 181,185,37 --non-binned",
        ),
        (
            lambda g, k: {(21, "i4"): 101 + g, (181, "i4"): 25 * g, (185, "i4"): 5 * g, (71, "i2"): 1},
            "--template CdpOffsetGathers2DTime --non-binned",
        ),
        (
            lambda g, k: {
                (21, "i4"): 900 - g,
                (73, "i4"): 40 * k,
                (77, "i4"): 9,
                (81, "i4"): 30 * k,
                (85, "i4"): 8,
            },
            "--template CdpOffsetGathers2DTime --non-binned",
        ),
    ],
)
def test_gathers_with_irregular_offsets_are_told_the_flags_that_read_them(headers, words, option):
    gather, k = np.divmod(np.arange(240), 12)
    offsets = np.random.default_rng(1).integers(100, 90_000, 240)
    raw = headers(240, {(37, "i4"): offsets} | words(gather, k))
    with pytest.raises(InputRefused, match=f"{option} --non-binned-dims offset --chunksize 64"):
        choose_index(raw, np.arange(240), 240, ">")
