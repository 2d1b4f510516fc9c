"""SEG-Y in: every value, header and coordinate of small odd cubes against their twins, and all that is refused.

Covers ingest/block.py, ingest/columns.py, ingest/intake.py, ingest/survey.py,
protocol/stage.py, protocol/summary.py, protocol/writer.py,
ingest/plan.py, ingest/finish.py, ingest/whole_arrays.py, ingest/sources.py, ingest/small_arrays.py,
ingest/master_plan.py, ingest/destination.py.
"""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index, Master, Run
from tasks.prove import prove
from tasks.volume.blocks import Progress
from tasks.volume.outcomes import DestinationRefused, InputRefused, Resumable
from tests.support.survey import TEAPOT, Survey, ibm_values, make_survey
from tests.support.volumes import STAMP, blocks_noted, differences, stopping_after, threads, tree

SMALL = Master(chunks=[4, 3, 5])  # many chunks, and short ones at every edge
FIXED = Run(created_on=STAMP)

CUBES: dict[str, dict[str, Any]] = {
    "sorted by inline": {},
    "sorted by crossline": {"sorting": "crossline"},
    "shuffled": {"sorting": "shuffled"},
    "with traces missing": {"drop": 7},
    "shuffled with traces missing": {"sorting": "shuffled", "drop": 7, "seed": 3},
    "little endian": {"order": "<"},
    "IEEE": {"fmt": "ieee"},
    "IEEE little endian": {"fmt": "ieee", "order": "<"},
    "index where X and Y belong": {"layout": TEAPOT},
    "steps": {"inlines": range(900, 927, 3), "crosslines": range(10, 30, 4)},
    "descending lines": {"inlines": range(920, 902, -2), "crosslines": range(50, 45, -1)},
    "one inline": {"inlines": [7], "crosslines": range(1, 12)},
    "one crossline": {"inlines": range(1, 12), "crosslines": [7]},
    "one sample": {"n_samples": 1},
    "an odd interval": {"interval_us": 333, "n_samples": 7},
    "a delay": {"delay_ms": 1500},
    "an extended textual header": {"extended": b"x" * 3200},
    "dead traces": {"words": np.zeros((45, 13), np.uint32)},
    "more lines than one chunk": {"inlines": range(50), "crosslines": range(70), "n_samples": 70},
}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Survey]:
    def make(**wanted: Any) -> Survey:
        return make_survey(tmp_path / "a.sgy", **wanted)

    return make


def ingest(survey: Survey, **more: Any) -> tuple[zarr.Group, dict[str, Any]]:
    """The survey as a volume beside it, opened with plain zarr, and the summary."""
    volume = survey.path.with_suffix(".zarr")
    summary = ingest_segy(str(survey.path), str(volume), **({"run": FIXED} | more))
    return zarr.open_group(volume, mode="r", use_consolidated=True), summary


@pytest.mark.parametrize(
    "master", [Master(), SMALL, Master(chunks=[4, 3, 5], shards=[8, 3, 15], codec="lz4-5")]
)
@pytest.mark.parametrize("name", CUBES)
def test_a_volume_holds_what_the_file_held(make: Callable[..., Survey], name: str, master: Master) -> None:
    survey = make(**CUBES[name])
    group, _ = ingest(survey, master=master)
    live = survey.numbers >= 0
    assert list(group["amplitude"].chunks) == master.chunks or not master.chunks
    assert list(group["amplitude"].shards or []) == master.shards
    assert np.array_equal(group["amplitude"][:], survey.values, equal_nan=True)
    assert np.array_equal(group["trace_mask"][:], live)
    assert np.array_equal(group["trace_number"][:], survey.numbers)
    assert np.array_equal(group["inline"][:], survey.inlines)
    assert np.array_equal(group["crossline"][:], survey.crosslines)
    raw = group["raw_headers"][:].view(np.uint8).reshape(*live.shape, 240)
    assert np.array_equal(raw[live], survey.headers[survey.numbers[live]])
    assert not raw[~live].any()
    prove(str(survey.path.with_suffix(".zarr")))


