"""Run one command, directly or as a flow, show its result, and return its exit code."""

import json
import os
import select
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from flows import dropped_signals
from flows.entry import DEBUG_HINT, STOPPING, machine_failed, server_failed
from flows.names import CHAINS
from flows.summary import FOR_A_BROWSER, Summary
from tasks.volume.outcomes import InputRefused, Outcome, Resumable, without_secrets

# The words of the command that runs, to show it again with the flags that a refusal names.
TYPED: ContextVar[tuple[str, ...]] = ContextVar("TYPED", default=())
# Flags that say nothing, or are refused, beside those that are added.
_TAKES_THE_PLACE_OF = {
    "--quality": ("--tolerance", "--lossy-codec"),
    "--index-bytes": ("--index-names", "--index-types"),
    "--index-bytes trace": ("--template",),
}
OF_MANY = ("sweep", "audit")  # whose flows start others
STOPPED = "stopped; run the same command again to go on where it ended"


def carry_out(name: str, arguments: dict[str, Any], *, flow: bool, as_json: bool) -> None:
    """Run a verb or a chain, and show its progress and its outcome.

    Args:
        name: The verb's, or one of `names.CHAINS`.
        arguments: Arguments by parameter name.
        flow: Run it through Prefect, on the configured API or an embedded server, except for a dry run of one volume.
        as_json: Print text on standard error, and the summary as one JSON object on the last line of standard
            output, also if the run failed with a summary, such as the findings of `verify`.
    """
    from rich.console import Console

    from flows.progress import shown_by
    from flows.terminal import progress_bar, show

    words = Console(stderr=as_json)
    # Nothing is made by a dry run, so there is nothing that a server should record.
    flow = flow and not (getattr(arguments.get("run"), "dry_run", False) and name not in OF_MANY)
    if name == "demo" and not _is_compiled():
        Console(stderr=True).print(
            "the first run on a machine compiles its kernels, which takes up to a minute"
        )
    # Until the summary is out: who is asked to stop after the end still tells that there was one.
    with nullcontext() if flow else _stop_on_signals() as stopping:
        console = Console(stderr=True)
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        with progress_bar(console) as report, shown_by(report, say):
            try:
                summary = _directly(name, arguments, stopping) if stopping else _in_flow(name, arguments)
            except Outcome as outcome:
                if as_json and hasattr(outcome, "summary"):
                    _print_json(outcome.summary)
                raise
        show(summary, words)
        if as_json:
            _print_json(summary)


def _is_compiled() -> bool:
    """Return whether compiled kernels of an earlier run are there."""
    own = Path(__file__).parent.parent / "tasks" / "volume" / "kernels" / "__pycache__"
    return any(any(folder.rglob("*.nbi")) for folder in (own, Path(os.getenv("NUMBA_CACHE_DIR") or own)))


def _print_json(summary: Summary) -> None:
    print(json.dumps({key: value for key, value in summary.items() if key not in FOR_A_BROWSER}), flush=True)


@contextmanager
def told_in_one_sentence(*, debug: bool) -> Iterator[Callable[[], int]]:
    """Print an exception raised inside as one sentence on standard error; yield a function to get the exit code."""
    code = 0
    try:
        yield lambda: code
    except Outcome as outcome:
        code = outcome.exit_code
        words = TYPED.get() if outcome.flags else ()
        _tell(outcome.sentence if words else str(outcome), debug)
        if words:
            words = (outcome.verb or words[0], *words[1:])
            print(without_secrets(with_flags(words, outcome.flags)), file=sys.stderr)
    except KeyboardInterrupt:
        code = Resumable.exit_code
        _tell(STOPPED, debug)
    except Exception as error:
        if failed := server_failed(error):
            code = Resumable.exit_code
            _tell(f"the Prefect server failed ({failed}); run the same command again when it answers", debug)
            return
        if sentence := machine_failed(error):
            code = Resumable.exit_code
            _tell(sentence, debug)
            return
        code = 1
        _tell(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, debug)
        if not debug:
            print(DEBUG_HINT, file=sys.stderr)


