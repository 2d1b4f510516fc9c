"""A night's migration: a sweep that is killed half-way leaves runs that go on, and the next sweep finishes."""

import csv
import ctypes
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.publishers import direct_sweep
from tasks.parameters import Publication
from tests.deployments.test_deployments import Server
from tests.deployments.test_registered import command, fill, runs
from tests.infra.test_infra import AUTHORITY, COMPOSE, postgres  # noqa: F401  # a fixture
from tests.support.prefect_api import ENDED, until
from tests.support.servers import free_port, wait_for

pytestmark = pytest.mark.server

# A migration of a night: SEISMILL_SWEEP=500 pytest -n 0 -m server tests/flows/test_migration.py.
FILES = int(os.environ.get("SEISMILL_SWEEP", "6"))
BAD = 3 if FILES >= 20 else 1
HARD = FILES >= 20  # two workers are killed, the server is killed and started again, and five files are moved
# Tiny files in one process: SEISMILL_TINY=2000.
TINY = int(os.environ.get("SEISMILL_TINY", "20"))
PROOF = Publication(steps=["proof"])


class Migration(Server):
    """A server and its worker, which are killed and started again."""

    begin: Callable[..., subprocess.Popen[bytes]]
    server: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def begin_server(self) -> None:
        """Start the server and wait until it answers."""
        self.server = self.begin("server", "start", "--host", "127.0.0.1", "--port", self.port)
        wait_for(f"{self.api}/health", self.server, 300)

    def begin_worker(self) -> None:
        """Start a worker that carries out four runs at a time."""
        self.worker = self.begin("worker", "start", "--pool", "seismill", "--type", "process", "--limit", "4")

    def kill_worker(self) -> None:
        """Kill the worker, whose runs live on, and start another one."""
        self.worker.kill()
        self.begin_worker()

    def kill_server(self) -> None:
        """Kill the server, and start it again after a while."""
        self.server.kill()
        time.sleep(15)
        self.begin_server()


@pytest.fixture
def migration(postgres: str, tmp_path: Path) -> Iterator[Migration]:  # noqa: F811
    """A server as compose has it, whose worker carries out four runs at a time; more than SQLite takes."""
    port, root = free_port(), tmp_path / "migration"
    root.mkdir()
    at = Migration(root, port)
    at.authority = AUTHORITY
    given = COMPOSE["services"]["server"]["environment"] | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://prefect@{postgres}/prefect",
        "PREFECT_SERVER_API_AUTH_STRING": AUTHORITY,
        "PREFECT_SERVER_UI_API_URL": at.api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": at.api,
        "PREFECT_API_AUTH_STRING": AUTHORITY,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "SEISMILL_ALLOW": str(root),
    }
    prefect, started = [sys.executable, "-m", "prefect"], []
    with open(tmp_path / "log", "wb") as log:

        def begin(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [*prefect, *words], env=os.environ | given, cwd=root, stdout=log, stderr=log
            )
            started.append(process)
            return process

        try:
            at.begin = begin
            at.begin_server()
            register = command(at, "register", "process", PREFECT_API_AUTH_STRING=AUTHORITY)
            _, err = register.communicate(timeout=300)
            assert register.returncode == 0, err
            at.begin_worker()
            yield at
        finally:
            for process in started:  # asked to end, a worker would wait for its runs
                process.kill()
                process.wait(60)


def published(volumes: Path) -> list[Path]:
    """The volumes that are complete."""
    return [
        root.parent for pattern in ("*.zarr", "moved/*.zarr") for root in volumes.glob(f"{pattern}/zarr.json")
    ]


def move_next(staging: Path, volumes: Path, under_way: int) -> None:
    """Move five files that the sweep is about to begin, in the order of their names, into another folder."""
    waiting = sorted(
        file
        for file in staging.glob("*.sgy")
        if file.stat().st_size > 5000 and not (volumes / f"{file.stem}.zarr").exists()
    )
    (staging / "moved").mkdir()
    for file in waiting[under_way : under_way + 5]:
        file.rename(staging / "moved" / file.name)