def test_headers_are_the_89_fields_as_numbers_and_zero_where_there_is_no_trace(
    make: Callable[..., Survey],
) -> None:
    survey = make(drop=7, headers={(1, "i4"): -np.arange(1, 39), (103, "i2"): -300, (231, "i2"): 5})
    group, _ = ingest(survey, master=SMALL)
    headers, live = group["headers"][:], survey.numbers >= 0
    assert len(headers.dtype.names) == 89
    assert headers.dtype.names[:2] == ("trace_seq_num_line", "trace_seq_num_reel")
    assert np.array_equal(headers["trace_seq_num_line"][live], -1 - survey.numbers[live])
    assert (headers["total_static_applied"][live] == -300).all()
    assert np.array_equal(headers["inline"], np.where(live, survey.inlines[:, np.newaxis], 0))
    assert (headers["source_measurement_unit"][live] == 5).all()
    assert not any(headers[name][~live].any() for name in headers.dtype.names)


@pytest.mark.parametrize(("scalar", "factor"), [(-10, 0.1), (100, 100), (0, 1), (1, 1)])
def test_coordinates_have_their_scalar_applied(
    make: Callable[..., Survey], scalar: int, factor: float
) -> None:
    survey = make(drop=5, headers={(71, "i2"): scalar})
    group, _ = ingest(survey)
    il, xl = np.meshgrid(survey.inlines, survey.crosslines, indexing="ij")
    for name, twin in {
        "cdp_x": 4_000_000 + il * 250 - xl * 3,
        "cdp_y": 61_000_000 + xl * 250 + il * 3,
    }.items():
        expected = np.where(survey.numbers >= 0, twin * 1.0 if factor >= 1 else twin / 10, np.nan)
        expected *= factor if factor > 1 else 1
        assert np.array_equal(group[name][:], expected, equal_nan=True)
        assert group["amplitude"].attrs["coordinates"] == "cdp_x cdp_y"


def test_the_sample_axis_is_in_milliseconds_and_whole_where_it_can_be(make: Callable[..., Survey]) -> None:
    group, _ = ingest(make(interval_us=2000, delay_ms=100, n_samples=5))
    assert group["time"].dtype == np.int32
    assert group["time"][:].tolist() == [100, 102, 104, 106, 108]
    assert group["time"].attrs["unitsV1"] == {"time": "ms"}


def test_an_interval_of_half_a_millisecond_gives_float_times(make: Callable[..., Survey]) -> None:
    group, _ = ingest(make(interval_us=500, n_samples=4))
    assert group["time"].dtype == np.float64
    assert group["time"][:].tolist() == [0, 0.5, 1, 1.5]


def test_a_depth_template_names_the_axis_depth(make: Callable[..., Survey]) -> None:
    group, _ = ingest(make(interval_us=5000, n_samples=4), index=Index(template="PostStack3DDepth"))
    assert group["depth"][:].tolist() == [0, 5, 10, 15]
    assert group["amplitude"].metadata.dimension_names == ("inline", "crossline", "depth")
    assert group.attrs["name"] == "PostStack3DDepth"


def test_statistics_are_those_of_the_samples_of_live_traces(make: Callable[..., Survey]) -> None:
    words = np.random.default_rng(5).standard_normal((38, 13)).astype(np.float32)
    words[3], words[4, 2], words[5, 6] = 0, np.nan, -np.inf
    survey = make(fmt="ieee", drop=7, words=words.view(np.uint32))
    group, _ = ingest(survey, master=SMALL)
    finite = words[np.isfinite(words)].astype(np.float64)
    attributes = group["amplitude"].attrs
    assert (attributes["min"], attributes["max"]) == (finite.min(), finite.max())
    assert attributes["std"] == pytest.approx(finite.std(), rel=1e-12)
    assert attributes["nonfinite_count"] == 2
    assert (attributes["live_traces"], attributes["zero_traces"]) == (38, 1)
    assert json.loads(attributes["statsV1"])["count"] == finite.size
    assert attributes["raw_bytes"] == words.nbytes


