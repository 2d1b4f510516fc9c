"""A sweep publishes what is new once, whatever is wrong with some files and wherever it is killed.

Covers flows/publishers.py, sweeps/catalogue.py, sweeps/policy.py, sweeps/receipt.py, sweeps/sidecar.py,
sweeps/staging.py.
"""

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from flows.publishers import InThisProcess, direct_sweep, publish_here
from flows.summary import headline
from tasks.demo import make_survey
from tasks.parameters import Copies, Index, Publication, Run
from tasks.sweep import Ending, Submission, sweep
from tasks.volume.outcomes import InputRefused, Resumable
from tasks.volume.store.writable import WritableStore
from tasks.volume.sweeps.catalogue import Catalogue, CatalogueEntry, as_csv, safe_to_release
from tasks.volume.sweeps.keys import File
from tasks.volume.sweeps.policy import action_for, plan_of
from tasks.volume.sweeps.receipt import receipt
from tasks.volume.sweeps.sidecar import read_sidecar
from tasks.volume.sweeps.staging import StagedSource, look_under, size_class, volume_name, without_collisions
from tests.support.command import SEISMILL

FILES = int(os.environ.get("SEISMILL_FILES", "120"))  # 500 for a campaign
QUICK = Publication(steps=["proof"])
LONG_AGO = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SEG-Y that can be published."""
    path = tmp_path_factory.mktemp("survey") / "survey.sgy"
    make_survey(str(path), shape=(9, 7, 33))
    return path


@pytest.fixture
def staging(tmp_path: Path, survey: Path) -> Path:
    """A prefix with two good files, one deep, and one that is none."""
    folder = tmp_path / "staging"
    (folder / "north" / "block-1").mkdir(parents=True)
    shutil.copy(survey, folder / "a.sgy")
    shutil.copy(survey, folder / "north" / "block-1" / "b.SEGY")
    (folder / "bad.sgy").write_bytes(b"<html>" * 1000)
    (folder / "readme.txt").write_text("not a source")
    return folder


def swept(staging: Path, **parameters: Any) -> dict[str, Any]:
    """A sweep without Prefect, of what is there now."""
    given = {"settle_minutes": 0, "publication": QUICK} | parameters
    return direct_sweep(staging=str(staging), volumes=str(staging.parent / "volumes"), **given)


def table(staging: Path) -> dict[str, dict[str, str]]:
    """The exported catalogue, by source."""
    text = (staging.parent / "volumes" / ".seismill" / "catalogue.csv").read_text()
    return {row["name"]: row for row in csv.DictReader(io.StringIO(text))}


def history(staging: Path, name: str) -> list[str]:
    """The states that a source went through."""
    folder = staging.parent / "volumes" / ".seismill" / "catalogue" / name
    return [json.loads(file.read_text())["state"] for file in sorted(folder.iterdir())]


# Where a source goes


@pytest.mark.parametrize(
    ("name", "volume"),
    [("b.sgy", "b.zarr"), ("a/b.segy", "a/b.zarr"), ("a/b.v2.SGY", "a/b.v2.zarr")],
)
def test_a_source_goes_to_the_same_place_below_the_volumes(name, volume):
    assert volume_name(name) == volume


def found(name: str, **facts: Any) -> StagedSource:
    volume = f"s3://volumes/{volume_name(name)}"
    return StagedSource(name, f"s3://staging/{name}", 10, "etag", volume, **facts)


def test_two_sources_for_one_volume_are_both_refused_and_name_each_other():
    first, other, third = without_collisions([found("a/b.sgy"), found("a/b.segy"), found("a/c.sgy")])
    assert (
        first.sentence == "a/b.sgy and a/b.segy would both become s3://volumes/a/b.zarr; rename all but one"
    )
    assert (
        other.sentence == "a/b.segy and a/b.sgy would both become s3://volumes/a/b.zarr; rename all but one"
    )
    assert third.sentence == ""


def test_a_volume_inside_of_another_one_is_refused():
    _, inner = without_collisions([found("a.sgy"), found("a.zarr/b.sgy")])
    assert inner.sentence.startswith("s3://volumes/a.zarr/b.zarr would lie inside of the volume")


@pytest.mark.parametrize(
    ("size", "name"), [(0, "s"), (2 * 10**9, "s"), (2 * 10**9 + 1, "m"), (10**11, "m"), (10**11 + 1, "l")]
)
def test_the_size_class_is_chosen_from_the_bytes(size, name):
    assert size_class(size) == name


@pytest.mark.parametrize(("staging", "volumes"), [("x", "x"), ("x", "x/volumes"), ("x/staging", "x")])
def test_prefixes_that_lie_in_each_other_are_refused(tmp_path, staging, volumes):
    with pytest.raises(InputRefused, match="lies in the other"):
        swept_at(tmp_path / staging, tmp_path / volumes)


def swept_at(staging: Path, volumes: Path) -> dict[str, Any]:
    return direct_sweep(staging=str(staging), volumes=str(volumes), settle_minutes=0)


def test_a_staging_prefix_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputRefused, match=r"there is nothing under .*missing; check the prefix"):
        swept_at(tmp_path / "missing", tmp_path / "volumes")


def test_a_prefix_in_a_store_is_listed_with_sizes_and_identities(s3, survey):
    store = WritableStore("s3://staging/2026")
    store.put("a.sgy", survey.read_bytes())
    store.put("deep/er/b.sgy", b"12345")
    store.put("deep/er/at@home.sgy", b"12345")
    listed = look_under(store, WritableStore("s3://volumes/2026"), QUICK)[1]
    assert [(source.name, source.bytes, source.volume) for source in listed] == [
        ("a.sgy", survey.stat().st_size, "s3://volumes/2026/a.zarr"),
        ("deep/er/at@home.sgy", 5, "s3://volumes/2026/deep/er/at%40home.zarr"),
        ("deep/er/b.sgy", 5, "s3://volumes/2026/deep/er/b.zarr"),
    ]
    assert len({source.identity for source in listed}) == 2
    assert [source.sentence for source in listed] == ["", "", ""]
    assert listed[1].source == "s3://staging/2026/deep/er/at%40home.sgy"


# Sidecars


def test_a_sidecar_counts_more_than_the_sweep_and_only_in_what_it_says(staging):
    sidecar = staging / "a.seismill.yaml"
    sidecar.write_text("index: {bytes: '9,13'}\nattributes: {survey: North, epsg: 23031}\ncrc32c: 0a1b2c3d\n")
    asked = Publication(
        index=Index(template="PostStack3DDepth"), copies=Copies(quality="high"), steps=["proof"]
    )
    listed = look_under(WritableStore(str(staging)), WritableStore(str(staging.parent / "volumes")), asked)[1]
    with_sidecar = next(source for source in listed if source.name == "a.sgy")
    index = Index(bytes="9,13", template="PostStack3DDepth", checksums=["0a1b2c3d"])
    assert with_sidecar.publication == asked.model_copy(update={"index": index})
    assert with_sidecar.attributes == {"survey": "North", "epsg": 23031}
    assert all(source.publication == asked for source in listed if source is not with_sidecar)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("source: s3://elsewhere/x.sgy", "source holds a URL"),
        ("attributes: {note: 's3://elsewhere/x'}", "note holds a URL"),
        ("attributes: {aws_secret_access_key: x}", "looks like a credential"),
        ("steps: []", "steps"),
        ("volume: elsewhere", "volume"),
        ("attributes: {survey: [1, 2]}", "attributes.survey"),
        ("crc32c: zzz", "crc32c"),
        ("md5: 0a1b2c3d", "md5"),
        ("- a list", "wanted keys such as index and attributes"),
        ("a: [", "it is not YAML"),
        ("x: " + 70_000 * "y", "it has 70003 bytes, wanted at most 65536"),
    ],
)
def test_a_sidecar_that_says_anything_else_is_refused_with_a_reason(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_sidecar(text.encode())


def test_a_source_with_a_wrong_sidecar_is_quarantined_until_that_is_corrected(staging):
    sidecar = staging / "a.seismill.yaml"
    sidecar.write_text("index: {bites: '9,13'}\n")
    (row,) = [row for row in swept(staging)["attention"] if row["source"] == "a.sgy"]
    assert row["sentence"].startswith("the sidecar a.seismill.yaml cannot be used: index.bites: ")
    sidecar.write_text("attributes: {survey: North}\n")
    assert swept(staging)["counts"] == {"published": 1, "unchanged": 1, "quarantined": 1}
    root = json.loads((staging.parent / "volumes" / "a.zarr" / "zarr.json").read_text())
    assert root["attributes"]["seismill"]["attributes"] == {"survey": "North"}


def test_a_checksum_that_the_sidecar_expects_is_held_against_the_one_read(staging):
    expected = {}
    for name in ("a", "north/block-1/b"):
        (staging / f"{name}.seismill.yaml").write_text("crc32c: '00000001'\n")
    summary = swept(staging)
    assert summary["counts"] == {"quarantined": 3}
    for row in summary["attention"]:
        if row["source"] != "bad.sgy":
            assert "but 00000001 was expected; copy the file again" in row["sentence"]
            expected[row["source"]] = row["sentence"].split("CRC32C ")[1][:8]
    (staging / "a.seismill.yaml").write_text(f"crc32c: {expected['a.sgy']!r}\n")
    assert not list(staging.parent.glob("volumes/**/zarr.json"))
    assert swept(staging)["counts"] == {"published": 1, "quarantined": 2}
    assert table(staging)["a.sgy"]["safe_to_release"] == "yes"
    assert table(staging)["north/block-1/b.SEGY"]["safe_to_release"] == "no"


def test_an_md5_beside_a_file_is_held_against_it_until_it_is_corrected(staging):
    (staging / "bad.sgy").unlink()
    beside = staging / "a.sgy.md5"
    beside.write_text(f"{'0' * 32}  a.sgy\n")
    (row,) = [row for row in swept(staging)["attention"]]
    assert row["source"] == "a.sgy"
    assert f"but {'0' * 32} was expected ({beside})" in row["sentence"]
    assert headline(swept(staging)) == "1 quarantined, 1 unchanged"
    md5 = hashlib.md5((staging / "a.sgy").read_bytes(), usedforsecurity=False).hexdigest()
    beside.write_text(f"{md5}  a.sgy\n")
    assert headline(swept(staging)) == "1 published, 1 unchanged"


def test_checksums_are_not_given_to_all_sources_of_a_sweep(staging):
    asked = Publication(index=Index(checksums=["a.sgy=0a1b2c3d"]))
    with pytest.raises(InputRefused, match="a checksum belongs to one file; state it in the sidecar"):
        swept(staging, publication=asked)


# Groups


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A survey in three files whose names count on past nine, and a file of another survey."""
    folder = tmp_path / "staging" / "north"
    folder.mkdir(parents=True)
    make_survey(str(folder / "other.sgy"), shape=(9, 7, 33))
    whole = folder / "other.sgy"
    data, trace = whole.read_bytes(), 240 + 4 * 33
    for number, (first, last) in {9: (0, 21), 10: (21, 42), 11: (42, 63)}.items():
        part = data[:3600] + data[3600 + first * trace : 3600 + last * trace]
        (folder / f"line_{number}.sgy").write_bytes(part)
    return folder.parent


