"""Publishing is killed at random moments: readers find nothing or whole arrays, the next run ends as if undisturbed.

SEISMILL_CAMPAIGN says how many moments, of each kind in turn: the run's process is killed or asked to stop, a Dask
worker under it is killed, or its Dask scheduler. SEISMILL_SEED repeats a campaign. The cube is small
(SEISMILL_CUBE=160x160x1000 has 100 MB) and its blocks are many, and processes start warm: what matters is the number
of moments.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import LocalCluster

from flows.compute import open_compute
from tasks.parameters import Run
from tasks.volume.blocks import run_window
from tasks.volume.outcomes import Resumable
from tests.support.command import SEISMILL
from tests.support.servers import free_port
from tests.support.survey import make_survey
from tests.support.volumes import STAMP, blocks_noted, differences, tree
from tests.support.warm import Process, dask_scheduler, dask_worker, run_command

CAMPAIGN = int(os.environ.get("SEISMILL_CAMPAIGN", "10"))
SEED = int(os.environ.get("SEISMILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
SHAPE = tuple(int(n) for n in os.environ.get("SEISMILL_CUBE", "64x50x801").split("x"))
STAGES = {"ingest_segy": "ingest", "rechunk": "copies", "pyramid": "pyramid"}
NOTHING_THERE = (FileNotFoundError, KeyError)
IN_FLIGHT = 2  # blocks at once, on threads and on the cluster here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "survey.sgy"
    il, xl, n = SHAPE
    return make_survey(
        path, inlines=range(il), crosslines=range(xl), n_samples=n, drop=77, set_words={(5, 5): 1}
    ).path


def command(source: Path, volume: Path, *more: str) -> list[str]:
    # Small chunks and blocks, so that there is something to be interrupted between. Pictures take longer than all
    # else, and no reader of the volume asks for them.
    return [
        *("publish", str(source), str(volume), "--no-flow", "--json", "--created-on", STAMP, "--no-report"),
        *(
            "--chunks",
            "8,16,128",
            "--levels",
            "2",
            "--until",
            "1",
            "--presets",
            "fast_time",
            "--copy",
            "slices=4,64,128",
        ),
        *("--memory", "100 MB", *more),
    ]


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts processes that end with the test."""
    running: list[Process] = []

    def begin(target: Callable[..., None], *arguments: Any) -> Process:
        folder = tmp_path / f"process {len(running)}"
        folder.mkdir()
        running.append(Process(folder, target, *arguments))
        return running[-1]

    yield begin
    for process in running:
        process.kill()


def publish(start: Start, source: Path, volume: Path, *more: str) -> dict[str, Any]:
    """The summary of a run that ends well."""
    process = start(run_command, command(source, volume, *more))
    assert process.wait() == 0, process.errors
    return process.summary


def start_to_write(start: Start, source: Path, volume: Path, *more: str) -> Process:
    """A run that holds the volume's lock."""
    epoch = len(list(volume.glob(".seismill/lock/*"))) + 1
    process = start(run_command, command(source, volume, *more))
    while not (volume / f".seismill/lock/{epoch:08d}").exists():
        assert process.ended() is None, process.errors
        time.sleep(0.002)
    return process


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float, dict[str, Any]]:
    """A volume, the seconds that making it again would take in a process that is warm, and the summary."""
    volume = tmp_path_factory.mktemp("undisturbed") / "survey.zarr"
    cold = [*SEISMILL, *command(source, volume)]
    ended = subprocess.run(cold, stdout=subprocess.PIPE, check=True)
    again = Process(volume.parent, run_command, command(source, volume.with_name("again.zarr")))
    assert again.wait() == 0, again.errors
    seconds = again.summary["seconds"]
    again.kill()
    shutil.rmtree(volume.with_name("again.zarr"))
    return volume, seconds, json.loads(ended.stdout.splitlines()[-1])


def arrays_of(volume: Path) -> dict[str, zarr.Array]:
    """The arrays of a whole volume by path."""
    group = zarr.open_group(volume, mode="r", use_consolidated=True)
    return {name: member for name, member in group.members(max_depth=None) if isinstance(member, zarr.Array)}