def test_the_file_headers_are_kept_as_text_as_numbers_and_as_bytes(make: Callable[..., Survey]) -> None:
    survey = make(extended=b"\xf0" * 3200)
    group, _ = ingest(survey)
    attributes = group["segy_file_header"].attrs
    assert attributes["textHeader"].startswith("C 1 SURVEY OF A TEST")
    assert attributes["binaryHeader"]["samples_per_trace"] == 13
    assert group["segy_files/0/header"][:].tobytes() == survey.content[:6800]


def test_the_volume_names_its_source_with_checksums(make: Callable[..., Survey]) -> None:
    import google_crc32c

    survey = make()
    group, _ = ingest(survey)
    (source,) = group.attrs["seismill"]["sources"]
    assert source["url"] == str(survey.path)
    assert source["bytes"] == len(survey.content)
    assert source["trace_count"] == 45
    assert source["crc32c"] == f"{google_crc32c.value(survey.content):08x}"
    assert source["crc32c_parts"] == [source["crc32c"]]


def test_index_bytes_names_and_types_can_be_given(make: Callable[..., Survey]) -> None:
    pairs = np.stack(np.meshgrid(range(3), range(4), range(1), indexing="ij"), axis=-1).reshape(-1, 3)
    survey = make(
        inlines=[1],
        crosslines=range(1, 13),
        headers={(9, "i2"): pairs[:, 0] + 5, (201, "i4"): pairs[:, 1] + 20},
    )
    group, _ = ingest(
        survey, index=Index(bytes="9,201", types=["int16", "int32"], names=["inline", "crossline"])
    )
    assert group["inline"][:].tolist() == [5, 6, 7]
    assert group["crossline"][:].tolist() == [20, 21, 22, 23]
    assert group["amplitude"].shape == (3, 4, 13)


def test_one_file_has_the_same_bytes_whatever_the_number_of_workers(make: Callable[..., Survey]) -> None:
    survey = make(inlines=range(40), crosslines=range(20), drop=70)
    trees = []
    for workers in (1, 3):
        with threads(workers) as compute:
            volume = survey.path.with_name(f"{workers}.zarr")
            ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED, compute=compute)
        trees.append(tree(volume))
    assert differences(*trees) == []


UNNORMALISED = {
    (0, 0): 0x00000001,  # a zero exponent with a fraction: 2^-280
    (0, 1): 0x42000012,  # leading zero digits
    (0, 2): 0x80000000,  # minus zero: a word that float32 gives back
    (1, 3): 0xC0012345,
    (1, 12): 0x7FFFFFFF,  # beyond float32: Inf
    (17, 5): 0xFF123456,  # -Inf
    (44, 12): 0x21000001,
    (44, 11): 0x40000000,  # a zero with an exponent
}


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("sorting", ["inline", "shuffled"])
def test_ibm_words_that_float32_does_not_give_back_are_kept_as_exceptions(
    make: Callable[..., Survey], order: str, sorting: str
) -> None:
    survey = make(
        inlines=range(60),
        crosslines=range(10),
        n_samples=13,
        set_words=UNNORMALISED,
        order=order,
        sorting=sorting,
    )
    group, summary = ingest(survey, master=SMALL)
    assert np.array_equal(group["amplitude"][:], survey.values, equal_nan=True)
    kept = group["sample_exceptions"]
    rows = list(zip(*(kept[name][:].tolist() for name in ("trace_number", "sample", "word")), strict=True))
    assert rows == sorted(rows)
    exceptions = {(trace, sample): word for trace, sample, word in rows}
    assert set(exceptions) <= set(UNNORMALISED)
    assert all(UNNORMALISED[place] == word for place, word in exceptions.items())
    lost = {p for p, w in UNNORMALISED.items() if not np.isfinite(ibm_values(np.array([w], np.uint32)))[0]}
    assert lost <= set(exceptions), "what became Inf cannot come back from it"
    assert group.attrs["seismill"]["exceptions"] == len(rows)
    assert kept["word"].dtype == np.uint32
    prove(summary["volume"])


