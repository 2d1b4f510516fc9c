"""New names and locks on file systems without hard links, renames that replace nothing, or flock."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.demo import make_survey
from tests.support.command import seismill
from tests.support.disks import exfat_disk, refusing_library

LACKING = {
    "no links": ("NO_LINK",),
    "no links or renames": ("NO_LINK", "NO_RENAME"),
    "no flock": ("NO_FLOCK=ENOLCK",),
    "nothing": ("NO_LINK", "NO_RENAME", "NO_FLOCK=EOPNOTSUPP"),
}
SAID = {
    "no links": "no hard links, so objects are created by renames that replace nothing",
    "no links or renames": "no hard links, so objects are created by exclusive creates",
    "no flock": "no flock, so files that name their holder take its place",
    "nothing": "exclusive creates and no flock",
}
# Several processes create and replace the same names; each prints how often it was the one.
CONTEST = """
import json, logging, sys
from concurrent.futures import ThreadPoolExecutor
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore
store = WritableStore(sys.argv[1])
store.probe()
print("ready", flush=True)
sys.stdin.readline()
def work(number):
    created = [n for n in range(60) if store.create(f"a/{n}", b"%s-%d-" % (sys.argv[2].encode(), number) * 500)]
    replaced = 0
    for n in range(30):
        seen = store.identity("b")
        count = int(store.get("b").split()[0])
        replaced += store.replace("b", b"%d " % (count + 1) + b"x" * (count + 1), seen)
    return created, replaced
with ThreadPoolExecutor(3) as pool:
    done = list(pool.map(work, range(3)))
print(json.dumps([sum((c for c, _ in done), []), sum(r for _, r in done)]))
"""


def run_contest(root: Path, environment: dict[str, str]) -> tuple[list[int], int, str]:
    """Let two processes with three threads each contend; return what was created, replaced and logged."""
    root.mkdir(exist_ok=True)
    (root / "b").write_bytes(b"0 ")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CONTEST, str(root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        for name in ("first", "second")
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
    created: list[int] = []
    replaced, logged = 0, ""
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        names, count = json.loads(out)
        created, replaced, logged = created + names, replaced + count, logged + err
    return created, replaced, logged


@pytest.mark.slow
@pytest.mark.parametrize("lacking", LACKING)
def test_a_name_is_created_once_and_replaced_by_one_at_a_time_whatever_the_file_system_lacks(
    tmp_path: Path, lacking: str
) -> None:
    library = refusing_library(tmp_path, *LACKING[lacking])
    root = tmp_path / "v"
    created, replaced, logged = run_contest(root, {"LD_PRELOAD": library})
    assert sorted(created) == list(range(60)), "each name was created by exactly one"
    assert SAID[lacking] in logged
    for path in (root / "a").iterdir():
        data = path.read_bytes()
        assert data == data[: len(data) // 500] * 500, "whole, and of one writer"
    assert int((root / "b").read_bytes().split()[0]) == replaced, "no replacement was lost"
    assert not list((root / ".seismill/tmp").iterdir())


def test_names_are_created_once_on_a_real_exfat_disk(tmp_path: Path) -> None:
    with exfat_disk(tmp_path, 64) as disk:
        created, replaced, logged = run_contest(disk / "v", {})
        assert sorted(created) == list(range(60))
        assert SAID["no links or renames"] in logged
        assert int((disk / "v" / "b").read_bytes().split()[0]) == replaced


KILLED = """
import os, signal, sys
from tasks.volume.store.objects import Store
replace, at = os.replace, sys.argv[1]
def killed(source, target):
    if target.endswith(at): os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killed
from flows.cli import main
sys.argv[1:] = sys.argv[2:]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", ["plan.json", "commits/00000001", "commits/00000002", "lock/00000001", "c/0/0/0"]
)
def test_a_kill_between_taking_a_name_and_filling_it_is_gone_on_from(tmp_path: Path, at: str) -> None:
    library = refusing_library(tmp_path, "NO_LINK", "NO_RENAME")
    make_survey(str(tmp_path / "a.sgy"), shape=(9, 7, 33))
    command = ["publish", str(tmp_path / "a.sgy"), str(tmp_path / "a.zarr"), "--no-flow", "--no-report"]
    environment = os.environ | {"LD_PRELOAD": library}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, at, *command], env=environment, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    (empty,) = [
        path for path in (tmp_path / "a.zarr").rglob("*") if path.is_file() and not path.stat().st_size
    ]
    assert str(empty).endswith(at)
    if at.startswith("lock"):
        command += ["--lock-wait", "100"]
    again = seismill(*command, **environment)
    assert again.returncode == 0, again.stderr
    checked = seismill("verify", str(tmp_path / "a.zarr"), **environment)
    assert checked.returncode == 0, checked.stderr
