"""What is written for machines that are not here is held against what can be known here.

Compose and manifests are read, filled with values, and validated; every variable is explained; a server with
PostgreSQL and authentication is really started with the settings that compose gives it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.registration import ROOT, _filled
from tasks.demo import make_survey
from tasks.volume.store.objects import Store
from tasks.volume.store.writable import WritableStore
from tests.deployments.test_automations import processes_of
from tests.deployments.test_deployments import long_run
from tests.infra.test_pools import assert_restricted
from tests.support.command import SEISMILL
from tests.support.prefect_api import ENDED, Api, until
from tests.support.servers import free_port, wait_for

INFRA = ROOT / "infra"
EXAMPLE = dict(
    line.split("=", 1)
    for line in (INFRA / "env.example").read_text().splitlines()
    if line and not line.startswith("#")
)
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
MANIFESTS = ["namespace.yaml", "network.yaml", "dask.yaml"]
NAME = re.compile(r"\$\{([A-Z][A-Z0-9_]*)")


def manifests(file: str) -> list[dict[str, Any]]:
    """The documents of a manifest, filled with example values."""
    values = {name: value or "some-value" for name, value in EXAMPLE.items()}
    documents = yaml.safe_load_all((INFRA / "kubernetes" / file).read_text())
    return [_filled(document, values, []) for document in documents]


@pytest.mark.slow
def test_the_files_of_credentials_that_the_guide_shows_let_a_run_of_docker_reach_its_store(s3, tmp_path):
    """The two files below "One machine: docker" are all that the pool's environment names, with the store's address."""
    guide = (INFRA / "README.md").read_text().partition("### One machine: docker")[2].partition("###")[0]
    keys, stores = (
        re.search(rf"```{kind}\n(.*?)```", guide, re.DOTALL)[1]  # type: ignore[index]
        for kind in ("ini", "json")
    )
    (tmp_path / "fsspec").mkdir()
    assert "http://127.0.0.1:9000" in stores
    (tmp_path / "fsspec" / "stores.json").write_text(stores.replace("http://127.0.0.1:9000", s3))
    (tmp_path / "aws").write_text(keys)
    make_survey(str(tmp_path / "a.sgy"), shape=(5, 4, 9))
    WritableStore("s3://staging").put("a.sgy", (tmp_path / "a.sgy").read_bytes())
    pool = json.loads((INFRA / "pools" / "docker.json").read_text())["job_configuration"]["env"]
    given = {name: pool[name] for name in ("AWS_SHARED_CREDENTIALS_FILE", "FSSPEC_CONFIG_DIR")}
    given = {name: value.replace("/run/seismill", str(tmp_path)) for name, value in given.items()}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FSSPEC_"))
    }
    words = ["ingest-segy", "s3://staging/a.sgy", "s3://volumes/a.zarr", "--no-flow"]
    done = subprocess.run(
        [*SEISMILL, *words],
        env=environment | given | {"AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert Store("s3://volumes/a.zarr").exists("zarr.json")


# Variables


def test_every_variable_that_the_code_reads_is_explained():
    read = re.compile(r"""(?:environ(?:\.get\(|\[)|values\.get\()\s*"([A-Z_0-9]+)"|(SEISMILL_[A-Z_]+)""")
    found = {
        name
        for folder in ("flows", "tasks")
        for file in (ROOT / folder).rglob("*.py")
        for pair in read.findall(file.read_text())
        for name in pair
        if name
    }
    assert {"SEISMILL_ALLOW", "SEISMILL_DASK", "SEISMILL_NOTIFY", "PREFECT_API_URL"} <= found
    beginnings = {name for name in found if name.endswith("_") and any(e.startswith(name) for e in EXAMPLE)}
    assert found - beginnings <= EXAMPLE.keys()


@pytest.mark.parametrize(
    "file",
    [
        *sorted((INFRA / "pools").glob("*.json")),
        *sorted((INFRA / "kubernetes").glob("*.yaml")),
        INFRA / "compose.yaml",
        ROOT / "deployments" / "prefect.yaml",
    ],
    ids=lambda file: file.name,
)
def test_every_placeholder_is_explained(file):
    text = "\n".join(line for line in file.read_text().splitlines() if not line.lstrip().startswith("#"))
    names = set(NAME.findall(text)) | set(re.findall(r"\{\{ \$([A-Z_0-9]+) \}\}", text))
    assert names <= EXAMPLE.keys()


def test_every_variable_that_is_explained_is_read_somewhere():
    texts = [
        file.read_text()
        for pattern in (
            "infra/**/*.json",
            "infra/**/*.yaml",
            "infra/**/*.sh",
            "flows/*.py",
            "tasks/**/*.py",
            "deployments/*.yaml",
        )
        for file in ROOT.glob(pattern)
    ]
    assert [name for name in EXAMPLE if not any(name in text for text in texts)] == []


def test_every_setting_of_prefect_that_is_named_is_one():
    from prefect.settings.legacy import _get_valid_setting_names
    from prefect.settings.models.root import Settings

    known = _get_valid_setting_names(Settings) | {
        "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS",  # of its logging.yml
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR",  # read from the environment by `prefect flow-run execute`
        "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_NAME",  # prefect-kubernetes
        "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_KEY",
    }
    files = [file for file in INFRA.rglob("*") if file.is_file() and file.name != "requirements.lock"]
    named = {name for file in files for name in re.findall(r"\bPREFECT_[A-Z_0-9]+\b", file.read_text())}
    assert len(named) > 10
    assert named <= known


def test_runs_on_kubernetes_take_the_password_from_the_secret():
    settings = pytest.importorskip("prefect_kubernetes.settings")
    with pytest.MonkeyPatch.context() as environment:
        for variable in yaml.safe_load((INFRA / "kubernetes" / "worker.values.yaml").read_text())["worker"][
            "extraEnvVars"
        ]:
            environment.setenv(variable["name"], variable["value"])
        worker = settings.KubernetesSettings().worker
    assert (worker.api_auth_string_secret_name, worker.api_auth_string_secret_key) == (
        "prefect-auth",
        "auth-string",
    )


def test_no_secret_has_a_value_in_the_example():
    assert {
        name for name, value in EXAMPLE.items() if ("PASSWORD" in name or "AUTH_STRING" in name) and value
    } == set()
    assert "/infra/env" in (ROOT / ".gitignore").read_text().splitlines()


# Compose


def test_compose_gives_rights_to_none_and_ports_to_this_machine_alone():
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not service.get("privileged"), name
        if name not in ("postgres", "store"):  # images of others
            assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
    sockets = [name for name, one in COMPOSE["services"].items() if "docker.sock" in str(one.get("volumes"))]
    assert sockets == ["worker"]


def test_the_pool_s_network_is_the_one_that_compose_makes():
    network = COMPOSE["services"]["register"]["environment"]["SEISMILL_DOCKER_NETWORK"]
    assert network == f"{COMPOSE['name']}_default"


def test_register_is_given_every_value_that_the_docker_pool_wants():
    text = (INFRA / "pools" / "docker.json").read_text()
    wanted = set(re.findall(r"\$\{([A-Z_]+)\}", text))
    assert wanted <= COMPOSE["services"]["register"]["environment"].keys()


# Kubernetes


@pytest.mark.parametrize("file", MANIFESTS)
def test_manifests_are_valid(file):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for document in manifests(file):
        if document["apiVersion"].startswith("kubernetes.dask.org/"):
            continue  # not a resource of Kubernetes itself; its pods are looked at below
        kubernetes_validate.validate(document, "1.31", strict=True)


def test_pods_of_dask_are_valid_and_restricted():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    cluster, scaler = manifests("dask.yaml")
    for part in ("worker", "scheduler"):
        pod = cluster["spec"][part]["spec"]
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": part}, "spec": pod}, "1.31", strict=True
        )
        assert_restricted(pod)
        assert pod["automountServiceAccountToken"] is False
    assert (cluster["spec"]["worker"]["replicas"], scaler["spec"]["minimum"]) == (0, 0)
    assert "tolerations" not in cluster["spec"]["scheduler"]["spec"]  # it stays on demand
    assert scaler["spec"]["cluster"] == cluster["metadata"]["name"]


def test_dask_s_commands_take_the_flags_that_pods_give():
    cluster, _ = manifests("dask.yaml")
    for part, module in (
        ("worker", "distributed.cli.dask_worker"),
        ("scheduler", "distributed.cli.dask_scheduler"),
    ):
        words = cluster["spec"][part]["spec"]["containers"][0]["args"]
        help_text = subprocess.run(
            [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
        ).stdout
        for word in words:
            if word.startswith("--"):
                assert word.replace("--no-", "--") in help_text or word in help_text, word


def test_nothing_is_open_that_the_table_of_the_network_does_not_name():
    policies = {document["metadata"]["name"]: document["spec"] for document in manifests("network.yaml")}
    assert policies["nothing-else"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = {
        rule_port["port"]
        for spec in policies.values()
        for rule in spec.get("ingress", []) + spec.get("egress", [])
        for rule_port in rule["ports"]
    }
    table = (INFRA / "kubernetes" / "network.yaml").read_text().split("apiVersion")[0]
    assert {str(port) for port in ports} == set(re.findall(r"\b(\d{2,5})\b(?!\.)", table))
    blocks = [
        peer["ipBlock"]
        for spec in policies.values()
        for rule in spec.get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]
    for block in blocks:
        if block["cidr"] == "0.0.0.0/0":
            assert "169.254.0.0/16" in block["except"]  # the metadata of the machine is not a store


def test_server_and_worker_are_the_image_and_ask_for_the_password():
    for name in ("server", "worker"):
        (values,) = manifests(f"{name}.values.yaml")
        part = values[name]
        image = values["global"]["prefect"]["image"] if name == "server" else part["image"]
        assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", f"{image['repository']}:{image['prefectTag']}")
        assert part["basicAuth"] == {"enabled": True, "existingSecret": "prefect-auth"}
        assert part["containerSecurityContext"]["readOnlyRootFilesystem"] is True
        assert part["podSecurityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert values["worker"]["config"]["type"] == "kubernetes"


def test_the_smoke_test_talks_to_the_server_with_its_password(tmp_path):
    """What `in_server` sends is carried out by a shell that stands for the pod's, against a server that asks for it."""
    script = (INFRA / "kubernetes" / "smoke.sh").read_text()
    function = script[script.index("in_server() {") : script.index('echo "== namespace')]
    pod = 'kube() { while [ "$1" != -- ]; do shift; done; shift; "$@"; }\n'
    done = subprocess.run(
        [
            "bash",
            "-euc",
            pod + function + "in_server sh -c 'echo $PREFECT_API_AUTH_STRING at $PREFECT_API_URL' | cat",
        ],
        env={"PATH": os.environ["PATH"], "PREFECT_API_AUTH_STRING": "admin:two words"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "admin:two words at http://127.0.0.1:4200/api\n", done.stderr


@pytest.mark.slow
def test_compose_pins_its_images_and_makes_its_buckets(s3):
    images = [service["image"] for service in COMPOSE["services"].values()]
    assert not any(image.endswith((":latest", ":latest}")) for image in images)
    assert all("healthcheck" in COMPOSE["services"][name] for name in ("postgres", "server", "store"))
    program = COMPOSE["services"]["buckets"]["command"]
    values = os.environ | {"SEISMILL_STAGING": "s3://new-staging/a", "SEISMILL_VOLUMES": "s3://volumes"}
    for _ in range(2):
        done = subprocess.run([sys.executable, *program[1:]], env=values, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
    import s3fs

    assert s3fs.S3FileSystem(skip_instance_cache=True).exists("new-staging")


def test_the_smoke_test_is_a_script():
    assert os.access(INFRA / "kubernetes" / "smoke.sh", os.X_OK)
    subprocess.run(["bash", "-n", str(INFRA / "kubernetes" / "smoke.sh")], check=True)


# A server with PostgreSQL and authentication


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """The address of a PostgreSQL of this test."""
    program = shutil.which("postgres")
    found = [Path(program).resolve().parent] if program else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    port, binaries = free_port(), found[-1]
    # Not below tmp_path: the next pytest of this user closes its root to the user that the database has here.
    data = tempfile.mkdtemp(prefix="seismill-postgres-")
    as_user: dict[str, Any] = {}
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(data, "nobody")
        as_user = {"user": "nobody", "cwd": "/"}
    words = [f"{binaries}/initdb", "-D", data, "-U", "prefect", "--auth=trust", "--encoding=UTF8"]
    subprocess.run(words, check=True, capture_output=True, **as_user)
    words = [f"{binaries}/postgres", "-D", data, "-p", str(port), "-k", data, "-h", "127.0.0.1"]
    with open(tmp_path / "postgres.log", "wb") as log:  # a signal to the group of the test is none to it
        server = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, **as_user)
    try:
        create = [f"{binaries}/createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "prefect", "prefect"]
        until(lambda: subprocess.run(create, capture_output=True).returncode == 0, 120)
        yield f"127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(data)


AUTHORITY = "admin:a-password"


@pytest.mark.server
@pytest.mark.slow
def test_a_schedule_fires_on_postgresql_with_authentication_and_a_killed_run_is_finished(
    postgres, tmp_path, slow_staging
):
    port = free_port()
    server = Api(f"http://127.0.0.1:{port}/api", AUTHORITY)
    given = (
        COMPOSE["services"]["server"]["environment"]
        | {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://prefect@{postgres}/prefect",
            "PREFECT_SERVER_API_AUTH_STRING": AUTHORITY,
            "PREFECT_SERVER_UI_API_URL": server.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # as the image says
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",  # it looks for schedules once a minute otherwise
        }
    )
    environment = os.environ | given | {"PREFECT_HOME": str(tmp_path / "home"), "DO_NOT_TRACK": "1"}
    client = environment | {"PREFECT_API_URL": server.api, "PREFECT_API_AUTH_STRING": AUTHORITY}
    root = tmp_path / "root"
    root.mkdir()
    make_survey(str(root / "short.sgy"), shape=(19, 15, 53))
    prefect, started = [sys.executable, "-m", "prefect"], []
    log = open(tmp_path / "log", "wb")  # closed below, with what writes to it

    def start(*words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*prefect, *words], env=client, cwd=root, stdout=log, stderr=log)
        started.append(process)
        return process

    try:
        process = start("server", "start", "--host", "127.0.0.1", "--port", str(port))
        wait_for(f"{server.api}/health", process, 180)
        for authority in ("", "admin:wrong"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                Api(server.api, authority).ask("/flow_runs/filter", {})
        program = [*SEISMILL, "register", "process"]
        refused = subprocess.run(
            program, env=client | {"PREFECT_API_AUTH_STRING": ""}, cwd=root, capture_output=True
        )
        assert refused.returncode != 0
        subprocess.run(program, env=client, cwd=root, check=True, capture_output=True)
        server.hurry(sign=45, goes=10)
        client["SEISMILL_ALLOW"] = f"{root},s3://staging,{slow_staging.endpoint}"
        pool = ("--pool", "seismill", "--type", "process")
        worker = start("worker", "start", *pool)

        # As a sweep's nightly schedule, but every minute, and ended when it has fired.
        deployment = server.ask("/deployments/name/publish/publish")["id"]
        parameters = {"source": "short.sgy", "volume": "short.zarr", "steps": ["proof"]}
        schedule = {"schedule": {"interval": 60}, "active": True, "parameters": parameters}
        schedules = f"/deployments/{deployment}/schedules"
        (created,) = server.ask(schedules, [schedule])
        ended = {"flow_runs": {"state": {"type": {"any_": list(ENDED)}}}}
        (fired, *_) = until(lambda: server.ask("/flow_runs/filter", ended), 300)
        server.ask(f"{schedules}/{created['id']}", {"active": False}, method="PATCH")
        assert fired["created_by"]["type"] == "SCHEDULE"
        assert fired["state"]["type"] == "COMPLETED", fired["state"]
        assert (root / "short.zarr" / "zarr.json").exists()

        # Not the scheduled one: Prefect tells nobody that it scheduled it, and what happens to a run within five
        # minutes of that is therefore looked at by automations after a quarter of an hour.
        run = server.start("publish", steps=["proof"], **long_run(root, "long", slow_staging))
        noted = "long.zarr/.seismill/runs/*/ledger/*"
        until(lambda: list(root.glob(noted)) and server.gave_a_sign(run), 300)
        worker.kill()
        for pid in processes_of(run):
            os.kill(pid, signal.SIGKILL)
        server.until(run, lambda state: state["name"] == "AwaitingRetry", 240)
        assert not (root / "long.zarr" / "zarr.json").exists()
        slow_staging.hurry()
        start("worker", "start", *pool)
        state = server.until(run, lambda state: state["type"] in ("COMPLETED", "FAILED", "CANCELLED"), 300)
        assert state["type"] == "COMPLETED", state
        assert (root / "long.zarr" / "zarr.json").exists()
        assert b"prefect_" in server.read("/metrics")
    finally:
        for process in reversed(started):
            if process.poll() is None:
                process.terminate()
                process.wait(60)
        log.close()
