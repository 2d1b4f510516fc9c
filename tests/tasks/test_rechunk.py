"""Copies: the master's values within a measured bound, from one read, added and replaced under the run protocol.

Covers arrays/chunking.py, arrays/codecs.py, derived/errors.py, protocol/stage.py, protocol/writer.py,
copies/add.py, copies/plan.py, copies/block.py, copies/finish.py.
"""

import math
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Master, Run
from tasks.rechunk import rechunk
from tasks.volume.arrays.reader import open_volume
from tasks.volume.blocks import Progress
from tasks.volume.copies.plan import copy_specs
from tasks.volume.copies.quality import QUALITY
from tasks.volume.limits import DEFAULT_LIMITS
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tasks.volume.store.objects import Store, traffic
from tests.support.survey import Survey, ieee_words, make_survey
from tests.support.volumes import STAMP, differences, stopping_after, threads, tree

FIXED = Run(created_on=STAMP)
PRESETS = ["fast_inline", "fast_crossline", "fast_time"]
ODD = [Copy(name="a", chunks=[4, 7, 9]), Copy(name="b", chunks=[13, 4, 6]), Copy(name="c", chunks=[8, 8, 8])]


def publish(
    tmp_path: Path, name: str = "a", *, master: Master = Master(chunks=[8, 5, 7]), **wanted: Any
) -> Survey:
    """A survey, and beside it a volume that has the master alone."""
    survey = make_survey(
        tmp_path / f"{name}.sgy",
        **({"inlines": range(23), "crosslines": range(17), "n_samples": 29} | wanted),
    )
    ingest_segy(str(survey.path), str(survey.path.with_suffix(".zarr")), master=master, run=FIXED)
    return survey


def expected(survey: Survey) -> np.ndarray:
    """What a copy holds within its tolerance: 0 for what does not live or is not finite."""
    return np.nan_to_num(survey.values, nan=0, posinf=0, neginf=0)


@pytest.mark.parametrize("quality", ["very_low", "low", "medium", "high", "very_high", "ultra"])
def test_copies_are_within_the_tolerance_of_their_quality_and_say_how_far(
    tmp_path: Path, quality: str
) -> None:
    survey = publish(tmp_path, drop=50)
    volume = survey.path.with_suffix(".zarr")
    rechunk(str(volume), Copies(quality=quality), run=FIXED)
    group = zarr.open_group(volume, mode="r", use_consolidated=True)
    values, live = expected(survey).astype(np.float64), survey.numbers >= 0
    std = group["amplitude"].attrs["std"]
    for name in PRESETS:
        copy = group[name]
        error = np.abs(copy[:].astype(np.float64) - values)
        attributes = copy.attrs
        assert attributes["tolerance"] == QUALITY[quality] * std
        assert attributes["max_abs_error"] == error[live].max() <= attributes["tolerance"]
        rmse = np.sqrt((error[live] ** 2).mean())
        assert attributes["rmse"] == pytest.approx(rmse, rel=1e-9)
        assert attributes["nrmse"] == pytest.approx(rmse / std, rel=1e-9)
        assert attributes["snr_db"] == pytest.approx(20 * math.log10(std / rmse))
        spread = group["amplitude"].attrs["max"] - group["amplitude"].attrs["min"]
        assert attributes["psnr_db"] == pytest.approx(20 * math.log10(spread / rmse))
        stored = sum(f.stat().st_size for f in (volume / name / "c").rglob("*") if f.is_file())
        assert attributes["stored_bytes"] == stored
        assert attributes["ratio"] == pytest.approx(live.sum() * 29 * 4 / stored)
        # Zeros that lie in a chunk with live traces are as exact as these.
        assert error[~live].max() <= attributes["tolerance"]
        assert attributes["copy_of"] == "amplitude"


