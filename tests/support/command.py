"""The command line in a process of its own."""

import os
import subprocess
import sys

SEISMILL = [sys.executable, "-c", "from flows.cli import main; main()"]


def seismill(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command to its end, as a user calls it, with some variables set."""
    return subprocess.run(
        [*SEISMILL, *words],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
        check=False,
    )
