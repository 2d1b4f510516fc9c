"""SEG-Y in archives: read once, published, proven and given back as the file inside.

Covers store/archives.py, store/scratch.py.
"""

import gzip
import json
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.allowed import refuse_outside, refuse_stored
from tasks.export_segy import export_segy
from tasks.info import info
from tasks.ingest_segy import ingest_segy
from tasks.parameters import StorageOptions
from tasks.prove import prove
from tasks.scan import scan
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused
from tasks.volume.store import scratch
from tasks.volume.store.spilled import open_source
from tests.support.archives import zipped
from tests.support.segy_maker import segy_bytes

SURVEY = segy_bytes(shape=(20, 30), n_samples=50)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(scratch.SCRATCH, str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.mark.parametrize("kind", ["gz", "zip", "member"])
def test_a_survey_in_an_archive_is_published_and_proven(kind: str, tmp_path: Path, s3: str) -> None:
    from tasks.volume.store.writable import WritableStore

    staging = WritableStore("s3://staging")
    url, member = {
        "gz": ("s3://staging/a.sgy.gz", "a.sgy"),
        "zip": ("s3://staging/one.zip", "folder/a.sgy"),
        "member": ("s3://staging/two.zip:folder/a.sgy", "folder/a.sgy"),
    }[kind]
    staging.put("a.sgy.gz", gzip.compress(SURVEY))
    staging.put("one.zip", zipped("folder", folder__a_sgy=SURVEY))
    staging.put("two.zip", zipped("folder", folder__a_sgy=SURVEY, other_txt=b"notes"))
    volume = str(tmp_path / "a.zarr")
    ingest_segy(url, volume)
    assert ingest_segy(url, volume)["notes"] == ["was done already"]
    source = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())["attributes"]["seismill"]["sources"][
        0
    ]
    assert source["url"] == url
    assert source["bytes"] == len(SURVEY)
    assert source["archive"]["member"] == member
    assert int(source["archive"]["crc32"], 16) == zlib.crc32(SURVEY)
    assert prove(volume)["proven_at"]
    export_segy(volume, str(tmp_path / "b.sgy"))
    assert (tmp_path / "b.sgy").read_bytes() == SURVEY
    assert info(volume)["sources"]
    # A damaged master comes back from the archive.
    chunk = next(path for path in (tmp_path / "a.zarr" / "amplitude" / "c").rglob("*") if path.is_file())
    before = chunk.read_bytes()
    chunk.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    verify(volume, repair="from_source")
    assert chunk.read_bytes() == before
    staging.put(
        url.removeprefix("s3://staging/").partition(":")[0], zipped("folder", a_sgy=SURVEY[:-1] + b"x")
    )
    with pytest.raises(InputRefused):
        open_source(url, StorageOptions(), source["etag"])


def test_a_local_archive_is_read_once_and_removed_at_the_end(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.sgy.gz").write_bytes(gzip.compress(SURVEY))
    program = (
        "import sys; from tasks.scan import scan; from pathlib import Path\n"
        "assert scan(sys.argv[1])['error'] == ''\n"
        "print([f.stat().st_size for f in Path(sys.argv[2]).rglob('*') if f.is_file() and not f.suffix])"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "a.sgy.gz"), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == f"[{len(SURVEY)}]", done.stderr
    assert [f for f in folder.rglob("*") if f.is_file()] == []


def test_what_is_no_archive_or_no_single_file_is_refused(tmp_path: Path) -> None:
    def refused(name: str, data: bytes, reason: str, member: str = "") -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputRefused, match=reason):
            scan(f"{tmp_path / name}{member}")

    packed = bytearray(gzip.compress(SURVEY))
    packed[-5] ^= 1
    refused("crc.sgy.gz", bytes(packed), "is damaged")
    refused("cut.sgy.gz", gzip.compress(SURVEY)[:-100], "is damaged")
    refused(
        "two.zip",
        zipped("folder", a_sgy=SURVEY, b_sgy=SURVEY),
        r"holds 2 files \(a.sgy, b.sgy\); name one, such as .*:a.sgy",
    )
    refused("three.zip", zipped("folder", a_sgy=SURVEY), "holds 0 files named c.sgy", ":c.sgy")
    refused("cut.zip", zipped("folder", a_sgy=SURVEY)[:-30], "is damaged or packed in another way")
    wrong = bytearray(zipped("folder", a_sgy=SURVEY))
    wrong[200] ^= 1
    refused("wrong.zip", bytes(wrong), "is damaged or packed in another way")
    refused("plain.zip", SURVEY, "is no ZIP archive", ":a.sgy")
    (tmp_path / "plain.sgy.gz").write_bytes(SURVEY)
    assert scan(str(tmp_path / "plain.sgy.gz"))["error"] == "", "named like an archive, and none"


def test_an_archive_that_grows_without_end_is_refused(tmp_path: Path, folder: Path) -> None:
    zeros = bytes(80 << 20)
    (tmp_path / "bomb.sgy.gz").write_bytes(gzip.compress(zeros, 1))
    (tmp_path / "bomb.zip").write_bytes(zipped("folder", a_sgy=zeros))
    for name in ("bomb.sgy.gz", "bomb.zip"):
        with pytest.raises(InputRefused, match=r"as no survey (or scan )?does"):
            scan(str(tmp_path / name))
    assert [f for f in folder.rglob("*") if f.is_file() and f.suffix != ".lock"] == []


def test_a_disk_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=(256 << 20) - 1))
    (tmp_path / "a.zip").write_bytes(zipped("folder", a_sgy=SURVEY))
    with pytest.raises(
        InputRefused, match=r"does not fit into .* and 256 MiB are left free; set SEISMILL_SCRATCH"
    ):
        scan(str(tmp_path / "a.zip"))


def test_a_folder_that_others_may_use_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped("folder", a_sgy=SURVEY))
    scan(str(tmp_path / "a.zip"))
    next(folder.iterdir()).chmod(0o777)
    with pytest.raises(InputRefused, match="open to others"):
        scan(str(tmp_path / "a.zip"))


def test_a_triggered_run_opens_no_archive_outside_of_what_it_may_touch(tmp_path: Path) -> None:
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    allowed.mkdir()
    outside.mkdir()
    (outside / "a.zip").write_bytes(zipped("folder", a_sgy=SURVEY))
    (allowed / "in.zip").write_bytes(zipped("folder", a_sgy=SURVEY))
    (allowed / "link.zip").symlink_to(outside / "a.zip")
    refuse_outside([f"{allowed}/in.zip:a.sgy", f"{allowed}/in.zip"], str(allowed))
    refuse_stored(f"{allowed}/in.zip:a.sgy", str(allowed))
    for url in (f"{allowed}/link.zip", f"{allowed}/link.zip:a.sgy", f"{allowed}/l%69nk.zip:a.sgy"):
        with pytest.raises(InputRefused, match="is outside"):
            refuse_outside([url], str(allowed))
    for url in (f"{allowed}/link.zip:a.sgy", f"{outside}/a.zip:a.sgy", "https://10.0.0.1/a.zip:a.sgy"):
        with pytest.raises(InputRefused, match="is outside"):
            refuse_stored(url, str(allowed))
