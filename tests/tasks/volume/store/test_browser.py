"""Addresses for a browser lead to the same object, hold no credentials, and any name can be written in one."""

import pytest

from tasks.parameters import StorageOptions
from tasks.volume.store.browser import browser_link


@pytest.mark.parametrize(
    ("url", "options", "wanted"),
    [
        ("/data/a b/ü#?.zarr", {}, "file:///data/a%20b/%C3%BC%23%3F.zarr"),
        ("file:///data/a.zarr", {}, "file:///data/a.zarr"),
        ("s3://volumes/a (1).zarr", {}, "https://volumes.s3.amazonaws.com/a%20%281%29.zarr"),
        ("s3://my.volumes/a.zarr", {}, "https://s3.amazonaws.com/my.volumes/a.zarr"),
        (
            "s3a://volumes/a.zarr",
            {"endpoint_url": "http://127.0.0.1:9000/"},
            "http://127.0.0.1:9000/volumes/a.zarr",
        ),
        ("gs://volumes/a/b.html", {}, "https://storage.cloud.google.com/volumes/a/b.html"),
        ("az://volumes/a.zarr", {"account_name": "acc"}, "https://acc.blob.core.windows.net/volumes/a.zarr"),
        ("az://volumes/a.zarr", {}, "az://volumes/a.zarr"),
        ("memory://a", {}, "memory://a"),
    ],
)
def test_the_link_of_each_store(url, options, wanted, monkeypatch):
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert browser_link(url, StorageOptions(**options)) == wanted


def test_an_endpoint_of_the_environment_counts(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://minio.example.org:9000")
    assert browser_link("s3://volumes/a.zarr") == "https://minio.example.org:9000/volumes/a.zarr"
