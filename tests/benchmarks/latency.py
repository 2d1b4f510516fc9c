"""Print what a publication asks of an S3 store that answers late: ``python -m tests.benchmarks.latency``.

A cube is put to an S3 server on this machine and published from bucket to bucket, then verified, once for each delay.
The delay is added before each request of the client, so that any server serves. For each stage a row: requests by
method, those for chunks and those beside them, how many were in flight at once on average and at most, how many turns
they took one after the other (seconds with any in flight by the longest delay), and the wall time with each delay.
``--log`` writes a line for each request with its time, by which serial chains are found. ``--server`` names another
server's script, which is started with its port; the default is moto, which is slow.
"""

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import fsspec
import fsspec.config
import numpy as np

from flows.chains import PUBLISH_STAGES, publish_chain
from flows.stages import as_stage, load_verb
from tasks.parameters import Copies, Index, Levels, Master, Run
from tasks.volume.store.clouds.s3 import S3
from tests.support.segy_maker import ibm_of, segy_bytes
from tests.support.servers import EMULATORS, free_port, wait_for

METHODS = {
    "get": "GET", "fetch": "GET", "head": "HEAD", "put": "PUT", "delete": "DELETE", "page": "LIST",
    "begin": "POST", "part": "PUT", "complete": "POST", "abort": "DELETE",
}  # fmt: skip
STAGES = (*PUBLISH_STAGES, "verify")


@dataclass(frozen=True)
class Sent:
    """One request: method, path, and when it began and ended, in seconds."""

    method: str
    path: str
    began: float
    ended: float

    @property
    def of_chunk(self) -> bool:
        """Whether it is for a chunk or a range of the source."""
        return "/.seismill/" not in self.path and ("/c/" in self.path or self.path.endswith(".sgy"))


