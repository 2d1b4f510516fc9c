"""A run in a container whose surroundings change: a replacement starts while it drains, or the Prefect API is gone.

A proxy before the store holds it in the middle of its work until something was done to it. SEISMILL_DRAIN says for how
many seconds what is in flight keeps a process that is asked to stop; a container's runtime gives it 10.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.registration import template_of
from tasks.verify import verify
from tasks.volume.store.writable import WritableStore
from tests.deployments.test_automations import hurried, idle, server  # noqa: F401  # fixtures
from tests.deployments.test_deployments import Server
from tests.infra.test_pools import VALUES
from tests.support.emulators.faults import FaultProxy, Rule
from tests.support.prefect_api import until
from tests.support.survey import make_survey

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(1800)]

VOLUME = "s3://volumes/a.zarr"
DRAIN = float(os.environ.get("SEISMILL_DRAIN", "7"))


@pytest.fixture
def proxy(s3: str, tmp_path: Path) -> Iterator[FaultProxy]:
    """Before an S3 server that has a survey in staging."""
    survey = make_survey(tmp_path / "a.sgy", inlines=range(64), crosslines=range(50), n_samples=301, drop=7)
    WritableStore("s3://staging").put("a.sgy", survey.content)
    with FaultProxy(s3) as proxy:
        yield proxy


def trigger(server: Server) -> str:  # noqa: F811
    """A run that nobody has begun yet."""
    return server.start(
        "publish",
        source="s3://staging/a.sgy",
        volume=VOLUME,
        master={"chunks": [8, 16, 128], "shards": [0]},
        steps=["proof"],
    )


class Container:
    """The command and the environment of a container pool, as a process: without its walls."""

    def __init__(self, server: Server, run: str, endpoint: str, log: Path) -> None:  # noqa: F811
        template = template_of("docker", VALUES)["job_configuration"]
        environment = os.environ | template["env"] | {"FSSPEC_S3_ENDPOINT_URL": endpoint}
        environment |= {"PREFECT_API_URL": server.api, "PREFECT_HOME": str(server.root / "home")}
        environment |= {"SEISMILL_ALLOW": "s3://staging,s3://volumes"}
        words = [sys.executable, "-m", *template["command"].split(), run]
        self.log = log
        with open(log, "wb") as file:
            self.process = subprocess.Popen(words, env=environment, cwd=server.root, stdout=file, stderr=file)

    def reaches(self, proxy: FaultProxy) -> None:
        """Wait until it asks what the proxy spoils."""

        def reached() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return proxy.fired > 0

        until(reached, 600)


def check_completed(server: Server, run: str) -> None:  # noqa: F811
    """The run completed once, was never seen to fail, and what it wrote is right."""
    state = server.end(run)
    states: list[Any] = server.ask(f"/flow_run_states/?flow_run_id={run}")
    history = [state["name"] for state in states]
    print([f"{state['timestamp'][11:19]} {state['name']}" for state in states])
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed")
    assert history.count("Completed") == 1
    assert not {"Failed", "Crashed", "Resumable"} & set(history)
    assert verify(VOLUME, errors=True)["findings"] == []


def test_a_replacement_that_starts_while_the_old_process_drains_completes_the_one_run(
    idle: Server,  # noqa: F811
    s3: str,
    proxy: FaultProxy,
    tmp_path: Path,
) -> None:
    run = trigger(idle)
    # What is in flight when it is asked to stop takes about as long as draining may.
    proxy.do(Rule("stall", method="PUT", match="/amplitude/c/", after=10, times=2, seconds=DRAIN))
    first = Container(idle, run, proxy.url, tmp_path / "first.log")
    first.reaches(proxy)
    first.process.terminate()
    asked = time.monotonic()
    print(f"asked to stop at {datetime.now(UTC):%H:%M:%S}")
    second = Container(idle, run, s3, tmp_path / "second.log")
    assert first.process.wait(120) is not None
    drained = time.monotonic() - asked
    print(
        f"the first ended with {first.process.returncode} after {drained:.1f} s, the second {second.process.poll()}"
    )
    assert second.process.wait(600) == 0, first.log.read_text() + second.log.read_text()
    check_completed(idle, run)


def test_a_server_that_is_gone_for_half_a_minute_stops_no_run(
    idle: Server,  # noqa: F811
    proxy: FaultProxy,
    tmp_path: Path,
) -> None:
    run = trigger(idle)
    api = json.loads((idle.root / ".seismill-server/processes.json").read_text())["server"]["pid"]
    proxy.do(Rule("stall", method="PUT", match="/amplitude/c/", after=10, times=2, seconds=20))
    container = Container(idle, run, proxy.url, tmp_path / "log")
    container.reaches(proxy)
    os.kill(api, signal.SIGSTOP)
    try:
        time.sleep(30)
    finally:
        os.kill(api, signal.SIGCONT)
    assert container.process.wait(600) == 0, container.log.read_text()
    check_completed(idle, run)
