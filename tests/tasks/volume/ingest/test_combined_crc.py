"""CRC-32C of parts put together, against the CRC of the bytes."""

import itertools

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.ingest.combined_crc import combine_all

DATA = np.random.default_rng(1).bytes(100_003)


def crc(data):
    return google_crc32c.value(data)


def appended(whole, part, length):
    """The CRC of a whole and a part of some length after it."""
    return combine_all(np.array([whole, part], np.uint32), np.array([0, length]))


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, len(DATA)), max_size=12))
def test_any_split_gives_the_crc_of_the_whole(cuts):
    cuts = [0, *sorted(cuts), len(DATA)]  # equal cuts make empty parts
    parts = [DATA[a:b] for a, b in itertools.pairwise(cuts)]
    crcs, lengths = [crc(part) for part in parts], [len(part) for part in parts]
    whole = 0
    for part, length in zip(crcs, lengths, strict=True):
        whole = appended(whole, part, length)
    assert whole == crc(DATA)
    assert combine_all(np.array(crcs, np.uint32), np.array(lengths, np.int64)) == crc(DATA)


def test_no_part_and_empty_parts_have_the_crc_of_no_byte():
    nothing = np.zeros(0, np.uint32)
    assert combine_all(nothing, np.zeros(0, np.int64)) == crc(b"") == 0
    assert combine_all(np.zeros(3, np.uint32), np.zeros(3, np.int64)) == 0
    assert appended(crc(b"123456789"), 0, 0) == 0xE3069283  # the check value of CRC-32C


def test_the_result_is_a_plain_int():
    assert type(appended(1, 2, 3)) is int
    assert type(combine_all(np.ones(2, np.uint32), np.ones(2, np.int64))) is int


@pytest.mark.parametrize("power", [20, 24, 31, 32, 36, 40, 62])
def test_long_parts_equal_the_same_length_added_in_halves(power):
    half = appended(0x12345678, 0, 2 ** (power - 1))
    assert appended(half, 0, 2 ** (power - 1)) == appended(0x12345678, 0, 2**power)


def test_a_part_of_64_mib_of_zeros():
    zeros = bytes(2**26)
    assert appended(crc(DATA), crc(zeros), 2**26) == google_crc32c.extend(crc(DATA), zeros)


def test_equal_and_changing_lengths_may_alternate():
    lengths = np.array([5, 5, 0, 5, 7, 0, 0, 3, 3, 5] * 50, np.int64)
    stops = np.cumsum(lengths)
    parts = [DATA[stop - length : stop] for stop, length in zip(stops, lengths, strict=True)]
    assert combine_all(np.array([crc(part) for part in parts], np.uint32), lengths) == crc(DATA[: stops[-1]])


def test_lengths_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="lengths of at least 0"):
        appended(0, 0, -1)
    with pytest.raises(ValueError, match="2 CRCs need as many lengths"):
        combine_all(np.zeros(2, np.uint32), np.zeros(1, np.int64))
