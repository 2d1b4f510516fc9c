"""Stages, chains, computes and the sentences that people read; no test here needs a Prefect server.

Covers flows/allowed.py, flows/artifacts.py, flows/chains.py, flows/prefect_flows.py, flows/progress.py,
flows/publish.py, flows/stages.py, flows/summary.py, flows/verbs.py.
"""

import inspect
import json
import os
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from flows.allowed import refuse_foreign_compute, refuse_foreign_stores, refuse_outside
from flows.chains import ALL_STEPS, DEMO_STAGES, PUBLISH_STAGES, demo_chain, publish_chain
from flows.compute import kept_clients, open_compute
from flows.progress import sent_apart, shown_by
from flows.stages import as_stage, load_verb
from flows.summary import (
    combined,
    duration,
    filled_columns,
    headline,
    progress_sentence,
    short_name,
    size,
    stage_rows,
    table_rows,
    totals,
)
from tasks.parameters import ArrayPath, Copies, Index, Levels, Master, Run, StorageOptions
from tasks.volume.blocks import Compute, Progress, run_window
from tasks.volume.outcomes import InputRefused, IntegrityFailure, Resumable, SettingRefused
from tests.support.servers import free_port
from tests.support.warm import Process, dask_scheduler

# Where blocks run


def test_threads_run_blocks_in_this_process_within_the_memory_given():
    with open_compute(Run(memory="200 MB")) as compute:
        assert compute.executor.submit(os.getpid).result() == os.getpid()
        assert (compute.workers, compute.memory_bytes) == (2, 200_000_000)
    with pytest.raises(RuntimeError, match="after shutdown"):
        compute.executor.submit(os.getpid)


def test_an_interrupted_stage_starts_no_further_block():
    with pytest.raises(KeyboardInterrupt), open_compute(Run()) as compute:
        raise KeyboardInterrupt
    assert compute.stopping.is_set()


def process_and_malloc(number: int) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("MALLOC_TRIM_THRESHOLD_")


@pytest.mark.slow
def test_local_processes_share_the_memory_given_keep_what_they_freed_and_serve_the_next_stage():
    found = set()
    with kept_clients():
        for _ in ("ingest", "rechunk"):
            with open_compute(Run(dask="local:2", memory="200 MB")) as compute:
                found |= {compute.executor.submit(process_and_malloc, number).result() for number in range(6)}
                assert (compute.workers, compute.memory_bytes) == (2, 100_000_000)
    pids = {pid for pid, _ in found}
    assert os.getpid() not in pids
    assert len(pids) <= 2, "processes of one stage serve the next"
    assert {trim for _, trim in found} == {str(1 << 30)}  # the nanny's own 64 KiB halves the codecs' speed


