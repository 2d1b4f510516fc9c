"""Print what large sources cost before and beside their bytes: scan, dry run, begin, resume, and sweeps of many keys.

    python -m tests.benchmarks.large [--only WORD] [--disk-gb N] [--json]

A cube of 203 GB and gathers of 10^8 traces are served by a process that makes each range when it is requested. On a
disk that has no room for twice as much, which an ingest would refuse, both have fewer traces. Each
row is a process of its own: the scan; the dry run of `publish`; an ingest into a local volume that is stopped after its
first block; the same again, with all but two of the blocks in the ledger. Of gathers that are spilled first, the blocks
are those of the spill. The keys of a sweep are generated as it lists them. Its catalogue has each of them as published,
and a record is read for each: nothing is new. Memory is the largest resident memory that the kernel counted.
"""

import argparse
import asyncio
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.pretended import pretended

SURVEYS = {"cube": ((5700, 5700), 1501), "gathers": ((1000, 1000, 100), 501)}
COLUMNS = ("row", "wall", "cpu", "peak_MB")
PAGE = 1000  # keys of a listing, as S3 has it


def fitted(counts: tuple[int, ...], n_samples: int, disk_bytes: float) -> tuple[tuple[int, ...], str]:
    """Return counts of traces that a disk has room for twice, fewer along the first axis, and words for the size."""
    trace, traces = 240 + 4 * n_samples, math.prod(counts)
    first = min(counts[0], max(1, int(counts[0] * disk_bytes / 2 / (trace * traces))))
    kept = traces // counts[0] * first
    return (first, *counts[1:]), f"of {kept * trace / 1e9:.0f} GB, {kept:.2g} traces"


def scanned(source: str) -> dict[str, Any]:
    """Scan a source; return figures to show."""
    from tasks.scan import scan

    summary = scan(source)
    return {"requests": summary["requests"], "shape": summary["grid"]["shape"]}


def planned(source: str, volume: str) -> dict[str, Any]:
    """Plan a publication; return figures to show."""
    from tasks.ingest_segy import ingest_segy
    from tasks.parameters import Copies, Following, Levels, Run

    following = Following(copies=Copies(), levels=Levels())
    summary = ingest_segy(source, volume, run=Run(dry_run=True), following=following)
    return {
        "objects": sum(row["objects"] for row in summary["arrays"]),
        "blocks": summary["blocks"],
        "promised_MB": round(summary["peak_bytes"] / 1e6),
    }


def begun(source: str, volume: str, blocks: str) -> dict[str, Any]:
    """Ingest until so many blocks are done; return figures to show."""
    from tasks.ingest_segy import ingest_segy
    from tasks.volume.outcomes import Resumable
    from tests.support.volumes import stopping_after

    with stopping_after(int(blocks)) as compute:
        try:
            ingest_segy(source, volume, compute=compute)
        except Resumable as stopped:
            return {"said": str(stopped).partition(";")[0]}
    raise RuntimeError("it was not stopped")