@dataclass
class Client:
    """The requests of this process, each delayed.

    Attributes:
        delay: Seconds before each request.
        sent: All of them since the last look.
    """

    delay: float = 0.0
    sent: list[Sent] = field(default_factory=list)

    def watch(self) -> None:
        """Have each call of one request pass by here."""
        for name, method in METHODS.items():
            setattr(S3, name, self._seen(getattr(S3, name), method))

    def _seen(self, call: Callable[..., Any], method: str) -> Callable[..., Any]:
        async def seen(cloud: S3, path: Any, *args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                await asyncio.sleep(self.delay)
                return await call(cloud, path, *args, **kwargs)
            finally:
                where = path if isinstance(path, str) else path[0]
                self.sent.append(Sent(method, where, began, time.perf_counter()))

        return seen

    def taken(self) -> list[Sent]:
        """Return the requests since the last call."""
        sent, self.sent = self.sent, []
        return sent


@dataclass(frozen=True)
class Row:
    """One stage: its wall time, and its requests in the order of their end."""

    name: str
    wall: float
    sent: list[Sent]

    def in_flight(self) -> tuple[float, int, float]:
        """Return how many requests were in flight, on average while there was any and at most; the seconds of that."""
        changes = sorted([(s.began, 1) for s in self.sent] + [(s.ended, -1) for s in self.sent])
        at, most, busy, area = 0, 0, 0.0, 0.0
        for (when, change), (then, _) in itertools.pairwise(changes):
            at += change
            most = max(most, at)
            busy += (then - when) * (at > 0)
            area += (then - when) * at
        return area / busy if busy else 0.0, most, busy


def publish(client: Client, source: str, volume: str) -> list[Row]:
    """Publish and verify; return a row for each stage."""
    rows: list[Row] = []

    def measured(name: str) -> Callable[..., Any]:
        stage = as_stage(load_verb(name))

        def run(*args: Any, **kwargs: Any) -> Any:
            client.taken()
            began = time.perf_counter()
            try:
                return stage(*args, **kwargs)
            finally:
                rows.append(Row(name, time.perf_counter() - began, client.taken()))

        return run

    stages = {name: measured(name) for name in STAGES}
    publish_chain(
        stages,
        source=source,
        volume=volume,
        index=Index(),
        master=Master(),
        copies=Copies(),
        pyramid=Levels(),
        steps=["copies", "pyramid", "report", "proof"],
        run=Run(),
    )
    stages["verify"](volume)
    return rows


def cube(shape: tuple[int, int, int]) -> bytes:
    """Return a SEG-Y of beds that dip and of noise, in which every cell has a trace."""
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    values = 1000 * np.sin((k + i / 3 + j / 5) / 4) * np.exp(-k / shape[2])
    values += np.random.default_rng(0).normal(0, 50, shape)
    words = ibm_of(values) | np.where(values < 0, np.uint32(1 << 31), np.uint32(0))
    rows = words.astype(">u4").reshape(shape[0] * shape[1], shape[2]).view(np.uint8)
    return segy_bytes(shape=shape[:2], n_samples=shape[2], samples=rows)


@contextmanager
def served(script: Path) -> Iterator[None]:
    """Serve S3 with two buckets while open, found by this process."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server = subprocess.Popen(
        [sys.executable, str(script), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(endpoint, server)
        fsspec.config.conf["s3"] = {"endpoint_url": endpoint}
        for bucket in ("staging", "volumes"):
            with suppress(FileExistsError):  # some servers have every bucket
                fsspec.filesystem("s3").mkdir(bucket)
        yield
    finally:
        server.terminate()
        server.wait(10)


def table(runs: dict[float, list[Row]]) -> Iterator[str]:
    """Yield the lines of the table; requests are those of the last run, whose delay is the longest."""
    last = list(runs.values())[-1]
    counted = ("GET", "HEAD", "PUT", "POST", "LIST", "DELETE")
    delays = "".join(f"{f'{delay * 1e3:.0f} ms':>9}" for delay in runs)
    yield (
        f"{'':12}{'all':>6}{'chunks':>8}{'beside':>8}"
        + "".join(f"{m:>7}" for m in counted)
        + f"{'mean':>7}{'most':>6}{'turns':>7}{delays}"
    )
    every = [Row("publish", 0.0, [s for row in last[:-1] for s in row.sent])]
    for number, row in enumerate([*last, *every]):
        chunks = sum(s.of_chunk for s in row.sent)
        mean, most, busy = row.in_flight()
        walls = [
            runs[d][number].wall if number < len(last) else sum(r.wall for r in runs[d][:-1]) for d in runs
        ]
        yield (
            f"{row.name:12}{len(row.sent):6}{chunks:8}{len(row.sent) - chunks:8}"
            + "".join(f"{sum(s.method == m for s in row.sent):7}" for m in counted)
            + f"{mean:7.2f}{most:6}{busy / max(runs) if max(runs) else 0:7.0f}"
            + "".join(f"{wall:8.2f}s" for wall in walls)
        )


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("survey", nargs="?", type=Path, help="a SEG-Y to publish instead of the cube")
    parser.add_argument("--shape", default="150x160x752", help="of the cube, default: %(default)s")
    parser.add_argument("--delays", default="0,30,100", help="in ms, default: %(default)s")
    parser.add_argument("--server", type=Path, default=EMULATORS / "s3.py", help="script of an S3 server")
    parser.add_argument("--log", type=Path, help="file for a line of each request with the longest delay")
    chosen = parser.parse_args()
    client = Client()
    client.watch()
    if chosen.survey:
        survey = chosen.survey.read_bytes()
    else:
        inlines, crosslines, samples = (int(n) for n in chosen.shape.split("x"))
        survey = cube((inlines, crosslines, samples))
    with served(chosen.server):
        for name, content in (("tiny", cube((7, 9, 45))), ("cube", survey)):
            # In one piece: moto takes longer to put many together than the client waits.
            fsspec.filesystem("s3").pipe_file(f"staging/{name}.sgy", content, chunksize=5 << 30)
        publish(client, "s3://staging/tiny.sgy", "s3://volumes/tiny.zarr")  # imports and compiles
        runs = {}
        for number, delay in enumerate(float(ms) / 1e3 for ms in chosen.delays.split(",")):
            client.delay = delay
            runs[delay] = publish(client, "s3://staging/cube.sgy", f"s3://volumes/cube-{number}.zarr")
    print(f"{len(survey) / 1e6:,.0f} MB of SEG-Y; wall time with each delay\n")
    print("\n".join(table(runs)))
    if chosen.log:
        with open(chosen.log, "w") as log:
            for row in list(runs.values())[-1]:
                start = min((s.began for s in row.sent), default=0.0)
                for s in sorted(row.sent, key=lambda s: s.began):
                    times = {"began": round(s.began - start, 4), "ended": round(s.ended - start, 4)}
                    print(
                        json.dumps({"stage": row.name, "method": s.method, "path": s.path} | times), file=log
                    )


if __name__ == "__main__":
    main()
