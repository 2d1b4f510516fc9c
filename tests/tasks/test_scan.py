"""A scan says what an ingest would find, or the sentence it would refuse with, and reads headers only.

Covers segy/not_segy.py, ingest/prediction.py, ingest/survey.py.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from flows.terminal import show
from tasks.demo import make_survey
from tasks.parameters import Index, StorageOptions
from tasks.scan import scan
from tasks.volume.ingest.files import Files
from tasks.volume.ingest.survey import survey_files
from tasks.volume.limits import Limits
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Source
from tests.support.gathers import write_gathers

SHAPE = (9, 15, 13)
TRACE = 240 + 4 * SHAPE[2]


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    path = tmp_path / "survey.sgy"
    make_survey(str(path), shape=SHAPE)
    return path


def change(path: Path, **words: np.ndarray | int) -> None:
    """Set int32 header words, named b<first byte>, in every trace of a file."""
    content = np.fromfile(path, np.uint8)
    traces = content[3600:].reshape(-1, TRACE)
    for name, values in words.items():
        byte = int(name[1:])
        column = np.broadcast_to(np.asarray(values), len(traces)).astype(">i4")
        traces[:, byte - 1 : byte + 3] = column.view(np.uint8).reshape(-1, 4)
    content.tofile(path)


def words(path: Path, byte: int) -> np.ndarray:
    traces = np.fromfile(path, np.uint8, offset=3600).reshape(-1, TRACE)
    return np.ascontiguousarray(traces[:, byte - 1 : byte + 3]).view(">i4")[:, 0].astype(int)


def test_a_plain_file_is_described(survey):
    found = scan(str(survey))
    traces = (survey.stat().st_size - 3600) // TRACE
    assert found["source"] == str(survey)
    assert found["source_bytes"] == survey.stat().st_size
    assert found["traces"] == traces
    assert found["format"] == {
        "revision": "1.0",
        "sample_format": 1,
        "samples_are": "4-byte IBM floating-point",
        "byte_order": "big endian",
        "byte_order_reason": found["format"]["byte_order_reason"],
        "samples_per_trace": 13,
        "sample_interval_us": 4000.0,
        "extended_textual_headers": 0,
        "first_trace_offset": 3600,
        "trace_bytes": TRACE,
    }
    assert "3225" in found["format"]["byte_order_reason"]
    lines = found["textual_header"].split("\n")
    assert len(lines) == 40
    assert {len(line) for line in lines} == {80}
    assert lines[0].startswith("C 1 SEISMILL")
    assert found["index"] == {
        "bytes": [189, 193],
        "types": ["int32", "int32"],
        "names": ["inline", "crossline"],
        "coordinate_bytes": [181, 185],
        "template": "PostStack3DTime",
        "domain": "time",
        "delay_ms": 0,
    }
    assert found["grid"]["shape"] == [9, 15]
    assert found["grid"]["axes"] == [
        {"name": "inline", "first": 1001, "last": 1009, "step": 1, "count": 9},
        {"name": "crossline", "first": 2040, "last": 2068, "step": 2, "count": 15},
    ]
    assert found["grid"]["density"] == pytest.approx(traces / 135)
    assert found["error"] == ""
    json.dumps(found)


def test_candidates_have_extents_density_and_what_speaks_against_them(survey):
    first, second, *_ = scan(str(survey))["candidates"]
    assert first["bytes"] == [189, 193]
    assert (first["firsts"], first["lasts"]) == ([1001, 2040], [1009, 2068])
    assert (first["steps"], first["counts"]) == ([1, 2], [9, 15])
    assert first["objection"] == ""
    assert first["option"] == "--index-bytes 189,193"
    assert second["bytes"] == [181, 185]
    assert second["objection"]


def test_header_words_that_vary_are_listed_with_extents_steps_density_and_order(survey):
    change(
        survey,
        b9=-np.arange(len(words(survey, 189))) // 4 * 6,
        b17=np.arange(len(words(survey, 189))) % 2 * 9,
    )
    found = {word["byte"]: word for word in scan(str(survey))["words"]}
    assert list(found) == sorted(found)
    assert 71 not in found, "the same in all traces"
    inline, crossline, x = found[189], found[193], found[181]
    assert (inline["name"], inline["type"], inline["first"], inline["last"]) == (
        "inline",
        "int32",
        1001,
        1009,
    )
    assert (inline["step"], inline["count"], inline["density"], inline["order"]) == (1, 9, 1, "rises")
    assert (crossline["first"], crossline["last"], crossline["step"], crossline["order"]) == (
        2040,
        2068,
        2,
        "",
    )
    assert inline["changes"] < 0.1
    assert crossline["changes"] > 0.99
    assert x["density"] < 0.1
    assert (found[9]["step"], found[9]["order"], found[9]["density"]) == (6, "falls", 1)
    assert (found[17]["step"], found[17]["count"], found[17]["order"]) == (9, 2, "")


def test_the_index_found_is_the_one_an_ingest_takes(survey):
    inline, crossline = words(survey, 189), words(survey, 193)
    x, y = words(survey, 181), words(survey, 185)
    change(survey, b181=inline, b185=crossline, b189=x, b193=y)
    found = scan(str(survey))
    taken = survey_files(Files.of(Source(str(survey))), Index(), near=True)
    assert found["index"]["bytes"] == list(taken.index_bytes) == [181, 185]
    assert found["index"]["coordinate_bytes"] == list(taken.coordinate_bytes) == [189, 193]
    assert any("are not the index" in note for note in found["notes"])


def test_a_file_with_an_index_in_doubt_is_described_with_the_candidates(survey):
    i, j = words(survey, 189) - 1001, (words(survey, 193) - 2040) // 2
    change(survey, b9=i // 3, b21=3 * j + i % 3, b181=i, b185=j, b189=0, b193=0)
    found = scan(str(survey))
    assert "several header fields could be inline and crossline" in found["error"]
    assert found["index"] == {}
    assert found["grid"] == {}
    assert found["traces"] == len(i)
    usable = [candidate["bytes"] for candidate in found["candidates"] if not candidate["objection"]]
    assert [181, 185] in usable
    assert len(usable) >= 2
    for candidate in found["candidates"]:
        if not candidate["objection"]:
            assert candidate["option"].startswith("--index-bytes")
    json.dumps(found)


def test_a_file_without_any_grid_is_described_with_the_sentence(survey):
    change(survey, b5=0, b9=0, b17=0, b21=0, b181=0, b185=0, b189=0, b193=0)
    found = scan(str(survey))
    assert "no header fields hold a grid" in found["error"]
    assert found["candidates"][0]["bytes"] == [189, 193]
    assert "constant" in found["candidates"][0]["objection"]


def test_duplicates_are_told_although_the_index_is_clear(survey):
    crossline = words(survey, 193)
    crossline[1] = crossline[0]
    change(survey, b193=crossline, b5=0, b9=0, b21=0)  # and no other words hold the grid
    found = scan(str(survey))
    assert "of an earlier" in found["error"]
    assert found["candidates"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: b"", "empty"),
        (lambda data: b"PK\x03\x04" + data, "zip"),
        (lambda data: data[:3224] + b"\x00\x0d" + data[3226:], "sample format 13"),
    ],
)
def test_what_is_not_readable_seg_y_is_refused(survey, spoil, sentence):
    survey.write_bytes(spoil(survey.read_bytes()))
    with pytest.raises(InputRefused, match=sentence):
        scan(str(survey))


@pytest.mark.parametrize(
    ("words", "template", "places"),
    [
        ({(21, "i4"): 101 + np.arange(60)}, "PostStack2DTime", [21]),
        (
            {
                (17, "i4"): 5 + np.arange(60) // 12,
                (13, "i4"): 1 + np.arange(60) % 12,
                (37, "i4"): np.arange(60) % 12,
            },
            "StreamerShotGathers2D",
            [17, 13],
        ),
        (
            {
                (189, "i4"): np.arange(60) // 12,
                (193, "i4"): np.arange(60) // 3 % 4,
                (37, "i4"): np.arange(60) % 3,
            },
            "CdpOffsetGathers3DTime",
            [189, 193, 37],
        ),
    ],
)
def test_the_kind_of_survey_is_told_by_its_template(tmp_path, words, template, places):
    write_gathers(tmp_path / "a.sgy", words)
    found = scan(str(tmp_path / "a.sgy"))
    assert (found["index"]["template"], found["index"]["bytes"]) == (template, places)
    assert found["grid"]["density"] == 1
    chosen = next(candidate for candidate in found["candidates"] if not candidate["objection"])
    assert (chosen["template"], chosen["names"]) == (template, found["index"]["names"])
    assert f"--template {template}" in chosen["option"]


def test_with_options_of_the_index_it_says_what_an_ingest_with_these_would_find(survey):
    found = scan(str(survey), Index(bytes="193,189", names=["crossline", "inline"]))
    assert (found["index"]["bytes"], found["index"]["names"]) == ([193, 189], ["crossline", "inline"])
    assert found["grid"]["shape"] == scan(str(survey))["grid"]["shape"][::-1]
    refused = scan(str(survey), Index(bytes="41,45", names=["inline", "crossline"]))
    assert (refused["index"], refused["grid"]) == ({}, {})
    assert "are the same in all" in refused["error"]


def test_no_file_is_refused(tmp_path):
    with pytest.raises(InputRefused, match="no file"):
        scan(str(tmp_path / "absent.sgy"))


@pytest.mark.parametrize(("said", "reason"), [(5, "normalised as IBM floats are"), (2, "absurd")])
def test_a_sample_format_that_samples_contradict_is_proposed_with_a_warning(tmp_path, said, reason):
    path = tmp_path / "marked.sgy"
    make_survey(str(path), shape=(9, 15, 201))
    assert scan(str(path))["proposal"] == {}
    content = bytearray(path.read_bytes())
    content[3224:3226] = said.to_bytes(2, "big")
    path.write_bytes(content)
    found = scan(str(path))
    assert found["format"]["sample_format"] == said
    proposal = found["proposal"]
    assert proposal["sample_format"] == 1
    assert proposal["samples_are"] == "4-byte IBM floating-point"
    assert proposal["byte_order"] == "big endian"
    assert reason in proposal["reason"]
    assert any("look like 4-byte IBM floating-point in big endian" in note for note in found["notes"])
    assert set(found["notes"]) == set(survey_files(Files.of(Source(str(path))), Index(), near=True).notes)


def test_samples_in_the_other_byte_order_than_headers_are_told(tmp_path):
    path = tmp_path / "swapped.sgy"
    make_survey(str(path), shape=(9, 15, 201))
    traces = np.fromfile(path, np.uint8, offset=3600).reshape(-1, 240 + 4 * 201)
    traces[:, 240:] = traces[:, 240:].reshape(len(traces), -1, 4)[:, :, ::-1].reshape(len(traces), -1)
    path.write_bytes(path.read_bytes()[:3600] + traces.tobytes())
    proposal = scan(str(path))["proposal"]
    assert (proposal["sample_format"], proposal["byte_order"]) == (1, "little endian")


def lines_of(survey: Path, folder: Path) -> list[Path]:
    """The survey as one file an inline."""
    folder.mkdir()
    content, inlines = survey.read_bytes(), words(survey, 189)
    paths = []
    for inline in np.unique(inlines).tolist():
        paths.append(folder / f"line_{inline - 1000}.sgy")
        mine = [content[3600 + t * TRACE :][:TRACE] for t in np.flatnonzero(inlines == inline)]
        paths[-1].write_bytes(content[:3600] + b"".join(mine))
    return paths


def test_many_files_are_scanned_as_one_survey(survey, tmp_path):
    paths = lines_of(survey, tmp_path / "lines")
    whole = scan(str(survey))
    pattern = str(tmp_path / "lines" / "line_*.sgy")
    for source in (pattern, ",".join(map(str, paths))):
        found = scan(source)
        assert found["source"] == source
        assert [file["url"] for file in found["files"]] == list(map(str, paths))
        assert sum(file["traces"] for file in found["files"]) == found["traces"] == whole["traces"]
        assert found["source_bytes"] == sum(path.stat().st_size for path in paths)
        for same in ("index", "grid", "candidates", "error", "textual_header"):
            assert found[same] == whole[same]
        json.dumps(found)
    assert whole["files"] == []


def test_files_that_do_not_belong_together_are_refused_by_name(survey, tmp_path):
    paths = lines_of(survey, tmp_path / "lines")
    content = bytearray(paths[3].read_bytes())
    content[3224:3226] = (5).to_bytes(2, "big")
    paths[3].write_bytes(content)
    with pytest.raises(
        InputRefused, match=r"line_4\.sgy differs from .*line_1\.sgy: sample format 5 and not 1"
    ):
        scan(str(tmp_path / "lines" / "*.sgy"))
    with pytest.raises(InputRefused, match="no file matches"):
        scan(str(tmp_path / "lines" / "*.segy"))


def test_candidates_are_shown_with_their_options(survey):
    screen = io.StringIO()
    show(scan(str(survey)), Console(file=screen, width=100))
    shown = screen.getvalue()
    assert "189,193 inline 1001 to 1009 (9)" in shown
    assert "crossline 2040 to 2068 by 2 (15)" in shown
    assert "--index-bytes 189,193" in shown
    assert "no: the values look like" in shown
    assert any(
        line.split() == ["189", "1001", "1009", "1", "9", "7%", "rises", "inline"]
        for line in shown.splitlines()
    )


def test_of_a_far_file_little_is_read(tmp_path):
    path = tmp_path / "large.sgy"
    make_survey(str(path), shape=(60, 50, 501))
    near = scan(str(path))
    far = scan(str(path), limits=Limits(scanned_bytes=0))
    assert far["bytes_read"] < 0.2 * path.stat().st_size
    # A corner is missing: the ends of 60 lines are looked at.
    assert far["requests"] <= 40 + 4 * 60
    assert far["index"] == near["index"]
    assert far["grid"] == near["grid"]
    assert near["grid"]["shape"] == [60, 50]


def test_the_grid_of_a_far_file_in_no_order_is_left_open(tmp_path):
    path = tmp_path / "shuffled.sgy"
    make_survey(str(path), shape=(60, 50, 501))
    traces = np.fromfile(path, np.uint8, offset=3600).reshape(-1, 240 + 4 * 501)
    shuffled = np.random.default_rng(1).permutation(traces)
    path.write_bytes(path.read_bytes()[:3600] + shuffled.tobytes())
    assert scan(str(path))["grid"]["shape"] == [60, 50]
    far = scan(str(path), limits=Limits(scanned_bytes=0))
    assert far["grid"] == {}
    assert far["requests"] <= 40
    assert any("known when all are read" in note for note in far["notes"])


def test_a_file_on_s3_is_scanned_by_ranges(s3, survey):
    import fsspec

    bucket = fsspec.filesystem("s3", endpoint_url=s3, use_listings_cache=False)
    bucket.pipe_file("staging/survey.sgy", survey.read_bytes())
    found = scan("s3://staging/survey.sgy", storage_options=StorageOptions(endpoint_url=s3))
    assert found["index"]["bytes"] == [189, 193]
    assert found["source"] == "s3://staging/survey.sgy"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("seisplot/data/F3_very_small.sgy", [11, 11]),
        ("segysak", [23, 18]),
        ("seg-tutorials-2014", [601, 1]),
        ("xtgeo-testdata", [75, 71]),
    ],
)
def test_real_files_have_the_grid_that_is_known_of_them(shared, name, shape):
    place = shared / "data" / name
    files = [place] if place.is_file() else sorted([*place.rglob("*.sgy"), *place.rglob("*.segy")])
    assert scan(str(files[0]))["grid"]["shape"] == shape
