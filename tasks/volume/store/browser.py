"""Addresses of stored objects that a web browser may open: `https://` of a store, `file://` of a disk.

They hold no credentials: the user must sign in to the store, or the bucket must be public.
"""

import os
from pathlib import Path
from urllib.parse import quote

from tasks.parameters import StorageOptions
from tasks.volume.store.url import locate

_S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_AZURE_ACCOUNTS = ("AZURE_STORAGE_ACCOUNT_NAME",)


def browser_link(url: str, options: StorageOptions = StorageOptions()) -> str:
    """Return the address under which a browser may open an object; the URL itself of a store without one.

    Args:
        url: URL in Seismill's form, such as s3://volumes/survey.zarr/.seismill/report/report.html
        options: Options of the store.
    """
    place = locate(url)
    if place.local:
        return Path(place.path).as_uri()
    path = quote(place.path.lstrip("/"), safe="/-._~")
    bucket, _, key = path.partition("/")
    if place.protocol == "s3":
        if endpoint := options.endpoint_url or _from_environment(_S3_ENDPOINTS):
            return f"{endpoint.rstrip('/')}/{path}"
        # The name of a bucket with dots fits no certificate.
        return (
            f"https://s3.amazonaws.com/{path}"
            if "." in bucket
            else f"https://{bucket}.s3.amazonaws.com/{key}"
        )
    if place.protocol == "gs":
        return f"https://storage.cloud.google.com/{path}"
    account = options.account_name or _from_environment(_AZURE_ACCOUNTS)
    if place.protocol in ("az", "abfs") and account:
        return f"https://{quote(account)}.blob.core.windows.net/{path}"
    return url


def _from_environment(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