def test_files_that_a_sidecar_groups_become_one_volume_in_the_order_of_their_numbers(lines):
    (lines / "north" / "all.seismill.yaml").write_text("files: ['line_*.sgy']\nattributes: {survey: North}\n")
    summary = swept(lines)
    assert headline(summary) == "2 published"
    volumes = lines.parent / "volumes" / "north"
    assert sorted(path.name for path in volumes.iterdir()) == ["all.zarr", "other.zarr"]
    root = json.loads((volumes / "all.zarr" / "zarr.json").read_text())["attributes"]["seismill"]
    names = [source["url"].rpartition("/")[2] for source in root["sources"]]
    assert names == ["line_9.sgy", "line_10.sgy", "line_11.sgy"]
    assert root["attributes"] == {"survey": "North"}
    whole, parts = (zarr.open_array(volumes / name / "amplitude")[:] for name in ("other.zarr", "all.zarr"))
    np.testing.assert_array_equal(parts, whole)
    rows = table(lines)
    for source in root["sources"]:  # each file of the group has a line: it is files that are deleted
        row = rows[f"north/{source['url'].rpartition('/')[2]}"]
        assert (row["source"], row["crc32c"]) == (source["url"], source["crc32c"])
        assert (row["state"], row["safe_to_release"]) == ("published", "yes")
    assert "north/all.seismill.yaml" not in rows
    assert headline(swept(lines)) == "2 unchanged"