@pytest.mark.parametrize("shards", [[], [16, 10, 35]])
def test_a_lossless_copy_equals_the_master_with_its_nan_and_inf(tmp_path: Path, shards: list[int]) -> None:
    words = ieee_words(np.random.default_rng(2), (341, 29))
    words[5, 7], words[6] = 0x7FC12345, 0xFF800000
    survey = publish(
        tmp_path, fmt="ieee", drop=50, words=words, master=Master(chunks=[8, 5, 7], shards=shards)
    )
    volume = survey.path.with_suffix(".zarr")
    summary = rechunk(str(volume), Copies(presets=[], more=ODD, quality="lossless"), run=FIXED)
    group = zarr.open_group(volume, mode="r", use_consolidated=True)
    for copy in ODD:
        assert np.array_equal(group[copy.name][:], survey.values, equal_nan=True)
        assert group[copy.name].chunks == tuple(
            min(c, -(-n // 4) * 4) for c, n in zip(copy.chunks, (23, 17, 29), strict=True)
        )
        assert group[copy.name].attrs["max_abs_error"] == 0
    assert [array["path"] for array in summary["arrays"]] == ["a", "b", "c"]


def test_nan_and_inf_become_zero_are_counted_and_leave_their_neighbours_alone(tmp_path: Path) -> None:
    words = ieee_words(np.random.default_rng(2), (391, 29))
    words[100, 3:6], words[101, 9], words[200, 28] = 0x7FC00000, 0x7F800000, 0xFF800000
    survey = publish(tmp_path, fmt="ieee", words=words)
    volume = survey.path.with_suffix(".zarr")
    rechunk(str(volume), Copies(tolerance=1e-3), run=FIXED)
    group = zarr.open_group(volume, mode="r")
    for name in PRESETS:
        error = np.abs(group[name][:] - expected(survey))
        assert error.max() <= 1e-3
        assert group[name].attrs["nonfinite_count"] == 5
        assert (group[name][:][~np.isfinite(survey.values)] <= 1e-3).all()


def test_the_master_is_read_once_whatever_the_number_of_copies(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=range(64), crosslines=range(64), n_samples=130)
    volume = survey.path.with_suffix(".zarr")
    stored = sum(f.stat().st_size for f in (volume / "amplitude" / "c").rglob("*") if f.is_file())
    reads = []
    for copies in (
        Copies(presets=["fast_inline"]),
        Copies(presets=["fast_crossline", "fast_time"], more=ODD),
    ):
        before = traffic.snapshot()
        rechunk(str(volume), copies, run=FIXED)
        reads.append(traffic.since(before).bytes_read)
    assert stored <= reads[0] < 1.2 * stored
    assert stored <= reads[1] < 1.2 * stored


def test_with_little_memory_blocks_are_cut_the_values_are_the_same_and_what_is_read_twice_is_said(
    tmp_path: Path,
) -> None:
    survey = publish(tmp_path, inlines=range(90), crosslines=range(40), n_samples=50)
    volume = survey.path.with_suffix(".zarr")
    copies = Copies(
        presets=[], more=[Copy(name="a", chunks=[9, 40, 50]), Copy(name="b", chunks=[10, 40, 52])]
    )
    with threads(2, 1_200_000) as compute:
        summary = rechunk(str(volume), copies, run=FIXED, compute=compute)
    assert "for want of memory" in summary["notes"][0]
    group = zarr.open_group(volume, mode="r")
    for name in ("a", "b"):
        assert np.abs(group[name][:] - survey.values).max() == group[name].attrs["max_abs_error"]
        assert group[name].attrs["max_abs_error"] <= group[name].attrs["tolerance"]
        # Every object is stored and measured once, though parts of it lie in two blocks that are read.
        stored = sum(f.stat().st_size for f in (volume / name / "c").rglob("*") if f.is_file())
        assert group[name].attrs["stored_bytes"] == stored
        rmse = np.sqrt(((group[name][:].astype(np.float64) - survey.values) ** 2).mean())
        assert group[name].attrs["rmse"] == pytest.approx(rmse, rel=1e-9)


def test_copies_that_memory_does_not_hold_together_are_made_one_after_the_other(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=range(90), crosslines=range(40), n_samples=50)
    volume, twin = survey.path.with_suffix(".zarr"), tmp_path / "twin.zarr"
    shutil.copytree(volume, twin)
    copies = Copies(presets=[], more=[Copy(name="a", chunks=[90, 4, 50]), Copy(name="b", chunks=[4, 40, 52])])
    rechunk(str(twin), copies, run=FIXED)
    before = tree(volume)
    note = "the master is read 2.00 times, for want of memory: a, then b"
    with threads(2, 1_100_000) as compute:
        dry = rechunk(str(volume), copies, run=Run(dry_run=True), compute=compute)
        assert (dry["notes"], len(dry["blocks"])) == ([note], 2)
        assert tree(volume) == before
        reads = traffic.snapshot()
        summary = rechunk(str(volume), copies, run=FIXED, compute=compute)
    assert summary["notes"] == [note]
    stored = sum(f.stat().st_size for f in (volume / "amplitude" / "c").rglob("*") if f.is_file())
    assert 2 * stored <= traffic.since(reads).bytes_read < 2.5 * stored
    together = tree(volume)
    for name, data in tree(twin).items():
        if not name.startswith(".seismill/"):
            # Errors are summed block by block, and there are other blocks.
            assert together[name] == data or name.endswith("zarr.json"), name
    figures = [zarr.open_group(place, mode="r")["a"].attrs for place in (volume, twin)]
    assert figures[0]["rmse"] == pytest.approx(figures[1]["rmse"])
    assert figures[0]["max_abs_error"] == figures[1]["max_abs_error"]


def test_a_run_that_makes_copies_one_after_the_other_is_gone_on_with(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=range(90), crosslines=range(40), n_samples=50)
    volume = survey.path.with_suffix(".zarr")
    copies = Copies(presets=[], more=[Copy(name="a", chunks=[90, 4, 50]), Copy(name="b", chunks=[4, 40, 52])])
    with stopping_after(2) as compute, pytest.raises(Resumable, match=r"after 2 of \d+ blocks"):
        rechunk(str(volume), copies, run=FIXED, compute=replace(compute, memory_bytes=1_100_000))
    with threads(1, 1 << 30) as compute:
        summary = rechunk(str(volume), copies, run=FIXED, compute=compute)
    assert summary["blocks_resumed"] == 2
    assert summary["blocks_done"] > 1
    group = zarr.open_group(volume, mode="r")
    for name in ("a", "b"):
        assert np.abs(group[name][:] - survey.values).max() == group[name].attrs["max_abs_error"]


def test_a_copy_that_memory_does_not_hold_alone_is_refused_with_what_would_do(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=range(90), crosslines=range(40), n_samples=50)
    volume = survey.path.with_suffix(".zarr")
    before = tree(volume)
    copies = Copies(
        presets=[], more=[Copy(name="a", chunks=[90, 40, 50]), Copy(name="b", chunks=[4, 40, 52])]
    )
    with (
        threads(2, 700_000) as compute,
        pytest.raises(InputRefused, match="chunk extents that divide") as refusal,
    ):
        rechunk(str(volume), copies, run=FIXED, compute=compute)
    assert tree(volume) == before
    enough = float(str(refusal.value).rpartition("; ")[2].partition(" MB of memory would do")[0])
    with threads(2, int(enough * 1e6)) as compute:
        rechunk(str(volume), copies, run=FIXED, compute=compute)


@pytest.mark.parametrize(
    ("copies", "helps"),
    [
        (Copies(presets=[]), "name a preset or a copy with its chunks"),
        (Copies(presets=[], more=[Copy(name="a", chunks=[4, 4])]), "but the volume has 3 dimensions"),
        (Copies(presets=[], more=[Copy(name="a", chunks=[4, 4, 0])]), "but the volume has 3 dimensions"),
        (Copies(more=[Copy(name="fast_time", chunks=[4, 4, 4])]), "cannot be named fast_time"),
        (Copies(more=[Copy(name="amplitude", chunks=[4, 4, 4])]), "cannot be named amplitude"),
        (Copies(more=[Copy(name="inline", chunks=[4, 4, 4])]), "cannot be named inline"),
        (Copies(more=[Copy(name="pyramid", chunks=[4, 4, 4])]), "cannot be named pyramid"),
        (Copies(quality="high", tolerance=0.5), "give one"),
    ],
)
def test_copies_that_contradict_each_other_or_the_volume_are_refused(
    tmp_path: Path, copies: Copies, helps: str
) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    before = tree(volume)
    with pytest.raises(InputRefused, match=helps):
        rechunk(str(volume), copies, run=FIXED)
    assert tree(volume) == before


def test_a_place_without_a_volume_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="publish one there first"):
        rechunk(str(tmp_path / "none.zarr"))
    assert not (tmp_path / "none.zarr").exists()


def test_a_dry_run_names_the_copies_and_writes_nothing(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    before = tree(volume)
    summary = rechunk(str(volume), run=Run(dry_run=True))
    assert [array["path"] for array in summary["arrays"]] == PRESETS
    assert tree(volume) == before


def test_a_constant_volume_has_copies_too(tmp_path: Path) -> None:
    survey = publish(tmp_path, fmt="ieee", words=np.full((391, 29), 2.5, np.float32).view(np.uint32))
    volume = survey.path.with_suffix(".zarr")
    rechunk(str(volume), run=FIXED)
    copy = zarr.open_array(volume / "fast_time", mode="r")
    assert np.abs(copy[:] - 2.5).max() <= copy.attrs["tolerance"]
    assert "snr_db" not in copy.attrs or math.isfinite(copy.attrs["snr_db"])


def test_a_stopped_run_goes_on_where_it_ended_while_the_master_stays_readable(tmp_path: Path) -> None:
    survey, twin = publish(tmp_path, inlines=range(61)), publish(tmp_path, "twin", inlines=range(61))
    volume = survey.path.with_suffix(".zarr")
    copies = Copies(presets=[], more=[Copy(name="a", chunks=[4, 17, 29]), Copy(name="b", chunks=[4, 8, 8])])
    whole = rechunk(str(twin.path.with_suffix(".zarr")), copies, run=FIXED)
    before = tree(volume)
    with stopping_after(1) as compute, pytest.raises(Resumable):
        rechunk(str(volume), copies, run=FIXED, compute=compute)
    assert not (volume / "a/zarr.json").exists()
    assert not (volume / "b/zarr.json").exists()
    assert {name: data for name, data in tree(volume).items() if name in before} == before
    summary = rechunk(str(volume), copies, run=FIXED)
    assert summary["blocks_resumed"] == 1
    assert summary["blocks_done"] + 1 == whole["blocks_done"]
    assert differences(tree(volume), tree(twin.path.with_suffix(".zarr"))) == ["zarr.json"], (
        "it names the source"
    )


def test_a_run_that_has_other_memory_than_the_interrupted_one_goes_on_with_its_blocks(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=range(90), crosslines=range(40), n_samples=50)
    volume = survey.path.with_suffix(".zarr")
    copies = Copies(presets=[], more=[Copy(name="a", chunks=[8, 40, 50])])
    with stopping_after(3) as compute, pytest.raises(Resumable, match=r"after 3 of \d+ blocks"):
        rechunk(str(volume), copies, run=FIXED, compute=replace(compute, memory_bytes=900_000))
    with threads(1, 5_000_000) as compute:
        summary = rechunk(str(volume), copies, run=FIXED, compute=compute)
    assert summary["blocks_resumed"] == 3
    assert summary["blocks_done"] > 1
    group = zarr.open_group(volume, mode="r")
    assert np.abs(group["a"][:] - survey.values).max() == group["a"].attrs["max_abs_error"]


def test_what_was_done_is_recognised_and_one_more_copy_leaves_the_others_alone(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    rechunk(str(volume), Copies(presets=["fast_inline"]), run=FIXED)
    stamps = {path: path.stat().st_mtime_ns for path in (volume / "fast_inline").rglob("*")}
    again = rechunk(str(volume), Copies(presets=["fast_inline"]))
    assert (again["blocks_done"], again["notes"]) == (0, ["were done already"])
    rechunk(str(volume), Copies(presets=["fast_inline", "fast_time"]), run=FIXED)
    assert stamps == {path: path.stat().st_mtime_ns for path in (volume / "fast_inline").rglob("*")}
    group = zarr.open_group(volume, mode="r", use_consolidated=True)
    assert {"amplitude", "fast_inline", "fast_time"} <= set(group.array_keys())


def test_shards_chosen_for_other_copies_do_not_make_a_copy_another(tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "a.sgy", inlines=range(61), crosslines=range(47), n_samples=129)
    url = f"memory://{uuid.uuid4().hex}"
    ingest_segy(str(survey.path), url, master=Master(chunks=[16, 16, 32]), run=FIXED)
    thin = Copy(name="thin", chunks=[4, 48, 132])
    rechunk(url, Copies(presets=[], more=[thin], quality="low"), run=FIXED)
    before = open_volume(Store(url)).spec("thin")
    assert before.shards
    more = Copies(
        presets=[],
        more=[thin, Copy(name="a", chunks=[12, 12, 12]), Copy(name="b", chunks=[64, 4, 132])],
        quality="low",
    )
    assert copy_specs(open_volume(Store(url)), more, DEFAULT_LIMITS, local=False)[0] == before
    summary = rechunk(url, more, run=FIXED)
    assert [array["path"] for array in summary["arrays"]] == ["thin", "a", "b"]
    volume = open_volume(Store(url))
    assert volume.spec("thin") == before
    for name in ("thin", "a", "b"):
        assert np.abs(volume.read(name) - survey.values).max() <= volume.array_attributes(name)["tolerance"]
    rechunk(url, more.model_copy(update={"quality": "high"}), overwrite=True, run=FIXED)
    assert open_volume(Store(url)).spec("thin").shards == before.shards


@pytest.mark.parametrize("change", ["tolerance", "chunks", "lossless"])
def test_a_copy_in_another_form_is_refused_and_replaced_only_when_told_to(
    tmp_path: Path, change: str
) -> None:
    survey, twin = publish(tmp_path), publish(tmp_path, "twin")
    volume = survey.path.with_suffix(".zarr")
    rechunk(
        str(volume), Copies(presets=["fast_time"], more=[Copy(name="other", chunks=[8, 8, 8])]), run=FIXED
    )
    before = tree(volume)
    copies = {
        "tolerance": Copies(presets=[], more=[Copy(name="other", chunks=[8, 8, 8])], quality="high"),
        "chunks": Copies(presets=[], more=[Copy(name="other", chunks=[4, 12, 8])]),
        "lossless": Copies(presets=[], more=[Copy(name="other", chunks=[8, 8, 8])], quality="lossless"),
    }[change]
    differs = {"chunks": r"chunks \(8, 8, 8\), asked for \(4, 12, 8\)"}.get(
        change, "codec ZFP with tolerance .*, asked for "
    )
    with pytest.raises(DestinationRefused, match=rf"has other \({differs}.*\); replace with --overwrite"):
        rechunk(str(volume), copies, run=FIXED)
    assert tree(volume) == before
    rechunk(str(volume), copies, overwrite=True, run=FIXED)
    fresh = twin.path.with_suffix(".zarr")
    rechunk(str(fresh), copies, run=FIXED)
    now, wanted = tree(volume), tree(fresh)
    for name in {n for n in now | wanted if n.startswith("other/")}:
        assert now.get(name) == wanted.get(name), "nothing of the old copy is left"
    assert {n: d for n, d in now.items() if n.startswith(("fast_time", "amplitude"))} == {
        n: d for n, d in before.items() if n.startswith(("fast_time", "amplitude"))
    }


def test_a_replacement_that_was_stopped_is_not_taken_for_the_copy_that_was_there(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    low, high = Copies(presets=["fast_time"]), Copies(presets=["fast_time"], quality="high")
    rechunk(str(volume), low, run=FIXED)
    before = tree(volume)
    with threads() as compute:

        def report(progress: Progress) -> None:
            if progress.stage == "copies":  # the master was read, and the copy is gone
                compute.stopping.set()

        with pytest.raises(Resumable):
            rechunk(str(volume), high, overwrite=True, run=FIXED, compute=replace(compute, report=report))
    assert not (volume / "fast_time/zarr.json").exists()
    assert "fast_time" not in zarr.open_group(volume, mode="r", use_consolidated=True)
    summary = rechunk(str(volume), low, run=FIXED)
    assert (summary["blocks_resumed"], summary["notes"]) == (0, [])
    assert differences(tree(volume), before) == []


def test_who_opened_a_copy_before_it_was_replaced_reads_the_old_values_or_the_new_ones(
    tmp_path: Path,
) -> None:
    survey = publish(tmp_path, inlines=range(61))
    volume = survey.path.with_suffix(".zarr")
    copy = [Copy(name="copy", chunks=[4, 20, 32])]
    rechunk(str(volume), Copies(presets=[], more=copy), run=FIXED)
    opened = zarr.open_array(volume / "copy", mode="r")
    old = opened[:]
    with stopping_after(1, stage="copies") as compute, pytest.raises(Resumable):
        rechunk(
            str(volume),
            Copies(presets=[], more=copy, quality="high"),
            overwrite=True,
            run=FIXED,
            compute=compute,
        )
    halfway = opened[:]
    rechunk(str(volume), Copies(presets=[], more=copy, quality="high"), run=FIXED)
    new = opened[:]
    assert np.abs(new - expected(survey)).max() < np.abs(old - expected(survey)).max()
    assert not np.array_equal(halfway, new)
    assert np.array_equal(np.where(halfway == new, new, old), halfway), "each sample is an old or a new one"


def test_a_replacement_that_memory_does_not_hold_leaves_the_copy_there(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=range(90), crosslines=range(40), n_samples=50)
    volume = survey.path.with_suffix(".zarr")
    rechunk(str(volume), Copies(presets=[], more=[Copy(name="a", chunks=[8, 8, 8])]), run=FIXED)
    before = tree(volume)
    with threads(2, 100_000) as compute, pytest.raises(InputRefused):
        rechunk(
            str(volume),
            Copies(presets=[], more=[Copy(name="a", chunks=[90, 40, 50])]),
            overwrite=True,
            run=FIXED,
            compute=compute,
        )
    assert tree(volume) == before


def test_a_master_with_a_missing_chunk_gives_no_copies(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    (volume / "amplitude/c/1/1/1").unlink()
    with pytest.raises(
        IntegrityFailure, match=r"amplitude, chunk \(1, 1, 1\), is missing though traces live there"
    ):
        rechunk(str(volume), run=FIXED)
    assert not (volume / "fast_inline/zarr.json").exists()


def test_a_master_with_a_flipped_bit_gives_no_copies(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    chunk = volume / "amplitude/c/1/1/1"
    data = bytearray(chunk.read_bytes())
    data[40] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(IntegrityFailure, match=r"amplitude, chunk \(1, 1, 1\) does not fit its checksum"):
        rechunk(str(volume), run=FIXED)
