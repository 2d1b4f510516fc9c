"""The same volume from threads, processes and a Dask cluster, and never more memory than was promised."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster

from flows.stages import as_stage, load_verb
from tasks.parameters import Copies, Copy, Levels, Master, Run
from tests.support.command import SEISMILL
from tests.support.survey import make_survey
from tests.support.volumes import STAMP, differences, tree

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]

STAGES = ("ingest_segy", "rechunk", "pyramid", "prove", "export_segy")


def whole_line(source: Path, volume: Path, dask: str) -> int:
    """Everything that publish does but the pictures, and the export; gives the number of blocks."""
    run = Run(created_on=STAMP, dask=dask)
    stages: dict[str, Any] = {name: as_stage(load_verb(name)) for name in STAGES}
    copies = Copies(presets=["fast_time"], more=[Copy(name="slices", chunks=[4, 64, 128])])
    summaries = [
        stages["ingest_segy"](str(source), str(volume), master=Master(chunks=[16, 16, 64]), run=run),
        stages["rechunk"](str(volume), copies=copies, run=run),
        stages["pyramid"](str(volume), levels=Levels(levels=2, until=1), run=run),
        stages["prove"](str(volume), run=run),
        stages["export_segy"](str(volume), f"{volume}.sgy", run=run),
    ]
    return sum(summary["blocks_done"] for summary in summaries)


@pytest.mark.parametrize("sorting", ["inline", "shuffled"])
def test_a_dask_cluster_and_processes_make_the_same_bytes_as_threads(tmp_path: Path, sorting: str) -> None:
    survey = make_survey(
        tmp_path / "a.sgy",
        inlines=range(70),
        crosslines=range(45),
        n_samples=1001,
        drop=100,
        sorting=sorting,
        set_words={(5, 5): 1},
    )
    blocks = whole_line(survey.path, tmp_path / "threads.zarr", "threads")
    assert blocks > 8
    wanted = tree(tmp_path / "threads.zarr")
    with LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster:
        assert whole_line(survey.path, tmp_path / "cluster.zarr", cluster.scheduler_address) == blocks
    assert whole_line(survey.path, tmp_path / "local.zarr", "local:2") == blocks
    for name in ("cluster", "local"):
        assert differences(tree(tmp_path / f"{name}.zarr"), wanted) == []
        assert (tmp_path / f"{name}.zarr.sgy").read_bytes() == survey.content


def peak_bytes(*words: str) -> int:
    """The most memory that a command of ours held at once."""
    command = [*SEISMILL, *words]
    # A local cluster, of another test, leaves in this environment how its workers are to keep what they free.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    peak = 0
    while process.poll() is None:
        # Before it runs the command, a new process has the memory of the one that started it, also for rusage.
        try:
            begun = words[0] in Path(f"/proc/{process.pid}/cmdline").read_text()
            status = Path(f"/proc/{process.pid}/status").read_text() if begun else ""
        except OSError:
            continue
        peak = max([peak, *(int(line.split()[1]) * 1024 for line in status.splitlines() if "VmHWM" in line)])
        time.sleep(0.005)
    assert process.stderr is not None
    printed = process.stderr.read().decode()
    process.stderr.close()
    assert process.returncode == 0, printed
    return peak


def test_no_stage_holds_more_memory_than_it_was_given(tmp_path: Path) -> None:
    shapes = {"small": (9, 7, 101), "large": (345, 188, 1501)}
    peaks: dict[str, dict[str, int]] = {}
    for name, (il, xl, n) in shapes.items():
        source, volume = tmp_path / f"{name}.sgy", tmp_path / f"{name}.zarr"
        make_survey(source, inlines=range(il), crosslines=range(xl), n_samples=n)
        memory = ["--memory", "400 MB"]
        peaks[name] = {
            "ingest": peak_bytes("ingest-segy", str(source), str(volume), *memory),
            "copies": peak_bytes("rechunk", str(volume), *memory),
            "pyramid": peak_bytes("pyramid", str(volume), *memory),
            "proof": peak_bytes("prove", str(volume), *memory),
            "export": peak_bytes("export-segy", str(volume), str(tmp_path / f"{name}.out"), *memory),
            "verify": peak_bytes("verify", str(volume), "--errors", *memory),
        }
        os.unlink(tmp_path / f"{name}.out")
    more = {stage: peaks["large"][stage] - peaks["small"][stage] for stage in peaks["large"]}
    print(
        {
            stage: f"{count / 1e6:.0f} MB above the {peaks['small'][stage] / 1e6:.0f} MB of a tiny volume"
            for stage, count in more.items()
        }
    )
    assert max(more.values()) <= 400_000_000


def test_a_stage_that_does_not_fit_names_what_does(tmp_path: Path) -> None:
    survey = make_survey(tmp_path / "a.sgy", inlines=range(100), crosslines=range(90), n_samples=1501)
    command = [*SEISMILL, "ingest-segy", str(survey.path)]
    volume = tmp_path / "a.zarr"
    refused = subprocess.run([*command, str(volume), "--memory", "20 MB"], capture_output=True, check=False)
    assert refused.returncode == 3
    sentence = refused.stderr.decode().strip().splitlines()[-1]
    assert not volume.exists()
    chunks = sentence.rpartition("chunks of (")[2].partition(")")[0].replace(" ", "")
    subprocess.run([*command, str(volume), "--memory", "20 MB", "--chunks", chunks], check=True)
    amount = sentence.rpartition("give it ")[2].partition(" MB")[0]
    subprocess.run([*command, str(tmp_path / "b.zarr"), "--memory", f"{amount} MB"], check=True)
