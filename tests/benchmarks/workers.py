"""Print how a run scales with workers: one and two that do real blocks, and a model that is checked with 16 and 256.

    python -m tests.benchmarks.workers [--shape 345x188x1501] [--seconds 2] [--json]

A stage of B blocks of b seconds on N workers takes outside + max(ceil(B / N) b, B d): `outside` is what the driver does
before and after its blocks, d what it costs the driver, the scheduler and the way between them to hand out one block
and to note its result. b and d are measured at one worker. Two workers are real processes on this machine, as
`--dask local:2` starts them. For 16 and 256 this machine has too few processors: there blocks wait --seconds instead of
working, in 16 threads of each Dask worker, while the driver, its ledger, the scheduler and the workers do what they
always do, on these processors. Measured / model above 1 is what the model leaves out.
"""

import argparse
import json
import math
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flows.compute import kept_clients, open_compute
from tasks.demo import make_survey
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Run
from tasks.rechunk import rechunk
from tasks.volume.blocks import Compute, Progress, run_window

BLOCKS_A_WORKER = 6
THREADS = 16  # of a worker whose blocks wait


@dataclass
class Watch:
    """What the blocks of a stage took: seconds from the first to the last, and how many there were."""

    first: float = 0.0
    last: float = 0.0
    blocks: int = 0

    def report(self, progress: Progress) -> None:
        """Note the progress of a stage."""
        self.first = self.first or time.perf_counter()
        self.last, self.blocks = time.perf_counter(), progress.total


def real(source: str, volume: str, dask: str) -> Iterator[tuple[str, float, Watch]]:
    """Yield name, wall seconds and blocks of stages that were run on a warm cluster."""
    stages: dict[str, Callable[..., Any]] = {
        "ingest": partial(ingest_segy, source, volume),
        "copies": partial(rechunk, volume),
    }
    with kept_clients():
        with open_compute(Run(dask=dask)) as compute:  # started, and imports done, before the clock runs
            run_window(compute, _warm, [(number,) for number in range(2 * compute.workers)], lambda _: None)
        for name, stage in stages.items():
            watch, began = Watch(), time.perf_counter()
            with open_compute(Run(dask=dask, memory="600MB"), watch.report) as compute:
                stage(compute=compute)
            yield name, time.perf_counter() - began, watch


def _warm(number: int) -> int:
    import tasks.volume.copies.block
    import tasks.volume.ingest.block  # noqa: F401

    return number


def waiting(number: int, seconds: float) -> int:
    """Take the time of a block."""
    time.sleep(seconds)
    return number


@contextmanager
def threads_of_dask(slots: int) -> Iterator[Compute]:
    """Yield a compute of Dask workers in this process that run so many blocks at once."""
    from dask import config
    from distributed import LocalCluster

    per = min(THREADS, slots)
    with (
        config.set({"distributed.comm.timeouts.connect": "60s"}),
        LocalCluster(
            n_workers=slots // per,
            threads_per_worker=per,
            processes=False,
            protocol="tcp://",
            dashboard_address=None,
        ) as cluster,
        open_compute(Run(dask=cluster.scheduler_address)) as compute,
    ):
        yield compute


def handed_out(slots: int, blocks: int, seconds: float) -> tuple[float, float]:
    """Return wall and CPU seconds of blocks that wait."""
    with threads_of_dask(slots) as compute:
        run_window(compute, waiting, [(0, 0.0)] * 2 * slots, lambda _: None)
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        run_window(compute, waiting, [(number, seconds) for number in range(blocks)], lambda _: None)
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        return time.perf_counter() - began, spent


def rows(shape: tuple[int, int, int], seconds: float) -> Iterator[dict[str, Any]]:
    """Yield a row for each stage and number of workers."""
    with tempfile.TemporaryDirectory(prefix="workers-") as folder:
        source = str(Path(folder, "a.sgy"))
        make_survey(source, shape=shape)
        one: dict[str, tuple[float, float, int]] = {}
        for workers in (1, 2):
            for name, wall, watch in real(source, str(Path(folder, f"{workers}.zarr")), f"local:{workers}"):
                busy = watch.last - watch.first
                one.setdefault(name, (wall - busy, busy / watch.blocks, watch.blocks))
                outside, block, _ = one[name]
                model = outside + math.ceil(watch.blocks / workers) * block
                yield {
                    "row": f"{name}, {workers} workers",
                    "blocks": watch.blocks,
                    "measured": wall,
                    "model": model,
                }
    # d: of blocks that take no time, through one worker.
    wall, _ = handed_out(1, 200, 0.0)
    each = wall / 200
    yield {"row": "handing out a block", "blocks": 200, "measured": wall, "model": wall}
    for slots in (16, 256):
        blocks = BLOCKS_A_WORKER * slots
        wall, cpu = handed_out(slots, blocks, seconds)
        model = max(BLOCKS_A_WORKER * seconds, blocks * each)
        yield {
            "row": f"blocks of {seconds:g} s, {slots} workers",
            "blocks": blocks,
            "measured": wall,
            "model": model,
            "cpu_ms_a_block": round(1000 * cpu / blocks, 2),
        }


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="345x188x1501", help="of the survey, default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a block that waits, default: 2")
    parser.add_argument("--json", action="store_true", help="a row of figures a line")
    chosen = parser.parse_args()
    inlines, crosslines, samples = map(int, chosen.shape.split("x"))
    for row in rows((inlines, crosslines, samples), chosen.seconds):
        if chosen.json:
            print(json.dumps(row), flush=True)
            continue
        more = f"  {row['cpu_ms_a_block']} CPU ms a block" if "cpu_ms_a_block" in row else ""
        ratio = row["measured"] / row["model"]
        print(
            f"{row['row']:32} {row['blocks']:5} blocks {row['measured']:7.2f} s, model {row['model']:7.2f} s, "
            f"measured / model {ratio:.2f}{more}",
            flush=True,
        )


if __name__ == "__main__":
    main()