@pytest.mark.slow
@pytest.mark.parametrize("sorting", ["inline", "shuffled"])
@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("shards", [[], [8, 6, 15]])
def test_where_more_than_one_in_a_hundred_is_an_exception_all_words_are_kept(
    make: Callable[..., Survey], sorting: str, order: str, shards: list[int]
) -> None:
    words = np.random.default_rng(8).integers(0, 1 << 32, (193, 13), np.uint32)
    survey = make(inlines=range(20), crosslines=range(10), words=words, drop=7, order=order, sorting=sorting)
    group, summary = ingest(survey, master=Master(chunks=[4, 3, 5], shards=shards))
    live = survey.numbers >= 0
    kept = group["raw_samples"]
    assert (kept.dtype, kept.shape, kept.chunks) == (np.uint32, survey.values.shape, (4, 3, 5))
    assert np.array_equal(kept[:][live], words[survey.numbers[live]])
    assert not kept[:][~live].any()
    assert np.array_equal(group["amplitude"][:], survey.values, equal_nan=True)
    assert "sample_exceptions" not in group
    assert "the file was read again and all were kept" in summary["notes"][-1]
    assert group.attrs["seismill"]["exceptions"] > 0.01 * words.size
    prove(summary["volume"])


@pytest.mark.parametrize(("many", "name"), [(26, "sample_exceptions"), (27, "raw_samples")])
def test_exactly_one_in_a_hundred_is_still_kept_one_by_one(
    make: Callable[..., Survey], many: int, name: str
) -> None:
    places = {(trace, 3): 0x7FFFFFFF for trace in range(many)}
    survey = make(inlines=range(20), crosslines=range(10), n_samples=13, set_words=places)
    group, summary = ingest(survey, master=SMALL)
    assert group.attrs["seismill"]["exceptions"] == many
    assert {"sample_exceptions", "raw_samples"} & set(group) == {name}
    prove(summary["volume"])


def test_a_run_that_stopped_while_words_were_kept_goes_on_there(make: Callable[..., Survey]) -> None:
    words = np.random.default_rng(8).integers(0, 1 << 32, (200, 13), np.uint32)
    survey = make(inlines=range(20), crosslines=range(10), words=words)
    volume, twin = survey.path.with_suffix(".zarr"), survey.path.with_name("twin.zarr")
    whole = ingest_segy(str(survey.path), str(twin), master=SMALL, run=FIXED)
    with stopping_after(whole["blocks_done"] - 2) as compute, pytest.raises(Resumable):
        ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED, compute=compute)
    summary = ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED)
    assert (summary["blocks_resumed"], summary["blocks_done"]) == (whole["blocks_done"] - 2, 2)
    assert differences(tree(volume), tree(twin)) == []


@pytest.mark.parametrize("damage", ["truncated", "appended", "duplicates", "no grid", "sparse", "not SEG-Y"])
def test_what_cannot_be_read_is_refused_in_one_sentence_and_nothing_is_written(
    make: Callable[..., Survey], damage: str
) -> None:
    headers: dict[tuple[int, str], Any] = {}
    if damage == "duplicates":
        headers = {(193, "i4"): [101, 101, *range(103, 106)] * 9}
    elif damage == "no grid":
        headers = {(189, "i4"): 0, (193, "i4"): 0}
    elif damage == "sparse":
        headers = {(189, "i4"): np.arange(2000) * 1000 % 1999 + 1, (193, "i4"): np.arange(2000) ** 2 % 99991}
    survey = make(
        headers=headers, **({"inlines": range(200), "crosslines": range(10)} if damage == "sparse" else {})
    )
    content = survey.content
    if damage == "truncated":
        survey.path.write_bytes(content[:-100])
    elif damage == "appended":
        survey.path.write_bytes(content + b"\1" * 17)
    elif damage == "not SEG-Y":
        survey.path.write_bytes(b"PK\x03\x04" + content[4:])
    index = Index(bytes="189,193") if damage == "sparse" else Index()
    with pytest.raises(InputRefused) as refusal:
        ingest(survey, index=index)
    assert refusal.value.exit_code == 3
    sentence = str(refusal.value)
    assert "\n" not in sentence
    assert ";" in sentence or "," in sentence, "what is wrong, and what to do"
    assert [path.name for path in survey.path.parent.iterdir()] == ["a.sgy"], (
        "no file at all at the destination"
    )


