"""A dry run of a publication says what it would store, from parts of its source.

Covers flows/estimate.py, flows/expected_requests.py, flows/prices.py, ingest/part_to_try.py and stacks/sample.py.
"""

import gzip
import json
import logging
import threading
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from flows.chains import ALL_STEPS, PUBLISH_STAGES, publish_chain
from flows.estimate import estimated
from flows.stages import as_stage, load_verb
from flows.summary import combined
from tasks.demo import make_survey
from tasks.parameters import Copies, Image, Index, Levels, Master, Raw, Run
from tasks.volume.outcomes import InputRefused, Resumable
from tasks.volume.stacks.sample import write_parts
from tests.support.gathers import write_gathers

WITHIN = 0.2


def publish(
    folder: Path, index: Index = Index(), stopping: threading.Event | None = None, **run: Any
) -> dict[str, Any]:
    return publish_chain(
        {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES},
        source=str(folder / "a.sgy"),
        volume=str(folder / "a.zarr"),
        index=index,
        master=Master(chunks=[16, 16, 64]),
        copies=Copies(presets=["fast_inline"]),
        pyramid=Levels(levels=1),
        steps=[step for step in ALL_STEPS if step != "report"],
        run=Run(**run),
        stopping=stopping,
    )


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of SEISMILL_SCRATCH, which is not there yet."""
    monkeypatch.setenv("SEISMILL_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def notes_on_sizes(summary: dict[str, Any]) -> list[str]:
    assert "estimated_bytes" not in summary
    return [note.partition("not estimated: ")[2] for note in summary["notes"] if "not estimated" in note]


@pytest.mark.slow
def test_a_dry_run_says_what_a_publication_would_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_survey(str(tmp_path / "a.sgy"), shape=(60, 48, 120))
    scratch, prices = tmp_path / "scratch", tmp_path / "prices.json"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    prices.write_text(json.dumps({"gb_month": 20, "worker_hour": 2}))
    monkeypatch.setenv("SEISMILL_PRICES", str(prices))
    dry = publish(tmp_path, dry_run=True)
    assert not (tmp_path / "a.zarr").exists()
    assert list(scratch.iterdir()) == []
    assert dry["cost_per_month"] == pytest.approx(dry["estimated_bytes"] / 1e9 * 20)
    # So small a part may take no longer than a few traces; then there are no hours.
    assert dry.get("cost_once", 0) == pytest.approx(2 * dry.get("hours", 0))

    done = publish(tmp_path)
    expected = {row["path"]: row["stored_bytes"] for row in dry["arrays"]}
    stored = {row["path"]: row["stored_bytes"] for row in done["arrays"]}
    assert expected == {path: pytest.approx(size, rel=WITHIN) for path, size in stored.items()}
    files = [path for path in (tmp_path / "a.zarr").rglob("*") if path.is_file()]
    outside = sum(path.stat().st_size for path in files if ".seismill" not in path.parts)
    assert dry["estimated_bytes"] == pytest.approx(outside, rel=WITHIN)


def slices(folder: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Write a scan that is empty at its edges; return its voxels."""
    y, x = np.ogrid[: shape[1], : shape[2]]
    inside = np.hypot(y - shape[1] / 2, x - shape[2] / 2) < 0.45 * shape[1]
    noise = np.random.default_rng(5).integers(0, 200, shape)
    values = np.where(inside, 2000 + noise, noise % 2).astype("uint16")
    tifffile.imwrite(folder / "scan.tif", values, compression="zlib")
    return values


@pytest.mark.parametrize(("dtype", "labels"), [("uint16", False), ("bool", True)])
def test_a_dry_run_says_what_images_would_store(
    tmp_path: Path, scratch: Path, dtype: str, labels: bool
) -> None:
    values = slices(tmp_path, (40, 60, 50))
    if dtype == "bool":
        np.save(tmp_path / "scan.npy", values > 2000)
    source = str(tmp_path / ("scan.npy" if dtype == "bool" else "scan.tif"))
    ways: dict[str, Any] = {
        "master": Master(chunks=[16, 16, 16]),
        "copies": Copies(presets=["fast_z"]),
        "pyramid": Levels(levels=1),
        "steps": ["copies", "pyramid", "proof"],
        "image": Image(labels=labels, voxel_length=[2.0, 1.0, 1.0]),
    }
    chain = {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES}
    dry = publish_chain(chain, source, str(tmp_path / "a.zarr"), run=Run(dry_run=True), **ways)
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "a.zarr").exists()
    done = publish_chain(chain, source, str(tmp_path / "a.zarr"), **ways)
    expected = {row["path"]: row["stored_bytes"] for row in dry["arrays"]}
    stored = {row["path"]: row["stored_bytes"] for row in done["arrays"]}
    within = 0.35 if labels else WITHIN  # noise of one bit, in very small chunks
    assert expected == {path: pytest.approx(size, rel=within) for path, size in stored.items()}
    assert [row["shape"] for row in dry["arrays"]] == [tuple(row["shape"]) for row in done["arrays"]]


def test_a_dry_run_of_colours_says_why_nothing_is_estimated(tmp_path: Path, scratch: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((4, 8, 9, 3), "uint8"), photometric="rgb")
    chain = {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES}
    dry = publish_chain(chain, str(tmp_path / "rgb.tif"), str(tmp_path / "a.zarr"), run=Run(dry_run=True))
    assert notes_on_sizes(dry) == ["a sample can be taken only from an image without channels and times"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no", "is not a JSON file of prices"),
        ('["gb_month"]', "is not a JSON file of prices"),
        ('[{"gb_month": 20}]', "is not a JSON file of prices"),
        ('{"per_request": 1}', "prices of per_request; known are gb_month"),
    ],
)
def test_prices_that_are_not_known_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, words: str
) -> None:
    make_survey(str(tmp_path / "a.sgy"), shape=(5, 4, 20))
    (tmp_path / "prices.json").write_text(content)
    monkeypatch.setenv("SEISMILL_PRICES", str(tmp_path / "prices.json"))
    with pytest.raises(InputRefused, match=words):
        publish(tmp_path, dry_run=True)


