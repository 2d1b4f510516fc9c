"""Make Prefect flows from functions: check triggered runs, turn outcomes into states, show results.

The flow has the function's signature, in the order of the form, and its docstring; Prefect generates the form from
both.
"""

import functools
import inspect
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import prefect.runtime
from prefect import Flow, Task
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import ParameterTypeError
from prefect.logging import get_run_logger
from prefect.states import Completed, State

from flows import dropped_signals
from flows.allowed import refuse_foreign_compute, refuse_foreign_stores, refuse_outside, refuse_stored
from flows.artifacts import put_summary
from flows.credentials import provide
from flows.declarations import documented, public
from flows.earlier_attempts import end_open_tasks
from flows.forms import form_docstring, form_signature
from flows.json_logs import use_json_lines
from flows.metrics import note_run
from flows.progress import artifact_report
from flows.slots import slot
from flows.stages import Stage, as_stage, load_verb
from flows.summary import Summary, headline, short_name, totals
from tasks.parameters import Export, Image, OptionalUrl, Run, StorageOptions, Url
from tasks.prefect_tasks import as_task, outcome_state
from tasks.volume.outcomes import Outcome, Resumable, SettingRefused
from tasks.volume.store.calls import traffic
from tasks.volume.store.url import checked_addresses

# Prefect logs a traceback for every run that does not return, on top of the state. An outcome is told by its state.
for _name in ("prefect.flow_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(
        lambda record: not (record.exc_info and isinstance(record.exc_info[1], Outcome))
    )


# Prefect logs what did not pass validation with the values given, among which may be a key.
logging.getLogger("prefect.flows").addFilter(
    lambda record: not record.getMessage().startswith("Parameter validation failed")
)


_KEBAB = re.compile(r"(?<=[a-z])(?=[A-Z])")


class _Flow(Flow[..., Any]):
    """Flow that says what to do about a run whose parameters the API did not check."""

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        try:
            return super().validate_parameters(parameters)
        except ParameterTypeError as error:
            # Not chained: pydantic's own error repeats what was given.
            raise ParameterTypeError(
                f"{error}\nPrefect has stored what was given in clear, because this run was created with validation "
                "off; if there was a key or a password in it, rotate that now"
            ) from None