def test_a_dry_run_says_what_would_be_stored_and_writes_nothing(make: Callable[..., Survey]) -> None:
    survey = make()
    volume = survey.path.with_suffix(".zarr")
    summary = ingest_segy(str(survey.path), str(volume), master=SMALL, run=Run(dry_run=True))
    assert not volume.exists()
    assert tuple(summary["arrays"][0]["shape"]) == (9, 5, 13)
    assert summary["objects"] == 3 * 2 * 3
    assert summary["memory_bytes"] > 0
    assert summary["blocks"] >= 1


@pytest.mark.parametrize(
    ("master", "helps"),
    [
        (
            Master(chunks=[4, 4]),
            r"chunks \(4, 4\) do not fit a volume of inline, crossline and samples; give 3 positive numbers",
        ),
        (Master(chunks=[4, 0, 4]), "give 3 positive numbers"),
        (
            Master(chunks=[10**12, 1, 1]),
            "a chunk of 1,000,000,000,000 x 1 x 1 takes 4,000,000 MB; give chunks of at most 1,074 MB",
        ),
        (Master(chunks=[4, 4, 4], shards=[6, 4, 4]), "give multiples, one per axis"),
        (Master(chunks=[4, 4, 4], shards=[8, 8]), "give multiples, one per axis"),
    ],
)
def test_chunks_and_shards_that_do_not_fit_are_refused_before_anything_is_written(
    make: Callable[..., Survey], master: Master, helps: str
) -> None:
    survey = make()
    with pytest.raises(InputRefused, match=helps):
        ingest(survey, master=master)
    assert not survey.path.with_suffix(".zarr").exists()


def test_a_block_that_memory_does_not_hold_is_refused_with_the_chunks_that_fit(
    make: Callable[..., Survey],
) -> None:
    survey = make(inlines=range(64), crosslines=range(64), n_samples=513)
    volume = survey.path.with_suffix(".zarr")
    with threads(memory_bytes=9_000_000) as compute, pytest.raises(InputRefused) as refusal:
        ingest_segy(str(survey.path), str(volume), compute=compute)
    sentence = str(refusal.value)
    assert "9 MB" in sentence
    chunks = [int(n) for n in sentence.rpartition("chunks of (")[2].partition(")")[0].split(",")]
    with threads(memory_bytes=9_000_000) as compute:
        ingest_segy(str(survey.path), str(volume), master=Master(chunks=chunks), compute=compute)


def test_a_source_that_changes_while_it_is_read_is_refused_and_nothing_is_published(
    make: Callable[..., Survey],
) -> None:
    survey = make(inlines=range(40), crosslines=range(20))
    volume = survey.path.with_suffix(".zarr")
    with threads(1) as compute:

        def report(progress: Progress) -> None:
            if progress.done == 2:
                os.utime(survey.path)

        with pytest.raises(InputRefused, match=r"changed after the run began.*overwrite") as refusal:
            ingest_segy(str(survey.path), str(volume), master=SMALL, compute=replace(compute, report=report))
    assert refusal.value.exit_code == 3
    assert not (volume / "zarr.json").exists()
    assert not list(volume.glob("*/zarr.json"))


def test_a_source_that_changed_since_an_interrupted_run_is_read_from_its_beginning(
    make: Callable[..., Survey],
) -> None:
    survey = make(inlines=range(40), crosslines=range(20))
    volume = survey.path.with_suffix(".zarr")
    with stopping_after(2) as compute, pytest.raises(Resumable):
        ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED, compute=compute)
    other = make(inlines=range(40), crosslines=range(20), seed=9)
    group, summary = ingest(other, master=SMALL)
    assert summary["blocks_resumed"] == 0
    assert np.array_equal(group["amplitude"][:], other.values)


