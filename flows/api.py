"""The Prefect API for a flow run started at a terminal: the configured one, else an embedded server.

Import this module before Prefect, which reads its settings from the environment on import.
"""

import atexit
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

from flows.surroundings import make_private, prefect_folder, shield, state_folder
from tasks.volume.outcomes import Outcome

_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks",
    # Prefect's own log lines, with tracebacks, go to its server; the terminal gets a bar, a table and one sentence.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
_ANSWER_SECONDS = 20
_started: set[str] = set()  # the address of this process's own server


class Unreachable(Outcome):
    """A Prefect API is configured and does not answer."""


def connect(*, embedded: bool = True) -> str | None:
    """Check that the configured API answers, or start an embedded server; print on standard error which is used.

    Args:
        embedded: Whether a server of this process's own will do.

    Returns:
        The API's address; None if none is configured and `embedded` is false.

    Raises:
        Unreachable: An API is configured, by environment or profile, and does not answer. Nothing falls back to an
            embedded server silently, because the run would then be missing where it is looked for.
        NotStarted: An embedded server cannot be started.
    """
    shield()
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL", "none"):
        del os.environ["PREFECT_API_URL"]  # an empty one configures nothing, but Prefect would ask it
    if "prefect" not in sys.modules:
        _leave_home_alone()
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if url is not None and url in _started:
        return url
    if url is not None:
        _refuse_dead(url)
        print(f"Prefect: the API at {url}", file=sys.stderr, flush=True)
        return url
    if not embedded:
        return None
    from prefect.context import refresh_global_settings_context

    from flows.embedded import start_embedded

    print(
        "Prefect: an embedded server for this run (set PREFECT_API_URL to use a lasting one)",
        file=sys.stderr,
        flush=True,
    )
    os.environ["PREFECT_API_URL"] = url = start_embedded()
    refresh_global_settings_context()
    _started.add(url)
    return url


def _leave_home_alone() -> None:
    """Let Prefect read the user's profiles, and write nothing into the user's PREFECT_HOME."""
    user = Path(os.environ.get("PREFECT_HOME") or Path(os.path.expanduser("~")) / ".prefect").expanduser()
    profiles = user / "profiles.toml"
    if "PREFECT_PROFILES_PATH" not in os.environ and os.access(profiles, os.R_OK):
        os.environ["PREFECT_PROFILES_PATH"] = str(profiles)
    try:
        home = prefect_folder(state_folder()) / "client"
        make_private(home)
    except OSError:
        home = Path(tempfile.mkdtemp(prefix="seismill-prefect-"))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ["PREFECT_HOME"] = str(home)
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ.update(HOME=str(home))  # Prefect wants to know one when it is imported


def _refuse_dead(url: str) -> None:
    from prefect.client.orchestration import get_client

    errors: list[Exception | None] = []

    def look() -> None:
        with get_client(sync_client=True) as client:
            errors.append(client.api_healthcheck())

    # In a thread that nobody waits for: Prefect itself tries for minutes an address that says nothing.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    error = errors[0] if errors else TimeoutError(f"nothing came within {_ANSWER_SECONDS} s")
    if error is not None:
        raise Unreachable(
            f"the Prefect API at {url} does not answer ({type(error).__name__}: {error}); start it, unset "
            "PREFECT_API_URL to use an embedded server, or run with --no-flow"
        )
