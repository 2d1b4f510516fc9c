"""The whole line on file systems without hard links or flock: a preloaded library that refuses them, and real exFAT."""

import json
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from tasks.demo import make_survey
from tests.support.command import seismill
from tests.support.disks import exfat_disk, refusing_library
from tests.support.volumes import STAMP, differences, tree

pytestmark = pytest.mark.slow
REFUSED = {
    "no links": ["NO_LINK"],
    "no links, renames or flock": ["NO_LINK", "NO_RENAME", "NO_FLOCK=ENOLCK"],
    "exfat": [],
}


def carry_out(folder: Path, **environment: str) -> list[subprocess.CompletedProcess[str]]:
    """Publish, replace a copy, verify, damage and repair, export, and export once more over it."""
    survey, volume, out = (str(folder / name) for name in ("a.sgy", "a.zarr", "out/a.sgy"))
    make_survey(survey, shape=(19, 13, 57))
    small = ["--chunks", "8,8,16", "--created-on", STAMP]
    ended = [
        seismill("publish", survey, volume, "--no-flow", "--copy", "fast_line=1,8,32", *small, **environment),
        seismill(
            *("rechunk", volume, "--presets", "fast_time", "--copy", "fast_line=2,8,32", "--overwrite"),
            *("--created-on", STAMP),
            **environment,
        ),
        seismill("verify", volume, "--errors", **environment),
    ]
    assert [done.returncode for done in ended] == [0] * 3, "".join(done.stderr for done in ended)
    chunk = Path(volume) / "fast_line/c/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    ended.append(seismill("verify", volume, "--repair", "from_master", **environment))
    ended.append(seismill("export-segy", volume, out, **environment))
    ended.append(seismill("export-segy", volume, out, "--overwrite", **environment))
    assert Path(out).read_bytes() == Path(survey).read_bytes()
    return ended


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the whole line makes on the usual disk."""
    folder = tmp_path_factory.mktemp("usual")
    assert [done.returncode for done in carry_out(folder)] == [0] * 6
    return folder


@pytest.mark.parametrize("lacking", REFUSED)
def test_the_whole_line_works_whatever_a_disk_lacks(tmp_path: Path, usual: Path, lacking: str) -> None:
    environment = {}
    if REFUSED[lacking]:
        environment["LD_PRELOAD"] = refusing_library(tmp_path, *REFUSED[lacking])
    place = tmp_path / "other"
    place.mkdir()
    with nullcontext(place) if environment else exfat_disk(tmp_path) as disk:
        ended = carry_out(disk, **environment)
        for done in ended:
            assert done.returncode == 0, done.stderr
        assert "no hard links, so objects are created by" in ended[0].stderr
        assert not [*disk.rglob("*.lock"), *disk.rglob("*.partial"), *disk.rglob(".seismill/tmp/*")]
        theirs, ours = tree(disk / "a.zarr"), tree(usual / "a.zarr")
        assert differences(theirs, ours) == ["zarr.json"], "it names its source and nothing else differs"
        assert json.loads(theirs["zarr.json"])["attributes"]["seismill"]["proven_at"]
