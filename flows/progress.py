"""Receivers of progress: the terminal, and a progress artifact in Prefect.

Both are called after every block and must be cheap: the terminal's bar redraws at its own intervals, and a thread sends
the artifact every 10 s at most, so a slow or absent server only delays it.
"""

import contextvars
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

from tasks.volume.blocks import Progress

Report = Callable[[Progress], None]

EVERY_SECONDS = 10.0
log = logging.getLogger(__name__)
_sentences: ContextVar[Callable[[str], None]] = ContextVar("sentences", default=log.info)
_terminal: ContextVar[Report] = ContextVar("terminal", default=lambda progress: None)


@contextmanager
def shown_by(report: Report, sentences: Callable[[str], None] | None = None) -> Iterator[None]:
    """Send progress of the stages in this context to `report` too, for a flow run started at a terminal.

    Args:
        report: Function that is called with progress.
        sentences: Function that is called with the sentences of `say`; by default it stays as it is.
    """
    token, words = _terminal.set(report), _sentences.set(sentences or _sentences.get())
    try:
        yield
    finally:
        _terminal.reset(token)
        _sentences.reset(words)


def say(sentence: str) -> None:
    """Print a sentence on the terminal of this context, or log it if there is none."""
    _sentences.get()(sentence)


@contextmanager
def direct_report(volume: str) -> Iterator[Report]:
    """Yield the report of a stage without Prefect: the terminal's."""
    yield _terminal.get()


@contextmanager
def artifact_report(volume: str) -> Iterator[Report]:
    """Yield the report of a stage in a task: the terminal's and one progress artifact per phase."""
    from flows.artifacts import progress_sender

    terminal = _terminal.get()
    with sent_apart(progress_sender(volume)) as send:

        def report(progress: Progress) -> None:
            terminal(progress)
            send(progress)

        yield report


@contextmanager
def sent_apart(send: Report, *, seconds: float = EVERY_SECONDS) -> Iterator[Report]:
    """Yield a report that calls `send` in its own thread: at first, at last, and else at least `seconds` apart.

    Reports made while `send` is busy are skipped, so that nothing waits for it, except for the last one of a phase.
    Phases are distinguished by `Progress.stage`.
    """
    sent: dict[str, float] = {}
    unsent: dict[str, Progress] = {}
    pending: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="progress") as sender:

        def submit(progress: Progress) -> Future[None]:
            # A copy of the context tells the thread which task run an artifact belongs to.
            return sender.submit(contextvars.copy_context().run, send, progress)

        def report(progress: Progress) -> None:
            nonlocal pending
            unsent[progress.stage] = progress
            last = progress.done >= progress.total
            due = time.monotonic() - sent.get(progress.stage, -seconds) >= seconds
            if last or (due and (pending is None or pending.done())):
                sent[progress.stage] = time.monotonic()
                pending = submit(unsent.pop(progress.stage))

        try:
            yield report
        finally:
            for progress in unsent.values():  # of a stage that stopped early
                submit(progress)