def test_a_group_of_which_a_file_is_replaced_is_not_safe_to_release_and_looked_at_again(lines):
    (lines / "north" / "all.seismill.yaml").write_text("files: [line_9.sgy, line_10.sgy, line_11.sgy]\n")
    swept(lines)
    replaced = lines / "north" / "line_10.sgy"
    replaced.write_bytes(replaced.read_bytes()[:-4] + bytes(4))
    (row,) = swept(lines)["attention"]
    assert row["source"] == "north/all.seismill.yaml"
    assert "holds another volume" in row["sentence"]
    assert {table(lines)[f"north/line_{n}.sgy"]["safe_to_release"] for n in (9, 10, 11)} == {"no"}


@pytest.mark.parametrize(
    ("sidecars", "sentence"),
    [
        ({"all": "files: [line_9.sgy, line_12.sgy]"}, "files names line_12.sgy, but no such SEG-Y is there"),
        ({"all": "files: [../north/line_9.sgy]"}, "wanted files in its own folder or below"),
        ({"all": "files: ['line_*.sgy', line_9.sgy]"}, "files names north/line_9.sgy twice"),
        (
            {"all": "files: ['line_*.sgy']", "some": "files: [line_9.sgy]"},
            "north/line_9.sgy belongs to north/all.seismill.yaml and to north/some.seismill.yaml; keep it in one",
        ),
        (
            {"all": "files: ['line_*.sgy']", "line_9": "index: {bytes: '9,13'}"},
            "north/line_9.sgy belongs to north/all.seismill.yaml and to north/line_9.seismill.yaml",
        ),
        ({"all": "files: ['line_*.sgy']\ncrc32c: 0a1b2c3d"}, "crc32c is one checksum for 3 files"),
        ({"all": "files: ['line_*.sgy']\ncrc32c: {other.sgy: 0a1b2c3d}"}, "crc32c names north/other.sgy"),
        ({"other": "files: [line_9.sgy]"}, "would both become"),
    ],
)
def test_a_group_that_cannot_be_meant_is_refused_with_a_reason(lines, sidecars, sentence):
    for name, text in sidecars.items():
        (lines / "north" / f"{name}.seismill.yaml").write_text(text)
    refused = {row["source"]: row["sentence"] for row in swept(lines)["attention"]}
    assert sentence in refused[f"north/{next(iter(sidecars))}.seismill.yaml"]