@pytest.fixture
def processor_seconds() -> Iterator[Callable[[], float]]:
    """The seconds of processor of all processes that begin below this one; it adopts those whose parent is killed."""
    adopt = ctypes.CDLL(None, use_errno=True).prctl
    assert adopt(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER

    here = psutil.Process()

    def seconds() -> float:
        while any(child.status() == psutil.STATUS_ZOMBIE for child in here.children()):
            os.waitpid(-1, os.WNOHANG)
        times = here.cpu_times()
        total = times.children_user + times.children_system
        for child in here.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # one of the database's may end here
                total += sum(child.cpu_times()[:4])  # its own and those of its children that have ended
        return total

    before = seconds()
    yield lambda: seconds() - before
    adopt(36, 0, 0, 0, 0)


@pytest.mark.timeout(900 + 30 * FILES)
def test_a_killed_sweep_leaves_runs_that_go_on_and_the_next_one_starts_none_twice(
    processor_seconds, migration
):
    staging = fill(migration.root / "staging", files=FILES, bad=BAD)
    volumes = migration.root / "volumes"
    at_once = min(8, FILES // 2)
    words = ("sweep", staging, str(volumes), "--deployment", "publish/publish", "--max-active", str(at_once))
    words = (*words, "--settle-minutes", "0", "--steps", "proof", "--json")
    if HARD:
        migration.hurry(sign=75, goes=15, began=60)
    began = time.monotonic()
    first = command(migration, *words, PREFECT_API_AUTH_STRING=AUTHORITY)
    # A pipe that nobody reads would stop a sweep of many files.
    with ThreadPoolExecutor(2) as reader, ExitStack() as at_the_end:
        at_the_end.callback(first.kill)
        output = reader.submit(first.communicate)

        def wait_for_share(share: float, sweep: subprocess.Popen[str]) -> None:
            while len(published(volumes)) < (FILES - BAD) * share:
                assert sweep.poll() is None, output.result()
                time.sleep(0.3)

        if HARD:
            wait_for_share(1 / 6, first)
            migration.kill_worker()
            move_next(Path(staging), volumes, at_once)
            wait_for_share(1 / 3, first)
            migration.kill_server()
            print(f"worker and server killed, and started again, by {time.monotonic() - began:.0f} s")
        wait_for_share(1 / 2, first)
        first.send_signal(signal.SIGKILL)
        print(f"killed after {time.monotonic() - began:.0f} s")
        second = command(migration, *words, PREFECT_API_AUTH_STRING=AUTHORITY)
        at_the_end.callback(second.kill)
        last = reader.submit(second.communicate)
        if HARD:
            wait_for_share(2 / 3, second)
            migration.kill_worker()
        out, err = last.result()
        assert second.returncode == 0, err
        # A sweep goes on with what is resumable because its run was killed with the second worker.
        if HARD:
            print(f"second sweep: {json.loads(out.splitlines()[-1])['counts']}")
            third = command(migration, *words, PREFECT_API_AUTH_STRING=AUTHORITY)
            at_the_end.callback(third.kill)
            out, err = third.communicate()
            assert third.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    seconds = time.monotonic() - began
    print(
        f"{FILES} files in {seconds:.0f} s, {60 * FILES / seconds:.0f} a minute; last sweep: {summary['counts']}"
    )
    assert summary["counts"]["quarantined"] == BAD
    assert sum(summary["counts"].values()) == FILES
    assert len([row["sentence"] for row in summary["attention"] if row["sentence"]]) == BAD
    assert len(published(volumes)) == FILES - BAD
    with open(volumes / ".seismill/catalogue.csv", newline="") as table:
        released = {row["name"] for row in csv.DictReader(table) if row["safe_to_release"] == "yes"}
    assert released == {str(volume.with_suffix(".sgy").relative_to(volumes)) for volume in published(volumes)}
    ended = runs(migration, staging)
    if HARD:  # a run that crashed is gone on with, and so is its source by the next sweep; the lock keeps them apart

        def at_rest() -> bool:
            nonlocal ended
            ended = runs(migration, staging)
            return {run["state_name"] for run in ended} <= {"Completed", "Failed"}

        until(at_rest, 600, said=lambda: Counter(run["state_name"] for run in ended))
        assert len(published(volumes)) == FILES - BAD
    states = Counter(run["state_name"] for run in ended)
    print(f"{processor_seconds() / FILES:.1f} s of processor a file, with server, database and sweeps")
    print(f"{len(ended)} runs, {states}; {sum(run['run_count'] for run in ended)} attempts")
    if HARD:
        return
    names = [run["parameters"]["source"].rpartition("/")[2] for run in ended]
    assert sorted(names) == sorted(f"{n}.sgy" for n in range(FILES))  # nothing twice
    assert len({run["idempotency_key"] for run in ended}) == FILES
    histories = [migration.ask(f"/flow_run_states/?flow_run_id={run['id']}") for run in ended]
    assert at_most(histories, "SCHEDULED") <= at_once
    assert at_most(histories, "PENDING") <= 4


@pytest.mark.slow
@pytest.mark.timeout(600 + 2 * TINY)
def test_tiny_files_are_migrated_in_one_process(tmp_path):
    staging, volumes = tmp_path / "staging", tmp_path / "volumes"
    fill(staging, files=TINY, bad=3)
    began, spent = time.monotonic(), time.process_time()
    first = direct_sweep(staging=str(staging), volumes=str(volumes), settle_minutes=0, publication=PROOF)
    each = (time.process_time() - spent) / TINY
    print(f"{TINY} files in {time.monotonic() - began:.0f} s; {each:.2f} s of processor a file")
    assert first["counts"] == {"published": TINY - 3, "quarantined": 3}
    again = direct_sweep(staging=str(staging), volumes=str(volumes), settle_minutes=0, publication=PROOF)
    assert again["counts"] == {"unchanged": TINY - 3, "quarantined": 3}
    text = (volumes / ".seismill/catalogue.csv").read_text()
    released = Counter(row["safe_to_release"] for row in csv.DictReader(io.StringIO(text)))
    assert released == {"yes": TINY - 3, "no": 3}


def at_most(histories: list[list[dict[str, Any]]], begins: str) -> int:
    """How many runs were at once between their first state of this type and their last state."""
    steps = []
    for states in histories:
        changes = sorted((datetime.fromisoformat(state["timestamp"]), state["type"]) for state in states)
        assert changes[-1][1] in ENDED
        steps += [(next(at for at, kind in changes if kind == begins), 1), (changes[-1][0], -1)]
    return max(itertools.accumulate(step for _, step in sorted(steps)))
