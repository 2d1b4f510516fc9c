"""Google Cloud Storage (JSON API), through the session and credentials of gcsfs.

gcsfs's own calls retry by themselves and separate the pieces of an upload with a bare line feed, which costs
content that ends in a carriage return its last byte on a reader that takes both for a line's end.
"""

import base64
import io
import json
import os
import uuid
from typing import Any
from urllib.parse import quote

import aiohttp
import fsspec
import google.auth
import google.auth.exceptions
import google_crc32c

from tasks.parameters import StorageOptions
from tasks.volume.store.clouds import WRITER, Entry, Found, Part, Span, checked, total_of
from tasks.volume.store.clouds.faults import (
    Changed,
    Expired,
    Misconfigured,
    NoCredentials,
    Rejected,
    Transient,
    fault,
    may_pass,
)
from tasks.volume.store.clouds.settings import lasting, misconfigured
from tasks.volume.store.source_options import credential_of

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=30)
_CREDENTIALS = "GOOGLE_APPLICATION_CREDENTIALS or FSSPEC_GS_TOKEN"
_HOW = (
    "set GOOGLE_APPLICATION_CREDENTIALS, log in with gcloud auth application-default login, or run where the machine "
    "has an identity"
)
_UNIT = 256 << 10  # pieces of a resumable upload but the last are multiples of this


