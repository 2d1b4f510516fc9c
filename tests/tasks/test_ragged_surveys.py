"""Sorted files with traces missing: whether guessed from a few headers or scanned, every trace lies where it says.

SEISMILL_CAMPAIGN says how many surveys are drawn, SEISMILL_SEED repeats them.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index, Master
from tasks.prove import prove
from tests.support.survey import Survey, make_survey
from tests.support.volumes import threads

SURVEYS = int(os.environ.get("SEISMILL_CAMPAIGN", "12"))
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)


# Small files are looked at as if they were large: a head, a tail and a few traces between.
LARGE: dict[str, Any] = {
    "all_headers_bytes": 0,
    "sampled_traces": 4,
    "sampled_bytes": (20_000, 2_000),
    "sampled_fractions": (0.3, 0.05),
}


def outline(drawn: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Which cells have a trace: an edge cut off, a round survey, lines or single traces missing, or holes all over."""
    i, j = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    live = np.ones(shape, bool)
    match drawn.integers(6):
        case 0:
            live = i + j > drawn.random()
        case 1:
            live = (2 * i - 1) ** 2 + (2 * j - 1) ** 2 < 1.3
        case 2:
            live[drawn.integers(0, shape[0], 3)] = False
        case 3:
            live[:, drawn.integers(0, shape[1], 2)] = False
        case 4:
            live.ravel()[drawn.integers(0, live.size, int(drawn.integers(1, 6)))] = False
        case 5:
            live = drawn.random(shape) > drawn.random() / 2
    return live


def survey_of(path: Path, drawn: np.random.Generator) -> tuple[Survey, np.ndarray]:
    """A survey, and inline and crossline of each of its traces; now and then two traces have changed places."""
    shape = tuple(int(n) for n in drawn.integers(3, 40, 2))
    live = outline(drawn, shape)
    live.ravel()[:4] = True
    sorting = ("inline", "crossline")[drawn.integers(2)]
    cells = np.argwhere(live)
    if sorting == "crossline":
        cells = cells[np.lexsort((cells[:, 0], cells[:, 1]))]
    index = np.array([100, 1000]) + cells * drawn.choice([1, 2, -1, -3, 5], 2)
    if drawn.random() < 0.3:
        pair = drawn.integers(0, len(index), 2)
        index[pair] = index[pair[::-1]]
    words = {(189, "i4"): index[:, 0], (193, "i4"): index[:, 1]}
    cells_of = {"inlines": range(shape[0]), "crosslines": range(shape[1]), "live": live}
    return make_survey(path, **cells_of, sorting=sorting, n_samples=5, headers=words), index


@pytest.mark.slow
@pytest.mark.parametrize("number", range(SURVEYS))
def test_every_trace_of_a_ragged_survey_lies_where_its_header_says(tmp_path: Path, number: int) -> None:
    print(f"SEISMILL_SEED={SEED} survey {number}")
    survey, index = survey_of(tmp_path / "a.sgy", np.random.default_rng([SEED, number]))
    volume = tmp_path / "a.zarr"
    index_bytes, master = Index(bytes="189,193"), Master(chunks=[4, 8, 8])
    with threads(**LARGE) as compute:
        ingest_segy(str(survey.path), str(volume), index_bytes, master, compute=compute)
    group = zarr.open_group(volume, mode="r")
    axes = [np.unique(column) for column in index.T]
    assert [group[name][...].tolist() for name in ("inline", "crossline")] == [axis.tolist() for axis in axes]
    cells = tuple(np.searchsorted(axis, column) for axis, column in zip(axes, index.T, strict=True))
    numbers = np.full([len(axis) for axis in axes], -1)
    numbers[cells] = np.arange(len(index))
    np.testing.assert_array_equal(group["trace_number"][...], numbers)
    by_trace = survey.values[survey.numbers >= 0][np.argsort(survey.numbers[survey.numbers >= 0])]
    np.testing.assert_array_equal(group["amplitude"][...][cells], by_trace)
    prove(str(volume))
    export_segy(str(volume), str(tmp_path / "back.sgy"))
    assert (tmp_path / "back.sgy").read_bytes() == survey.content


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a corner missing", "a round survey", "files missing"])
def test_a_file_for_each_line_is_guessed_as_one(tmp_path: Path, kind: str) -> None:
    i, j = np.meshgrid(np.arange(40) / 40, np.arange(30) / 30, indexing="ij")
    live = {
        "a corner missing": i + j > 0.4,
        "a round survey": (2 * i - 1) ** 2 + (2 * j - 1) ** 2 < 1.3,
        "files missing": ~np.isin(np.arange(40), [7, 9])[:, np.newaxis] & (j >= 0),
    }[kind]
    survey = make_survey(tmp_path / "a.sgy", inlines=range(40), crosslines=range(30), live=live, n_samples=5)
    records = np.frombuffer(survey.content[3600:], np.uint8).reshape(-1, 260)
    lines = np.argwhere(live)[:, 0]
    for line in np.unique(lines):
        (tmp_path / f"line_{line}.sgy").write_bytes(survey.content[:3600] + records[lines == line].tobytes())
    volume = tmp_path / "a.zarr"
    index_bytes, master = Index(bytes="189,193"), Master(chunks=[4, 8, 8])
    with threads(**LARGE) as compute:
        ingest_segy(str(tmp_path / "line_*.sgy"), str(volume), index_bytes, master, compute=compute)
    (plan,) = volume.glob(".seismill/runs/*/plan.json")
    assert json.loads(plan.read_text())["body"]["predicted"] is True
    stored = zarr.open_array(volume / "amplitude", mode="r")[...]
    assert np.array_equal(stored, survey.values, equal_nan=True)
    prove(str(volume))