def test_a_stopped_run_goes_on_where_it_ended_and_ends_with_the_same_bytes(
    make: Callable[..., Survey],
) -> None:
    survey = make(inlines=range(40), crosslines=range(20), drop=30, set_words=UNNORMALISED)
    volume, twin = survey.path.with_suffix(".zarr"), survey.path.with_name("twin.zarr")
    whole = ingest_segy(str(survey.path), str(twin), master=SMALL, run=FIXED)
    with stopping_after(0) as compute, pytest.raises(Resumable, match="run the same command again") as stop:
        ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED, compute=compute)
    assert stop.value.exit_code == 75
    done, runs = blocks_noted(volume)["ingest_segy"], 0
    while True:
        runs += 1
        try:
            with stopping_after(done + 3) as compute:
                summary = ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED, compute=compute)
            break
        except Resumable:
            assert not (volume / "zarr.json").exists()
            assert not list(volume.glob("*/zarr.json"))
            done += 3
    assert runs > 2
    assert summary["blocks_resumed"] == done
    assert summary["blocks_done"] + done == whole["blocks_done"]
    assert differences(tree(volume), tree(twin)) == []


def test_a_file_whose_middle_is_not_as_its_ends_promise_is_scanned_and_resumed_without_starting_over(
    make: Callable[..., Survey],
) -> None:
    inlines, crosslines = range(40), range(20)
    numbers = np.arange(800)
    swapped = numbers.copy()
    swapped[[333, 334]] = swapped[[334, 333]]  # two traces that no probe looks at have changed places
    survey = make(
        inlines=inlines,
        crosslines=crosslines,
        headers={(189, "i4"): swapped // 20, (193, "i4"): swapped % 20},
    )
    volume, twin = survey.path.with_suffix(".zarr"), survey.path.with_name("twin.zarr")
    whole = ingest_segy(str(survey.path), str(twin), master=SMALL, run=FIXED)
    values = zarr.open_array(twin / "amplitude", mode="r")[:]
    assert np.array_equal(values.reshape(800, -1), survey.values.reshape(800, -1)[swapped])
    before = tree(twin)
    prove(str(twin))
    with stopping_after(whole["blocks_done"] - 2) as compute, pytest.raises(Resumable):
        ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED, compute=compute)
    summary = ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED)
    assert summary["blocks_done"] == 2
    assert differences(tree(volume), before) == []


@pytest.mark.parametrize("swapped", [(), (333, 334)], ids=["as guessed", "not as guessed"])
def test_a_large_near_file_with_ragged_lines_is_not_read_for_its_headers_unless_the_guess_is_wrong(
    make: Callable[..., Survey], swapped: tuple[int, ...]
) -> None:
    live = np.add.outer(np.arange(40), np.arange(20)) > 11
    cells = np.argwhere(live)
    words = cells.copy()
    words[list(swapped)] = words[list(swapped[::-1])]
    survey = make(
        inlines=range(40),
        crosslines=range(20),
        live=live,
        headers={(189, "i4"): words[:, 0], (193, "i4"): words[:, 1]},
    )
    volume = survey.path.with_suffix(".zarr")
    with threads(all_headers_bytes=0) as compute:
        ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED, compute=compute)
    (plan,) = volume.glob(".seismill/runs/*/plan.json")
    assert json.loads(plan.read_text())["body"]["predicted"] is (not swapped)
    values = np.full_like(survey.values, np.nan)
    values[tuple(words.T)] = survey.values[tuple(cells.T)]
    assert np.array_equal(zarr.open_array(volume / "amplitude", mode="r")[:], values, equal_nan=True)
    prove(str(volume))


