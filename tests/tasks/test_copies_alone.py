"""Copies without their lossless array say so of themselves, and samples of a copy are exported with right headers.

Covers tasks/copy.py, copies/left_out.py, export/rebuild.py, export/segy_parts.py, export/rewrite.py
and export/independent.py.
"""

import json

import numpy as np
import pytest
import segyio
import xarray
import zarr

from flows import cli
from tasks.copy import copy
from tasks.export_segy import export_segy
from tasks.info import info
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Export, Levels, Master, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused
from tests.support.segy_maker import segy_bytes
from tests.support.survey import make_survey
from tests.support.volumes import STAMP

STAMPED = Run(created_on=STAMP)
QUALITY = Copies(quality="tolerance=100,fast_time=tolerance=4", lossy_codec="zfp,fast_time=rounded")


@pytest.fixture
def volume(tmp_path):
    holes = np.ones((9, 5), bool)
    holes[2:4, 3] = False
    make_survey(tmp_path / "a.sgy", n_samples=130, live=holes, fmt="ibm", sorting="shuffled")
    path = str(tmp_path / "v.zarr")
    ingest_segy(str(tmp_path / "a.sgy"), path, master=Master(chunks=[8, 8, 64]), run=STAMPED)
    rechunk(path, QUALITY, run=STAMPED)
    pyramid(path, Levels(levels=1, until=1), run=STAMPED)
    prove(path, run=STAMPED)
    report(path)
    return tmp_path / "v.zarr"


def test_a_dry_run_of_a_copy_says_what_the_target_holds(tmp_path):
    make_survey(tmp_path / "a.sgy", n_samples=13)
    volume, target = str(tmp_path / "v.zarr"), str(tmp_path / "c.zarr")
    ingest_segy(str(tmp_path / "a.sgy"), volume, run=STAMPED)

    def notes():
        return copy(volume, target, run=Run(dry_run=True))["notes"]

    assert notes() == []
    copy(volume, target)
    assert notes() == [f"{target} is this copy already, and would be left as it is"]
    rechunk(target, Copies(presets=["fast_time"]))
    assert notes() == [f"{target} holds another volume; the run would be refused without --overwrite"]


@pytest.mark.slow
def test_copies_alone_say_so_verify_and_open_everywhere(tmp_path, volume):
    target = str(tmp_path / "lossy.zarr")
    summary = copy(str(volume), target, excludes=["amplitude", "fast_crossline"], run=STAMPED)
    assert "without amplitude the copies are lossy only" in summary["notes"][0]
    group, whole = zarr.open_group(target, mode="r"), zarr.open_group(volume, mode="r")
    assert {"amplitude", "raw_samples", "sample_exceptions", "fast_crossline"}.isdisjoint(group)
    about = group.attrs["seismill"]
    assert about["left_out"]["array"] == "amplitude"
    assert "proven_at" not in about
    assert group.attrs["attributes"]["defaultVariableName"] == "fast_time"  # the more exact one
    assert group.attrs["ome"]["multiscales"][0]["datasets"][0]["path"] == "fast_time"
    assert "lossy within" in group["fast_time"].attrs["long_name"]
    for name in ("fast_time", "fast_inline", "trace_mask", "raw_headers", "pyramid/1/amplitude"):
        np.testing.assert_array_equal(group[name][...], whole[name][...])
    assert verify(target, run=STAMPED)["findings"] == []
    checked = verify(target, errors=True, run=STAMPED)
    assert (checked["findings"], "not compared with amplitude" in checked["notes"][0]) == ([], True)
    told = info(target)
    assert told["left_out"] == "amplitude"
    assert "lossless array amplitude was left out" in told["notes"][0]
    assert told["statistics"] == info(str(volume))["statistics"]
    assert {row["path"]: row["kind"] for row in told["arrays"]} == {
        "fast_time": "copy", "fast_inline": "copy", "pyramid/1/amplitude": "level",
    }  # fmt: skip
    with xarray.open_dataset(target, engine="seismill") as opened:
        np.testing.assert_array_equal(opened["fast_time"].values, whole["fast_time"][...])
    again = copy(str(volume), target, excludes=["amplitude", "fast_crossline"], run=STAMPED)
    assert again["notes"][0] == "was done already"
    assert "without amplitude the copies are lossy only" in again["notes"][1]


def test_what_needs_the_lossless_array_is_refused_with_what_works(tmp_path, volume):
    target = str(tmp_path / "lossy.zarr")
    copy(target=target, volume=str(volume), excludes=["amplitude", "pyramid"], run=STAMPED)
    before = {path: path.read_bytes() for path in (tmp_path / "lossy.zarr").rglob("*") if path.is_file()}
    for refused, sentence in (
        (
            lambda: export_segy(target, str(tmp_path / "b.sgy")),
            "export samples of a copy with --array fast_time",
        ),
        (lambda: rechunk(target, Copies(quality="high")), "make them in the volume that has it"),
        (lambda: pyramid(target), "make them in the volume that has it"),
        (lambda: prove(target), "prove the volume that it was copied from"),
    ):
        with pytest.raises(InputRefused, match=sentence):
            refused()
    after = {path: path.read_bytes() for path in (tmp_path / "lossy.zarr").rglob("*") if path.is_file()}
    assert after == before
    assert not (tmp_path / "b.sgy").exists()
    names = ["amplitude", "fast_inline", "fast_crossline", "fast_time"]
    with pytest.raises(InputRefused, match="would be left without"):
        copy(str(volume), str(tmp_path / "none.zarr"), excludes=names)
    copy(target, str(tmp_path / "third.zarr"), excludes=["fast_inline"], run=STAMPED)
    assert verify(str(tmp_path / "third.zarr"))["findings"] == []