class Reader:
    """Opens arrays in all ways while they come into being, and compares what it finds with the undisturbed ones."""

    def __init__(self, volume: Path, twins: dict[str, zarr.Array], seed: int) -> None:
        self.volume, self.twins, self.drawn = volume, twins, random.Random(seed)
        self.looked, self.found, self.wrong = 0, 0, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Reader":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.ended.wait(0.02):  # and leaves the processors to the run
            self.look()

    def look(self) -> None:
        """Open one array in one way and compare a region, or all of a small one."""
        path = self.drawn.choice(sorted(self.twins))
        self.looked += 1
        try:
            array = self._open(path)
        except NOTHING_THERE:
            return
        self.found += 1
        twin = self.twins[path]
        region = tuple(
            slice(start := self.drawn.randrange(n), start + self.drawn.randrange(1, 40)) for n in twin.shape
        )
        try:
            mine, wanted = np.asarray(array[region]), np.asarray(twin[region])
            same = mine.dtype == wanted.dtype and mine.tobytes() == wanted.tobytes()
        except Exception as error:
            self.wrong.append(f"{path} {region}: {type(error).__name__}: {error}")
            return
        if not same or dict(array.attrs) != dict(twin.attrs):
            self.wrong.append(f"{path} {region} differs")

    def _open(self, path: str) -> zarr.Array:
        how = self.drawn.choice(["direct", "group", "consolidated"])
        if how == "direct":
            return zarr.open_array(self.volume / path, mode="r")
        group = zarr.open_group(self.volume, mode="r", use_consolidated=how == "consolidated")
        array = group[path]
        assert isinstance(array, zarr.Array)
        return array


def check_whole_or_absent(volume: Path, whole: dict[str, bytes]) -> list[str]:
    """Arrays that exist; each of them, and whatever the root names, has every file of the undisturbed volume."""
    now = tree(volume)
    shown = [name.removesuffix("/zarr.json") for name in now if name.endswith("/zarr.json")]
    if "zarr.json" in now:
        named = json.loads(now["zarr.json"])["consolidated_metadata"]["metadata"]
        assert set(named) <= set(shown)
    for path in shown:
        wanted = {
            name: data
            for name, data in whole.items()
            if name.startswith(f"{path}/c/") or name == f"{path}/zarr.json"
        }
        assert {name: now.get(name) for name in wanted} == wanted, f"{path} is not whole"
        extra = [name for name in now if name.startswith(f"{path}/c/") and name not in wanted]
        assert not extra, f"{path} has {extra}"
    return shown


def check_rerun(volume: Path, noted: dict[str, int], summary: dict[str, Any], whole: dict[str, Any]) -> None:
    """No block that the ledger had was done again."""
    done_before = {name: noted.get(verb, 0) for verb, name in STAGES.items()}
    totals = {
        stage["stage"]: stage["blocks_done"] for stage in whole["stages"] if stage["stage"] in done_before
    }
    for stage in summary["stages"]:
        name = stage["stage"]
        if name in totals and stage["blocks_done"] + stage["blocks_resumed"]:
            assert stage["blocks_resumed"] == done_before[name], name
            assert stage["blocks_done"] == totals[name] - done_before[name], name


def check_what_is_lost(volume: Path) -> int:
    """How many objects of arrays that do not exist yet no ledger notes: of blocks in flight, and of one batch.

    Those stored before the last batch was written are of no more blocks than were in flight then.
    """
    ledgers = list(volume.glob(".seismill/runs/*/ledger/*"))
    records = [json.loads(line) for file in ledgers for line in file.read_text().splitlines()]
    noted = {stored["key"] for record in records for stored in record["objects"]}
    begun = {
        name: file.stat().st_mtime_ns
        for file in volume.rglob("c/**/*")
        if file.is_file()
        and (name := str(file.relative_to(volume))) not in noted
        and not (volume / name.partition("/c/")[0] / "zarr.json").exists()
    }
    if records:
        last = max(file.stat().st_mtime_ns for file in ledgers)
        most = max(len(record["objects"]) for record in records)
        assert sum(stored < last for stored in begun.values()) <= IN_FLIGHT * most
    return len(begun)


KINDS = (
    *("killed", "asked to stop", "killed", "worker killed", "scheduler killed"),
    *("killed", "asked to stop", "killed", "worker killed", "killed"),
)


