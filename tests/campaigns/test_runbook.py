"""The entries of infra/RUNBOOK.md, carried out on a real server, worker and store as the page says it.

The page's commands are typed with other names; what it says is seen is looked for. One server is used for all entries,
and each leaves it running.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.demo import make_survey
from tasks.volume.store.writable import WritableStore
from tests import ROOT
from tests.deployments.test_deployments import HOME, Server, long_run, seismill, server  # noqa: F401  # a fixture, for all tests of this module
from tests.deployments.test_registered import command, runs
from tests.support.emulators.faults import FaultProxy, Rule
from tests.support.prefect_api import until
from tests.support.servers import SlowStaging

pytestmark = [pytest.mark.campaign, pytest.mark.server, pytest.mark.timeout(1200)]

QUICK = {"settle_minutes": 0, "publication": {"steps": ["proof"]}}
SIGNS_SECONDS = 75  # within which a run gives a sign of life; Prefect sends one every 30 s at most


@pytest.fixture(scope="module", autouse=True)
def _noted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Have runs of the server, which starts after this, note their counters and write JSON lines."""
    folder = tmp_path_factory.mktemp("metrics")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SEISMILL_METRICS", str(folder))
        environment.setenv("SEISMILL_LOGS", "json")
        yield folder


def typed(server: Server, *words: str, code: int = 0) -> str:  # noqa: F811
    """What a `seismill` command says at an operator's terminal that reaches the store and the server."""
    out, err = (process := command(server, *words)).communicate(timeout=300)
    assert process.returncode == code, (words, process.returncode, out + err)
    return out + err


def prefect(server: Server, *words: str) -> str:  # noqa: F811
    """What a `prefect` command says."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "prefect", "--no-prompt", *words],
        env=os.environ | {"PREFECT_API_URL": server.api, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def published(server: Server, s3: str, tmp_path: Path) -> tuple[str, str]:  # noqa: F811
    """A source and its volume on S3, with copies and levels."""
    make_survey(str(tmp_path / "a.sgy"), shape=(19, 15, 53))
    WritableStore("s3://staging").put("a.sgy", (tmp_path / "a.sgy").read_bytes())
    typed(server, "publish", "s3://staging/a.sgy", "s3://volumes/a.zarr", "--no-flow")
    return "s3://staging/a.sgy", "s3://volumes/a.zarr"


def flip(volume: str, key: str) -> None:
    """Change one byte of an object."""
    store = WritableStore(volume)
    data = bytearray(store.get(key))
    data[len(data) // 2] ^= 1
    store.put(key, bytes(data))


def chunk(volume: str, array: str) -> str:
    """The first chunk of an array."""
    return min(WritableStore(volume).keys(f"{array}/c"))


def resumed(server: Server, run: str) -> bool:  # noqa: F811
    """Whether a run's log, whose lines come up to some seconds after its end, says that it found blocks done."""
    return any(re.search(r'"blocks_resumed": [1-9]', line) for line in server.log(run))


def test_a_stuck_run_is_cancelled_and_the_next_one_goes_on(
    server: Server,  # noqa: F811
    slow_staging: SlowStaging,
) -> None:
    parameters = long_run(server.root, "stuck", slow_staging)
    run = server.start("publish", steps=["proof"], **parameters)
    until(lambda: list(server.root.glob("stuck.zarr/.seismill/runs/*/ledger/*")), 300)
    prefect(server, "flow-run", "cancel", run)
    assert server.end(run, 90)["type"] == "CANCELLED"
    slow_staging.hurry()
    words = [
        f"--param={name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in (parameters | {"steps": ["proof"]}).items()
    ]
    output = prefect(server, "deployment", "run", "publish/publish", *words)
    found = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", output)
    assert found, output
    assert server.end(found[0], 200)["type"] == "COMPLETED"
    until(lambda: resumed(server, found[0]), 60, said=lambda: server.log(found[0]))


def test_a_damaged_volume_is_repaired(server: Server, published: tuple[str, str]) -> None:  # noqa: F811
    _, volume = published
    flip(volume, chunk(volume, "fast_time"))
    output = typed(server, "verify", volume, code=5)
    assert f"seismill verify {volume} --repair from_master" in output.splitlines()[-1]
    typed(server, "verify", volume, "--repair", "from_master")
    flip(volume, chunk(volume, "amplitude"))
    typed(server, "verify", volume, "--repair", "from_source")
    assert "errors checked: yes" in typed(server, "verify", volume, "--errors")


