"""A sweep accounts for every key that it listed, and one source never ends it.

Covers sweeps/keys.py, sweeps/staging.py, sweeps/sidecar.py, sweeps/catalogue.py.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.publishers import InThisProcess, direct_sweep, publish_here
from flows.summary import accounted
from tasks.demo import make_survey
from tasks.parameters import Publication
from tasks.sweep import Submission, sweep
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable
from tasks.volume.store.writable import WritableStore
from tasks.volume.sweeps.catalogue import FOLDER, Catalogue, CatalogueEntry
from tasks.volume.sweeps.keys import File, Listing, is_candidate, listing_of, suffix_of
from tasks.volume.sweeps.places import volume_name
from tasks.volume.sweeps.staging import StagedSource, look_under

QUICK = Publication(steps=["proof"])


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small SEG-Y that can be published."""
    path = tmp_path_factory.mktemp("survey") / "survey.sgy"
    make_survey(str(path), shape=(5, 4, 9))
    return path.read_bytes()


def swept(staging: str | Path, volumes: str | Path, **parameters: Any) -> dict[str, Any]:
    return direct_sweep(
        staging=str(staging), volumes=str(volumes), **{"settle_minutes": 0, "publication": QUICK} | parameters
    )


def states(summary: dict[str, Any]) -> dict[str, str]:
    return {row["source"]: row["sentence"] for row in summary["attention"]}


def in_all(summary: dict[str, Any]) -> int:
    return sum(summary["files"].values()) + sum(summary["not_segy"].values())


KEYS = [
    "c.sgy",
    "a//b.sgy",
    "/lead.sgy",
    "d.seg",
    "CAPITALS.SEGY",
    "survey, v2.sgy",
    "survey [final].sgy",
    "at@25m.sgy",
    "50% sure, ok.sgy",
    "why?.sgy",
    "north/a*.SGY",
    " blank .sgy",
    "ü/\u3042.segy",
    "double::colon.sgy",
    "a+b&c=d#e.sgy",
    "tab\tinside.sgy",
]
QUARANTINED = {
    "e.sgy.gz": "XML or HTML page",  # no archive, whatever its name
    "f.SEGY.BZ2": "bunzip2 -c",
    "g.segy.zst": "zstd -dc",
    "x/../h.sgy": "'.' or '..'",
    "damaged.sgy": "damaged.sgy",
}
NOT_SEGY = {
    "readme.txt": ".txt",
    "a//notes": "(none)",
    "log.TXT": ".txt",
    "i.gz": ".gz",
    "c.sgy.md5.old": ".old",
}


@pytest.mark.slow
def test_each_key_of_a_bucket_is_published_quarantined_or_counted_by_its_suffix(s3, survey, tmp_path):
    client, staging = bucket(), WritableStore("s3://staging")
    for key in KEYS:
        client.put_object(Bucket="staging", Key=key, Body=survey)
    for key in [*QUARANTINED, *NOT_SEGY]:
        client.put_object(Bucket="staging", Key=key, Body=b"<html>" * 1000)
    listed = {item["Key"] for item in client.list_objects_v2(Bucket="staging")["Contents"]}
    summary = swept("s3://staging", "s3://volumes")
    assert summary["counts"] == {"published": len(KEYS), "quarantined": len(QUARANTINED)}
    for name, sentence in states(summary).items():
        assert QUARANTINED[name] in sentence
    assert summary["objects"] == len(listed) == in_all(summary)
    assert summary["files"] == {"published": len(KEYS), "quarantined": len(QUARANTINED)}
    assert summary["not_segy"] == {".txt": 2, "(none)": 1, ".gz": 1, ".old": 1}
    assert accounted(summary).startswith("26 objects listed: ")
    assert "16 published" in accounted(summary)
    assert "5 no source by name (.txt 2, " in accounted(summary)
    noted = json.loads(WritableStore("s3://volumes").get(".seismill/catalogue.json"))
    assert {name: noted[name] for name in ("objects", "files", "not_segy")} == {
        name: summary[name] for name in ("objects", "files", "not_segy")
    }
    records = Catalogue(WritableStore("s3://volumes")).records
    assert sorted(records) == sorted([*KEYS, *QUARANTINED])
    for key in KEYS:
        volume = WritableStore(f"s3://volumes/{volume_name(key)}")
        root = json.loads(volume.get("zarr.json"))["attributes"]["seismill"]
        assert root["sources"][0]["crc32c"] == records[key].crc32c
        assert root["proven_at"]
    again = swept("s3://staging", "s3://volumes")
    assert again["counts"] == {"unchanged": len(KEYS), "quarantined": len(QUARANTINED)}
    assert in_all(again) == again["objects"]
    # The same from one store to another, whose names are those of a disk.
    local = swept("s3://staging", tmp_path / "volumes")
    assert local["counts"] == summary["counts"]
    assert swept("s3://staging", tmp_path / "volumes")["counts"] == again["counts"]
    assert staging.keys("") == sorted(listed), "nothing under staging is changed"


