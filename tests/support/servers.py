"""Servers that tests start on loopback, and what is asked of any of them."""

import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.emulators.faults import FaultProxy, Rule

BUCKETS = ("staging", "volumes")
EMULATORS = Path(__file__).parent / "emulators"


@dataclass
class SlowStaging:
    """A bucket whose objects come slowly, so that a run lasts as long as a test needs on the fastest machine.

    Attributes:
        endpoint: Where the bucket comes slowly.
    """

    endpoint: str
    _proxy: FaultProxy

    def put(self, file: Path) -> str:
        """Move a file into the bucket, from which each read takes a second now; its URL."""
        import fsspec

        store = fsspec.filesystem("s3")
        store.put_file(str(file), f"staging/{file.name}")
        file.unlink()
        self._proxy.do(Rule("stall", method="GET", match=re.escape(file.name), seconds=1))
        return f"s3://staging/{file.name}"

    def hurry(self) -> None:
        """Let objects come as fast as they can."""
        self._proxy.do()


@contextmanager
def loopback_server(
    command: list[str], answers: str, environment: dict[str, str], protocol: str
) -> Iterator[None]:
    """While open, `command` serves `answers`, and this process and those that it starts find it by `environment`."""
    import fsspec.config

    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        fsspec.config.set_conf_env(fsspec.config.conf)
        try:
            wait_for(answers, server)
            yield
        finally:
            fsspec.config.conf.pop(protocol, None)
            server.terminate()
            server.wait(10)


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Return when `url` answers; fail when `process`, which should serve it, has ended or time is up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it answers, if only with a refusal
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{url} does not answer, its process ended with {process.poll()}"
                ) from error
        time.sleep(0.05)
