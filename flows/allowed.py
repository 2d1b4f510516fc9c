"""Check the prefixes, stores and clusters that a triggered run uses.

A user at a terminal has the rights of a shell. But anyone who reaches the server can trigger a deployment, so its
operator lists the allowed prefixes in SEISMILL_ALLOW. This catches mistakes; security depends on the worker's
identity and policy.
"""

import glob
import os
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import unquote

from tasks.parameters import StorageOptions
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.spilled import archive_and_member
from tasks.volume.store.url import WEB, Location, is_one_name, locate, unescaped

_ADDRESS = ("https://", "http://")


def refuse_outside(urls: Iterable[str], allowed: str) -> None:
    """Check that every URL lies under one of the allowed prefixes.

    Args:
        urls: Paths and URLs that the run would read or write.
        allowed: Prefixes separated by commas; an empty text refuses everything. A prefix ends at a path's
            separator: s3://volumes/a allows s3://volumes/a/b and not s3://volumes/ab. A web server's ends in a path,
            if only "/": without one it is the address of a store, which `refuse_foreign_stores` reads.

    Raises:
        InputRefused: A URL lies outside of them.
    """
    prefixes = _prefixes(allowed)
    for url in (file for several in urls for file in _places(several)):
        _refuse_place(url, prefixes, allowed)


def refuse_stored(url: str, allowed: str) -> None:
    """Check that an address found in a stored document lies under one of the allowed prefixes.

    The text is one address: commas and pattern characters in it have no special meaning.

    Args:
        url: The address.
        allowed: Same as in `refuse_outside`.

    Raises:
        InputRefused: The address lies outside of these prefixes.
    """
    prefixes = _prefixes(allowed)
    for place in dict.fromkeys((url, archive_and_member(url)[0])):
        _refuse_place(place, prefixes, allowed)


def _prefixes(allowed: str) -> list[tuple[str, str]]:
    return [
        _whole_path(word)
        for word in _words(allowed)
        if not word.startswith(_ADDRESS) or "/" in word.partition("://")[2]
    ]


def _refuse_place(url: Any, prefixes: Collection[tuple[str, str]], allowed: str) -> None:
    protocol, path = _whole_path(url)
    if ".." in (unquote(path) if protocol in WEB else path).split(
        "/"
    ):  # some stores would resolve it, others would take it as a name
        raise InputRefused(f"{_text(url)} goes up with '..'; name the place itself")
    if not any(
        protocol == p and (path == prefix or path.startswith(prefix.rstrip("/") + "/"))
        for p, prefix in prefixes
    ):
        raise InputRefused(
            f"{_text(url)} is outside of what this worker may touch, which is {allowed or 'nothing'}; "
            "its operator sets SEISMILL_ALLOW"
        )


def refuse_foreign_stores(options: StorageOptions, allowed: str) -> None:
    """Check that a triggered run may use a store: the worker's own, or one whose address is allowed.

    A bucket or container of the same name at another endpoint or in another account is a different one.

    Args:
        options: The run's; an Azure account counts as the address https://ACCOUNT.blob.core.windows.net.
        allowed: Same as in `refuse_outside`, with addresses, such as https://minio.example, among the prefixes.

    Raises:
        InputRefused: The options name a store that is not allowed.
    """
    addresses = [word.rstrip("/") for word in _words(allowed) if word.startswith(_ADDRESS)]
    accounts = [
        name and f"https://{name}.blob.core.windows.net"
        for name in (options.account_name, options.source_account_name)
    ]
    endpoints = [options.endpoint_url.rstrip("/"), options.source_endpoint_url.rstrip("/")]
    for address in filter(None, (*endpoints, *accounts)):
        if address not in addresses:
            raise InputRefused(
                f"{address} is not a store that triggered runs of this worker may name; leave it out, or its "
                "operator adds it to SEISMILL_ALLOW"
            )


def refuse_foreign_compute(dask: str) -> None:
    """Check that a triggered run computes only where it may: on this worker's threads or the operator's cluster.

    Raises:
        InputRefused: The run names another place, which could read and write with this worker's identity.
    """
    if dask not in ("threads", "cluster"):
        raise InputRefused(
            f"got dask={dask!r}, but a run triggered through a deployment computes on 'threads' or on the "
            "operator's 'cluster'"
        )


def _words(allowed: str) -> list[str]:
    return [word for part in allowed.split(",") if (word := part.strip())]


def _places(urls: str) -> list[str | Location]:
    """Yield every place that a parameter may name: the text, its parts between commas, or matches of a pattern.

    A percent-encoded name is one place as it stands, and another one decoded.
    """
    parts = [part for text in urls.split(",") if (part := text.strip())]
    if not parts or (is_one_name(urls) and (not locate(urls).local or os.path.lexists(locate(urls).path))):
        parts.append(urls)
    places: list[str | Location] = []
    # Of a file in an archive what is opened is the archive, which may be a link or have an encoded name of its own.
    for url in dict.fromkeys(entry for part in parts for entry in (part, archive_and_member(part)[0])):
        location = locate(url)
        decoded = unescaped(location)
        # Each file by itself, because any of them may be a link that points elsewhere.
        places += [
            url,
            *([decoded] if decoded else []),
            *(glob.glob(location.path) if location.local else []),
        ]
    return places


def _whole_path(url: str | Location) -> tuple[str, str]:
    location = locate(url) if isinstance(url, str) else url
    # A link inside of an allowed folder may point out of it.
    return location.protocol, os.path.realpath(location.path) if location.local else location.path


def _text(url: str | Location) -> str:
    return url if isinstance(url, str) else url.url
