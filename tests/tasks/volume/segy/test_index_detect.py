"""Which words index a file: the layouts found in the wild, and everything that only looks like a grid.

Covers segy/header_counts.py, segy/index_choice.py, segy/index_prestack.py, segy/index_score.py.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.parameters import Index
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.format import read_format
from tasks.volume.segy.geometry import grid_of
from tasks.volume.segy.headers import word
from tasks.volume.segy.index_detect import choose_index

LAYOUTS = {
    "rev1": {"inline": 189, "crossline": 193, "x": 181, "y": 185, "more": {}},
    "teapot": {"inline": 181, "crossline": 185, "x": 189, "y": 193, "more": {17: "inline", 13: "crossline"}},
    "rev0": {"inline": 9, "crossline": 21, "x": 73, "y": 77, "more": {}},
    "anywhere": {"inline": 197, "crossline": 205, "x": 73, "y": 77, "more": {}},
}


def survey(
    headers, layout, *, shape=(23, 17), starts=(1001, 500), steps=(1, 1), drop=0.0, shuffle=False, order=">"
):
    """Headers of a survey on a rotated grid, with the usual sequence numbers and constants."""
    rng = np.random.default_rng(5)
    cells = np.array(list(itertools.product(range(shape[0]), range(shape[1]))))
    cells = cells[rng.random(len(cells)) >= drop]
    if shuffle:
        cells = rng.permutation(cells)
    inline, crossline = (starts[k] + steps[k] * cells[:, k] for k in (0, 1))
    n, place = len(cells), LAYOUTS[layout]
    values = {"inline": inline, "crossline": crossline}
    words = {(1, "i4"): 1 + np.arange(n), (5, "i4"): 1 + np.arange(n), (29, "i2"): 1, (71, "i2"): -10}
    words[21, "i4"] = cells[:, 0] * shape[1] + cells[:, 1] + 1
    words |= {(place[name], "i4"): column for name, column in values.items()}
    words[place["x"], "i4"] = 4_000_000 + 250 * inline - 3 * crossline
    words[place["y"], "i4"] = 61_000_000 + 250 * crossline + 3 * inline
    words |= {(byte, "i4"): values[name] for byte, name in place["more"].items()}
    words |= {(115, "i2"): 99, (117, "i2"): 4000}
    return headers(n, words, order=order)


def sample_of(n_traces, rng):
    """A head, a tail and scattered traces."""
    return np.concatenate(
        [
            np.arange(min(n_traces, 60)),
            np.arange(max(n_traces - 20, 0), n_traces),
            rng.integers(0, n_traces, 40),
        ]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"steps": (2, 3)},
        {"steps": (-2, -1)},
        {"drop": 0.3},
        {"drop": 0.2, "shuffle": True, "steps": (5, 1)},
        {"shape": (150, 90)},
        {"shape": (150, 90), "drop": 0.1, "shuffle": True},
    ],
)
@pytest.mark.parametrize("sampled", [False, True], ids=["all traces", "a sample"])
def test_the_index_is_found_wherever_it_is(headers, layout, order, form, sampled):
    raw = survey(headers, layout, order=order, **form)
    n = len(raw)
    numbers = sample_of(n, np.random.default_rng(2)) if sampled else np.arange(n)
    choice = choose_index(raw[numbers], numbers, n, order)
    place = LAYOUTS[layout]
    assert choice.bytes == (place["inline"], place["crossline"])
    assert choice.types == ("int32", "int32")
    assert choice.names == ("inline", "crossline")
    assert choice.coordinate_bytes == (place["x"], place["y"])
    assert f"{place['inline']},{place['crossline']} hold inline" in choice.notes[0]
    grid = grid_of([word(raw, byte, "int32", order) for byte in choice.bytes], choice.names)
    assert grid.shape == form.get("shape", (23, 17))


def test_scattered_traces_at_regular_distances_do_not_hide_lines(headers):
    raw = survey(headers, "rev1", shape=(391, 31))
    n = len(raw)
    numbers = np.concatenate([np.arange(31), np.arange(30 * 31, n, 30 * 31)])  # every thirtieth inline
    assert choose_index(raw[numbers], numbers, n, ">").bytes == (189, 193)


def test_a_single_line_is_believed_at_the_standard_place_only(headers):
    line = {
        (189, "i4"): 1000 + np.arange(601),
        (193, "i4"): 1155,
        (9, "i4"): 1000 + np.arange(601),
        (21, "i4"): 1155,
    }
    assert choose_index(headers(601, line), np.arange(601), 601, ">").bytes == (189, 193)
    for unset in ({(189, "i4"): 0, (193, "i4"): 0}, {(193, "i4"): 0}):
        with pytest.raises(InputRefused, match="may be a 2-D line"):
            choose_index(headers(601, line | unset), np.arange(601), 601, ">")


def test_a_single_trace_is_a_grid_if_the_standard_place_says_where_it_is(headers):
    single = np.arange(1)
    assert choose_index(headers(1, {(189, "i4"): 7, (193, "i4"): 8}), single, 1, ">").bytes == (189, 193)
    order = choose_index(headers(1, {(189, "i4"): 7}), single, 1, ">")
    assert (order.bytes, order.names) == ((), ("trace",))
    assert choose_index(headers(1, {(21, "i4"): 7}), single, 1, ">").names == ("cdp",)


def test_coordinates_along_the_axes_are_not_taken_for_lines(headers):
    cells = np.array(list(itertools.product(range(9), range(13))))
    axes = {(189, "i4"): 450_000 + 25 * cells[:, 0], (193, "i4"): 6_800_000 + 25 * cells[:, 1]}
    numbers = np.arange(117)
    index = {(9, "i4"): 1 + cells[:, 0], (21, "i4"): 1 + cells[:, 1]}
    choice = choose_index(headers(117, axes | index), numbers, 117, ">")
    assert choice.bytes == (9, 21)
    assert "look like coordinates" in choice.notes[0]
    with pytest.raises(InputRefused, match="189,193: the values look like coordinates"):
        choose_index(headers(117, axes), numbers, 117, ">")


def test_different_grids_are_a_doubt_and_refused_with_the_options(headers):
    cells = np.array(list(itertools.product(range(8), range(12))))
    other = np.random.default_rng(0).permutation(cells)
    words = {
        (181, "i4"): cells[:, 0],
        (185, "i4"): cells[:, 1],
        (9, "i4"): other[:, 0],
        (21, "i4"): other[:, 1] + 40,
    }
    with pytest.raises(InputRefused, match=r"bytes 181,185 or 9,21; scan lists") as refused:
        choose_index(headers(96, words), np.arange(96), 96, ">")
    assert refused.value.flags == "--index-bytes 181,185"


def test_words_of_other_types_are_found_and_offered_with_their_types(headers):
    cells = np.array(list(itertools.product(range(8), range(12))))
    words = {(203, "i2"): cells[:, 0] + 1, (215, "i2"): 90 - cells[:, 1]}
    choice = choose_index(headers(96, words), np.arange(96), 96, ">")
    assert (choice.bytes, choice.types) == ((203, 215), ("int16", "int16"))
    assert choice.candidates[-1].option == "--index-bytes 203,215 --index-types int16,int16"


def test_the_slower_word_is_the_inline_where_the_place_does_not_say(headers):
    cells = np.array(list(itertools.product(range(8), range(12))))
    words = {(205, "i4"): cells[:, 0] + 1, (197, "i4"): cells[:, 1] + 1}
    assert choose_index(headers(96, words), np.arange(96), 96, ">").bytes == (205, 197)


@pytest.mark.parametrize("layout", ["rev1", "teapot"])
def test_duplicates_are_refused_with_the_first_pair(headers, layout):
    raw = survey(headers, layout)
    raw = np.concatenate([raw, raw[[7, 3]]])
    raw[:, 20:24] = 0  # the CDP number, which is another way to count cells
    place = f"{LAYOUTS[layout]['inline']},{LAYOUTS[layout]['crossline']}"
    with pytest.raises(
        InputRefused,
        match=rf"2 traces have .* \(bytes {place}\) of an earlier one, first traces 8 and 392 \(inline 1001",
    ):
        choose_index(raw, np.arange(len(raw)), len(raw), ">")


def gathers(shots=4, channels=30):
    shot, channel = np.divmod(np.arange(shots * channels), channels)
    return shot, channel


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            lambda s, c: {(17, "i4"): s + 1, (21, "i4"): c + 1, (37, "i4"): 25 * c},
            "prestack data .offsets at byte 37 go",
        ),
        (
            lambda s, c: {(17, "i4"): s + 1, (21, "i4"): c + 1, (73, "i4"): 5, (81, "i4"): c},
            "bytes 73 to 88, vary",
        ),
        (
            lambda s, c: {(9, "i4"): s + 3, (13, "i4"): c + 1},
            "2-D line or prestack",
        ),  # shots by channels, no offsets
        (lambda s, c: {(9, "i4"): s + 3, (25, "i4"): c + 1}, "2-D line or prestack"),
        (lambda s, c: {(9, "i4"): s + 3, (1, "i4"): c + 1}, "2-D line or prestack"),
        (lambda s, c: {(161, "i2"): s + 1, (163, "i2"): c}, "2-D line or prestack"),  # hours by minutes
        (lambda s, c: {(21, "i4"): (s * 30 + c) // 2, (173, "i2"): (s * 30 + c) % 2}, "2-D line or prestack"),
        (
            lambda s, c: {(17, "i4"): (s * 30 + c) // 2, (21, "i4"): (s * 30 + c + 1) // 2},
            "2-D line or prestack",
        ),
        (lambda s, c: {}, "189,193: both are constant .0 and 0."),
    ],
)
@pytest.mark.parametrize("sampled", [False, True], ids=["all traces", "a sample"])
def test_what_only_looks_like_a_grid_is_refused(headers, words, sentence, sampled):
    raw = headers(120, words(*gathers()))
    numbers = (
        np.concatenate([np.arange(50), np.arange(60, 120, 7), np.arange(110, 120)])
        if sampled
        else np.arange(120)
    )
    with pytest.raises(InputRefused, match=sentence):
        choose_index(raw[numbers], numbers, 120, ">")


@pytest.mark.parametrize(
    ("words", "template", "places"),
    [
        (
            lambda s, c: {(9, "i4"): s + 3, (13, "i4"): c + 1, (37, "i4"): 25 * c - 3000},
            "StreamerShotGathers2D",
            (9, 13),
        ),
        # The record number repeats the shot point: one reading, not two.
        (
            lambda s, c: {(9, "i4"): s, (17, "i4"): 2 * s + 1, (13, "i4"): c + 1, (37, "i4"): 25 * c},
            "StreamerShotGathers2D",
            (17, 13),
        ),
        (
            lambda s, c: {(189, "i4"): c // 2, (193, "i4"): s, (37, "i4"): c % 2},
            "CdpOffsetGathers3DTime",
            (189, 193, 37),
        ),
        (
            lambda s, c: {(21, "i4"): s + 101, (37, "i4"): 50 * c, (17, "i4"): s + c, (13, "i4"): 1 + c},
            "CdpOffsetGathers2DTime",
            (21, 37),
        ),
        (lambda s, c: {(21, "i4"): s * 30 + c, (9, "i4"): 5}, "PostStack2DTime", (21,)),
        (lambda s, c: {(21, "i4"): s * 30 + c, (9, "i4"): s}, "PostStack2DTime", (21,)),
        (lambda s, c: {(17, "i4"): 900 - s * 30 - c, (21, "i4"): s}, "PostStack2DTime", (17,)),
        # 4-byte CDP numbers whose upper and lower halves make a perfect grid are one word, not two.
        (lambda s, c: {(21, "i4"): (s * 30 + c) * 2**14}, "PostStack2DTime", (21,)),
    ],
)
@pytest.mark.parametrize("sampled", [False, True], ids=["all traces", "a sample"])
def test_gathers_and_lines_are_told_by_the_order_of_their_traces(headers, words, template, places, sampled):
    shot, channel = np.divmod(np.arange(120), 30)
    raw = headers(120, words(shot, channel))
    numbers = (
        np.concatenate([np.arange(70), np.arange(71, 110, 7), np.arange(112, 120)])
        if sampled
        else np.arange(120)
    )
    choice = choose_index(raw[numbers], numbers, 120, ">")
    assert (choice.placement.template, choice.bytes) == (template, places)


def test_shuffled_gathers_are_refused_with_what_keeps_them(headers):
    shot, channel = (
        np.random.default_rng(4).permutation(np.array(list(itertools.product(range(4), range(30))))).T
    )
    raw = headers(120, {(17, "i4"): shot + 1, (13, "i4"): channel + 1, (37, "i4"): 25 * channel})
    with pytest.raises(
        InputRefused, match=r"no words are known to hold its gathers; .*; say --index-bytes trace"
    ):
        choose_index(raw, np.arange(120), 120, ">")


def line(n, **more):
    """Words of a 2-D line: coordinates that go on, and whatever else."""
    k = np.arange(n)
    return {(181, "i4"): 400_000 + 19 * k, (185, "i4"): 6_000_000 + 11 * k} | more.get("words", {})


def test_a_line_whose_words_happen_to_factor_is_not_taken_for_an_area(headers):
    k = np.arange(117)
    factoring = {(9, "i4"): 1 + k // 13, (173, "i2"): 1 + k % 13, (21, "i4"): 101 + k}
    choice = choose_index(headers(117, line(117, words=factoring)), k, 117, ">")
    assert (choice.placement.template, choice.bytes, choice.names) == ("PostStack2DTime", (21,), ("cdp",))
    without = {place: values for place, values in factoring.items()}
    with pytest.raises(InputRefused, match=r"bytes 9,173 or 21; scan lists") as refused:
        choose_index(headers(117, without), k, 117, ">")  # no coordinates: a doubt
    assert refused.value.flags == "--index-bytes 9,173 --index-types int32,int16"


def test_a_line_that_nothing_numbers_keeps_the_order_of_its_traces(headers):
    choice = choose_index(headers(31, line(31)), np.arange(31), 31, ">")
    assert (choice.placement.template, choice.names, choice.bytes) == ("PostStack2DTime", ("trace",), ())
    with pytest.raises(InputRefused, match="keep the traces in their order; say --index-bytes trace"):
        choose_index(headers(31, {}), np.arange(31), 31, ">")
    asked = choose_index(headers(31, {}), np.arange(31), 31, ">", Index(template="PostStack2DDepth"))
    assert (asked.placement.domain, asked.names) == ("depth", ("trace",))
    order = choose_index(headers(31, {}), np.arange(31), 31, ">", Index(bytes="trace"))
    assert (order.placement.template, order.names) == ("PostStack2DTime", ("trace",))
    assert not any("hold" in note for note in order.notes)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (Index(bytes="9,21"), ((9, 21), ("int32", "int32"), ("inline", "crossline"), (181, 185))),
        (
            Index(bytes="237,215", types=["int32", "int16"], names=["line", "cdp"]),
            ((237, 215), ("int32", "int16"), ("line", "cdp"), (181, 185)),
        ),
        (
            Index(bytes="9,21", coordinate_bytes="none"),
            ((9, 21), ("int32", "int32"), ("inline", "crossline"), ()),
        ),
        (
            Index(bytes="189,193", coordinate_bytes="73,77"),
            ((189, 193), ("int32", "int32"), ("inline", "crossline"), (73, 77)),
        ),
        (Index(bytes="181,193"), ((181, 193), ("int32", "int32"), ("inline", "crossline"), ())),
        (Index(names=["il", "xl"]), ((189, 193), ("int32", "int32"), ("il", "xl"), (181, 185))),
    ],
)
def test_what_the_user_says_is_done(headers, index, expected):
    raw = survey(headers, "rev1")
    choice = choose_index(raw, np.arange(len(raw)), len(raw), ">", index)
    assert (choice.bytes, choice.types, choice.names, choice.coordinate_bytes) == expected
    assert any("hold" in note for note in choice.notes) == (index.bytes == "auto")


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (
            Index(bytes="189", template="PostStack3DTime"),
            "index bytes 189 are 1 words, and PostStack3DTime has 2",
        ),
        (Index(bytes="189,189"), "name one byte twice"),
        (Index(bytes="9,13,37"), "are 3 words; say what they are with --index-names or --template"),
        (Index(bytes="9,13,37", names=["a", "b"]), r"2 index names \(a, b\) are given for 3 index bytes"),
        (
            Index(bytes="trace", template="PostStack3DTime"),
            "traces in file order have one dimension, but PostStack3DTime",
        ),
        (
            Index(bytes="9,13", template="StreamerShotGathers2D", coordinate_bytes="181,185"),
            "has no coordinates of",
        ),
        (
            Index(bytes="189,193", template="PostStack3DTime", domain="depth"),
            "PostStack3DTime is not for the depth domain",
        ),
        (
            Index(bytes="189,238"),
            "index byte 238 is not in a trace header; int32 words start at bytes 1 to 237",
        ),
        (Index(bytes="0,193"), "index byte 0 is not"),
        (Index(bytes="189,193", types=["int32"]), "1 index types are given for 2 index bytes"),
        (Index(types=["int32", "int32"]), "types are given without index bytes"),
        (Index(names=["a"]), "2 different names"),
        (Index(names=["a", "a"]), "the names of index fields must differ, but are a, a"),
        (Index(coordinate_bytes="181,238"), "coordinate bytes 181,238 are not in a trace header"),
    ],
)
def test_what_the_user_says_and_cannot_be_is_refused(headers, index, sentence):
    raw = survey(headers, "rev1")
    with pytest.raises(InputRefused, match=sentence):
        choose_index(raw, np.arange(len(raw)), len(raw), ">", index)


def test_coordinates_that_are_the_same_everywhere_are_told(headers):
    raw = survey(headers, "rev1")
    assert not any(
        "coordinates" in note for note in choose_index(raw, np.arange(len(raw)), len(raw), ">").notes
    )
    raw[:, 180:188] = raw[0, 180:188]
    notes = choose_index(raw, np.arange(len(raw)), len(raw), ">").notes
    assert any("No coordinates are stored: those at bytes 181,185 are the same" in note for note in notes)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(0, 3), st.booleans())
def test_arbitrary_headers_are_indexed_or_refused(seed, n, kind, complete):
    rng = np.random.default_rng(seed)
    # From noise to mostly constant bytes, where chance makes grids.
    raw = (rng.integers(0, [256, 4, 2, 2][kind], (n, 240)) * (rng.random(240) < [1, 1, 1, 0.1][kind])).astype(
        np.uint8
    )
    n_traces = n if complete else 3 * n
    numbers = np.arange(n)
    try:
        choice = choose_index(raw, numbers, n_traces, ">")
    except InputRefused:
        return
    if complete:
        columns = [word(raw, b, t, ">") for b, t in zip(choice.bytes, choice.types, strict=True)] or [numbers]
        assert grid_of(columns, choice.names).trace_numbers.max() == n - 1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("seisplot/data/F3_very_small.sgy", ((189, 193), (181, 185), (11, 11))),
        ("segysak/tests/test-data-segysak/f3-withdead.sgy", ((189, 193), (181, 185), (23, 18))),
        ("xtgeo-testdata/cubes/etc/ex2_complete_3d_75x71x26.segy", ((189, 193), (181, 185), (75, 71))),
        ("seg-tutorials-2014/1410_Phase/data/penobscot_xl1155.sgy", ((189, 193), (181, 185), (601, 1))),
        ("segyio/small.sgy", ((189, 193), (), (5, 5))),
        ("segyio/multiformats/Format1msb.sgy", ((189, 193), (181, 185), (23, 18))),
        ("segyio/multiformats/Format5lsb.sgy", ((189, 193), (181, 185), (23, 18))),
        ("seisplot/data/31_81_PR.sgy", ((21,), (), (534,))),
        ("UnpluggedSegy/lineE.sgy", ((), (73, 77), (111,))),
        ("segyio/small-ps.sgy", ((189, 193, 37), (), (4, 3, 2))),
        ("segyio/shot-gather.sgy", "2-D line or prestack"),
        ("segyio/python/tutorials/viking_small.segy", ((17, 13), (), (4, 120))),
    ],
)
@pytest.mark.parametrize("sampled", [False, True], ids=["all traces", "a sample"])
def test_real_files_are_indexed_or_refused(shared, source, path, expected, sampled):
    content = (shared / "data" / path).read_bytes()
    found = read_format(source(content))
    records = np.frombuffer(content, np.uint8)[found.first_trace_offset :].reshape(
        found.n_traces, found.trace_bytes
    )
    raw, numbers = records[:, :240], np.arange(found.n_traces)
    if sampled:
        numbers = sample_of(found.n_traces, np.random.default_rng(2))
    if isinstance(expected, str):
        with pytest.raises(InputRefused, match=expected):
            choose_index(raw[numbers], numbers, found.n_traces, found.byte_order)
        return
    choice = choose_index(raw[numbers], numbers, found.n_traces, found.byte_order)
    columns = [word(raw, byte, "int32", found.byte_order) for byte in choice.bytes] or [
        np.arange(found.n_traces)
    ]
    assert (choice.bytes, choice.coordinate_bytes, grid_of(columns, choice.names).shape) == expected


@pytest.mark.parametrize("layout", ["rev1", "teapot"])
@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"drop_frac": 0.4, "shuffle": True, "il0": 1001, "xl0": 500, "ilstep": 2, "xlstep": 3},
        {"endian": "little", "fmt": "ieee", "rev": 0, "ilstep": -2, "il0": 99, "xlstep": -1, "xl0": 40},
        {"dup": 3},
    ],
)
def test_generated_surveys_are_indexed_by_their_layout(make_segy, tmp_path, source, layout, faults):
    path = tmp_path / "survey.sgy"
    make_segy(path, shape=(23, 17, 13), layout=layout, **faults)
    content = path.read_bytes()
    found = read_format(source(content))
    raw = np.frombuffer(content, np.uint8)[3600:].reshape(found.n_traces, found.trace_bytes)[:, :240]
    if "dup" in faults:
        with pytest.raises(
            InputRefused, match=r"3 traces have the inline and crossline .* first traces 1 and 18 "
        ):
            choose_index(raw, np.arange(len(raw)), len(raw), found.byte_order)
        return
    choice = choose_index(raw, np.arange(len(raw)), len(raw), found.byte_order)
    expected = {"rev1": ((189, 193), (181, 185)), "teapot": ((181, 185), (189, 193))}[layout]
    assert (choice.bytes, choice.coordinate_bytes) == expected
    grid = grid_of([word(raw, byte, "int32", found.byte_order) for byte in choice.bytes], choice.names)
    assert grid.shape == (23, 17)
    assert [axis.step for axis in grid.axes] == [abs(faults.get(step, 1)) for step in ("ilstep", "xlstep")]


def bent(n, seed):
    """Coordinates of a 2-D line that turns slowly, in decimetres."""
    heading = np.cumsum(np.random.default_rng(seed).normal(0, 0.01, n))
    return 5_000_000 + np.cumsum(125 * np.cos(heading)), 60_000_000 + np.cumsum(125 * np.sin(heading))


@pytest.mark.parametrize("places", [(181, 185), (73, 77)])
@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("cdp", [True, False])
@pytest.mark.parametrize("n", [143, 1300])
def test_a_line_whose_words_factor_at_the_standard_place_is_not_taken_for_an_area(
    headers, places, straight, cdp, n
):
    k = np.arange(n)
    x, y = (400_000 + 190 * k, 6_000_000 + 110 * k) if straight else bent(n, 3)
    words = {(189, "i4"): 1 + k // 13, (193, "i4"): 1 + k % 13, (places[0], "i4"): x, (places[1], "i4"): y}
    if cdp:
        words[21, "i4"] = 101 + k
    choice = choose_index(headers(n, words), k, n, ">")
    assert choice.placement.template == "PostStack2DTime"
    assert choice.bytes == ((21,) if cdp else ())


@pytest.mark.parametrize("shape", [(3, 60), (60, 3), (20, 30), (4, 4)])
@pytest.mark.parametrize("there_and_back", [True, False])
def test_an_area_is_one_however_narrow_and_however_it_was_shot(headers, shape, there_and_back):
    inline, crossline = (column.ravel() for column in np.meshgrid(*map(np.arange, shape), indexing="ij"))
    if there_and_back:
        crossline = np.where(inline % 2, shape[1] - 1 - crossline, crossline)
    words = {(189, "i4"): 11 + 2 * inline, (193, "i4"): 200 - crossline}
    words |= {
        (181, "i4"): 5000 + 200 * inline + 30 * crossline,
        (185, "i4"): 9000 - 35 * inline + 190 * crossline,
    }
    n = len(inline)
    choice = choose_index(headers(n, words), np.arange(n), n, ">")
    assert (choice.placement.template, choice.bytes) == ("PostStack3DTime", (189, 193))
