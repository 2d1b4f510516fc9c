"""Trace records read in ranges: each where it is asked for, and every byte of the file checksummed once."""

import itertools
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.volume.ingest.files import Files
from tasks.volume.ingest.records import PART_BYTES, checksums, read_records, segment_cuts, whole_checksums
from tasks.volume.outcomes import IntegrityFailure
from tasks.volume.segy.format import FileFormat, read_format
from tasks.volume.store.objects import Source
from tests.support.survey import Survey, make_survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    # Records of 2 kB: gaps of 64 KiB, which are not read over, are 31 traces.
    return make_survey(tmp_path_factory.mktemp("records") / "a.sgy", inlines=range(20), n_samples=453)


@pytest.fixture(scope="module")
def source(survey: Survey) -> Source:
    return Source(str(survey.path))


@pytest.fixture(scope="module")
def fmt(source: Source) -> FileFormat:
    return read_format(source)


@settings(deadline=None)
@given(st.sets(st.integers(0, 99)))
def test_records_are_those_of_the_file_and_checksums_are_of_what_was_asked_for(
    survey: Survey, source: Source, fmt: FileFormat, wanted: set[int]
) -> None:
    numbers = np.array(sorted(wanted), np.int64)
    records = read_records(Files.of(source), numbers)
    twin = np.frombuffer(survey.content[fmt.first_trace_offset :], np.uint8).reshape(100, -1)
    assert np.array_equal(records.data[records.rows_of(numbers)], twin[numbers])
    content = survey.content
    covered = np.zeros(len(content), int)
    for file, offset, length, crc in records.segments:
        assert file == 0
        covered[offset : offset + length] += 1
        assert crc == google_crc32c.value(content[offset : offset + length])
    own = np.zeros(len(content), int)
    for number in wanted:
        own[fmt.trace_offset(number) : fmt.trace_offset(number + 1)] = 1
    assert np.array_equal(covered, own)


def test_rows_are_found_for_cells_of_any_shape_and_left_out_where_there_is_no_trace(source: Source) -> None:
    records = read_records(Files.of(source), np.array([3, 4, 9, 77]))
    cells = np.array([[77, -1], [3, 9]])
    rows = records.rows_of(cells)
    assert rows[0, 1] == -1
    assert np.array_equal(records.numbers, [3, 4, 9, 77])
    first = np.frombuffer(records.data[rows[1, 0], :4].tobytes(), ">i4")[0]
    assert first == 4, "tracl counts from 1"


def test_short_gaps_are_read_over_and_long_ones_are_not(source: Source) -> None:
    near = read_records(Files.of(source), np.array([0, 30]))
    assert len(near.data) == 31
    far = read_records(Files.of(source), np.array([0, 50]))
    assert len(far.data) == 2


@settings(deadline=None)
@given(st.integers(0, 3 * PART_BYTES), st.integers(1, 3 * PART_BYTES))
def test_cuts_tile_a_stretch_and_cross_no_part(offset: int, length: int) -> None:
    cuts = segment_cuts(offset, length)
    assert cuts[0][0] == offset
    assert sum(n for _, n in cuts) == length
    assert all(a + n == b for (a, n), (b, _) in itertools.pairwise(cuts))
    assert all(a // PART_BYTES == (a + n - 1) // PART_BYTES and n > 0 for a, n in cuts)


def test_segments_in_any_order_give_the_checksums_of_parts_and_of_the_whole() -> None:
    content = np.random.default_rng(1).integers(0, 256, PART_BYTES + 12_345, np.uint8)
    edges = [0, 17, 4_000_000, PART_BYTES - 3, PART_BYTES + 99, content.size]
    segments = [s for a, b in itertools.pairwise(edges) for s in checksums(content[a:b], a)]
    parts, whole = whole_checksums(segments[::-1], content.size)
    assert parts == [
        google_crc32c.value(content[:PART_BYTES].tobytes()),
        google_crc32c.value(content[PART_BYTES:].tobytes()),
    ]
    assert whole == google_crc32c.value(content.tobytes())
    assert whole_checksums([], 0) == ([], 0)


@pytest.mark.parametrize(
    ("segments", "size", "helps"),
    [
        ([(0, 5, 1), (7, 3, 1)], 10, "bytes 5 to 7 of the source were read never"),
        ([(0, 5, 1), (3, 7, 1)], 10, "bytes 3 to 5 of the source were read twice"),
        ([(2, 8, 1)], 10, "bytes 0 to 2 of the source were read never"),
        ([(0, 5, 1)], 10, "has 10 bytes, of which 5 were read"),
    ],
    ids=["a gap", "an overlap", "no beginning", "no end"],
)
def test_a_byte_that_was_read_never_or_twice_is_an_error(
    segments: list[tuple[int, int, int]], size: int, helps: str
) -> None:
    with pytest.raises(IntegrityFailure, match=helps):
        whole_checksums(segments, size)


def test_a_file_that_shrank_is_an_error(tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "a.sgy")
    source = Source(str(survey.path))
    files, fmt = Files.of(source), read_format(source)
    with survey.path.open("r+b") as file:
        file.truncate(fmt.trace_offset(7))
    with pytest.raises((OSError, ValueError), match=r"changed after the run began|gave \d+ bytes"):
        read_records(files, np.arange(40))