def test_a_source_and_a_bucket_that_moved_are_found(server: Server, published: tuple[str, str]) -> None:  # noqa: F811
    source, volume = published
    staging = WritableStore("s3://staging")
    staging.put("archive/a.sgy", staging.get("a.sgy"))
    staging.delete("a.sgy")
    flip(volume, chunk(volume, "amplitude"))
    output = typed(server, "verify", volume, "--repair", "from_source", code=3)
    assert f"there is no file {source}; " in output
    assert "if the source was moved, say where it is with --source" in output
    moved = "s3://staging/archive/a.sgy"
    typed(server, "verify", volume, "--repair", "from_source", "--source", moved)
    output = typed(server, "publish", moved, volume, "--no-flow")
    assert "was done already" in output
    assert moved in output
    typed(server, "copy", volume, "s3://volumes/moved/a.zarr")
    assert "errors checked: yes" in typed(server, "verify", "s3://volumes/moved/a.zarr", "--errors")


def test_a_sweep_of_a_prefix_under_another_name_is_refused_file_by_file(
    server: Server,  # noqa: F811
    s3: str,
) -> None:
    make_survey(str(server.root / "n.sgy"), shape=(9, 7, 33))
    data = (server.root / "n.sgy").read_bytes()
    for place in ("old", "new"):
        WritableStore(f"s3://staging/{place}").put("n.sgy", data)
    words = ("s3://volumes/n", "--settle-minutes", "0", "--steps", "proof", "--no-flow")
    assert "1 published" in typed(server, "sweep", "s3://staging/old", *words)
    output = typed(server, "sweep", "s3://staging/new", *words)
    assert "give each staging prefix volumes of its own" in output


def test_a_lost_database_costs_the_runs_alone(server: Server, tmp_path: Path) -> None:  # noqa: F811
    staging = server.root / "lost" / "staging"
    staging.mkdir(parents=True)
    make_survey(str(staging / "a.sgy"), shape=(9, 7, 33))
    given = {"staging": str(staging), "volumes": str(staging.with_name("volumes"))} | QUICK
    assert server.end(server.start("sweep", **given))["message"] == "1 published"
    assert seismill("down", "--home", HOME, cwd=server.root).returncode == 0
    databases = list((server.root / HOME).rglob("prefect.db*"))
    assert databases
    for file in databases:
        file.rename(tmp_path / file.name)
    up = server.up()
    assert up.returncode == 0, up.stderr
    state = server.end(server.start("sweep", **given))
    assert (state["type"], state["message"]) == ("COMPLETED", "1 unchanged")


