"""MDIO's grid overrides against values worked out by hand, and against plain loops."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.parameters import Index, Overrides
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.named_fields import asked
from tasks.volume.segy.overrides import (
    KEYS,
    count_within,
    overridden_dims,
    override,
    shot_index,
    wrap_channels,
)
from tasks.volume.segy.placement import place

STREAMER = ("shot_point", "cable", "channel")
FIELD = ("sail_line", "gun", "shot_index", "cable", "channel")
FIELD_WORDS = ("sail_line", "gun", "shot_point", "cable", "channel")


def test_channels_that_count_on_start_from_one_in_each_cable():
    cable, channel = np.array([1, 1, 1, 2, 2, 2]), np.array([1, 2, 3, 4, 5, 6], np.int16)
    assert wrap_channels(cable, channel).tolist() == [1, 2, 3, 1, 2, 3]


def test_channels_that_overlap_between_cables_stay():
    cable, channel = np.array([1, 1, 1, 2, 2, 2]), np.array([1, 2, 3, 2, 3, 4])
    assert wrap_channels(cable, channel) is channel


def wrapped_by_loops(cable: list[int], channel: list[int]) -> list[int]:
    """MDIO's rule, pair of cables by pair."""
    spans = {}
    for number in set(cable):
        own = [c for b, c in zip(cable, channel, strict=True) if b == number]
        spans[number] = (min(own), max(own))
    for a, (low, high) in spans.items():
        for b, (other_low, other_high) in spans.items():
            if a != b and other_low < high and other_high > low:
                return channel
    return [c - spans[b][0] + 1 for b, c in zip(cable, channel, strict=True)]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), min_size=1, max_size=12))
def test_wrapping_is_mdio_s_whatever_the_channels(pairs):
    cable, channel = ([pair[k] for pair in pairs] for k in (0, 1))
    assert wrap_channels(np.array(cable), np.array(channel)).tolist() == wrapped_by_loops(cable, channel)


def test_a_given_number_of_channels_makes_cables_and_wraps_channels():
    channel = np.arange(1, 13, dtype=np.int16)
    columns = {"shot_point": np.ones(12, np.int32), "cable": np.zeros(12, np.int32), "channel": channel}
    both = Overrides(ChannelWrap=True, CalculateCable=True, ChannelsPerCable=5)
    _, cable, wrapped = override(columns, STREAMER, both, 12)
    assert cable.tolist() == [1] * 5 + [2] * 5 + [3] * 2
    assert wrapped.tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2]
    alone = Overrides(CalculateCable=True, ChannelsPerCable=4)
    assert override(columns, STREAMER, alone, 12)[1].tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert override(columns, STREAMER, alone, 12)[2] is channel


def test_guns_that_fire_in_turns_get_a_dense_index():
    line = np.array([1] * 6 + [2] * 4)
    gun = np.array([1, 2, 1, 2, 1, 2, 1, 2, 1, 2])
    shot = np.array([10, 11, 12, 13, 14, 15, 40, 41, 42, 43])
    assert shot_index(line, gun, shot).tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1]


def test_guns_that_number_their_own_shots_get_ranks_in_the_line():
    line, gun = np.array([1, 1, 1, 1, 1, 1]), np.array([1, 1, 1, 2, 2, 2])
    shot = np.array([5, 6, 9, 5, 6, 9])  # 5 // 2 = 2, 6 // 2 = 3, but 8 // 2 = 9 // 2
    assert shot_index(line, gun, np.array([8, 9, 12, 8, 9, 12])).tolist() == [0, 1, 2, 0, 1, 2]
    assert shot_index(line, gun, shot).tolist() == [0, 1, 2, 0, 1, 2]
    assert shot_index(line, None, shot).tolist() == [0, 1, 2, 0, 1, 2]


def index_by_loops(lines: list[int], guns: list[int], shots: list[int]) -> list[int]:
    """MDIO's rule line by line (multidimio 1.1.3, CalculateShotIndex)."""
    rows = list(zip(lines, guns, shots, strict=True))
    of_line = {line: {g for one, g, _ in rows if one == line} for line in set(lines)}
    interleaved = all(
        len({s // len(of_line[line]) for one, g, s in rows if (one, g) == (line, gun)})
        == len({s for one, g, s in rows if (one, g) == (line, gun)})
        for line, gun in {(line, gun) for line, gun, _ in rows}
    )
    most = max(map(len, of_line.values()))
    result = []
    for line, _, shot in rows:
        own = sorted({s for one, _, s in rows if one == line})
        result.append(shot // most - min(s // most for s in own) if interleaved else own.index(shot))
    return result


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(-4, 30)), min_size=1, max_size=14)
)
def test_shot_indices_are_mdio_s_whatever_the_shot_points(rows):
    columns = [[row[k] for row in rows] for k in range(3)]
    assert shot_index(*map(np.array, columns)).tolist() == index_by_loops(*columns)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2)), max_size=20))