def test_what_is_damaged_in_copies_alone_is_found_and_never_made_of_another_copy(tmp_path, volume):
    target = tmp_path / "lossy.zarr"
    copy(str(volume), str(target), excludes=["amplitude"], run=STAMPED)
    damaged = next(path for path in (target / "fast_inline" / "c").rglob("*") if path.is_file())
    labels = next(path for path in (target / "inline" / "c").rglob("*") if path.is_file())
    kept = labels.read_bytes()
    for path in (damaged, labels):
        path.write_bytes(b"spoilt" + path.read_bytes()[6:])
    spoilt = damaged.read_bytes()
    with pytest.raises(Exception, match="fast_inline"):
        verify(str(target), repair="from_master", run=STAMPED)
    assert damaged.read_bytes() == spoilt
    assert labels.read_bytes() == kept


@pytest.mark.slow
@pytest.mark.parametrize("array", ["fast_inline", "fast_time"])
@pytest.mark.parametrize("alone", [False, True])
def test_samples_of_a_copy_are_exported_with_the_headers_of_the_source(tmp_path, volume, array, alone):
    place = str(volume)
    if alone:
        place = str(tmp_path / "lossy.zarr")
        copy(str(volume), place, excludes=["amplitude"], run=STAMPED)
    summary = export_segy(place, str(tmp_path / "b.sgy"), array=array, check=True, run=STAMPED)
    assert "identical" not in summary
    assert any(f"the samples are those of {array}, not the source's" in note for note in summary["notes"])
    source, written = (tmp_path / "a.sgy").read_bytes(), (tmp_path / "b.sgy").read_bytes()
    assert (len(source), source[:3600]) == (len(written), written[:3600])
    assert source != written
    traces = np.frombuffer(source, np.uint8)[3600:].reshape(43, -1)
    copies = np.frombuffer(written, np.uint8)[3600:].reshape(43, -1)
    np.testing.assert_array_equal(traces[:, :240], copies[:, :240])
    group = zarr.open_group(place, mode="r")
    numbers = group["trace_number"][...]
    with segyio.open(tmp_path / "b.sgy", ignore_geometry=True) as file:
        samples = file.trace.raw[:]
    wanted = np.empty_like(samples)
    wanted[numbers[numbers >= 0]] = group[array][...][numbers >= 0]
    finite = np.isfinite(wanted) & (np.abs(wanted) < 1e30)
    np.testing.assert_allclose(samples[finite], wanted[finite], rtol=2.0**-20)


def test_part_of_a_copy_is_exported_in_another_format(tmp_path, volume):
    part = Export(selection=["inline=12:14"], sample_format="float32")
    export_segy(str(volume), str(tmp_path / "b.sgy"), part, array="fast_inline", check=True, run=STAMPED)
    with segyio.open(tmp_path / "b.sgy", ignore_geometry=True) as file:
        assert set(file.attributes(189)[:]) == {12, 13, 14}
        assert file.bin[segyio.BinField.Format] == 5


@pytest.mark.parametrize("code", [2, 3, 8, 10, 11, 16])
def test_samples_of_integers_are_the_nearest(tmp_path, code):
    (tmp_path / "a.sgy").write_bytes(segy_bytes(shape=(6, 7), n_samples=33, code=code))
    path = str(tmp_path / "v.zarr")
    ingest_segy(str(tmp_path / "a.sgy"), path, run=STAMPED)
    rechunk(path, Copies(presets=["fast_inline"], quality="tolerance=30"), run=STAMPED)
    export_segy(path, str(tmp_path / "b.sgy"), array="fast_inline", check=True, run=STAMPED)
    ingest_segy(str(tmp_path / "b.sgy"), str(tmp_path / "w.zarr"), run=STAMPED)
    group, again = (zarr.open_group(tmp_path / name, mode="r") for name in ("v.zarr", "w.zarr"))
    values, master = again["amplitude"][...].astype("f8"), group["amplitude"][...].astype("f8")
    limits = np.iinfo(again["amplitude"].dtype)
    wanted = np.clip(np.rint(group["fast_inline"][...].astype("f8")), limits.min, limits.max)
    np.testing.assert_array_equal(values, wanted)
    assert 0 < np.abs(values - master).max() <= 30.5


def test_a_name_that_is_no_copy_is_refused_on_the_command_line(tmp_path, volume, capsys):
    assert cli.run(["export-segy", str(volume), str(tmp_path / "b.sgy"), "--array", "fast_depth"]) == 3
    assert "has no copy fast_depth; it has fast_crossline, fast_inline, fast_time" in capsys.readouterr().err
    assert cli.run(["copy", str(volume), str(tmp_path / "c.zarr"), "--excludes", "amplitude", "--json"]) == 0
    assert "lossy only" in json.loads(capsys.readouterr().out.splitlines()[-1])["notes"][0]
