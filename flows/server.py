"""A Prefect server and a worker of one's own, for triggering runs from a browser on this machine.

Everything lies in one folder: the server's database, two logs, and a file with the processes that were started,
by which `stop` finds them again. Both listen on the loopback address alone. The database is SQLite, which is for a few
runs at a time; a migration wants the PostgreSQL of infra/compose.yaml.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from flows.registration import POOL
from tasks.volume.outcomes import Outcome

_START_SECONDS = 300  # making the database takes 20 s on two quiet cores
_STOP_SECONDS = 30
_SERVER = "flows.local_server"


class NotStarted(Outcome):
    """The server or the worker cannot be started here."""


def start(root: str, *, home: str, port: int) -> None:
    """Start server and worker unless they run, register the deployments, and print where the UI is.

    Args:
        root: What triggered runs may touch: a folder, or prefixes separated by commas.
        home: Folder for state and logs; made if it is not there.
        port: Of the API and the UI.

    Raises:
        NotStarted: The port is taken, the server runs with another port, or a process ended at once.
    """
    allowed = ",".join(
        prefix if "://" in prefix else str(Path(prefix).resolve()) for prefix in root.split(",")
    )
    state = Path(home).resolve()
    state.mkdir(parents=True, exist_ok=True)
    running = _running(state)
    if "server" in running and running["server"]["port"] != port:
        raise NotStarted(
            f"the server of {state} runs on port {running['server']['port']}; end it with 'seismill down', or give "
            "another --home"
        )
    environment = _environment(state, port)
    if "server" not in running:
        _refuse_taken_port(port)
        command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        pid = _spawn(state, "server", command, environment, module=_SERVER)
        running["server"] = {"pid": pid, "port": port}
        _remember(state, running)
    print(f"server: waiting for {environment['PREFECT_API_URL']}", flush=True)
    _wait_for(environment["PREFECT_API_URL"], state, running["server"]["pid"])

    if running.get("worker", {}).get("allowed") not in (None, allowed):
        _end(running.pop("worker")["pid"])  # what it may touch is fixed in its environment
    print(f"deployments: registering them with the pool {POOL!r}", flush=True)
    _register(state, allowed, environment)
    if "worker" not in running:
        command = ["worker", "start", "--pool", POOL, "--type", "process", "--name", f"worker-{port}"]
        pid = _spawn(state, "worker", command, environment | {"SEISMILL_ALLOW": allowed})
        running["worker"] = {"pid": pid, "allowed": allowed}
        _remember(state, running)
    print(f"logs:   {state / 'server.log'}, {state / 'worker.log'}")
    print(f"runs may read and write {allowed}")
    print(f"UI:     http://127.0.0.1:{port}/deployments  ('seismill down' ends it)")


def stop(*, home: str) -> None:
    """End the worker and the server that `start` started with the same `home`; their state is kept."""
    state = Path(home).resolve()
    running = _running(state)
    for name in ("worker", "server"):  # a worker whose server went first would log errors
        if name in running:
            _end(running[name]["pid"])
            print(f"{name}: ended")
        else:
            print(f"{name}: was not running")
    (state / "processes.json").unlink(missing_ok=True)


def _environment(state: Path, port: int) -> dict[str, str]:
    api = f"http://127.0.0.1:{port}/api"
    return os.environ | {
        "PREFECT_HOME": str(state),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_UI_API_URL": api,  # a UI on another port than 4200 asks the wrong server without it
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks",
        "NO_COLOR": "1",
    }


def _spawn(
    state: Path, name: str, command: list[str], environment: dict[str, str], *, module: str = "prefect"
) -> int:
    with open(state / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at this terminal is not meant for it
        )
    return process.pid


def _register(state: Path, allowed: str, environment: dict[str, str]) -> None:
    first = allowed.split(",")[0]
    # Runs start in the folder from which they are registered, so that paths in the form may be relative to it.
    place = first if "://" not in first and Path(first).is_dir() else None
    # In a process of its own, because Prefect reads its settings when it is imported.
    command = [sys.executable, "-c", "from flows.cli import main; main()", "register", "process"]
    with open(state / "deploy.log", "ab") as log:
        done = subprocess.run(command, env=environment, cwd=place, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        last = (state / "deploy.log").read_text().strip().splitlines()[-1].strip()
        raise NotStarted(f"registering the deployments failed with {last!r}; see {state / 'deploy.log'}")


def _wait_for(api: str, state: Path, pid: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            pass
        if not _is_prefect(pid):
            raise NotStarted(f"the server ended at once; {state / 'server.log'} says why")
        if time.monotonic() > deadline:
            raise NotStarted(f"{api} does not answer after {_START_SECONDS} s; see {state / 'server.log'}")
        time.sleep(0.3)


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise NotStarted(f"port {port} is taken ({error.strerror}); give another with --port") from error


def _running(state: Path) -> dict[str, dict[str, Any]]:
    file = state / "processes.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    return {name: process for name, process in known.items() if _is_prefect(process["pid"])}


def _remember(state: Path, running: dict[str, dict[str, Any]]) -> None:
    (state / "processes.json").write_text(json.dumps(running, indent=1))


def _is_prefect(pid: int) -> bool:
    """Whether the process lives and is one of ours: numbers are used again after a restart of the machine."""
    try:
        command = Path(
            f"/proc/{pid}/cmdline"
        ).read_bytes()  # empty for a moment after the process was started
        ended = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        ours = {b"prefect", _SERVER.encode()}
        return not ended and (not command or not ours.isdisjoint(command.split(b"\0")))
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end(pid: int) -> None:
    """Ask a process to end, wait for it, and end its whole session if it does not."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _is_prefect(pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    try:
        os.killpg(pid, signal.SIGKILL)  # it leads its own session: what it left behind is in its group
    except ProcessLookupError:
        pass
