"""infra/kubernetes/smoke.sh from its first line to its last, on a server with the chart's settings and its password.

There is no cluster: `kubectl` and `helm` are programs that stand for it. What they are given is carried out as
processes here: what is executed in the server's pod, the pod that registers, and a pod of a run, which is evicted.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.registration import template_of
from tasks.demo import make_survey
from tests import ROOT
from tests.infra.test_infra import AUTHORITY, INFRA, manifests
from tests.infra.test_pools import VALUES
from tests.support.prefect_api import Api
from tests.support.servers import SlowStaging, free_port, wait_for

pytestmark = [pytest.mark.campaign, pytest.mark.server, pytest.mark.timeout(900)]

# Written with the test's own values in the place of @…@.
KUBECTL = r'''#!@python@ -P
"""Stand for a cluster; each call is noted."""
import json, os, re, signal, subprocess, sys, time
words = sys.argv[1:]
open("@root@/calls", "a").write(json.dumps(words) + "\n")
inside = os.environ | json.load(open("@root@/inside.json"))
if words[0] == "--namespace":
    words = words[2:]
if words[0] == "exec":
    sys.exit(subprocess.run(words[words.index("--") + 1:], env=inside).returncode)
if words[0] == "run":
    (pod,) = json.loads(next(w for w in words if w.startswith("--overrides="))[12:])["spec"]["containers"]
    given = {e["name"]: e.get("value", "@authority@") for e in pod["env"]} | {"PREFECT_API_URL": "@api@"}
    sys.exit(subprocess.run([*pod["args"]], env=inside | given, cwd="@root@").returncode)
if words[0] == "wait":
    run = words[words.index("-l") + 1].split("=")[1]
    subprocess.Popen(
        ["@python@", "-P", "@root@/pods.py", run], stdout=open("@root@/pods.log", "ab"), stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, start_new_session=True, cwd="@root@"
    )
    while not os.path.exists("@root@/pod.pid"):
        time.sleep(0.1)
if words[0] == "delete":
    os.kill(int(open("@root@/pod.pid").read()), signal.SIGTERM)
    os.unlink("@root@/pod.pid")
    open("@root@/evicted", "w").close()
if words[0] == "apply":
    print(sys.stdin.read()[:0], end="")
'''
# The pod of a run; after it was evicted, the pod of its next attempt, which the worker would make when it is due.
PODS = r"""
import json, os, subprocess, sys, time
sys.path.insert(0, "@tree@")
from tests.support.prefect_api import Api
given = os.environ | json.load(open("@root@/pod.json"))
server = Api("@api@", "@authority@")
deployment = server.ask("/flow_runs/" + sys.argv[1])["deployment_id"]
there = [{"prefect.deployments.steps.set_working_directory": {"directory": "@root@"}}]  # here is no /app
server.ask("/deployments/" + deployment, {"pull_steps": there}, method="PATCH")
for attempt in range(2):
    pod = subprocess.Popen(["@python@", "-P", "-m", "prefect", "flow-run", "execute", sys.argv[1]], env=given)
    open("@root@/pod.pid", "w").write(str(pod.pid))
    if pod.wait() == 0 and not os.path.exists("@root@/evicted"):
        break
    time.sleep(1)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Api]:
    """A server with the environment that the chart's values give it, and authentication as the chart sets it."""
    port = free_port()
    (values,) = manifests("server.values.yaml")
    given = {entry["name"]: entry["value"] for entry in values["server"]["env"]}
    given |= {
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": AUTHORITY,
        "PREFECT_HOME": str(tmp_path / "server"),
    }
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "prefect",
                "server",
                "start",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ],
            env=os.environ | given,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/api/health", process, 300)
            yield Api(f"http://127.0.0.1:{port}/api", AUTHORITY)
        finally:
            process.kill()
            process.wait(60)


def test_the_smoke_path_ends_well_after_an_eviction(
    server: Api, slow_staging: SlowStaging, tmp_path: Path
) -> None:
    make_survey(str(tmp_path / "smoke.sgy"), shape=(150, 100, 301))
    source = slow_staging.put(tmp_path / "smoke.sgy")
    environment = VALUES | {
        "SEISMILL_NAMESPACE": "seismill",
        "SEISMILL_ALLOW": "s3://staging,s3://volumes",
        "PREFECT_API_AUTH_STRING": AUTHORITY,
        "DATABASE_URL": "postgresql+asyncpg://u@h/d",
        "SMOKE_SOURCE": source,
    }
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    own = os.environ | {"PATH": f"{bin_}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    pod = {
        entry["name"]: entry["value"]
        for entry in template_of("kubernetes", environment)["job_configuration"]["env"]
        if "value" in entry
    }
    pod |= {
        "PREFECT_API_URL": server.api,
        "PREFECT_API_AUTH_STRING": AUTHORITY,
        "FSSPEC_S3_ENDPOINT_URL": slow_staging.endpoint,
    }
    pod |= {"PREFECT_HOME": str(tmp_path / "pod"), "HOME": str(tmp_path)}
    pod |= {
        name: str(tmp_path / name.lower())
        for name in ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "SEISMILL_SCRATCH")
        if name in pod
    }
    inside = {"PREFECT_HOME": str(tmp_path / "inside"), "COLUMNS": "80"}
    (tmp_path / "inside.json").write_text(json.dumps(inside))
    (tmp_path / "pod.json").write_text(json.dumps(pod))
    fill = {
        "tree": str(ROOT),
        "python": sys.executable,
        "root": str(tmp_path),
        "api": server.api,
        "authority": AUTHORITY,
    }
    for name, text in (
        ("bin/kubectl", KUBECTL),
        ("pods.py", PODS),
        ("bin/helm", "#!/bin/sh\ncat >/dev/null\n"),
    ):
        for word, value in fill.items():
            text = text.replace(f"@{word}@", value)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    # In the pod the server listens on its own port 4200.
    script = (INFRA / "kubernetes" / "smoke.sh").read_text()
    assert "http://127.0.0.1:4200/api" in script
    copy = tmp_path / "kubernetes"
    copy.mkdir()
    for file in (INFRA / "kubernetes").iterdir():
        (copy / file.name).write_text(file.read_text().replace("http://127.0.0.1:4200/api", server.api))
    done = subprocess.run(
        ["bash", str(copy / "smoke.sh")], env=own | environment, capture_output=True, text=True, timeout=800
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"all well: s3://volumes/smoke-\d+\.zarr", done.stdout)
    # Beside it lie the scheduled runs of the night.
    (run,) = [r for r in server.ask("/flow_runs/filter", {}) if r["parameters"].get("source") == source]
    names = [state["name"] for state in server.ask(f"/flow_run_states/?flow_run_id={run['id']}")]
    print(names)
    assert "AwaitingRetry" in names
    assert run["state"]["type"] == "COMPLETED"
    called = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert {words[2] for words in called if words[0] == "--namespace"} >= {
        "create",
        "apply",
        "run",
        "exec",
        "wait",
        "delete",
    }