def test_blocks_run_on_the_operators_cluster(monkeypatch):
    from distributed import LocalCluster, default_client

    with LocalCluster(
        n_workers=1, threads_per_worker=3, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as cluster:
        monkeypatch.setenv("SEISMILL_DASK", cluster.scheduler_address)
        for dask in ("cluster", cluster.scheduler_address):
            with open_compute(Run(dask=dask, memory="90 MB")) as compute:
                assert compute.executor.submit(sum, (1, 2)).result() == 3
                assert (compute.workers, compute.memory_bytes) == (3, 90_000_000)
        with kept_clients():
            for _ in ("ingest", "rechunk"):
                with open_compute(Run(dask="cluster", memory="90 MB")) as compute:
                    assert compute.executor.submit(sum, (1, 2)).result() == 3
                default_client().close()  # as one that lost its scheduler


@pytest.mark.parametrize(
    ("dask", "sentence"),
    [
        ("cluster", "set SEISMILL_DASK to its scheduler's address"),
        ("local:0", "wanted at least one process"),
    ],
)
def test_a_compute_that_there_cannot_be_is_refused(monkeypatch, dask, sentence):
    monkeypatch.delenv("SEISMILL_DASK", raising=False)
    with pytest.raises(InputRefused, match=sentence), open_compute(Run(dask=dask)):
        pass


@pytest.mark.slow
def test_a_scheduler_that_does_not_answer_or_has_no_workers_may_later():
    from distributed import LocalCluster

    gone = Run(dask="tcp://127.0.0.1:1")
    with pytest.raises(
        Resumable, match=r"answers at tcp://127\.0\.0\.1:1 within 1 s .* run the same command again"
    ):
        open_compute(gone, connect_seconds=1).__enter__()
    with LocalCluster(n_workers=0, protocol="tcp://", dashboard_address="127.0.0.1:0") as cluster:
        with pytest.raises(
            Resumable, match="has no worker after 1 s; start one and run the same command again"
        ):
            open_compute(Run(dask=cluster.scheduler_address), connect_seconds=1).__enter__()


@pytest.mark.slow
def test_a_scheduler_that_is_lost_before_it_has_workers_may_come_back(tmp_path):
    address = f"tcp://127.0.0.1:{free_port()}"
    scheduler = Process(tmp_path, dask_scheduler, address)
    ender = threading.Timer(3.0, scheduler.kill)
    ender.start()
    # On a busy machine it may be lost before it was found at all.
    lost = r"(was lost before it had a worker|no Dask scheduler answers) .* run the same"
    with pytest.raises(Resumable, match=lost):
        open_compute(Run(dask=address), connect_seconds=10).__enter__()
    ender.join()


# Stages


def three_blocks(volume: str, run: Run = Run(), *, compute: Compute | None = None) -> dict[str, Any]:
    """Do three blocks.

    Args:
        volume: Where
        run: How
        compute: On what
    """
    done: list[int] = []

    def hear(block: int) -> None:
        done.append(block)
        compute.report(Progress("three", len(done), 3, 10 * len(done), 1.0))

    run_window(compute, int, ((n,) for n in range(3)), hear)
    if len(done) < 3:
        raise Resumable(f"stopped after {len(done)} of 3 blocks of {volume}; run it again to go on")
    return {"volume": volume, "stage": "three", "blocks_done": 3, "memory_bytes": compute.memory_bytes}


def test_a_stage_opens_the_compute_that_its_verb_takes():
    stage = as_stage(three_blocks)
    assert list(inspect.signature(stage).parameters) == ["volume", "run"]
    assert stage("v", Run(memory="30 MB")) == {
        "volume": "v",
        "stage": "three",
        "blocks_done": 3,
        "memory_bytes": 30_000_000,
    }


def test_a_verb_without_compute_is_a_stage_already():
    assert as_stage(table_rows) is table_rows


def test_a_dry_run_starts_no_cluster():
    assert as_stage(three_blocks)("v", Run(dask="cluster", dry_run=True))["blocks_done"] == 3


def test_a_stage_tells_the_terminal_and_ends_resumable_when_it_is_stopped():
    heard: list[Progress] = []
    with shown_by(heard.append):
        as_stage(three_blocks)("v")
    assert [(progress.done, progress.total) for progress in heard] == [(1, 3), (2, 3), (3, 3)]
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(Resumable, match="stopped after 0 of 3 blocks of v"):
        as_stage(three_blocks, stopping=stopping)("v")


@pytest.mark.parametrize("name", [*DEMO_STAGES, "scan", "verify", "copy", "info"])
def test_every_verb_is_found_by_its_name(name):
    assert load_verb(name).__name__ == name


# Chains


def recorder(calls: list[tuple[str, str]]) -> Callable[[str], Callable[..., dict[str, Any]]]:
    """Stages that write down that they were called, with the volume."""

    def named(name: str) -> Callable[..., dict[str, Any]]:
        def stage(*places: str, **parameters: Any) -> dict[str, Any]:
            calls.append((name, places[-1] if name == "ingest_segy" else places[0]))
            return {"volume": calls[-1][1], "stage": name, "seconds": 1.5, "notes": ["done"]}

        return stage

    return named


def test_a_chain_is_called_by_place_as_prefect_does_or_by_name():
    from flows.prefect_flows import as_chain

    def move_chain(stages: dict[str, Any], source: str, volume: str, times: int = 1) -> dict[str, Any]:
        return {"stages": stages, "moved": (source, volume, times)}

    move = as_chain(move_chain, ())
    assert move.__name__ == "move"
    assert move("s", "v") == move(source="s", volume="v") == {"stages": {}, "moved": ("s", "v", 1)}
    assert move("s", volume="v", times=2)["moved"] == ("s", "v", 2)


CHOICES = {"index": Index(), "master": Master(), "copies": Copies(), "pyramid": Levels()}


@pytest.mark.parametrize(
    ("steps", "run", "wanted"),
    [
        (ALL_STEPS, Run(), tuple(name for name in PUBLISH_STAGES if name != "ingest_images")),
        ((), Run(), ("ingest_segy",)),
        (("proof", "copies"), Run(), ("ingest_segy", "rechunk", "prove")),
    ],
)
def test_publish_is_the_chain_of_the_stages_wanted(steps, run, wanted):
    calls: list[tuple[str, str]] = []
    stages = {name: recorder(calls)(name) for name in PUBLISH_STAGES}
    summary = publish_chain(stages, source="s", volume="v", steps=list(steps), run=run, **CHOICES)
    assert calls == [(name, "v") for name in wanted]
    assert (summary["stage"], summary["seconds"]) == ("publish", 1.5 * len(wanted))
    assert summary["notes"][: len(wanted)] == [f"{name}: done" for name in wanted]
    assert len(summary["notes"]) == len(wanted)


def test_a_dry_run_plans_the_ingest_alone_and_takes_the_time_that_passed():
    calls: list[tuple[str, str]] = []
    stages = {name: recorder(calls)(name) for name in PUBLISH_STAGES}
    summary = publish_chain(stages, source="s", volume="v", run=Run(dry_run=True), **CHOICES)
    assert calls == [("ingest_segy", "v")]  # there is no master yet to plan the others from
    assert summary["stage"] == "publish"
    assert summary["seconds"] < 1.5, "of the clock, and not what the stage says"
    done, sizes = summary["notes"]
    assert done == "ingest_segy: done"
    assert sizes.startswith("ingest_segy: sizes are not estimated")


def demo_stages(exported: bytes) -> dict[str, Callable[..., dict[str, Any]]]:
    """Stages of a demo whose survey is b'survey' and whose export is as given."""
    stages = {name: recorder([])(name) for name in PUBLISH_STAGES}

    def make_survey(path: str) -> None:
        with open(path, "xb") as file:
            file.write(b"survey")

    def export_segy(volume: str, target: str, overwrite: bool, check: bool) -> dict[str, Any]:
        with open(target, "wb") as file:
            file.write(exported)
        return {"volume": volume, "stage": "export_segy"}

    return {**stages, "make_survey": make_survey, "export_segy": export_segy}


def test_demo_compares_the_bytes_and_keeps_its_survey_for_the_next_time(tmp_path):
    folder = tmp_path / "new" / "demo"
    for _ in range(2):
        summary = demo_chain(demo_stages(b"survey"), folder=str(folder))
        assert summary["export_identical"] is True
        assert summary["volume"] == str(folder / "survey.zarr")
        assert summary["source_bytes"] == 6
    assert sorted(path.name for path in folder.iterdir()) == ["export.sgy", "survey.sgy"]


def test_demo_fails_when_a_byte_differs(tmp_path):
    with pytest.raises(IntegrityFailure, match=r"export\.sgy differs from .*survey\.sgy"):
        demo_chain(demo_stages(b"surveY"), folder=str(tmp_path))


# What triggered runs may touch


@pytest.mark.parametrize(
    ("url", "allowed", "reason"),
    [
        ("/data/a.sgy", "/data", "below"),
        ("/data", "/data", "itself"),
        ("/data/a.sgy", "/data/", "a separator at the end says nothing"),
        ("/data/x/../a.sgy", "/data", "a local path is resolved first"),
        ("/a", "/", "everything on this machine"),
        ("file:///data/a", "/data", "another way to write it"),
        ("s3://staging/a.sgy", "/data, s3://staging", "the second of two"),
        ("s3://volumes/2026/x", "s3://volumes/2026", "a prefix of a bucket"),
    ],
)
def test_what_lies_under_an_allowed_prefix_may_be_touched(url, allowed, reason):
    refuse_outside([url], allowed)


@pytest.mark.parametrize(
    ("url", "allowed", "reason"),
    [
        ("/data/a", "", "nothing is allowed"),
        ("/database", "/data", "a name that begins alike"),
        ("/data/../etc/passwd", "/data", "up and out"),
        ("s3://staging-2/a", "s3://staging", "a bucket that begins alike"),
        ("gs://staging/a", "s3://staging", "another store"),
        ("staging/a", "s3://staging", "a relative path is local"),
    ],
)
def test_what_lies_elsewhere_is_refused_with_what_is_allowed(url, allowed, reason):
    with pytest.raises(
        InputRefused, match=f"which is {allowed or 'nothing'}; its operator sets SEISMILL_ALLOW"
    ):
        refuse_outside([url], allowed)


def test_every_url_counts():
    with pytest.raises(InputRefused, match=r"^/other "):
        refuse_outside(["/data/a", "/other"], "/data")


def test_a_url_that_goes_up_is_refused_because_stores_disagree_on_what_it_means():
    with pytest.raises(InputRefused, match=r"goes up with '\.\.'"):
        refuse_outside(["s3://staging/x/../../volumes/a"], "s3://staging")


def test_a_link_out_of_an_allowed_folder_leads_outside(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link").symlink_to(outside)
    refuse_outside([str(inside / "a")], str(inside))
    with pytest.raises(InputRefused, match="outside of what this worker may touch"):
        refuse_outside([str(inside / "link" / "a")], str(inside))


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ({"endpoint_url": "https://elsewhere.example"}, "https://elsewhere.example"),
        (
            {"endpoint_url": "https://minio.example.elsewhere.example"},
            "https://minio.example.elsewhere.example",
        ),
        ({"account_name": "another"}, "https://another.blob.core.windows.net"),
    ],
)
def test_a_bucket_s_name_is_allowed_at_the_worker_s_store_and_at_those_that_are_named(options, address):
    allowed = "s3://volumes, https://minio.example/, https://ours.blob.core.windows.net"
    refuse_outside(["s3://volumes/a"], allowed)
    for ours in ({}, {"endpoint_url": "https://minio.example"}, {"account_name": "ours"}):
        refuse_foreign_stores(StorageOptions(**ours), allowed)
    with pytest.raises(InputRefused, match=f"^{re.escape(address)} is not a store that triggered runs"):
        refuse_foreign_stores(StorageOptions(**options), allowed)
    with pytest.raises(InputRefused, match="outside of what this worker may touch"):
        refuse_outside(["s3://staging/a"], allowed)