def bucket() -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=os.environ["FSSPEC_S3_ENDPOINT_URL"])


def test_each_file_of_a_folder_is_accounted_for_whatever_it_is(tmp_path, survey):
    staging = tmp_path / "staging"
    (staging / "deep").mkdir(parents=True)
    (staging / "closed").mkdir()
    for name in ("a.sgy", "b, [1]*.sgy", "deep/at@x?.SEGY", "deep/c::d.seg"):
        (staging / name).write_bytes(survey)
    (staging / "deep" / "a.seismill.yaml").write_text("attributes: {survey: North}\n")
    (staging / "a.sgy.txt").write_text("no source")
    os.mkfifo(staging / "pipe.sgy")
    os.mkfifo(staging / "pipe")
    (staging / "gone.sgy").symlink_to(staging / "nowhere.sgy")
    (staging / "elsewhere").symlink_to(tmp_path)
    (staging / os.fsdecode(b"latin-\xfc.sgy")).write_bytes(survey)
    (staging / "packed.sgy.xz").write_bytes(b"\xfd7zXZ")
    (staging / "a.sgy.gz").write_bytes(b"\x1f\x8b")
    summary = swept(staging, tmp_path / "volumes")
    assert summary["counts"] == {"published": 4, "quarantined": 6}
    told = states(summary)
    assert "it is no regular file" in told["pipe.sgy"]
    assert "No such file or directory" in told["gone.sgy"]
    assert "link to a folder" in told["elsewhere"]
    assert "not UTF-8" in told["latin-\\udcfc.sgy"]
    assert "is passed over, because a.sgy lies beside it" in told["a.sgy.gz"]
    assert summary["objects"] == 13 == in_all(summary)
    assert summary["not_segy"] == {".seismill.yaml": 1, ".txt": 1, "(none)": 1}
    command = told["packed.sgy.xz"].partition(": ")[2]
    assert command == f"xz -dc {staging}/packed.sgy.xz > {staging}/packed.sgy"
    subprocess.run(["xz", "-f", str(staging / "a.sgy")], check=True)
    shutil.move(staging / "a.sgy.xz", staging / "packed.sgy.xz")
    subprocess.run(command, shell=True, check=True)  # as somebody would who reads the sentence
    assert swept(staging, tmp_path / "volumes")["counts"]["published"] == 1


def test_a_bucket_that_is_not_there_is_refused_and_an_empty_one_is_not(s3):
    with pytest.raises(InputRefused, match="there is no bucket s3://stagings/in; check the prefix"):
        swept("s3://stagings/in", "s3://volumes")
    assert swept("s3://staging/in", "s3://volumes")["objects"] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_may_not_be_listed_is_quarantined(tmp_path, survey):
    staging = tmp_path / "staging"
    (staging / "closed").mkdir(parents=True)
    (staging / "a.sgy").write_bytes(survey)
    (staging / "closed").chmod(0)
    summary = swept(staging, tmp_path / "volumes")
    (staging / "closed").chmod(0o700)
    assert summary["counts"] == {"published": 1, "quarantined": 1}
    assert "Permission denied; allow this user to list the folder" in states(summary)["closed"]


@pytest.mark.parametrize(
    ("name", "candidate", "suffix"),
    [
        ("a.sgy", True, ".sgy"),
        ("A.SEGY", True, ".segy"),
        ("a.Seg", True, ".seg"),
        ("a.segy.gz", True, ".gz"),
        ("a.SGY.BZ2", True, ".bz2"),
        ("a.sgy.zip", True, ".zip"),
        ("a.gz", False, ".gz"),
        ("a.sgy.txt", False, ".txt"),
        ("a.sgy.md5", False, ".md5"),
        ("a.seismill.yaml", False, ".seismill.yaml"),
        ("a.sgy/readme", False, ""),
        (".seismill/catalogue/a.sgy", False, ".sgy"),
    ],
)
def test_what_is_seg_y_by_name(name, candidate, suffix):
    assert (is_candidate(name), suffix_of(name)) == (candidate, suffix)


