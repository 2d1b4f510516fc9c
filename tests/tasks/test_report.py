"""A report shows what the arrays hold, changes nothing that readers see, and reads no more than it needs."""

import base64
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.demo import make_survey
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Index, Levels, Master, Run
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import copies_of, report
from tasks.volume.arrays.reader import open_volume
from tasks.volume.outcomes import InputRefused
from tasks.volume.report.slices import mask_of, sample, sides_of, slice_of
from tasks.volume.store.objects import Store
from tests import ROOT
from tests.support.gathers import write_gathers

SHAPE = (29, 23, 61)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("survey") / "survey.sgy"
    make_survey(str(path), shape=SHAPE)
    return str(path)


@pytest.fixture(scope="module")
def volume(survey: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("volume") / "survey.zarr")
    ingest_segy(survey, path, master=Master(chunks=[8, 8, 16]))
    rechunk(path, Copies(more=[Copy(name="exact", chunks=[29, 23, 8])], quality="medium"))
    pyramid(path, Levels(levels=2, until=1))
    return path


@pytest.fixture(scope="module")
def summary(volume: str) -> dict:
    return report(volume)


def keys_outside(path: str) -> dict[str, bytes]:
    root = Path(path)
    beside = (".seismill/report", ".seismill/lock", ".seismill/tmp")
    files = [f for f in root.rglob("*") if f.is_file() and not any(name in str(f) for name in beside)]
    return {str(f.relative_to(root)): f.read_bytes() for f in files}


def test_pictures_of_every_direction_lie_in_the_volume(volume, summary):
    names = ["map", "histogram", "inline", "crossline", "time"]
    assert summary["pictures"] == [f"{volume}/.seismill/report/{name}.png" for name in names]
    for place in summary["pictures"]:
        with Image.open(place) as picture:
            assert picture.format == "PNG"
            assert picture.width > 500
    page = Path(volume, ".seismill/report/report.html")
    assert (summary["page"], summary["page_link"]) == (str(page), page.as_uri())
    assert page.read_bytes().startswith(b"<!DOCTYPE html>")
    assert summary["stage"] == "report"
    assert summary["volume"] == volume


def test_thumbnails_are_small_enough_to_be_shown_inline(summary):
    assert [t["name"] for t in summary["thumbnails"]] == ["map", "histogram", "inline", "crossline", "time"]
    for thumbnail in summary["thumbnails"]:
        assert len(thumbnail["png_base64"]) < 100_000
        with Image.open(io.BytesIO(base64.b64decode(thumbnail["png_base64"]))) as picture:
            picture.verify()


def test_the_table_says_what_the_store_holds(volume, summary):
    rows = {row["path"]: row for row in summary["arrays"]}
    levels = [f"pyramid/{n}/amplitude" for n in (1, 2)]
    assert list(rows) == ["amplitude", "exact", "fast_crossline", "fast_inline", "fast_time", *levels]
    for path, row in rows.items():
        files = [f for f in Path(volume, path, "c").rglob("*") if f.is_file()]
        assert row["stored_bytes"] == sum(f.stat().st_size for f in files)
    cells = {row["array"]: row for row in summary["table"]}
    assert cells["amplitude"]["max error"] == ""
    assert cells["fast_time"]["shape"] == "29 x 23 x 61"
    assert float(cells["fast_time"]["max error"]) <= float(cells["fast_time"]["tolerance"])
    json.dumps(summary)


def test_readers_of_the_volume_see_no_change(volume):
    before = keys_outside(volume)
    report(volume)
    assert keys_outside(volume) == before


def test_a_slice_is_the_middle_of_master_and_copies_with_their_own_coordinates(volume):
    found = open_volume(Store(volume))
    copies = copies_of(found)
    captions = dict.fromkeys(["amplitude", *copies], "")
    whole = {path: found.read(path) for path in ("amplitude", *copies)}
    mask = found.read("trace_mask")
    middle = {0: 14, 1: 11, 2: 30}
    for axes, fixed in (((1, 2), 0), ((0, 2), 1), ((0, 1), 2)):
        shown = slice_of(found, axes, copies, mask=mask_of(found), sides=sides_of(found), captions=captions)
        assert shown.partial == []
        assert next(iter(shown.views)) == ("fast_inline", "fast_crossline", "fast_time")[fixed]
        for path, view in shown.views.items():
            turned = (lambda a: a.T) if fixed != 2 else (lambda a: a)
            np.testing.assert_array_equal(view.master, turned(whole["amplitude"].take(middle[fixed], fixed)))
            np.testing.assert_array_equal(view.copy, turned(whole[path].take(middle[fixed], fixed)))
            live = np.broadcast_to(mask[..., None], whole[path].shape)
            np.testing.assert_array_equal(view.live, turned(live.take(middle[fixed], fixed)))
            assert (view.upward, view.ratio is None) == (fixed == 2, fixed != 2)
    assert shown.title == "time 120 ms"
    np.testing.assert_array_equal(shown.views["fast_time"].across.values, 2040 + 2 * np.arange(23))
    np.testing.assert_array_equal(shown.views["fast_time"].down.values, 1001 + np.arange(29))


def test_a_map_has_the_proportions_of_the_ground(volume):
    found = open_volume(Store(volume))
    shown = slice_of(
        found, (0, 1), [], mask=mask_of(found), sides=sides_of(found), captions={"amplitude": ""}
    )
    assert shown.views["amplitude"].ratio == pytest.approx(23 * 25 / (29 * 18.75), rel=0.01)