def test_a_triggered_run_computes_on_threads_or_on_the_operators_cluster():
    refuse_foreign_compute("threads")
    refuse_foreign_compute("cluster")
    for dask in ("tcp://elsewhere:8786", "local:64"):
        with pytest.raises(InputRefused, match="'threads' or on the operator's 'cluster'"):
            refuse_foreign_compute(dask)


# What people read

ARRAY = {"path": "amplitude", "shape": [9, 5, 13], "chunks": [4, 4, 4], "dtype": "float32", "raw_bytes": 2340}


@pytest.mark.parametrize(
    ("summary", "wanted"),
    [
        ({"volume": "s3://v/a.zarr", "stage": "prove"}, "a.zarr: prove"),
        ({"volume": "a.zarr/", "arrays": [{**ARRAY, "stored_bytes": 999}]}, "a.zarr: 1 array, 999 B stored"),
        (
            {
                "volume": "a.zarr",
                "arrays": [{**ARRAY, "stored_bytes": 1500}] * 2,
                "seconds": 2.25,
                "proven_at": "2026",
            },
            "a.zarr: 2 arrays, 3 kB stored, export proven identical, 2.2 s",
        ),
        (
            {"volume": "a.zarr", "arrays": [ARRAY], "dry_run": True},
            "a.zarr: 1 array of 2.34 kB would be written; nothing was",
        ),
        ({"source": "a.sgy"}, "done"),
    ],
)
def test_a_summary_is_told_in_one_sentence(summary, wanted):
    assert headline(summary) == wanted


