"""Start the `seismill` command: handle signals before anything large is imported."""

import atexit
import errno
import gc
import os
import signal
import sys
from types import FrameType

# A lost terminal counts as a request to stop, unless nohup said to ignore it.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DEBUG_HINT = "--debug shows where this happened"  # the last line of a command that failed without a sentence
RESUMABLE = 75  # as outcomes.Resumable, which is not imported yet
# Prefect's import makes millions of objects and no garbage: looked for after every 700, it takes a tenth of a flow run;
# so does compiling kernels.
GARBAGE_THRESHOLDS = (100_000, 20, 50)


def main() -> None:
    """Import the command line and run it."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    open_standard_streams()
    codes: list[int] = []
    atexit.register(_leave, codes)  # the first to be registered is the last to be called
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    # Else pydantic looks through all that is installed for plugins, which takes as long as half of --help.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from flows.cli import main as command

    try:
        command()
    except SystemExit as end:
        if isinstance(end.code, int):
            codes.append(end.code)
        raise


def open_standard_streams() -> None:
    """Open the null device for each standard stream that is closed, so that no file gets its number and its output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which takes the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))


def machine_failed(error: BaseException) -> str:
    """Return a sentence if the machine or its limits kept a command from going on; empty for other errors."""
    again = "and run the same command again"
    if isinstance(error, MemoryError) or "can't start new thread" in str(error):
        return f"this process gets no more memory or threads (ulimit -v, ulimit -u); raise the limit {again}"
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.EMFILE, errno.ENFILE):
        return f"this process may not open more files (ulimit -n); raise the limit {again}"
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the output cannot be written ({os.strerror(number)}); make room {again}"
    return ""


def server_failed(error: BaseException) -> str:
    """Return how a Prefect server failed, or was not reached, as while it is ended; empty for other errors."""
    # By their names: most commands end without Prefect's client.
    names = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in type(error).__mro__}
    if "httpx.TransportError" in names:
        return type(error).__name__
    status = int(getattr(getattr(error, "response", None), "status_code", 0))
    return str(status) if "prefect.PrefectHTTPStatusError" in names and status >= 500 else ""


def _leave(codes: list[int]) -> None:
    """End without freeing what was imported, which takes a tenth of a small run; not after an error."""
    if codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(codes[0])


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: an exception would be shown as the traceback of an import."""
    os.write(2, b"stopped before anything was begun; run the same command again\n")
    os._exit(RESUMABLE)