def test_a_sidecar_that_cannot_be_read_holds_back_what_it_may_group(lines):
    sidecar = lines / "north" / "all.seismill.yaml"
    sidecar.write_text("files: [line_9.sgy")
    (lines / "north" / "other.seismill.yaml").write_text("attributes: {survey: South}\n")
    summary = swept(lines)
    assert summary["counts"] == {"published": 1, "quarantined": 3}  # other.sgy has a sidecar of its own
    assert (
        "all.seismill.yaml, which may group it, cannot be used: it is not YAML"
        in summary["attention"][0]["sentence"]
    )
    sidecar.write_text("files: ['line_*.sgy']\n")
    assert headline(swept(lines)) == "1 published, 1 unchanged"


def test_a_checksum_is_expected_of_each_file_of_a_group_by_its_name(lines):
    sidecar = lines / "north" / "all.seismill.yaml"
    sidecar.write_text("files: ['line_*.sgy']\ncrc32c: {line_10.sgy: '00000001'}\n")
    (row,) = swept(lines)["attention"]
    assert "north/line_10.sgy has the CRC32C " in row["sentence"]
    right = row["sentence"].split("CRC32C ")[1][:8]
    sidecar.write_text(f"files: ['line_*.sgy']\ncrc32c: {{line_10.sgy: {right!r}}}\n")
    assert headline(swept(lines)) == "1 published, 1 unchanged"


def test_a_name_that_would_be_read_as_several_files_is_published_as_one(staging):
    shutil.move(staging / "a.sgy", staging / "a,b.sgy")
    assert headline(swept(staging)) == "2 published, 1 quarantined"
    root = json.loads((staging.parent / "volumes" / "a%2Cb.zarr" / "zarr.json").read_text())
    assert root["attributes"]["seismill"]["sources"][0]["url"] == str(staging / "a,b.sgy")


# Decisions

NOW = datetime.now(UTC)
# Fresh for hours, because the tests before these may take longer than a source takes to settle.
FRESH, SETTLED = (NOW + timedelta(hours=9)).isoformat(), (NOW - timedelta(minutes=11)).isoformat()
ONE = found("a.sgy")
RECORD = CatalogueEntry(
    "a.sgy", ONE.url, ONE.bytes, ONE.identity, ONE.volume, "arriving", plan=plan_of(ONE), seen_at=SETTLED
)


