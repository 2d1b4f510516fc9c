"""deployments/prefect.yaml says what it means, and a server, a worker and a browser can do what it says.

Prefect passes over keys that it does not know, so a misspelt one would be a deployment without that setting.

Covers flows/registration.py, flows/server.py.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import tomllib
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import yaml
import zarr
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prefect.client.schemas.schedules import CronSchedule

from flows.processes import started
from flows.registration import POOL
from tasks.demo import make_survey
from tests import ROOT
from tests.support.emulators.faults import FaultProxy
from tests.support.prefect_api import Api, until
from tests.support.servers import SlowStaging, free_port

FILE = ROOT / "deployments" / "prefect.yaml"
YAML = yaml.safe_load(FILE.read_text())
VERBS = [
    "scan",
    "ingest-segy",
    "ingest-images",
    "rechunk",
    "pyramid",
    "export-segy",
    "export-ome",
    "copy",
    "prove",
    "verify",
    "report",
]


def test_every_key_is_one_that_prefect_knows():
    from prefect.cli.deploy._models import (
        ConcurrencyLimitSpec,
        DeploymentConfig,
        PrefectYamlModel,
        RawScheduleConfig,
        WorkPoolConfig,
    )

    assert YAML.keys() <= {*PrefectYamlModel.model_fields, "prefect-version", "definitions"}
    for deployment in YAML["deployments"]:
        assert deployment.keys() <= DeploymentConfig.model_fields.keys(), deployment["name"]
        pool = deployment["work_pool"]
        assert pool.keys() <= WorkPoolConfig.model_fields.keys(), deployment["name"]
        assert deployment.get("concurrency_limit", {}).keys() <= ConcurrencyLimitSpec.model_fields.keys()
        for schedule in deployment.get("schedules", []):
            RawScheduleConfig.model_validate(schedule)  # refuses unknown keys itself
            assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])


@pytest.mark.parametrize("deployment", YAML["deployments"], ids=lambda deployment: deployment["name"])
def test_every_entrypoint_is_a_flow_that_takes_the_parameters(deployment):
    from prefect.flows import load_flow_from_entrypoint

    flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    assert deployment["name"].startswith(flow.name)
    assert ":" in deployment["entrypoint"]
    assert "/" not in deployment["entrypoint"]  # a file would be loaded under another name than workers know
    given = deployment.get("parameters", {})
    assert given.keys() <= flow.parameters.properties.keys()
    required = {name: "s3://somewhere" for name in flow.parameters.required or ()}
    flow.validate_parameters(required | given)
    assert deployment["description"]


def test_here_there_is_one_deployment_for_each_verb_and_chain():
    here = [d["name"] for d in YAML["deployments"] if d["work_pool"]["name"] == POOL]
    assert sorted(here) == sorted([*VERBS, "publish", "migrate", "sweep", "audit"])


def test_the_main_jobs_have_deployments_on_every_pool_in_every_size():
    names = {deployment["name"] for deployment in YAML["deployments"]}
    assert len(names) == len(YAML["deployments"])
    for pool in ("docker", "kubernetes", "ecs", "cloud-run", "azure"):
        assert {f"sweep-{pool}", *(f"publish-{pool}-{size}" for size in "sml")} <= names
    for pool in ("docker", "kubernetes"):
        assert {f"{verb}-{pool}" for verb in ("rechunk", "pyramid", "export-segy", "verify")} <= names


@pytest.mark.parametrize(
    "deployment",
    [d for d in YAML["deployments"] if "deployment" in d.get("parameters", {})],
    ids=lambda d: d["name"],
)
def test_a_sweep_is_nightly_one_at_a_time_and_starts_runs_that_there_are(deployment):
    assert deployment["concurrency_limit"]["limit"] == 1
    assert deployment["concurrency_limit"]["collision_strategy"] == "CANCEL_NEW"
    assert [schedule["cron"] for schedule in deployment["schedules"]] == ["17 1 * * *"]
    named = deployment["parameters"]["deployment"]
    names = {f"publish/{deployment['name']}" for deployment in YAML["deployments"]}
    assert {named.format(size=size) for size in "sml"} <= names


# What it runs in

LOCK = (FILE.parents[1] / "infra" / "requirements.lock").read_text()


def test_the_lock_names_a_version_and_hashes_for_every_dependency_and_no_host():
    pins = re.findall(
        r"^([a-z0-9._-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", LOCK, re.MULTILINE
    )
    versions = {name: version for name, version, _ in pins}
    assert len(pins) == LOCK.count("==")
    assert "://" not in LOCK
    project = tomllib.loads((FILE.parents[1] / "pyproject.toml").read_text())["project"]
    for wanted in map(Requirement, project["dependencies"]):
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), str(wanted)


# A server and a worker


COMMAND = [sys.executable, "-P", "-c", "from flows.cli import main; main()"]


def seismill(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=500,
    )


HOME = ".seismill-server"


class Server(Api):
    """What `seismill up` started, and the folder that its runs may touch, beside what else is allowed."""

    def __init__(self, root: Path, port: int, *allowed: str) -> None:
        super().__init__(f"http://127.0.0.1:{port}/api")
        self.root, self.port, self.ui = root, str(port), f"http://127.0.0.1:{port}"
        self.allowed = ",".join((".", *allowed))

    def up(self) -> subprocess.CompletedProcess[str]:
        """Start what does not run."""
        return seismill("up", self.allowed, "--port", self.port, "--home", HOME, cwd=self.root)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, slow_endpoint: FaultProxy) -> Iterator[Server]:
    """`seismill up` in a folder with a survey, on a free port; ended with `seismill down`."""
    root, port = tmp_path_factory.mktemp("root"), free_port()
    make_survey(str(root / "survey.sgy"), shape=(19, 15, 53))
    served = Server(root, port, "s3://staging", slow_endpoint.url)
    try:
        up = served.up()
        assert up.returncode == 0, up.stderr
        assert f"UI:     {served.ui}/deployments" in up.stdout
        yield served
    finally:
        down = seismill("down", "--home", HOME, "--stop-runs", cwd=root)
        assert down.stdout.endswith("server: ended\n"), down.stderr


@pytest.mark.server
def test_a_triggered_publish_leaves_a_proven_volume_and_shows_it(server):
    # Relative to the root; so small a survey has levels only where they are asked for.
    run = server.start("publish", source="survey.sgy", volume="survey.zarr", pyramid={"until": 1})
    state = server.end(run)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed"), state
    assert state["message"].startswith("survey.zarr: 8 arrays, ")
    assert "export proven identical" in state["message"]
    assert (server.root / "survey.zarr" / "zarr.json").exists()
    found = server.artifacts(run)
    (table,) = found["table"]
    rows = json.loads(table["data"])
    assert {"amplitude", "fast_inline", "pyramid/1/amplitude"} <= {row["array"] for row in rows}
    assert all(
        float(row["max error"]) <= float(row["allowed"]) for row in rows if row["array"].startswith("fast_")
    )
    assert {artifact["data"] for artifact in found["progress"]} == {100.0}
    assert len(found["progress"]) >= 4
    assert all(artifact["data"].startswith("data:image/png;base64,") for artifact in found["image"])
    assert len(found["image"]) >= 4
    assert any("survey.zarr" in artifact["data"] for artifact in found["markdown"])
    # Log lines are sent every 2 s.
    until(lambda: any(line.startswith("tasks.") for line in server.log(run)), 60)


@pytest.mark.server
@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (
            {"source": "/etc/passwd", "volume": "a.zarr"},
            "/etc/passwd is outside of what this worker may touch",
        ),
        (
            {"source": "survey.sgy", "volume": "../a.zarr"},
            "../a.zarr is outside of what this worker may touch",
        ),
        (
            {"source": "survey.sgy", "volume": "s3://v/a.zarr"},
            "s3://v/a.zarr is outside of what this worker may touch",
        ),
        (
            {"source": "survey.sgy", "volume": "a.zarr", "run": {"dask": "local:2"}},
            "got dask='local:2', but a run",
        ),
        ({"source": "missing.sgy", "volume": "a.zarr"}, "missing.sgy"),
    ],
)
def test_what_a_person_can_cause_is_the_message_of_the_state_and_no_traceback(server, parameters, sentence):
    run = server.start("publish", **parameters)
    state = server.end(run)
    assert (state["type"], state["name"]) == ("FAILED", "Failed")
    assert sentence in state["message"]
    assert "Error" not in state["message"].split()[0]
    until(lambda: any("Finished in state Failed" in line for line in server.log(run)), 60)
    assert not [line for line in server.log(run) if "Traceback" in line]
    assert not (server.root / "a.zarr").exists()


@pytest.mark.server
@pytest.mark.parametrize(
    "parameters",
    [
        {"source": "s3://key:secret@staging/a.sgy", "volume": "a.zarr"},
        {"source": "s3://staging/a.sgy?X-Amz-Signature=1", "volume": "a.zarr"},
        {"source": "simplecache::s3://staging/a.sgy", "volume": "a.zarr"},
        {"source": "survey.sgy", "volume": "a.zarr", "master": {"codec": "gzip"}},
        {"source": "survey.sgy", "volume": "a.zarr", "master": {"chunk": [4, 4, 4]}},
    ],
)
def test_secrets_and_misspelt_parameters_are_refused_before_they_are_stored(server, parameters):
    with pytest.raises(urllib.error.HTTPError, match="409"):
        server.start("publish", **parameters)


def long_run(root: Path, name: str, staging: SlowStaging) -> dict[str, Any]:
    """The parameters of a run of a slow source to `name`.zarr: a minute and a half at least, until it may hurry."""
    make_survey(str(root / f"{name}.sgy"), shape=(150, 100, 301))
    return {
        "source": staging.put(root / f"{name}.sgy"),
        "volume": f"{name}.zarr",
        "master": {"chunks": [4, 8, 64]},
        "run": {"memory": "20 MB", "storage_options": {"endpoint_url": staging.endpoint}},
    }


@pytest.mark.server
def test_a_cancelled_run_ends_cancelled_and_the_next_one_goes_on(server, slow_staging):
    parameters = long_run(server.root, "big", slow_staging)
    run = server.start("ingest-segy", **parameters)
    until(lambda: list(server.root.glob("big.zarr/.seismill/runs/*/ledger/*")), 300)
    server.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    assert server.end(run)["type"] == "CANCELLED"
    assert not (server.root / "big.zarr" / "zarr.json").exists()
    slow_staging.hurry()
    again = server.end(server.start("ingest-segy", **parameters))
    assert again["type"] == "COMPLETED", again
    assert (server.root / "big.zarr" / "zarr.json").exists()


def changed_at(server: Server) -> dict[str, str]:
    """When each automation was changed last."""
    return {automation["name"]: automation["updated"] for automation in server.ask("/automations/filter", {})}


@pytest.mark.server
def test_up_again_leaves_what_runs_and_another_root_replaces_the_worker(server, tmp_path):
    listed = server.ask("/deployments/filter", {"sort": "CREATED_DESC"})  # as the address that is printed
    assert [deployment["name"] for deployment in listed[:4]] == ["publish", "sweep", "scan", "verify"]
    port = server.port
    processes = server.root / HOME / "processes.json"
    before = json.loads(processes.read_text())
    automations = changed_at(server)
    again = server.up()
    assert again.returncode == 0
    assert "worker: runs already, with the keys and settings that it was started with" in again.stdout
    assert json.loads(processes.read_text()) == before
    assert changed_at(server) == automations  # a change would disarm it, even one to the same
    try:
        other = seismill("up", f"{tmp_path},s3://staging", "--port", port, "--home", HOME, cwd=server.root)
        assert f"runs may read and write {tmp_path},s3://staging" in other.stdout, other.stderr
        after = json.loads(processes.read_text())
        assert after["server"] == before["server"]
        assert after["worker"]["pid"] != before["worker"]["pid"]
    finally:
        assert server.up().returncode == 0
    refused = seismill("up", "--port", str(free_port()), "--home", HOME, cwd=server.root)
    assert refused.returncode == 1
    assert f"runs on port {port}; end it with 'seismill down --home {HOME}'" in refused.stderr
    taken = seismill("up", "--port", port, "--home", str(tmp_path / "home"), cwd=server.root)
    assert taken.returncode == 1
    assert f"port {port} is taken" in taken.stderr


def children_of(pid: int) -> list[int]:
    """The processes that a process started and that live."""
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


@pytest.mark.server
def test_up_waits_for_what_a_killed_up_left_registering(server):
    """Two at once would write the same deployments, and SQLite would refuse one of them."""
    words = ("up", server.allowed, "--port", server.port, "--home", HOME)
    killed = subprocess.Popen([*COMMAND, *words], cwd=server.root)
    registers = until(lambda: children_of(killed.pid), 60)
    os.kill(registers[0], signal.SIGSTOP)
    killed.kill()
    killed.wait()
    try:
        refused = server.up()
        assert refused.returncode == 1
        assert f"another 'seismill up' or 'down' is at work in {server.root / HOME}" in refused.stderr
    finally:
        os.kill(registers[0], signal.SIGCONT)
    assert server.up().returncode == 0
    assert not started(registers[0])


def test_down_where_nothing_runs_says_so(tmp_path):
    down = seismill("down", cwd=tmp_path)
    assert (down.returncode, down.stdout) == (0, "worker: was not running\nserver: was not running\n")


# A browser


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where screenshots go: the folder SEISMILL_SCREENSHOTS names, or one that is forgotten."""
    folder = Path(os.environ.get("SEISMILL_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def in_browser(server: Server, screenshots: Path, what: str, *words: str) -> dict[str, Any]:
    """What a person sees who does something in the UI."""
    script = ROOT / "tests/support/browser.js"
    command = ["node", str(script), what, server.ui, str(screenshots), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.browser
def test_a_run_from_the_form_of_the_ui_completes_and_shows_progress_table_and_pictures(server, screenshots):
    deployment = server.ask("/deployments/name/publish/publish")["id"]
    seen = in_browser(server, screenshots, "publish", deployment, "survey.sgy", "browser.zarr")
    assert seen["state"] == "Completed"
    assert seen["progress"] == "Progress: 100%"
    assert "fast_inline" in seen["table"]
    assert seen["picture"][0] > 100
    assert (server.root / "browser.zarr" / "zarr.json").exists()


@pytest.mark.browser
def test_copies_added_from_the_ui_do_not_disturb_who_reads_the_volume(server, screenshots):
    make_survey(str(server.root / "read.sgy"), shape=(60, 50, 201))
    published = server.end(server.start("publish", source="read.sgy", volume="read.zarr", steps=[]), 300)
    assert published["type"] == "COMPLETED", published
    volume = str(server.root / "read.zarr")
    whole = zarr.open_group(volume, mode="r")["amplitude"][:]
    over, rounds, wrong = threading.Event(), 0, []

    def read() -> None:
        nonlocal rounds
        while not over.is_set():
            inline = rounds % len(whole)
            try:
                for there in (
                    zarr.open_group(volume, mode="r")["amplitude"][inline],
                    xarray.open_zarr(volume).amplitude.isel(inline=inline).values,
                ):
                    np.testing.assert_array_equal(there, whole[inline])
            except Exception as error:  # whatever it is, a reader was disturbed
                wrong.append(f"inline {inline}: {type(error).__name__}: {error}")
            rounds += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        deployment = server.ask("/deployments/name/rechunk/rechunk")["id"]
        seen = in_browser(server, screenshots, "rechunk", deployment, "read.zarr")
    finally:
        over.set()
        reader.join()
    assert (seen["state"], wrong) == ("Completed", [])
    assert rounds > 3
    live = np.isfinite(whole)
    group = zarr.open_group(volume, mode="r")
    for name in ("fast_inline", "fast_crossline", "fast_time"):
        assert name in seen["table"]
        copy = group[name]
        worst = np.abs(copy[:][live].astype(np.float64) - whole[live]).max()
        assert worst == pytest.approx(copy.attrs["max_abs_error"])


@pytest.mark.browser
def test_a_run_cancelled_in_the_ui_ends_cancelled_and_can_be_gone_on_with(server, screenshots, slow_staging):
    parameters = long_run(server.root, "cancel", slow_staging)
    seen = in_browser(server, screenshots, "cancel", server.start("ingest-segy", **parameters))
    assert seen["state"] == "Cancelled"
    assert server.state(seen["run"])["type"] == "CANCELLED"
    assert not (server.root / "cancel.zarr" / "zarr.json").exists()
    slow_staging.hurry()
    again = server.end(server.start("ingest-segy", **parameters), 300)
    assert again["type"] == "COMPLETED", again
    assert (server.root / "cancel.zarr" / "zarr.json").exists()