SPENT = {"seconds": 1.25, "requests": 7, "bytes_read": 2_000_000, "bytes_written": 1500}


def test_time_requests_and_bytes_are_told_of_each_stage_and_together():
    stage = {"volume": "a.zarr", "stage": "ingest", "arrays": [{**ARRAY, "stored_bytes": 10}], **SPENT}
    (row,) = stage_rows(stage)
    assert row == {
        "stage": "ingest",
        "seconds": "1.2",
        "requests": "7",
        "read": "2 MB",
        "written": "1.5 kB",
    }
    both = combined("publish", [stage, {"volume": "a.zarr", "stage": "prove", **SPENT, "proven_at": "2026"}])
    assert [row["stage"] for row in stage_rows(both)] == ["ingest", "prove", "together"]
    assert stage_rows(both)[-1]["requests"] == "14"
    assert stage_rows({"volume": "a.zarr", "stage": "info"}) == []
    (line,) = totals(both).splitlines()
    record = json.loads(line)
    assert (record["stage"], record["requests"], record["arrays"], record["stored_bytes"]) == (
        "publish",
        14,
        1,
        10,
    )
    assert record["proven_at"] == "2026"


def test_a_table_has_the_columns_in_which_something_was_measured():
    copy = {
        **ARRAY,
        "path": "fast_inline",
        "stored_bytes": 117,
        "ratio": 20.0,
        "max_abs_error": 0.25,
        "snr_db": 33.04,
    }
    rows = table_rows({"arrays": [ARRAY, copy]})
    assert filled_columns(rows) == [
        "array",
        "shape",
        "chunks",
        "stored",
        "ratio",
        "max error",
        "SNR dB",
        "dtype",
    ]
    assert [
        rows[1][name] for name in ("array", "shape", "chunks", "stored", "ratio", "max error", "SNR dB")
    ] == [
        "fast_inline",
        "9x5x13",
        "4x4x4",
        "117 B",
        "20.00",
        "0.25",
        "33.0",
    ]
    assert filled_columns([]) == []


