"""Run the publications of a sweep without a deployment, and the checks of an audit, one by one in this process."""

import functools
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from flows.chains import PUBLISH_STAGES, publish_chain
from flows.progress import direct_report, say, shown_by
from flows.stages import SetWith, as_stage, load_verb
from flows.summary import Summary
from tasks.audit import Verify, audit
from tasks.parameters import Publication, Run, Url
from tasks.sweep import Ending, Submission, sweep
from tasks.volume.outcomes import InputRefused, Outcome, Resumable
from tasks.volume.store.scratch import clear_spilled
from tasks.volume.sweeps.keys import reason

log = logging.getLogger(__name__)

Publish = Callable[..., Summary]


class InThisProcess:
    """Runs publications in this process, one at a time, because each uses every core."""

    at_once = 1

    def __init__(self, publish: Publish) -> None:
        """Publish with `publish(source, volume, publication, run)`."""
        self._publish = publish

    def submit(self, job: Submission) -> str:
        """Return no name: `wait` runs the publication."""
        return ""

    def wait(self, active: Mapping[str, Submission]) -> dict[str, Ending]:
        """Run the first publication and return its outcome."""
        name, job = next(iter(active.items()))
        try:
            with shown_by(lambda progress: None):  # the sweep's own progress is shown
                self._publish(job.found.source, job.found.volume, job.found.publication, job.run)
        except Resumable as outcome:
            return {name: Ending("resumable", str(outcome))}
        except Outcome as outcome:
            return {name: Ending("quarantined", str(outcome))}
        except Exception as error:  # one file that finds a mistake of ours must not hold up the others
            log.exception("%s could not be published", job.found.name)
            return {name: Ending("quarantined", f"{job.found.url} cannot be published: {reason(error)}")}
        finally:
            clear_spilled()  # of one source after the other, which together may fill the disk
        return {name: Ending("published")}

    def look(self, runs: Collection[str]) -> dict[str, Ending | None]:
        """Return nothing: this process knows no flow runs. The lock of a volume protects it from other writers."""
        return {}


def publish_here(stopping: threading.Event | None = None) -> Publish:
    """Return a function that publishes one source in this process; `stopping` ends it resumable."""
    stopping = stopping or threading.Event()

    def publish(source: Url, volume: Url, publication: Publication, run: Run) -> Summary:
        """Publish one source of the sweep."""
        mine = SetWith(stopping)
        stages = {name: as_stage(load_verb(name), stopping=mine) for name in PUBLISH_STAGES}
        return publish_chain(stages, source, volume, run=run, **dict(publication))

    return publish


def verify_here(stopping: threading.Event | None = None) -> Verify:
    """Return a function that verifies one volume in this process; `stopping` ends it resumable."""
    verb, stopping = load_verb("verify"), stopping or threading.Event()

    @functools.wraps(as_stage(verb))
    def verify(*args: Any, **kwargs: Any) -> Summary:
        with shown_by(lambda progress: None):  # the audit's own progress is shown
            return dict(as_stage(verb, stopping=SetWith(stopping))(*args, **kwargs))

    return verify


def direct_sweep(
    *,
    deployment: str = "",
    max_active: int = 1,
    stopping: threading.Event | None = None,
    **parameters: Any,
) -> Summary:
    """Run a sweep without Prefect.

    Raises:
        InputRefused: The policy names a deployment, whose runs only a server can start.
    """
    if deployment:
        raise InputRefused(
            f"runs of {deployment} are started through a Prefect server; leave out --no-flow, or --deployment"
        )
    with direct_report(parameters["volumes"]) as report:
        publisher = InThisProcess(publish_here(stopping))
        return sweep(**parameters, publisher=publisher, stopping=stopping, report=report, say=say)


def direct_audit(*, stopping: threading.Event | None = None, **parameters: Any) -> Summary:
    """Run an audit without Prefect."""
    with direct_report(parameters["volumes"]) as report:
        return audit(**parameters, verify=verify_here(stopping), stopping=stopping, report=report)
