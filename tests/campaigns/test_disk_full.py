"""A disk that gets full stops a run in one sentence; with room made, the same command ends as if undisturbed.

The disk is one of memory in a mount namespace of the test's own, where it is root.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.survey import make_survey
from tests.support.volumes import STAMP, differences, tree

pytestmark = pytest.mark.slow

ROOT = ["unshare", "--map-root-user", "--mount"]
PUBLISH = "from flows.cli import main; main()"
SCRIPT = """
disk=$1 kept=$2; shift 2
mount -t tmpfs -o size=600k none "$disk" || exit 99
"$@"; echo "too small: $?, $(ls -A "$disk" | wc -l) files"
mount -o remount,size=900k "$disk" || exit 99
"$@"; echo "full: $?"
mount -o remount,size=100m "$disk" || exit 99
"$@"; echo "with room: $?"
cp -r "$disk/a.zarr" "$kept"
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where a disk can be mounted."""
    allowed = subprocess.run([*ROOT, "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip(f"no mount namespace can be made here: {allowed.stderr.decode().strip()}")
    place = tmp_path / "disk"
    place.mkdir()
    return place


def test_a_disk_that_gets_full_stops_the_run_and_with_room_it_is_gone_on_with(
    disk: Path, tmp_path: Path
) -> None:
    survey = make_survey(
        tmp_path / "a.sgy", inlines=range(40), crosslines=range(30), n_samples=301, set_words={(5, 5): 1}
    )
    flags = ["--no-flow", "--created-on", STAMP, "--chunks", "8,16,128", "--no-report"]

    def publish(volume: Path) -> list[str]:
        return [sys.executable, "-c", PUBLISH, "publish", str(survey.path), str(volume), *flags]

    subprocess.run(publish(tmp_path / "twin.zarr"), capture_output=True, check=True)
    kept = tmp_path / "kept.zarr"
    command = publish(disk / "a.zarr")
    script = ["sh", "-c", SCRIPT, "sh", str(disk), str(kept), *command]
    ended = subprocess.run([*ROOT, *script], capture_output=True, check=True, env=dict(os.environ), text=True)
    assert [
        line for line in ended.stdout.splitlines() if line.startswith(("too small:", "full:", "with room:"))
    ] == [
        "too small: 4, 0 files",
        "full: 75",
        "with room: 0",
    ], ended.stderr
    sentences = [line for line in ended.stderr.splitlines() if "space" in line]
    assert sentences == [
        f"{disk / 'a.zarr'} has no space left (No space left on device); "
        "make room and run the same command again to go on"
    ]
    assert "Traceback" not in ended.stderr
    assert differences(tree(kept), tree(tmp_path / "twin.zarr")) == []
    assert not list((kept / ".seismill/tmp").glob("*"))