def as_flow(function: Callable[..., Summary]) -> Flow[..., Any]:
    """Return a flow that runs `function`, which returns a summary.

    An `Outcome` becomes a failed state with its sentence as message; a summary becomes artifacts and the message of
    the completed state. A run triggered through a deployment reads and writes only what SEISMILL_ALLOW names, and
    waits for its turn at the bucket of its source.
    """
    signature = inspect.signature(function)
    name = function.__name__

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> State[Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        use_json_lines()
        dropped_signals.send_again()
        began, before = time.monotonic(), traffic.snapshot()

        def noted(outcome: str, summary: Summary) -> None:
            note_run(name, outcome, time.monotonic() - began, traffic.since(before), summary)

        try:
            triggered = prefect.runtime.deployment.id is not None
            if triggered and prefect.runtime.flow_run.run_count > 1:
                end_open_tasks(prefect.runtime.flow_run.id)
            if triggered:
                _refuse_what_no_trigger_may(signature, bound.arguments)
            provide(bound.arguments.values())
            source = bound.arguments.get("source", "") if triggered else ""
            allowed = os.environ.get("SEISMILL_ALLOW", "")
            guard = checked_addresses(partial(refuse_stored, allowed=allowed)) if triggered else nullcontext()
            with lines_of(prefect.runtime.flow_run.id), guard, slot(source) if source else nullcontext():
                summary = function(*args, **kwargs)
        except Outcome as outcome:
            if triggered and prefect.runtime.flow_run.run_count > 1:
                outcome = _of_a_later_attempt(outcome)
            noted(_KEBAB.sub("-", type(outcome).__name__).lower(), getattr(outcome, "summary", {}))
            return outcome_state(outcome)
        except BaseException as error:
            noted("error" if isinstance(error, Exception) else "stopped", {})
            raise
        noted("completed", summary)
        put_summary(summary)
        get_run_logger().info(totals(summary))
        return Completed(message=headline(summary), data=summary)

    run.__signature__ = form_signature(public(function), name)  # type: ignore[attr-defined]
    run.__doc__ = form_docstring(documented(function), signature)
    return _Flow(run, name=name.replace("_", "-"), flow_run_name=functools.partial(_run_name, name))


def _of_a_later_attempt(outcome: Outcome) -> Outcome:
    """Return the outcome as one to go on from if a setting, which was right before or is corrected next, is wrong.

    A run that stopped because its key was made invalid starts again two minutes later, mostly before there is another.
    """
    if not isinstance(outcome, SettingRefused):
        return outcome
    return Resumable(f"{outcome.sentence}; then run the same command again to go on")


@contextmanager
def lines_of(flow_run: str) -> Iterator[None]:
    """Attribute log lines of all threads to this run, inside the `with`.

    Prefect finds the run in the context of the thread. Threads of blocks and stores have none, so it would drop their
    lines, such as that a store does not answer.
    """

    def note(record: logging.LogRecord) -> bool:
        if not hasattr(record, "flow_run_id"):
            flow, task = FlowRunContext.get(), TaskRunContext.get()
            record.flow_run_id = str(flow.flow_run.id) if flow and flow.flow_run else flow_run
            if task:
                record.task_run_id = str(task.task_run.id)
        return True

    # A filter of a logger does not see the lines of the loggers below it.
    handlers = [*logging.getLogger("tasks").handlers, *logging.getLogger().handlers]
    for handler in handlers:
        handler.addFilter(note)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(note)


def as_task_call(verb: Stage) -> Stage:
    """Return the verb as a call that runs it as one Prefect task, with its compute opened inside the task."""
    return _as_call(as_task(as_stage(verb, report_for=artifact_report)))


def as_chain(chain: Callable[..., Summary], names: Collection[str]) -> Callable[..., Summary]:
    """Return the chain as a function of its parameters alone, whose stages run as Prefect tasks."""
    stages = {name: as_task_call(load_verb(name)) for name in names}
    signature = public(chain)

    @functools.wraps(chain)
    def call(*args: Any, **parameters: Any) -> Summary:  # Prefect gives by place what may be given by place
        return chain(stages=stages, **signature.bind(*args, **parameters).arguments)

    call.__name__ = chain.__name__.removesuffix("_chain")
    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def as_task_of_one(function: Callable[..., Summary]) -> Callable[..., Summary]:
    """Return a call for one of many sources or volumes as a Prefect task that checks its own permissions.

    A run over a prefix was checked for the prefix only, and a link below it may point elsewhere.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Summary:
        if prefect.runtime.deployment.id is not None:
            _refuse_what_no_trigger_may(signature, dict(signature.bind(*args, **kwargs).arguments))
        return function(*args, **kwargs)

    return _as_call(as_task(checked))


def _as_call(task: Task[..., Any]) -> Stage:
    """Return the task as a call that raises its `Outcome` again."""

    @functools.wraps(task.fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = task(*args, **kwargs)
        return result.result() if isinstance(result, State) else result

    return call


def _refuse_what_no_trigger_may(signature: inspect.Signature, arguments: dict[str, Any]) -> None:
    urls = [
        arguments[name]
        for name, parameter in signature.parameters.items()
        if parameter.annotation in (Url, OptionalUrl) and arguments.get(name)
    ]
    urls += [value.mask for value in arguments.values() if isinstance(value, Export) and value.mask]
    urls += [value.labels_of for value in arguments.values() if isinstance(value, Image) and value.labels_of]
    allowed = os.environ.get("SEISMILL_ALLOW", "")
    refuse_outside(urls, allowed)
    for value in arguments.values():
        if isinstance(value, Run):
            refuse_foreign_compute(value.dask)
            value = value.storage_options
        if isinstance(value, StorageOptions):
            refuse_foreign_stores(value, allowed)


def _run_name(name: str) -> str:
    parameters = prefect.runtime.flow_run.parameters
    place = next((parameters[key] for key in ("volume", "source", "staging") if parameters.get(key)), "")
    return f"{name} {short_name(str(place))}".strip()
