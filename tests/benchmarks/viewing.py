"""How long the viewer's answers take on S3 with latency: ``python -m tests.benchmarks.viewing S3_MEMORY``.

S3_MEMORY is a program that serves S3 from memory at the port of its first argument, and delays each answer by as many
milliseconds as `POST /__delay?ms=` says. A survey that compresses well is made, published there with copies and levels,
and looked at; or a volume on a local disk is copied there (`--volume`). `--shape 1000x1300x2000` are 10 GB of samples.

For each kind of answer a row of a table: what the screen shows first, which may be a coarser level until the rest is
there (median and 95th percentile, in ms), what it shows in the end (median), requests and MB of a turn, and the arrays
that answered first. "elsewhere" is a plane at a place not seen before, nothing kept. "step" is the next plane: of
five steps the last three come after the viewer has read ahead, as it does for a person. "zoom" and "pan" are windows of
a plane that was shown. The last rows are all first answers.
"""

import argparse
import itertools
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tasks.copy import copy
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Index, Levels, Run, StorageOptions
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.viewer.answers import following
from tasks.viewer.cells import CellCache
from tasks.viewer.model import FASTEST, LOSSLESS, LookedAt, Request
from tasks.viewer.scene import Plane
from tasks.volume.store.objects import Store, traffic
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


def moved(looked: LookedAt, request: Request) -> Request:
    """Return the request for the next plane; after the last one, for the first."""
    at, axis = list(request.at), request.plane.stepped
    at[axis] = (at[axis] + 1) % looked.axes[axis].size
    return replace(request, at=tuple(at))


def window(request: Request, first: float, last: float) -> Request:
    """Return the request for a part of a plane."""
    seen = tuple(
        (int(stop * first), max(int(stop * last), int(stop * first) + 1)) for _, stop in request.seen
    )
    return replace(request, seen=(seen[0], seen[1]))


def measured(name: str, looked: LookedAt, turns: int, turn: Callable[[int], Request]) -> list[float]:
    """Print a row, and return the seconds until something was shown: `turn` prepares a request, and is not timed."""
    first, full, answered, asked, read = list[float](), list[float](), Counter[str](), [], []
    for number in range(turns):
        request = turn(number)
        start, began = traffic.snapshot(), time.perf_counter()
        answer = looked.answer(request, quick=True)
        first.append(time.perf_counter() - began)
        if answer.is_first:
            looked.answer(request)
        full.append(time.perf_counter() - began)
        spent = traffic.since(start)
        asked.append(spent.requests)
        read.append(spent.bytes_read)
        answered[answer.array] += 1
    arrays = ", ".join(f"`{path}` {count}" for path, count in answered.most_common())
    ms, slow, whole = (1e3 * seconds for seconds in (median(first), percentile_95(first), median(full)))
    print(
        f"| {name} | {ms:.0f} | {slow:.0f} | {whole:.0f} | {median(asked):.0f} | {median(read) / 1e6:.1f} | {arrays} |",
        flush=True,
    )
    return first


def percentile_95(seconds: list[float]) -> float:
    """Return what 95 of 100 answers take at most."""
    return quantiles(seconds, n=20, method="inclusive")[-1]


def look(url: str, turns: int, pixels: tuple[int, int]) -> None:
    """Print all rows."""
    looked = LookedAt(url, StorageOptions())
    print("| answer | first, ms | p95 | full, ms | requests | MB | shown first |")
    print("|---|---|---|---|---|---|---|")
    began = time.perf_counter()
    looked = LookedAt(url, StorageOptions())
    print(f"| open | {1e3 * (time.perf_counter() - began):.0f} | | | | | |")
    all_of: dict[str, list[float]] = {FASTEST: [], LOSSLESS: []}
    sizes = [axis.size for axis in looked.axes]
    for shown, plane in itertools.product(all_of, looked.planes):
        drawn = requests(looked, plane, pixels, shown, len(shown))
        each = [next(drawn) for _ in range(turns)]
        trail = list[Request]()

        def forget(number: int) -> Request:
            looked.cache = CellCache(looked.cache.limit_bytes)
            return each[number]  # noqa: B023

        def stepped(number: int) -> Request:
            if number % 5 == 0:
                trail[:] = [forget(number)]  # noqa: B023
                looked.answer(trail[0])  # noqa: B023
            elif number % 5 > 1:  # the viewer knows where it goes from two planes
                looked.read_ahead(following(*trail[-2:], sizes))  # type: ignore[misc]  # noqa: B023
            trail.append(moved(looked, trail[-1]))  # noqa: B023
            return trail[-1]  # noqa: B023

        def looked_at(number: int, *part: float) -> Request:
            looked.answer(window(forget(number), *part))
            return each[number]  # noqa: B023

        kinds: dict[str, Callable[[int], Request]] = {
            "elsewhere": forget,
            "step": stepped,
            "zoom": lambda n: window(looked_at(n, 0, 1), 0.4, 0.6),
            "pan": lambda n: window(looked_at(n, 0.3, 0.6), 0.4, 0.7),
        }
        for kind, turn in kinds.items():
            name = f"{plane.name}, {shown}: {kind}"
            all_of[shown] += measured(name, looked, turns, turn)
    for shown, seconds in (*all_of.items(), ("both", [*all_of[FASTEST], *all_of[LOSSLESS]])):
        print(f"| all, {shown} | {1e3 * median(seconds):.0f} | {1e3 * percentile_95(seconds):.0f} | | | | |")


