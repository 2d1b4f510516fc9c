"""Set the environment of our processes: the folder of their state, the proxy, and the folders of their code.

A company's machine sets a proxy for all hosts, a Prefect user has a server's database and settings in the home
folder, and a project has folders called flows/ and tasks/. None of these may affect the servers and workers that
Seismill starts.
"""

import os
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from flows.json_logs import logging_settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")

# Settings that name somebody else's home, server, database or queue. The rest (log levels, intervals) may stay.
_ELSEWHERE = (
    "PREFECT__",
    "PREFECT_API_",
    "PREFECT_CLOUD_",
    "PREFECT_EVENTS_",
    "PREFECT_HOME",
    "PREFECT_MESSAGING_",
    "PREFECT_PROFILE",
    "PREFECT_SERVER_ALLOW_EPHEMERAL",
    "PREFECT_SERVER_API_",
    "PREFECT_SERVER_CONCURRENCY_LEASE",
    "PREFECT_SERVER_DATABASE_",
    "PREFECT_SERVER_DOCKET_",
    "PREFECT_SERVER_EPHEMERAL",
    "PREFECT_SERVER_EVENTS_CAUSAL",
    "PREFECT_SERVER_EVENTS_MESSAGING",
    "PREFECT_SERVER_UI_",
    "PREFECT_SERVER_MEMO",
    "PREFECT_TEST",
    "PREFECT_UI_",
    "PREFECT_UNIT_TEST",
)


def shield(environment: MutableMapping[str, str] = os.environ) -> None:
    """Keep loopback off proxies and the current folder off the import path, for this process and its children."""
    # Python puts the current folder first on the path of `python -m` and `python -c`; this says not to.
    environment["PYTHONSAFEPATH"] = "1"
    if not any(name.lower().endswith("_proxy") and name.lower() != "no_proxy" for name in environment):
        return
    # Of two spellings Python's urllib takes the lower-case one.
    given = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK if host not in hosts]
    environment["no_proxy"] = environment["NO_PROXY"] = ",".join(hosts)


def state_folder() -> Path:
    """Return the folder of Seismill's state: below XDG_STATE_HOME, else below ~/.local/state.

    Raises:
        OSError: This user has no home folder.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(given):
        return Path(given) / "seismill"
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        raise FileNotFoundError("this user has no home folder")
    return Path(home) / ".local" / "state" / "seismill"


def prefect_folder(parent: Path) -> Path:
    """Return the folder below `parent` for this version of Prefect: another version could not read the database."""
    from importlib.metadata import version  # which imports what reads e-mail

    return parent / f"prefect-{version('prefect')}"


def make_private(folder: Path) -> None:
    """Make a folder that only this user can read, unless it exists, and check that it can be written.

    Raises:
        OSError: The folder cannot be made or written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def server_environment(home: Path, api: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a server of ours and of its clients.

    Args:
        home: Folder of the server, with its database.
        api: Address of the server's API.
        environment: Environment of the server; settings of Prefect that name another place are left out.
    """
    kept = {name: value for name, value in environment.items() if not name.upper().startswith(_ELSEWHERE)}
    shield(kept)
    return kept | {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": api,
        # Relative to the server's current folder: a path may hold characters that mean something in a URL.
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:///prefect.db",
        # Kept in memory, as by default, they would be lost with the server, and a limit's slots never given back.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "flows.event_order",
        "PREFECT_SERVER_UI_API_URL": api,  # a UI on another port than 4200 asks the wrong server without it
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks",
        "NO_COLOR": "1",
        **logging_settings(kept),
    }
