"""Google Cloud Storage (JSON API), through the session and credentials of gcsfs.

The calls of gcsfs are not used, because they retry by themselves and separate the parts of an upload by a bare line
feed: content that ends in a carriage return then loses its last byte at a server that reads both as one line end.
"""

import base64
import json
import uuid
from typing import Any
from urllib.parse import quote

import google_crc32c

from tasks.parameters import StorageOptions
from tasks.volume.store.clouds import WRITER, Entry, Found, Part, Span, checked, total_of
from tasks.volume.store.clouds.faults import Changed, Rejected, Transient
from tasks.volume.store.clouds.gcs_session import GcsSession

_UNIT = 256 << 10  # pieces of a resumable upload but the last are multiples of this


class Gcs:
    """The calls of `Cloud`."""

    batch = 1

    def __init__(self, options: StorageOptions) -> None:
        self._session = GcsSession(options)
        self._call = self._session.call

    def _object(self, path: str) -> str:
        bucket, _, key = path.partition("/")
        return f"{self._session.location}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(key, safe='')}"

    async def get(self, path: str, span: Span | None, identity: str) -> bytes:
        """See `Cloud`."""
        return (await self._got(path, span, identity))[0]

    async def fetch(self, path: str) -> tuple[bytes, str]:
        """See `Cloud`."""
        data, generation = await self._got(path, None, "")
        if generation:
            return data, generation
        stored = await self.head(path)  # what is between us and the service took the header away
        return await self.get(path, None, stored.identity), stored.identity

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
            stored = await self.head(path)
            checked(data, what, span=None, total=stored.size, crc32c=stored.crc32c)
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
                f"{self._session.location}/upload/storage/v1/b/{quote(bucket, safe='')}/o",
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
        document = _parsed(body, f"head gs://{path}")
        return Found(
            size=int(document.get("size", 0)),
            identity=str(document["generation"]),
            writer=document.get("metadata", {}).get(WRITER, ""),
            crc32c=base64.b64decode(document["crc32c"]).hex() if document.get("crc32c") else "",
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
        url = f"{self._session.location}/storage/v1/b/{quote(bucket, safe='')}/o"
        _, _, body = await self._call("GET", url, what=f"list gs://{prefix}", params=params)
        answer = _parsed(body, f"list gs://{prefix}")
        entries = [
            Entry(f"{bucket}/{item['name']}", int(item.get("size", 0)), str(item["generation"]))
            for item in answer.get("items", [])
        ]
        entries += [Entry(f"{bucket}/{name.rstrip('/')}", folder=True) for name in answer.get("prefixes", [])]
        return entries, str(answer.get("nextPageToken", ""))

    async def begin(self, path: str, *, writer: str, storage_class: str) -> str:
        """See `Cloud`."""
        bucket, _, key = path.partition("/")
        _, headers, _ = await self._call(
            "POST",
            f"{self._session.location}/upload/storage/v1/b/{quote(bucket, safe='')}/o",
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
        """See `Cloud`; the last part completed the object, so only look it up."""
        stored = await self.head(path)
        if stored.crc32c and int(stored.crc32c, 16) != crc32c:
            raise Rejected(f"gs://{path} has CRC32C {stored.crc32c}, but {crc32c:08x} was sent")

    async def abort(self, path: str, upload: str) -> None:
        """See `Cloud`."""
        try:
            await self._call("DELETE", upload, what=f"abort an upload to gs://{path}")
        except (FileNotFoundError, Rejected, Changed):
            pass  # it ended already; the service answers 499 to a deletion that went well

    async def renew(self) -> None:
        """See `Cloud`."""
        await self._session.renew()


def _described(writer: str, storage_class: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"metadata": {WRITER: writer}} if writer else {}
    return metadata | ({"storageClass": storage_class} if storage_class else {})


def _parsed(body: bytes, what: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(body)
    except ValueError as error:
        raise Transient(f"{what}: the answer is no JSON") from error
    return document


def _length(headers: Any) -> int | None:
    """Return the size of the whole object, if an answer without a range states it."""
    length = headers.get("X-Goog-Stored-Content-Length") or headers.get("Content-Length")
    return int(length) if length and headers.get("Content-Encoding") is None else None


def _crc32c(headers: Any) -> str:
    hashes = dict(
        part.strip().split("=", 1) for part in headers.get("X-Goog-Hash", "").split(",") if "=" in part
    )
    return base64.b64decode(hashes["crc32c"]).hex() if "crc32c" in hashes else ""
