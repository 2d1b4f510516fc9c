"""Real parts on loopback for the tests: an S3 server, the shared real files, a maker of SEG-Y cubes."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BUCKETS = ("staging", "volumes")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real files and tools, where the environment names one."""
    path = os.environ.get("SEISMILL_SHARED", "")
    if not path:
        pytest.skip("SEISMILL_SHARED does not name a folder with real files")
    return Path(path)


@pytest.fixture(scope="session")
def make_segy(shared: Path) -> Callable[..., int]:
    """A function that writes a synthetic cube and gives the number of its traces.

    It takes a path and, by name, shape, fmt ("ibm", "ieee"), endian, layout, drop_frac, nan, shuffle, seed …
    """
    file = shared / "tools" / "make_segy.py"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    specification = importlib.util.spec_from_file_location("make_segy", file)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.write


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server of this session, which the environment and fsspec then use for s3://."""
    import fsspec.config

    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # Its request log goes nowhere: a pipe that nobody reads would stop it when full.
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    names = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": endpoint,  # read by fsspec of every process that a test starts
        "FSSPEC_CONFIG_DIR": os.devnull,
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in names.items():
            environment.setenv(name, value)
        environment.delenv("AWS_PROFILE", raising=False)
        fsspec.config.set_conf_env(fsspec.config.conf)  # and of this one, where it is imported already
        try:
            wait_for(f"{endpoint}/moto-api/data.json", server)
            yield endpoint
        finally:
            fsspec.config.conf.pop("s3", None)
            server.terminate()
            server.wait(10)


@pytest.fixture
def s3(s3_server: str) -> str:
    """The endpoint of an S3 server whose buckets, staging and volumes, are empty."""
    reset = urllib.request.Request(f"{s3_server}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=30).close()
    for bucket in BUCKETS:
        make = urllib.request.Request(
            f"{s3_server}/{bucket}", method="PUT", headers={"Authorization": _ANYBODY}
        )
        urllib.request.urlopen(make, timeout=30).close()
    return s3_server


# moto reads the service and the region from a signature's scope, and does not check the signature.
_ANYBODY = (
    "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


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
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{url} does not answer, its process ended with {process.poll()}"
                ) from error
        time.sleep(0.05)
