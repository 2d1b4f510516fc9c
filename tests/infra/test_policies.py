"""The least that a run must be allowed to do at each cloud is what its requests show, and what the policies say.

Every verb that touches a store runs in processes of its own, whose requests go through a proxy that writes them down.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from flows.registration import ROOT
from tasks.demo import make_survey
from tasks.volume.store.writable import WritableStore
from tests.support.command import SEISMILL
from tests.support.counting_proxy import counting_proxy

POLICIES = ROOT / "infra" / "policies"
Used = dict[str, set[str]]  # permissions by bucket


def seismill(*words: str, environment: dict[str, str], codes: tuple[int, ...] = (0,)) -> None:
    """The command, which must end with one of these codes."""
    command = [*SEISMILL, *words]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode in codes, done.stderr


def whole_line(protocol: str, environment: dict[str, str], survey: Path) -> None:
    """Every verb that reads or writes, with a copy that is replaced and an export that stops half-way."""
    WritableStore(f"{protocol}://staging").put("a/b.sgy", survey.read_bytes())
    WritableStore(f"{protocol}://staging").put("bad.sgy", b"<html>" * 900)
    staging, volumes = f"{protocol}://staging", f"{protocol}://volumes"
    sweep = ("sweep", staging, volumes, "--no-flow", "--settle-minutes", "0")
    seismill(*sweep, environment=environment)
    volume = f"{volumes}/a/b.zarr"
    replaced = ("--presets", "fast_time", "--quality", "high", "--overwrite")
    seismill("rechunk", volume, *replaced, environment=environment)
    seismill("verify", volume, "--errors", environment=environment)
    seismill("info", volume, environment=environment)
    seismill("scan", f"{staging}/a/b.sgy", environment=environment)
    seismill("export-segy", volume, f"{volumes}/again.sgy", environment=environment)
    seismill(
        "ingest-segy",
        f"{staging}/a/b.sgy",
        volume,
        "--chunks",
        "8,8,8",
        "--overwrite",
        environment=environment,
    )


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    """A SEG-Y of some blocks."""
    make_survey(str(tmp_path / "survey.sgy"), shape=(19, 13, 57))
    return tmp_path / "survey.sgy"


@contextmanager
def logged(upstream: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The endpoint of a proxy, and what it wrote down: method and path with query."""
    log: list[tuple[str, str]] = []
    with counting_proxy(upstream) as account:
        yield account.endpoint, log
        log += [(method, path) for method, path, _ in account.requests]


def permissions(log: list[tuple[str, str]], needed: Callable[..., tuple[str, set[str]]]) -> Used:
    """What the requests of a log need."""
    used: Used = {"staging": set(), "volumes": set()}
    for method, target in log:
        parts = urlsplit(target)
        bucket, names = needed(method, parts.path, parse_qs(parts.query, keep_blank_values=True))
        used[bucket] |= names
    return used


# S3


def s3_action(method: str, path: str, query: dict[str, list[str]]) -> tuple[str, set[str]]:
    """Bucket and actions of a request, by the service authorization reference."""
    bucket, _, key = path.lstrip("/").partition("/")
    if not key:
        action = {"GET": "s3:ListBucket", "HEAD": "s3:ListBucket", "POST": "s3:DeleteObject"}[method]
        assert method != "POST" or "delete" in query
    elif method == "DELETE":
        action = "s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"
    else:
        action = {
            "GET": "s3:GetObject",
            "HEAD": "s3:GetObject",
            "PUT": "s3:PutObject",
            "POST": "s3:PutObject",
        }[method]
    return bucket, {action}


@pytest.mark.slow
def test_the_s3_policy_is_what_the_whole_line_asks_for(s3, survey):
    with logged(s3) as (endpoint, log):
        whole_line("s3", {"FSSPEC_S3_ENDPOINT_URL": endpoint}, survey)
    used = permissions(log, s3_action)
    allowed: Used = {"staging": set(), "volumes": set()}
    for statement in json.loads((POLICIES / "s3.json").read_text())["Statement"]:
        assert statement["Effect"] == "Allow"
        bucket = statement["Resource"].removeprefix("arn:aws:s3:::").removesuffix("/*")
        allowed[bucket] |= set(statement["Action"])
    # An upload is given up only when an export fails, which this line does not.
    used["volumes"].add("s3:AbortMultipartUpload")
    assert allowed == used


# Google Cloud Storage


def gcs_permission(method: str, path: str, query: dict[str, list[str]]) -> tuple[str, set[str]]:
    """Bucket and permissions of a request, by the reference of IAM permissions for JSON methods."""
    parts = path.strip("/").split("/")
    bucket = parts[parts.index("b") + 1]
    upload = "upload" in parts[: parts.index("b")]
    listed = not upload and parts[-1] == "o"
    if upload:  # create, and delete where it replaces one
        return bucket, {"storage.objects.create", "storage.objects.delete"}
    if method == "DELETE":
        return bucket, {"storage.objects.delete"}
    assert method == "GET", (method, path)
    return bucket, {"storage.objects.list" if listed else "storage.objects.get"}


@pytest.mark.slow
def test_the_roles_of_google_cloud_are_what_the_whole_line_asks_for(gcs, survey):
    with logged(gcs) as (endpoint, log):
        whole_line("gs", {"STORAGE_EMULATOR_HOST": endpoint}, survey)
    reader, writer = (
        set(role["includedPermissions"]) for role in yaml.safe_load_all((POLICIES / "gcs.yaml").read_text())
    )
    assert permissions(log, gcs_permission) == {"staging": reader, "volumes": writer}


# Azure

BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"


def azure_action(method: str, path: str, query: dict[str, list[str]]) -> tuple[str, set[str]]:
    """Container and data actions of a request, by the permissions for blob service operations."""
    container = path.strip("/").split("/")[1]  # after the account
    if method == "DELETE":
        return container, {f"{BLOBS}/delete"}
    if method == "PUT":  # write; add where a blob is created and may not be replaced
        return container, {f"{BLOBS}/write", f"{BLOBS}/add/action"}
    assert method in ("GET", "HEAD"), (method, path)
    return container, {f"{BLOBS}/read"}


@pytest.mark.slow
def test_the_roles_of_azure_are_what_the_whole_line_asks_for(azure, survey):
    with logged(azure) as (endpoint, log):
        connection = os.environ["AZURE_STORAGE_CONNECTION_STRING"].replace(azure, endpoint)
        whole_line("az", {"AZURE_STORAGE_CONNECTION_STRING": connection}, survey)
    reader, writer = (set(role["DataActions"]) for role in json.loads((POLICIES / "azure.json").read_text()))
    assert permissions(log, azure_action) == {"staging": reader, "volumes": writer}
