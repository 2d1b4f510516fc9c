"""Kills of `seismill up`, its worker, a run and the server, in any order: every run completes by itself.

The tree is copied and its automations act within seconds, but for the sign of life, which Prefect sends every 30 s at
most. What was killed of `up`, worker and server is started again by `up`, as service managers do; no run is touched.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from flows.processes import started
from tasks.demo import make_survey
from tests import ROOT
from tests.deployments.test_automations import processes_of
from tests.deployments.test_deployments import long_run
from tests.support.prefect_api import ENDED, Api, until
from tests.support.servers import SlowStaging, free_port

pytestmark = [pytest.mark.campaign, pytest.mark.server]

# SEISMILL_KILLS=30 pytest -n 0 -s -m campaign tests/campaigns/test_kills_of_up.py
KILLS = int(os.environ.get("SEISMILL_KILLS", "4"))
SEED = int(os.environ.get("SEISMILL_SEED", "17"))
SECONDS = {"1-zombies": 75, "2-resume": 10, "8-worker-gone": 120}
TARGETS = ("up", "worker", "run", "server")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code whose automations act within seconds."""
    copy = tmp_path / "tree"
    for name in ("flows", "tasks", "deployments", "infra"):
        shutil.copytree(ROOT / name, copy / name)
    for name, within in SECONDS.items():
        file = copy / "deployments" / "automations" / f"{name}.yaml"
        document = yaml.safe_load(file.read_text())
        document["trigger"]["within"] = within
        file.write_text(yaml.safe_dump(document, sort_keys=False))
    return copy


class Machine:
    """A server and a worker of `up` that are killed and started again."""

    def __init__(self, tree: Path, root: Path, allowed: str) -> None:
        self.root, self.home, port = root, root / "home", free_port()
        self.api = Api(f"http://127.0.0.1:{port}/api")
        self._words = ("up", allowed, "--port", str(port), "--home", str(self.home))
        self.tree = tree

    def command(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a `seismill` command of the copied tree."""
        with open(self.root / "up.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-P", "-c", "from flows.cli import main; main()", *words],
                cwd=self.root,
                env=os.environ | {"PYTHONPATH": str(self.tree)},
                stdout=log,
                stderr=log,
            )

    def up(self) -> None:
        """Start what does not run."""
        assert self.command(*self._words).wait(500) == 0, (self.root / "up.log").read_text()[-3000:]

    def kill_up(self, seconds: float) -> None:
        """Kill an `up` after some seconds."""
        process = self.command(*self._words)
        time.sleep(seconds)
        process.kill()
        process.wait()

    def kill(self, name: str) -> None:
        """Kill the server or the worker, which is started first if it does not run."""
        while True:
            process = json.loads((self.home / "processes.json").read_text()).get(name, {"pid": 0})
            if process["pid"] and started(process["pid"]) == process["since"]:
                os.kill(process["pid"], signal.SIGKILL)
                return
            self.up()

    def down(self) -> None:
        """End both."""
        assert self.command("down", "--home", str(self.home), "--stop-runs").wait(200) == 0


@pytest.fixture
def machine(tree: Path, tmp_path: Path, slow_staging: SlowStaging) -> Iterator[Machine]:
    """Server and worker, which may read the slow bucket."""
    root = tmp_path / "root"
    root.mkdir()
    started = Machine(tree, root, f"{root},s3://staging,{slow_staging.endpoint}")
    try:
        started.up()
        yield started
    finally:
        started.down()


@pytest.mark.timeout(900 + 90 * KILLS)
def test_after_kills_in_any_order_every_run_completes(machine: Machine, slow_staging: SlowStaging) -> None:
    chance = random.Random(SEED)
    survey = machine.root / "survey.sgy"
    make_survey(str(survey), shape=(60, 40, 151))
    source = slow_staging.put(survey)
    runs: list[str] = []
    began, killed = time.monotonic(), Counter[str]()

    def begin() -> None:
        run = machine.api.start(
            "publish",
            steps=["proof"],
            source=source,
            volume=str(machine.root / f"{len(runs)}.zarr"),
            master={"chunks": [4, 8, 64]},
            run={"storage_options": {"endpoint_url": slow_staging.endpoint}},
        )
        runs.append(run)

    def open_runs() -> int:
        return sum(machine.api.state(run)["type"] not in ENDED for run in runs)

    deck = [TARGETS[n % len(TARGETS)] for n in range(KILLS)]
    chance.shuffle(deck)
    while deck:
        while open_runs() < 2:
            begin()
        time.sleep(chance.uniform(1, 20))
        # Up to four kills before anything is started again.
        burst = [deck.pop() for _ in range(min(len(deck), chance.randint(1, 4)))]
        for target in burst:
            if target == "run":
                processes = [pid for run in runs for pid in processes_of(run)]
                if not processes:
                    machine.up()
                    begin()  # those before may have completed
                    processes = until(lambda: [pid for run in runs for pid in processes_of(run)], 180)
                os.kill(chance.choice(processes), signal.SIGKILL)
            elif target == "up":
                machine.kill_up(chance.uniform(0.5, 25))
            else:
                machine.kill(target)
            killed[target] += 1
            time.sleep(chance.choice((0, chance.uniform(0, 15))))
        if burst != ["run"]:
            machine.up()
        states = Counter(machine.api.state(run)["name"] for run in runs)
        print(f"{time.monotonic() - began:5.0f} s: killed {', '.join(burst)}; {dict(states)}", flush=True)
    slow_staging.hurry()
    for run in runs:
        state = machine.api.until(run, lambda state: state["type"] == "COMPLETED", 300)
        attempts = machine.api.ask(f"/flow_runs/{run}")["run_count"]
        print(f"{time.monotonic() - began:5.0f} s: {state['name']} in attempt {attempts}", flush=True)
    for n in range(len(runs)):
        assert (machine.root / f"{n}.zarr" / "zarr.json").exists()
    assert sum(killed.values()) == KILLS
    print(f"{KILLS} kills {dict(killed)}, {len(runs)} runs in {time.monotonic() - began:.0f} s")


@pytest.mark.skipif("SEISMILL_BEFORE" not in os.environ, reason="SEISMILL_BEFORE names no commit")
def test_what_a_release_before_began_is_finished_by_this_one(
    tree: Path, tmp_path: Path, slow_staging: SlowStaging
) -> None:
    before, root = tmp_path / "before", tmp_path / "root"
    before.mkdir()
    root.mkdir()
    archive = subprocess.run(
        ["git", "archive", os.environ["SEISMILL_BEFORE"]], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(["tar", "-x", "-C", str(before)], input=archive.stdout, check=True)
    machine = Machine(before, root, f"{root},s3://staging,{slow_staging.endpoint}")
    try:
        machine.up()
        run = machine.api.start("publish", steps=["proof"], **long_run(root, "a", slow_staging))
        until(lambda: list(root.glob("a.zarr/.seismill/runs/*/ledger/*")), 300)
        machine.tree = tree
        machine.down()
        slow_staging.hurry()
        machine.up()
        state = machine.api.until(run, lambda state: state["type"] in ENDED, 300)
        print(state["message"])
        assert state["type"] == "COMPLETED"
        assert "export proven identical" in state["message"]
    finally:
        machine.down()
