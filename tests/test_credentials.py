"""Credentials come from blocks that a parameter names, reach the stores, and are found nowhere afterwards."""

import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from conftest import free_port
from survey import make_survey
from test_deployments import Server, seismill

from flows import credentials
from tasks.parameters import Run, StorageOptions
from tasks.volume.outcomes import InputRefused

SECRET, TOKEN = "canarySecretAccessKey7f3a9c", "canarySessionToken51be02"
CANARIES = (SECRET.encode(), TOKEN.encode())


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


def test_a_remote_cluster_is_not_given_what_a_block_holds() -> None:
    options = StorageOptions(credentials="aws-credentials/staging")
    with pytest.raises(InputRefused, match="identity of its own"):
        credentials.provide([Run(dask="cluster", storage_options=options)])


# A server, a worker and a store


@pytest.fixture(scope="module")
def server(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose worker has no credentials and does not know where the store is."""
    root, port = tmp_path_factory.mktemp("root"), free_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_DEFAULT_REGION",
            "FSSPEC_S3_ENDPOINT_URL",
        ):
            patch.delenv(name)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("PREFECT_LOGGING_LEVEL", "DEBUG")
        up = seismill("up", ".,s3://staging,s3://volumes", "--port", str(port), cwd=root)
        assert up.returncode == 0, up.stderr
    try:
        yield Server(root, port)
    finally:
        seismill("down", cwd=root)


SAVE_BLOCK = """
import sys
from prefect.blocks.core import Block
from pydantic import SecretStr
class AwsCredentials(Block):
    _block_type_name = "AWS Credentials"
    _block_type_slug = "aws-credentials"
    aws_access_key_id: str
    aws_secret_access_key: SecretStr
    aws_session_token: SecretStr
    region_name: str
    aws_client_parameters: dict
secret, token, endpoint = sys.stdin.read().split()
AwsCredentials(aws_access_key_id="canary", aws_secret_access_key=secret, aws_session_token=token,
               region_name="us-east-1", aws_client_parameters={"endpoint_url": endpoint}).save("staging")
"""


def found_in(folder: Path) -> list[str]:
    """Files below a folder in which a canary sings."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(canary in path.read_bytes() for canary in CANARIES)]


@pytest.mark.server
@pytest.mark.timeout(600)
def test_a_run_reaches_its_store_by_a_block_and_its_secrets_are_found_nowhere(
    server: Server, s3: str, tmp_path: Path
) -> None:
    survey = make_survey(tmp_path / "a.sgy", drop=3, n_samples=37)
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    client.upload_file(str(survey.path), "staging", "a.sgy")
    environment = os.environ | {"PREFECT_API_URL": server.api}
    saved = subprocess.run(
        [sys.executable, "-c", SAVE_BLOCK],
        input=f"{SECRET} {TOKEN} {s3}",
        text=True,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert saved.returncode == 0, saved.stderr
    places = {"source": "s3://staging/a.sgy", "volume": "s3://volumes/a.zarr"}
    named = {"storage_options": {"credentials": "aws-credentials/staging"}}
    runs = [
        server.start("publish", **places, run=named),
        server.start("publish", **places | {"source": "s3://staging/missing.sgy"}, run=named),
        server.start("publish", **places | {"volume": "s3://volumes/b.zarr"}),  # without the block
        server.start("publish", **places, run={"storage_options": {"credentials": "aws-credentials/none"}}),
    ]
    states = [server.end(run, 300) for run in runs]
    assert states[0]["type"] == "COMPLETED", states[0]
    assert [state["type"] for state in states[1:]] == ["FAILED"] * 3
    assert "there is no file s3://staging/missing.sgy" in states[1]["message"]
    assert "there is no block aws-credentials/none" in states[3]["message"]
    # What a person might write in their stead is refused before it is stored.
    for wrong in (
        {"source": f"s3://canary:{SECRET}@staging/a.sgy"},
        {"source": f"s3://staging/a.sgy?X-Amz-Security-Token={TOKEN}"},
        {"run": {"storage_options": {"credentials": SECRET}}},
        {"run": {"storage_options": {"secret": SECRET}}},
        {"run": {"storage_options": {"endpoint_url": f"http://canary:{SECRET}@127.0.0.1"}}},
    ):
        with pytest.raises(urllib.error.HTTPError, match="409"):
            server.start("publish", **places | wrong)
    info = ["info", places["volume"], "--credentials", "aws-credentials/staging"]
    command = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", *info],
        env={k: v for k, v in environment.items() if not k.startswith(("AWS_", "FSSPEC_S3"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert command.returncode == 0, command.stderr
    said: list[Any] = [command.stdout, command.stderr, states]
    for run in runs:
        asked = {"flow_runs": {"id": {"any_": [run]}}}
        said += [server.ask(f"/flow_runs/{run}"), server.ask("/task_runs/filter", asked), server.log(run)]
        said += [server.artifacts(run), server.ask(f"/flow_run_states/?flow_run_id={run}")]
    said.append(server.ask("/block_documents/filter", {}))  # without secrets, as the UI asks
    text = json.dumps(said).encode()
    assert len(text) > 5000
    assert not [canary for canary in CANARIES if canary in text]
    # The server's database and logs, the worker's logs, and results that were kept.
    database = next(server.root.rglob("*.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        assert connection.execute("select count(*) from block_document").fetchone()[0] >= 1
        for (table,) in connection.execute("select name from sqlite_master where type='table'").fetchall():
            rows = repr(connection.execute(f'select * from "{table}"').fetchall()).encode()
            assert not [canary for canary in CANARIES if canary in rows], table
    assert found_in(server.root) == []
    stored = [item["Key"] for item in client.list_objects_v2(Bucket="volumes")["Contents"]]
    assert len(stored) > 20
    for key in stored:
        answer = client.get_object(Bucket="volumes", Key=key)
        content = answer["Body"].read() + json.dumps(answer["Metadata"]).encode()
        assert not [canary for canary in CANARIES if canary in content], key