def test_workers_of_a_run_that_lost_the_volume_stop_before_their_next_block(
    make: Callable[..., Survey],
) -> None:
    survey = make(inlines=range(40), crosslines=range(20))
    volume = survey.path.with_suffix(".zarr")
    done = []
    with threads(1) as compute:

        def report(progress: Progress) -> None:
            done.append(progress.done)
            if progress.done == 2:
                (volume / ".seismill/lock/00000002").write_text("{}")

        with pytest.raises(Resumable, match="another run took over"):
            ingest_segy(str(survey.path), str(volume), master=SMALL, compute=replace(compute, report=report))
    assert max(done) == 2
    assert not list(volume.glob("**/amplitude/zarr.json"))
    assert not (volume / "zarr.json").exists()


def test_a_run_that_other_library_versions_began_goes_on_only_if_that_is_accepted(
    make: Callable[..., Survey],
) -> None:
    survey = make(inlines=range(40), crosslines=range(20))
    volume = survey.path.with_suffix(".zarr")
    with stopping_after(2) as compute, pytest.raises(Resumable):
        ingest_segy(str(survey.path), str(volume), master=SMALL, compute=compute)
    (plan,) = volume.glob(".seismill/runs/*/plan.json")
    begun = json.loads(plan.read_text())
    begun["versions"]["numcodecs"] = "0.1"
    plan.write_text(json.dumps(begun))
    with pytest.raises(DestinationRefused, match=r"begun with numcodecs 0\.1 .*accept_versions") as refusal:
        ingest_segy(str(survey.path), str(volume), master=SMALL)
    assert refusal.value.exit_code == 4
    summary = ingest_segy(str(survey.path), str(volume), master=SMALL, run=Run(accept_versions=True))
    assert summary["blocks_resumed"] >= 2


def test_a_ledger_that_names_what_is_gone_is_not_believed(make: Callable[..., Survey]) -> None:
    survey = make(inlines=range(40), crosslines=range(20))
    volume = survey.path.with_suffix(".zarr")
    with stopping_after(4) as compute, pytest.raises(Resumable):
        ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED, compute=compute)
    (volume / "amplitude/c/0/0/0").unlink()
    with pytest.raises(Resumable, match=r"1 objects that this run stored are gone from .*amplitude/c/0/0/0"):
        ingest_segy(str(survey.path), str(volume), master=SMALL, run=FIXED)
    assert not (volume / "amplitude/zarr.json").exists()
    group, summary = ingest(survey, master=SMALL)
    assert summary["blocks_resumed"] == 0
    assert np.array_equal(group["amplitude"][:], survey.values)


def test_what_was_done_is_recognised_and_no_block_is_done_again(make: Callable[..., Survey]) -> None:
    survey = make()
    _, first = ingest(survey)
    before = tree(survey.path.with_suffix(".zarr"))
    _, again = ingest(survey, run=Run())
    assert first["blocks_done"] >= 1
    assert (again["blocks_done"], again["notes"]) == (0, ["was done already"])
    assert tree(survey.path.with_suffix(".zarr")) == before


@pytest.mark.parametrize("change", ["chunks", "source", "template"])
def test_another_plan_is_refused_and_replaces_only_when_told_to(
    make: Callable[..., Survey], change: str
) -> None:
    survey = make()
    volume = survey.path.with_suffix(".zarr")
    ingest(survey)
    before = tree(volume)
    more: dict[str, Any] = {}
    if change == "source":
        survey = make(seed=1, inlines=range(3))
    elif change == "chunks":
        more = {"master": SMALL}
    else:
        more = {"index": Index(template="PostStack3DDepth")}
    with pytest.raises(DestinationRefused, match=r"holds another volume \(of .*--overwrite") as refusal:
        ingest(survey, **more)
    assert refusal.value.exit_code == 4
    assert tree(volume) == before
    group, _ = ingest(survey, overwrite=True, **more)
    assert np.array_equal(group["amplitude"][:], survey.values)
    fresh = survey.path.with_name("fresh.zarr")
    ingest_segy(str(survey.path), str(fresh), run=FIXED, **more)
    assert differences(tree(volume), tree(fresh)) == [], "nothing of the old volume is left"


