"""Print what the number of stored objects costs: an ingest that is stopped half-way, its rest, the same again, verify.

    python -m tests.benchmarks.objects [--counts 10000,100000,1000000] [--json]

Chunks of 4 x 4 x 64 samples, one object each, on a local disk (which would get shards otherwise). The source is made by
a server as it is read. Each row is a process of its own; memory is the largest resident memory that the kernel counted.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.pretended import pretended

CHUNKS, N_SAMPLES = (4, 4, 64), 640


def ingested(source: str, volume: str, blocks: int) -> dict[str, Any]:
    """Ingest, until so many blocks are done if there are more; return figures to show."""
    from tasks.ingest_segy import ingest_segy
    from tasks.parameters import Master
    from tasks.volume.outcomes import Resumable
    from tests.support.volumes import stopping_after

    with stopping_after(blocks, local_objects=1 << 40) as compute:
        try:
            summary = ingest_segy(source, volume, master=Master(chunks=list(CHUNKS)), compute=compute)
        except Resumable as stopped:
            return {"said": str(stopped).partition(";")[0]}
    (row,) = [row for row in summary["arrays"] if row["path"] == "amplitude"]
    return {"stored_MB": round(row["stored_bytes"] / 1e6)}


def planned(source: str, volume: str) -> dict[str, Any]:
    """Return the number of blocks and the promised memory."""
    from tasks.ingest_segy import ingest_segy
    from tasks.parameters import Master, Run
    from tests.support.volumes import stopping_after

    with stopping_after(1, local_objects=1 << 40) as compute:
        summary = ingest_segy(
            source, volume, master=Master(chunks=list(CHUNKS)), run=Run(dry_run=True), compute=compute
        )
    return {"blocks": summary["blocks"], "promised_MB": round(summary["peak_bytes"] / 1e6)}


def verified(volume: str) -> dict[str, Any]:
    """Verify a volume; return figures to show."""
    from tasks.verify import verify

    summary = verify(volume)
    return {"objects": summary["checked"]}


def measured(job: str, *arguments: Any) -> dict[str, Any]:
    """Return what a job returned in a process of its own, with wall and CPU seconds and peak memory."""
    words = [sys.executable, "-m", "tests.benchmarks.objects", "--job", job, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job} failed: {done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", default="10000,100000,1000000", help="objects, default: %(default)s")
    parser.add_argument("--json", action="store_true", help="a row of figures a line")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        name, *words = chosen.job
        began = time.perf_counter()
        if name == "verify":
            told = verified(*words)
        else:
            told = planned(*words) if name == "plan" else ingested(words[0], words[1], int(words[2]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            "wall": round(time.perf_counter() - began, 2),
            "cpu": round(used.ru_utime + used.ru_stime, 2),
            "peak_MB": round(used.ru_maxrss * 1024 / 1e6),
        }
        print(json.dumps(figures | told))
        return
    for count in map(int, chosen.counts.split(",")):
        lines = round(math.sqrt(count / (N_SAMPLES // CHUNKS[2])) * CHUNKS[0])
        with (
            tempfile.TemporaryDirectory(prefix="objects-") as folder,
            pretended((lines, lines), N_SAMPLES) as source,
        ):
            volume = str(Path(folder, "volume.zarr"))
            plan = measured("plan", source, volume)
            blocks, promised = plan["blocks"], {"promised_MB": plan["promised_MB"]}
            for job, *arguments in (
                ("half", source, volume, max(1, blocks // 2)),
                ("rest", source, volume, blocks + 1),
                ("again", source, volume, blocks + 1),
                ("verify", volume),
            ):
                figures = {"row": f"{count:,} objects: {job}"} | measured(job, *arguments) | promised
                if chosen.json:
                    print(json.dumps(figures), flush=True)
                    continue
                print(
                    "{row:28} {wall:7.1f} s {cpu:7.1f} CPU s {peak_MB:5} MB ".format(**figures),
                    {key: figures[key] for key in figures if key not in ("row", "wall", "cpu", "peak_MB")},
                    flush=True,
                )


if __name__ == "__main__":
    main()