def test_an_upgrade_stops_a_sweep_and_the_next_version_goes_on_with_it(
    server: Server,  # noqa: F811
    slow_staging: SlowStaging,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_survey(str(tmp_path / "small.sgy"), shape=(9, 7, 33))
    for name in "abc":
        WritableStore("s3://staging").put(f"{name}.sgy", (tmp_path / "small.sgy").read_bytes())
    run = long_run(server.root, "upgrade", slow_staging)["run"] | {"memory": "80 MB"}
    publication = {"steps": ["proof"], "master": {"chunks": [4, 8, 64]}}
    volumes = server.root / "upgraded"
    given = {"staging": "s3://staging", "volumes": str(volumes), "settle_minutes": 0, "max_active": 2}
    sweep = server.start("sweep", deployment="publish/publish", publication=publication, run=run, **given)
    until(lambda: list(volumes.glob("upgrade.zarr/.seismill/runs/*/ledger/*")), 300)
    # What was begun by the version before is quarantined: the small ones are to be done with.
    done = lambda name: [run["state_type"] for run in runs(server, f"s3://staging/{name}.sgy")]  # noqa: E731
    until(lambda: all(done(name) == ["COMPLETED"] for name in "abc"), 300)
    refused = seismill("down", "--home", HOME, cwd=server.root)
    assert refused.returncode == 1
    assert sweep in refused.stderr
    assert seismill("down", "--home", HOME, "--stop-runs", cwd=server.root).returncode == 0
    slow_staging.hurry()
    described = tmp_path / "next" / "seismill-0.2.0.dist-info" / "METADATA"
    described.parent.mkdir(parents=True)
    described.write_text("Metadata-Version: 2.1\nName: seismill\nVersion: 0.2.0\n")
    paths = [str(tmp_path / "next"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    up = server.up()
    assert up.returncode == 0, up.stderr
    state = server.end(sweep, 300)
    assert (state["type"], state["message"]) == ("COMPLETED", "1 quarantined, 3 unchanged")
    table = (volumes / ".seismill" / "catalogue.csv").read_text()
    assert "was begun with seismill 0.1.0 (here 0.2.0)" in table
    again = server.start(
        "sweep",
        deployment="publish/publish",
        publication=publication,
        run=run | {"accept_versions": True},
        retry="quarantined",
        **given,
    )
    assert server.end(again, 300)["message"] == "1 published, 3 unchanged"
    sources = [run["parameters"]["source"] for run in runs(server, "s3://staging/")]
    counts = {name: sources.count(f"s3://staging/{name}.sgy") for name in ("a", "b", "c", "upgrade")}
    print(f"runs of each source: {counts}")
    assert counts == {"a": 1, "b": 1, "c": 1, "upgrade": 2}
    last, _ = runs(server, "s3://staging/upgrade.sgy")
    until(lambda: resumed(server, last["id"]), 60, said=lambda: server.log(last["id"]))
    for name in counts:
        typed(server, "verify", str(volumes / f"{name}.zarr"), "--errors")


def test_what_a_bad_release_published_is_repaired_or_removed_and_made_anew(server: Server) -> None:  # noqa: F811
    volume, source = server.root / "bad" / "a.zarr", server.root / "survey.sgy"
    typed(server, "sweep", str(server.root / "bad-staging"), str(volume.parent), "--dry-run", code=3)
    (server.root / "bad-staging").mkdir()
    (server.root / "bad-staging" / "a.sgy").write_bytes(source.read_bytes())
    words = (str(server.root / "bad-staging"), str(volume.parent), "--settle-minutes", "0", "--no-flow")
    typed(server, "sweep", *words)
    typed(server, "audit", str(volume.parent), "--fraction", "1", "--errors", "--no-flow")
    flip(str(volume), chunk(str(volume), "amplitude"))
    said = typed(server, "audit", str(volume.parent), "--fraction", "1", "--errors", "--no-flow", code=5)
    assert "a.zarr" in said
    typed(server, "verify", str(volume), "--repair", "from_source")
    typed(server, "audit", str(volume.parent), "--fraction", "1", "--errors", "--no-flow")
    shutil.rmtree(volume)
    assert "have no volume any more" in typed(server, "sweep", *words)
    typed(server, "audit", str(volume.parent), "--fraction", "1", "--errors", "--no-flow")


def test_a_volume_is_restored_from_a_copy(server: Server, published: tuple[str, str]) -> None:  # noqa: F811
    source, volume = published
    backup, restored = "s3://volumes/backup/a.zarr", "s3://volumes/restored/a.zarr"
    typed(server, "copy", volume, backup)
    typed(server, "verify", backup)
    typed(server, "copy", backup, restored)
    assert "errors checked: yes" in typed(server, "verify", restored, "--errors")
    assert "was done already" in typed(server, "copy", backup, restored)
    assert source


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("expired", "ran out"),
        ("unknown-key", "the store does not know this access key"),
        ("skewed", "clock"),
    ],
)
def test_keys_that_are_made_invalid_and_a_wrong_clock_are_the_run_s_sentence(
    server: Server,  # noqa: F811
    slow_staging: SlowStaging,
    slow_endpoint: FaultProxy,
    kind: str,
    sentence: str,
) -> None:
    name = f"key-{kind}"
    run = server.start("publish", steps=["proof"], **long_run(server.root, name, slow_staging))
    until(lambda: list(server.root.glob(f"{name}.zarr/.seismill/runs/*/ledger/*")), 300)
    slow_endpoint.do(Rule(kind))
    began = time.monotonic()
    # A stage whose store is out of reach for 120 s is repeated three times.
    state = server.until(run, lambda state: state["type"] != "RUNNING", 500)
    print(f"{kind}: {state['name']} after {time.monotonic() - began:.0f} s: {state['message']}")
    stopped = next(
        one for one in server.ask(f"/flow_run_states/?flow_run_id={run}") if one["name"] == "Resumable"
    )
    assert sentence in stopped["message"]
    assert "\n" not in stopped["message"]
    assert "run the same command again" in stopped["message"]
    if kind != "expired":  # that is told at once
        lines = server.log(run)
        assert any("no usable answer for" in line and sentence in line for line in lines), lines
    if kind != "expired":  # it starts again two minutes later, before anybody has put it right
        server.until(run, lambda state: state["type"] != "FAILED", 300)
        state = server.until(run, lambda state: state["type"] not in ("SCHEDULED", "PENDING", "RUNNING"), 500)
        print(f"{kind}: {state['name']} after {time.monotonic() - began:.0f} s: {state['message']}")
        assert state["name"] == "Resumable"
    slow_staging.hurry()  # the key is right again
    assert server.end(run, 300)["name"] in ("Resumable", "Completed")
    assert server.until(run, lambda state: state["type"] == "COMPLETED", 300)["type"] == "COMPLETED"


@pytest.fixture
def full_disk(server: Server) -> Iterator[Path]:  # noqa: F811
    """A disk of 2 MB, which is not certainly too small, where runs of the server may write."""
    if os.getuid():
        pytest.skip("only root can mount a disk")
    place = server.root / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_the_run_s_sentence_and_with_room_it_goes_on(server: Server, full_disk: Path) -> None:  # noqa: F811
    make_survey(str(server.root / "large.sgy"), shape=(60, 40, 301))
    run = server.start(
        "publish", source="large.sgy", volume=str(full_disk / "a.zarr"), master={"chunks": [8, 16, 128]}
    )
    state = server.until(run, lambda state: state["name"] == "Resumable", 200)
    print(state["message"])
    assert "No space left on device" in state["message"] or "full" in state["message"]
    subprocess.run(["mount", "-o", "remount,size=100m", str(full_disk)], check=True)
    assert server.until(run, lambda state: state["type"] == "COMPLETED", 300)


def test_a_frozen_server_is_no_false_alarm(server: Server, slow_staging: SlowStaging) -> None:  # noqa: F811
    server.hurry(sign=SIGNS_SECONDS, goes=10)
    run = server.start("publish", steps=["proof"], **long_run(server.root, "frozen", slow_staging))
    until(lambda: server.gave_a_sign(run), 200)
    frozen = json.loads((server.root / HOME / "processes.json").read_text())["server"]["pid"]
    os.kill(frozen, signal.SIGSTOP)
    time.sleep(SIGNS_SECONDS + 25)
    os.kill(frozen, signal.SIGCONT)
    time.sleep(20)
    slow_staging.hurry()
    state = server.until(run, lambda state: state["type"] == "COMPLETED", 300)
    seen = [one["name"] for one in server.ask(f"/flow_run_states/?flow_run_id={run}")]
    assert not {"Crashed", "AwaitingRetry"} & set(seen), seen
    assert server.ask(f"/flow_runs/{run}")["run_count"] == 1, state


def test_prometheus_evaluates_the_alerts_on_a_sweep_and_its_log_is_json(
    server: Server,  # noqa: F811
    tmp_path: Path,
) -> None:
    from tests.deployments.test_registered import fill
    from tests.support.servers import free_port, wait_for

    if not shutil.which("prometheus"):
        pytest.skip("Prometheus is not installed")
    staging = fill(server.root / "scraped" / "staging", files=5, bad=2)
    volumes = str(Path(staging).with_name("volumes"))
    run = server.start("sweep", staging=staging, volumes=volumes, **QUICK)
    assert server.end(run, 200)["message"] == "3 published, 2 quarantined"
    lines = (server.root / HOME / "worker.log").read_text().splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    of_run = [line for line in found if line.get("flow_run_id") == run]
    assert {"time", "level", "logger", "message"} <= of_run[0].keys()
    print(f"{len(of_run)} JSON lines of the run, {len(found)} in all")
    port, web = free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    scrape = {"job_name": "seismill", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(ROOT / "infra" / "alerts.yaml")],
                "scrape_configs": [scrape],
            }
        )
    )
    subprocess.run(["promtool", "check", "config", str(config)], check=True, capture_output=True)
    exporter = command(server, "metrics", "--port", str(port))
    words = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}"]
    prometheus = subprocess.Popen(
        ["prometheus", *words, f"--web.listen-address=127.0.0.1:{web}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    from tests.support.prefect_api import Api

    try:
        wait_for(f"http://127.0.0.1:{web}/-/ready", prometheus)
        asked = Api(f"http://127.0.0.1:{web}/api/v1")

        def alerts() -> dict[str, Any]:
            return {alert["labels"]["alertname"]: alert for alert in asked.ask("/alerts")["data"]["alerts"]}

        until(lambda: alerts().get("SeismillQuarantine", {}).get("state") == "firing", 60, said=alerts)
        value = asked.ask('/query?query=seismill_runs_total{verb="sweep"}')["data"]["result"]
        print("alerts:", sorted(alerts()), "; series:", value)
        rules = asked.ask("/rules")["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} == {"ok"}
        assert {name for name in alerts()} <= {"SeismillQuarantine", "SeismillRunsFail", "SeismillDamaged"}
    finally:
        for process in (prometheus, exporter):
            process.kill()
            process.communicate()
