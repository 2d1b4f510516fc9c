"""A sweep publishes SEG-Y from .gz and .zip files: one volume for each, or one sentence."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from flows.publishers import direct_sweep
from tasks.export_segy import export_segy
from tasks.parameters import Index, Publication
from tasks.volume.store import scratch
from tasks.volume.store.writable import WritableStore
from tests.support.archives import zipped
from tests.support.segy_maker import segy_bytes

SURVEY = segy_bytes(shape=(6, 5), n_samples=20)
PLAIN = Publication(steps=["proof"])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(scratch.SCRATCH, str(tmp_path / "scratch"))
    return tmp_path / "scratch"


STAGED = {
    "a.sgy.gz": gzip.compress(SURVEY),
    "deep/b.zip": zipped(lines__b_sgy=SURVEY),
    "c@x.SEGY.ZIP": zipped(c_SEGY=SURVEY),
    "c@x.seismill.yaml": b"attributes: {survey: North}",
    "several.zip": zipped(one_sgy=SURVEY, two_sgy=SURVEY, notes_txt=b"x"),
    "cut.zip": zipped(one_sgy=SURVEY)[:-30],
    "pictures.zip": zipped(map_png=b"x", notes_txt=b"y"),
    "page.zip": b"<html>" * 100,
    "bad.sgy.gz": gzip.compress(SURVEY)[:-20],
    "same.sgy": SURVEY,
    "same.sgy.gz": gzip.compress(SURVEY),
    "twice.sgy.gz": gzip.compress(SURVEY),
    "twice.zip": zipped(twice_sgy=SURVEY),
}
SENTENCES = {
    "several.zip": "holds 3 files (one.sgy, two.sgy, notes.txt), and a sweep publishes a ZIP file of one",
    "cut.zip": "is damaged",
    "bad.sgy.gz": "is damaged",
    "same.sgy.gz": "is passed over, because same.sgy lies beside it",
    "twice.sgy.gz": "would both become",
    "twice.zip": "would both become",
}


def swept(staging: str, volumes: str, publication: Publication = PLAIN) -> dict[str, Any]:
    return direct_sweep(staging=staging, volumes=volumes, settle_minutes=0, publication=publication)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["disk", "s3"])
def test_one_volume_for_each_archive_with_the_proof_of_what_is_inside(tmp_path, s3, folder, where):
    root = str(tmp_path / "staging") if where == "disk" else "s3://staging/in"
    staging = WritableStore(root)
    for name, data in STAGED.items():
        staging.put(name, data)
    volumes = str(tmp_path / "volumes")
    summary = swept(root, volumes)
    sentences = {row["source"]: row["sentence"] for row in summary["attention"]}
    assert sentences.keys() == SENTENCES.keys(), sentences
    for name, sentence in SENTENCES.items():
        assert sentence in sentences[name]
    assert summary["counts"] == {"published": 4, "quarantined": 6}
    assert summary["not_segy"] == {".zip": 2, ".seismill.yaml": 1}
    text = (Path(volumes) / ".seismill/catalogue.csv").read_text()
    table = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    for name, volume, member in (
        ("a.sgy.gz", "a.zarr", "a.sgy"),
        ("deep/b.zip", "deep/b.zarr", "lines/b.sgy"),
        ("c@x.SEGY.ZIP", "c%40x.zarr", "c.SEGY"),
    ):
        place = Path(volumes) / volume
        state = json.loads((place / "zarr.json").read_text())["attributes"]["seismill"]
        assert state["sources"][0]["archive"]["member"] == member
        assert state.get("attributes", {}) == ({"survey": "North"} if "@" in name else {})
        assert state["proven_at"] == table[name]["proven_at"]
        assert table[name]["safe_to_release"] == "yes"
        assert int(table[name]["bytes"]) == len(STAGED[name])
        export_segy(str(place), str(tmp_path / "again.sgy"), overwrite=True)
        assert (tmp_path / "again.sgy").read_bytes() == SURVEY
    assert [f for f in folder.rglob("*") if f.is_file() and f.stat().st_size] == [], "nothing stays unpacked"
    assert swept(root, volumes)["counts"] == {"unchanged": 4, "quarantined": 6}


def test_an_archive_of_seismic_unix_and_a_group_of_archives(tmp_path):
    staging, volumes = tmp_path / "staging", str(tmp_path / "volumes")
    staging.mkdir()
    (staging / "line.su.gz").write_bytes(gzip.compress(segy_bytes(code=5, order="<")[3600:]))
    for number in range(2):
        (staging / f"p_{number}.sgy.gz").write_bytes(gzip.compress(_part(number)))
    (staging / "p.seismill.yaml").write_text("files: ['p_*.sgy.gz']\n")
    assert swept(str(staging), volumes)["counts"] == {"published": 1}
    both = swept(str(staging), volumes, Publication(index=Index(file_format="su"), steps=["proof"]))
    assert both["counts"] == {"unchanged": 1, "published": 1}
    export_segy(f"{volumes}/p.zarr", str(tmp_path / "back"))
    assert (tmp_path / "back" / "p_1.sgy.gz").read_bytes() == _part(1)


def _part(number: int) -> bytes:
    """Three inlines of a survey."""
    lines = [100 + 2 * (3 * number + trace // 7) for trace in range(21)]
    return segy_bytes(shape=(3, 7), traces={(189, "i4"): lines})
