"""On a real server: pools refuse what may not change, and sweeps start runs that outlive them.

Covers flows/slots.py.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flows.slots import limit_of
from tasks.demo import make_survey
from tests.deployments.test_deployments import Server, server  # noqa: F401  # a fixture, for all tests of this module
from tests.infra.test_pools import ATTEMPTS, CONTAINERS, VALUES
from tests.support.command import SEISMILL
from tests.support.prefect_api import ENDED, until

pytestmark = pytest.mark.server


def command(at: Server, *words: str, **environment: str) -> subprocess.Popen[str]:
    """The command line as an operator of this server calls it."""
    return subprocess.Popen(
        [*SEISMILL, *words],
        cwd=at.root,
        env=os.environ | {"PREFECT_API_URL": at.api} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def registered(server: Server) -> Server:  # noqa: F811
    """The server with the pools and deployments of all types of container."""
    process = command(server, "register", *CONTAINERS, **VALUES)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert f"pool {CONTAINERS[0]}" in out
    return server


def test_all_types_of_pool_and_their_deployments_are_registered(registered):
    pools = {pool["type"] for pool in registered.ask("/work_pools/filter", {})}
    assert pools >= {*CONTAINERS, "process"}
    found = registered.ask("/deployments/name/sweep/sweep-kubernetes")
    assert found["global_concurrency_limit"]["limit"] == 1
    assert found["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert found["parameters"]["staging"] == VALUES["SEISMILL_STAGING"]
    assert [schedule["active"] for schedule in found["schedules"]] == [True]
    assert found["pull_steps"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "/app"}}]


def test_runs_wait_for_their_turn_at_a_staging_bucket(registered):
    limit = "/v2/concurrency_limits/staging-staging"
    assert registered.ask(limit)["limit"] == 20
    registered.ask(limit, {"limit": 1}, method="PATCH")
    code = "from flows.slots import slot\nwith slot('s3://staging/a.sgy'): print('in', flush=True); input()"

    def reader() -> subprocess.Popen[str]:
        environment = os.environ | {"PREFECT_API_URL": registered.api}
        words = [sys.executable, "-c", code]
        return subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    with reader() as first, reader() as second:
        ready, _, _ = select.select([first.stdout, second.stdout], [], [], 240)
        (held,) = (run for run in (first, second) if run.stdout in ready)
        waiting = second if held is first else first
        assert held.stdout.readline() == "in\n"
        assert registered.ask(limit)["active_slots"] == 1
        assert select.select([waiting.stdout], [], [], 5)[0] == []
        held.communicate("\n", timeout=60)
        assert waiting.stdout.readline() == "in\n"
        waiting.communicate("\n", timeout=60)
    assert registered.ask(limit)["active_slots"] == 0


@pytest.mark.parametrize("pool", ["docker-s", "kubernetes-s", "ecs-s", "cloud-run-s", "azure-s"])
def test_a_run_that_would_change_more_than_its_size_is_not_created(registered, pool):
    deployment = registered.ask(f"/deployments/name/publish/publish-{pool}")["id"]
    parameters = {"source": "s3://staging/a.sgy", "volume": "s3://volumes/a.zarr"}
    for name, value in ATTEMPTS.items():
        body = {"parameters": parameters, "job_variables": {name: value}}
        with pytest.raises(urllib.error.HTTPError, match="422"):
            registered.ask(f"/deployments/{deployment}/create_flow_run", body)
    body = {"parameters": parameters, "job_variables": {"labels": {"who": "me"}}}
    assert registered.ask(f"/deployments/{deployment}/create_flow_run", body)["id"]


@pytest.mark.parametrize(
    ("url", "limit"),
    [
        ("s3://staging/a/b.sgy", "staging-staging"),
        ("gs://other/a.sgy,gs://more/b.sgy", "staging-other"),
        ("/data/a.sgy", ""),
        ("memory://a/b.sgy", ""),
    ],
)
def test_a_limit_belongs_to_the_bucket(url, limit):
    assert limit_of(url) == limit


def test_an_operator_who_forgot_a_value_is_told_which(server):  # noqa: F811
    process = command(server, "register", "docker", SEISMILL_IMAGE=VALUES["SEISMILL_IMAGE"])
    _, err = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "\nthe pool 'docker' needs SEISMILL_ALLOW, SEISMILL_CREDENTIALS" in err


# Sweeps


def fill(folder: Path, *, files: int, bad: int) -> str:
    """Put files in a staging folder, of which the last ones are no SEG-Y; its name."""
    folder.mkdir(parents=True)
    make_survey(str(folder / "0.sgy"), shape=(9, 7, 33))
    for n in range(1, files):
        if n < files - bad:
            shutil.copy(folder / "0.sgy", folder / f"{n}.sgy")
        else:
            (folder / f"{n}.sgy").write_bytes(b"<html>" * 700)
    return str(folder)


@pytest.fixture
def staging(server: Server, request: pytest.FixtureRequest) -> str:  # noqa: F811
    """Six files, of which one is none, in a folder of the test's own; its name."""
    return fill(server.root / request.node.name / "staging", files=6, bad=1)


