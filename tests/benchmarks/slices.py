"""Print what slices cost to read, of a volume and of what peers store: open, an inline, a crossline, a time slice.

    python -m tests.benchmarks.slices [--shape 200,190,501] [--mdio PYTHON] [--zfp PYTHON] [--json]

Our master and copies are read by plain zarr-python. PYTHON are those of environments with multidimio 1.1.3 and with
seismic-zfp, whose SGZ file has 4 bits a sample (a lossy file, as our copies are). Sides take turns. Each figure is of
a process of its own: "open" from nothing read to the array known, "cold" the first slice, "warm" the median of seven
others; files are in the page cache. Imports are not counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
AXES = ("inline", "crossline", "time")
TURNS = 7
Slices = tuple[tuple[int, ...], Callable[[int, int], Any]]


def of_zarr(path: str, arrays: str) -> Slices:
    """Open arrays of a Zarr group, one for each axis; return the shape, and what reads a slice across an axis."""
    import zarr

    group = zarr.open_group(path, mode="r")
    opened: list[Any] = [group[name] for name in arrays.split(",")]
    return opened[0].shape, lambda axis, at: opened[axis][(slice(None),) * axis + (at,)]


def of_mdio(path: str, arrays: str) -> Slices:
    """Open a volume of multidimio; as `of_zarr`."""
    import mdio

    data = mdio.open_mdio(path)[arrays]
    return data.shape, lambda axis, at: data[(slice(None),) * axis + (at,)].values


def of_sgz(path: str, arrays: str) -> Slices:
    """Open an SGZ file; as `of_zarr`."""
    from seismic_zfp.read import SgzReader

    reader: Any = SgzReader(path)
    reads = (reader.read_inline, reader.read_crossline, reader.read_zslice)
    return (reader.n_ilines, reader.n_xlines, reader.n_samples), lambda axis, at: reads[axis](at)


def make_sgz(survey: str, path: str) -> None:
    """Convert a survey with seismic-zfp."""
    from seismic_zfp.conversion import SegyConverter

    with SegyConverter(survey) as converter:
        converter.run(path, bits_per_voxel=4)


def make_mdio(survey: str, path: str) -> None:
    """Convert a survey with multidimio."""
    import mdio
    from mdio.builder.template_registry import get_template
    from segy.standards import get_segy_standard

    mdio.segy_to_mdio(get_segy_standard(1.0), get_template("PostStack3DTime"), survey, path, overwrite=True)


READERS = {"zarr": of_zarr, "mdio": of_mdio, "sgz": of_sgz}
MAKERS = {"mdio": make_mdio, "sgz": make_sgz}


def timed(kind: str, path: str, arrays: str) -> dict[str, list[float]]:
    """Return milliseconds for opening, a first slice and another, for each axis; the first axis opens."""
    for module in {"zarr": ["zarr"], "mdio": ["mdio"], "sgz": ["seismic_zfp.read"]}[kind]:
        __import__(module)
    began = time.perf_counter()
    shape, read = READERS[kind](path, arrays)
    opened = (time.perf_counter() - began) * 1e3
    cold, warm = [], []
    for axis, n in enumerate(shape):
        times = []
        for turn in range(TURNS + 1):
            began = time.perf_counter()
            read(axis, (n // 3 + turn * (n // 13)) % n)
            times.append((time.perf_counter() - began) * 1e3)
        cold.append(times[0])
        warm.append(statistics.median(times[1:]))
    return {"open": [opened], "cold": cold, "warm": warm}


def stored(path: Path) -> int:
    """Return the bytes of a file or of all files in a folder."""
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="200,190,501")
    parser.add_argument("--mdio", metavar="PYTHON", default=os.environ.get("SEISMILL_MDIO_PYTHON", ""))
    parser.add_argument("--zfp", metavar="PYTHON", default=os.environ.get("SEISMILL_ZFP_PYTHON", ""))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="a row of figures a line")
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        if chosen.job[0] == "make":
            MAKERS[chosen.job[1]](*chosen.job[2:])
        else:
            print(json.dumps(timed(*chosen.job)))
        return
    with tempfile.TemporaryDirectory(prefix="slices-") as folder:
        for figures in compared(Path(folder), chosen):
            print(json.dumps(figures) if chosen.json else figures, flush=True)


def compared(folder: Path, chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Store a survey on all sides, and return a row of medians for each kind of array."""
    from tests.benchmarks.latency import cube

    survey, volume = folder / "survey.sgy", folder / "volume.zarr"
    survey.write_bytes(cube(tuple(int(n) for n in chosen.shape.split(","))))  # type: ignore[arg-type]
    words = ["publish", str(survey), str(volume), "--no-flow"]
    run(sys.executable, "-c", "from flows.cli import main; main()", *words)
    sides = {
        "master": (sys.executable, "zarr", volume, ",".join(["amplitude"] * 3)),
        "copies": (sys.executable, "zarr", volume, "fast_inline,fast_crossline,fast_time"),
    }
    for name, kind, python in (("multidimio", "mdio", chosen.mdio), ("seismic-zfp", "sgz", chosen.zfp)):
        if python:
            run(python, str(Path(__file__)), "--job", "make", kind, str(survey), str(folder / kind))
            sides[name] = (python, kind, folder / kind, "amplitude")
    taken: dict[str, list[dict[str, list[float]]]] = {name: [] for name in sides}
    for _ in range(chosen.repeats):
        for name, (python, kind, path, arrays) in sides.items():
            out = run(python, str(Path(__file__)), "--job", kind, str(path), arrays)
            taken[name].append(json.loads(out.splitlines()[-1]))
    rows = []
    for name, runs in taken.items():
        row: dict[str, Any] = {"row": f"slices: {name}", "open ms": median(runs, "open", 0)}
        for axis, label in enumerate(AXES):
            row |= {f"{label} {kind} ms": median(runs, kind, axis) for kind in ("cold", "warm")}
        path = sides[name][2]
        parts = (
            [path / part for part in set(sides[name][3].split(","))] if sides[name][1] == "zarr" else [path]
        )
        rows.append(row | {"stored MB": round(sum(map(stored, parts)) / 1e6, 1)})
    return rows


def median(runs: list[dict[str, list[float]]], kind: str, axis: int) -> float:
    """Return the median of one figure over all runs."""
    return round(statistics.median(run[kind][axis] for run in runs), 1)


def run(python: str, *words: str) -> str:
    """Run a Python; return what it printed."""
    own = {"PYTHONPATH": str(ROOT)} if python == sys.executable else {"PYTHONPATH": ""}
    done = subprocess.run(
        [python, *words], capture_output=True, text=True, cwd=ROOT, env=os.environ | own, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
