"""What an operator is spared: crashed runs are noticed and gone on with, and what nobody can go on with is told of."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.registration import AUTOMATIONS, automations, template_of, with_notification
from tests.deployments.test_deployments import HOME, Server, long_run, server  # noqa: F401  # a fixture, for all tests of this module
from tests.infra.test_pools import VALUES
from tests.support.prefect_api import until

FILES = sorted(AUTOMATIONS.glob("*.yaml"))
DOCUMENTS = {file.stem: document for file, document in zip(FILES, automations(), strict=True)}
ANY_BLOCK = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_automation_is_one_that_prefect_takes_with_and_without_somebody_to_tell(name):
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    document = DOCUMENTS[name]
    assert document.keys() <= AutomationCore.model_fields.keys()
    assert document["trigger"].keys() <= EventTrigger.model_fields.keys()
    assert "*" not in document["name"]  # by its name it is found when it is registered again
    for block in ("", ANY_BLOCK):
        automation = AutomationCore.model_validate(with_notification(document, block))
        assert automation.enabled
        # Each of them tells of what it does, or of what it sees.
        assert any(isinstance(action, SendNotification) for action in automation.actions) == bool(block)
        for action in automation.actions:
            if isinstance(action, SendNotification):
                assert str(action.block_document_id) == ANY_BLOCK


def test_a_run_is_gone_on_with_at_most_five_times_in_a_day():
    resume, give_up = DOCUMENTS["2-resume"]["trigger"], DOCUMENTS["3-give-up"]["trigger"]
    assert set(resume["after"]) == set(give_up["expect"])
    assert (give_up["threshold"], give_up["within"]) == (6, 24 * 3600)


def test_a_run_has_missed_several_signs_before_it_is_given_up_for_dead():
    every = int(template_of("process", {})["job_configuration"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert DOCUMENTS["1-zombies"]["trigger"]["within"] >= 3 * every


# On a server


@pytest.fixture
def hurried(server: Server) -> Server:  # noqa: F811
    """The server, whose automations act at once, except that a sign of life comes every 30 s at most."""
    server.hurry(sign=45, goes=10, waits=10)
    return server


@pytest.mark.server
@pytest.mark.slow
def test_when_worker_and_flow_are_killed_the_run_crashes_is_scheduled_again_and_completes(
    hurried, slow_staging
):
    run = hurried.start("publish", steps=["proof"], **long_run(hurried.root, "long", slow_staging))
    noted = "long.zarr/.seismill/runs/*/ledger/*"
    until(lambda: list(hurried.root.glob(noted)) and hurried.gave_a_sign(run), 240)
    worker = json.loads((hurried.root / HOME / "processes.json").read_text())["worker"]["pid"]
    os.killpg(worker, signal.SIGKILL)
    for pid in processes_of(run):
        os.kill(pid, signal.SIGKILL)
    assert hurried.ask(f"/flow_runs/{run}")["state"]["type"] == "RUNNING"
    state = hurried.until(run, lambda state: state["type"] == "CRASHED", 180)
    assert state["message"] == "No sign of life for two minutes; its machine is gone"
    state = hurried.until(run, lambda state: state["type"] == "SCHEDULED", 90)
    assert (state["name"], state["message"]) == ("AwaitingRetry", "Going on where it stopped")
    slow_staging.hurry()
    assert hurried.up().returncode == 0
    assert hurried.end(run, 240)["type"] == "COMPLETED"
    of_run = {"flow_runs": {"id": {"any_": [run]}}}
    until(lambda: not {"PENDING", "RUNNING"} & states_of_tasks(hurried, of_run), 60)
    assert (hurried.root / "long.zarr" / "zarr.json").exists()


def states_of_tasks(server: Server, of_run: dict[str, Any]) -> set[str]:  # noqa: F811
    """The states of the task runs of a flow run."""
    return {task["state"]["type"] for task in server.ask("/task_runs/filter", of_run)}


def processes_of(run: str) -> list[int]:
    """Processes whose environment names this flow run."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and run.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it ended, or it is somebody else's
            continue
    return found


@pytest.fixture
def idle(hurried: Server) -> Iterator[Server]:
    """The server while its pool starts nothing."""
    hurried.ask("/work_pools/seismill", {"is_paused": True}, method="PATCH")
    yield hurried
    hurried.ask("/work_pools/seismill", {"is_paused": False}, method="PATCH")


