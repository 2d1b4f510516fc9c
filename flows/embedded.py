"""Start a Prefect server for one command, with a database of its own; it ends with the command.

Its folder is below Seismill's state folder, by version of Prefect. One server at a time uses it: the server's process
holds its lock. A second command at the same time uses the next folder.
"""

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.processes import NotStarted, end, listen, python_module, spawn, wait_for_api
from flows.surroundings import make_private, prefect_folder, server_environment, state_folder

_FOLDERS = 100
_DATABASE = ("prefect.db", "prefect.db-wal", "prefect.db-shm", "prefect.db-journal")


def start_embedded() -> str:
    """Start a server for the rest of this process; return its address.

    Raises:
        NotStarted: No folder can hold its database, or the server ended or does not answer.
    """
    folder, lock = _own_folder()
    log = folder / "server.log"
    log.write_bytes(b"")
    forget_half_made(folder)
    with listen(0) as opened:
        api = f"http://127.0.0.1:{opened.getsockname()[1]}/api"
        environment = server_environment(folder, api) | {
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT__SERVER_EPHEMERAL": "1",
        }
        process = spawn(
            python_module("flows.local_server", str(opened.fileno()), "until-parent-ends"),
            folder=folder,
            log=log,
            environment=environment,
            keeps=(opened.fileno(), lock),
            stdin=subprocess.PIPE,
        )
    os.close(lock)  # the server has it now
    atexit.register(_stop, process)
    wait_for_api(
        api, log, lambda: process.poll() is None, lambda stated: print(stated, file=sys.stderr, flush=True)
    )
    mark_made(folder)
    return api


def forget_half_made(folder: Path) -> None:
    """Delete our database if a killed server left it incomplete; the caller holds the folder's lock."""
    if not (folder / "made").exists():
        for name in _DATABASE:
            (folder / name).unlink(missing_ok=True)


def mark_made(folder: Path) -> None:
    """Note that the database in a folder is complete."""
    (folder / "made").touch()


def locked(file: Path) -> int | None:
    """Return a descriptor that holds a file's lock; None if another process holds it.

    Raises:
        OSError: The file cannot be written, or its file system has no locks.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _own_folder() -> tuple[Path, int]:
    """Return a folder that no other server uses, and the descriptor that holds its lock."""
    try:
        parent = prefect_folder(state_folder())
        for number in range(1, _FOLDERS + 1):
            folder = parent / f"embedded-{number}"
            make_private(folder)
            if (lock := locked(folder / "lock")) is not None:
                return folder, lock
        raise NotStarted(
            f"{_FOLDERS} embedded servers run already in {parent}; set PREFECT_API_URL to a server that keeps running"
        )
    except OSError as error:
        reason = error
    try:
        folder = Path(tempfile.mkdtemp(prefix="seismill-prefect-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise NotStarted(
            f"there is no folder for Prefect's database: {reason}; {error}; set XDG_STATE_HOME to a folder that can be "
            "written, or run with --no-flow"
        ) from error
    print(
        f"Prefect's database cannot be kept ({reason}); it lies in {folder} and is removed at the end",
        file=sys.stderr,
        flush=True,
    )
    return folder, lock


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    end(process.pid, seconds=5)
    process.wait()
