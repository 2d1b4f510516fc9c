"""A source in another place: recognized by size and CRC32C, and good to repair from; an export that is there already.

Covers ingest/moved.py.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Index, Master
from tasks.verify import verify
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tests.campaigns.test_repair import files, make_of_files, make_of_images, make_of_segy
from tests.support.survey import make_survey
from tests.support.volumes import tree

SMALL = Master(chunks=[4, 4, 8])
UNSHARDED = Master(chunks=[4, 4, 8], shards=[0])  # as make_of_segy has it


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume, with its source at a.sgy beside it."""
    make_of_segy(tmp_path, [0])
    return tmp_path / "a.zarr"


def stage_of(volume: Path) -> dict[str, str]:
    """What the root says of the stage that made the master."""
    root = json.loads((volume / "zarr.json").read_text())
    stage: dict[str, str] = root["attributes"]["seismill"]["stages"]["amplitude"]
    return stage


def test_a_file_that_was_moved_is_recognized_and_nothing_is_written(volume: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    new = (tmp_path / "a.sgy").rename(tmp_path / "archive/b.sgy")
    os.utime(new, (5, 5))
    before, stage = tree(volume), stage_of(volume)
    notes = ingest_segy(str(new), str(volume), master=UNSHARDED)["notes"]
    assert notes[0] == "was done already"
    assert notes[1].endswith(f"the same size and CRC32C: {new}")
    assert tree(volume) == before
    assert stage_of(volume) == stage


def test_another_content_or_another_request_is_no_moved_file(volume: Path, tmp_path: Path) -> None:
    content = bytearray((tmp_path / "a.sgy").read_bytes())
    same = tmp_path / "same.sgy"
    same.write_bytes(content)
    with pytest.raises(DestinationRefused, match="holds another volume"):
        ingest_segy(str(same), str(volume), Index(names=["a", "b"]), UNSHARDED)
    with pytest.raises(DestinationRefused, match="holds another volume"):
        ingest_segy(str(same), str(volume), master=Master(chunks=[8, 4, 8], shards=[0]))
    content[-3] ^= 1
    same.write_bytes(content)
    with pytest.raises(DestinationRefused, match="holds another volume"):
        ingest_segy(str(same), str(volume), master=UNSHARDED)


def test_files_that_were_moved_together_are_recognized_in_their_order(tmp_path: Path) -> None:
    make_of_files(tmp_path)
    (tmp_path / "new").mkdir()
    for file in tmp_path.glob("line_*.sgy"):
        file.rename(tmp_path / "new" / file.name)
    source, volume = tmp_path / "new/line_*.sgy", tmp_path / "a.zarr"
    assert ingest_segy(str(source), str(volume), master=SMALL)["notes"][0] == "was done already"
    turned = ",".join(str(tmp_path / f"new/line_{number}.sgy") for number in (1, 0))
    with pytest.raises(DestinationRefused, match="holds another volume"):
        ingest_segy(turned, str(volume), master=SMALL)


@pytest.mark.parametrize(
    "make", [make_of_segy, make_of_files, make_of_images], ids=lambda make: make.__name__
)
def test_a_volume_is_repaired_from_where_its_source_is_now(make: Callable[..., None], tmp_path: Path) -> None:
    make(tmp_path, *([] if make is make_of_files else [[0]]))
    volume, new = tmp_path / "a.zarr", tmp_path / "new"
    new.mkdir()
    sources = [path for path in sorted(tmp_path.iterdir()) if path.suffix in (".sgy", ".tif")]
    for path in sources:
        path.rename(new / path.name)
    named = ",".join(str(new / path.name) for path in reversed(sources))  # in whatever order
    whole = files(volume)
    broken = [key for key in whole if key.startswith(("amplitude/c/", "attenuation/c/"))][::3]
    assert broken
    for key in broken:
        (volume / key).write_bytes(whole[key][:-1])
    with pytest.raises(
        InputRefused, match=r"there is no file .*; if the source was moved, say where it is with --source"
    ):
        verify(str(volume), repair="from_source")
    make_survey(new / "other.sgy", inlines=range(4), crosslines=range(4), n_samples=9)
    with pytest.raises(InputRefused, match=r"other.sgy names .*name .* with --source"):
        verify(str(volume), repair="from_source", source=str(new / "other.sgy"))
    with pytest.raises(InputRefused, match="add --repair from_source"):
        verify(str(volume), repair="from_master", source=named)
    assert sorted(verify(str(volume), repair="from_source", source=named)["repaired"]) == sorted(broken)
    assert files(volume) == whole
    assert verify(str(volume))["findings"] == []


def test_a_finished_export_run_again_was_done_already(volume: Path, tmp_path: Path) -> None:
    target, source = tmp_path / "out.sgy", (tmp_path / "a.sgy").read_bytes()
    first = export_segy(str(volume), str(target))
    seen = target.stat().st_mtime_ns
    again = export_segy(str(volume), str(target))
    assert again["notes"] == ["was done already"]
    assert {name: again[name] for name in ("target", "bytes", "crc32c", "identical")} == {
        name: first[name] for name in ("target", "bytes", "crc32c", "identical")
    }
    assert target.stat().st_mtime_ns == seen
    for other in (source[:-1], source[:-1] + bytes([source[-1] ^ 1])):
        target.write_bytes(other)
        with pytest.raises(DestinationRefused, match=r"is there already; replace it with --overwrite"):
            export_segy(str(volume), str(target))
        assert target.read_bytes() == other
    assert export_segy(str(volume), str(target), overwrite=True)["notes"] != ["was done already"]
    assert target.read_bytes() == source
