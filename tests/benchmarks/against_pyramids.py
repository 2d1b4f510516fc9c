"""Print what coarser levels of a large image cost, ours against five other tools, in one run: time, memory, ratios.

    python tests/benchmarks/against_pyramids.py --peer PYTHON [--stack PYTHON] [--data noise|ct|sampler]

PYTHON is that of an environment with pyramid-sampler, tensorstore, ngff-zarr and ome-zarr; the second one's has
stack-to-chunk. Tools take turns, N times, and medians are compared.

All make four levels of means of the same array: uint16, field/0 of a Zarr v3 group with chunks of 64^3 as
pyramid-sampler's own example has it, with zarr-python's default codec. What it holds is smooth structures under noise
that hardly compress (noise), the scan of snow in SEISMILL_SHARED, tiled (ct), or what pyramid-sampler's own
initialize_test_image makes (sampler); all three are worth a look, because decoding costs what the data make it cost.
pyramid-sampler, tensorstore
and `pyramid some.zarr --array field/0` put the levels beside it; `pyramid volume` adds them to a volume that was
ingested from the same voxels; ngff-zarr and ome-zarr-py cannot but write level 0 again, which is in their figures.
stack-to-chunk begins from a level 0 of its own, whose writing is not counted. "decoding" reads and decodes the array
once, in as many threads as there are processors, and does nothing with it: no tool can take less.

Every measurement is a process of its own. Before its clock starts, it has done the same job on a tiny array (which
compiles what is compiled) and read the array's files once. Memory is the high-water mark of the resident memory of the
tree of processes, sampled every 50 ms, with interpreter and libraries.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
LEVELS = 4
CHUNK = 64
# How many times faster ours has to be, and how much memory it may take.
WANTED = {"pyramid-sampler": 10.0, "tensorstore": 2.0}
WANTED_BYTES = 500e6
TOOLS = (
    "ours",
    "decoding",
    "ours-volume",
    "pyramid-sampler",
    "tensorstore",
    "ngff-zarr",
    "ome-zarr",
    "stack-to-chunk",
)


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", metavar="PYTHON", default=os.environ.get("SEISMILL_IMAGES_PYTHON"))
    parser.add_argument(
        "--stack",
        metavar="PYTHON",
        default=os.environ.get("SEISMILL_STACK_PYTHON", ""),
        help="of an environment with stack-to-chunk",
    )
    parser.add_argument("--size", type=int, default=1024, help="voxels along each axis, default: 1024")
    parser.add_argument("--data", choices=("noise", "ct", "sampler"), default="noise")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--folder", help="where files go; default: the system's temporary folder")
    parser.add_argument("--only", default="", metavar="NAMES", help="only these tools, separated by commas")
    parser.add_argument("--json", action="store_true", help="also print every run as one JSON object")
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--test-image", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.job:
        do(*chosen.job)
        return
    if chosen.test_image:
        make_test_image(*chosen.test_image)
        return
    if not chosen.peer:
        parser.error("name the Python that has the other tools with --peer")
    tools = [t for t in TOOLS if t in (chosen.only.split(",") if chosen.only else TOOLS)]
    tools = [t for t in tools if t != "stack-to-chunk" or chosen.stack]
    with tempfile.TemporaryDirectory(prefix="pyramids-", dir=chosen.folder) as name:
        folder = Path(name)
        make(folder / "large", chosen.size, chosen.data, chosen.peer)
        make(folder / "tiny", 2 * CHUNK, chosen.data, chosen.peer)
        costs: dict[str, list[tuple[float, float, float]]] = {tool: [] for tool in tools}
        for _ in range(chosen.repeats):
            for tool in tools:
                own = tool in ("ours", "ours-volume", "decoding")
                python = sys.executable if own else chosen.stack if tool == "stack-to-chunk" else chosen.peer
                seconds, cpu, peak = measure(python, tool, folder)
                costs[tool].append((seconds, cpu, peak))
                print(
                    f"{tool:16} {seconds:8.2f} s {cpu:8.2f} CPU s {peak / 1e6:8.0f} MB",
                    file=sys.stderr,
                    flush=True,
                )
    print_table(costs, chosen.data, chosen.size, chosen.repeats)
    if chosen.json:
        print(json.dumps(costs))


def make(folder: Path, size: int, data: str, peer: str) -> None:
    """The array, and a volume of the same voxels."""
    import zarr

    from tasks.ingest_images import ingest_images

    folder.mkdir()
    group = folder / "some.zarr"
    if data == "sampler":
        subprocess.run([peer, __file__, "--test-image", str(group), str(size)], check=True)
        array = zarr.open_group(group)["field/0"]
    else:
        array = zarr.open_group(group, mode="w").create_array(
            "field/0", shape=(size,) * 3, chunks=(CHUNK,) * 3, dtype="uint16", dimension_names=("z", "y", "x")
        )
        planes = {"noise": noisy_planes, "ct": scanned_planes}[data](size)
    voxels = np.lib.format.open_memmap(folder / "voxels.npy", "w+", np.uint16, (size,) * 3)
    for start in range(0, size, CHUNK):
        part = slice(start, start + CHUNK)
        voxels[part] = array[part] if data == "sampler" else planes(start)
        if data != "sampler":
            array[part] = voxels[part]
    voxels.flush()
    ingest_images(str(folder / "voxels.npy"), str(folder / "volume.zarr"))


def noisy_planes(size: int) -> Callable[[int], np.ndarray]:
    """Planes from a number on, as many as a chunk has: waves, under noise of 11 bits."""
    noise = np.random.default_rng(11).integers(0, 2048, (CHUNK, size, size), dtype=np.uint16)
    wave = (np.sin(np.arange(size) / 37) * 9000 + 20000).astype(np.uint16)
    across = noise + wave[None, :, None] + wave[None, None, :]
    return lambda start: np.roll(across + wave[start : start + CHUNK, None, None] // 4, start, axis=2)


def scanned_planes(size: int) -> Callable[[int], np.ndarray]:
    """The same of a scan, repeated; it is larger than a chunk, which so never holds a voxel twice."""
    import tifffile

    scan = tifffile.imread(Path(os.environ["SEISMILL_SHARED"], "data/spam/snow.tif"))
    rows = np.arange(size) % len(scan)
    return lambda start: scan[np.ix_((start + np.arange(min(CHUNK, size))) % len(scan), rows, rows)]


def make_test_image(group: str, size: str) -> None:
    """What pyramid-sampler gives its users to try it with: random numbers below 100, and an offset in a corner."""
    import zarr
    from pyramid_sampler import initialize_test_image

    initialize_test_image(
        zarr.open_group(group, mode="w"), "field", (int(size),) * 3, (CHUNK,) * 3, dtype="uint16"
    )


def measure(python: str, tool: str, folder: Path) -> tuple[float, float, float]:
    """Wall and CPU seconds, and bytes, of one run in a fresh process."""
    sys.path.append(str(Path(__file__).parent))  # run by its file or as a module
    from against_multidimio import Watch

    command = [python, __file__, "--job", tool, str(folder / "tiny"), str(folder / "large")]
    path = os.pathsep.join([str(ROOT)] * tool.startswith("ours") + [os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "TMPDIR": str(folder)}
    with (
        tempfile.TemporaryFile(dir=folder) as errors,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        ready = process.stdout.readline()
        over, watch = threading.Event(), Watch(process.pid)
        watcher = threading.Thread(target=watch.until, args=(over,))
        watcher.start()
        if ready:
            process.stdin.write("go\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        over.set()
        watcher.join()
        process.communicate()
        if process.returncode or not answer:
            errors.seek(0)
            sys.exit(f"{tool} failed:\n{errors.read().decode()}")
    wall, cpu = json.loads(answer)
    return wall, cpu + watch.children_cpu_seconds(), float(watch.peak_bytes)


def do(tool: str, tiny: str, large: str) -> None:
    """Do the job on the tiny array, then say so, wait for the word, and time it on the large one."""
    with JOBS[tool](Path(tiny)) as practise:
        practise()
    for path in Path(large).rglob("*"):
        if path.is_file():
            path.read_bytes()
    with JOBS[tool](Path(large)) as work:
        os.sync()
        print("ready", flush=True)
        sys.stdin.readline()
        before, began = os.times(), time.perf_counter()
        work()
        seconds, after = time.perf_counter() - began, os.times()
    print(json.dumps([seconds, after.user + after.system - before.user - before.system]), flush=True)


@contextmanager
def beside(folder: Path) -> Iterator[Path]:
    """The group whose field/0 gets levels; without them afterwards."""
    group = folder / "some.zarr"
    documents = {path: path.read_bytes() for path in (group / "zarr.json", group / "field/zarr.json")}
    yield group
    for path in (group / "field").iterdir():
        if path.is_dir() and path.name != "0":
            shutil.rmtree(path)
    for path, content in documents.items():
        path.write_bytes(content)


@contextmanager
def ours(folder: Path) -> Iterator[Callable[[], object]]:
    """`seismill pyramid some.zarr --array field/0`."""
    from flows.stages import as_stage, load_verb
    from tasks.parameters import Levels

    with beside(folder) as group:
        yield lambda: as_stage(load_verb("pyramid"))(str(group), Levels(levels=LEVELS), array="field/0")


@contextmanager
def decoding(folder: Path) -> Iterator[Callable[[], object]]:
    """Every chunk read and decoded into the same memory, which is the least that anything costs."""
    from numcodecs import Zstd

    mine, codec = threading.local(), Zstd()

    def one(path: Path) -> None:
        if not hasattr(mine, "room"):
            mine.room = np.empty((CHUNK,) * 3, np.uint16)
        codec.decode(path.read_bytes(), mine.room)

    def work() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(one, (folder / "some.zarr/field/0/c").glob("*/*/*")))

    yield work


@contextmanager
def ours_of_a_volume(folder: Path) -> Iterator[Callable[[], object]]:
    """`seismill pyramid volume.zarr`."""
    from flows.stages import as_stage, load_verb
    from tasks.parameters import Levels

    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(folder / "volume.zarr", Path(name, "volume.zarr"), copy_function=os.link)
        yield lambda: as_stage(load_verb("pyramid"))(f"{name}/volume.zarr", Levels(levels=LEVELS))


@contextmanager
def pyramid_sampler(folder: Path) -> Iterator[Callable[[], object]]:
    """Its Downsampler; chunks in Dask's threads, as it does by default."""
    import zarr
    from pyramid_sampler import Downsampler

    with beside(folder) as group:
        size = zarr.open_group(group, mode="r")["field/0"].shape
        sampler = Downsampler(str(group), (2, 2, 2), size, (CHUNK,) * 3)
        yield lambda: sampler.downsample(LEVELS + 1, "field")


