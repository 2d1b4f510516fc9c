"""Print what the main jobs cost, ours against multidimio 1.1.3, in one run: wall time, CPU time, peak memory, ratios.

    python tests/benchmarks/against_multidimio.py [SURVEY] --peer PYTHON

SURVEY is a sorted post-stack SEG-Y in IBM floats; one of 345 x 188 x 1501 is made where none is given. PYTHON is that
of an environment with multidimio 1.1.3 and distributed. Sides take turns, N times, and medians are compared.

Every measurement is a process of its own and a fresh folder on the same disk. Before its clock starts, a process has
imported what it needs, done the same job on a tiny survey (which compiles what is compiled), read the survey once, so
that it is in the page cache, and had the disk's buffers written out. What multidimio starts in each job is its own
time: processes that import it again, and a cluster where it makes one. Memory is resident memory summed over the tree
of processes every 50 ms, or the high-water mark of the process alone, if that is more; it includes the interpreter and
libraries on both sides.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

SHAPE = (345, 188, 1501)
TINY = (7, 9, 45)
SAMPLING_SECONDS = 0.05
MEMORY_LIMIT = 2.0  # times less than multidimio


@dataclass(frozen=True)
class Comparison:
    """A line of the table: a job of ours, one of theirs (see jobs.py), and how many times faster ours has to be."""

    title: str
    ours: str
    theirs: str
    limit: float


COMPARISONS = (
    Comparison("ingest, its codec and chunks (zstd 5, 128^3)", "ingest_zstd5", "ingest", 4),
    Comparison("ingest, our defaults (zstd 1, 64^3)", "ingest", "ingest", 8),
    Comparison("three ZFP copies, chunks as they are named", "copies", "copies", 3),
    Comparison("three ZFP copies, its chunks cut to the volume", "copies", "copies_in_processes", 1),
    Comparison("the same, in threads that were started before", "copies", "copies_in_threads", 1),
    Comparison("export to SEG-Y", "export", "export", 1),
    Comparison("publish, against its ingest alone", "publish", "ingest", 1),
    Comparison("publish without pictures, against its ingest alone", "publish_without_report", "ingest", 1),
    Comparison("publish as a Prefect flow, against its ingest alone", "publish_flow", "ingest", 1),
)


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("survey", nargs="?", help="a SEG-Y to use instead of a made one")
    parser.add_argument(
        "--peer",
        metavar="PYTHON",
        default=os.environ.get("SEISMILL_MDIO_PYTHON"),
        help="default: SEISMILL_MDIO_PYTHON",
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument(
        "--shape", default="x".join(map(str, SHAPE)), help="of the survey made, default: %(default)s"
    )
    parser.add_argument(
        "--folder", help="where files go while it runs; default: the system's temporary folder"
    )
    parser.add_argument("--only", default="", metavar="WORD", help="only lines whose title has this word")
    parser.add_argument("--json", action="store_true", help="also print every run as one JSON object")
    chosen = parser.parse_args()
    if not chosen.peer:
        parser.error("name the Python that has multidimio 1.1.3 with --peer")
    comparisons = [comparison for comparison in COMPARISONS if chosen.only in comparison.title]
    with tempfile.TemporaryDirectory(prefix="against-", dir=chosen.folder) as name:
        folder = Path(name)
        survey, tiny = Path(chosen.survey or folder / "survey.sgy").absolute(), folder / "tiny.sgy"
        make = "import sys; from tasks.demo import make_survey; make_survey(sys.argv[1], shape=eval(sys.argv[2]))"
        for path, shape in ((tiny, TINY), (survey, tuple(map(int, chosen.shape.split("x"))))):
            if not path.exists():
                subprocess.run([sys.executable, "-c", make, str(path), str(shape)], cwd=ROOT, check=True)
        costs = measure(comparisons, survey, tiny, folder, chosen.peer, chosen.repeats)
        print_table(comparisons, costs, survey, chosen.repeats)
    if chosen.json:
        print(json.dumps({" ".join(key): [vars(cost) for cost in runs] for key, runs in costs.items()}))


def measure(
    comparisons: list[Comparison], survey: Path, tiny: Path, folder: Path, peer: str, repeats: int
) -> dict[tuple[str, str], list[Cost]]:
    """Run every job `repeats` times, the sides in turn."""
    pythons = {"ours": sys.executable, "theirs": peer}
    # A volume of each side, to copy and export from.
    volumes = {side: folder / f"{side}.volume" for side in pythons}
    for side, python in pythons.items():
        run(python, side, "ingest", survey, tiny, volumes[side], folder)
    costs: dict[tuple[str, str], list[Cost]] = {}
    for number in range(repeats):
        done = set()
        for comparison in comparisons:
            for side, job in (("ours", comparison.ours), ("theirs", comparison.theirs)):
                if (side, job) in done:
                    continue
                done.add((side, job))
                target = folder / f"{side}-{job}-{number}"
                cost = run(pythons[side], side, job, survey, tiny, target, folder, volumes[side])
                costs.setdefault((side, job), []).append(cost)
                print(
                    f"{side:6} {job:24} {cost.wall_seconds:7.2f} s {cost.cpu_seconds:7.2f} CPU s"
                    f" {cost.peak_bytes / 1e6:7.0f} MB",
                    file=sys.stderr,
                    flush=True,
                )
    return costs


def run(
    python: str,
    side: str,
    job: str,
    survey: Path,
    tiny: Path,
    target: Path,
    folder: Path,
    volume: Path | None = None,
) -> Cost:
    """Run one job in a fresh process; what it wrote is removed, unless it is a volume to go on from."""
    command = [
        python,
        str(Path(__file__).with_name("jobs.py")),
        side,
        job,
        *map(str, (survey, tiny, target, volume)),
    ]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT)] * (side == "ours") + [os.environ.get("PYTHONPATH", "")]),
        "MDIO__IMPORT__SAVE_SEGY_FILE_HEADER": "1",  # its own export wants them
        "PREFECT_HOME": str(folder / "prefect"),
        "TMPDIR": str(folder),
    }
    with (
        tempfile.TemporaryFile(dir=folder) as errors,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as process,
    ):
        ready = process.stdout.readline()
        over = threading.Event()
        watch = Watch(process.pid)
        watcher = threading.Thread(target=watch.until, args=(over,))
        if ready.strip() == b"ready":
            watcher.start()
            process.stdin.write(b"go\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        over.set()
        if watcher.ident:
            watcher.join()
        process.communicate()
        if process.returncode or not answer:
            errors.seek(0)
            sys.exit(f"{side} {job} failed:\n{errors.read().decode()}")
    figures = json.loads(answer)
    return Cost(
        figures["wall_seconds"],
        figures["own_cpu_seconds"] + max(figures["children_cpu_seconds"], watch.children_cpu_seconds()),
        max(figures["peak_bytes"], watch.peak_bytes),
    )


class Watch:
    """Memory of a tree of processes, and the CPU time of all but its root, as samples show them."""

    def __init__(self, pid: int) -> None:
        self.root, self.peak_bytes = psutil.Process(pid), 0
        self.first: dict[int, float] = {}
        self.last: dict[int, float] = {}
        self.sample()
        self.first = dict(self.last)

    def sample(self) -> None:
        """Look once."""
        resident = 0
        for process in (self.root, *self.root.children(recursive=True)):
            try:
                with process.oneshot():
                    resident += process.memory_info().rss
                    if process.pid != self.root.pid:
                        times = process.cpu_times()
                        self.last[process.pid] = times.user + times.system
            except psutil.Error:
                continue  # it ended meanwhile
        self.peak_bytes = max(self.peak_bytes, resident)

    def until(self, over: threading.Event) -> None:
        """Look again and again."""
        while not over.wait(SAMPLING_SECONDS):
            try:
                self.sample()
            except psutil.Error:
                return

    def children_cpu_seconds(self) -> float:
        """What descendants used between the first and the last sample that saw them."""
        return sum(seconds - self.first.get(pid, 0) for pid, seconds in self.last.items())


def print_table(
    comparisons: list[Comparison], costs: dict[tuple[str, str], list[Cost]], survey: Path, repeats: int
) -> None:
    """One line per comparison: medians of each side and how many times less ours is, beside what is wanted."""
    size = survey.stat().st_size / 1e6
    print(
        f"\n{size:,.0f} MB of SEG-Y, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end, medians of "
        f"{repeats}, {time.strftime('%Y-%m-%d %H:%M')}\n"
        "times: multidimio's figure divided by ours; wanted: so many times less wall time at least, and "
        f"{MEMORY_LIMIT:g} times less memory\n"
    )
    heads = ("wall s", "CPU s", "peak MB")
    print(" " * 56 + "".join(f"{head:>9}{'theirs':>9}{'times':>7} " for head in heads) + f"{'wanted':>7}")
    for comparison in comparisons:
        ours, theirs = costs["ours", comparison.ours], costs["theirs", comparison.theirs]
        cells, times = "", []
        for field, unit in (("wall_seconds", 1.0), ("cpu_seconds", 1.0), ("peak_bytes", 1e6)):
            mine, its = (statistics.median(getattr(c, field) for c in runs) / unit for runs in (ours, theirs))
            times.append(its / mine)
            digits = 0 if unit > 1 else 2
            cells += f"{mine:9.{digits}f}{its:9.{digits}f}{its / mine:7.2f} "
        missed = [
            word
            for word, got, wanted in (
                ("wall", times[0], comparison.limit),
                ("memory", times[2], MEMORY_LIMIT),
            )
            if got < wanted
        ]
        print(
            f"{comparison.title:56}{cells}{comparison.limit:7g}  {'missed: ' + ', '.join(missed) if missed else 'met'}"
        )


if __name__ == "__main__":
    main()
