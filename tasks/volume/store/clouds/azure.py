"""Azure Blob Storage (REST), through the client, credentials and connections of adlfs.

Requests go through the client's pipeline, which signs them. Its methods for blobs are not used, because they split
objects above 32 MB and retry by themselves.
"""

import base64
import hashlib
import io
import logging
import os
import xml.etree.ElementTree as ElementTree
from typing import Any
from urllib.parse import quote

import fsspec
import google_crc32c
from azure.core import exceptions as azure
from azure.core.rest import HttpRequest

from tasks.parameters import StorageOptions
from tasks.volume.store.clouds import (
    CHECKSUM,
    WRITER,
    Entry,
    Found,
    Part,
    Span,
    checked,
    noted_crc32c,
    total_of,
)
from tasks.volume.store.clouds.faults import (
    Changed,
    Expired,
    Misconfigured,
    Rejected,
    Transient,
    fault,
    may_pass,
)
from tasks.volume.store.clouds.settings import lasting, misconfigured
from tasks.volume.store.source_options import credential_of

_ADDRESS = "AZURE_STORAGE_ACCOUNT_NAME, --account-name or the BlobEndpoint of AZURE_STORAGE_CONNECTION_STRING"
_SETTINGS = (
    "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME (--account-name) and AZURE_STORAGE_ACCOUNT_KEY or "
    "an identity"
)
# The SDK logs a page of advice beside what is told in one sentence.
logging.getLogger("azure.identity").setLevel(logging.ERROR)
# What may go well when it is tried again; what is not here is a setting.
_PASSES = (
    azure.ServiceRequestError,
    azure.ServiceResponseError,
    azure.IncompleteReadError,
    azure.HttpResponseError,
)
_ONCE = {"retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}
_TIMEOUTS = {"connection_timeout": 10, "read_timeout": 30}

# What adlfs takes of the variables that are meant for the store of the sources alone.
_OWN = (
    "connection_string",
    "account_name",
    "account_key",
    "sas_token",
    "tenant_id",
    "client_id",
    "client_secret",
)


class Azure:
    """The calls of `Cloud`."""

    batch = 1

    def __init__(self, options: StorageOptions) -> None:
        more: dict[str, Any] = {
            name: value for name in _OWN if (value := credential_of(options, f"AZURE_STORAGE_{name.upper()}"))
        }
        if options.account_name:
            more["account_name"] = options.account_name
        if options.anonymous:
            more = {"connection_string": _public(options.account_name)}
        try:
            self._fs = fsspec.filesystem("az", use_listings_cache=False, **more)
        except Exception as error:  # of settings, an SDK raises whatever it meets
            raise misconfigured("credentials of Azure", error, settings=_SETTINGS) from error

    async def _call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        query: str = "",
        headers: dict[str, str] | None = None,
        data: bytes = b"",
    ) -> tuple[Any, bytes]:
        """Send a request; return headers and body of the answer."""
        service = self._fs.service_client
        container, _, blob = path.partition("/")
        client = service.get_blob_client(container, blob) if blob else service.get_container_client(container)
        url = f"{client.url}{'&' if '?' in client.url else '?'}{query}" if query else client.url
        request = HttpRequest(
            method,
            url,
            headers={"x-ms-version": service.api_version, **(headers or {})},
            content=io.BytesIO(data) if data else None,  # aiohttp sends that piece by piece
        )
        if method == "PUT":
            request.headers["Content-Length"] = str(len(data))
        try:
            result = await service._pipeline.run(request, stream=True, **_ONCE, **_TIMEOUTS)
            answer = result.http_response
            body = b"".join([piece async for piece in answer.iter_raw()]) if method != "HEAD" else b""
        except azure.ClientAuthenticationError as error:
            if error.response is not None and not _found_none(
                error
            ):  # an answer of the service that gives tokens
                raise Expired(f"{what}: {_first_line(error)}") from error
            raise Misconfigured(f"{what}: {_first_line(error)}; set {_SETTINGS}") from error
        except (azure.AzureError, OSError) as error:
            if lasts := lasting(what, error, address=_ADDRESS):
                raise lasts from error
            if isinstance(error, _PASSES) or may_pass(error):
                raise Transient(f"{what}: {type(error).__name__}: {error}") from error
            raise misconfigured(what, error, settings=_SETTINGS) from error
        except ValueError as error:  # of an address or a key that the SDK cannot take
            raise misconfigured(what, error, settings=_SETTINGS) from error
        if answer.status_code >= 300:
            code = answer.headers.get("x-ms-error-code", "")
            if answer.status_code == 403 and code == "AuthenticationFailed" and _has_token(service):
                raise Expired(f"{what}: 403 {code}")
            raise fault(answer.status_code, code, what)
        return answer.headers, body

    async def get(self, path: str, span: Span | None, identity: str) -> bytes:
        """See `Cloud`; Azure has no range from the end, so such a call looks up the size first."""
        return (await self._got(path, span, identity))[0]

    async def fetch(self, path: str) -> tuple[bytes, str]:
        """See `Cloud`."""
        return await self._got(path, None, "")

    async def _got(self, path: str, span: Span | None, identity: str) -> tuple[bytes, str]:
        """Return bytes as `get`, and the identity of the object that they are of."""
        what = f"get az://{path}"
        if span and span.start < 0:
            stored = await self.head(path)
            span = Span(max(0, stored.size - span.length), min(span.length, stored.size))
            identity = identity or stored.identity
        headers = ({"x-ms-range": span.header} if span else {}) | ({"If-Match": identity} if identity else {})
        try:
            got, data = await self._call("GET", path, what=what, headers=headers)
        except Rejected as error:
            if span and " 416" in str(error):
                return b"", ""
            raise
        total = total_of(got.get("Content-Range", "")) if span else int(got["Content-Length"])
        return checked(data, what, span=span, total=total, crc32c=_crc32c(got)), str(got["ETag"])

    async def put(
        self, path: str, data: bytes, *, writer: str, storage_class: str, identity: str = ""
    ) -> str:
        """See `Cloud`."""
        checksum = {f"x-ms-meta-{CHECKSUM}": f"{google_crc32c.value(data):08x}"}
        headers = {"x-ms-blob-type": "BlockBlob", **_md5(data), **checksum}
        headers |= _described(writer, storage_class)
        headers |= {"If-Match": identity} if identity else {"If-None-Match": "*"} if writer else {}
        try:
            answer, _ = await self._call("PUT", path, what=f"put az://{path}", headers=headers, data=data)
        except Changed as error:
            if identity:
                raise
            raise FileExistsError(str(error)) from error
        return str(answer.get("ETag", ""))

    async def head(self, path: str) -> Found:
        """See `Cloud`."""
        got, _ = await self._call("HEAD", path, what=f"head az://{path}")
        return Found(
            size=int(got["Content-Length"]),
            identity=str(got["ETag"]),
            writer=got.get(f"x-ms-meta-{WRITER}", ""),
            crc32c=_crc32c(got),
            archived=got.get("x-ms-access-tier") == "Archive",
        )

    async def delete(self, paths: list[str]) -> None:
        """See `Cloud`."""
        try:
            await self._call("DELETE", paths[0], what=f"delete az://{paths[0]}")
        except FileNotFoundError:
            pass

    async def page(self, prefix: str, *, deep: bool, after: str) -> tuple[list[Entry], str]:
        """See `Cloud`."""
        container, _, name = prefix.partition("/")
        query = f"restype=container&comp=list&prefix={quote(name, safe='')}"
        query += ("" if deep else "&delimiter=%2F") + (f"&marker={quote(after, safe='')}" if after else "")
        _, body = await self._call("GET", container, what=f"list az://{prefix}", query=query)
        try:
            answer = ElementTree.fromstring(body)
        except ElementTree.ParseError as error:
            raise Transient(f"list az://{prefix}: the answer is no XML") from error
        entries = [
            Entry(
                f"{container}/{item.findtext('Name')}",
                int(item.findtext("Properties/Content-Length") or 0),
                f'"{(item.findtext("Properties/Etag") or "").strip(chr(34))}"',  # listed without its quotes
            )
            for item in answer.iterfind("Blobs/Blob")
        ]
        folders = [(item.text or "").rstrip("/") for item in answer.iterfind("Blobs/BlobPrefix/Name")]
        entries += [Entry(f"{container}/{name}", folder=True) for name in folders]
        return entries, answer.findtext("NextMarker") or ""

    async def begin(self, path: str, *, writer: str, storage_class: str) -> str:
        """See `Cloud`; nothing is sent, because parts wait for their list."""
        return "\n".join(f"{name}: {value}" for name, value in _described(writer, storage_class).items())

    async def part(self, path: str, upload: str, part: Part) -> str:
        """See `Cloud`."""
        number = base64.b64encode(f"{part.number:08d}".encode()).decode()
        query = f"comp=block&blockid={quote(number, safe='')}"
        await self._call(
            "PUT", path, what=f"upload to az://{path}", query=query, headers=_md5(part.data), data=part.data
        )
        return number

    async def complete(self, path: str, upload: str, receipts: list[str], crc32c: int) -> None:
        """See `Cloud`."""
        blocks = "".join(f"<Latest>{receipt}</Latest>" for receipt in receipts)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode()
        described = dict(line.split(": ", 1) for line in upload.splitlines())
        headers = {f"x-ms-meta-{CHECKSUM}": f"{crc32c:08x}", "Content-Type": "application/xml", **described}
        await self._call(
            "PUT", path, what=f"upload to az://{path}", query="comp=blocklist", headers=headers, data=body
        )

    async def abort(self, path: str, upload: str) -> None:
        """See `Cloud`; parts without a list are invisible, and the service removes them after a week."""

    async def renew(self) -> None:
        """See `Cloud`; drop the cached token, because the SDK requests a new one when it has none."""
        policy = self._fs.service_client._credential_policy
        if hasattr(policy, "_token"):
            policy._token = None