@pytest.mark.parametrize("round_", range(CAMPAIGN))
def test_a_kill_at_any_moment_leaves_whole_arrays_and_the_next_run_ends_with_the_same_bytes(
    source: Path, undisturbed: tuple[Path, float, dict[str, Any]], tmp_path: Path, start: Start, round_: int
) -> None:
    twin, seconds, summary = undisturbed
    kind, drawn = KINDS[round_ % len(KINDS)], random.Random(SEED + round_)
    print(f"SEISMILL_SEED={SEED} round {round_}: {kind}")
    volume, whole = tmp_path / "survey.zarr", tree(twin)
    processes, more = {}, []
    if "er killed" in kind:
        address = f"tcp://127.0.0.1:{free_port()}"
        processes["scheduler"] = start(dask_scheduler, address)
        for name in ("worker", "other"):
            processes[name] = start(dask_worker, address, str(tmp_path / name))
        more = ["--dask", address]
    with Reader(volume, arrays_of(twin), SEED + round_) as reader:
        process = start_to_write(start, source, volume, *more)
        # A cluster of one machine takes longer.
        moment = drawn.uniform(0, (2.2 if processes else 1.1) * seconds)
        time.sleep(moment)
        victim = processes[kind.partition(" ")[0]] if processes else process
        victim.send(signal.SIGTERM if kind == "asked to stop" else signal.SIGKILL)
        victim.wait()
        if kind == "worker killed":
            processes["next"] = start(dask_worker, address, str(tmp_path / "next"))
        code = process.wait(300)
        assert code in {"killed": (-9, 0), "worker killed": (0,)}.get(kind, (75, 0)), process.errors
        assert "Traceback" not in process.errors, process.errors
        for one in processes.values():
            one.kill()
        shown = check_whole_or_absent(volume, whole)
        noted, lost = blocks_noted(volume), check_what_is_lost(volume)
        rerun = publish(start, source, volume)
    print(
        f"{kind} after {moment:.2f} s, ended with {code}: {len(shown)} arrays and groups shown, blocks {dict(noted)}, "
        f"{lost} objects lost, {reader.looked} looks, {reader.found} arrays found"
    )
    assert reader.wrong == []
    check_rerun(volume, noted, rerun, summary)
    assert differences(tree(volume), whole) == []
    assert not list((volume / ".seismill/tmp").glob("*")), "nothing half-written is left"
    shutil.rmtree(volume)


def test_kills_one_after_the_other_end_in_the_same_bytes_too(
    source: Path, undisturbed: tuple[Path, float, dict[str, Any]], tmp_path: Path, start: Start
) -> None:
    twin, seconds, _ = undisturbed
    drawn = random.Random(SEED)
    print(f"SEISMILL_SEED={SEED}")
    volume = tmp_path / "survey.zarr"
    whole = tree(twin)
    kills = 0
    with Reader(volume, arrays_of(twin), SEED) as reader:
        while kills < CAMPAIGN:
            process = start_to_write(start, source, volume)
            time.sleep(drawn.uniform(0, seconds / 3))
            process.kill()
            if tree(volume).get("zarr.json") == whole["zarr.json"]:
                break
            kills += 1
            check_whole_or_absent(volume, whole)
        publish(start, source, volume)
    print(f"{kills} kills one after the other")
    assert reader.wrong == []
    assert differences(tree(volume), whole) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_drains_and_says_how_to_go_on(
    source: Path,
    undisturbed: tuple[Path, float, dict[str, Any]],
    tmp_path: Path,
    start: Start,
    number: signal.Signals,
) -> None:
    twin, _, summary = undisturbed
    volume = tmp_path / "survey.zarr"
    process = start_to_write(start, source, volume)
    while not blocks_noted(volume):
        time.sleep(0.002)
    process.send(number)
    assert process.wait(30) == 75
    assert "run the same command again" in process.errors
    assert "Traceback" not in process.errors
    noted = blocks_noted(volume)
    lock = json.loads((volume / ".seismill/lock/00000001").read_text())
    assert lock["state"] == "released"
    rerun = publish(start, source, volume)
    check_rerun(volume, noted, rerun, summary)
    assert differences(tree(volume), tree(twin)) == []


def test_of_two_runs_at_once_one_writes_and_the_other_stops_or_finds_it_done(
    source: Path, undisturbed: tuple[Path, float, dict[str, Any]], tmp_path: Path, start: Start
) -> None:
    volume = tmp_path / "survey.zarr"
    first = start_to_write(start, source, volume)
    first.send(signal.SIGSTOP)  # so that it surely still runs when the others come
    refused = start(run_command, command(source, volume, "--lock-wait", "0"))
    assert refused.wait() == 75
    assert f"process {first.pid} is writing {volume}; run this again" in refused.errors
    threading.Timer(3, lambda: first.send(signal.SIGCONT)).start()
    waiting = publish(start, source, volume, "--lock-wait", "600")
    assert first.wait(600) == 0
    assert waiting["blocks_done"] < undisturbed[2]["blocks_done"]
    assert differences(tree(volume), tree(undisturbed[0])) == []


