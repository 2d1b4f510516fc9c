"""Resend signals whose exception Python drops: in finalizers, weak reference callbacks and some libraries."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any


def send_again() -> None:
    """Send a signal once more if the exception that it raised was dropped, so that the process still stops."""
    if getattr(sys.unraisablehook, "func", None) is not _ask_again:
        sys.unraisablehook = partial(_ask_again, sys.unraisablehook)


def _ask_again(otherwise: Callable[[Any], object], ignored: "sys.UnraisableHookArgs") -> None:
    error = ignored.exc_value
    if isinstance(error, KeyboardInterrupt):
        number = error.args[0] if error.args else signal.SIGINT
    elif type(error).__name__ == "TerminationSignal":  # Prefect's, which a command does not import
        number = signal.SIGTERM
    else:
        otherwise(ignored)
        return
    # Later: here its exception would be dropped again.
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
