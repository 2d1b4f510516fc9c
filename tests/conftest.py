"""Real parts on loopback for the tests: S3, GCS and Azure servers, the shared real files, a maker of SEG-Y cubes."""

import importlib.util
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.emulators.faults import FaultProxy
from tests.support.servers import BUCKETS, EMULATORS, SlowStaging, free_port, loopback_server, wait_for


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the state of this session's servers lie in a place of its own."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


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
    command = [sys.executable, str(EMULATORS / "s3.py"), str(port)]
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


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    """The endpoint of a Google Cloud Storage server of this session, which gs:// then uses."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    names = {
        "STORAGE_EMULATOR_HOST": endpoint,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # or gcsfs asks by gRPC what kind of bucket it is
        "NO_GCE_CHECK": "true",  # or google-auth waits for a metadata server
        "FSSPEC_CONFIG_DIR": os.devnull,
    }
    command = [sys.executable, str(EMULATORS / "gcs.py"), str(port)]
    with loopback_server(command, endpoint, names, "gs"):
        yield endpoint


@pytest.fixture
def gcs(gcs_server: str) -> str:
    """The endpoint of a Google Cloud Storage server whose buckets, staging and volumes, are empty."""
    urllib.request.urlopen(f"{gcs_server}/wipe?keep-buckets=true", timeout=30).close()
    return gcs_server


@pytest.fixture(scope="session")
def azure_server() -> Iterator[str]:
    """The endpoint of an Azure Blob server of this session, which az:// then uses."""
    program = os.environ.get("SEISMILL_AZURITE") or shutil.which("azurite-blob")
    if not program:
        pytest.skip("azurite-blob is not installed (npm install azurite), nor does SEISMILL_AZURITE name it")
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    # The account and key that Azurite documents for everybody.
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    account = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key}"
    names = {
        "AZURE_STORAGE_CONNECTION_STRING": f"{account};BlobEndpoint={endpoint}/devstoreaccount1;",
        "FSSPEC_CONFIG_DIR": os.devnull,
    }
    command = [program, "--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    with loopback_server(
        [*command, "--blobHost", "127.0.0.1", "--blobPort", str(port)], endpoint, names, "az"
    ):
        yield endpoint


@pytest.fixture
def azure(azure_server: str) -> str:
    """The endpoint of an Azure Blob server whose containers, staging and volumes, are empty."""
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"]) as service:
        for container in BUCKETS:
            if service.get_container_client(container).exists():
                service.delete_container(container)
            service.create_container(container)
    return azure_server


@pytest.fixture(params=["s3", "gcs", "azure"])
def cloud(request: pytest.FixtureRequest) -> str:
    """The protocol of a cloud whose buckets, staging and volumes, are empty: s3, gs and az in turn."""
    request.getfixturevalue(request.param)
    return {"s3": "s3", "gcs": "gs", "azure": "az"}[request.param]


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


@pytest.fixture(scope="session")
def slow_endpoint(s3_server: str) -> Iterator[FaultProxy]:
    """The S3 server of this session behind something that can make it slow."""
    with FaultProxy(s3_server) as proxy:
        yield proxy


@pytest.fixture
def slow_staging(s3: str, slow_endpoint: FaultProxy) -> Iterator[SlowStaging]:
    """An empty bucket that is slow."""
    yield SlowStaging(slow_endpoint.url, slow_endpoint)
    slow_endpoint.do()


# moto reads the service and the region from a signature's scope, and does not check the signature.
_ANYBODY = (
    "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)