class Gcs:
    """The calls of `Cloud`."""

    batch = 1

    def __init__(self, options: StorageOptions) -> None:
        more: dict[str, Any] = {"project": options.project} if options.project else {}
        if options.requester_pays:
            more["requester_pays"] = True
        if options.anonymous:
            more["token"] = "anon"
        elif file := credential_of(options, "GOOGLE_APPLICATION_CREDENTIALS"):
            more["token"] = file
        elif given := credential_of(options, "FSSPEC_GS"):
            more["token"] = json.loads(given)["token"]
        try:
            self._fs = fsspec.filesystem("gs", use_listings_cache=False, **more)
        except Exception as error:  # of settings, an SDK raises whatever it meets
            raise misconfigured("credentials of Google", error, settings=_CREDENTIALS) from error

    async def _call(
        self,
        method: str,
        url: str,
        *,
        what: str,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        data: bytes = b"",
    ) -> tuple[int, Any, bytes]:
        """Send a request; return status, headers and body of the answer."""
        self._refuse_unread_credentials(what)
        try:
            session = await self._fs._set_session()
            signed = self._fs._get_headers((headers or {}) | {"Content-Length": str(len(data))})
            async with session.request(
                method,
                url,
                params=self._fs._get_params(params or {}),
                headers=signed,
                data=io.BytesIO(data) if data else None,  # aiohttp sends that piece by piece
                timeout=_TIMEOUT,
                allow_redirects=False,  # 308 is an answer to a piece of an upload
            ) as answer:
                body = await answer.read()
        except google.auth.exceptions.TransportError as error:
            raise Transient(f"{what}: {error}") from error
        except google.auth.exceptions.RefreshError as error:
            raise (Transient if error.retryable else Expired)(f"{what}: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            if lasts := lasting(what, error, address=self._address):
                raise lasts from error
            if isinstance(error, aiohttp.ClientError) or may_pass(error):
                raise Transient(f"{what}: {type(error).__name__}: {error}") from error
            raise misconfigured(what, error, settings=_CREDENTIALS) from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise misconfigured(what, error, settings=_CREDENTIALS) from error
        except Exception as error:
            if getattr(error, "code", None) == 401:  # gcsfs's own, when a refresh fails
                raise Expired(f"{what}: {error}") from error
            raise
        if answer.status == 401 and self._anonymous:
            raise NoCredentials(f"{what}: 401: no credentials of Google were found; {_HOW}")
        if answer.status >= 300 and answer.status != 308:
            raise fault(answer.status, _reason(body), what)
        return answer.status, answer.headers, body

    @property
    def _address(self) -> str:
        """Return the setting that names the store's address, or what is missing if there is none."""
        if os.environ.get("STORAGE_EMULATOR_HOST"):
            return "STORAGE_EMULATOR_HOST"
        return "the proxy" + (
            f" (and no credentials of Google were found; {_HOW})" if self._anonymous else ""
        )

    @property
    def _anonymous(self) -> bool:
        """Return whether requests carry no credentials."""
        return self._fs.credentials.credentials is None

    def _refuse_unread_credentials(self, what: str) -> None:
        """Check that credentials are used where some are set; gcsfs goes on without those that it cannot read.

        Raises:
            Misconfigured: The credentials cannot be read.
        """
        file = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        if (
            not file
            or not self._anonymous
            or self._fs.credentials.token
            or os.environ.get("STORAGE_EMULATOR_HOST")
        ):
            return
        try:
            google.auth.default(scopes=[self._fs.credentials.scope])
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise Misconfigured(
                f"{what}: GOOGLE_APPLICATION_CREDENTIALS={file} cannot be used ({reason}); correct it"
            ) from error
        raise Misconfigured(
            f"{what}: GOOGLE_APPLICATION_CREDENTIALS={file} is of another project than --project; correct one of them"
        )

    def _object(self, path: str) -> str:
        bucket, _, key = path.partition("/")
        return f"{self._fs._location}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(key, safe='')}"

    async def get(self, path: str, span: Span | None, identity: str) -> bytes:
        """See `Cloud`."""
        return (await self._got(path, span, identity))[0]

    async def fetch(self, path: str) -> tuple[bytes, str]:
        """See `Cloud`."""
        data, generation = await self._got(path, None, "")
        if generation:
            return data, generation
        found = await self.head(path)  # what is between us and the service took the header away
        return await self.get(path, None, found.identity), found.identity

    async def _got(self, path: str, span: Span | None, identity: str) -> tuple[bytes, str]:
        """Return bytes as `get`, and the identity of the object that they are of."""
        what = f"get gs://{path}"
        params = {"alt": "media"} | ({"ifGenerationMatch": identity} if identity else {})
        # Bytes as they are stored: an object with a gzip encoding would be unpacked else.
        headers = {"Accept-Encoding": "gzip"} | ({"Range": span.header} if span else {})
        try:
            _, got, data = await self._call(
                "GET", self._object(path), what=what, headers=headers, params=params
            )
        except Rejected as error:
            if span and " 416" in str(error):
                return b"", ""
            raise
        ranged = total_of(got.get("Content-Range", ""))
        if span and ranged is None:  # the range was passed over, by what is between us and the service
            found = await self.head(path)
            checked(data, what, span=None, total=found.size, crc32c=found.crc32c)
            start = max(0, len(data) - span.length) if span.start < 0 else span.start
            return data[start : start + span.length], ""
        total = ranged if span else _length(got)
        whole = checked(data, what, span=span, total=total, crc32c="" if span else _crc32c(got))
        return whole, str(got.get("X-Goog-Generation", ""))

    async def put(
        self, path: str, data: bytes, *, writer: str, storage_class: str, identity: str = ""
    ) -> str:
        """See `Cloud`."""
        bucket, _, key = path.partition("/")
        crc = base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode()
        described = {"name": key, "crc32c": crc} | _described(writer, storage_class)
        mark = uuid.uuid4().hex
        body = (
            f"--{mark}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps(described)}\r\n"
            f"--{mark}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        generation = identity or ("0" if writer else "")
        params = {"uploadType": "multipart"} | ({"ifGenerationMatch": generation} if generation else {})
        try:
            _, _, answer = await self._call(
                "POST",
                f"{self._fs._location}/upload/storage/v1/b/{quote(bucket, safe='')}/o",
                what=f"put gs://{path}",
                headers={"Content-Type": f'multipart/related; boundary="{mark}"'},
                data=b"".join([body, data, f"\r\n--{mark}--\r\n".encode()]),
                params=params,
            )
        except Changed as error:
            if identity:
                raise
            raise FileExistsError(str(error)) from error
        try:
            return str(json.loads(answer)["generation"])
        except (ValueError, LookupError, TypeError):
            return ""

    async def head(self, path: str) -> Found:
        """See `Cloud`."""
        _, _, body = await self._call("GET", self._object(path), what=f"head gs://{path}")
        found = _parsed(body, f"head gs://{path}")
        return Found(
            size=int(found.get("size", 0)),
            identity=str(found["generation"]),
            writer=found.get("metadata", {}).get(WRITER, ""),
            crc32c=base64.b64decode(found["crc32c"]).hex() if found.get("crc32c") else "",
        )

    async def delete(self, paths: list[str]) -> None:
        """See `Cloud`."""
        try:
            await self._call("DELETE", self._object(paths[0]), what=f"delete gs://{paths[0]}")
        except FileNotFoundError:
            pass

    async def page(self, prefix: str, *, deep: bool, after: str) -> tuple[list[Entry], str]:
        """See `Cloud`."""
        bucket, _, key = prefix.partition("/")
        params = {
            "prefix": key,
            "fields": "items(name,size,generation),prefixes,nextPageToken",
            "maxResults": "1000",
        }
        params |= ({} if deep else {"delimiter": "/"}) | ({"pageToken": after} if after else {})
        url = f"{self._fs._location}/storage/v1/b/{quote(bucket, safe='')}/o"
        _, _, body = await self._call("GET", url, what=f"list gs://{prefix}", params=params)
        answer = _parsed(body, f"list gs://{prefix}")
        entries = [
            Entry(f"{bucket}/{found['name']}", int(found.get("size", 0)), str(found["generation"]))
            for found in answer.get("items", [])
        ]
        entries += [Entry(f"{bucket}/{name.rstrip('/')}", folder=True) for name in answer.get("prefixes", [])]
        return entries, str(answer.get("nextPageToken", ""))

    async def begin(self, path: str, *, writer: str, storage_class: str) -> str:
        """See `Cloud`."""
        bucket, _, key = path.partition("/")
        _, headers, _ = await self._call(
            "POST",
            f"{self._fs._location}/upload/storage/v1/b/{quote(bucket, safe='')}/o",
            what=f"begin an upload to gs://{path}",
            headers={"Content-Type": "application/json; charset=UTF-8"},
            data=json.dumps({"name": key} | _described(writer, storage_class)).encode(),
            params={"uploadType": "resumable", "name": key},
        )
        return str(headers["Location"])

    async def part(self, path: str, upload: str, part: Part) -> str:
        """See `Cloud`; the service ignores a part that it already has."""
        stop = part.offset + len(part.data)
        if not part.last and len(part.data) % _UNIT:
            raise Rejected(f"a piece of {len(part.data)} bytes is no multiple of {_UNIT}")
        span = (
            f"bytes {part.offset}-{stop - 1}/{stop if part.last else '*'}" if part.data else f"bytes */{stop}"
        )
        status, headers, _ = await self._call(
            "PUT", upload, what=f"upload to gs://{path}", headers={"Content-Range": span}, data=part.data
        )
        if status == 308:
            kept = int(headers.get("Range", "bytes=0--1").rpartition("-")[2]) + 1
            if part.last or kept < stop:
                raise Transient(f"upload to gs://{path}: {kept} bytes were kept of {stop}")
        return str(part.number)

    async def complete(self, path: str, upload: str, receipts: list[str], crc32c: int) -> None:
        """See `Cloud`; the last part completed the object, so it is only looked up."""
        found = await self.head(path)
        if found.crc32c and int(found.crc32c, 16) != crc32c:
            raise Rejected(f"gs://{path} has CRC32C {found.crc32c}, but {crc32c:08x} was sent")

    async def abort(self, path: str, upload: str) -> None:
        """See `Cloud`."""
        try:
            await self._call("DELETE", upload, what=f"abort an upload to gs://{path}")
        except (FileNotFoundError, Rejected, Changed):
            pass  # it ended already; the service answers 499 to a deletion that went well

    async def renew(self) -> None:
        """See `Cloud`."""
        try:
            self._fs.credentials.connect(method=self._fs.credentials.token)
        except (google.auth.exceptions.GoogleAuthError, ValueError, OSError) as error:
            raise Expired(f"new credentials: {error}") from error


def _described(writer: str, storage_class: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"metadata": {WRITER: writer}} if writer else {}
    return metadata | ({"storageClass": storage_class} if storage_class else {})


def _parsed(body: bytes, what: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(body)
    except ValueError as error:
        raise Transient(f"{what}: the answer is no JSON") from error
    return document


def _reason(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return str(error["errors"][0]["reason"])
    except (ValueError, LookupError, TypeError):
        return ""


def _length(headers: Any) -> int | None:
    """Return the size of the whole object, if an answer without a range states it."""
    length = headers.get("X-Goog-Stored-Content-Length") or headers.get("Content-Length")
    return int(length) if length and headers.get("Content-Encoding") is None else None


def _crc32c(headers: Any) -> str:
    hashes = dict(
        part.strip().split("=", 1) for part in headers.get("X-Goog-Hash", "").split(",") if "=" in part
    )
    return base64.b64decode(hashes["crc32c"]).hex() if "crc32c" in hashes else ""