def test_stages_of_one_volume_are_summed_and_the_later_word_on_an_array_counts():
    first = {"volume": "v", "stage": "a", "arrays": [ARRAY], "seconds": 1, "requests": 5, "notes": ["x"]}
    second = {
        "volume": "v",
        "stage": "b",
        "arrays": [{**ARRAY, "ratio": 2.0}],
        "seconds": 2,
        "pictures": ["p"],
    }
    together = combined("publish", [first, second])
    assert together["arrays"] == [{**ARRAY, "ratio": 2.0}]
    assert (together["seconds"], together["requests"], together["pictures"]) == (3, 5, ["p"])
    assert [stage["stage"] for stage in together["stages"]] == ["a", "b"]
    json.dumps(together)


@pytest.mark.parametrize(
    ("progress", "wanted"),
    [
        (Progress("ingest", 0, 8, 0, 0.0), "ingest: 0 of 8 blocks"),
        (Progress("ingest", 2, 8, 3_000_000, 1.5), "ingest: 2 of 8 blocks, 2 MB/s, about 4 s left"),
        (Progress("ingest", 8, 8, 9_000_000, 3.0), "ingest: 8 of 8 blocks, 3 MB/s"),
    ],
)
def test_progress_is_told_with_its_rate_and_the_time_left(progress, wanted):
    assert progress_sentence(progress) == wanted


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (405_000_000, "405 MB"),
        (2.5e15, "2500 TB"),
    ],
)
def test_sizes_are_told_in_the_unit_a_person_would_choose(count, wanted):
    assert size(count) == wanted


