"""Where something lies: a URL taken apart, and what is refused in one."""

import os
from dataclasses import dataclass

from tasks.volume.outcomes import InputRefused

_LOCAL = {"file", "local"}
_SAME = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "azure": "az"}


@dataclass(frozen=True)
class Location:
    """A URL taken apart: fsspec's protocol, and the path on its file system."""

    protocol: str
    path: str
    url: str

    @property
    def local(self) -> bool:
        """Whether this is a path of this machine."""
        return self.protocol in _LOCAL


def locate(url: str) -> Location:
    """Take a URL or local path apart.

    Raises:
        InputRefused: The URL is chained, holds credentials or a query, or its protocol is not known.
    """
    if "::" in url:
        raise InputRefused(
            f"{url.split('::')[0]}::… is a chained URL, which is refused; name the object itself"
        )
    protocol, _, rest = url.partition("://") if "://" in url else ("file", "", url)
    if protocol in _LOCAL:
        path = os.path.abspath(os.path.expanduser(rest))
        return Location("file", path, path)
    if "@" in rest or "?" in rest:
        raise InputRefused(
            f"the {protocol}:// URL holds '@' or '?': credentials do not belong in a URL (anything secret in it "
            "must be replaced now); use the environment's identity"
        )
    protocol = _SAME.get(protocol, protocol)
    if protocol not in ("s3", "gs", "az", "abfs", "memory"):
        raise InputRefused(f"{protocol}:// is not a store; use a local path, s3://, gs:// or az://")
    path = rest.strip("/")
    return Location(protocol, f"/{path}" if protocol == "memory" else path, f"{protocol}://{path}")
