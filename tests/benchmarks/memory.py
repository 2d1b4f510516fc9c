"""Print the memory that runs take beside what their dry run said: verbs, sizes, stores and amounts of --memory.

    python -m tests.benchmarks.memory [--server s3_memory.py] [--sizes small,middle,large]

Every run is a process of its own, on threads; its peak is the largest resident memory that the kernel counted. With
--server each is also made on S3: the program must serve S3 from memory on the port that it gets as its argument.
A row's last figure is measured / said: from 0.6 to 1.0 the dry run tells the truth.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import s3fs
import tifffile

from tests.benchmarks.latency import cube
from tests.support.servers import free_port, wait_for

SIZES = {
    "small": (40, 60, 200),
    "middle": (200, 190, 501),
    "large": (345, 250, 1251),
    "wide": (620, 600, 301),
}
MEMORY = ("600 MB", "1 GiB", "auto")
# Starts one command, and prints what the kernel counted for it and its children.
RUN = """
import json, resource, subprocess, sys
command = [sys.executable, "-c", "from flows.cli import main; main()", *sys.argv[1:]]
done = subprocess.run(command, capture_output=True, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
out = json.loads(done.stdout.strip().splitlines()[-1]) if not done.returncode else {}
print(json.dumps({"rc": done.returncode, "said": done.stderr[-300:], "out": out, "peak": peak}))
"""


def seismill(*words: str) -> dict[str, object]:
    """Run a command; return its JSON and its peak."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words, "--json"], capture_output=True, text=True, check=True
    )
    figures: dict[str, object] = json.loads(done.stdout)
    return figures


@contextmanager
def served(program: str) -> Iterator[None]:
    """Run an S3 server, which the environment then names."""
    port = free_port()
    server = subprocess.Popen([sys.executable, program, str(port)], stdout=subprocess.DEVNULL)
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}", server)
        with suppress(FileExistsError):  # some servers have every bucket
            s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"]).mkdir("volumes")
        yield
    finally:
        server.terminate()
        server.wait(10)


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", default="", help="a program that serves S3 from memory on a port")
    parser.add_argument("--sizes", default="small,middle,large")
    given = parser.parse_args()
    print(f"{'run':44} {'said MB':>8} {'peak MB':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        measure(Path(folder), given.sizes.split(","), "")
        if given.server:
            with served(given.server):
                measure(Path(folder), given.sizes.split(","), "s3://volumes")


def measure(folder: Path, sizes: list[str], store: str) -> None:
    """Publish cubes and stacks of each size with each amount of memory."""
    for size in sizes:
        shape = SIZES[size]
        source = folder / f"{size}.sgy"
        if not source.exists():
            source.write_bytes(cube(shape))
            stack = np.random.default_rng(0).integers(0, 1000, (shape[0], shape[1], shape[2]), "u2")
            tifffile.imwrite(folder / f"{size}.tif", stack, photometric="minisblack")
        for kind in ("sgy", "tif"):  # a survey, a stack
            for memory in MEMORY:
                where = f"{store or folder}/{size}-{kind}-{memory.replace(' ', '')}.zarr"
                words = ["publish", str(folder / f"{size}.{kind}"), where, "--no-flow", "--memory", memory]
                planned = seismill(*words, "--dry-run")
                done = seismill(*words)
                name = f"publish {size} {kind} {memory} {'S3' if store else 'disk'}"
                if done["rc"]:
                    print(f"{name:44} {planned['said'] or done['said']}")
                    continue
                promised = planned["out"]["peak_bytes"]  # type: ignore[index]
                peak = float(done["peak"])  # type: ignore[arg-type]
                print(f"{name:44} {promised / 1e6:8.0f} {peak / 1e6:8.0f} {peak / promised:6.2f}", flush=True)


if __name__ == "__main__":
    main()
