"""Run the benchmarks against other tools, and write their table and plot into tests/benchmarks/README.md.

    python -m tests.benchmarks [--only segy,pyramids,slices,large] [--large] [--disk-gb N] [--write]

Each peer is run by the Python of its own environment: SEISMILL_MDIO_PYTHON (multidimio 1.1.3), SEISMILL_IMAGES_PYTHON
(pyramid-sampler, tensorstore, ngff-zarr, ome-zarr), SEISMILL_STACK_PYTHON (stack-to-chunk), SEISMILL_ZFP_PYTHON
(seismic-zfp); rows of a peer without one are left out. Sides take turns, and figures are medians. Sizes are small, so
that all takes minutes; `--large` takes those at which figures are quoted. Large sources are made smaller where the disk
has no room for them, or has less than `--disk-gb`. A suite that fails is named; the others still run.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README, PLOT = HERE / "README.md", HERE / "table.svg"
Row = dict[str, Any]
MARK = "<!-- written by python -m tests.benchmarks -->"


def lines_of(module: str, *words: str) -> list[str]:
    """Run a benchmark; return the lines that it printed."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parents[1])
    return done.stdout.splitlines()


def cost(row: str, side: str, runs: list[tuple[float, float, float]]) -> Row:
    """Return the medians of some runs: wall and CPU seconds, and peak memory."""
    wall, cpu, peak = (statistics.median(column) for column in zip(*runs, strict=True))
    return {"row": row, "by": side, "wall": wall, "cpu": cpu, "peak_MB": peak / 1e6}


def segy(*, large: bool, disk: list[str]) -> Iterator[Row]:
    """Yield the rows of ingest, copies, export and publish, ours and multidimio's."""
    shape = "345x188x1501" if large else "100x90x501"
    runs = json.loads(
        lines_of("against_multidimio", "--shape", shape, "--repeats", "3" if large else "1")[-1]
    )
    for key, costs in runs.items():
        side, job = key.split(" ")
        taken = [(c["wall_seconds"], c["cpu_seconds"], c["peak_bytes"]) for c in costs]
        yield cost(f"SEG-Y {shape}: {job}", {"ours": "seismill", "theirs": "multidimio"}[side], taken)


def pyramids(*, large: bool, disk: list[str]) -> Iterator[Row]:
    """Yield the rows of levels of a uint16 image, ours and other tools'."""
    size = "1024" if large else "256"
    runs = json.loads(lines_of("against_pyramids", "--size", size, "--repeats", "3" if large else "1")[-1])
    for tool, costs in runs.items():
        yield cost(f"levels of {size}^3 uint16", tool.replace("ours", "seismill"), costs)


def slices(*, large: bool, disk: list[str]) -> Iterator[Row]:
    """Yield the rows of slice reads."""
    shape = "345,188,1501" if large else "100,90,501"
    for line in lines_of("slices", "--shape", shape):
        row = json.loads(line)
        yield row | {"row": "slices", "by": row["row"].partition(": ")[2]}


def large_sources(*, large: bool, disk: list[str]) -> Iterator[Row]:
    """Yield the rows of large sources and of sweeps."""
    words = () if large else ("--keys", "10000,100000")
    for line in lines_of("large", *words, *disk):
        yield json.loads(line) | {"by": "seismill"}


SUITES: dict[str, Callable[..., Iterator[Row]]] = {
    "segy": segy,
    "pyramids": pyramids,
    "slices": slices,
    "large": large_sources,
}


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the tables: costs, and times of slices."""
    yield from ("| what | by | wall s | CPU s | peak MB | more |", "|---|---|---|---|---|---|")
    known = ("row", "by", "wall", "cpu", "peak_MB")
    for row in rows:
        if "wall" in row:
            more = ", ".join(f"{key} {value}" for key, value in row.items() if key not in known)
            yield "| {row} | {by} | {wall:.2f} | {cpu:.2f} | {peak_MB:.0f} | ".format(**row) + f"{more} |"
    reads = [row for row in rows if "open ms" in row]
    if reads:
        names = [name for name in reads[0] if name not in ("row", "by")]
        yield from ("", f"| slices of | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|")
        for row in reads:
            yield f"| {row['by']} | {' | '.join(str(row[name]) for name in names)} |"


def draw(rows: list[Row]) -> None:
    """Draw CPU seconds and peak memory of what several tools do."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    jobs = {row["row"] for row in rows if "wall" in row and row["by"] != "seismill"}
    shown = [row for row in rows if row["row"] in jobs and row.get("cpu")]
    figure, axes = pyplot.subplots(
        1, 2, figsize=(10, 1 + 0.22 * len(shown)), sharey=True, layout="constrained"
    )
    names = [f"{row['row']}, {row['by']}" for row in shown]
    colours = ["tab:blue" if row["by"].startswith("seismill") else "tab:grey" for row in shown]
    for axis, field, title in zip(axes, ("cpu", "peak_MB"), ("CPU seconds", "peak memory, MB"), strict=True):
        axis.barh(names, [row[field] for row in shown], color=colours)
        axis.set(title=title, xscale="log")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("")
    axes[0].invert_yaxis()
    figure.savefig(PLOT)


def machine() -> str:
    """Return processors, memory, load and date in a sentence."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    load = os.getloadavg()[0]
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()} with {os.cpu_count()} processors and {pages / 1e9:.0f} GB, "
        f"Python {platform.python_version()}; load {load:.0f} at the end, so wall times are of a busy machine where "
        f"that is above {os.cpu_count()}, and CPU seconds count"
    )


def main() -> None:
    """Read the command line, measure, print, and write the README if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(SUITES), help="default: %(default)s")
    parser.add_argument("--large", action="store_true", help="the sizes at which figures are quoted")
    parser.add_argument("--write", action="store_true", help="write table and plot into the README")
    parser.add_argument("--disk-gb", type=float, help="room for volumes of `large`; default: what is free")
    chosen = parser.parse_args()
    disk = ["--disk-gb", str(chosen.disk_gb)] if chosen.disk_gb else []
    rows: list[Row] = []
    failed: list[str] = []
    for name in chosen.only.split(","):
        try:
            rows += SUITES[name](large=chosen.large, disk=disk)
        except subprocess.CalledProcessError:  # which has told why
            failed.append(name)
    report = "\n".join([f"{machine()}.", "", *(f"Failed: {name}." for name in failed), *table(rows)])
    print(report)
    if chosen.write:
        draw(rows)
        head = README.read_text().partition(MARK)[0]
        README.write_text(f"{head}{MARK}\n\n{report}\n\n![CPU seconds and peak memory]({PLOT.name})\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
