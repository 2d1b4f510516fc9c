"""Print what copies of a survey cost, this clone and another checkout in turn, beside ZFP's encoder alone.

    python tests/benchmarks/copies.py [--before CHECKOUT] [--shape 345,188,1501] [--repeats 3]

Every measurement is a process of its own that has made copies of a tiny survey first, so that nothing is compiled or
imported while its clock runs. "encode" encodes the chunks of the three copies from memory on one thread, and does
nothing with them: no copy with ZFP costs less CPU. Rows are medians: CPU and wall seconds, raw MB a second (wall),
stored samples for each live one, peak of the resident memory.
"""

import argparse
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRESETS = ("fast_inline", "fast_crossline", "fast_time")
LARGEST = {"fast_inline": [4, 512, 512], "fast_crossline": [512, 4, 512], "fast_time": [512, 512, 4]}


def main() -> None:
    """Read the command line, measure in turn and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--shape", default="345,188,1501")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        print(json.dumps(job(*given.job)), flush=True)
        return
    with tempfile.TemporaryDirectory(prefix="copies-") as folder:
        for name, shape in (("survey", given.shape), ("tiny", "20,20,600")):
            run(ROOT, "ingest", f"{folder}/{name}", shape)
        rows = {"ours": ROOT, "ours, largest chunks": ROOT}
        rows |= {"before": given.before.resolve()} if given.before else {}
        kinds = {"ours, largest chunks": "largest"}
        figures: dict[str, list[dict[str, float]]] = {}
        for _ in range(given.repeats):
            for row, checkout in rows.items():
                figures.setdefault(row, []).append(
                    run(checkout, kinds.get(row, "copies"), f"{folder}/survey", f"{folder}/tiny")
                )
            figures.setdefault("encode", []).append(run(ROOT, "encode", f"{folder}/survey", f"{folder}/tiny"))
    medians = {
        row: {name: statistics.median(one[name] for one in many) for name in many[0]}
        for row, many in figures.items()
    }
    alone = medians["encode"]["cpu"]
    print(f"{given.shape}: {'':22}CPU s  of encode   wall s    MB/s  stored/live  peak MB")
    for row, one in medians.items():
        print(
            f"{row:34} {one['cpu']:8.2f} {one['cpu'] / alone:10.2f} {one['wall']:8.2f} {one['mb'] / one['wall']:7.0f} "
            f"{one['share']:12.2f} {one['peak'] / 1e6:8.0f}"
        )


def run(checkout: Path, *what: str) -> dict[str, float]:
    """Do a job in a process of its own, with the code of a checkout."""
    finished = subprocess.run(
        [sys.executable, __file__, "--job", *what],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        cwd=checkout,
        check=True,
        capture_output=True,
        text=True,
    )
    figures: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return figures


def job(what: str, volume: str, other: str) -> dict[str, float]:
    """One job; of `ingest`, `other` is the shape, else the tiny survey."""
    from tasks.demo import make_survey
    from tasks.ingest_segy import ingest_segy
    from tasks.parameters import Copies, Copy
    from tasks.rechunk import rechunk

    if what == "ingest":
        first, second, third = map(int, other.split(","))
        make_survey(f"{volume}.sgy", shape=(first, second, third))
        ingest_segy(f"{volume}.sgy", volume)
        Path(f"{volume}.sgy").unlink()
        return {}
    largest = Copies(presets=[], more=[Copy(name=name, chunks=chunks) for name, chunks in LARGEST.items()])
    copies = largest if what == "largest" else Copies()
    target = f"{volume}.{what}"
    shutil.copytree(other, f"{target}.tiny")
    rechunk(f"{target}.tiny", copies)
    shutil.copytree(volume, target)
    try:
        if what == "encode":
            rechunk(target, copies)
            return encode(target)
        os.sync()
        Path("/proc/self/clear_refs").write_text("5")
        before, began = time.process_time(), time.perf_counter()
        summary = rechunk(target, copies)
        cpu, wall = time.process_time() - before, time.perf_counter() - began
        peak = next(
            int(line.split()[1]) * 1024
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM:")
        )
        return {"cpu": cpu, "wall": wall, "peak": peak, **sizes(summary["arrays"])}
    finally:
        shutil.rmtree(target)
        shutil.rmtree(f"{target}.tiny")


def sizes(arrays: list[dict[str, list[int]]]) -> dict[str, float]:
    """Raw bytes of one copy in MB, and how many samples all store for each that they have."""
    live = math.prod(arrays[0]["shape"])
    stored = sum(
        math.prod(-(-n // c) * c for n, c in zip(array["shape"], array["chunks"], strict=True))
        for array in arrays
    )
    return {"mb": live * 4 / 1e6, "share": stored / live / len(arrays)}


def encode(target: str) -> dict[str, float]:
    """Encode the chunks of all copies from memory."""
    import numpy as np

    from tasks.volume.arrays.codecs import encode_chunk
    from tasks.volume.arrays.reader import open_volume
    from tasks.volume.store.objects import Store

    volume = open_volume(Store(target))
    specs = [volume.spec(name) for name in PRESETS]
    shape = specs[0].shape
    room = [
        max(-(-n // spec.chunks[axis]) * spec.chunks[axis] for spec in specs) for axis, n in enumerate(shape)
    ]
    values = np.zeros(room, np.float32)
    values[tuple(map(slice, shape))] = np.nan_to_num(volume.read(volume.master))
    cpu = wall = 0.0
    for spec in specs:
        counts = [range(-(-n // c)) for n, c in zip(shape, spec.chunks, strict=True)]
        for place in itertools.product(*counts):
            chunk = values[tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, spec.chunks, strict=True))]
            if chunk.shape[-1] * 4 < 64:
                chunk = np.ascontiguousarray(chunk)
            before, began = time.process_time(), time.perf_counter()
            encode_chunk(spec, chunk)
            cpu, wall = cpu + time.process_time() - before, wall + time.perf_counter() - began
    rows = [{"shape": list(spec.shape), "chunks": list(spec.chunks)} for spec in specs]
    return {"cpu": cpu, "wall": wall, "peak": 0.0, **sizes(rows)}


if __name__ == "__main__":
    main()