UNDER_WAY = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED")
STATES = (*ENDED, *UNDER_WAY)


def runs(server: Server, staging: str, states: Sequence[str] = STATES) -> list[dict[str, Any]]:  # noqa: F811
    """The runs of `publish` in these states that were created for the sources of one staging folder."""
    asked = {"flow_runs": {"state": {"type": {"any_": list(states)}}}, "sort": "ID_DESC", "limit": 200}
    found: list[dict[str, Any]] = []
    while page := server.ask("/flow_runs/filter", asked | {"offset": len(found)}):
        found += page
    return [run for run in found if str(run["parameters"].get("source", "")).startswith(staging)]


QUICK = {"settle_minutes": 0, "publication": {"steps": ["proof"]}}


def test_a_triggered_sweep_ends_completed_with_its_counts_and_a_table_of_sentences(server, staging):  # noqa: F811
    volumes = staging.replace("staging", "volumes")
    run = server.start("sweep", staging=staging, volumes=volumes, **QUICK)
    state = server.end(run, 300)
    assert (state["type"], state["message"]) == ("COMPLETED", "5 published, 1 quarantined")
    artifacts = server.artifacts(run)
    (row,) = json.loads(artifacts["table"][0]["data"])
    assert (row["source"], row["state"]) == ("5.sgy", "quarantined")
    assert "5.sgy" in row["sentence"]
    assert any(
        "catalogue.csv" in artifact["data"] for artifact in artifacts["markdown"]
    )  # what a link is to Prefect
    asked = {"filter": {"event": {"name": ["seismill.sweep.quarantined"]}}}
    events = until(lambda: server.ask("/events/filter", asked)["events"], 120)
    assert events[0]["payload"]["new"] == 1


def test_a_triggered_audit_completes_and_fails_with_a_table_and_an_event_once_a_volume_is_damaged(
    server,  # noqa: F811
    staging,
):
    volumes = staging.replace("staging", "volumes")
    assert (
        server.end(server.start("sweep", staging=staging, volumes=volumes, **QUICK), 300)["type"]
        == "COMPLETED"
    )
    state = server.end(server.start("audit", volumes=volumes), 300)
    assert state["type"] == "COMPLETED", state
    assert state["message"].startswith("5 sound, ")
    (Path(volumes) / "3.zarr" / "amplitude" / "zarr.json").unlink()
    run = server.start("audit", volumes=volumes, fraction=1)
    state = server.end(run, 300)
    assert (state["type"], state["name"]) == ("FAILED", "Failed")
    assert state["message"].startswith("1 of 5 volumes are damaged: ")
    (row,) = json.loads(server.artifacts(run)["table"][0]["data"])
    assert (row["source"], row["state"]) == (f"{volumes}/3.zarr", "damaged")
    asked = {"filter": {"event": {"name": ["seismill.audit.damaged"]}}}
    events = until(lambda: server.ask("/events/filter", asked)["events"], 120)
    assert events[0]["payload"]["damaged"] == 1
    outside = server.end(server.start("audit", volumes="/etc"))
    assert "is outside of what this worker may touch" in outside["message"]


def test_a_sweep_outside_of_what_is_allowed_touches_nothing(server, tmp_path):  # noqa: F811
    (tmp_path / "staging").mkdir()
    run = server.start("sweep", staging=str(tmp_path / "staging"), volumes=str(tmp_path / "volumes"))
    state = server.end(run)
    assert (state["type"], state["name"]) == ("FAILED", "Failed")
    assert "is outside of what this worker may touch" in state["message"]
    assert not (tmp_path / "volumes").exists()


def test_a_sweep_of_a_deployment_that_is_not_there_says_so(server, staging):  # noqa: F811
    run = server.start(
        "sweep", staging=staging, volumes=f"{staging}-v", deployment="publish/publish-mars", **QUICK
    )
    state = server.end(run)
    assert "the Prefect server has no deployment publish/publish-mars; register it" in state["message"]