def test_images_are_replaced_by_a_survey_only_when_told_to(make: Callable[..., Survey]) -> None:
    survey = make()
    volume = survey.path.with_suffix(".zarr")
    np.save(survey.path.with_suffix(".npy"), np.zeros((3, 4, 5), np.uint8))
    ingest_images(str(survey.path.with_suffix(".npy")), str(volume))
    before = tree(volume)
    with pytest.raises(DestinationRefused, match="it holds images"):
        ingest(survey)
    assert tree(volume) == before
    group, _ = ingest(survey, overwrite=True)
    assert np.array_equal(group["amplitude"][:], survey.values)


def test_a_place_that_holds_something_else_is_refused_and_left_as_it_is(make: Callable[..., Survey]) -> None:
    survey = make()
    volume = survey.path.with_suffix(".zarr")
    volume.mkdir()
    (volume / "thesis.tex").write_text("irreplaceable")
    for overwrite in (False, True):
        with pytest.raises(DestinationRefused, match="not empty and not a volume"):
            ingest(survey, overwrite=overwrite)
        assert tree(volume) == {"thesis.tex": b"irreplaceable"}
        assert not (volume / ".seismill").exists()


def test_a_zarr_group_of_somebody_else_is_refused_also_with_overwrite(make: Callable[..., Survey]) -> None:
    survey = make()
    volume = survey.path.with_suffix(".zarr")
    zarr.create_group(volume).create_array("a", shape=(3,), dtype="f4")
    before = tree(volume)
    with pytest.raises(DestinationRefused):
        ingest(survey, overwrite=True)
    assert tree(volume) == before


def test_metadata_is_put_after_the_chunks_and_the_root_last(make: Callable[..., Survey]) -> None:
    survey = make(inlines=range(40), crosslines=range(20))
    ingest(survey, master=SMALL)
    volume = survey.path.with_suffix(".zarr")
    written = {path: path.stat().st_mtime_ns for path in volume.rglob("*") if path.is_file()}
    root = written[volume / "zarr.json"]
    for path, stamp in written.items():
        relative = path.relative_to(volume)
        if relative.parts[0] != ".seismill":
            assert stamp <= root
        if "c" in relative.parts:
            array = volume / str(relative).partition("/c/")[0]
            assert stamp <= written[array / "zarr.json"]
            manifest = volume / ".seismill/manifests" / f"{array.relative_to(volume)}.jsonl"
            assert written[array / "zarr.json"] <= written[manifest] <= root


def test_nothing_of_the_run_is_left_but_its_plan_and_its_notes(make: Callable[..., Survey]) -> None:
    survey = make(sorting="shuffled", set_words=UNNORMALISED)
    ingest(survey, master=SMALL)
    kept = survey.path.with_suffix(".zarr") / ".seismill"
    names = {path.relative_to(kept).parts[0] for path in kept.rglob("*") if path.is_file()}
    assert names == {"zarr.json", "lock", "commits", "manifests", "runs"}
    left = {path.name for path in (kept / "runs").rglob("*") if path.is_file()}
    assert left == {f"{name}{twin}" for name in ("plan.json", "grid.npz") for twin in ("", ".twin")}


def test_a_dry_run_says_that_the_destination_is_a_volume(make: Callable[..., Survey], tmp_path: Path) -> None:
    source, other, volume = str(make(drop=2).path), str(tmp_path / "other.sgy"), str(tmp_path / "v.zarr")
    make_survey(other, drop=5)
    plan = Run(dry_run=True)
    assert not [note for note in ingest_segy(source, volume, run=plan)["notes"] if volume in note]
    ingest_segy(source, volume)
    assert (
        f"{volume} was made of this source in this way, so its lossless array would be left as it is"
        in (ingest_segy(source, volume, run=plan)["notes"])
    )
    (note,) = (note for note in ingest_segy(other, volume, run=plan)["notes"] if volume in note)
    assert note.startswith(f"{volume} holds another volume (of {source}; source {other} of ")
    assert note.endswith("the run would be refused without --overwrite")
    assert not [
        note for note in ingest_segy(other, volume, overwrite=True, run=plan)["notes"] if volume in note
    ]
