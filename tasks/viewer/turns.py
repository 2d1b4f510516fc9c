"""Compute answers on threads, and show them in callbacks of the document."""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any, Protocol

from bokeh.document import Document

from tasks.volume.outcomes import Outcome


class Asked(Protocol):
    """State of the requests: `version` is their number, `is_busy` is true while an answer is awaited."""

    version: int
    is_busy: bool


@dataclass
class Awaited:
    """State of requests that no panel keeps itself."""

    version: int = 0
    is_busy: bool = False


class Turns:
    """Requests of one document and their answers, until its session ends."""

    def __init__(
        self, document: Document, pool: Executor, say: Callable[[str], None], wait: Callable[[int], None]
    ) -> None:
        """Take the document and what runs answers.

        Args:
            document: The document.
            pool: Runs the answers.
            say: Shows a sentence about an answer that failed.
            wait: Shows how many answers are awaited.
        """
        self._document, self._pool, self._say, self._wait = document, pool, say, wait
        self._awaited, self._is_over = 0, False
        self._ahead: Future[None] | None = None

    def start(
        self, asked: Asked, call: Callable[[], Any], show: Callable[[Any], None], again: Callable[[], None]
    ) -> None:
        """Compute an answer and show it; call `again` if a newer request arrived meanwhile."""
        asked.is_busy, version = True, asked.version
        self._awaited += 1
        self._wait(self._awaited)

        def finish(future: Future[Any]) -> None:
            asked.is_busy = False
            self._awaited -= 1
            if asked.version != version:
                again()
            error = future.exception()
            if error is None:
                show(future.result())
            else:
                self._say(f"<p style='color:#a00000'>{escape(_sentence(error))}</p>")
            self._wait(self._awaited)

        def hand_over(future: Future[Any]) -> None:
            if not self._is_over and not future.cancelled():
                self._document.add_next_tick_callback(partial(finish, future))

        if not self._is_over:
            self._pool.submit(call).add_done_callback(hand_over)

    def ahead(self, call: Callable[[], None]) -> None:
        """Read ahead while idle; errors are ignored here, because the request itself will raise them again."""
        if not (self._is_over or self._awaited) and (self._ahead is None or self._ahead.done()):
            self._ahead = self._pool.submit(call)

    def end(self, context: Any) -> None:
        """Stop showing answers: the session of the document has ended."""
        self._is_over = True


def _sentence(error: BaseException) -> str:
    if isinstance(error, Outcome):
        return str(error)
    logging.getLogger(__name__).error("an answer failed", exc_info=error)
    return f"{type(error).__name__}: {error}"
