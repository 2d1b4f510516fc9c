"""Who hears how far a stage has come: the terminal, and a progress artifact in Prefect.

Both are told after every block and must cost nothing: the terminal's bar redraws on its own clock, the artifact is
sent by a thread of its own, 10 s apart at least, and a slow or absent server only makes it late.
"""

import contextvars
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar

from tasks.volume.blocks import Progress

Report = Callable[[Progress], None]

EVERY_SECONDS = 10.0
_terminal: ContextVar[Report] = ContextVar("terminal", default=lambda progress: None)


@contextmanager
def shown_by(report: Report) -> Iterator[None]:
    """While open, the stages that run in this context also tell `report`: a flow run started at a terminal."""
    token = _terminal.set(report)
    try:
        yield
    finally:
        _terminal.reset(token)


@contextmanager
def direct_report(volume: str) -> Iterator[Report]:
    """Give a stage without Prefect its report: the terminal's."""
    yield _terminal.get()


@contextmanager
def artifact_report(volume: str) -> Iterator[Report]:
    """Give a stage in a task its report: the terminal's and one progress artifact for each phase of the stage.

    The first and the last progress are always sent, the others when 10 s have passed and the one before is through.
    """
    from flows.artifacts import progress_sender

    terminal, send = _terminal.get(), progress_sender(volume)
    sent: dict[str, float] = {}
    late: dict[str, Progress] = {}
    pending: Future[None] | None = None
    with ThreadPoolExecutor(1, thread_name_prefix="progress") as sender:

        def report(progress: Progress) -> None:
            nonlocal pending
            terminal(progress)
            late[progress.stage] = progress
            first, last = progress.stage not in sent, progress.done >= progress.total
            due = time.monotonic() - sent.get(progress.stage, 0) >= EVERY_SECONDS
            if (pending is None or pending.done() or last) and (first or last or due):
                sent[progress.stage] = time.monotonic()
                # A copy of the context tells the thread which task run the artifact belongs to.
                pending = sender.submit(contextvars.copy_context().run, send, late.pop(progress.stage))

        try:
            yield report
        finally:
            for progress in late.values():  # of a stage that stopped early
                sender.submit(contextvars.copy_context().run, send, progress)
