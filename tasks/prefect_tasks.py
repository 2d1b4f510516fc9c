"""Make Prefect tasks from stages; the verbs themselves do not depend on Prefect.

The store retries single calls. If a store is unreachable for longer, Prefect repeats the whole stage, which resumes
from its ledger. An outcome that the user must act on is not repeated: it becomes the task's state, with the sentence
as its message and without a traceback in the log.
"""

import functools
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed, State
from prefect.tasks import exponential_backoff

from tasks.volume.outcomes import Outcome, Resumable
from tasks.volume.store.calls import OutOfReach


def as_task(stage: Callable[..., Any]) -> Task[..., Any]:
    """Return a Prefect task that runs `stage`; an `Outcome` becomes its state, an unreachable store is retried.

    Args:
        stage: A plain function of addresses and parameters; its name and docstring become the task's.
    """

    @functools.wraps(stage)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return stage(*args, **kwargs)
        except OutOfReach:
            raise  # Prefect tries again what is raised, and not what is returned
        except Outcome as outcome:
            return outcome_state(outcome)

    return Task(
        run,
        task_run_name=functools.partial(_run_name, stage.__name__),
        retries=3,
        retry_delay_seconds=exponential_backoff(10),
        retry_jitter_factor=0.5,
        retry_condition_fn=lambda task, task_run, state: store_out_of_reach(state.data),
        # A stage knows from its ledger what is done; a cache of results would know it twice, and could be wrong.
        cache_policy=NO_CACHE,
    )


def outcome_state(outcome: Outcome) -> State[Outcome]:
    """Return a failed state with the outcome's sentence as message; it is named Resumable if a rerun would finish."""
    return Failed(
        name="Resumable" if isinstance(outcome, Resumable) else "Failed", message=str(outcome), data=outcome
    )


def store_out_of_reach(error: object) -> bool:
    """Return whether `error` is a transient fault of a store: a connection, a time-out, a server's 5xx."""
    if isinstance(error, Outcome):
        return isinstance(error, OutOfReach)
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    # The SDKs' own classes, told by their names because importing five SDKs here would cost seconds. What is not in
    # the list, such as a profile that is not there, stays as it is.
    names = {
        (kind.__module__.partition(".")[0], kind.__name__)
        for kind in type(error).__mro__
        if kind is not OSError
    }
    return bool(names & _MAY_PASS) and not names & _LASTS


_MAY_PASS = {
    ("botocore", "ClientError"),
    ("botocore", "ConnectionError"),
    ("botocore", "HTTPClientError"),
    ("botocore", "IncompleteReadError"),
    ("aiohttp", "ClientError"),
    ("azure", "ServiceRequestError"),
    ("azure", "ServiceResponseError"),
    ("azure", "IncompleteReadError"),
    ("azure", "HttpResponseError"),
    ("gcsfs", "HttpError"),
    ("fsspec", "FSTimeoutError"),
}
_LASTS = {
    ("botocore", "SSLError"),
    ("aiohttp", "ClientSSLError"),
    ("aiohttp", "InvalidURL"),
    ("azure", "ClientAuthenticationError"),
}


def _run_name(stage: str, parameters: dict[str, Any]) -> str:
    return f"{stage} {PurePosixPath(str(parameters.get('volume', ''))).name}".strip()
