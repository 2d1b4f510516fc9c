"""Publishing is killed at random moments: readers find nothing or whole arrays, the next run ends as if undisturbed.

SEISMILL_CAMPAIGN says how many moments; from 30 on the cube has 100 MB instead of 10. SEISMILL_SEED repeats a campaign.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tests.survey import make_survey
from tests.volumes import STAMP, blocks_noted, differences, tree

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CAMPAIGN = int(os.environ.get("SEISMILL_CAMPAIGN", "4"))
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SHAPE = (130, 110, 1701) if CAMPAIGN >= 30 else (64, 50, 801)
STAGES = {"ingest_segy": "ingest", "rechunk": "copies", "pyramid": "pyramid"}
NOTHING_THERE = (FileNotFoundError, KeyError)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "survey.sgy"
    il, xl, n = SHAPE
    return make_survey(
        path, inlines=range(il), crosslines=range(xl), n_samples=n, drop=77, set_words={(5, 5): 1}
    ).path


def command(source: Path, volume: Path, *more: str) -> list[str]:
    # Small chunks and blocks, so that there is something to be interrupted between.
    return [
        *(sys.executable, "-c", "from flows.cli import main; main()", "publish", str(source), str(volume)),
        *("--no-flow", "--json", "--created-on", STAMP, "--chunks", "16,16,128", "--levels", "2"),
        *("--presets", "fast_time", "--copy", "slices=4,64,256", "--memory", "1 GB", *more),
    ]


def publish(source: Path, volume: Path, *more: str) -> dict[str, Any]:
    """The summary of a run that ends well."""
    ended = subprocess.run(command(source, volume, *more), stdout=subprocess.PIPE, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float, dict[str, Any]]:
    """A volume, the seconds that making it took without the interpreter's start, and the summary."""
    volume = tmp_path_factory.mktemp("undisturbed") / "survey.zarr"
    summary = publish(source, volume)
    return volume, summary["seconds"], summary