@pytest.mark.parametrize(
    ("name", "volume"),
    [
        ("a//b.sgy", "a/b.zarr"),
        ("/lead.sgy", "lead.zarr"),
        ("at@25m.sgy", "at%4025m.zarr"),
        ("x, [1]*?.sgy", "x%2C %5B1]%2A%3F.zarr"),
        ("a:b.sgy", "a:b.zarr"),  # as before
        ("a::b.sgy", "a%3A%3Ab.zarr"),
        ("a//all.seismill.yaml", "a/all.zarr"),
    ],
)
def test_a_volume_has_a_name_that_can_be_written_everywhere(name, volume):
    assert volume_name(name) == volume


def test_a_candidate_that_is_in_no_source_is_a_mistake_that_is_told():
    files = {name: File(name, f"s3://staging/{name}", 1, "etag") for name in ("a.sgy", "b.sgy", "c.txt")}
    source = StagedSource("a.sgy", "s3://staging/a.sgy", 1, "etag", "s3://volumes/a.zarr")
    with pytest.raises(IntegrityFailure, match=r"does not account for 1 of 3 objects, such as \['b.sgy'\]"):
        Listing(files, {}).account([source], ["published"])


# One source never ends a sweep


SIDECARS = {
    "alias": b"attributes: &a {b: *a}\n",
    "deep": b"attributes: " + b"[" * 5000 + b"]" * 5000,
    "nan": b"attributes: {depth: .nan}\n",
    "infinity": b"index: {bytes: .inf}\n",
    "huge": b"attributes: {n: " + b"9" * 5000 + b"}\n",
    "bytes": b"\xff\xfe\x00",
    "key": b"? [1, 2]\n: 3\n",
    "date": b"attributes: {day: 2026-13-45}\n",
    "binary": b"attributes: {x: !!binary 'A'}\n",
    "number": b"master: {chunks: [" + b"9" * 30 + b"]}\n",
}


def test_whatever_a_sidecar_holds_the_other_sources_are_published(tmp_path, survey):
    staging = tmp_path / "staging"
    staging.mkdir()
    for name, data in SIDECARS.items():
        (staging / f"{name}.sgy").write_bytes(survey)
        (staging / f"{name}.seismill.yaml").write_bytes(data)
    (staging / "good.sgy").write_bytes(survey)
    summary = swept(staging, tmp_path / "volumes")
    assert summary["files"]["published"] >= 1
    assert in_all(summary) == summary["objects"]
    for name, sentence in states(summary).items():
        assert sentence, name
        assert "Error" not in sentence
    assert "good.sgy" not in states(summary)
    assert set(states(summary)) >= {
        f"{name}.sgy" for name in ("alias", "deep", "nan", "huge", "bytes", "number")
    }


def test_what_is_wrong_in_the_catalogue_or_a_volume_is_one_sources_affair(tmp_path, survey):
    staging, volumes = tmp_path / "staging", tmp_path / "volumes"
    staging.mkdir()
    for name in "abcde":
        (staging / f"{name}.sgy").write_bytes(survey)
    assert swept(staging, volumes)["counts"] == {"published": 5}
    folder = volumes / FOLDER
    (folder / "a.sgy" / "00000002").write_bytes(b'{"name": "a.sgy"')
    (folder / "b.sgy" / "00000002").write_bytes(b"[]")
    (folder / "c.sgy" / "00000002").write_text(json.dumps({"name": "elsewhere", "state": "published"}))
    (folder / "d.sgy" / "README").write_text("whatever")
    (folder / ".DS_Store").write_text("whatever")
    (volumes / "e.zarr" / "zarr.json").write_bytes(b"{")
    summary = swept(staging, volumes)
    assert summary["counts"] == {"published": 3, "unchanged": 2}
    assert swept(staging, volumes)["counts"] == {"unchanged": 5}
    (volumes / "a.zarr" / "zarr.json").write_bytes(b"{}")
    shutil.rmtree(folder / "a.sgy")
    (staging / "f.sgy").write_bytes(survey)
    summary = swept(staging, volumes)
    assert summary["counts"]["unchanged"] == 4
    assert in_all(summary) == summary["objects"] == 6