@contextmanager
def tensorstore(folder: Path) -> Iterator[Callable[[], object]]:
    """Its `downsample` of each level into an array like it."""
    import tensorstore as ts

    def make() -> None:
        def driver(level: int) -> dict[str, object]:
            return {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{group}/field/{level}"}}

        for level in range(1, LEVELS + 1):
            above = ts.open(driver(level - 1)).result()
            coarse = ts.downsample(above, [2, 2, 2], method="mean")
            zstd = {"name": "zstd", "configuration": {"level": 0}}
            grid = {"name": "regular", "configuration": {"chunk_shape": [CHUNK] * 3}}
            metadata = {
                "shape": coarse.shape,
                "data_type": "uint16",
                "chunk_grid": grid,
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, zstd],
            }
            made = ts.open(driver(level) | {"metadata": metadata, "create": True}).result()
            # All at once it would hold all of it; slabs that are a chunk deep keep its threads busy too.
            for start in range(0, coarse.shape[0], CHUNK):
                slab = slice(start, min(start + CHUNK, coarse.shape[0]))
                made[slab].write(coarse[slab]).result()

    with beside(folder) as group:
        yield make


@contextmanager
def ngff_zarr(folder: Path) -> Iterator[Callable[[], object]]:
    """Its means over cells (dask_bin_shrink), streamed by Dask."""
    import dask.array
    from ngff_zarr import Methods, to_multiscales, to_ngff_image, to_ngff_zarr

    with tempfile.TemporaryDirectory() as name:

        def make() -> None:
            values = dask.array.from_zarr(str(folder / "some.zarr"), component="field/0")
            image = to_ngff_image(values, dims=("z", "y", "x"))
            factors = [2**level for level in range(1, LEVELS + 1)]
            made = to_multiscales(image, factors, method=Methods.DASK_BIN_SHRINK, chunks=CHUNK)
            to_ngff_zarr(f"{name}/made.zarr", made, version="0.5")

        yield make


