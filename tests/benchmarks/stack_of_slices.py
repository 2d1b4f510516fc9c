"""Print what it costs to turn a large stack of TIFF slices into a volume, beside decoding alone and other tools.

    python tests/benchmarks/stack_of_slices.py [--stack PYTHON] [--slices 1000] [--folder FOLDER]

The slices, of 2048 x 2048 uint16 and uncompressed, are made in FOLDER and removed again: 8 GB for 1000 of them, and as
much again for each result. PYTHON is that of an environment with stack-to-chunk 2. "decoding" reads every slice
with tifffile in as many threads as there are processors, and keeps nothing. "ingest" makes the lossless array,
"publish" all that the command makes: levels, the report, and the proof, which reads slices and array again.
tensorstore writes the same chunks in the same codec, slab by slab. Memory is the high-water mark of the resident
memory of the tree of processes, sampled every 50 ms; ours is given 800 MB beside interpreter and libraries, to stay
below 1 GiB.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIDE = 2048
WANTED_BYTES = 1 << 30
OURS = ("ingest", "publish")


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stack", metavar="PYTHON", default="", help="of an environment with stack-to-chunk")
    parser.add_argument("--peer", metavar="PYTHON", default="", help="of an environment with tensorstore")
    parser.add_argument("--jobs", default=",".join(JOBS), help="some of them")
    parser.add_argument("--slices", type=int, default=1000)
    parser.add_argument("--folder", help="where files go; default: the system's temporary folder")
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        name, source, target = chosen.job
        JOBS[name](source, target)
        return
    rows = []
    with tempfile.TemporaryDirectory(prefix="slices-", dir=chosen.folder) as name:
        folder = Path(name)
        make(folder / "slices", chosen.slices)
        others = {"tensorstore": chosen.peer, "stack-to-chunk": chosen.stack}
        for job in chosen.jobs.split(","):
            if python := others.get(job, sys.executable):
                rows.append((job, *measure(python, job, folder)))
                shutil.rmtree(folder / "target", ignore_errors=True)
    size = chosen.slices * SIDE * SIDE * 2
    print(
        f"{chosen.slices} slices of {SIDE}^2 uint16, {size / 1e9:.1f} GB, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end, {time.strftime('%Y-%m-%d %H:%M')}\n"
    )
    print(f"{'':16}{'wall s':>9}{'CPU s':>9}{'MB/s':>9}{'peak MB':>9}")
    for job, wall, cpu, peak in rows:
        verdict = f"  under {WANTED_BYTES / 1e6:.0f} MB: {'met' if peak < WANTED_BYTES else 'missed'}" * (
            job in OURS
        )
        print(f"{job:16}{wall:9.1f}{cpu:9.1f}{size / 1e6 / wall:9.0f}{peak / 1e6:9.0f}{verdict}")


def make(folder: Path, count: int) -> None:
    """The slices: a wave with noise that differs from slice to slice."""
    import numpy as np
    import tifffile

    folder.mkdir()
    noise = np.random.default_rng(5).integers(0, 4096, (SIDE, SIDE), dtype=np.uint16)
    wave = (np.sin(np.arange(SIDE) / 50) * 10000 + 20000).astype(np.uint16)

    def write(number: int) -> None:
        tifffile.imwrite(
            folder / f"slice_{number}.tif", np.roll(noise, 7 * number, axis=1) + np.roll(wave, number)
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, range(count)))


def measure(python: str, job: str, folder: Path) -> tuple[float, float, float]:
    """Wall and CPU seconds, and bytes, of one run in a fresh process, imports included."""
    sys.path.append(str(Path(__file__).parent))  # run by its file or as a module
    from against_multidimio import Watch

    command = [python, __file__, "--job", job, str(folder / "slices"), str(folder / "target")]
    path = os.pathsep.join([str(ROOT)] * (job in OURS) + [os.environ.get("PYTHONPATH", "")])
    before, began = os.times(), time.perf_counter()
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=sys.stderr) as process:
        over, watch = threading.Event(), Watch(process.pid)
        watcher = threading.Thread(target=watch.until, args=(over,))
        watcher.start()
        process.wait()
        over.set()
        watcher.join()
    seconds, after = time.perf_counter() - began, os.times()
    if process.returncode:
        sys.exit(f"{job} failed")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    print(
        json.dumps({"job": job, "wall": seconds, "cpu": cpu, "peak": watch.peak_bytes}),
        file=sys.stderr,
        flush=True,
    )
    return seconds, cpu, float(watch.peak_bytes)


def decoding(source: str, target: str) -> None:
    """Read every slice and keep nothing."""
    import tifffile

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(lambda path: tifffile.imread(path).shape, sorted(Path(source).iterdir())):
            pass


def ingest(source: str, target: str) -> None:
    """`seismill ingest-images SOURCE TARGET --memory "800 MB"`."""
    from flows.stages import as_stage, load_verb
    from tasks.parameters import Run

    as_stage(load_verb("ingest_images"))(source, target, run=Run(memory="800 MB"))


def publish(source: str, target: str) -> None:
    """`seismill publish SOURCE TARGET --memory "800 MB" --no-flow`."""
    command = [sys.executable, "-m", "flows", "publish", source, target, "--memory", "800 MB", "--no-flow"]
    os.execv(sys.executable, command)


def tensorstore(source: str, target: str) -> None:
    """Slabs of 64 slices, read as in `decoding`, into chunks of 64 x 64 x 64 in our codec."""
    import numpy as np
    import tensorstore as ts
    from tifffile import imread

    paths = sorted(Path(source).iterdir(), key=lambda path: int(path.stem.rpartition("_")[2]))
    blosc = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": 2, "blocksize": 512 << 10}
    metadata = {
        "shape": [len(paths), SIDE, SIDE],
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [64] * 3}},
        "codecs": [{"name": "bytes"}, {"name": "blosc", "configuration": blosc}],
    }
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": target}, "metadata": metadata}
    array = ts.open(spec, create=True).result()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), 64):
            slab = np.stack(list(pool.map(imread, paths[start : start + 64])))
            array[start : start + len(slab)].write(slab).result()


def stack_to_chunk(source: str, target: str) -> None:
    """Its `add_full_res_data` from slices that Dask reads one by one, with a process for each core."""
    import dask.array
    import zarr
    from dask import delayed
    from pydantic_zarr.v3 import ArraySpec
    from stack_to_chunk import MultiScaleGroup
    from tifffile import imread

    paths = sorted(Path(source).iterdir(), key=lambda path: int(path.stem.rpartition("_")[2]))
    slices = [dask.array.from_delayed(delayed(imread)(path), (SIDE, SIDE), "uint16").T for path in paths]
    values = dask.array.stack(slices, axis=-1)
    like = zarr.create_array({}, shape=values.shape, chunks=(64,) * 3, dtype="uint16")
    group = MultiScaleGroup(
        Path(target),
        name="made",
        voxel_size=(1, 1, 1),
        spatial_unit="micrometer",
        array_spec=ArraySpec.from_zarr(like),
    )
    group.add_full_res_data(values, n_processes=os.cpu_count() or 1)


JOBS = {
    "decoding": decoding,
    "ingest": ingest,
    "publish": publish,
    "tensorstore": tensorstore,
    "stack-to-chunk": stack_to_chunk,
}


if __name__ == "__main__":
    main()