@pytest.mark.parametrize(
    "name",
    ["a//b.sgy", "/a.sgy", "./a.sgy", "../a.sgy", "x" * 300 + ".sgy", "%00.sgy", "/".join(["y" * 90] * 11)],
)
def test_a_record_has_a_key_whatever_its_source_is_called(tmp_path, name):
    for volumes in (WritableStore(str(tmp_path / "volumes")), WritableStore("memory://keys-of-records")):
        record = CatalogueEntry(name, "s3://staging/x", 1, "etag", "s3://volumes/x", "published")
        other = CatalogueEntry("a.sgy", "s3://staging/y", 1, "etag", "s3://volumes/y", "published")
        catalogue, late = Catalogue(volumes), Catalogue(volumes)
        assert catalogue.write(record)
        assert catalogue.write(catalogue.records[name])
        assert catalogue.write(other)
        assert not late.write(record), "another sweep wrote it"
        read = Catalogue(volumes).records
        assert {one.name: one.version for one in read.values()} == {name: 2, "a.sgy": 1}
        volumes.delete_many(volumes.keys(""))


@pytest.mark.slow
def test_sidecars_and_checksums_belong_to_the_key_in_their_own_folder(s3, survey):
    client = bucket()
    for key in ("a//b.sgy", "a/c.sgy", "/lead.sgy"):
        client.put_object(Bucket="staging", Key=key, Body=survey)
    client.put_object(Bucket="staging", Key="a//b.seismill.yaml", Body=b"attributes: {survey: North}\n")
    client.put_object(Bucket="staging", Key="a/b.seismill.yaml", Body=b"attributes: {survey: South}\n")
    client.put_object(Bucket="staging", Key="a/b.sgy.md5", Body=b"0" * 32)
    client.put_object(Bucket="staging", Key="lead.sgy.md5", Body=b"0" * 32)
    listed = {
        source.name: source
        for source in look_under(WritableStore("s3://staging"), WritableStore("s3://volumes"), QUICK)[1]
    }
    assert listed["a//b.sgy"].attributes == {"survey": "North"}
    assert swept("s3://staging", "s3://volumes")["counts"] == {"published": 3}
    client.put_object(Bucket="staging", Key="a//d.sgy", Body=survey)
    client.put_object(Bucket="staging", Key="a//d.sgy.md5", Body=b"0" * 32)
    summary = swept("s3://staging", "s3://volumes")
    assert summary["counts"] == {"unchanged": 3, "quarantined": 1}
    assert "was expected" in states(summary)["a//d.sgy"]


def test_a_listing_is_of_everything_under_a_prefix_once():
    store = WritableStore("memory://listed/prefix")
    for key in ("a.sgy", "b/c.txt"):
        store.put(key, b"1")
    WritableStore("memory://listed").put("prefix-of-another/a.sgy", b"1")
    assert list(listing_of(store).files) == ["a.sgy", "b/c.txt"]
    assert listing_of(store).files["a.sgy"].url == "memory://listed/prefix/a.sgy"


class Refusing(InThisProcess):
    """Takes all attempts but those at one source, of which it raises what it was given."""

    def __init__(self, error: Exception) -> None:
        super().__init__(publish_here())
        self._error = error

    def submit(self, job: Submission) -> str:
        """Refuse the source b.sgy."""
        if job.found.name == "b.sgy":
            raise self._error
        return super().submit(job)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("parameter x is no number"), "could not be begun: parameter x is no number"),
        (OSError(36, "File name too long"), "could not be begun: File name too long"),
        (InputRefused("the server refuses a run"), "the server refuses a run"),
        (RecursionError(), "nested too deeply"),
        (MemoryError(), "more memory than there is"),
    ],
)
def test_an_attempt_that_cannot_be_begun_is_one_sources_affair(tmp_path, survey, error, sentence):
    (tmp_path / "staging").mkdir()
    for name in "abc":
        (tmp_path / "staging" / f"{name}.sgy").write_bytes(survey)
    places = (str(tmp_path / "staging"), str(tmp_path / "volumes"))
    summary = sweep(*places, 0, publication=QUICK, publisher=Refusing(error))
    assert summary["counts"] == {"published": 2, "quarantined": 1}
    assert sentence in states(summary)["b.sgy"]


def test_a_server_that_starts_no_runs_ends_the_sweep_resumable(tmp_path, survey):
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "b.sgy").write_bytes(survey)
    places = (str(tmp_path / "staging"), str(tmp_path / "volumes"))
    with pytest.raises(Resumable, match="run the sweep again"):
        sweep(*places, 0, publication=QUICK, publisher=Refusing(Resumable("run the sweep again")))
    assert swept(*places)["counts"] == {"published": 1}
