"""`python -m prefect …` for a server on SQLite, which does not stand still for a minute at a time.

Prefect's server does everything in one event loop, and calls SQLite in threads. When Python's garbage collector runs
in the loop's thread and comes upon a cursor that an error left behind, SQLite makes it wait for the thread that uses
the connection; that one waits, for up to 60 s, for a lock that only the loop could give back. So here garbage is
collected in a thread of its own, which may wait. Seen with Prefect 3.8.8 and aiosqlite 0.22; PostgreSQL needs none of
this.
"""

import gc
import runpy
import threading
import time

_EVERY_SECONDS = 5.0


def collect_elsewhere() -> None:
    """Have cyclic garbage collected by a thread of its own, for as long as the process lives."""
    gc.disable()

    def collect() -> None:
        while True:
            time.sleep(_EVERY_SECONDS)
            gc.collect()

    threading.Thread(target=collect, name="garbage", daemon=True).start()


if __name__ == "__main__":
    collect_elsewhere()
    runpy.run_module("prefect", run_name="__main__")
