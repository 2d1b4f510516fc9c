"""Which Prefect API a flow run started at a terminal uses: the one that is configured, else one of its own.

Imported before Prefect, which reads its settings from the environment when it is imported.
"""

import os

from tasks.volume.outcomes import Outcome

_DEFAULTS = {
    # The embedded server takes 12 s on two quiet cores; Prefect's default of 20 s fails on busy ones.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks",
    # Prefect's own log lines, with tracebacks, go to its server; the terminal gets a bar, a table and one sentence.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


class Unreachable(Outcome):
    """A Prefect API is configured and does not answer."""


def connect() -> str:
    """See that the configured API answers, or prepare an embedded server; return a line that says which it is.

    Raises:
        Unreachable: An API is configured, by environment or profile, and does not answer. Nothing falls back to an
            embedded server silently, because the run would then be missing where it is looked for.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if not os.environ.get("PREFECT_API_URL", "none"):
        del os.environ["PREFECT_API_URL"]  # an empty one configures nothing, but Prefect would ask it
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if url is None:
        return "Prefect: an embedded server for this run (set PREFECT_API_URL to use a lasting one)"
    with get_client(sync_client=True) as client:
        error = client.api_healthcheck()
    if error is not None:
        raise Unreachable(
            f"the Prefect API at {url} does not answer ({type(error).__name__}: {error}); start it, unset "
            "PREFECT_API_URL to use an embedded server, or run with --no-flow"
        )
    return f"Prefect: the API at {url}"