def test_parts_of_gathers_are_read_by_the_words_that_were_found_and_logged_as_no_publication(
    tmp_path: Path, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    places = np.indices((6, 5, 4)).reshape(3, -1)
    words = {(189, "i4"): 1 + places[0], (193, "i4"): 1 + places[1], (37, "i4"): 100 * (1 + places[2])}
    write_gathers(tmp_path / "a.sgy", words)
    chain = {name: as_stage(load_verb(name)) for name in PUBLISH_STAGES}
    source, volume = str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr")
    dry = publish_chain(chain, source, volume, steps=["proof"], run=Run(dry_run=True))
    assert [row["shape"] for row in dry["arrays"]] == [(6, 5, 4, 13)]
    assert not [note for note in dry["notes"] if "not estimated" in note]
    assert dry["estimated_bytes"] > dry["arrays"][0]["stored_bytes"] > 0
    assert dry["bytes_read"] > Path(source).stat().st_size
    assert dry["requests"] > 10
    assert dry["seconds"] > 0
    assert dry["bytes_written"] == 0
    assert list(scratch.iterdir()) == []
    assert [record.getMessage() for record in caplog.records if record.name.startswith("tasks.")] == []
    done = publish_chain(chain, source, volume, steps=["proof"])
    assert dry["estimated_bytes"] > 0.5 * done["arrays"][0]["stored_bytes"]
    assert "proven" in caplog.text, "and what is published is logged"


def test_a_plan_without_an_estimate_says_why(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "flows.estimate")
    make_survey(str(tmp_path / "a.sgy"), shape=(5, 4, 20))
    some = publish(tmp_path, Index(traces="1-8"), dry_run=True)
    (only_some,) = notes_on_sizes(combined("publish", [some, some]))  # once for all lines of a source
    assert only_some.startswith("only some traces")
    unread = estimated({"arrays": [], "notes": []}, "a.sgy", Index(), Run(), {})
    assert notes_on_sizes(unread) == ["which traces make a part is known when the headers are read"]

    (tmp_path / "file").touch()
    monkeypatch.setenv("SEISMILL_SCRATCH", str(tmp_path / "file" / "scratch"))
    where = f"{tmp_path}/file/scratch: Not a directory; set SEISMILL_SCRATCH to a folder with room"
    dry = publish(tmp_path, dry_run=True)
    assert notes_on_sizes(dry) == [where]
    assert [row["path"] for row in dry["arrays"]] == ["amplitude", "fast_inline"]

    def refused(name: str) -> Any:
        raise InputRefused("189,193 hold no grid; name other index bytes")

    monkeypatch.setenv("SEISMILL_SCRATCH", str(scratch))
    monkeypatch.setattr("flows.estimate.load_verb", refused)
    why = "a part of the source could not be published by itself; the plan holds"
    assert notes_on_sizes(publish(tmp_path, dry_run=True)) == [why]
    assert "hold no grid" in caplog.text


def test_an_estimate_stops_between_stages(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_survey(str(tmp_path / "a.sgy"), shape=(5, 4, 20))
    stopping = threading.Event()
    begun = []

    def verb_of(name: str) -> Any:
        def verb(volume: str, *args: Any, run: Run, **more: Any) -> Any:
            begun.append(name)
            assert list(scratch.iterdir())
            stopping.set()
            return {"arrays": []}

        return verb

    monkeypatch.setattr("flows.estimate.load_verb", verb_of)
    with pytest.raises(Resumable, match="stopped while sizes were estimated"):
        publish(tmp_path, stopping=stopping, dry_run=True)
    assert begun == ["ingest_segy"]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(("packed", "slices"), [(False, 16), (True, 64)])
def test_the_time_of_reading_all_counts_what_was_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, slices: int
) -> None:
    voxels = np.random.default_rng(3).integers(0, 9, (96, 6, 7), "uint8")
    source = tmp_path / ("scan.raw.gz" if packed else "scan.raw")
    source.write_bytes(gzip.compress(voxels.tobytes()) if packed else voxels.tobytes())
    image = Image(raw=Raw(dtype="uint8", shape=[96, 6, 7]))
    monkeypatch.setattr("tasks.volume.stacks.sample.time.perf_counter", count(0, 32).__next__)
    files, _, seconds = write_parts(str(source), image, Run(), (8, 8, 8), tmp_path)
    # Two parts of 8 slices, the last of which ends with slice 64.
    assert seconds == 32 * 96 / slices
    parts = [np.load(file) for file in files[:2]]
    assert [part.shape for part in parts] == [(8, 6, 7), (8, 6, 7)]
    assert (parts[1] == voxels[56:64]).all()


def test_reading_a_part_stops_between_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "scan.npy", np.zeros((40, 6, 7), "uint8"))
    read, stopping = [], threading.Event()

    def read_block(*args: Any) -> np.ndarray:
        read.append(args)
        stopping.set()
        return np.zeros((1, 6, 7), "uint8")

    monkeypatch.setattr("tasks.volume.stacks.sample.read_block", read_block)
    planned = {"arrays": [{"path": "a", "shape": (40, 6, 7), "chunks": (8, 8, 8)}], "notes": []}
    with pytest.raises(Resumable, match="stopped while sizes were estimated"):
        estimated(planned, str(tmp_path / "scan.npy"), Image(), Run(), {"steps": []}, stopping)
    assert len(read) == 1
