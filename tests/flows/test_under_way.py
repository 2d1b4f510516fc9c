"""What happens to a run when the server and the worker that it runs on are to be ended, or are killed.

Covers flows/earlier_attempts.py.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.deployments.test_automations import processes_of
from tests.deployments.test_deployments import HOME, Server, long_run, seismill, server  # noqa: F401  # a fixture
from tests.support.prefect_api import until
from tests.support.servers import SlowStaging

pytestmark = [pytest.mark.server, pytest.mark.slow]


def sweep_under_way(server: Server, staging: SlowStaging, name: str) -> tuple[str, dict[str, Any]]:  # noqa: F811
    """A sweep that has begun to write a volume, and takes a minute and a half unless it may hurry."""
    slow = long_run(server.root, name, staging)
    parameters = {
        "staging": "s3://staging",
        "volumes": str(server.root / name),
        "settle_minutes": 0,
        "publication": {"steps": [], "master": slow["master"]},
        "run": slow["run"],
    }
    run = server.start("sweep", **parameters)
    until(lambda: list(server.root.glob(f"{name}/*.zarr/.seismill/runs/*/ledger/*")), 300)
    return run, parameters


def check_goes_on(server: Server, run: str, parameters: dict[str, Any]) -> None:  # noqa: F811
    """After the next `up` the run completes by itself, no task of it is open, and the next sweep has its turn."""
    up = server.up()
    assert up.returncode == 0, up.stderr
    state = server.end(run, 300)
    assert (state["type"], state["message"]) == ("COMPLETED", "1 published"), state
    of_run = {"flow_runs": {"id": {"any_": [run]}}}
    tasks = until(lambda: server.ask("/task_runs/filter", of_run), 60)
    assert {task["state"]["type"] for task in tasks} <= {"COMPLETED", "FAILED", "CRASHED"}
    again = server.end(server.start("sweep", **parameters), 120)
    assert again["type"] == "COMPLETED", again


def test_ending_is_refused_while_a_sweep_is_under_way_and_otherwise_stops_it_in_order(
    server: Server,  # noqa: F811
    slow_staging: SlowStaging,
    tmp_path: Path,
) -> None:
    home = str(server.root / HOME)
    run, parameters = sweep_under_way(server, slow_staging, "stopped")
    for words in (("down",), ("up", str(tmp_path), "--port", server.port)):
        refused = seismill(*words, "--home", home, cwd=Path("/"))
        assert refused.returncode == 1, refused.stdout
        assert refused.stderr.startswith("under way: sweep")
        assert run in refused.stderr
        assert f"--home {home} --stop-runs'" in refused.stderr
    assert server.state(run)["type"] == "RUNNING"
    done = seismill("down", "--home", home, "--stop-runs", cwd=Path("/"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "server: ended"
    assert processes_of(run) == []
    slow_staging.hurry()
    check_goes_on(server, run, parameters)


def test_what_was_killed_with_its_server_goes_on_after_the_next_up(
    server: Server,  # noqa: F811
    slow_staging: SlowStaging,
) -> None:
    run, parameters = sweep_under_way(server, slow_staging, "killed")
    ours = json.loads((server.root / HOME / "processes.json").read_text())
    for process in ours.values():
        os.kill(process["pid"], signal.SIGKILL)
    for pid in processes_of(run):
        os.kill(pid, signal.SIGKILL)
    slow_staging.hurry()
    check_goes_on(server, run, parameters)
