"""S3 and compatible stores, through the client of s3fs."""

import base64
import logging
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import fsspec
import google_crc32c
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

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

# The SDK logs the traceback of what is told in one sentence.
for _name in ("aiobotocore.tokens", "aiobotocore.credentials", "botocore.tokens", "botocore.credentials"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

_MOST_SKEW = timedelta(minutes=15)
_ARCHIVE_CLASSES = {"GLACIER", "DEEP_ARCHIVE"}
_ADDRESS = "AWS_ENDPOINT_URL, --endpoint-url or the region"
_LOGIN = (boto.TokenRetrievalError, boto.CredentialRetrievalError)
# What may go well when it is tried again; what is not here is a setting.
_PASSES = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ChecksumError,
    boto.FlexibleChecksumError,
    boto.MetadataRetrievalError,
    ResponseParserError,
    aiohttp.ClientError,
)
_CONFIGURATION = {
    "retries": {"total_max_attempts": 1},  # one layer retries, and it is not this one
    "max_pool_connections": 64,
    "connect_timeout": 10,
    "read_timeout": 30,
}

# What s3fs takes of the variables that are meant for the store of the sources alone.
_OWN = {
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "profile": "AWS_PROFILE",
    "endpoint_url": "AWS_ENDPOINT_URL_S3",
    "region_name": "AWS_DEFAULT_REGION",
}


class S3:
    """The calls of `Cloud`."""

    batch = 1000

    def __init__(self, options: StorageOptions) -> None:
        more: dict[str, Any] = {
            name: value for name, variable in _OWN.items() if (value := credential_of(options, variable))
        }
        of_sources = more.pop("region_name", "")
        region = options.region_name or of_sources
        if options.endpoint_url:
            more["endpoint_url"] = options.endpoint_url
        if options.anonymous:
            more = {name: more[name] for name in more if name == "endpoint_url"} | {"anon": True}
        self._fs = fsspec.filesystem(
            "s3",
            client_kwargs={"region_name": region} if region else {},
            config_kwargs=_CONFIGURATION,
            use_listings_cache=False,
            **more,
        )
        self._payer = {"RequestPayer": "requester"} if options.requester_pays else {}

    async def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        bucket, _, key = path.partition("/")
        named = {"Bucket": bucket} | ({"Key": key} if key else {})
        what = f"{method} s3://{path}"
        try:
            client = await self._client(bucket, what)
            answer: dict[str, Any] = await getattr(client, method)(**named, **self._payer, **arguments)
        except boto.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            answered = error.response.get("ResponseMetadata", {})
            status = int(answered.get("HTTPStatusCode", 0))
            if status == 403 and _is_skewed(answered.get("HTTPHeaders", {}).get("date", "")):
                code = "RequestTimeTooSkewed"  # which the answer to a HEAD has no body to say
            raise fault(status, code, what) from error
        except boto.ParamValidationError as error:
            raise Rejected(f"{what}: {error}") from error
        except (boto.BotoCoreError, ResponseParserError, aiohttp.ClientError, OSError) as error:
            raise _fault(what, error) from error
        return answer

    async def _client(self, bucket: str, what: str) -> Any:
        """Return the client of a bucket, made at the first call."""
        try:
            await self._fs.set_session()
            return await self._fs.get_s3(bucket)
        except (boto.ClientError, Transient):
            raise
        except Exception as error:  # of settings, an SDK raises whatever it meets
            raise _fault(what, error) from error

    async def get(self, path: str, span: Span | None, identity: str) -> bytes:
        """See `Cloud`."""
        return (await self._got(path, span, identity))[0]

    async def fetch(self, path: str) -> tuple[bytes, str]:
        """See `Cloud`."""
        return await self._got(path, None, "")

    async def _got(self, path: str, span: Span | None, identity: str) -> tuple[bytes, str]:
        """Return bytes as `get`, and the identity of the object that they are of."""
        arguments = ({"Range": span.header} if span else {}) | ({"IfMatch": identity} if identity else {})
        what = f"get s3://{path}"
        try:
            answer = await self._call("get_object", path, ChecksumMode="ENABLED", **arguments)
        except Rejected as error:
            if span and "InvalidRange" in str(error):
                return b"", ""
            raise
        try:
            async with answer["Body"] as body:
                data: bytes = await body.read()
        except (boto.BotoCoreError, aiohttp.ClientError, OSError) as error:
            raise _fault(what, error) from error
        total = total_of(answer.get("ContentRange", "")) if span else answer.get("ContentLength")
        return checked(data, what, span=span, total=total, crc32c=_crc32c(answer)), str(answer["ETag"])

    async def put(
        self, path: str, data: bytes, *, writer: str, storage_class: str, identity: str = ""
    ) -> str:
        """See `Cloud`."""
        crc = google_crc32c.value(data)
        condition = {"IfMatch": identity} if identity else {"IfNoneMatch": "*"} if writer else {}
        arguments = _described(writer, storage_class, f"{crc:08x}") | condition
        try:
            answer = await self._call("put_object", path, Body=data, ChecksumCRC32C=_base64(crc), **arguments)
        except Changed as error:
            if identity:
                raise
            raise FileExistsError(str(error)) from error
        return str(answer.get("ETag", ""))

    async def head(self, path: str) -> Found:
        """See `Cloud`."""
        try:
            answer = await self._call("head_object", path, ChecksumMode="ENABLED")
        except (PermissionError, Rejected):
            # The answer to a HEAD has no body to say why.
            (await self._call("get_object", path, Range="bytes=0-0"))["Body"].close()
            raise
        restored = 'ongoing-request="false"' in answer.get("Restore", "")
        return Found(
            size=int(answer["ContentLength"]),
            identity=str(answer["ETag"]),
            writer=answer.get("Metadata", {}).get(WRITER, ""),
            crc32c=_crc32c(answer),
            archived=answer.get("StorageClass") in _ARCHIVE_CLASSES and not restored,
        )

    async def delete(self, paths: list[str]) -> None:
        """See `Cloud`."""
        if len(paths) == 1:
            await self._call("delete_object", paths[0])
            return
        bucket = paths[0].partition("/")[0]
        keys = [{"Key": path.partition("/")[2]} for path in paths]
        answer = await self._call("delete_objects", bucket, Delete={"Objects": keys, "Quiet": True})
        for error in answer.get("Errors", []):  # the request as a whole goes well
            code = error.get("Code", "")
            raise fault(
                403 if code == "AccessDenied" else 500, code, f"delete s3://{bucket}/{error.get('Key')}"
            )

    async def page(self, prefix: str, *, deep: bool, after: str) -> tuple[list[Entry], str]:
        """See `Cloud`."""
        bucket, _, key = prefix.partition("/")
        arguments = ({} if deep else {"Delimiter": "/"}) | ({"ContinuationToken": after} if after else {})
        answer = await self._call("list_objects_v2", bucket, Prefix=key, **arguments)
        entries = [
            Entry(f"{bucket}/{item['Key']}", int(item["Size"]), str(item["ETag"]))
            for item in answer.get("Contents", [])
        ]
        folders = [item["Prefix"].rstrip("/") for item in answer.get("CommonPrefixes", [])]
        entries += [Entry(f"{bucket}/{name}", folder=True) for name in folders]
        return entries, str(answer.get("NextContinuationToken", ""))

    async def begin(self, path: str, *, writer: str, storage_class: str) -> str:
        """See `Cloud`."""
        described = _described(writer, storage_class, "")
        answer = await self._call(
            "create_multipart_upload",
            path,
            ChecksumAlgorithm="CRC32C",
            ChecksumType="FULL_OBJECT",
            **described,
        )
        return str(answer["UploadId"])

    async def part(self, path: str, upload: str, part: Part) -> str:
        """See `Cloud`."""
        crc = _base64(google_crc32c.value(part.data))
        answer = await self._call(
            "upload_part",
            path,
            UploadId=upload,
            PartNumber=part.number + 1,
            Body=part.data,
            ChecksumCRC32C=crc,
        )
        return str(answer["ETag"])

    async def complete(self, path: str, upload: str, receipts: list[str], crc32c: int) -> None:
        """See `Cloud`."""
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(receipts, start=1)]
        whole = {"ChecksumCRC32C": _base64(crc32c), "ChecksumType": "FULL_OBJECT"}
        await self._call(
            "complete_multipart_upload", path, UploadId=upload, MultipartUpload={"Parts": parts}, **whole
        )

    async def abort(self, path: str, upload: str) -> None:
        """See `Cloud`."""
        await self._call("abort_multipart_upload", path, UploadId=upload)

    async def renew(self) -> None:
        """See `Cloud`."""
        try:
            await self._fs.set_session(refresh=True)
        except Exception as error:
            raise _fault("new credentials", error) from error


