"""How long the viewer's answers take on S3 with latency: ``python -m tests.benchmarks.viewing S3_MEMORY``.

S3_MEMORY is a program that serves S3 from memory at the port of its first argument, and delays each answer by as many
milliseconds as `POST /__delay?ms=` says. A survey is made, published there with copies and levels, and looked at.

For each kind of answer a row: the median and the 90th percentile of some turns in milliseconds, requests and MB of one
turn, and the arrays that answered. "elsewhere" is a plane at a place not seen before, nothing kept; "step" is the next
plane; "zoom" and "pan" are windows of a plane.
"""

import argparse
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tasks.demo import make_survey
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Index, Levels, Run, StorageOptions
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.viewer.model import FASTEST, LOSSLESS, LookedAt, Request
from tasks.viewer.scene import Plane
from tasks.volume.store.objects import traffic
from tests.support.servers import free_port, loopback_server

BUCKET = "volumes"


def requests(
    looked: LookedAt, plane: Plane, pixels: tuple[int, int], shown: str, seed: int
) -> Iterator[Request]:
    """Yield requests for a plane at places that are drawn."""
    rng = np.random.default_rng(seed)
    while True:
        at = tuple(int(rng.integers(axis.size)) for axis in looked.axes)
        yield Request(plane, at, looked.whole(plane), pixels, shown)


def moved(request: Request, by: int) -> Request:
    """Return the request for a plane further on."""
    at, axis = list(request.at), request.plane.stepped
    at[axis] = at[axis] + by if at[axis] + by >= 0 else at[axis] - by
    return Request(request.plane, tuple(at), request.seen, request.pixels, request.shown)


def window(request: Request, first: float, last: float) -> Request:
    """Return the request for a part of a plane."""
    seen = tuple(
        (int(stop * first), max(int(stop * last), int(stop * first) + 1)) for _, stop in request.seen
    )
    return Request(request.plane, request.at, (seen[0], seen[1]), request.pixels, request.shown)


def measured(
    name: str, looked: LookedAt, turns: int, before: Callable[[int], object], ask: Callable[[int], object]
) -> None:
    """Print a row: `before` is not timed."""
    seconds, answered, asked, read = [], Counter[str](), [], []
    for turn in range(turns):
        before(turn)
        start, began = traffic.snapshot(), time.perf_counter()
        answer = ask(turn)
        seconds.append(time.perf_counter() - began)
        spent = traffic.since(start)
        asked.append(spent.requests)
        read.append(spent.bytes_read)
        answered[str(answer.array)] += 1  # type: ignore[attr-defined]
    arrays = ", ".join(f"{path} {count}" for path, count in answered.most_common())
    slow = statistics.quantiles(seconds, n=10)[-1]
    print(
        f"{name:34}{1e3 * statistics.median(seconds):8.0f}{1e3 * slow:8.0f}{statistics.median(asked):9.0f}"
        f"{statistics.median(read) / 1e6:8.2f}  {arrays}",
        flush=True,
    )


def look(url: str, turns: int, pixels: tuple[int, int]) -> None:
    """Print all rows."""
    looked = LookedAt(url, StorageOptions())
    print(f"{'answer':34}{'ms':>8}{'p90':>8}{'requests':>9}{'MB':>8}  arrays")
    began = time.perf_counter()
    looked = LookedAt(url, StorageOptions())
    print(f"{'open':34}{1e3 * (time.perf_counter() - began):8.0f}")
    for shown in (FASTEST, LOSSLESS):
        for plane in looked.planes:
            drawn = requests(looked, plane, pixels, shown, len(shown))
            each = [next(drawn) for _ in range(turns)]
            name = f"{plane.name}, {shown}"

            def forget(turn: int) -> None:
                looked.cache.__init__(looked.cache.limit_bytes)  # type: ignore[misc]

            measured(f"{name}: elsewhere", looked, turns, forget, lambda n: looked.answer(each[n]))  # noqa: B023
            measured(
                f"{name}: step", looked, turns,
                lambda n: (forget(n), looked.answer(each[n])),  # noqa: B023
                lambda n: looked.answer(moved(each[n], 1)),  # noqa: B023
            )  # fmt: skip
            measured(
                f"{name}: zoom", looked, turns,
                lambda n: (forget(n), looked.answer(each[n])),  # noqa: B023
                lambda n: looked.answer(window(each[n], 0.4, 0.6)),  # noqa: B023
            )  # fmt: skip
            measured(
                f"{name}: pan", looked, turns,
                lambda n: (forget(n), looked.answer(window(each[n], 0.3, 0.6))),  # noqa: B023
                lambda n: looked.answer(window(each[n], 0.4, 0.7)),  # noqa: B023
            )  # fmt: skip


def main() -> None:
    """Make the volume, and look at it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", help="the program that serves S3 from memory")
    parser.add_argument(
        "--shape", default="256x320x1001", help="of the survey that is made, default: %(default)s"
    )
    parser.add_argument(
        "--delay", type=int, default=30, help="ms that each answer waits, default: %(default)s"
    )
    parser.add_argument("--turns", type=int, default=11)
    parser.add_argument("--screen", default="1000x700", help="pixels of a panel, default: %(default)s")
    chosen = parser.parse_args()
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3_ENDPOINT_URL": endpoint,
    }
    command = [sys.executable, chosen.server, str(port)]
    with (
        tempfile.TemporaryDirectory(prefix="viewing-") as name,
        loopback_server(command, f"{endpoint}/__stats", environment, "s3"),
    ):
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
        began, url = time.perf_counter(), f"s3://{BUCKET}/survey.zarr"
        survey = Path(name) / "survey.sgy"
        make_survey(str(survey), shape=tuple(int(n) for n in chosen.shape.split("x")))  # type: ignore[arg-type]
        ingest_segy(str(survey), url, Index(bytes="189,193"), run=Run())
        rechunk(url, Copies(quality="medium"))
        pyramid(url, Levels())
        print(
            f"{survey.stat().st_size / 1e6:.0f} MB of SEG-Y published in {time.perf_counter() - began:.0f} s"
        )
        delay = urllib.request.Request(f"{endpoint}/__delay?ms={chosen.delay}", method="POST")
        urllib.request.urlopen(delay).close()
        look(url, chosen.turns, tuple(int(n) for n in chosen.screen.split("x")))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