@pytest.mark.parametrize(
    ("record", "one", "again", "action", "reason"),
    [
        ({"seen_at": FRESH}, {}, "nothing", "wait", "it may still be growing"),
        ({}, {}, "nothing", "publish", "unchanged for long enough"),
        ({"state": "published"}, {}, "quarantined", "leave", "done"),
        ({"state": "published", "plan": "other"}, {}, "nothing", "leave", "other defaults redo nothing"),
        ({"state": "quarantined"}, {}, "nothing", "leave", "it would fail again"),
        ({"state": "quarantined"}, {}, "quarantined", "publish", "asked for"),
        ({"state": "quarantined", "plan": "other"}, {}, "nothing", "publish", "its sidecar was corrected"),
        ({"state": "running", "run": "7"}, {}, "nothing", "follow", "of a sweep that was killed"),
        ({"state": "resumable", "run": "7"}, {}, "nothing", "follow", "an automation may have resumed it"),
        ({"state": "running"}, {}, "nothing", "publish", "a sweep was killed while it published"),
        ({"state": "resumable"}, {}, "nothing", "publish", "it stopped"),
        ({}, {"sentence": "both"}, "nothing", "refuse", "it cannot be published"),
        ({"state": "quarantined", "sentence": "both"}, {"sentence": "both"}, "quarantined", "leave", "known"),
        ({"source": "s3://other/a.sgy"}, {}, "nothing", "foreign", "another staging prefix"),
    ],
)
def test_what_is_done_with_a_source_follows_from_its_record(record, one, again, action, reason):
    settle = timedelta(minutes=10)
    assert action_for(replace(RECORD, **record), replace(ONE, **one), again=again, settle=settle) == action


# The catalogue


def test_of_two_sweeps_that_write_one_record_the_second_is_told():
    store = WritableStore("memory://two-sweeps")
    first, other = Catalogue(store), Catalogue(store)
    assert first.write(RECORD)
    assert not other.write(replace(RECORD, sentence="mine"))
    assert other.records["a.sgy"].sentence == "another sweep works on it"
    assert Catalogue(store).records["a.sgy"] == first.records["a.sgy"]
    assert (first.records["a.sgy"].version, first.records["a.sgy"].sentence) == (1, "")


def test_the_newest_version_counts_and_names_may_hold_anything():
    store = WritableStore("memory://names")
    catalogue = Catalogue(store)
    for name in ("a/b c.sgy", "a/b c.sgy/00000007.sgy", "ä%41.sgy"):
        assert catalogue.write(replace(RECORD, name=name))
        assert catalogue.write(replace(catalogue.records[name], state="published"))
    read = Catalogue(store).records
    assert {name: (record.state, record.version) for name, record in read.items()} == {
        "a/b c.sgy": ("published", 2),
        "a/b c.sgy/00000007.sgy": ("published", 2),
        "ä%41.sgy": ("published", 2),
    }


@pytest.mark.parametrize(
    ("facts", "present", "safe"),
    [
        ({}, {"a.sgy": (10, "etag")}, True),
        ({}, {"a.sgy": (10, "another")}, False),  # replaced after it was published
        ({}, {}, False),  # gone already
        ({"proven_at": ""}, {"a.sgy": (10, "etag")}, False),
        ({"state": "quarantined"}, {"a.sgy": (10, "etag")}, False),
    ],
)
def test_a_staging_copy_may_go_only_when_this_very_file_was_proven(facts, present, safe):
    record = replace(RECORD, **({"state": "published", "proven_at": LONG_AGO} | facts))
    assert safe_to_release(record, record.files[0], present) == safe
    (row,) = csv.DictReader(io.StringIO(as_csv([record], present)))
    assert (row["name"], row["safe_to_release"]) == ("a.sgy", "yes" if safe else "no")


# Sweeps in this process


def test_a_place_that_is_broken_holds_up_no_other_source(staging):
    swept(staging)
    shutil.rmtree(staging.parent / "volumes" / "a.zarr")
    (staging.parent / "volumes" / "a.zarr").write_text("in the way")
    shutil.copy(staging / "a.sgy", staging / "c.sgy")
    assert headline(swept(staging)) == "1 published, 1 quarantined, 2 unchanged"
    (staging.parent / "volumes" / "a.zarr").unlink()
    shutil.rmtree(staging.parent / "volumes" / "north")
    (staging.parent / "volumes" / "north").write_text("in the way of a folder")
    again = headline(swept(staging, run=Run(dry_run=True)))
    assert again == "1 would be published, 1 quarantined, 2 unchanged"