@contextmanager
def ome_zarr(folder: Path) -> Iterator[Callable[[], object]]:
    """Its means over cells (local mean), in Dask's threads."""
    import dask.array
    import zarr
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    with tempfile.TemporaryDirectory() as name:

        def make() -> None:
            values = dask.array.from_zarr(str(folder / "some.zarr"), component="field/0")
            group = zarr.open_group(f"{name}/made.zarr", mode="w", zarr_format=3)
            factors = tuple({axis: 2**level for axis in "zyx"} for level in range(1, LEVELS + 1))
            write_image(
                values,
                group,
                scale_factors=list(factors),
                method=Methods.LOCAL_MEAN,
                axes="zyx",
                storage_options={"chunks": (CHUNK,) * 3},
            )

        yield make


@contextmanager
def stack_to_chunk(folder: Path) -> Iterator[Callable[[], object]]:
    """Its `add_downsample_level` with a process for each core."""
    import dask.array
    import zarr
    from pydantic_zarr.v3 import ArraySpec
    from stack_to_chunk import MultiScaleGroup

    voxels = np.load(folder / "voxels.npy", mmap_mode="r")
    # Its slices lie across the last axis.
    values = dask.array.from_array(voxels.transpose(2, 1, 0), chunks=(*voxels.shape[:2], 1))
    like = zarr.create_array({}, shape=values.shape, chunks=(CHUNK,) * 3, dtype="uint16")
    with tempfile.TemporaryDirectory() as name:
        group = MultiScaleGroup(
            Path(name, "made.zarr"),
            name="made",
            voxel_size=(1, 1, 1),
            spatial_unit="micrometer",
            array_spec=ArraySpec.from_zarr(like),
        )
        cores = os.cpu_count() or 1
        group.add_full_res_data(values, n_processes=cores)

        def make() -> None:
            for level in range(1, LEVELS + 1):
                group.add_downsample_level(level, n_processes=cores)

        yield make