@contextmanager
def started(source: Path, volume: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run that holds the volume's lock; killed at the end if it still runs."""
    process = subprocess.Popen(
        command(source, volume, *more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        while not (volume / ".seismill/lock/00000001").exists():
            assert process.poll() is None, process.stderr.read() if process.stderr else b""
            time.sleep(0.002)
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def arrays_of(volume: Path) -> dict[str, zarr.Array]:
    """The arrays of a whole volume by path."""
    group = zarr.open_group(volume, mode="r", use_consolidated=True)
    return {name: member for name, member in group.members(max_depth=None) if isinstance(member, zarr.Array)}


class Reader:
    """Opens arrays in all ways while they come into being, and compares what it finds with the undisturbed ones."""

    def __init__(self, volume: Path, twins: dict[str, zarr.Array], seed: int) -> None:
        self.volume, self.twins, self.drawn = volume, twins, random.Random(seed)
        self.looked, self.found, self.wrong = 0, 0, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Reader":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.ended.is_set():
            self.look()

    def look(self) -> None:
        """Open one array in one way and compare a region, or all of a small one."""
        path = self.drawn.choice(sorted(self.twins))
        self.looked += 1
        try:
            array = self._open(path)
        except NOTHING_THERE:
            return
        self.found += 1
        twin = self.twins[path]
        region = tuple(
            slice(start := self.drawn.randrange(n), start + self.drawn.randrange(1, 40)) for n in twin.shape
        )
        try:
            mine, wanted = np.asarray(array[region]), np.asarray(twin[region])
            same = mine.dtype == wanted.dtype and mine.tobytes() == wanted.tobytes()
        except Exception as error:
            self.wrong.append(f"{path} {region}: {type(error).__name__}: {error}")
            return
        if not same or dict(array.attrs) != dict(twin.attrs):
            self.wrong.append(f"{path} {region} differs")

    def _open(self, path: str) -> zarr.Array:
        how = self.drawn.choice(["direct", "group", "consolidated"])
        if how == "direct":
            return zarr.open_array(self.volume / path, mode="r")
        group = zarr.open_group(self.volume, mode="r", use_consolidated=how == "consolidated")
        array = group[path]
        assert isinstance(array, zarr.Array)
        return array


def check_whole_or_absent(volume: Path, whole: dict[str, bytes]) -> list[str]:
    """Arrays that exist; each of them, and whatever the root names, has every file of the undisturbed volume."""
    now = tree(volume)
    shown = [name.removesuffix("/zarr.json") for name in now if name.endswith("/zarr.json")]
    if "zarr.json" in now:
        named = json.loads(now["zarr.json"])["consolidated_metadata"]["metadata"]
        assert set(named) <= set(shown)
    for path in shown:
        wanted = {
            name: data
            for name, data in whole.items()
            if name.startswith(f"{path}/c/") or name == f"{path}/zarr.json"
        }
        assert {name: now.get(name) for name in wanted} == wanted, f"{path} is not whole"
        extra = [name for name in now if name.startswith(f"{path}/c/") and name not in wanted]
        assert not extra, f"{path} has {extra}"
    return shown


def check_rerun(volume: Path, noted: dict[str, int], summary: dict[str, Any], whole: dict[str, Any]) -> None:
    """No block that the ledger had was done again."""
    done_before = {name: noted.get(verb, 0) for verb, name in STAGES.items()}
    totals = {
        stage["stage"]: stage["blocks_done"] for stage in whole["stages"] if stage["stage"] in done_before
    }
    for stage in summary["stages"]:
        name = stage["stage"]
        if name in totals and stage["blocks_done"] + stage["blocks_resumed"]:
            assert stage["blocks_resumed"] == done_before[name], name
            assert stage["blocks_done"] == totals[name] - done_before[name], name


@pytest.mark.parametrize("round_", range(CAMPAIGN))
def test_a_kill_at_any_moment_leaves_whole_arrays_and_the_next_run_ends_with_the_same_bytes(
    source: Path, undisturbed: tuple[Path, float, dict[str, Any]], tmp_path: Path, round_: int
) -> None:
    twin, seconds, summary = undisturbed
    drawn = random.Random(SEED + round_)
    print(f"SEISMILL_SEED={SEED} round {round_}")
    volume = tmp_path / "survey.zarr"
    moment = drawn.uniform(0, 1.1 * seconds)
    with Reader(volume, arrays_of(twin), SEED + round_) as reader:
        with started(source, volume) as process:
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.wait()
        whole = tree(twin)
        shown = check_whole_or_absent(volume, whole)
        noted = blocks_noted(volume)
        rerun = publish(source, volume)
    print(
        f"killed after {moment:.2f} s: {len(shown)} arrays and groups shown, blocks {dict(noted)}, "
        f"{reader.looked} looks, {reader.found} arrays found"
    )
    assert reader.wrong == []
    check_rerun(volume, noted, rerun, summary)
    assert differences(tree(volume), whole) == []
    assert not list((volume / ".seismill/tmp").glob("*")), "nothing half-written is left"
    shutil.rmtree(volume)


def test_kills_one_after_the_other_end_in_the_same_bytes_too(
    source: Path, undisturbed: tuple[Path, float, dict[str, Any]], tmp_path: Path
) -> None:
    twin, seconds, _ = undisturbed
    drawn = random.Random(SEED)
    print(f"SEISMILL_SEED={SEED}")
    volume = tmp_path / "survey.zarr"
    whole = tree(twin)
    kills = 0
    with Reader(volume, arrays_of(twin), SEED) as reader:
        while kills < CAMPAIGN:
            epoch = len(list(volume.glob(".seismill/lock/*"))) + 1
            process = subprocess.Popen(
                command(source, volume), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while process.poll() is None and not (volume / f".seismill/lock/{epoch:08d}").exists():
                time.sleep(0.002)
            time.sleep(drawn.uniform(0, seconds / 3))
            process.kill()
            if process.wait() == 0:
                break
            kills += 1
            check_whole_or_absent(volume, whole)
        publish(source, volume)
    assert reader.wrong == []
    assert differences(tree(volume), whole) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_drains_and_says_how_to_go_on(
    source: Path, undisturbed: tuple[Path, float, dict[str, Any]], tmp_path: Path, number: int
) -> None:
    twin, _, summary = undisturbed
    volume = tmp_path / "survey.zarr"
    with started(source, volume) as process:
        while not blocks_noted(volume):
            time.sleep(0.002)
        process.send_signal(number)
        began = time.monotonic()
        assert process.wait(30) == 75
        assert time.monotonic() - began < 10
        assert process.stderr is not None
        words = process.stderr.read().decode()
    assert "run the same command again" in words
    assert "Traceback" not in words
    noted = blocks_noted(volume)
    lock = json.loads((volume / ".seismill/lock/00000001").read_text())
    assert lock["state"] == "released"
    rerun = publish(source, volume)
    check_rerun(volume, noted, rerun, summary)
    assert differences(tree(volume), tree(twin)) == []


def test_of_two_runs_at_once_one_writes_and_the_other_stops_or_finds_it_done(
    source: Path, undisturbed: tuple[Path, float, dict[str, Any]], tmp_path: Path
) -> None:
    volume = tmp_path / "survey.zarr"
    with started(source, volume) as first:
        first.send_signal(signal.SIGSTOP)  # so that it surely still runs when the others come
        refused = subprocess.run(
            command(source, volume, "--lock-wait", "0"), capture_output=True, check=False
        )
        assert refused.returncode == 75
        assert f"process {first.pid} is writing {volume}; run this again" in refused.stderr.decode()
        threading.Timer(3, lambda: first.send_signal(signal.SIGCONT)).start()
        waiting = publish(source, volume, "--lock-wait", "600")
        assert first.wait(600) == 0
    assert waiting["blocks_done"] < undisturbed[2]["blocks_done"]
    assert differences(tree(volume), tree(undisturbed[0])) == []
