"""Flow runs under way in processes of this machine: refuse to end them, stop them, or have them resumed.

A run whose process is killed would stay Running for ever, and occupy the only slot of a sweep. So commands that end a
worker check first, and runs that they stop await their retry: the volume's ledger knows which blocks are done.
"""

import json
import signal
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from flows.processes import ask, runs_of, send, wait_for_end
from flows.registration import POOL
from tasks.volume.outcomes import Outcome

# Prefect gives a run that is asked to stop no limit; a verb drains within 10 s.
_DRAIN_SECONDS = 25
_STATES = ["PENDING", "RUNNING", "CANCELLING"]
_UNDER_WAY = {"state": {"type": {"any_": _STATES}}}


class UnderWay(Outcome):
    """The command would kill runs that are under way."""


def refuse_under_way(api: str, *, has_worker: bool, command: str) -> None:
    """Check that no run of this machine is under way, and that the processes of ended runs are gone.

    Args:
        api: The server's address.
        has_worker: Whether a worker is running, which may be about to start a pending run.
        command: The command that was typed; the refusal shows it with `--stop-runs`.

    Raises:
        UnderWay: A run is under way.
    """
    processes = runs_of(api)
    known = _runs(api)
    under_way = (
        [f"a run ({run})" for run in processes]
        if known is None
        else [
            f"{run['name']} ({run['id']})"
            for run in known
            if run["id"] in processes or (has_worker and run["state_type"] == "PENDING")
        ]
    )
    if under_way:
        raise UnderWay(
            f"under way: {', '.join(under_way)}; wait for the end, or stop what is under way with "
            f"'{command} --stop-runs' (it goes on after the next 'seismill up')"
        )
    wait_for_end([pid for pids in processes.values() for pid in pids], _DRAIN_SECONDS)


def stop_under_way(api: str, worker: int | None) -> set[str]:
    """Stop the runs of this machine in order; return their numbers, for `reschedule`.

    Args:
        api: The server's address.
        worker: Process of the worker, which ends with this.
    """
    # A worker would call a run that ends now crashed, and start the next one.
    if worker is not None:
        send(worker, signal.SIGSTOP)
    runs = runs_of(api)
    processes = [pid for pids in runs.values() for pid in pids]
    for pid in processes:
        send(pid, signal.SIGTERM)
    for pid in wait_for_end(processes, _DRAIN_SECONDS):
        send(pid, signal.SIGKILL)
    if worker is not None:
        send(worker, signal.SIGKILL)
        wait_for_end([worker], _DRAIN_SECONDS)
    return set(runs)


def reschedule(api: str, stopped: Collection[str] = ()) -> None:
    """Set runs to await their retry that were stopped, or that the server calls running and that have no process.

    There must be no worker. Runs that were being cancelled become Cancelled. A line is printed for each run.

    Args:
        api: The server's address.
        stopped: Numbers of runs that were asked to stop; Prefect calls these Crashed.
    """
    living = runs_of(api)
    crashed = {"id": {"any_": sorted(stopped)}, "state": {"name": {"any_": ["Crashed", "Resumable"]}}}
    for run in (_runs(api) or []) + ((_runs(api, crashed) or []) if stopped else []):
        if run["id"] in living:
            continue
        _end_tasks(api, run["id"])
        cancelled = run["state_type"] == "CANCELLING"
        state: dict[str, Any] = {
            "type": "CANCELLED",
            "message": "Its worker was ended while it was cancelled",
        }
        if not cancelled:
            now = datetime.now(UTC).isoformat()
            state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Going on where it stopped"}
            state["state_details"] = {"scheduled_time": now}
        _post(f"{api}/flow_runs/{run['id']}/set_state", {"state": state, "force": True})
        print(
            f"run:    {run['name']} {'is cancelled' if cancelled else 'goes on with the next worker'}",
            flush=True,
        )


def _end_tasks(api: str, run: str) -> None:
    """End the task runs of an attempt that is over; the next attempt has its own."""
    of_run = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": _UNDER_WAY}
    for task in _post(f"{api}/task_runs/filter", of_run):
        state = {"type": "CRASHED", "message": "Its process was ended"}
        _post(f"{api}/task_runs/{task['id']}/set_state", {"state": state, "force": True})


def _post(url: str, body: Any) -> Any:
    return json.loads(ask(url, json.dumps(body).encode(), seconds=20))


def _runs(api: str, runs: Mapping[str, Any] = _UNDER_WAY) -> list[dict[str, Any]] | None:
    """Return runs of the pool, by default those that are under way for the server; None if it does not answer."""
    wanted = {
        "flow_runs": runs,
        "work_pools": {"name": {"any_": [POOL]}},
        "limit": 200,
    }
    try:
        active: list[dict[str, Any]] = _post(f"{api}/flow_runs/filter", wanted)
    except OSError:
        return None
    return active
