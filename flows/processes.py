"""Start processes and find them later: a server, a worker, the runs of a worker.

A process is identified by its number and its start time, because numbers are reused.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flows.entry import DEBUG_HINT
from tasks.volume.outcomes import Outcome

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SAY_SECONDS = 20  # after which somebody who waits reads what is waited for
START_SECONDS = 300  # making the database takes 20 s on two quiet cores, minutes on a busy one


class NotStarted(Outcome):
    """A server or a worker cannot be started here."""


def python_module(module: str, *words: str) -> list[str]:
    """Return the command that runs one of our modules, without the current folder on the import path."""
    return [sys.executable, "-P", "-m", module, *words]


def spawn(
    command: Sequence[str],
    *,
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    keeps: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that a Ctrl-C at this terminal does not reach it.

    Args:
        command: Words of the command.
        folder: Current folder of the process.
        log: The file that its output is added to.
        environment: The whole environment of the process.
        keeps: Descriptors that it inherits.
        stdin: Standard input of the process.
    """
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=tuple(keeps),
            start_new_session=True,
        )


def listen(port: int) -> socket.socket:
    """Open a socket on the loopback address that a server will use.

    Args:
        port: 0 for any that is free.

    Raises:
        NotStarted: The port is taken.
    """
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(("127.0.0.1", port))
        opened.listen(512)
    except OSError as error:
        opened.close()
        raise NotStarted(f"port {port} is taken ({error.strerror}); give another with --port") from error
    return opened


def ask(url: str, body: bytes | None = None, *, seconds: float = 5) -> bytes:
    """Return what a server on the loopback address answers, never through a proxy.

    Raises:
        OSError: The server refuses, or does not answer in time.
    """
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with _DIRECT.open(request, timeout=seconds) as answer:
        data: bytes = answer.read()
        return data


def wait_for_api(api: str, log: Path, alive: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Wait until a server answers.

    Args:
        api: Address of the API.
        log: File of the process's output.
        alive: Returns whether its process is running.
        say: Called with a sentence when this takes long.

    Raises:
        NotStarted: The server ended, or did not answer in `START_SECONDS`.
    """
    began, warned = time.monotonic(), False
    while True:
        try:
            ask(f"{api}/health")
            return
        except OSError:
            pass
        waited = time.monotonic() - began
        if not alive():
            raise NotStarted(f"the Prefect server ended at once with {last_line(log)!r}; see {log}")
        if waited > START_SECONDS:
            raise NotStarted(f"the Prefect server does not answer after {START_SECONDS} s; see {log}")
        if waited > SAY_SECONDS and not warned:
            warned = True
            say(
                f"the Prefect server is still starting; it may take {START_SECONDS} s on a busy machine, see {log}"
            )
        time.sleep(0.2)


def last_line(log: Path) -> str:
    """Return the last line of a log that is not empty."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    telling = [line.strip() for line in lines if line.strip() not in ("", DEBUG_HINT)]
    return telling[-1] if telling else ""


def started(pid: int) -> str:
    """Return when a process was started, as the kernel counts it; empty if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]


def runs_of(api: str) -> dict[str, list[int]]:
    """Return the processes of this machine that carry out flow runs of a server, by the run's number."""
    asked = f"PREFECT_API_URL={api}".encode()
    name = b"PREFECT__FLOW_RUN_ID="
    runs: dict[str, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or not started(int(folder.name)):
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended, or it is somebody else's
            continue
        run = next((word.removeprefix(name) for word in environment if word.startswith(name)), b"")
        if run and asked in environment:
            runs.setdefault(run.decode(), []).append(int(folder.name))
    return runs


def send(pid: int, number: int) -> None:
    """Send a process a signal, if it is there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def end(pid: int, *, seconds: float) -> None:
    """Ask a process to end, wait for it, and end its whole session if it does not."""
    since = started(pid)
    send(pid, signal.SIGTERM)
    wait_for_end([pid], seconds) if since else None
    try:
        os.killpg(pid, signal.SIGKILL)  # it leads its own session: what it left behind is in its group
    except ProcessLookupError:
        pass


def wait_for_end(pids: Sequence[int], seconds: float) -> list[int]:
    """Wait for processes to end; return those that did not in time."""
    since = {pid: started(pid) for pid in pids}
    deadline = time.monotonic() + seconds
    while True:
        left = [pid for pid, time_ in since.items() if time_ and started(pid) == time_]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)
