"""Identify a process, so that another process on this machine can determine whether it has ended or was suspended.

A process number alone is not enough: numbers are reused, and each container has numbers of its own.
"""

import os
import time
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """Return boot and process namespace of this machine, within which a process number is unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def started(process: int) -> str:
    """Return when a process of this machine started, in the kernel's ticks; '' if there is no such process."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def ended_here(machine_of: str, process: int, started_at: str) -> bool:
    """Return whether a process was one of this machine and has ended."""
    return bool(machine_of) and machine_of == machine() and started(process) != started_at


def clock_seconds() -> float:
    """Return the time of a monotonic clock that, if the system has one, also runs while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
