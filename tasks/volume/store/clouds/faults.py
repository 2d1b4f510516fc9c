"""Classify the failures of a request, in the same terms for every store.

The SDKs report the same failure in many ways, some of them misleading (s3fs turns a throttled request into an OSError
without errno, gcsfs a refused one into a plain OSError). Each cloud translates its failures into these classes, so that
retries, waits and sentences are decided in one place. A missing object is FileNotFoundError, an existing one
FileExistsError, a forbidden one PermissionError, never FileNotFoundError.
"""

import errno
import socket
from typing import Any


class Transient(OSError):
    """A fault that may pass: a connection, a time-out, a damaged or short body, a server's 5xx."""


class Busy(Transient):
    """The store asks for fewer requests (429, 503)."""


class Expired(OSError):
    """The credentials expired."""


class NoCredentials(Expired):
    """A request without credentials was refused; new ones may be found now."""


class Misconfigured(OSError):
    """A setting is wrong, and no retry helps. The sentence names the setting."""


class Changed(OSError):
    """The object has another identity than the requested one (412)."""


class Archived(OSError):
    """The object lies in an archive tier and must be restored before it can be read."""


class Rejected(OSError):
    """The store refuses the request, and no retry helps."""


class NoRanges(Rejected):
    """The server sends only whole files; `found` is the file's size (-1 if not stated) and identity."""

    def __init__(self, message: str, found: Any) -> None:
        super().__init__(message)
        self.found = found


# What an operating system calls what may pass: a connection, a time-out, too few ports or descriptors for a moment.
MAY_PASS: tuple[type[Exception], ...] = (ConnectionError, TimeoutError, socket.gaierror)
_ERRNO_PASSES = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.ENOBUFS,
    errno.EMFILE,
    errno.ENFILE,
    errno.EINTR,
    errno.EIO,
}


def may_pass(error: Exception) -> bool:
    """Return whether an error of the operating system may be temporary."""
    return isinstance(error, MAY_PASS) or (isinstance(error, OSError) and error.errno in _ERRNO_PASSES)


_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "authError"}
_BUSY = {
    "SlowDown",
    "ServiceUnavailable",
    "ServerBusy",
    "ThrottlingException",
    "TooManyRequests",
    "rateLimitExceeded",
    "userRateLimitExceeded",
}
_TRANSIENT = {
    "RequestTimeout",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "Md5Mismatch",
    "OperationTimedOut",
    "InternalError",
    "ConditionalRequestConflict",
    "OperationAborted",
}
_ARCHIVED = {"InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"}
_EXISTS = {"BlobAlreadyExists"}
_UNKNOWN_KEY = (
    "the store does not know this access key; correct AWS_ACCESS_KEY_ID, or SEISMILL_SOURCE_AWS_ACCESS_KEY_ID where "
    "sources have keys of their own"
)
# Credentials that the store does not know, a wrong clock, and a bucket that is elsewhere: with what to do about it.
_SETTINGS = {
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": "the secret is not that of the access key; correct AWS_SECRET_ACCESS_KEY",
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "AuthorizationHeaderMalformed": "the bucket lies in another region; correct AWS_DEFAULT_REGION or --region-name",
    "PermanentRedirect": "the bucket lies in another region; correct AWS_DEFAULT_REGION or --region-name",
    "IllegalLocationConstraintException": "the bucket lies in another region; correct AWS_DEFAULT_REGION or "
    "--region-name",
    "NoAuthenticationInformation": "no credentials were sent; set AZURE_STORAGE_CONNECTION_STRING or "
    "AZURE_STORAGE_ACCOUNT_KEY",
    "InvalidAuthenticationInfo": "the credentials are not as Azure wants them; correct AZURE_STORAGE_CONNECTION_STRING "
    "or AZURE_STORAGE_ACCOUNT_KEY",
    "AuthenticationFailed": "the key or signature is not that of the account, or the clock is wrong; correct "
    "AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT_KEY",
}


def fault(status: int, code: str, what: str) -> OSError:
    """Return the fault for an HTTP status.

    Args:
        status: HTTP status of the answer.
        code: Error code of the store, if it gave one.
        what: The request, for messages.
    """
    stated = f"{what}: {status}{f' {code}' if code and code != str(status) else ''}"
    if code in _SETTINGS:
        return Misconfigured(f"{stated}: {_SETTINGS[code]}")
    if code in _EXPIRED or status == 401:
        return Expired(stated)
    if code in _ARCHIVED:
        return Archived(stated)
    if code in _EXISTS:
        return FileExistsError(stated)
    if code in _BUSY or status in (429, 503):
        return Busy(stated)
    if code in _TRANSIENT or status in (408, 425) or (status >= 500 and status != 501):
        return Transient(stated)
    if status == 404:
        return FileNotFoundError(stated)
    if status == 403:
        return PermissionError(stated)
    if status in (304, 412):
        return Changed(stated)
    return Rejected(stated)
