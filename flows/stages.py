"""Make stages of verbs: a stage opens its compute itself, so that it can be called with parameters alone."""

import functools
import importlib
import inspect
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flows.compute import open_compute
from flows.progress import Report, direct_report
from tasks.parameters import Run

Stage = Callable[..., Any]


class SetWith(threading.Event):
    """Event that is also set when another one is. A failing stage sets its own one, which ends its source alone."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """Return whether either is set."""
        return super().is_set() or self._other.is_set()


def load_verb(name: str) -> Stage:
    """Return the verb `name`, imported at the first call, because numba and zarr import too slowly for `--help`."""
    module = {"make_survey": "demo"}.get(name, name)
    verb: Stage = getattr(importlib.import_module(f"tasks.{module}"), name)
    return verb


def as_stage(
    verb: Stage,
    *,
    report_for: Callable[[str], AbstractContextManager[Report]] = direct_report,
    stopping: threading.Event | None = None,
) -> Stage:
    """Return the verb as a function of its parameters alone; each call opens its compute.

    Args:
        verb: A function with a keyword `compute`, or without one: that is a stage already.
        report_for: Opens the receiver of progress for a volume.
        stopping: Event that ends the stage, so that it can be resumed.
    """
    signature = inspect.signature(verb)
    if "compute" not in signature.parameters:
        return verb
    public = signature.replace(parameters=[p for p in signature.parameters.values() if p.name != "compute"])

    @functools.wraps(verb)
    def stage(*args: Any, **kwargs: Any) -> Any:
        bound = public.bind(*args, **kwargs)
        bound.apply_defaults()
        run: Run = bound.arguments["run"]
        if run.dry_run:  # plans only: no cluster is started for it
            run = run.model_copy(update={"dask": "threads"})
        with report_for(bound.arguments["volume"]) as report, open_compute(run, report, stopping) as compute:
            return verb(*args, **kwargs, compute=compute)

    stage.__signature__ = public  # type: ignore[attr-defined]  # what Prefect makes the form of
    return stage
