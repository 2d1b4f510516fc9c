"""Send requests to Google Cloud Storage through the session and credentials of gcsfs, and translate its errors."""

import io
import json
import os
from typing import Any

import aiohttp
import fsspec
import google.auth
import google.auth.exceptions

from tasks.parameters import StorageOptions
from tasks.volume.store.clouds.faults import (
    Expired,
    Misconfigured,
    NoCredentials,
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


class GcsSession:
    """Session and credentials of a client of the service."""

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

    async def call(
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
        """Return the setting that can be at fault if the store cannot be reached."""
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

    @property
    def location(self) -> str:
        """Return the address of the service."""
        return str(self._fs._location)

    async def renew(self) -> None:
        """Get new credentials.

        Raises:
            Expired: None can be obtained.
        """
        try:
            self._fs.credentials.connect(method=self._fs.credentials.token)
        except (google.auth.exceptions.GoogleAuthError, ValueError, OSError) as error:
            raise Expired(f"new credentials: {error}") from error


def _reason(body: bytes) -> str:
    try:
        error = json.loads(body)["error"]
        return str(error["errors"][0]["reason"])
    except (ValueError, LookupError, TypeError):
        return ""
