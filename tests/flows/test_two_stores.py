"""Sources in one store and volumes in another, and public data without credentials, on servers that know one key each.

Covers store/source_options.py.
"""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec.config
import pytest
import s3fs

from flows.allowed import refuse_foreign_stores
from tasks.export_segy import export_segy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Run, StorageOptions
from tasks.prove import prove
from tasks.scan import scan
from tasks.verify import verify
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.calls import line_to
from tasks.volume.store.objects import Source
from tasks.volume.store.source_options import VARIABLES, SourceOptions, of_sources
from tasks.volume.store.writable import WritableStore
from tests.support.segy_maker import segy_bytes
from tests.support.servers import EMULATORS, free_port, wait_for


@contextmanager
def _server(key: str) -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(EMULATORS / "s3.py"), str(port), key],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _bucket(endpoint: str, key: str, bucket: str) -> s3fs.S3FileSystem:
    store = s3fs.S3FileSystem(key=key, secret="x", endpoint_url=endpoint, skip_instance_cache=True)
    store.mkdir(bucket)
    return store


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """A function that makes this process one with these variables of AWS, and no others."""
    present = fsspec.config.conf.pop("s3", None)

    def become(**environment: str) -> None:
        for name in list(os.environ):
            if name.startswith(("AWS_", "FSSPEC_S3", VARIABLES)):
                monkeypatch.delenv(name)
        usual = {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_CONFIG_FILE": os.devnull,
        }
        for name, value in (usual | environment).items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        line_to.cache_clear()

    yield become
    if present is not None:
        fsspec.config.conf["s3"] = present
    s3fs.S3FileSystem.clear_instance_cache()
    line_to.cache_clear()


@pytest.fixture(scope="module")
def stores() -> Iterator[tuple[str, str, bytes]]:
    """The endpoints of the store of the sources and of that of the volumes, and the source."""
    with _server("inner") as inside, _server("outer") as outside:
        data = segy_bytes(shape=(20, 30), n_samples=50)
        _bucket(inside, "inner", "staging").pipe_file("staging/a.sgy", data, ACL="public-read")
        _bucket(outside, "outer", "volumes")
        yield inside, outside, data


