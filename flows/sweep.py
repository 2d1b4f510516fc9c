"""The scheduled migration: publish new files under a staging prefix, here or as runs of a deployment.

Requires on a worker: SEISMILL_ALLOW, the prefixes that triggered runs may touch; the stores' credentials in the
environment; for `deployment` the right to start runs, which a worker's own key has.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import tenacity
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.deployments import run_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound

from flows.artifacts import not_vital, put_arriving, put_attention, put_waiting
from flows.declarations import like
from flows.declarations import sweep as declared_sweep
from flows.entry import server_failed
from flows.prefect_flows import as_flow, as_task_of_one
from flows.progress import artifact_report, say
from flows.publishers import InThisProcess, publish_here
from flows.summary import Summary, short_name
from tasks.sweep import Ending, Publisher, Submission
from tasks.sweep import sweep as _sweep
from tasks.volume.outcomes import InputRefused, Resumable
from tasks.volume.sweeps.keys import reason
from tasks.volume.sweeps.staging import size_class

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

POLL_SECONDS = 5.0
TELL_SECONDS = 60.0
SERVER_SECONDS = 600.0  # for which a server that is started again is waited for
_OF_ONE_RUN = {400, 409, 413, 422}  # answers that are about the parameters
QUARANTINED = "seismill.sweep.quarantined"  # the event that an automation tells people of
_PAGE = 100  # a server gives at most 200 runs an answer


@as_flow
@like(declared_sweep)
def sweep(  # noqa: D103  # as declared
    staging: str, volumes: str, deployment: str, max_active: int, **parameters: Any
) -> Summary:
    publisher: Publisher = (
        Deployed(deployment, at_once=max_active)
        if deployment
        else InThisProcess(as_task_of_one(publish_here()))
    )
    with artifact_report(volumes) as report:
        summary = _sweep(
            staging,
            volumes,
            **parameters,
            publisher=publisher,
            report=report,
            say=say,
            waits=partial(put_arriving, staging),
        )
    put_attention(summary)
    _tell_of_quarantine(summary)
    return summary


class Deployed:
    """Publications as runs of a deployment, which continue if the sweep is killed."""

    def __init__(
        self,
        deployment: str,
        *,
        at_once: int,
        poll_seconds: float = POLL_SECONDS,
        tell_seconds: float = TELL_SECONDS,
    ) -> None:
        """Look up the deployments.

        Args:
            deployment: "flow/deployment"; {size} in it stands for the size class.
            at_once: Most runs under way.
            poll_seconds: Seconds between two looks at the runs.
            tell_seconds: Seconds between two reports of the runs that are waited for.

        Raises:
            InputRefused: The server has no such deployment.
        """
        self.at_once = at_once
        self._deployment, self._poll_seconds = deployment, poll_seconds
        self._told, self._tell_seconds = time.monotonic(), tell_seconds
        with get_client(sync_client=True) as client:
            for name in sorted({deployment.format(size=size) for size in ("s", "m", "l")}):
                try:
                    client.read_deployment_by_name(name)
                except ObjectNotFound as error:
                    raise InputRefused(
                        f"the Prefect server has no deployment {name}; register it, or name another"
                    ) from error

    def submit(self, job: Submission) -> str:
        """Create the flow run of this attempt, or find it; return its id.

        Raises:
            InputRefused: The server takes no run with these parameters.
            Resumable: The server accepts no flow runs now.
        """
        # Not a subflow: it outlives the sweep, and is retried and cancelled on its own.
        try:
            run: Any = self._patient(
                run_deployment,
                self._deployment.format(size=size_class(job.found.bytes)),
                parameters=job.parameters,
                flow_run_name=f"publish {short_name(job.found.volume)}",
                timeout=0,
                as_subflow=False,
                idempotency_key=job.key,  # so that a call whose answer was lost may be made again
            )
        except (TypeError, ValueError, LookupError):  # of these parameters, or a mistake of ours
            raise
        except Exception as error:  # whatever the client of the server raises for a connection or an answer
            raise _refused(error, job) from error
        return str(run.id)

    def wait(self, active: Mapping[str, Submission]) -> dict[str, Ending]:
        """Poll until some runs have ended."""
        while True:
            known = self.look(list(active))
            ended = {run: ending for run, ending in known.items() if ending is not None}
            ended |= {
                run: Ending("resumable", "its flow run was deleted") for run in active.keys() - known.keys()
            }
            if ended:
                return ended
            if time.monotonic() - self._told > self._tell_seconds:
                self._told = time.monotonic()
                self._tell(active)
            time.sleep(self._poll_seconds)

    def _tell(self, active: Mapping[str, Submission]) -> None:
        """Show the runs that the sweep waits for, and their states, as an artifact and in the log."""
        with not_vital("waiting"):
            with get_client(sync_client=True) as client:
                runs = [run for page in _pages(active) for run in _read(client, page)]
            rows = [
                {
                    "source": active[str(run.id)].found.url,
                    "run": run.name,
                    "state": run.state_name or "",
                    "sentence": (run.state.message if run.state else "") or "",
                }
                for run in runs
            ]
            put_waiting(self._deployment, rows)

    def look(self, runs: Collection[str]) -> dict[str, Ending | None]:
        """Return the current state of flow runs.

        Raises:
            Resumable: The server does not answer, and did not for `SERVER_SECONDS`.
        """
        numbers = list(runs)

        def states() -> dict[str, Ending | None]:
            with get_client(sync_client=True) as client:
                return {
                    run: ending for page in _pages(numbers) for run, ending in _states(client, page).items()
                }

        try:
            return self._patient(states)
        except Exception as error:
            if not server_failed(error):
                raise
            raise Resumable(
                f"the Prefect server does not answer ({reason(error)}); its runs go on; run the sweep again later"
            ) from error

    def _patient(self, call: Callable[..., Answer], *words: Any, **named: Any) -> Answer:
        """Return what a call of the server gives; make it again while the server is away."""
        began, warned = time.monotonic(), False

        def tell(state: tenacity.RetryCallState) -> None:
            nonlocal warned
            if not warned and time.monotonic() - began >= self._poll_seconds:
                warned = True
                log.warning(
                    "the Prefect server does not answer (%s); it is waited for, for %.0f min",
                    state.outcome and state.outcome.exception(),
                    SERVER_SECONDS / 60,
                )

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: bool(server_failed(error))),
            wait=tenacity.wait_fixed(self._poll_seconds),
            stop=tenacity.stop_after_delay(SERVER_SECONDS),
            before_sleep=tell,
            reraise=True,
        )
        return retrying(call, *words, **named)


def _refused(error: Exception, job: Submission) -> InputRefused | Resumable:
    """Return whether a failed call to the server concerns only this source or the whole sweep."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status in _OF_ONE_RUN:
        return InputRefused(
            f"the Prefect server refuses a run for {job.found.url} ({status}: {reason(error)})"
        )
    return Resumable(
        f"the Prefect server starts no runs now ({reason(error)}); run the sweep again to go on when it does"
    )


