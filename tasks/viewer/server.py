"""Serve the pages of one volume: on loopback to all users of this machine, on another address only with a token.

The page only reads. Requests for anything but the page, its script and its socket get 403 or 404.
"""

import asyncio
import hmac
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bokeh.document import Document
from bokeh.server.auth_provider import AuthProvider
from bokeh.server.server import Server
from tornado import web

from tasks.viewer.model import LookedAt
from tasks.viewer.page import Page
from tasks.volume.outcomes import InputRefused

ANSWERS_AT_ONCE = 8
DRAIN_SECONDS = 5.0
LOOPBACK = ("localhost", "127.0.0.1")
TOKEN_BYTES = 32
UNUSED_SESSION_MS = 30_000


class TokenAuth(AuthProvider):  # type: ignore[misc]
    """Accepts requests with the token: first in the address, later in a cookie."""

    def __init__(self, token: str, port: int) -> None:
        """Take the token; the port is part of the cookie's name, because browsers share cookies between ports."""
        self._token, self.cookie = token, f"seismill_view_{port}"
        super().__init__()

    @property
    def get_user_async(self) -> Callable[[Any], Awaitable[str]]:
        """Return the check of a request."""
        return self._check

    @property
    def get_login_url(self) -> Callable[[Any], str]:
        """Return the login page, which Bokeh requires; it is never used, because the check refuses first."""
        return lambda handler: "/"

    async def _check(self, handler: web.RequestHandler) -> str:
        given = handler.get_query_argument("token", "")
        if not self._fits(given or handler.get_cookie(self.cookie, "") or ""):
            handler.set_status(403)
            handler.finish("403: open the address that seismill view printed, with its token\n")
            return ""
        if given:
            handler.set_cookie(self.cookie, self._token, httponly=True, samesite="Lax")
            handler.redirect(handler.request.path)  # the token leaves the address bar and the history
        return "reader"

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


class _Hidden(logging.Filter):
    """Takes the token out of log records."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if self._token in message:
            record.msg, record.args = message.replace(self._token, "***"), ()
        return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    return host in LOOPBACK


class ViewServer:
    """A server of one volume's pages, from `start` to `stop`.

    Attributes:
        url: Address for a browser, with the token if there is one.
        token: Empty on loopback.
    """

    def __init__(self, looked: LookedAt, host: str, port: int) -> None:
        """Bind the address.

        Raises:
            InputRefused: The address is taken, or is none of this machine.
        """
        self.looked = looked
        self.token = "" if is_loopback(host) else secrets.token_urlsafe(TOKEN_BYTES)
        self._pool = ThreadPoolExecutor(ANSWERS_AT_ONCE, thread_name_prefix="view")
        named = f"[{host}]" if ":" in host else host
        port = _bindable(host, port)
        auth = {"auth_provider": TokenAuth(self.token, port)} if self.token else {}
        # Another site must not open the socket: on loopback its origin is refused, elsewhere it has no cookie.
        origins = [f"{name}:{port}" for name in ("localhost", "127.0.0.1")]
        for logger in ("bokeh", "tornado.access", "tornado.application", "tornado.general"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        if self.token:
            origins = ["*"]
            for handler in (*logging.getLogger().handlers, logging.lastResort):
                if handler is not None:
                    handler.addFilter(_Hidden(self.token))
        self._server = Server(
            {"/": self._page},
            address=host,
            port=port,
            allow_websocket_origin=origins,
            include_headers=[],
            include_cookies=[],
            check_unused_sessions_milliseconds=UNUSED_SESSION_MS // 2,
            unused_session_lifetime_milliseconds=UNUSED_SESSION_MS,
            log_function=_unlogged,
            **auth,
        )
        shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, named)
        self.url = f"http://{shown}:{port}/" + (f"?token={self.token}" if self.token else "")

    def _page(self, document: Document) -> None:
        Page(document, self.looked, self._pool)

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP; call `ready` with the address first."""
        loop = self._server.io_loop
        running: Any = loop.asyncio_loop
        stopping = [
            n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN
        ]
        before = {number: signal.getsignal(number) for number in stopping}
        for number in stopping:
            running.add_signal_handler(number, loop.stop)
        self._server.start()
        try:
            ready(self.url)
            loop.start()
        finally:
            for number in stopping:
                running.remove_signal_handler(number)
                signal.signal(number, before[number])
            self._stop()

    def _stop(self) -> None:
        """Stop within `DRAIN_SECONDS`, also if a read waits for its store."""
        end = threading.Timer(DRAIN_SECONDS, os._exit, (0,))
        end.daemon = True
        end.start()
        self._server.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        end.cancel()


def _unlogged(handler: web.RequestHandler) -> None:
    """Log no requests: their addresses may hold the token."""


def _bindable(host: str, port: int) -> int:
    """Return the port, a free one for 0.

    Raises:
        InputRefused: The address is taken, or is none of this machine. Bokeh would leave sockets open then.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputRefused(
                f"{host}:{port} cannot be bound ({error.strerror}); choose another with --port or --host"
            ) from None
        return int(probe.getsockname()[1])


def serve(looked: LookedAt, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve a volume until the process gets a signal to stop."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        ViewServer(looked, host, port).run(ready)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
