"""Credentials come from blocks that a parameter names, reach the stores, and are found nowhere afterwards.

Covers flows/api.py.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import traceback
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from prefect.exceptions import ParameterTypeError

from flows import credentials
from tasks.parameters import Run, StorageOptions
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.writable import WritableStore
from tests.deployments.test_deployments import HOME, Server, seismill
from tests.support.servers import free_port
from tests.support.survey import make_survey


@pytest.mark.parametrize(
    ("kind", "block", "environment"),
    [
        (
            "aws-credentials",
            {
                "aws_access_key_id": "a",
                "aws_secret_access_key": "b",
                "aws_session_token": None,
                "region_name": "r",
            },
            {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "r"},
        ),
        (
            "minio-credentials",
            {
                "minio_root_user": "a",
                "minio_root_password": "b",
                "aws_client_parameters": {"endpoint_url": "http://minio:9000"},
            },
            {
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
                "AWS_ENDPOINT_URL_S3": "http://minio:9000",
            },
        ),
        (
            "gcp-credentials",
            {"service_account_info": {"type": "service_account"}, "project": "p"},
            {"FSSPEC_GS": '{"token": {"type": "service_account"}}', "GOOGLE_CLOUD_PROJECT": "p"},
        ),
        (
            "azure-blob-storage-credentials",
            {"account_url": "https://account.blob.core.windows.net", "client_id": "c", "client_secret": "s"},
            {
                "AZURE_STORAGE_ACCOUNT_NAME": "account",
                "AZURE_STORAGE_CLIENT_ID": "c",
                "AZURE_STORAGE_CLIENT_SECRET": "s",
            },
        ),
    ],
)
def test_each_kind_of_block_becomes_what_its_library_looks_for(
    kind: str, block: dict[str, Any], environment: dict[str, str]
) -> None:
    found = {name: value for name, value in credentials.KINDS[kind](block).items() if value}
    assert found == environment


@pytest.mark.parametrize("name", ["aws-credentials", "secret/a", "aws-credentials/A", "AKIA:key", "a,b"])
def test_what_is_no_name_of_a_block_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="credentials"):
        StorageOptions(credentials=name)


@pytest.mark.parametrize(
    "option", ["region_name", "account_name", "project", "endpoint_url", "storage_class"]
)
@pytest.mark.parametrize(
    "secret", ["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "http://key:secret@127.0.0.1:1"]
)
def test_a_key_in_the_place_of_an_option_is_refused(option: str, secret: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        StorageOptions(**{option: secret})


def test_a_remote_cluster_is_not_given_what_a_block_holds() -> None:
    options = StorageOptions(credentials="aws-credentials/staging")
    with pytest.raises(InputRefused, match="identity of its own"):
        credentials.provide([Run(dask="cluster", storage_options=options)])


def test_parameters_that_nobody_checked_are_not_repeated(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    from flows.publish import publish

    with pytest.raises(ParameterTypeError, match="rotate that now") as refused:
        publish.validate_parameters(
            {"source": "s3://key:canary@staging/a.sgy", "volume": "s3://volumes/a.zarr"}
        )
    traceback_text = "".join(traceback.format_exception(refused.value))
    assert "canary" not in "".join([traceback_text, caplog.text, *capfd.readouterr()])


# A server, a worker and stores


@dataclass(frozen=True)
class Route:
    """A way for credentials to a store: a block and what it holds.

    Attributes:
        protocol: Of the store.
        kind: Of the block.
        fields: Of the block.
        secret: Those that Prefect encrypts, as prefect-aws, prefect-gcp and prefect-azure have it.
        canaries: What must be found nowhere.
    """

    protocol: str
    kind: str
    fields: dict[str, Any]
    secret: tuple[str, ...]
    canaries: tuple[str, ...]


def aws(request: pytest.FixtureRequest) -> Route:
    client = {"aws_client_parameters": {"endpoint_url": request.getfixturevalue("s3")}}
    key, token = "canarySecretAccessKey7f3a9c", "canarySessionToken51be02"
    fields = {"aws_access_key_id": "canary", "aws_secret_access_key": key, "aws_session_token": token}
    secret = ("aws_secret_access_key", "aws_session_token")
    return Route(
        "s3", "aws-credentials", fields | {"region_name": "us-east-1"} | client, secret, (key, token)
    )


def minio(request: pytest.FixtureRequest) -> Route:
    client = {"aws_client_parameters": {"endpoint_url": request.getfixturevalue("s3")}}
    fields = {"minio_root_user": "canary", "minio_root_password": "canaryRootPassword64d0e7"}
    secret = ("minio_root_password",)
    return Route("s3", "minio-credentials", fields | client, secret, (fields["minio_root_password"],))


def gcp(request: pytest.FixtureRequest) -> Route:
    request.getfixturevalue("gcs")
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    info = {
        "type": "service_account",
        "client_email": "canary@project.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "token_uri": request.getfixturevalue("tokens"),
    }
    canaries = (key.decode().splitlines()[5], ACCESS_TOKEN)
    fields = {"service_account_info": info, "project": "project"}
    return Route("gs", "gcp-credentials", fields, ("service_account_info",), canaries)


def azure(request: pytest.FixtureRequest) -> Route:
    request.getfixturevalue("azure")
    connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    key = re.search("AccountKey=([^;]+)", connection)
    assert key
    fields = {"connection_string": connection}
    return Route("az", "azure-blob-storage-credentials", fields, ("connection_string",), (key[1],))


ACCESS_TOKEN = "canaryAccessToken9b41c8"


class _Tokens(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"access_token": ACCESS_TOKEN, "expires_in": 3600}).encode())
        self.server.asked += 1  # type: ignore[attr-defined]

    def log_message(self, *words: object) -> None:
        """Nothing: a log is no part of this."""


@pytest.fixture
def tokens() -> Iterator[str]:
    """Where Google's service accounts get their tokens from; it was asked when the test ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Tokens) as server:
        server.asked = 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()
        assert server.asked  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def server(
    s3_server: str, gcs_server: str, azure_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose worker has no credentials; nor does it know where S3 and Azure are."""
    root, port = tmp_path_factory.mktemp("root"), free_port()
    allowed = [
        f"{protocol}://{bucket}" for protocol in ("s3", "gs", "az") for bucket in ("staging", "volumes")
    ]
    with pytest.MonkeyPatch.context() as patch:
        for name in SECRETS:
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
        up = seismill("up", ",".join([".", *allowed]), "--port", str(port), "--home", HOME, cwd=root)
        assert up.returncode == 0, up.stderr
    try:
        yield Server(root, port)
    finally:
        seismill("down", "--home", HOME, "--stop-runs", cwd=root)


SECRETS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "FSSPEC_S3_ENDPOINT_URL"),
    "AZURE_STORAGE_CONNECTION_STRING",
)
SAVE_BLOCK = """
import json, sys
from typing import Any
from prefect.blocks.core import Block
from prefect.types import SecretDict
from pydantic import SecretStr
kind, fields, secret, name = json.load(sys.stdin)
hidden = {field: SecretDict if isinstance(fields[field], dict) else SecretStr for field in secret}
types = {field: hidden.get(field, Any) for field in fields}
members = {"__annotations__": types, "_block_type_name": kind, "_block_type_slug": kind, "__module__": "blocks"}
type("Credentials", (Block,), members)(**fields).save(name, overwrite=True)
"""


def save(server: Server, route: Route, name: str = "staging") -> None:
    """Keep a block on the server, as the UI does."""
    saved = subprocess.run(
        [sys.executable, "-c", SAVE_BLOCK],
        input=json.dumps([route.kind, route.fields, route.secret, name]),
        text=True,
        env=os.environ | {"PREFECT_API_URL": server.api},
        capture_output=True,
        check=False,
    )
    assert saved.returncode == 0, saved.stderr


def check_not_found(server: Server, canaries: tuple[str, ...], runs: list[str], *said: Any) -> None:
    """None of `canaries` is in what was said, in what the API tells of runs, in its database, logs and results."""
    told: list[Any] = [*said, server.ask("/block_documents/filter", {})]  # without secrets, as the UI asks
    for run in runs:
        asked = {"flow_runs": {"id": {"any_": [run]}}}
        told += [server.ask(f"/flow_runs/{run}"), server.ask("/task_runs/filter", asked), server.log(run)]
        told += [server.artifacts(run), server.ask(f"/flow_run_states/?flow_run_id={run}")]
    text = json.dumps(told)
    assert len(text) > 5000
    assert not [canary for canary in canaries if canary in text]
    database = next(server.root.rglob("*.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        assert connection.execute("select count(*) from flow_run").fetchone()[0] >= len(runs)
        for (table,) in connection.execute("select name from sqlite_master where type='table'").fetchall():
            rows = repr(connection.execute(f'select * from "{table}"').fetchall())
            assert not [canary for canary in canaries if canary in rows], table
    files = [path for path in server.root.rglob("*") if path.is_file()]
    contents = {path: path.read_bytes() for path in files}
    assert not [
        path for path, content in contents.items() for canary in canaries if canary.encode() in content
    ]


@pytest.mark.server
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("route_of", [aws, minio, gcp, azure], ids=lambda route_of: route_of.__name__)
def test_a_run_reaches_its_store_by_a_block_and_its_secrets_are_found_nowhere(
    server: Server,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    route_of: Callable[[pytest.FixtureRequest], Route],
) -> None:
    route = route_of(request)
    survey = make_survey(tmp_path / "a.sgy", drop=3, n_samples=37)
    staging, volumes = (WritableStore(f"{route.protocol}://{bucket}") for bucket in ("staging", "volumes"))
    staging.put("a.sgy", survey.content)
    save(server, route)
    places = {"source": f"{staging.url}/a.sgy", "volume": f"{volumes.url}/a.zarr"}
    block = f"{route.kind}/staging"
    named = {"storage_options": {"credentials": block}}
    runs = [
        server.start("publish", **places, run=named),
        server.start("publish", **places | {"source": f"{staging.url}/missing.sgy"}, run=named),
    ]
    if route.protocol != "gs":  # whose emulator lets everybody in
        runs.append(
            server.start("publish", **places | {"volume": f"{volumes.url}/b.zarr"})
        )  # without the block
    states = [server.end(run, 300) for run in runs]
    assert states[0]["type"] == "COMPLETED", states[0]
    assert [state["type"] for state in states[1:]] == ["FAILED"] * (len(runs) - 1)
    assert f"there is no file {staging.url}/missing.sgy" in states[1]["message"]
    info = subprocess.run(
        [
            sys.executable,
            "-c",
            "from flows.cli import main; main()",
            "info",
            places["volume"],
            "--credentials",
            block,
        ],
        env={k: v for k, v in os.environ.items() if k not in SECRETS} | {"PREFECT_API_URL": server.api},
        capture_output=True,
        text=True,
        check=False,
    )
    assert info.returncode == 0, info.stderr
    check_not_found(server, route.canaries, runs, info.stdout, info.stderr, states)
    stored = volumes.keys("")
    assert len(stored) > 20
    contents = {key: volumes.get(key) for key in stored}
    assert not [
        key for key, content in contents.items() for canary in route.canaries if canary.encode() in content
    ]
    if route.protocol == "s3":
        client = boto3.client("s3", endpoint_url=request.getfixturevalue("s3"), region_name="us-east-1")
        noted = [client.head_object(Bucket="volumes", Key=key)["Metadata"] for key in stored]
        assert not [canary for canary in route.canaries if canary in json.dumps(noted)]


@pytest.mark.server
@pytest.mark.timeout(1800)
def test_secrets_in_parameters_are_refused_before_they_are_stored_or_told_to_be_rotated(
    server: Server,
) -> None:
    secret = "canarySecretAccessKey0d5f21"
    places = {"source": "s3://staging/a.sgy", "volume": "s3://volumes/a.zarr"}
    wrong = [
        {"source": f"s3://canary:{secret}@staging/a.sgy"},
        {"source": f"s3://staging/a.sgy?X-Amz-Security-Token={secret}"},
        {"run": {"storage_options": {"credentials": secret}}},
        {"run": {"storage_options": {"secret": secret}}},
        {"run": {"storage_options": {"region_name": secret}}},
        {"run": {"storage_options": {"endpoint_url": f"http://canary:{secret}@127.0.0.1"}}},
    ]
    for parameters in wrong:
        with pytest.raises(urllib.error.HTTPError, match="409"):
            server.start("publish", **places | parameters)
    none = server.start("publish", **places, run={"storage_options": {"credentials": "aws-credentials/none"}})
    state = server.end(none, 300)
    assert state["type"] == "FAILED", state
    assert "there is no block aws-credentials/none" in state["message"]
    check_not_found(server, (secret,), [none])
    # Somebody may have the API look away: the parameters are stored then, and nothing else has them.
    deployment = server.ask("/deployments/name/publish/publish")["id"]
    unchecked = [
        server.ask(
            f"/deployments/{deployment}/create_flow_run",
            {"parameters": places | parameters, "enforce_parameter_schema": False},
        )["id"]
        for parameters in wrong
    ]
    for run in unchecked:
        state = server.end(run, 300)
        assert state["type"] == "FAILED", state
        assert "rotate that now" in state["message"]
        messages = [
            state,
            server.log(run),
            server.artifacts(run),
            server.ask(f"/flow_run_states/?flow_run_id={run}"),
        ]
        assert secret not in json.dumps(messages)
    files = [path for path in server.root.rglob("*") if path.is_file() and ".db" not in path.name]
    lines = [line for path in files for line in path.read_bytes().splitlines()]
    assert [line for line in lines if secret.encode() in line] == []