@pytest.mark.parametrize(
    ("seconds", "wanted"), [(0.4, "0 s"), (59, "59 s"), (90, "2 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_durations_are_told_in_the_unit_a_person_would_choose(seconds, wanted):
    assert duration(seconds) == wanted


@pytest.mark.parametrize(
    ("url", "wanted"),
    [("s3://v/a.zarr/", "a.zarr"), ("/x/b", "b"), ("c", "c"), ("/", "/"), ("s3://bucket", "bucket")],
)
def test_short_names_are_the_last_part(url, wanted):
    assert short_name(url) == wanted


# Progress that is sent


@pytest.mark.parametrize(
    ("send_seconds", "apart", "wanted", "reason"),
    [
        (0.0, 1000.0, [1, 4], "the first and the last"),
        (0.0, 0.0, [1, 2, 3, 4], "each, when each is due"),
        (0.5, 0.0, [1, 4], "a slow server holds nothing up and hears the last"),
    ],
)
def test_progress_is_sent_first_last_and_when_due(send_seconds, apart, wanted, reason):
    heard: list[int] = []

    def send(progress: Progress) -> None:
        time.sleep(send_seconds)
        heard.append(progress.done)

    with sent_apart(send, seconds=apart) as report:
        for done in range(1, 5):
            report(Progress("ingest", done, 4, done, 1.0))
            if not send_seconds:
                time.sleep(0.05)  # for the thread to be through
    assert heard == wanted, reason


def test_progress_of_a_stage_that_stopped_early_is_sent_at_its_end():
    heard: list[Progress] = []
    values = [
        Progress("ingest", 1, 4, 1, 1.0),
        Progress("ingest", 2, 4, 2, 1.0),
        Progress("spill", 1, 9, 2, 1.0),
    ]
    with sent_apart(heard.append) as report:
        for progress in values:
            report(progress)
            time.sleep(0.05)
    assert heard == [values[0], values[2], values[1]]


def test_levels_of_another_tools_array_go_where_a_triggered_run_may_write(monkeypatch):
    from flows.prefect_flows import _refuse_what_no_trigger_may as refuse_what_no_trigger_may

    monkeypatch.setenv("SEISMILL_ALLOW", "/data")
    signature = inspect.signature(load_verb("pyramid"))
    arguments = {"volume": "/data/some.zarr", "array": "field/0", "target": ""}
    refuse_what_no_trigger_may(signature, arguments | dict.fromkeys(signature.parameters.keys() - arguments))
    with pytest.raises(InputRefused, match="/elsewhere is outside"):
        refuse_what_no_trigger_may(
            signature, dict.fromkeys(signature.parameters) | arguments | {"target": "/elsewhere"}
        )


@pytest.mark.parametrize("array", ["../other", "field/../0", "/etc", ".seismill/lock", "field//0"])
def test_a_path_of_an_array_leads_nowhere_else(array):
    with pytest.raises(ValidationError):
        TypeAdapter(ArrayPath).validate_python(array)


@pytest.mark.parametrize(
    ("attempt", "refusal", "name"),
    [
        (1, SettingRefused, "Failed"),
        (2, SettingRefused, "Resumable"),
        (2, InputRefused, "Failed"),
    ],
)
def test_a_key_that_is_wrong_when_a_run_starts_again_leaves_it_resumable(monkeypatch, attempt, refusal, name):
    from flows import prefect_flows

    for attribute, value in (
        ("DEPLOYMENT__ID", "d"),
        ("FLOW_RUN__ID", "r"),
        ("FLOW_RUN__RUN_COUNT", attempt),
    ):
        monkeypatch.setenv(f"PREFECT__RUNTIME__{attribute}", str(value))
    monkeypatch.setattr(prefect_flows, "end_open_tasks", lambda run: None)

    def verify(volume: str = "") -> Any:
        """Verify.

        Args:
            volume: One.
        """
        raise refusal("s3://b cannot be used: the store does not know this access key; correct it")

    state = prefect_flows.as_flow(verify).fn()
    assert state.name == name
    assert state.message.startswith(
        "s3://b cannot be used: the store does not know this access key; correct it"
    )
    assert ("run the same command again" in state.message) == (name == "Resumable")
