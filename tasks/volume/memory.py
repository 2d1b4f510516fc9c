"""Determine how much memory a run may use, before it starts.

A container is killed at its own limit, not at the machine's, and the limit that counts is the smallest on
the way up the cgroup tree. Memory that the process already holds (interpreter, libraries) is not available.
"""

import re
from collections.abc import Iterator
from pathlib import Path

_UNITS = {"k": 1, "M": 2, "G": 3, "T": 4}
_USABLE = (
    0.8  # the rest is for what no plan can count: fragmentation, libraries' buffers, the page cache's minimum
)


def memory_budget(text: str) -> int:
    """Return the bytes that this process may use for blocks.

    Args:
        text: An amount such as "4 GiB" or "500 MB", taken as it is, or "auto": 80 % of the smallest limit of
            machine and cgroup, less what the process holds now; 0 when it already holds more.

    Raises:
        ValueError: The text is neither.
    """
    if text == "auto":
        return max(0, int(_USABLE * memory_limit()) - resident_bytes())
    amount = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT])(i?)B", text)
    if amount is None:
        raise ValueError(f'got memory={text!r}, wanted "auto" or an amount such as "4 GiB" or "500 MB"')
    number, unit, binary = amount.groups()
    return int(float(number) * (1024 if binary else 1000) ** _UNITS[unit])


def enough_mb(needed_bytes: int) -> str:
    """Return a value of at least `needed_bytes` in the form that `memory_budget` takes."""
    return f"{-(-needed_bytes // 10**6)} MB"


def memory_limit(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory limit of this process in bytes: the machine's memory or the smallest cgroup limit."""
    machine = _named_amount(proc / "meminfo", "MemTotal:")
    return min([machine, *_cgroup_limits(proc, cgroups)])


def resident_bytes(proc: Path = Path("/proc")) -> int:
    """Return the bytes of memory that this process holds now."""
    return _named_amount(proc / "self" / "status", "VmRSS:")


def _named_amount(path: Path, name: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024  # "MemTotal:  24630124 kB", where kB are KiB


def _cgroup_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    membership = proc / "self" / "cgroup"
    for line in membership.read_text().splitlines() if membership.exists() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mounts, name = [cgroups, cgroups / "unified"], "memory.max"
        elif "memory" in controllers.split(","):
            mounts, name = [cgroups / "memory"], "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be the host's while the mount shows the container's own group as its root,
        # so levels that do not exist are passed over and the root is always looked at.
        own = Path(path.lstrip("/"))
        for mount in mounts:
            for level in (own, *own.parents):
                limit = mount / level / name
                if limit.exists() and (text := limit.read_text().strip()) != "max":
                    yield int(text)