@pytest.mark.server
@pytest.mark.slow
def test_a_run_that_stops_again_and_again_is_given_up_after_the_fifth_retry(idle):
    run = idle.start("verify", volume="none.zarr")
    stopped = {"state": {"type": "FAILED", "name": "Resumable", "message": "stopped"}}
    for _ in range(5):
        idle.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})
        idle.ask(f"/flow_runs/{run}/set_state", stopped)
        state = idle.until(run, lambda state: state["type"] == "SCHEDULED", 90)
        assert state["name"] == "AwaitingRetry"
    idle.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    idle.ask(f"/flow_runs/{run}/set_state", stopped)
    state = idle.until(run, lambda state: state["name"] == "GaveUp", 90)
    assert state["type"] == "FAILED"
    time.sleep(25)
    assert idle.ask(f"/flow_runs/{run}")["state"]["name"] == "GaveUp"


@pytest.mark.server
@pytest.mark.slow
def test_a_run_that_stops_after_the_server_was_killed_is_gone_on_with_at_once(idle):
    run = idle.start("verify", volume="none.zarr")
    idle.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "RUNNING"}, "force": True})
    process = json.loads((idle.root / HOME / "processes.json").read_text())["server"]["pid"]
    os.kill(process, signal.SIGKILL)
    assert idle.up().returncode == 0
    idle.hurry(goes=10)
    idle.ask("/work_pools/seismill", {"is_paused": True}, method="PATCH")
    stopped = {"state": {"type": "FAILED", "name": "Resumable", "message": "stopped"}}
    idle.ask(f"/flow_runs/{run}/set_state", stopped)
    assert idle.until(run, lambda state: state["type"] == "SCHEDULED", 90)["name"] == "AwaitingRetry"


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of somebody who is told things, and what that was."""
    heard: list[dict[str, Any]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    listener = HTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}", heard
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.mark.server
@pytest.mark.slow
def test_a_stuck_run_and_a_growing_quarantine_are_told_of(idle, told):
    address, heard = told
    kind = idle.ask("/block_types/slug/custom-webhook")
    schema = idle.ask("/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}})[
        0
    ]
    data = {"name": "x", "url": address, "method": "POST", "json_data": {"said": "{{subject}} - {{body}}"}}
    idle.ask(
        "/block_documents/",
        {"name": "ops", "data": data, "block_type_id": kind["id"], "block_schema_id": schema["id"]},
    )
    os.environ["SEISMILL_NOTIFY"] = "custom-webhook/ops"
    try:
        started = idle.up()
        assert started.returncode == 0
        assert "notifications: 8 automations notify custom-webhook/ops" in started.stdout
    finally:
        del os.environ["SEISMILL_NOTIFY"]
    idle.hurry(waits=10)
    run = idle.start("verify", volume="none.zarr")
    idle.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "PENDING"}, "force": True})
    event = {
        "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": "seismill.sweep.quarantined",
        "resource": {"prefect.resource.id": "seismill.volumes.s3://volumes"},
        "payload": {"new": 2, "sentences": ["a.sgy: no", "b.sgy: neither"]},
        "id": "11111111-1111-4111-8111-111111111111",
    }
    idle.ask("/events", [event])
    until(lambda: len(heard) >= 2, 180, said=lambda: heard)
    messages = sorted(str(message["said"]) for message in heard)
    assert any("2 new in quarantine" in text and "a.sgy: no" in text for text in messages)
    assert any(text.startswith("A run is stuck") for text in messages)


@pytest.mark.server
@pytest.mark.slow
def test_what_a_container_runs_is_given_back_on_sigterm_and_a_second_one_finishes_it(idle, slow_staging):
    """The command and the environment of every container pool, as a process: without its walls."""
    run = idle.start("publish", steps=["proof"], **long_run(idle.root, "given-back", slow_staging))
    template = template_of("docker", VALUES)["job_configuration"]
    environment = os.environ | template["env"]
    environment |= {"PREFECT_API_URL": idle.api, "PREFECT_HOME": str(idle.root / "home")}
    environment |= {"SEISMILL_ALLOW": f"{idle.root},s3://staging,{slow_staging.endpoint}"}

    def container() -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", *template["command"].split(), run]
        with open(idle.root / "container.log", "ab") as log:
            return subprocess.Popen(words, env=environment, cwd=idle.root, stdout=log, stderr=log)

    first = container()

    def noted() -> bool:
        assert first.poll() is None
        return any(idle.root.glob("given-back.zarr/.seismill/runs/*/ledger/*"))

    until(noted, 240)
    began = time.monotonic()
    first.terminate()
    first.wait(40)
    state = idle.until(run, lambda state: state["type"] != "RUNNING", 30)
    assert (state["type"], state["name"]) == ("SCHEDULED", "AwaitingRetry"), state
    print(f"SIGTERM to the end of the process in {time.monotonic() - began:.1f} s")
    assert not processes_of(run)
    assert not (idle.root / "given-back.zarr" / "zarr.json").exists()
    slow_staging.hurry()
    second = container()
    assert second.wait(240) == 0
    assert idle.ask(f"/flow_runs/{run}")["state"]["type"] == "COMPLETED"
    assert (idle.root / "given-back.zarr" / "zarr.json").exists()
