"""A local Prefect server and worker, to trigger runs from a browser on this machine.

Everything is in one folder of the user's state, not in the current folder: the server's database, by version of
Prefect, two logs, and a file that lists the started processes, by which `stop` finds them from any folder. Both
listen on the loopback address only. The database is SQLite, which suits a few runs at a time; a migration needs the
PostgreSQL of infra/compose.yaml.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.embedded import forget_half_made, locked, mark_made
from flows.json_logs import wanted
from flows.processes import NotStarted, end, last_line, listen, python_module, spawn, started, wait_for_api
from flows.registration import POOL, STAGING, VOLUMES, notifications
from flows.surroundings import make_private, prefect_folder, server_environment, state_folder
from flows.under_way import refuse_under_way, reschedule, stop_under_way
from tasks.volume.outcomes import Outcome

_STOP_SECONDS = 30
_TURN_SECONDS = 25
_REGISTER_SECONDS = 300


class NoPlace(Outcome):
    """The state of a server cannot be kept where it should be."""


def start(root: str, *, home: str, port: int, stop_runs: bool = False) -> None:
    """Start server and worker unless they run, register the deployments, and print where the UI is.

    Args:
        root: What triggered runs may touch: a folder, or prefixes separated by commas.
        home: Folder for state and logs; empty for the user's own.
        port: Port of the API and the UI.
        stop_runs: Stop runs that the present worker has under way, if it must be replaced.

    Raises:
        NotStarted: The port is taken, the server runs with another port, or a process ended at once.
        NoPlace: The folder cannot be written, or is in use by another `up` or `down`.
        UnderWay: The worker must be replaced and has runs.
    """
    allowed = ",".join(
        prefix if "://" in prefix else str(Path(prefix).resolve()) for prefix in root.split(",")
    )
    with _held(home) as (state, lock):
        running = _running(state)
        if "server" in running and running["server"]["port"] != port:
            raise NotStarted(
                f"the server of {state} runs on port {running['server']['port']}; end it with "
                f"'{_command('down', home)}', or give another --home"
            )
        api = f"http://127.0.0.1:{port}/api"
        folder = prefect_folder(state)
        if "server" in running:
            folder = Path(running["server"]["folder"])
        environment = server_environment(folder, api)
        if "server" not in running:
            running["server"] = _start_server(state, folder, port, environment)
            _remember(state, running)
        server, log = running["server"], state / "server.log"
        print(f"server: waiting for {api}", flush=True)
        wait_for_api(api, log, lambda: _lives(server), lambda stated: print(stated, flush=True))
        mark_made(folder)

        stopped: set[str] = set()
        if running.get("worker", {}).get("allowed") not in (None, allowed):
            # What it may touch is fixed in its environment.
            if stop_runs:
                stopped = stop_under_way(api, running["worker"]["pid"])
            else:
                refuse_under_way(api, has_worker=True, command=_command("up", home, root))
            end(running.pop("worker")["pid"], seconds=_STOP_SECONDS)
            _remember(state, running)
        print(f"deployments: registering them with the pool {POOL!r}", flush=True)
        _register(state, allowed, environment, lock)
        if "worker" in running:
            print(
                "worker: runs already, with the keys and settings that it was started with; for others begin with "
                f"'{_command('down', home)}'"
            )
        else:
            reschedule(api, stopped)
            running["worker"] = _start_worker(state, folder, allowed, environment, port)
            _remember(state, running)
    print(f"logs:   {state / 'server.log'}, {state / 'worker.log'}")
    print(notifications(os.environ))
    print(f"runs may read and write {allowed}")
    print(
        f"UI:     http://127.0.0.1:{port}/deployments?sort=CREATED_DESC  ('{_command('down', home)}' ends it)"
    )


def stop(*, home: str, stop_runs: bool = False) -> None:
    """Stop the worker and the server that `start` started with the same `home`, and keep their state.

    Raises:
        UnderWay: Runs are under way, and `stop_runs` is false.
        NoPlace: The folder cannot be written, or is in use by another `up` or `down`.
    """
    with _held(home) as (state, _):
        running = _running(state)
        worker, server = running.get("worker"), running.get("server")
        api = f"http://127.0.0.1:{running[next(iter(running))]['port']}/api" if running else ""
        stopped: set[str] = set()
        if running and stop_runs:
            stopped = stop_under_way(api, worker["pid"] if worker else None)
        elif running:
            refuse_under_way(api, has_worker=worker is not None, command=_command("down", home))
        if worker:
            end(worker["pid"], seconds=_STOP_SECONDS)
        print("worker: ended" if worker else "worker: was not running")
        if server:
            reschedule(api, stopped)  # what it holds for running, nobody will end while it is gone
            end(server["pid"], seconds=_STOP_SECONDS)
        print("server: ended" if server else "server: was not running")
        (state / "processes.json").unlink(missing_ok=True)


def _command(verb: str, home: str, *words: str) -> str:
    return " ".join(["seismill", verb, *words, *(["--home", home] if home else [])])


@contextmanager
def _held(home: str) -> Iterator[tuple[Path, int]]:
    """Hold a server's folder against other `up` and `down` commands inside the `with`.

    Yields:
        The folder, and the descriptor that holds its lock.

    Raises:
        NoPlace: The folder cannot be written, or another command is at work in it.
    """
    try:
        state = Path(home).resolve() if home else state_folder() / "server"
        make_private(state)
        deadline = time.monotonic() + _TURN_SECONDS
        while (lock := locked(state / "lock")) is None:
            if time.monotonic() > deadline:
                raise NoPlace(
                    f"another 'seismill up' or 'down' is at work in {state}; try again when it has ended"
                )
            time.sleep(0.2)
    except OSError as error:
        raise NoPlace(
            f"the server's state cannot be kept ({error}); give a folder that can be written with --home"
        ) from error
    try:
        yield state, lock
    finally:
        os.close(lock)


def _start_server(state: Path, folder: Path, port: int, environment: dict[str, str]) -> dict[str, Any]:
    make_private(folder)
    forget_half_made(folder)
    with listen(port) as opened:
        process = spawn(
            python_module("flows.local_server", str(opened.fileno())),
            folder=folder,
            log=state / "server.log",
            environment=environment,
            keeps=(opened.fileno(),),
        )
    return {"pid": process.pid, "since": started(process.pid), "port": port, "folder": str(folder)}


def _start_worker(
    state: Path, folder: Path, allowed: str, environment: dict[str, str], port: int
) -> dict[str, Any]:
    words = ["start", "--pool", POOL, "--type", "process", "--name", f"worker-{port}"]
    # The pool's command names python3, wherever its workers are.
    path = os.pathsep.join([os.path.dirname(sys.executable), environment.get("PATH", os.defpath)])
    command = ("prefect", "worker", *words)
    process = spawn(
        python_module("flows.json_logs", *command) if wanted(environment) else python_module(*command),
        folder=folder,
        log=state / "worker.log",
        environment=environment | {"SEISMILL_ALLOW": allowed, "PATH": path},
    )
    return {"pid": process.pid, "since": started(process.pid), "port": port, "allowed": allowed}


def _register(state: Path, allowed: str, environment: dict[str, str], lock: int) -> None:
    first = allowed.split(",")[0]
    # Runs start in the folder from which they are registered, so that paths in the form may be relative to it.
    place = first if "://" not in first and Path(first).is_dir() else None
    # In a process of its own, because Prefect reads its settings when it is imported.
    command = [sys.executable, "-P", "-c", "from flows.cli import main; main()", "register", "process"]
    file = state / "deploy.log"
    environment = environment | _prefixes(allowed)
    try:
        with open(file, "ab") as log:
            done = subprocess.run(
                command,
                env=environment,
                cwd=place,
                stdout=log,
                stderr=log,
                timeout=_REGISTER_SECONDS,
                pass_fds=(lock,),  # if this command is killed, the next waits until nobody registers
            )
    except subprocess.TimeoutExpired:
        raise NotStarted(
            f"registering the deployments did not end within {_REGISTER_SECONDS} s; see {file}"
        ) from None
    if done.returncode:
        raise NotStarted(f"registering the deployments failed with {last_line(file)!r}; see {file}")


def _prefixes(allowed: str) -> dict[str, str]:
    """Return where sweeps of this server take from and write to unless a run says otherwise."""
    first, *others = allowed.split(",")
    staging, volumes = (
        (first, others[0]) if others else (f"{first.rstrip('/')}/staging", f"{first.rstrip('/')}/volumes")
    )
    return {STAGING: staging, VOLUMES: volumes}


def _running(state: Path) -> dict[str, dict[str, Any]]:
    file = state / "processes.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    return {name: process for name, process in known.items() if _lives(process)}


def _lives(process: dict[str, Any]) -> bool:
    return bool(process["since"]) and started(process["pid"]) == process["since"]


def _remember(state: Path, running: dict[str, dict[str, Any]]) -> None:
    new = state / "processes.json.new"
    new.write_text(json.dumps(running, indent=1))
    new.replace(state / "processes.json")
