"""Turn an error that a wrong setting causes into one sentence that names the setting.

Temporary errors are a fixed list: connections, time-outs, damaged answers. Any other error of an SDK counts as a wrong
setting, such as a missing profile, a broken file, an address without a scheme, or TLS.
"""

import os
import socket
import ssl
from collections.abc import Iterator

import aiohttp

from tasks.volume.store.clouds.faults import Misconfigured

# OpenSSL's names of what happens to a connection, and not to its settings.
_TLS_PASSES = {
    "UNEXPECTED_EOF_WHILE_READING",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    "SSLV3_ALERT_BAD_RECORD_MAC",
    "APPLICATION_DATA_AFTER_CLOSE_NOTIFY",
    "TLSV1_ALERT_INTERNAL_ERROR",
}
_UNKNOWN_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_HOW = {
    "ProfileNotFound": "correct AWS_PROFILE, or add the profile to ~/.aws/config",
    "ConfigParseError": "correct that file, or name another one with AWS_CONFIG_FILE",
    "ConfigNotFound": "correct AWS_CONFIG_FILE",
    "InvalidRegionError": "correct AWS_DEFAULT_REGION or --region-name",
    "NoRegionError": "set AWS_DEFAULT_REGION or --region-name",
    "NoCredentialsError": "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, "
    "or run where the machine has a role",
    "PartialCredentialsError": "set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or complete the credentials file",
    "SSOTokenLoadError": "log in with: aws sso login",
    "UnauthorizedSSOTokenError": "log in with: aws sso login",
    "LoginTokenLoadError": "log in with: aws login",
    "InvalidConfigError": "correct the profile in ~/.aws/config",
    "EndpointResolutionError": "AWS_ENDPOINT_URL or --endpoint-url needs http:// or https://, a host and a valid port",
    "MissingDependencyException": "install it, or choose other credentials",
    "CredentialRetrievalError": "correct credential_process of the profile in ~/.aws/config",
}


def misconfigured(what: str, error: BaseException, *, settings: str) -> Misconfigured:
    """Return the fault for an error of an SDK that is not in the list of temporary errors.

    Args:
        what: The request, for messages.
        error: Error of the SDK.
        settings: Settings of this kind of store, named if the error does not say which of them is wrong.
    """
    return Misconfigured(f"{what}: {_said(error)}; {_how(error, settings)}")


def lasting(what: str, error: BaseException, *, address: str) -> Misconfigured | None:
    """Return the fault if a connection failed for a permanent reason: TLS, an unknown host, no address."""
    for cause in _chain(error):
        # aiohttp's own classes of these errors have no reason; what they were raised from has.
        if isinstance(cause, ssl.SSLCertVerificationError):
            if not hasattr(cause, "verify_message"):
                continue
            reason = f"the certificate of the server is not trusted ({cause.verify_message}); correct {address}, or "
            return Misconfigured(
                f"{what}: TLS failed: {reason}name its authority with AWS_CA_BUNDLE or SSL_CERT_FILE"
            )
        if isinstance(cause, ssl.SSLError) and (reason := getattr(cause, "reason", "")) not in {
            *_TLS_PASSES,
            "",
            None,
        }:
            reason = reason.replace("_", " ").lower()
            return Misconfigured(
                f"{what}: TLS failed ({reason}), as with a server that speaks plain HTTP; correct {address}, from "
                "https:// to http://"
            )
        if isinstance(cause, aiohttp.ClientConnectorDNSError) and cause.os_error.errno in _UNKNOWN_HOST:
            return Misconfigured(
                f"{what}: the host {cause.host} is not known; correct {address}, or the network"
            )
        if isinstance(cause, aiohttp.InvalidURL):
            return Misconfigured(f"{what}: {cause.url} is no address; correct {address}")
        if isinstance(cause, (FileNotFoundError, NotADirectoryError, IsADirectoryError)):
            name = f" {cause.filename}" if cause.filename else ""
            bundle = os.environ.get("AWS_CA_BUNDLE", "")
            named = f" (AWS_CA_BUNDLE={bundle})" if bundle and not os.path.exists(bundle) else ""
            return Misconfigured(
                f"{what}: a file{name} that the settings name cannot be read ({cause.strerror}){named}; correct the "
                "setting"
            )
    return None


def _how(error: BaseException, settings: str) -> str:
    for kind in type(error).__mro__:
        if kind.__name__ in _HOW:
            return _HOW[kind.__name__]
    if isinstance(error, ValueError) and "endpoint" in str(error).lower():
        return _HOW["EndpointResolutionError"]
    return f"correct {settings}"


def _said(error: BaseException) -> str:
    """Return the message of an error in one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return text or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