def test_new_files_are_published_bad_ones_quarantined_and_the_next_sweep_leaves_all_alone(staging):
    summary = swept(staging)
    assert headline(summary) == "2 published, 1 quarantined"
    (bad,) = summary["attention"]
    assert (bad["source"], bad["state"], bad["attempts"], bad["new"]) == ("bad.sgy", "quarantined", 1, True)
    assert "bad.sgy" in bad["sentence"]
    assert "\n" not in bad["sentence"]
    assert (staging.parent / "volumes" / "north" / "block-1" / "b.zarr" / "zarr.json").exists()
    assert history(staging, "a.sgy") == ["running", "published"]
    rows = table(staging)
    assert {name: row["safe_to_release"] for name, row in rows.items()} == {
        "a.sgy": "yes",
        "bad.sgy": "no",
        "north/block-1/b.SEGY": "yes",
    }
    assert len(rows["a.sgy"]["crc32c"]) == 8
    assert sorted(path.name for path in staging.iterdir()) == ["a.sgy", "bad.sgy", "north", "readme.txt"]
    shutil.rmtree(staging.parent / "volumes" / "a.zarr")
    assert (
        headline(swept(staging, run=Run(dry_run=True))) == "1 would be published, 1 quarantined, 1 unchanged"
    )
    assert headline(swept(staging)) == "1 published, 1 quarantined, 1 unchanged"
    assert history(staging, "a.sgy") == ["running", "published"] * 2
    assert table(staging)["a.sgy"]["safe_to_release"] == "yes"
    again = swept(staging)
    assert headline(again) == "1 quarantined, 2 unchanged"
    assert not again["attention"][0]["new"]
    assert history(staging, "bad.sgy") == ["running", "quarantined"]
    retried = swept(staging, retry="quarantined")
    assert retried["counts"] == {"unchanged": 2, "quarantined": 1}
    assert retried["attention"][0]["attempts"] == 2


def test_a_dry_run_says_what_would_happen_and_writes_nothing(staging):
    summary = swept(staging, run=Run(dry_run=True))
    assert headline(summary) == "3 would be published"
    assert {row["source"]: row["size"] for row in summary["attention"]} == {
        "a.sgy": "s",
        "bad.sgy": "s",
        "north/block-1/b.SEGY": "s",
    }
    assert not (staging.parent / "volumes").exists()
    arriving = swept(staging, run=Run(dry_run=True), settle_minutes=1)
    assert headline(arriving) == "3 arriving"
    assert arriving["attention"][0]["sentence"] == (
        f"would become {staging.parent}/volumes/a.zarr once it has been unchanged for --settle-minutes"
    )


def test_a_sweep_waits_for_what_it_saw_first_and_leaves_what_grew_meanwhile(staging, survey):
    class GrowingOnce(InThisProcess):
        def look(self, runs: Collection[str]) -> dict[str, Ending | None]:
            with open(staging / "a.sgy", "ab") as file:
                file.write(b"more")
            return super().look(runs)

    publisher = GrowingOnce(publish_here())
    places = (str(staging), str(staging.parent / "volumes"))
    sentences: list[str] = []
    summary = sweep(*places, 0.01, publication=QUICK, publisher=publisher, say=sentences.append)
    assert sentences == [
        "3 sources are new here, and may still be arriving: the sweep looks again in 0 min "
        "(--settle-minutes 0 takes them at once)"
    ]
    assert headline(summary) == "1 published, 1 quarantined, 1 arriving"
    assert history(staging, "a.sgy") == ["arriving", "arriving"]
    shutil.copy(survey, staging / "a.sgy")
    assert headline(swept(staging)) == "1 published, 1 quarantined, 1 unchanged"


def test_a_published_file_that_is_replaced_is_not_published_over_its_volume(staging):
    swept(staging)
    make_survey(str(staging / "a.sgy"), shape=(5, 7, 33), seed=2)
    (row,) = [row for row in swept(staging)["attention"] if row["source"] == "a.sgy"]
    assert "holds another volume" in row["sentence"]
    assert table(staging)["a.sgy"]["safe_to_release"] == "no"


def test_other_volumes_of_the_same_names_are_not_mixed_up(staging, tmp_path):
    swept(staging)
    shutil.copytree(staging, tmp_path / "other")
    summary = direct_sweep(
        staging=str(tmp_path / "other"), volumes=str(tmp_path / "volumes"), settle_minutes=0
    )
    assert summary["counts"] == {"quarantined": 3}
    assert f"the catalogue knows it as {staging}/a.sgy" in summary["attention"][0]["sentence"]
    assert table(staging)["a.sgy"]["source"] == str(staging / "a.sgy")
    shutil.rmtree(tmp_path / "volumes" / ".seismill")
    (row, *_) = swept_at(tmp_path / "other", tmp_path / "volumes")["attention"]
    assert row["state"] == "quarantined"  # not tried again each night
    assert f"a.zarr was made of {staging}/a.sgy; give each staging prefix" in row["sentence"]


