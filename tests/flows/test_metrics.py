"""Counters of runs as Prometheus text, the alerts on them, and logs as JSON lines.

Covers flows/json_logs.py.
"""

import json
import logging
import os
import re
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from flows import metrics
from flows.json_logs import use_json_lines
from flows.prefect_flows import lines_of
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.calls import Line, Traffic, traffic
from tasks.volume.store.clouds.faults import Transient
from tests import ROOT
from tests.support.servers import free_port

SPENT = Traffic(requests=10, bytes_read=1000, bytes_written=500, retries=2)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(metrics.FOLDER, str(tmp_path / "metrics"))
    return tmp_path / "metrics"


def values(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_runs_of_all_processes_are_added(folder: Path) -> None:
    program = (
        "from flows.metrics import note_run; from tasks.volume.store.calls import Traffic\n"
        "for _ in range(5): note_run('publish', 'completed', 1.5, Traffic(10, 1000, 500, 2), {'blocks_done': 4})"
    )
    with ThreadPoolExecutor(2) as pool:
        done = list(
            pool.map(
                lambda _: subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120).returncode,
                "ab",
            )
        )
    assert done == [0, 0]
    metrics.note_run("publish", "input-refused", 0.5, SPENT, {})
    metrics.note_run("publish", "completed", 0, SPENT, {"dry_run": True, "blocks_done": 4})  # writes nothing
    found = values((folder / metrics.TEXT).read_text())
    assert found["seismill_runs_total", "completed", "publish"] == 10
    assert found["seismill_runs_total", "planned", "publish"] == 1
    assert found["seismill_runs_total", "input-refused", "publish"] == 1
    assert found["seismill_seconds_total", "publish"] == 15.5
    assert found["seismill_blocks_total", "publish"] == 40
    assert found["seismill_read_bytes_total", "publish"] == 12_000
    assert found["seismill_written_bytes_total", "publish"] == 5_500
    assert found["seismill_requests_total", "publish"] == 120
    assert found["seismill_retries_total", "publish"] == 24


def test_a_sweep_tells_of_quarantine_and_of_the_oldest_proof(folder: Path) -> None:
    summary = {
        "volumes": "s3://volumes",
        "counts": {"published": 3, "quarantined": 2},
        "oldest_proof": "2026-01-01T00:00:00+00:00",
    }
    metrics.note_run("sweep", "completed", 1, SPENT, summary)
    metrics.note_run(
        "sweep", "completed", 1, SPENT, summary | {"dry_run": True, "counts": {"quarantined": 9}}
    )
    found = values((folder / metrics.TEXT).read_text())
    assert found["seismill_quarantined", "s3://volumes"] == 2
    assert found["seismill_oldest_proof_seconds", "s3://volumes"] == 1_767_225_600
    metrics.note_run("sweep", "completed", 1, SPENT, summary | {"counts": {"published": 5}})
    assert values((folder / metrics.TEXT).read_text())["seismill_quarantined", "s3://volumes"] == 0


def test_a_scraper_gets_what_is_noted_now(folder: Path) -> None:
    port = free_port()

    def scrape() -> None:
        metrics.note_run("verify", "completed", 1, SPENT, {})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            assert values(answer.read().decode())["seismill_runs_total", "completed", "verify"] == 1

    metrics.serve(port, until=scrape)


def test_without_a_folder_nothing_is_noted_and_nothing_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(metrics.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    metrics.note_run("verify", "completed", 1, SPENT, {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputRefused, match=metrics.FOLDER):
        metrics.serve(free_port())


def test_a_damaged_or_unwritable_folder_costs_only_the_numbers(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.note_run("verify", "completed", 1, SPENT, {})
    (folder / metrics.STATE).write_text("{")
    metrics.note_run("verify", "completed", 1, SPENT, {})
    assert "is damaged" in caplog.text
    assert values((folder / metrics.TEXT).read_text())["seismill_runs_total", "completed", "verify"] == 1
    (folder / f"{metrics.STATE}.new").mkdir()
    metrics.note_run("verify", "completed", 1, SPENT, {})
    assert "cannot be written" in caplog.text


def test_alerts_are_on_metrics_that_there_are() -> None:
    rules = yaml.safe_load((ROOT / "infra" / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len(rules) == 7
    for rule in rules:
        names = set(re.findall(r"seismill_\w+", rule["expr"]))
        assert names, rule["alert"]
        assert names <= set(metrics._METRICS), rule["alert"]
        assert rule["annotations"]["summary"]


def test_a_request_that_is_repeated_is_counted() -> None:
    answers = [Transient("once"), Transient("twice")]

    async def request() -> str:
        if answers:
            raise answers.pop()
        return "done"

    before = traffic.snapshot()
    assert Line("s3://volumes", None).call(request) == "done"
    spent = traffic.since(before)
    assert (spent.requests, spent.retries) == (3, 2)


def test_logs_are_json_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("seismill.test_json")
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    logger.addHandler(handler)
    kept = list(logging.getLogger().handlers)
    monkeypatch.setenv("SEISMILL_LOGS", "json")
    try:
        use_json_lines()
        logger.warning("two\nlines of %s", "a.sgy", extra={"flow_run_id": "1-2"})
        logger.debug("less than the level")
        line = json.loads(capsys.readouterr().err.strip().splitlines()[-1])
    finally:
        logger.handlers.clear()
        logging.getLogger().handlers[:] = kept
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "seismill.test_json",
        "message": "two\nlines of a.sgy",
        "flow_run_id": "1-2",
    }


def test_a_line_of_a_thread_without_a_context_belongs_to_the_run_that_is_under_way() -> None:
    lines: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = lines.append  # type: ignore[method-assign]
    verbs = logging.getLogger("tasks")
    verbs.addHandler(handler)

    def say() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(logging.getLogger("tasks.volume.store.calls").warning, "no usable answer").result()

    try:
        with lines_of("1-2"):
            say()
        say()
    finally:
        verbs.removeHandler(handler)
    assert [getattr(line, "flow_run_id", None) for line in lines] == ["1-2", None]


def test_every_line_of_a_process_is_json_also_one_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "talking.py").write_text(
        'import sys\nprint("{not json")\nprint(\'{"a": 1}\')\nsys.stderr.write("last words")\n'
    )
    process = subprocess.run(
        [sys.executable, "-m", "flows.json_logs", "talking"],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in (process.stdout + process.stderr).splitlines()]
    assert [line.get("message", line.get("a")) for line in lines] == ["{not json", 1, "last words"]