def test_a_block_over_which_every_worker_ends_ends_the_run_resumable() -> None:
    # Sometimes Dask starts no worker again after the second has ended, and counts no third.
    sentence = r"several workers .* ended over the same block .* more memory|reported no worker for 60 s"
    with (
        pytest.raises(Resumable, match=sentence),
        open_compute(Run(dask="local:1"), workerless_seconds=60.0) as compute,
    ):
        run_window(compute, os._exit, [(1,)], lambda result: None)


def test_a_cluster_that_does_not_close_in_order_changes_no_outcome(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    close = LocalCluster.close

    def fails(cluster: LocalCluster, *more: Any) -> None:
        close(cluster, *more)
        raise AssertionError("can only join a started process")

    monkeypatch.setattr(LocalCluster, "close", fails)
    with pytest.raises(FileNotFoundError, match="missing"), open_compute(Run(dask="local:1")) as compute:
        run_window(compute, os.stat, [(tmp_path / "missing",)], lambda result: None)
    assert "Dask did not close in order: AssertionError: can only join a started process" in caplog.text


@pytest.mark.parametrize("silent", [False, True])
def test_a_run_whose_workers_have_all_gone_or_whose_scheduler_is_silent_ends_resumable(
    start: Start, tmp_path: Path, silent: bool
) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = start(dask_scheduler, address)
    worker = start(dask_worker, address, str(tmp_path / "worker"))
    begun = tmp_path / "begun"

    def until_lost() -> None:
        while not begun.exists():
            time.sleep(0.01)
        if silent:
            scheduler.send(signal.SIGSTOP)
        else:
            worker.kill()

    loser = threading.Thread(target=until_lost)
    loser.start()
    with pytest.raises(Resumable, match=r"reported no worker for 3 s; run the same command again to go on"):
        never_ending(address, begun, workerless_seconds=3.0)
    loser.join()


def test_a_result_that_cannot_be_fetched_ends_the_run_and_what_a_block_raised_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def refused(*args: Any, **kwargs: Any) -> None:
        raise OSError("connection reset")

    with open_compute(Run(dask="local:1")) as compute, pytest.raises(FileNotFoundError, match="missing"):
        run_window(compute, os.stat, [(tmp_path / "missing",)], lambda result: None)
    monkeypatch.setattr("distributed.Client._gather", refused)
    with (
        pytest.raises(Resumable, match=r"the Dask scheduler at tcp://127\.0\.0\.1:\d+ was lost"),
        open_compute(Run(dask="local:1")) as compute,
    ):
        run_window(compute, abs, [(-1,)], lambda result: None)


def test_a_block_for_a_scheduler_that_was_lost_between_blocks_is_not_awaited(
    start: Start, tmp_path: Path
) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = start(dask_scheduler, address)
    start(dask_worker, address, str(tmp_path / "worker"))

    def in_two_parts() -> None:
        with open_compute(Run(dask=address)) as compute:
            run_window(compute, abs, [(-1,), (-2,)], results.append)
            scheduler.kill()
            run_window(compute, abs, [(-3,)], results.append)

    results: list[int] = []
    with pytest.raises(
        Resumable, match=f"the Dask scheduler at {address} was lost; run the same command again"
    ):
        in_two_parts()
    assert sorted(results) == [1, 2]


def never_ending(address: str, begun: Path, **seconds: float) -> None:
    """Run a block on a cluster that says when it has begun, and does not end."""

    def block(path: str) -> None:
        Path(path).touch()
        time.sleep(3600)

    with open_compute(Run(dask=address), **seconds) as compute:
        run_window(compute, block, [(str(begun),)], lambda result: None)


@pytest.mark.parametrize("survivors", [1, 0])
def test_a_worker_that_ends_while_it_is_asked_for_its_memory_is_left_out(
    monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    def budget(text: str, dask_worker: Any) -> int:
        if int(dask_worker.name) >= survivors:
            os._exit(1)
        return 1 << 30

    monkeypatch.setattr("flows.compute._worker_budget", budget)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        run = Run(dask=cluster.scheduler_address)
        if survivors:
            with open_compute(run) as compute:
                assert compute.memory_bytes == 1 << 30
        else:
            with pytest.raises(Resumable, match="every Dask worker ended"), open_compute(run):
                pass