def test_gathers_with_coordinates_of_their_bins_have_a_report(tmp_path):
    places = np.indices((4, 3, 5)).reshape(3, -1)
    words = {(189, "i4"): places[0], (193, "i4"): places[1], (37, "i4"): 100 * places[2]}
    words |= {
        (181, "i4"): 1000 + 25 * places[0],
        (185, "i4"): 2000 + 50 * places[1],
        (71, "i2"): 1 + 0 * places[0],
    }
    write_gathers(tmp_path / "a.sgy", {word: values + 1 for word, values in words.items()})
    ingest_segy(str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"))
    volume = open_volume(Store(str(tmp_path / "a.zarr")))
    assert (volume.spec("cdp_x").dims, volume.spec("amplitude").shape[:3]) == (
        ("inline", "crossline"),
        (4, 3, 5),
    )
    pictures = report(str(tmp_path / "a.zarr"))["pictures"]
    assert [Path(picture).stem for picture in pictures] == ["map", "histogram", "crossline", "offset", "time"]


def test_a_sample_of_a_small_volume_is_all_of_it(volume):
    found = open_volume(Store(volume))
    values, words = sample(found, "amplitude", mask_of(found))
    whole = found.read("amplitude")
    # 4 x 3 x 4 chunks of 8 x 8 x 16
    assert words == "all values"
    np.testing.assert_array_equal(np.sort(values), np.sort(whole[np.isfinite(whole)]))


def test_only_chunks_that_are_met_and_a_bounded_sample_are_read(tmp_path):
    path = str(tmp_path / "survey.zarr")
    make_survey(str(tmp_path / "survey.sgy"), shape=(40, 33, 93))
    ingest_segy(str(tmp_path / "survey.sgy"), path, master=Master(chunks=[4, 4, 8]))
    chunks = 10 * 9 * 12
    met = 9 * 12 + 10 * 12 + 10 * 9
    summary = report(path)
    # Beside them the root, mask, axes, coordinates and headers, the lock, pictures and the page.
    assert summary["requests"] <= met + 64 + 80 < chunks / 2


def test_a_copy_across_the_grain_is_shown_in_part_and_said_so(volume, monkeypatch):
    monkeypatch.setattr(
        "tasks.volume.report.slices.DETAIL_BYTES", 4 * 23 * 61 * 4 * 3
    )  # three chunks of fast_inline
    summary = report(volume)
    assert any(
        note.startswith("crossline.png shows only a detail of") and "fast_inline" in note
        for note in summary["notes"]
    )
    assert not any("inline.png shows only a detail of fast_inline" in note for note in summary["notes"])


def test_a_dry_run_writes_nothing(volume, tmp_path):
    before = sorted(Path(volume).rglob("*"))
    summary = report(volume, Run(dry_run=True))
    assert sorted(Path(volume).rglob("*")) == before
    assert summary["bytes_written"] == 0
    assert summary["dry_run"]
    assert len(summary["pictures"]) == 5


def test_no_volume_is_refused(tmp_path):
    with pytest.raises(InputRefused, match="no published volume"):
        report(str(tmp_path))


@pytest.mark.slow
def test_later_stages_and_replacing_accept_a_volume_with_a_report(survey, tmp_path):
    path = str(tmp_path / "survey.zarr")
    ingest_segy(survey, path)
    report(path)
    rechunk(path, Copies(presets=["fast_time"]))
    report(path)
    ingest_segy(survey, path, master=Master(chunks=[16, 16, 16]), overwrite=True)
    assert len(report(path)["pictures"]) == 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((1, 23, 61), ["inline"]),
        ((29, 1, 61), ["crossline"]),
        ((29, 23, 1), ["time"]),
        ((1, 1, 61), ["inline"]),
        ((1, 1, 1), ["inline"]),
    ],
)
def test_thin_volumes_have_the_pictures_that_are_not_a_line(tmp_path, shape, names):
    path = str(tmp_path / "thin.zarr")
    make_survey(str(tmp_path / "thin.sgy"), shape=shape)
    ingest_segy(str(tmp_path / "thin.sgy"), path, Index(bytes="189,193"))
    rechunk(path, Copies(quality="lossless"))
    found = [Path(place).stem for place in report(path)["pictures"]]
    assert found == ["map", "histogram", *names]


def test_the_middle_is_the_nearest_to_it_where_there_are_traces(volume):
    mask = mask_of(open_volume(Store(volume)))
    whole = np.zeros((9, 7), bool)
    whole[[2, 8], 3] = True
    assert replace(mask, whole=whole).middle(0, 9) == 2
    assert replace(mask, whole=whole).middle(1, 7) == 3
    assert replace(mask, whole=whole & False).middle(0, 9) == 4
    assert replace(mask, whole=whole).middle(2, 25) == 12


@pytest.mark.slow
def test_reports_in_many_threads_are_the_same(volume, summary):
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: report(volume), range(4)))
    for one in reports:
        assert one["thumbnails"] == summary["thumbnails"]


def test_a_report_goes_to_s3_like_anywhere(s3, survey):
    ingest_segy(survey, "s3://volumes/survey.zarr", run=Run(storage_options={"endpoint_url": s3}))
    summary = report("s3://volumes/survey.zarr", Run(storage_options={"endpoint_url": s3}))
    assert summary["pictures"][2] == "s3://volumes/survey.zarr/.seismill/report/inline.png"
    assert summary["page_link"] == f"{s3}/volumes/survey.zarr/.seismill/report/report.html"
    store = Store("s3://volumes/survey.zarr", Run(storage_options={"endpoint_url": s3}).storage_options)
    assert store.get(".seismill/report/inline.png").startswith(b"\x89PNG")


def test_a_report_needs_no_home_and_leaves_pyplot_alone(volume):
    # A temporary folder is all that a read-only container gives.
    code = (
        "import sys; from tasks.report import report; "
        f"report({volume!r}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME")}
    environment |= {"HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