def _volumes(endpoint: str, key: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": endpoint}


OWN_KEY = {"SEISMILL_SOURCE_AWS_ACCESS_KEY_ID": "inner", "SEISMILL_SOURCE_AWS_SECRET_ACCESS_KEY": "x"}


@pytest.mark.slow
def test_a_source_is_read_in_one_store_and_its_volume_written_in_another(
    stores: tuple[str, str, bytes], use: Callable[..., None], tmp_path: Path
) -> None:
    inside, outside, data = stores
    run = Run(storage_options=StorageOptions(source_endpoint_url=inside))
    use(**_volumes(outside, "outer"))
    with pytest.raises(
        InputRefused, match=r"does not know this access key.*SEISMILL_SOURCE_AWS_ACCESS_KEY_ID"
    ):
        ingest_segy("s3://staging/a.sgy", "s3://volumes/a.zarr", run=run)
    use(**_volumes(outside, "outer"), **OWN_KEY)
    ingest_segy("s3://staging/a.sgy", "s3://volumes/a.zarr", run=run)
    again = ingest_segy("s3://staging/a.sgy", "s3://volumes/a.zarr", run=run)
    assert again["notes"] == ["was done already"]
    use(**_volumes(outside, "outer"))
    assert prove("s3://volumes/a.zarr")["proven_at"]
    export_segy("s3://volumes/a.zarr", str(tmp_path / "a.sgy"))
    assert (tmp_path / "a.sgy").read_bytes() == data
    # The master is damaged; the source in its own store gives it back.
    volumes = s3fs.S3FileSystem(key="outer", secret="x", endpoint_url=outside, skip_instance_cache=True)
    name = next(key for key in volumes.find("volumes/a.zarr") if "/amplitude/c/" in key)
    before = volumes.cat_file(name)
    volumes.pipe_file(name, before[:-1] + bytes([before[-1] ^ 1]))
    use(**_volumes(outside, "outer"), **OWN_KEY)
    verify("s3://volumes/a.zarr", repair="from_source", run=run)
    volumes.invalidate_cache()
    assert volumes.cat_file(name) == before


@pytest.mark.slow
def test_public_data_are_read_without_credentials(
    stores: tuple[str, str, bytes], use: Callable[..., None], tmp_path: Path
) -> None:
    inside, outside, _ = stores
    anonymous = StorageOptions(anonymous=True)
    use(AWS_ENDPOINT_URL=inside)
    with pytest.raises(InputRefused, match="no credentials were found"):
        scan("s3://staging/a.sgy")
    assert scan("s3://staging/a.sgy", storage_options=anonymous)["error"] == ""
    use(**_volumes(inside, "expired"))
    with pytest.raises(InputRefused):
        scan("s3://staging/a.sgy")
    assert scan("s3://staging/a.sgy", storage_options=anonymous)["error"] == "", (
        "a key that is set is not sent"
    )
    use(**_volumes(outside, "outer"))
    mixed = StorageOptions(source_anonymous=True, source_endpoint_url=inside)
    assert ingest_segy("s3://staging/a.sgy", "s3://volumes/b.zarr", run=Run(storage_options=mixed))["arrays"]


def test_options_of_sources_are_those_of_all_where_none_are_set() -> None:
    plain = StorageOptions(endpoint_url="https://a.example", region_name="eu-1")
    assert of_sources(plain) is plain
    own = of_sources(plain.model_copy(update={"source_endpoint_url": "https://b.example"}))
    assert isinstance(own, SourceOptions)
    assert (own.endpoint_url, own.region_name, own.anonymous) == ("https://b.example", "eu-1", False)
    assert of_sources(own) is own


def test_a_stored_run_is_written_as_before() -> None:
    assert set(Run().model_dump()["storage_options"]) == {
        "credentials",
        "endpoint_url",
        "region_name",
        "requester_pays",
        "account_name",
        "project",
        "storage_class",
        "accept_unconditional_writes",
    }
    changed = StorageOptions(source_anonymous=True).model_dump()
    assert changed["source_anonymous"] is True
    assert StorageOptions(**changed) == StorageOptions(source_anonymous=True)


@pytest.mark.parametrize(
    "options",
    [
        StorageOptions(source_endpoint_url="https://other.example"),
        StorageOptions(source_account_name="other"),
    ],
)
def test_a_triggered_run_may_not_name_a_store_of_sources(options: StorageOptions) -> None:
    with pytest.raises(InputRefused, match="is not a store that triggered runs of this worker may name"):
        refuse_foreign_stores(options, "s3://staging,https://minio.example")
    refuse_foreign_stores(options, "https://other.example,https://other.blob.core.windows.net")


def test_a_public_object_of_google_is_read_without_a_token(gcs: str) -> None:
    from tasks.volume.store.clouds.gcs import Gcs

    cloud = Gcs(StorageOptions(anonymous=True))
    assert cloud._session._fs.credentials.credentials is None
    assert cloud._session._fs.credentials.token == "anon"
    WritableStore("gs://staging").put("a.sgy", b"1234")
    assert Source("gs://staging/a.sgy", StorageOptions(anonymous=True)).read(1, 2) == b"23"


def test_a_public_container_of_azure_is_read_without_a_key(azure: str) -> None:
    from azure.storage.blob import BlobServiceClient

    account = os.environ["AZURE_STORAGE_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(account) as service:
        service.get_container_client("staging").set_container_access_policy({}, public_access="blob")
        service.get_blob_client("staging", "a.sgy").upload_blob(b"1234", overwrite=True)
        service.get_blob_client("volumes", "a.sgy").upload_blob(b"1234", overwrite=True)
    public = StorageOptions(anonymous=True)
    assert Source("az://staging/a.sgy", public).read(1, 2) == b"23"
    with pytest.raises(InputRefused):
        Source("az://volumes/a.sgy", public)
    assert urllib.request.urlopen(f"{azure}/devstoreaccount1/staging/a.sgy", timeout=30).read() == b"1234"