JOBS = {
    "ours": ours,
    "decoding": decoding,
    "ours-volume": ours_of_a_volume,
    "pyramid-sampler": pyramid_sampler,
    "tensorstore": tensorstore,
    "ngff-zarr": ngff_zarr,
    "ome-zarr": ome_zarr,
    "stack-to-chunk": stack_to_chunk,
}


def print_table(
    costs: dict[str, list[tuple[float, float, float]]], data: str, size: int, repeats: int
) -> None:
    """One line per tool: medians, and how many times our time and memory they are."""
    print(
        f"\n{LEVELS} levels of {size}^3 uint16 ({data}), {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end, medians of {repeats}, {time.strftime('%Y-%m-%d %H:%M')}\n"
    )
    medians = {
        tool: [statistics.median(column) for column in zip(*runs, strict=True)]
        for tool, runs in costs.items()
    }
    seconds, used, peak = medians["ours"]
    heads = ("wall s", "times", "CPU s", "times", "peak MB", "times")
    print(f"{'':16}{''.join(f'{head:>9}' for head in heads)}   wanted of wall time")
    for tool, (wall, cpu, memory) in medians.items():
        wanted = WANTED.get(tool, 0)
        verdict = f"   {wanted:g} times: {'met' if wall / seconds >= wanted else 'missed'}" if wanted else ""
        if tool.startswith("ours"):
            verdict = f"   under {WANTED_BYTES / 1e6:.0f} MB: {'met' if memory < WANTED_BYTES else 'missed'}"
        print(
            f"{tool:16}{wall:9.2f}{wall / seconds:9.2f}{cpu:9.2f}{cpu / used:9.2f}"
            f"{memory / 1e6:9.0f}{memory / peak:9.2f}{verdict}"
        )


if __name__ == "__main__":
    main()