def _states(client: SyncPrefectClient, runs: list[str]) -> dict[str, Ending | None]:
    return {str(run.id): ending_of(run.state) for run in _read(client, runs)}


def _read(client: SyncPrefectClient, runs: list[str]) -> list[Any]:
    asked = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run) for run in runs]))
    return list(client.read_flow_runs(flow_run_filter=asked, limit=_PAGE))


def _pages(runs: Iterable[str]) -> list[list[str]]:
    numbers = list(runs)
    return [numbers[start : start + _PAGE] for start in range(0, len(numbers), _PAGE)]


def ending_of(state: State | None) -> Ending | None:
    """Return how a flow run in this state ended; None if it has not ended, or will be retried."""
    if state is None or not state.is_final():
        return None
    sentence = state.message or state.name or ""
    if state.type == StateType.COMPLETED:
        return Ending("published")
    if state.type == StateType.CRASHED or state.name == "Resumable":
        return Ending("resumable", sentence)
    if state.type == StateType.CANCELLED:
        return Ending("quarantined", "its run was cancelled; sweep with retry=quarantined to try it again")
    return Ending("quarantined", sentence)


def _tell_of_quarantine(summary: Summary) -> None:
    new = [row for row in summary["attention"] if row["state"] == "quarantined" and row["new"]]
    if new and not summary["dry_run"]:
        emit_event(
            QUARANTINED,
            resource={"prefect.resource.id": f"seismill.volumes.{summary['volumes']}"},
            payload={
                "new": len(new),
                "sentences": [f"{row['source']}: {row['sentence']}" for row in new[:20]],
            },
        )
