"""Coarser levels: means over what lives, of any odd size, labelled, and added under the run protocol.

Covers pyramid/plan.py, pyramid/block.py, pyramid/finish.py, pyramid/levels.py, pyramid/levels_request.py.
"""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.verify import verify
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tests.support.survey import Survey, ieee_words, make_survey
from tests.support.volumes import STAMP, differences, stopping_after, threads, tree

FIXED = Run(created_on=STAMP)


def publish(
    tmp_path: Path, name: str = "a", *, master: Master = Master(chunks=[8, 5, 7]), **wanted: Any
) -> Survey:
    """A survey, and beside it a volume that has the master alone."""
    size = {"inlines": range(100, 146, 2), "crosslines": range(17), "n_samples": 29}
    survey = make_survey(tmp_path / f"{name}.sgy", **(size | wanted))
    ingest_segy(str(survey.path), str(survey.path.with_suffix(".zarr")), master=master, run=FIXED)
    return survey


def means(values: np.ndarray, factor: tuple[int, ...]) -> np.ndarray:
    """Means over cells of `factor` samples, NaN left out, in float64 and then rounded."""
    room = [math.ceil(n / f) * f for n, f in zip(values.shape, factor, strict=True)]
    padded = np.full(room, np.nan)
    padded[tuple(slice(0, n) for n in values.shape)] = values
    cells = padded.reshape([n for m, f in zip(room, factor, strict=True) for n in (m // f, f)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cells of NaN alone
        return np.nanmean(cells, axis=(1, 3, 5)).astype(values.dtype)


@pytest.mark.parametrize("factor", [(2, 2, 2), (1, 2, 3), (2, 1, 1)])
@pytest.mark.parametrize("shards", [[], [16, 10, 35]])
def test_each_level_is_the_mean_of_what_lives_in_the_one_above(
    tmp_path: Path, factor: tuple[int, ...], shards: list[int]
) -> None:
    words = ieee_words(np.random.default_rng(4), (311, 29))
    words[7, 3], words[8], words[9, 5] = 0x7FC00000, 0x7FC00001, 0xFFC00000
    survey = publish(
        tmp_path, fmt="ieee", drop=80, words=words, master=Master(chunks=[8, 5, 7], shards=shards)
    )
    volume = survey.path.with_suffix(".zarr")
    summary = pyramid(str(volume), Levels(factor=list(factor), levels=3), run=FIXED)
    group = zarr.open_group(volume, mode="r", use_consolidated=True)
    above, live = survey.values, survey.numbers >= 0
    for number, row in enumerate(summary["arrays"], start=1):
        assert row["path"] == f"pyramid/{number}/amplitude"
        twin = means(above, factor)
        stored = group[f"pyramid/{number}/amplitude"][:]
        assert stored.shape == tuple(math.ceil(n / f) for n, f in zip(above.shape, factor, strict=True))
        assert np.array_equal(stored, twin, equal_nan=True)
        live = ~np.isnan(means(np.where(live, 1.0, np.nan)[..., np.newaxis], (*factor[:2], 1))[..., 0])
        assert np.array_equal(group[f"pyramid/{number}/trace_mask"][:], live)
        above = stored
    assert verify(str(volume), errors=True)["findings"] == []


def test_levels_lie_where_their_samples_do(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    pyramid(str(volume), Levels(levels=2), run=FIXED)
    group = zarr.open_group(volume, mode="r")
    first, second = group["pyramid/1/inline"][:], group["pyramid/2/inline"][:]
    assert first.tolist() == [101 + 4 * i for i in range(12)], "of 100 and 102 the label is 101"
    assert second.tolist() == [103 + 8 * i for i in range(6)]
    assert group["pyramid/1/time"][:].tolist() == [2 + 8 * i for i in range(15)]
    assert first.dtype == np.float64
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    assert [dataset["path"] for dataset in datasets] == [
        "amplitude",
        "pyramid/1/amplitude",
        "pyramid/2/amplitude",
    ]
    scale, translation = datasets[2]["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [8.0, 4.0, 16.0]}
    assert translation == {"type": "translation", "translation": [103.0, 1.5, 6.0]}
    assert [level["path"] for level in group.attrs["seismill"]["levels"]] == [d["path"] for d in datasets]


def test_labels_of_unequal_steps_are_the_means_of_those_that_are_averaged(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=[1, 2, 4, 9, 10])
    volume = survey.path.with_suffix(".zarr")
    pyramid(str(volume), Levels(levels=2), run=FIXED)
    group = zarr.open_group(volume, mode="r")
    assert group["pyramid/1/inline"][:].tolist() == [1.5, 6.5, 10.0]
    assert group["pyramid/2/inline"][:].tolist() == [4.0, 10.0]


def test_a_level_opens_in_xarray_with_its_labels(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    pyramid(str(volume), run=FIXED)
    level = xarray.open_zarr(str(volume), group="pyramid/1")
    picked = level["amplitude"].sel(inline=101, crossline=0.5, time=2).values
    assert picked == means(survey.values, (2, 2, 2))[0, 0, 0]


def test_levels_end_where_nothing_is_left_to_average(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=range(3), crosslines=range(2), n_samples=4, master=Master())
    volume = survey.path.with_suffix(".zarr")
    summary = pyramid(str(volume), Levels(levels=9, until=1), run=FIXED)
    assert [array["shape"] for array in summary["arrays"]] == [[2, 1, 2], [1, 1, 1]]


def test_below_a_single_chunk_there_are_levels_only_where_they_were_made_before(tmp_path: Path) -> None:
    survey = publish(tmp_path, inlines=range(20), crosslines=range(20), n_samples=20, master=Master())
    volume, before = str(survey.path.with_suffix(".zarr")), Levels(levels=3, until=1)
    summary = pyramid(volume, Levels(levels=2), run=FIXED)
    assert (summary["arrays"], "pyramid" in zarr.open_group(volume, mode="r")) == ([], False)
    assert summary["notes"] == [
        "amplitude is a single chunk, so there is no coarser level; --until says how small one may be"
    ]
    with stopping_after(1) as compute, pytest.raises(Resumable):
        pyramid(volume, before, run=FIXED, compute=compute)
    went_on = pyramid(volume, Levels(levels=3), run=FIXED)
    assert (went_on["blocks_resumed"], len(went_on["arrays"])) == (1, 3)
    for levels in (before, Levels(levels=3)):
        assert pyramid(volume, levels, run=FIXED)["notes"] == ["was done already"]
    with pytest.raises(InputRefused, match="--until 1"):
        pyramid(volume, Levels(factor=[3, 3, 3]), overwrite=True, run=FIXED)
    assert pyramid(volume, before, run=FIXED)["notes"] == ["was done already"]


@pytest.mark.parametrize("factor", [[2, 2], [1, 1, 1], [2, 0, 2], [2, 2, 2, 2]])
def test_a_factor_that_does_not_fit_is_refused(tmp_path: Path, factor: list[int]) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    before = tree(volume)
    with pytest.raises(InputRefused, match="does not coarsen a volume of 3 dimensions; give 3 whole numbers"):
        pyramid(str(volume), Levels(factor=factor), run=FIXED)
    assert tree(volume) == before


def test_a_place_without_a_volume_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="publish one there first"):
        pyramid(str(tmp_path / "none.zarr"))
    assert not (tmp_path / "none.zarr").exists()


def test_a_dry_run_names_the_levels_and_writes_nothing(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    before = tree(volume)
    summary = pyramid(str(volume), Levels(levels=2), run=Run(dry_run=True))
    assert [array["path"] for array in summary["arrays"]] == ["pyramid/1/amplitude", "pyramid/2/amplitude"]
    assert tree(volume) == before


@pytest.mark.slow
def test_a_stopped_run_goes_on_where_it_ended_and_shows_no_level_before_all_are_there(tmp_path: Path) -> None:
    size = {"inlines": range(61), "crosslines": range(37), "n_samples": 300}
    small = Master(chunks=[8, 8, 8], shards=[8, 8, 8])
    survey, twin = publish(tmp_path, master=small, **size), publish(tmp_path, "twin", master=small, **size)
    volume, fresh = survey.path.with_suffix(".zarr"), twin.path.with_suffix(".zarr")
    whole = pyramid(str(fresh), Levels(levels=3), run=FIXED)
    before = tree(volume)
    for stop in range(1, whole["blocks_done"]):
        with stopping_after(stop) as compute, pytest.raises(Resumable):
            pyramid(str(volume), Levels(levels=3), run=FIXED, compute=compute)
        assert not list(volume.glob("pyramid/**/zarr.json"))
        assert {name: data for name, data in tree(volume).items() if name in before} == before
    summary = pyramid(str(volume), Levels(levels=3), run=FIXED)
    assert (summary["blocks_resumed"], summary["blocks_done"]) == (whole["blocks_done"] - 1, 1)
    assert differences(tree(volume), tree(fresh)) == ["zarr.json"], "it names the source"


def test_what_was_done_is_recognised_and_leaves_copies_alone(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    rechunk(str(volume), Copies(presets=["fast_time"]), run=FIXED)
    pyramid(str(volume), run=FIXED)
    before = tree(volume)
    again = pyramid(str(volume))
    assert (again["blocks_done"], again["notes"]) == (0, ["was done already"])
    assert tree(volume) == before
    assert "fast_time" in zarr.open_group(volume, mode="r", use_consolidated=True)


def test_other_levels_are_refused_and_replace_those_there_only_when_told_to(tmp_path: Path) -> None:
    survey, twin = publish(tmp_path), publish(tmp_path, "twin")
    volume, fresh = survey.path.with_suffix(".zarr"), twin.path.with_suffix(".zarr")
    pyramid(str(volume), Levels(levels=3), run=FIXED)
    before = tree(volume)
    other = Levels(levels=2, factor=[3, 3, 3])
    with pytest.raises(
        DestinationRefused,
        match=r"levels \(.*asked for .*\); replace them with --overwrite",
    ):
        pyramid(str(volume), other, run=FIXED)
    assert tree(volume) == before
    pyramid(str(volume), other, overwrite=True, run=FIXED)
    pyramid(str(fresh), other, run=FIXED)
    assert differences(tree(volume), tree(fresh)) == ["zarr.json"]


def test_a_replacement_that_memory_does_not_hold_leaves_the_levels_there(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    pyramid(str(volume), Levels(levels=3), run=FIXED)
    before = tree(volume)
    little = r"needs .* but the run may use 0 MB; give it"
    with threads(2, 10_000) as compute, pytest.raises(InputRefused, match=little):
        pyramid(str(volume), Levels(levels=2), overwrite=True, run=FIXED, compute=compute)
    assert tree(volume) == before


def test_a_master_with_a_missing_chunk_gives_no_levels(tmp_path: Path) -> None:
    survey = publish(tmp_path)
    volume = survey.path.with_suffix(".zarr")
    (volume / "amplitude/c/1/1/1").unlink()
    with pytest.raises(
        IntegrityFailure, match=r"amplitude, chunk \(1, 1, 1\), is missing though traces live there"
    ):
        pyramid(str(volume), run=FIXED)
    assert not (volume / "pyramid").exists() or not list(volume.glob("pyramid/**/zarr.json"))
