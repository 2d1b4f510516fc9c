"""Set credentials from Prefect blocks in the environment of this process and of those that it starts.

A parameter only names blocks, because Prefect stores parameters in clear text. The blocks are those of prefect-aws,
prefect-gcp and prefect-azure, read from the API without these packages. Credentials are set where the libraries of the
stores look for them; a remote Dask cluster never gets them and needs an identity of its own.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tasks.parameters import Run, StorageOptions
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.source_options import VARIABLES

_given: set[tuple[str, str]] = set()  # what this process has: for sources or all, and the block

Fields = Mapping[str, Any]


def _aws(block: Fields) -> dict[str, Any]:
    return {
        "AWS_ACCESS_KEY_ID": block.get("aws_access_key_id"),
        "AWS_SECRET_ACCESS_KEY": block.get("aws_secret_access_key"),
        "AWS_SESSION_TOKEN": block.get("aws_session_token"),
        "AWS_PROFILE": block.get("profile_name"),
    } | _client(block)


def _minio(block: Fields) -> dict[str, Any]:
    return {
        "AWS_ACCESS_KEY_ID": block.get("minio_root_user"),
        "AWS_SECRET_ACCESS_KEY": block.get("minio_root_password"),
    } | _client(block)


def _client(block: Fields) -> dict[str, Any]:
    endpoint = (block.get("aws_client_parameters") or {}).get("endpoint_url")
    return {"AWS_DEFAULT_REGION": block.get("region_name"), "AWS_ENDPOINT_URL_S3": endpoint}


def _gcp(block: Fields) -> dict[str, Any]:
    info = block.get("service_account_info")
    token = json.dumps({"token": info}) if info else None
    return {
        "FSSPEC_GS": token,
        "GOOGLE_APPLICATION_CREDENTIALS": block.get("service_account_file"),
        "GOOGLE_CLOUD_PROJECT": block.get("project"),
    }


def _azure(block: Fields) -> dict[str, Any]:
    host = str(block.get("account_url") or "").partition("://")[2]
    return {
        "AZURE_STORAGE_CONNECTION_STRING": block.get("connection_string"),
        "AZURE_STORAGE_ACCOUNT_NAME": host.partition(".")[0] or None,
        "AZURE_STORAGE_TENANT_ID": block.get("tenant_id"),
        "AZURE_STORAGE_CLIENT_ID": block.get("client_id"),
        "AZURE_STORAGE_CLIENT_SECRET": block.get("client_secret"),
    }


KINDS: dict[str, Callable[[Fields], dict[str, Any]]] = {
    "aws-credentials": _aws,
    "minio-credentials": _minio,
    "gcp-credentials": _gcp,
    "azure-blob-storage-credentials": _azure,
}


def provide(arguments: Iterable[object]) -> None:
    """Set the credentials of the blocks that the parameters name in this process's environment.

    Raises:
        InputRefused: There is no such block, or the run would need it on a remote cluster.
    """
    for argument in arguments:
        options = argument.storage_options if isinstance(argument, Run) else argument
        if not isinstance(options, StorageOptions) or not (options.credentials or options.source_credentials):
            continue
        if isinstance(argument, Run) and not argument.dask.startswith(("threads", "local:")):
            raise InputRefused(
                f"credentials of a block are not sent to {argument.dask!r}; give the cluster an identity of its own, "
                "or compute on threads"
            )
        of_all = [("", name) for name in options.credentials.split(",") if name]
        of_sources = [(VARIABLES, name) for name in options.source_credentials.split(",") if name]
        new = [entry for entry in of_all + of_sources if entry not in _given]
        if new:
            for prefix, name in new:
                _use(prefix, KINDS[name.partition("/")[0]](_read(name)))
            _given.update(new)
            forget_connections()


def _read(name: str) -> Fields:
    from flows.api import connect

    connect()
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    kind, _, own = name.partition("/")
    with get_client(sync_client=True) as client:
        try:
            document = client.read_block_document_by_name(own, kind, include_secrets=True)
        except ObjectNotFound:
            raise InputRefused(
                f"there is no block {name} on the Prefect API; make it in the UI, or check the name"
            ) from None
    return document.data


def _use(prefix: str, environment: Mapping[str, Any]) -> None:
    os.environ.update({prefix + name: str(value) for name, value in environment.items() if value})


def forget_connections() -> None:
    """Make all file systems reconnect with the new credentials."""
    import fsspec
    import fsspec.config

    from tasks.volume.store import calls

    fsspec.config.set_conf_env(fsspec.config.conf)
    for protocol in ("s3", "gs", "az"):
        if protocol in fsspec.registry:
            fsspec.get_filesystem_class(protocol).clear_instance_cache()
    calls.line_to.cache_clear()
