"""A run whose container is asked to stop while its replacement starts already, as on Kubernetes and Cloud Run."""

import os
import subprocess
import sys
from typing import Any

import pytest
from emulators.faults import FaultProxy, Rule
from prefect_api import until
from survey import make_survey
from test_automations import hurried, idle, server  # noqa: F401  # fixtures
from test_deployments import Server
from test_pools import VALUES

from flows.registration import template_of
from tasks.verify import verify
from tasks.volume.store import Store


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_replacement_that_starts_while_the_old_process_drains_completes_the_one_run(
    idle: Server,  # noqa: F811
    s3: str,
    tmp_path: Any,
) -> None:
    survey = make_survey(tmp_path / "a.sgy", inlines=range(64), crosslines=range(50), n_samples=301, drop=7)
    Store("s3://staging").put("a.sgy", survey.content)
    volume = Store("s3://volumes/a.zarr")
    parameters = {
        "source": "s3://staging/a.sgy",
        "volume": volume.url,
        "master": {"chunks": [4, 8, 64]},
        "run": {"memory": "20 MB"},
        "steps": ["proof"],
    }
    run = idle.start("publish", **parameters)
    template = template_of("docker", VALUES)["job_configuration"]

    def container(endpoint: str) -> subprocess.Popen[bytes]:
        environment = os.environ | template["env"] | {"FSSPEC_S3_ENDPOINT_URL": endpoint}
        environment |= {"PREFECT_API_URL": idle.api, "PREFECT_HOME": str(idle.root / "home")}
        environment |= {"SEISMILL_ALLOW": "s3://staging,s3://volumes"}
        words = [sys.executable, "-m", *template["command"].split(), run]
        with open(tmp_path / "container.log", "ab") as log:
            return subprocess.Popen(words, env=environment, cwd=idle.root, stdout=log, stderr=log)

    with FaultProxy(s3) as proxy:
        first = container(proxy.url)

        def noted() -> bool:
            assert first.poll() is None, (tmp_path / "container.log").read_text()
            return bool([key for key in volume.keys(".seismill/runs") if "/ledger/" in key])

        until(noted, 600)
        # What is in flight takes as long as draining may.
        proxy.do(Rule("stall", method="PUT", match="/amplitude/c/", times=4, seconds=7))
        until(lambda: proxy.fired, 60)
        first.terminate()
        second = container(s3)
        assert first.wait(120) is not None
        print(f"the first ended with {first.returncode}, the second {second.poll()}")
        assert second.wait(600) == 0, (tmp_path / "container.log").read_text()
    state = idle.end(run)
    history = [state["name"] for state in idle.ask(f"/flow_run_states/?flow_run_id={run}")]
    print(history)
    assert (state["type"], state["name"]) == ("COMPLETED", "Completed")
    assert history.count("Completed") == 1
    assert not {"Failed", "Crashed", "Resumable"} & set(history)
    assert verify(volume.url, errors=True)["findings"] == []