def write_survey(path: Path, shape: tuple[int, ...], seed: int = 0) -> None:
    """Write SEG-Y of IEEE floats: whole numbers, mostly those of their neighbours, so that it compresses well."""
    inlines, crosslines, count = shape
    rng = np.random.default_rng(seed)
    beds = np.repeat(rng.normal(0, 400, count), rng.integers(12, 40, count))[: 2 * count]
    beds = np.rint(np.convolve(beds, np.hanning(45) / np.hanning(45).sum(), "same"))
    noise = rng.integers(-1, 2, 1 << 20) * (rng.random(1 << 20) < 0.15)
    offsets = {"scalar": 70, "unit": 88, "count": 114, "interval": 116, "code": 28}
    offsets |= {"x": 180, "y": 184, "inline": 188, "crossline": 192, "samples": 240}
    formats = [">i2"] * 5 + [">i4"] * 4 + [(">f4", count)]
    record = np.dtype(
        {
            "names": [*offsets],
            "formats": formats,
            "offsets": [*offsets.values()],
            "itemsize": 240 + 4 * count,
        }
    )
    header = np.zeros(400, np.uint8)
    for byte, value in ((17, 4000), (21, count), (25, 5), (55, 1), (301, 0x0100), (303, 1)):
        header[byte - 1 : byte + 1] = np.array([value], ">i2").view(np.uint8)
    text = "".join(f"C{n:2d} MADE FOR A BENCHMARK".ljust(80) for n in range(1, 41))
    traces, place = np.zeros(crosslines, record), np.arange(crosslines)
    with open(path, "wb") as file:
        file.write(text.encode("cp500") + header.tobytes())
        for i in range(inlines):
            dome = np.exp(-((place / crosslines - 0.5) ** 2 + (i / inlines - 0.45) ** 2) / 0.06)
            shift = 0.25 + 0.2 * dome + 0.1 * np.sin(place / 300 + i / 400)
            first = np.rint(count * shift).astype(int)[:, np.newaxis] + np.arange(count)
            start = rng.integers(0, noise.size - count, crosslines)[:, np.newaxis] + np.arange(count)
            traces["samples"] = beds[first] + noise[start]
            traces["samples"][:, : count // 12] = 0
            traces["inline"], traces["crossline"] = 1001 + i, 2001 + place
            traces["x"], traces["y"] = 456200 + 25 * place, 6782100 + 25 * i
            for name, value in (
                ("scalar", 1),
                ("unit", 1),
                ("count", count),
                ("interval", 4000),
                ("code", 1),
            ):
                traces[name] = value
            file.write(traces.tobytes())


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
    parser.add_argument("--volume", default="", help="a volume on a local disk to look at instead")
    parser.add_argument("--turns", type=int, default=10)
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
        if chosen.volume:
            copy(chosen.volume, url)
            print(f"{chosen.volume} copied in {time.perf_counter() - began:.0f} s")
        else:
            survey = Path(name) / "survey.sgy"
            write_survey(survey, tuple(int(n) for n in chosen.shape.split("x")))
            ingest_segy(str(survey), url, Index(bytes="189,193"), run=Run())
            rechunk(url, Copies(quality="low"))
            pyramid(url, Levels())
            size, seconds = survey.stat().st_size / 1e6, time.perf_counter() - began
            print(f"{size:.0f} MB of SEG-Y published in {seconds:.0f} s")
        print(f"stored objects take {sum(size for _, size, _ in Store(url).listing('')) / 1e9:.2f} GB")
        delay = urllib.request.Request(f"{endpoint}/__delay?ms={chosen.delay}", method="POST")
        urllib.request.urlopen(delay).close()
        look(url, chosen.turns, tuple(int(n) for n in chosen.screen.split("x")))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
