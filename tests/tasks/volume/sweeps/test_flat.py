"""What a sweep opens it closes: descriptors, threads and memory do not grow with the number of its sources.

SEISMILL_FILES says how many there are: SEISMILL_FILES=1000 pytest -n 0 -m slow tests/tasks/volume/sweeps/test_flat.py

Covers sweeps/policy.py, sweeps/receipt.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.demo import make_survey

# Descriptors of a process with everything imported and its pools started, which is about 50, and some more.
OPEN_FILES = 128
FILES = int(os.environ.get("SEISMILL_FILES", "250"))
SWEEP = """
import json, os, resource, sys, threading
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[3]), hard))
from flows.publishers import InThisProcess, publish_here
from tasks.parameters import Copies, Publication
from tasks.sweep import sweep

seen = []

def report(progress):
    pages = int(open("/proc/self/statm").read().split()[1])
    seen.append((len(os.listdir("/proc/self/fd")), threading.active_count(), pages * resource.getpagesize()))

publication = Publication(steps=sys.argv[4].split(","), copies=Copies(quality="lossless"))
summary = sweep(
    sys.argv[1], sys.argv[2], 0, publication=publication, publisher=InThisProcess(publish_here()), report=report
)
print(json.dumps({"counts": summary["counts"], "seen": seen}))
"""


def swept(folder: Path, *, count: int, steps: str) -> dict[str, Any]:
    """Sweep `count` good files and some bad ones in a process of its own; how it ended, and what it held when."""
    staging = folder / "staging"
    staging.mkdir()
    make_survey(str(staging / "0000.sgy"), shape=(3, 3, 5))
    data = (staging / "0000.sgy").read_bytes()
    for number in range(1, count):
        (staging / f"{number:04d}.sgy").write_bytes(data)
    for number in range(count // 10):
        (staging / f"bad{number}.sgy").write_bytes(data[: 3000 + 500 * number % len(data)])
        (staging / f"bad{number}.seismill.yaml").write_text("attributes: {a: [")
        (staging / f"worse{number}.sgy").write_bytes(data[:3700])
    words = [str(staging), str(folder / "volumes"), str(OPEN_FILES), steps]
    process = subprocess.run(
        [sys.executable, "-c", SWEEP, *words], capture_output=True, text=True, timeout=900
    )
    assert process.returncode == 0, process.stderr[-2000:]
    summary: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    assert summary["counts"] == {"published": count, "quarantined": 2 * (count // 10)}
    return summary


def is_flat(seen: list[tuple[int, int, int]], *, megabytes: int) -> None:
    """Compare what is held in the first quarter, when everything has been imported, with the end."""
    early, late = seen[len(seen) // 4], seen[-1]
    assert late[0] <= early[0] + 4, "descriptors"
    assert late[1] <= early[1] + 4, "threads"
    assert late[2] <= early[2] + megabytes * 2**20, "memory"


@pytest.mark.slow
def test_a_sweep_holds_no_more_at_its_end_than_at_its_beginning(tmp_path: Path) -> None:
    is_flat(swept(tmp_path, count=50, steps="proof")["seen"], megabytes=50)


@pytest.mark.slow
def test_a_sweep_of_many_files_holds_no_more_at_its_end_than_at_its_beginning(tmp_path: Path) -> None:
    is_flat(swept(tmp_path, count=FILES, steps="proof")["seen"], megabytes=50)


@pytest.mark.slow
def test_all_steps_of_many_publications_hold_no_more_at_the_end(tmp_path: Path) -> None:
    is_flat(swept(tmp_path, count=40, steps="copies,pyramid,report,proof")["seen"], megabytes=150)
