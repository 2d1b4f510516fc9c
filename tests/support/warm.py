"""Processes forked from one that is warm: what takes a cold one seconds of imports takes them none.

What they inherit is imports and compiled kernels, no thread, connection or file. So they are killed like any others.
"""

import asyncio
import importlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.support.warmth"])


class Process:
    """A function that runs in a process of its own; what it prints goes to files."""

    def __init__(self, folder: Path, target: Any, *arguments: Any) -> None:
        self._out, self._errors = folder / "out.txt", folder / "errors.txt"
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=_redirected, args=(str(self._out), str(self._errors), target, arguments)
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number on this machine."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._errors.read_text() if self._errors.exists() else ""

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object that a command printed last."""
        return json.loads(self._out.read_bytes().splitlines()[-1])

    def ended(self) -> int | None:
        """Its exit code, if it has ended; that of a signal is negative."""
        return self._process.exitcode

    def send(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.ended() is None:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code when it has ended; None if it has not by then."""
        self._process.join(seconds)
        return self.ended()

    def kill(self) -> None:
        """End it, if it has not ended."""
        self.send(signal.SIGKILL)
        self._process.join()


def _redirected(out: str, errors: str, target: Any, arguments: tuple[Any, ...]) -> None:
    for number, path in ((1, out), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    target(*arguments)


def run_command(words: list[str]) -> None:
    """The command line, which does not wait as long as elsewhere for a scheduler that is gone."""
    from flows import compute
    from flows.cli import main

    compute.CONNECT_SECONDS = 10
    sys.argv = ["seismill", *words]
    main()


def run_flow(environment: dict[str, str | None], entrypoint: str, parameters: dict[str, Any]) -> None:
    """Run a flow with other variables, for Prefect and fsspec, too; exit with 0 if it completes, with 3 if it fails."""
    import fsspec.config

    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    fsspec.config.conf.clear()
    fsspec.config.set_conf_env(fsspec.config.conf)
    module, _, name = entrypoint.partition(":")
    state = getattr(importlib.import_module(module), name)(**parameters, return_state=True)
    print(state)
    sys.exit({"COMPLETED": 0, "FAILED": 3}.get(state.type.value, 1))


def dask_scheduler(address: str) -> None:
    """A Dask scheduler."""
    from distributed import Scheduler

    port = int(address.rpartition(":")[2])

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as server:
            await server.finished()

    asyncio.run(serve())


def dask_worker(address: str, folder: str) -> None:
    """A Dask worker of one thread, without a nanny that would start it again."""
    from distributed import Worker

    async def serve() -> None:
        async with Worker(address, nthreads=1, dashboard=False, local_directory=folder) as server:
            await server.finished()

    asyncio.run(serve())


@dataclass(frozen=True)
class Ended:
    """How a command in a fork ended: its exit code (None: it took too long), peak memory, and what it said."""

    code: int | None
    seconds: float
    megabytes: float
    said: str


class Forks:
    """A warm process that runs each command in a fork of its own and measures it."""

    def __init__(self, folder: Path, most_seconds: float) -> None:
        self._errors, self._seconds = folder / "said.txt", most_seconds
        self._ours, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve_forks, args=(theirs, str(self._errors)))
        self._process.start()
        theirs.close()

    def run(self, words: list[str], seconds: float = 0) -> Ended:
        """Run a command line, for at most so many seconds."""
        self._ours.send((words, seconds or self._seconds))
        code, seconds, megabytes = self._ours.recv()
        return Ended(code, seconds, megabytes, self._errors.read_text(errors="replace"))

    def close(self) -> None:
        """End the process."""
        self._ours.close()
        self._process.join()


def _serve_forks(commands: Connection, errors: str) -> None:
    from flows.cli import run

    while True:
        try:
            words, most_seconds = commands.recv()
        except EOFError:
            return
        began = time.monotonic()
        child = os.fork()
        if not child:
            code = 1
            try:
                for number, path in ((1, os.devnull), (2, errors)):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
                code = run(words)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        ended, status, usage = os.wait4(child, os.WNOHANG)
        while not ended and time.monotonic() - began < most_seconds:
            time.sleep(0.01)
            ended, status, usage = os.wait4(child, os.WNOHANG)
        seconds = time.monotonic() - began
        if not ended:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
        commands.send((os.waitstatus_to_exitcode(status) if ended else None, seconds, usage.ru_maxrss / 1024))