def _public(account: str) -> str:
    """Return a connection string without a key: that of an account, or the address in that of the environment."""
    if account:
        return f"BlobEndpoint=https://{account}.blob.core.windows.net"
    given = os.getenv("AZURE_STORAGE_CONNECTION_STRING") or ""
    parts = dict(part.partition("=")[::2] for part in given.split(";"))
    account = parts.get("AccountName") or os.getenv("AZURE_STORAGE_ACCOUNT_NAME") or ""
    if not account and "BlobEndpoint" not in parts:
        raise Misconfigured("an account of Azure must be named for az:// URLs; give it with --account-name")
    return f"BlobEndpoint={parts.get('BlobEndpoint') or f'https://{account}.blob.core.windows.net'}"


def _found_none(error: azure.ClientAuthenticationError) -> bool:
    """Return whether an error states that no credentials of any kind were found."""
    return "DefaultAzureCredential" in str(error)


def _first_line(error: Exception) -> str:
    """Return the first line of an error, without the advice that follows."""
    if type(error).__name__ == "AzureSigningError":  # which is in no public module of the SDK
        return f"the account key is not base64 ({error})"
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")


def _described(writer: str, storage_class: str) -> dict[str, str]:
    return ({f"x-ms-meta-{WRITER}": writer} if writer else {}) | (
        {"x-ms-access-tier": storage_class} if storage_class else {}
    )


def _crc32c(headers: Any) -> str:
    return noted_crc32c(headers.get(f"x-ms-meta-{CHECKSUM}", ""))


def _md5(data: bytes) -> dict[str, str]:
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {"Content-MD5": base64.b64encode(digest).decode(), "Content-Type": "application/octet-stream"}


def _has_token(service: Any) -> bool:
    return hasattr(service._credential_policy, "_token")