def _fault(what: str, error: Exception) -> OSError:
    """Return the fault for an error without an answer."""
    if isinstance(error, Misconfigured):
        return error
    if isinstance(error, _LOGIN) and getattr(error, "kwargs", {}).get("provider") != "custom-process":
        return Expired(f"{what}: {error}")
    if lasts := lasting(what, error, address=_ADDRESS):
        return lasts
    if isinstance(error, _PASSES) or may_pass(error):
        return Transient(f"{what}: {type(error).__name__}: {error}")
    return misconfigured(what, error, settings="the AWS_ variables of the environment, or ~/.aws/config")


def _is_skewed(date: str) -> bool:
    """Return whether this machine's clock differs from the store's by more than S3 accepts."""
    try:
        there = parsedate_to_datetime(date)
    except ValueError:  # not every store says what time it is
        return False
    return abs(datetime.now(UTC) - there.replace(tzinfo=there.tzinfo or UTC)) > _MOST_SKEW


def _described(writer: str, storage_class: str, crc32c: str) -> dict[str, Any]:
    metadata = ({WRITER: writer} if writer else {}) | ({CHECKSUM: crc32c} if crc32c else {})
    return ({"Metadata": metadata} if metadata else {}) | (
        {"StorageClass": storage_class} if storage_class else {}
    )


def _base64(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


def _crc32c(answer: dict[str, Any]) -> str:
    """Return the CRC32C of the whole object: the store's, if it covers the whole object, else the writer's."""
    stored = answer.get("ChecksumCRC32C", "")
    if stored and answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT" and "-" not in stored:
        return base64.b64decode(stored).hex()
    return noted_crc32c(answer.get("Metadata", {}).get(CHECKSUM, ""))