def test_a_volume_is_of_a_source_however_its_place_is_spelled(staging, tmp_path):
    swept(staging)
    shutil.rmtree(tmp_path / "volumes" / ".seismill")
    (tmp_path / "link").symlink_to(staging)
    swept_at(tmp_path / "link", tmp_path / "volumes")
    assert {row["state"] for row in table(staging).values() if row["name"] != "bad.sgy"} == {"published"}


def test_a_volume_of_fewer_files_of_a_group_is_not_taken_for_a_strangers(staging, tmp_path):
    swept(staging)
    entry = StagedSource("a.sgy", f"{staging}/a.sgy", 1, "", f"{tmp_path}/volumes/a.zarr")
    own = File("a.sgy", f"{staging}/a.sgy", 1, "")
    with pytest.raises(Resumable, match="the next sweep looks at it again"):
        receipt(replace(entry, group=(own, replace(own, url=f"{staging}/new.sgy"))), Run())
    with pytest.raises(InputRefused, match="give each staging prefix volumes of its own"):
        receipt(replace(entry, group=(replace(own, url=f"{staging}/new.sgy"),)), Run())


def test_a_deployment_needs_a_server(staging):
    with pytest.raises(InputRefused, match="leave out --no-flow"):
        swept(staging, deployment="publish/publish")


# Sweeps whose attempts are runs elsewhere


class Elsewhere:
    """Runs of a server that is a dictionary: what a killed sweep leaves behind is seen in it."""

    at_once = 2

    def __init__(self) -> None:
        self.runs: dict[str, Submission] = {}
        self.endings: dict[str, Ending | None] = {}
        self.most = 0
        self.killed_at = ""

    def submit(self, job: Submission) -> str:
        """One run for a key."""
        run = f"run-{job.key}"
        if run not in self.runs:
            self.runs[run] = job
            self.endings[run] = None
        if job.found.name == self.killed_at:
            raise KeyboardInterrupt
        return run

    def finish(self, run: str) -> None:
        """Publish."""
        source = self.runs[run].found
        publish_here()(source.url, source.volume, source.publication, self.runs[run].run)
        self.endings[run] = Ending("published")

    def wait(self, active: Mapping[str, Submission]) -> dict[str, Ending]:
        """Finish the first."""
        self.most = max(self.most, len(active))
        run = next(iter(active))
        if self.endings[run] is None:
            self.finish(run)
        ending = self.endings[run]
        assert ending is not None
        return {run: ending}

    def look(self, runs: Collection[str]) -> dict[str, Ending | None]:
        """Those that are known."""
        return {run: self.endings[run] for run in runs if run in self.endings}


@pytest.fixture
def three(tmp_path: Path, survey: Path) -> tuple[str, str]:
    """Three good sources, a.sgy first, and where their volumes go."""
    for name in "abc":
        (tmp_path / "staging").mkdir(exist_ok=True)
        shutil.copy(survey, tmp_path / "staging" / f"{name}.sgy")
    return str(tmp_path / "staging"), str(tmp_path / "volumes")


def test_a_sweep_killed_after_it_started_a_run_finds_that_run_again(three):
    publisher = Elsewhere()
    publisher.killed_at = "b.sgy"  # after the server knows the run, before the catalogue does
    with pytest.raises(KeyboardInterrupt):
        sweep(*three, 0, publication=QUICK, publisher=publisher)
    assert sorted(job.found.name for job in publisher.runs.values()) == ["a.sgy", "b.sgy"]
    publisher.killed_at = ""
    publisher.finish(next(run for run, job in publisher.runs.items() if job.found.name == "a.sgy"))
    summary = sweep(*three, 0, publication=QUICK, publisher=publisher)
    assert summary["counts"] == {"published": 3}
    assert len(publisher.runs) == 3
    assert publisher.most <= 2


