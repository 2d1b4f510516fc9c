"""Run a Prefect server on an open socket: `python -P -m flows.local_server FD [until-parent-ends]`.

Prefect's own commands are not suitable. `server start --background` writes its log into a pipe that nobody reads, and
the server that a client starts by itself outlives a killed client. Both choose their port before they open it, so two
servers may choose the same, and both import from the current folder.

A server on SQLite can also block for a minute. Prefect runs one event loop, and calls SQLite in threads. If Python's
garbage collector runs in the loop's thread and frees a cursor that an error left, SQLite makes it wait for the thread
that uses the connection; that thread waits, for up to 60 s, for a lock that only the loop can release. So garbage is
collected in a thread of its own, which may wait. Seen with Prefect 3.8.8 and aiosqlite 0.22; PostgreSQL needs none of
this.
"""

import gc
import os
import signal
import socket
import sys
import threading
import time

_EVERY_SECONDS = 5.0
_STOP_SECONDS = 5


def collect_elsewhere() -> None:
    """Run the cyclic garbage collector in a thread of its own until the process ends."""
    gc.disable()

    def collect() -> None:
        while True:
            time.sleep(_EVERY_SECONDS)
            gc.collect()

    threading.Thread(target=collect, name="garbage", daemon=True).start()


def end_with_parent() -> None:
    """End this process when its standard input is closed, because the process that started it has then ended."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * _STOP_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def serve(number: int) -> None:
    """Serve the API on an open socket until SIGTERM."""
    import uvicorn
    from prefect.server.api.server import create_app

    from flows import event_order  # noqa: F401  # before the first event: it notes when this process began

    config = uvicorn.Config(
        create_app(final=True), log_level="warning", timeout_graceful_shutdown=_STOP_SECONDS
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=number)])


if __name__ == "__main__":
    collect_elsewhere()
    if "until-parent-ends" in sys.argv:
        end_with_parent()
    serve(int(sys.argv[1]))
