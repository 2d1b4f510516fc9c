"""Parse URLs, refuse those that cannot be used, and encode any name in one.

Object stores and disks allow names with "@", "?", ",", "*" or "[" in them. In a parameter these characters mean
credentials, queries, lists and patterns. So a name may be percent-encoded (`at%4025m.sgy`). If a
file has exactly the encoded text as its name, that file is meant.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from tasks.volume.outcomes import InputRefused

_LOCAL = {"file", "local"}
WEB = ("https", "http")
_SAME = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "azure": "az"}

_checks: list[Callable[[str], None]] = []  # of runs that others triggered; a person may read anything


@dataclass(frozen=True)
class Location:
    """Parts of a URL: fsspec's protocol, and the path on its file system."""

    protocol: str
    path: str
    url: str

    @property
    def local(self) -> bool:
        """Return whether this is a local path."""
        return self.protocol in _LOCAL

    @property
    def parts(self) -> tuple["Location", str, str]:
        """Return the folder or bucket of this file, the beginning of its key there, up to a "/", and its name.

        In a store the bucket counts as the folder, because part of a key may be empty: "a//b" does not lie in "a".
        """
        above, _, name = self.path.rpartition("/")
        if self.local:
            return exactly(self.protocol, above or "/"), "", name
        bucket = "/".join(self.path.split("/")[: 1 + self.path.startswith("/")])
        return exactly(self.protocol, bucket), self.path[len(bucket) + 1 : len(self.path) - len(name)], name


def locate(url: str) -> Location:
    """Return the location of a URL or local path.

    Raises:
        InputRefused: The URL is chained, holds credentials or a query, or its protocol is not known; or no file can
            have such a path.
    """
    if "::" in url:
        raise InputRefused(
            f"{url.split('::')[0]}::… is a chained URL, which is refused; name the object itself"
        )
    protocol, _, rest = url.partition("://") if "://" in url else ("file", "", url)
    if protocol in _LOCAL:
        path = os.path.abspath(os.path.expanduser(rest))
        _refuse_impossible(path)
        return Location("file", path, path)
    if "@" in rest or "?" in rest:
        raise InputRefused(
            f"the {protocol}:// URL holds '@' or '?': credentials do not belong in a URL (anything secret in it "
            "must be replaced now); use the environment's identity, and write %40 or %3F for one in a name"
        )
    protocol = _SAME.get(protocol, protocol)
    if protocol not in ("s3", "gs", "az", "abfs", "memory", *WEB):
        raise InputRefused(
            f"{protocol}:// is not a store; use a local path, s3://, gs:// or az://, or https:// for a source"
        )
    path = rest.strip("/")
    if not path and protocol != "memory":
        raise InputRefused(f"{protocol}:// names nothing in the store; write {protocol}://bucket/name")
    return Location(protocol, f"/{path}" if protocol == "memory" else path, f"{protocol}://{path}")


def _refuse_impossible(path: str) -> None:
    try:
        os.stat(path)
    except ValueError:
        raise InputRefused(f"{path!r:.200} is no path; name a file or folder") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise InputRefused(
                f"{path[:200]}{'…' * (len(path) > 200)} cannot be used ({error.strerror}); name another file or folder"
            ) from None


_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_MEANINGFUL = frozenset(",*[@?")  # in a parameter that names files
_ESCAPED = _MEANINGFUL | {"%", ":"}


def unescaped(location: Location) -> Location | None:
    """Return the decoded form of a percent-encoded location, for use if no file has the encoded name itself.

    Returns:
        The location with each part of its path decoded, the bucket excepted; None if nothing is encoded, or if a
        part would become another folder.
    """
    if not _ENCODED.search(location.path) or location.protocol in WEB:  # there it is part of the address
        return None
    parts = location.path.split("/")
    fixed = 0 if location.local else 1 + location.path.startswith("/")  # of memory it begins so
    try:
        decoded = [unquote(part, errors="strict") for part in parts[fixed:]]
    except UnicodeDecodeError:
        return None
    for before, after in zip(parts[fixed:], decoded, strict=True):
        if before != after and (after in ("", ".", "..") or "/" in after or "\0" in after):
            return None
    return exactly(location.protocol, "/".join([*parts[:fixed], *decoded]))


def is_one_name(text: str) -> bool:
    """Return whether a text with commas can be one URL or path, rather than a list."""
    return "://" not in text.partition("://")[2] and (
        text.find("://") < 0 or text.partition("://")[0].isalnum()
    )


def exactly(protocol: str, path: str) -> Location:
    """Return the location of a literal path, with the URL that `locate` turns into this path."""
    local = protocol in _LOCAL
    text = path if local else f"{protocol}://{path.removeprefix('/') if protocol == 'memory' else path}"
    doubtful = "::" in path or "://" in path or (not local and bool(set(path) & set("@?")))
    return Location(protocol, path, _escaped(text, local) if doubtful else text)


def as_parameter(url: str) -> str:
    """Return the URL of one file in the form of a parameter, with the characters of lists and patterns encoded."""
    location = locate(url)
    if not set(location.path) & _MEANINGFUL and not url.endswith(":"):
        return url
    return _escaped(location.url, location.local)


def _escaped(url: str, local: bool) -> str:
    scheme, mark, rest = ("", "", url) if local else url.partition("://")
    return scheme + mark + "".join(f"%{ord(c):02X}" if c in _ESCAPED else c for c in rest)


@contextmanager
def checked_addresses(check: Callable[[str], None]) -> Iterator[None]:
    """Call `check` with each source and each address of a stored document while open, in all threads.

    Args:
        check: Raises if the run may not touch that address.
    """
    _checks.append(check)
    try:
        yield
    finally:
        _checks.remove(check)


def stored_address(url: str) -> str:
    """Return an address that a stored document names, after the checks that are in force.

    Raises:
        InputRefused: The run may not touch it.
    """
    for check in tuple(_checks):
        check(url)
    return url