@pytest.mark.parametrize(
    ("ending", "counts", "attempts"),
    [
        (Ending("resumable", "the run crashed"), {"published": 3}, 2),
        (Ending("quarantined", "cancelled"), {"published": 2, "quarantined": 1}, 1),
        (None, {"published": 3}, 1),
    ],
)
def test_what_became_of_an_earlier_attempt_decides_about_another(three, ending, counts, attempts):
    publisher = Elsewhere()
    publisher.killed_at = "b.sgy"
    with pytest.raises(KeyboardInterrupt):
        sweep(*three, 0, publication=QUICK, publisher=publisher)
    publisher.killed_at = ""
    run = next(run for run, job in publisher.runs.items() if job.found.name == "a.sgy")
    publisher.endings[run] = ending
    assert sweep(*three, 0, publication=QUICK, publisher=publisher)["counts"] == counts
    assert Catalogue(WritableStore(three[1])).records["a.sgy"].attempts == attempts


def test_a_server_that_forgot_its_runs_gets_new_ones(three):
    publisher = Elsewhere()
    publisher.killed_at = "b.sgy"
    with pytest.raises(KeyboardInterrupt):
        sweep(*three, 0, publication=QUICK, publisher=publisher)
    assert sweep(*three, 0, publication=QUICK, publisher=Elsewhere())["counts"] == {"published": 3}


def test_the_parameters_of_a_run_are_those_of_publish_as_json(three):
    publisher = Elsewhere()
    sweep(*three, 0, publication=QUICK, run=Run(memory="2 GB"), publisher=publisher)
    job = next(iter(publisher.runs.values()))
    assert json.loads(json.dumps(job.parameters)) == job.parameters
    assert list(job.parameters) == [
        "source",
        "volume",
        "index",
        "master",
        "copies",
        "pyramid",
        "steps",
        "run",
    ]
    assert job.parameters["run"]["memory"] == "2 GB"


# Killed and stopped


def in_process(*words: str) -> subprocess.Popen[str]:
    command = [*SEISMILL, "sweep", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_half_way(tmp_path: Path, survey: Path, *, count: int, bad: int, number: int) -> None:
    """Sweep `count` files of which some are bad, send a signal half-way, sweep again, and look at everything."""
    staging, volumes = tmp_path / "staging", tmp_path / "volumes"
    damaged = set(range(1, count, count // bad)[:bad])
    for n in range(count):
        target = staging / f"{n % 7}" / f"{n}.sgy"
        target.parent.mkdir(parents=True, exist_ok=True)
        if n in damaged:
            target.write_bytes(survey.read_bytes()[: 3000 + n])
        else:
            shutil.copy(survey, target)
    words = (str(staging), str(volumes), "--no-flow", "--settle-minutes", "0", "--steps", "proof")
    process = in_process(*words)
    while len(list(volumes.glob("*/*.zarr/zarr.json"))) < count // 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=60)
    published = {path.parent.name: path.stat().st_mtime_ns for path in volumes.glob("*/*.zarr/zarr.json")}
    assert count // 2 <= len(published) < count - bad
    again = in_process(*words, "--json")
    out, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    counts = summary["counts"]
    assert counts["published"] + counts["unchanged"] == count - bad
    assert counts["quarantined"] == bad
    assert len([row for row in summary["attention"] if row["sentence"]]) == bad
    # One of them may have been published in full without the catalogue knowing: it is recognised, not done again.
    after = {path.parent.name: path.stat().st_mtime_ns for path in volumes.glob("*/*.zarr/zarr.json")}
    assert len(after) == count - bad
    assert sum(published[name] != after[name] for name in published) <= 1
    rows = Catalogue(WritableStore(str(volumes))).records
    assert sum(record.attempts == 2 for record in rows.values()) <= 1


@pytest.mark.slow
def test_a_sweep_killed_half_way_is_finished_by_the_next_one(tmp_path, survey):
    killed_half_way(tmp_path, survey, count=12, bad=3, number=9)


@pytest.mark.slow
def test_a_sweep_that_is_stopped_says_so_and_is_finished_by_the_next_one(tmp_path, survey):
    killed_half_way(tmp_path, survey, count=12, bad=2, number=15)


@pytest.mark.slow
def test_a_sweep_of_many_files_killed_half_way_is_finished_by_the_next_one(tmp_path, survey):
    killed_half_way(tmp_path, survey, count=FILES, bad=3, number=9)


def test_a_stopped_sweep_ends_resumable(staging):
    from threading import Event

    stopping = Event()
    stopping.set()
    with pytest.raises(Resumable, match="the sweep stopped after 0 of 3 sources; run it again to go on"):
        swept(staging, stopping=stopping)