def with_flags(words: Sequence[str], flags: str) -> str:
    """Return the command with other flags; they replace flags of the same names."""
    added = shlex.split(flags)
    names = {word for word in added if word.startswith("--")}
    names |= {name for flag, others in _TAKES_THE_PLACE_OF.items() if flag in flags for name in others}
    kept: list[str] = []
    skipping = False
    for word in words:
        flag = word.partition("=")[0]
        if word.startswith("--"):
            skipping = flag in names and "=" not in word
        if flag in names or (skipping and not word.startswith("--")):
            skipping = skipping and flag in names
            continue
        kept.append(word)
    return shlex.join(["seismill", *kept, *added])


def _tell(sentence: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print(without_secrets(sentence), file=sys.stderr)


def _directly(name: str, arguments: dict[str, Any], stopping: threading.Event) -> Summary:
    from flows import chains
    from flows.credentials import provide
    from flows.stages import as_stage, load_verb

    provide(arguments.values())
    if name == "sweep":
        from flows.publishers import direct_sweep

        return direct_sweep(**arguments, stopping=stopping)
    if name == "audit":
        from flows.publishers import direct_audit

        return direct_audit(**arguments, stopping=stopping)
    if name not in CHAINS:
        return dict(as_stage(load_verb(name), stopping=stopping)(**arguments))
    chain = {"publish": chains.publish_chain, "migrate": chains.migrate_chain}.get(name, chains.demo_chain)
    names = chains.DEMO_STAGES if name == "demo" else chains.PUBLISH_STAGES
    if name in ("publish", "migrate"):
        arguments = arguments | {"stopping": stopping}
    return chain({stage: as_stage(load_verb(stage), stopping=stopping) for stage in names}, **arguments)


def _in_flow(name: str, arguments: dict[str, Any]) -> Summary:
    from flows.api import connect

    _refuse_missing(str(arguments.get("source", "")))
    if connect(embedded=not arguments.get("deployment")) is None:
        raise InputRefused(
            "no Prefect server is configured to start runs of a deployment; set PREFECT_API_URL, for that of "
            "'seismill up' to http://127.0.0.1:4200/api"
        )
    # Until the flow begins and after it ended, SIGTERM is ours; in between it is Prefect's, which raises its own.
    signal.signal(signal.SIGTERM, _interrupt)
    import importlib

    from prefect.exceptions import TerminationSignal

    module = importlib.import_module(f"flows.{name if name in CHAINS else 'verbs'}")
    try:
        return dict(getattr(module, name)(**arguments))
    except TerminationSignal as error:
        raise KeyboardInterrupt from error


def _refuse_missing(source: str) -> None:
    """Refuse a local source that is not there, before a server is started for it; lists and patterns are the run's.

    Raises:
        InputRefused: The file or folder does not exist.
    """
    if source and not set(source) & set(",*?[") and ":/" not in source and not os.path.lexists(source):
        raise InputRefused(f"there is no file {os.path.abspath(source)}; check the path")


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Handle signals: the first SIGINT, SIGTERM or SIGHUP drains the blocks in flight, the second ends the process."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()
        _leave_lost_output()
        print("stopping when the blocks in flight are done; again: at once", file=sys.stderr, flush=True)

    heard = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interrupt_on_signals() -> None:
    """Have signals that ask to stop raise KeyboardInterrupt, which ends a command in one sentence."""
    dropped_signals.send_again()
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _leave_lost_output() -> None:
    """Discard output if the terminal or the reader is gone: writing to it would be an error."""
    waiting = select.poll()
    for descriptor in (1, 2):
        waiting.register(descriptor, 0)
    for descriptor, _ in waiting.poll(0):  # asked for nothing, it tells of errors and hang-ups alone
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _leave_lost_output()
    raise KeyboardInterrupt(number)