def pretend_done(volume: Path) -> int:
    """Note all blocks but two as done, as if each had stored what the first one did; return how many."""
    from tasks.volume.arrays.codecs import crc32c
    from tasks.volume.blocks import block_count

    (ledger,) = volume.glob(".seismill/runs/*/ledger")
    body = json.loads((ledger.parent / "plan.json").read_text())["body"]
    (first,) = [line for file in ledger.iterdir() for line in file.read_text().splitlines()]
    if "block" in body:
        count = block_count(tuple(body["arrays"]["master"]["shape"][:-1]), tuple(body["block"]))
    else:
        count = -(-sum(file["file"]["n_traces"] for file in body["sources"]) // body["traces_per_range"])
    record = json.loads(first)
    lines = [json.dumps(record | {"block": number}) for number in range(count - 2)]
    text = ("\n".join(lines) + "\n").encode()
    (ledger / f"00000001-00000002-{crc32c(text):08x}.jsonl").write_bytes(text)
    return count - 2


def swept(count: str) -> dict[str, Any]:
    """Sweep so many keys of which nothing is new; return figures to show."""
    from tasks.sweep import sweep
    from tasks.volume.store.clouds import Entry
    from tasks.volume.store.clouds.in_memory import Memory
    from tasks.volume.sweeps.catalogue import FOLDER

    keys, pages, get = int(count), 0, Memory.get
    record = {
        "bytes": 1 << 20, "identity": "etag", "state": "published", "attempts": 1, "plan": "0" * 32,
        "crc32c": "0" * 8, "proven_at": "2026-01-01T00:00:00+00:00", "seen_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip

    async def page(self: Memory, prefix: str, *, deep: bool, after: str) -> tuple[list[Entry], str]:
        nonlocal pages
        pages += 1
        first = int(after or 0)
        numbers = range(first, min(first + PAGE, keys))
        last = str(numbers.stop) if numbers.stop < keys else ""
        if "staging" in prefix:
            return [Entry(f"{prefix}{n:07d}.sgy", 1 << 20, "etag") for n in numbers], last
        if FOLDER in prefix:
            return [Entry(f"{prefix}{n:07d}.sgy/00000001", 400, "etag") for n in numbers], last
        if prefix.endswith("volumes/") and not deep:
            return [Entry(f"{prefix}{n:07d}.zarr/", folder=True) for n in numbers], last
        return [], ""

    async def get_record(self: Memory, path: str, span: Any, identity: str) -> bytes:
        if FOLDER not in path:
            return await get(self, path, span, identity)
        await asyncio.sleep(0)
        name = path.split("/")[-2]
        places = {
            "name": name,
            "source": f"memory://staging/{name}",
            "volume": f"memory://volumes/{name[:-4]}.zarr",
        }
        return json.dumps(record | places).encode()

    Memory.page, Memory.get = page, get_record  # type: ignore[method-assign, assignment]
    summary = sweep("memory://staging", "memory://volumes", publisher=_Nobody())
    return {"counts": summary["counts"], "pages": pages, "requests": summary["requests"]}


class _Nobody:
    """Publishes nothing, for nothing is new."""

    at_once = 1

    def submit(self, job: Any) -> str:
        raise RuntimeError(f"{job.found.name} is not new")

    def wait(self, active: Any) -> dict[str, Any]:
        raise RuntimeError("there is nothing to wait for")

    def look(self, runs: Any) -> dict[str, Any]:
        return {}


JOBS = {"scan": scanned, "dry run": planned, "begin": begun, "resume": begun, "sweep": swept}


def measured(job: str, *arguments: str) -> dict[str, Any]:
    """Return what a job told in a process of its own, with wall and CPU seconds and peak memory."""
    words = [sys.executable, "-m", "tests.benchmarks.large", "--job", job, *arguments]
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
    parser.add_argument("--only", default="", metavar="WORD", help="only rows of sources with this word")
    parser.add_argument("--keys", default="100000,1000000", help="of sweeps, default: %(default)s")
    free = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    parser.add_argument(
        "--disk-gb", type=float, default=free, help="room for volumes, default: %(default).0f"
    )
    parser.add_argument("--json", action="store_true", help="a row of figures a line")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        name, *arguments = chosen.job
        began = time.perf_counter()
        told = JOBS[name](*arguments)
        used = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            "wall": round(time.perf_counter() - began, 2),
            "cpu": round(used.ru_utime + used.ru_stime, 2),
            "peak_MB": round(used.ru_maxrss * 1024 / 1e6),
        }
        print(json.dumps(figures | told))
        return

    def row(source: str, job: str, *arguments: str, **more: Any) -> None:
        figures = {"row": f"{source}: {job}"} | measured(job, *arguments) | more
        if chosen.json:
            print(json.dumps(figures), flush=True)
            return
        line = "{row:40} {wall:8.1f} s {cpu:8.1f} CPU s {peak_MB:6} MB ".format(**figures)
        print(line, {key: value for key, value in figures.items() if key not in COLUMNS}, flush=True)

    for kind, (whole, n_samples) in SURVEYS.items():
        if chosen.only not in kind:
            continue
        counts, size = fitted(whole, n_samples, chosen.disk_gb * 1e9)
        name = f"{kind} {size}"
        with tempfile.TemporaryDirectory(prefix="large-") as folder, pretended(counts, n_samples) as source:
            volume = Path(folder, "volume.zarr")
            row(name, "scan", source)
            row(name, "dry run", source, str(volume))
            row(name, "begin", source, str(volume), "1")
            done = pretend_done(volume)
            row(name, "resume", source, str(volume), str(done + 1), resumed=done)
    for count in map(int, chosen.keys.split(",")):
        if chosen.only in "sweep":
            row(f"sweep of {count:,} keys", "sweep", str(count))


if __name__ == "__main__":
    main()