def test_equal_traces_are_counted_from_one_in_the_order_of_the_file(pairs):
    seen: Counter[tuple[int, int]] = Counter()
    expected = []
    for pair in pairs:
        seen[pair] += 1
        expected.append(seen[pair])
    columns = [np.array([pair[k] for pair in pairs], np.int32) for k in (0, 1)]
    assert count_within(columns, len(pairs)).tolist() == expected


def test_counts_go_beyond_sixteen_bits():
    assert count_within([np.zeros(70_000, np.int32)], 70_000)[-1] == 70_000
    assert count_within([], 3).tolist() == [1, 2, 3]


def test_counts_of_many_dimensions_do_not_overflow():
    rng = np.random.default_rng(2)
    columns = [rng.permutation(np.repeat(np.arange(2000), 2)).astype(np.int64) << 20 for _ in range(8)]
    expected = Counter()
    counts = []
    for row in zip(*(column.tolist() for column in columns), strict=True):
        expected[row] += 1
        counts.append(expected[row])
    assert count_within(columns, 4000).tolist() == counts


def test_two_million_traces_are_placed():
    n = 2_000_000
    shot, channel = np.divmod(np.arange(n, dtype=np.int32), 2000)
    columns = {
        "sail_line": (shot // 300).astype(np.int32),
        "gun": shot % 2 + 1,
        "shot_point": shot,
        "cable": channel // 200 + 1,
        "channel": channel + 1,
    }
    both = Overrides(AutoShotWrap=True, AutoChannelWrap=True, HasDuplicates=True)
    values = override(columns, (*FIELD, "trace"), both, n)
    assert values[-1].max() == 1
    assert values[4].max() == 200


@pytest.mark.parametrize("name", KEYS)
def test_an_override_fails_with_the_names_of_the_words_it_needs(name):
    parameters = {"ChannelsPerCable": 4} if name in ("ChannelWrap", "CalculateCable") else {}
    with pytest.raises(
        InputRefused, match=f"{name} needs the header fields {', '.join(KEYS[name])}; these have no name: "
    ):
        overridden_dims(
            ("inline", "crossline"), ("inline", "crossline"), Overrides(**{name: True}, **parameters)
        )


@pytest.mark.parametrize(
    ("dims", "words", "overrides", "sentence"),
    [
        (STREAMER, STREAMER, Overrides(ChannelWrap=True), "ChannelWrap needs ChannelsPerCable"),
        (STREAMER, STREAMER, Overrides(CalculateCable=True), "CalculateCable needs ChannelsPerCable"),
        (
            STREAMER,
            STREAMER,
            Overrides(ChannelWrap=True, ChannelsPerCable=4, AutoChannelWrap=True),
            "ChannelWrap and AutoChannelWrap exclude each other",
        ),
        (
            FIELD,
            FIELD_WORDS,
            Overrides(),
            "shot_index is calculated from shot points; give the override AutoShotWrap",
        ),
        (STREAMER, STREAMER, Overrides(NonBinned=True), "NonBinned needs chunksize"),
        (
            STREAMER,
            STREAMER,
            Overrides(NonBinned=True, chunksize=8, non_binned_dims=["azimuth"]),
            "NonBinned needs the header fields azimuth; these have no name: azimuth; name",
        ),
        (
            STREAMER,
            STREAMER,
            Overrides(NonBinned=True, chunksize=8, HasDuplicates=True),
            "both number traces",
        ),
        (
            FIELD,
            (*FIELD_WORDS, "shot_line"),
            Overrides(AutoShotWrap=True, CalculateShotIndex=True),
            "make the same dimension",
        ),
    ],
)
def test_what_overrides_lack_is_said(dims, words, overrides, sentence):
    with pytest.raises(InputRefused, match=sentence):
        overridden_dims(dims, words, overrides)


def test_dimensions_are_what_overrides_make_of_them():
    cases = [
        (STREAMER, STREAMER, Overrides(HasDuplicates=True), (*STREAMER, "trace"), 1),
        (
            ("inline", "crossline", "offset"),
            ("inline", "crossline", "offset"),
            Overrides(NonBinned=True, chunksize=64, non_binned_dims=["offset"]),
            ("inline", "crossline", "trace"),
            64,
        ),
        (FIELD, FIELD_WORDS, Overrides(AutoShotWrap=True), FIELD, None),
        (FIELD_WORDS, FIELD_WORDS, Overrides(AutoShotWrap=True), FIELD, None),
    ]
    for dims, words, overrides, expected, chunk in cases:
        assert overridden_dims(dims, words, overrides) == (expected, chunk)


def test_what_is_not_binned_becomes_a_coordinate_of_every_trace():
    index = Index(
        template="CdpOffsetGathers3DTime",
        overrides=Overrides(NonBinned=True, chunksize=64, non_binned_dims=["offset"]),
    )
    placement = place(index, asked(index), (181, 185))
    assert placement.dims == ("inline", "crossline", "trace")
    found = {coordinate.name: coordinate for coordinate in placement.coordinates}
    assert found["offset"].dims == placement.dims
    assert found["cdp_x"].dims == ("inline", "crossline")
    assert [dimension for dimension, _ in placement.compared] == [0, 1]
    assert not placement.direct
