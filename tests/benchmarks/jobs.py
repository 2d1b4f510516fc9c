"""The jobs that are compared: each is made ready, said to be so, and timed when the word is given.

Run by against_multidimio.py, ours under this project's Python and theirs under multidimio's, so only the standard
library is imported on top.
"""

import contextlib
import gc
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Job = Callable[[], object]
Readied = contextlib.AbstractContextManager[Job]


def main(side: str, job: str, survey: str, tiny: str, target: str, volume: str) -> None:
    """Do the job on the tiny survey, then say so, wait for the word, and time it on the survey.

    `target` is what the job writes; it is removed afterwards where another volume was there to go on from.
    """
    ready = ours if side == "ours" else theirs
    practice = Path(target + ".practice")
    practice.mkdir()
    with ready("ingest", tiny, str(practice / "volume"), "") as ingest:
        ingest()
    if job != "ingest":
        with ready(job, tiny, str(practice / "target"), str(practice / "volume")) as practise:
            practise()
    shutil.rmtree(practice)
    read_once(survey)
    with ready(job, survey, target, volume) as work:
        gc.collect()
        os.sync()
        forget_peak()
        print("ready", flush=True)
        sys.stdin.readline()
        before, began = os.times(), time.perf_counter()
        work()
        seconds, after = time.perf_counter() - began, os.times()
        peak = peak_bytes()
    after_close = os.times()  # the time of processes that a job started counts when they have ended
    figures = {
        "wall_seconds": seconds,
        "own_cpu_seconds": after.user + after.system - before.user - before.system,
        "children_cpu_seconds": after_close.children_user
        + after_close.children_system
        - before.children_user
        - before.children_system,
        "peak_bytes": peak,
    }
    if volume != "None":
        remove(target)
    print(json.dumps(figures), flush=True)


def read_once(path: str) -> None:
    """Have a file in the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def forget_peak() -> None:
    """Have the high-water mark of this process' memory start from what it holds now (Linux, proc(5))."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The high-water mark of this process' memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def remove(path: str) -> None:
    """Remove a file or a folder."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def ours(job: str, survey: str, target: str, volume: str) -> Iterator[Job]:
    """A job of this project, called as the command line calls it."""
    from flows.stages import as_stage, load_verb
    from tasks.parameters import Copies, Index, Levels, Master, Run

    def stage(name: str) -> Callable[..., object]:
        return as_stage(load_verb(name))

    if job == "ingest":
        yield lambda: stage("ingest_segy")(survey, target)
    elif job == "ingest_zstd5":
        yield lambda: stage("ingest_segy")(survey, target, master=Master(codec="zstd-5", chunks=[128] * 3))
    elif job == "copies":
        shutil.copytree(volume, target)
        yield lambda: stage("rechunk")(target)
    elif job == "export":
        yield lambda: stage("export_segy")(volume, target)
    elif job.startswith("publish"):
        steps = ["copies", "pyramid", "report", "proof"]
        if job == "publish_without_report":
            steps.remove("report")
        if job == "publish_flow":
            from flows.api import connect

            connect()
            from flows.publish import publish

            yield lambda: publish(survey, target)
        else:
            from flows.chains import PUBLISH_STAGES, publish_chain

            yield lambda: publish_chain(
                {name: stage(name) for name in PUBLISH_STAGES},
                source=survey,
                volume=target,
                index=Index(),
                master=Master(),
                copies=Copies(),
                pyramid=Levels(),
                steps=steps,
                run=Run(),
            )
    else:
        raise ValueError(f"no job {job}")


@contextlib.contextmanager
def theirs(job: str, survey: str, target: str, volume: str) -> Iterator[Job]:
    """A job of multidimio, called as its documentation says."""
    import mdio
    from mdio.builder.schemas.v1.stats import SummaryStatistics
    from mdio.builder.template_registry import get_template
    from mdio.optimize import get_default_zfp
    from segy.standards import get_segy_standard

    if mdio.__version__ != "1.1.3":
        raise SystemExit(f"multidimio is {mdio.__version__}, but 1.1.3 is compared with")
    if job == "ingest":
        yield lambda: mdio.segy_to_mdio(
            get_segy_standard(1.0), get_template("PostStack3DTime"), survey, target, overwrite=True
        )
        return
    if job == "export":
        yield lambda: mdio.mdio_to_segy(get_segy_standard(1.0), volume, target)
        return
    shutil.copytree(volume, target)
    dataset = mdio.open_mdio(target)
    extents = dataset["amplitude"].shape

    def clipped(*chunks: int) -> tuple[int, ...]:
        # As ours are stored: a chunk wider than its axis is padding, for which ZFP takes its time.
        return tuple(min(chunk, -(-extent // 4) * 4) for chunk, extent in zip(chunks, extents, strict=True))

    shapes = {"inline": (4, 512, 512), "crossline": (512, 4, 512), "time": (512, 512, 4)}
    if job != "copies":
        shapes = {name: clipped(*chunks) for name, chunks in shapes.items()}
    settings = mdio.OptimizedAccessPatternConfig(
        optimize_dimensions=shapes,
        processing_chunks={"inline": 512, "crossline": 512, "time": 512},
        compressor=get_default_zfp(
            SummaryStatistics.model_validate_json(dataset["amplitude"].attrs["statsV1"])
        ),
    )
    cores = os.cpu_count() or 1
    if job in ("copies", "copies_in_processes"):
        yield lambda: mdio.optimize_access_patterns(dataset, settings, n_workers=cores)
    elif job == "copies_in_threads":
        from distributed import Client

        with Client(processes=False, n_workers=1, threads_per_worker=cores, dashboard_address=None):
            yield lambda: mdio.optimize_access_patterns(dataset, settings)
    else:
        raise ValueError(f"no job {job}")


if __name__ == "__main__":
    main(*sys.argv[1:])
