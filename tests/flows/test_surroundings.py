"""Machines as they are: proxies, another Prefect's home, folders named as ours, no home, two at once, a dead API.

flows/surroundings.py, flows/embedded.py, flows/api.py and flows/server.py, by the installed command.

Covers flows/embedded.py, flows/prefect_module.py, flows/processes.py.
"""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from flows.embedded import locked
from flows.surroundings import server_environment, shield, state_folder
from tasks.demo import make_survey
from tests.support.prefect_api import Api, until
from tests.support.servers import free_port

SEISMILL = Path(sys.executable).parent / "seismill"
FOLDER = f"prefect-{version('prefect')}"
QUICK = ("--no-copies", "--no-pyramid", "--no-report")
DEAD_PROXY = "http://127.0.0.1:9"


def seismill(
    *words: str, cwd: Path, environment: Mapping[str, str], seconds: float = 300
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SEISMILL, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=seconds
    )


def without(*names: str) -> dict[str, str]:
    """This process's environment without its state folder, its Prefect's settings and these."""
    gone = ("XDG_STATE_HOME", *names)
    return {
        name: value
        for name, value in os.environ.items()
        if name not in gone and not name.startswith("PREFECT_")
    }


@pytest.mark.parametrize(
    ("given", "no_proxy"),
    [
        ({"HTTPS_PROXY": "x"}, "127.0.0.1,localhost,::1"),
        ({"all_proxy": "x", "NO_PROXY": ".corp, localhost"}, ".corp,localhost,127.0.0.1,::1"),
        ({"http_proxy": "x", "no_proxy": "a", "NO_PROXY": "b"}, "a,127.0.0.1,localhost,::1"),
        ({"http_proxy": "x", "no_proxy": "*"}, "*"),
    ],
)
def test_loopback_is_kept_off_proxies_and_what_the_user_excepted_too(given, no_proxy):
    environment = dict(given)
    shield(environment)
    assert environment["no_proxy"] == environment["NO_PROXY"] == no_proxy
    assert environment["PYTHONSAFEPATH"] == "1"
    assert given.items() - {("NO_PROXY", given.get("NO_PROXY"))} <= environment.items() | {("no_proxy", "a")}


def test_without_a_proxy_nothing_is_said_of_proxies():
    environment = {"NO_PROXY": "a"}
    shield(environment)
    assert environment == {"NO_PROXY": "a", "PYTHONSAFEPATH": "1"}


def test_a_server_of_ours_has_nothing_of_another_servers_settings():
    others = {
        "PREFECT_API_DATABASE_CONNECTION_URL": "x",
        "PREFECT_SERVER_DATABASE_NAME": "x",
        "PREFECT_API_KEY": "x",
        "PREFECT_PROFILE": "x",
        "PREFECT__FLOW_RUN_ID": "x",
        "PREFECT_SERVER_API_AUTH_STRING": "x",
        "PREFECT_MESSAGING_BROKER": "x",
    }
    environment = server_environment(
        Path("/home/state"), "http://127.0.0.1:1/api", others | {"PREFECT_WORKER_QUERY_SECONDS": "2"}
    )
    assert environment["PREFECT_WORKER_QUERY_SECONDS"] == "2"
    assert environment["PREFECT_HOME"] == "/home/state"
    assert "x" not in environment.values()


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ({"XDG_STATE_HOME": "/a", "HOME": "/b"}, "/a/seismill"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/b"}, "/b/.local/state/seismill"),
        ({"HOME": "/b"}, "/b/.local/state/seismill"),
    ],
)
def test_state_lies_where_the_xdg_convention_has_it(monkeypatch, given, folder):
    monkeypatch.delenv("XDG_STATE_HOME")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert state_folder() == Path(folder)


# By the command


class Hostile:
    """A project's folder with flows/ and tasks/ of its own, on a company's machine that has another Prefect."""

    def __init__(self, top: Path) -> None:
        self.project, self.home = top / "Meßdaten 2 #", top / "Österreich home"
        for name in ("flows", "tasks"):
            (self.project / name).mkdir(parents=True)
            (self.project / name / "__init__.py").write_text("")
        (self.project / "flows" / "publish.py").write_text("raise SystemExit('code of the project')")
        (self.project / "prefect.py").write_text("raise SystemExit('code of the project')")
        foreign = self.home / ".prefect"
        foreign.mkdir(parents=True)
        with sqlite3.connect(foreign / "prefect.db") as database:
            database.execute("create table alembic_version (version_num varchar(32))")
            database.execute("insert into alembic_version values ('of_another_version')")
        database.close()
        (foreign / "profiles.toml").write_text(
            f'active = "own"\n[profiles.own]\n'
            f'PREFECT_API_DATABASE_CONNECTION_URL = "sqlite+aiosqlite:///{foreign}/prefect.db"\n'
        )
        self.environment = without("HOME") | {
            "HOME": str(self.home),
            "HTTP_PROXY": DEAD_PROXY,
            "HTTPS_PROXY": DEAD_PROXY,
            "ALL_PROXY": DEAD_PROXY,
            "COLUMNS": "40",
            "LC_ALL": "C",
            "PREFECT_SERVER_API_AUTH_STRING": "somebody:secret",
        }
        self.state = self.home / ".local" / "state" / "seismill"
        self.before = self.foreign()

    def foreign(self) -> dict[str, bytes]:
        """What lies in the other Prefect's home and in the project's own folders."""
        tops = (self.home / ".prefect", self.project / "flows", self.project / "tasks")
        return {str(file): file.read_bytes() for top in tops for file in top.rglob("*") if file.is_file()}

    def run(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Call the command there."""
        return seismill(*words, cwd=cwd or self.project, environment=self.environment)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    return Hostile(tmp_path_factory.mktemp("hostile"))


@pytest.mark.server
def test_the_first_command_of_the_readme_works_in_all_of_it_at_once(hostile):
    done = hostile.run("demo")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "export identical: yes"
    assert (hostile.state / FOLDER / "embedded-1" / "prefect.db").exists()
    assert hostile.foreign() == hostile.before


@pytest.fixture(scope="module")
def up(hostile: Hostile) -> Iterator[Api]:
    """`seismill up` in the project's folder; ended from another one."""
    port = free_port()
    try:
        done = hostile.run("up", "--port", str(port))
        assert done.returncode == 0, done.stderr
        yield Api(f"http://127.0.0.1:{port}/api")
    finally:
        down = hostile.run("down", "--stop-runs", cwd=Path("/"))
        assert down.stdout == "worker: ended\nserver: ended\n", down.stderr
        assert (
            hostile.run("down", cwd=Path("/")).stdout == "worker: was not running\nserver: was not running\n"
        )


@pytest.mark.server
def test_up_and_a_triggered_publish_work_in_all_of_it_at_once(hostile, up):
    make_survey(str(hostile.project / "Größe 1.sgy"), shape=(9, 7, 33))
    state = up.end(up.start("publish", source="Größe 1.sgy", volume="Größe 1.zarr", steps=["proof"]))
    assert state["type"] == "COMPLETED", state
    assert (hostile.project / "Größe 1.zarr" / "zarr.json").exists()
    assert (hostile.state / "server" / FOLDER / "prefect.db").exists()
    assert hostile.foreign() == hostile.before


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    make_survey(str(tmp_path / "a.sgy"), shape=(9, 7, 33))
    return tmp_path / "a.sgy"


@pytest.mark.server
def test_a_home_that_cannot_be_written_makes_the_database_a_temporary_one(tmp_path, survey):
    environment = without() | {
        "HOME": "/proc/none",
        "TMPDIR": str(tmp_path),
    }  # root may not write there either
    done = seismill("publish", str(survey), "a.zarr", *QUICK, cwd=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert "Prefect's database cannot be kept ([Errno" in done.stderr
    assert not list(tmp_path.glob("seismill-prefect-*"))
    refused = seismill("up", cwd=tmp_path, environment=environment, seconds=60)
    assert refused.returncode == 1
    assert refused.stderr.startswith("the server's state cannot be kept ([Errno")
    assert refused.stderr.endswith("give a folder that can be written with --home\n")


@pytest.mark.server
def test_two_at_once_have_a_server_each_and_a_database_left_half_made_is_made_anew(tmp_path, survey):
    environment = without() | {"XDG_STATE_HOME": str(tmp_path / "state")}
    parent = tmp_path / "state" / "seismill" / FOLDER
    (parent / "embedded-1").mkdir(parents=True)
    (parent / "embedded-1" / "prefect.db").write_bytes(b"cut off")
    both = [
        subprocess.Popen(
            [SEISMILL, "publish", survey, tmp_path / f"{name}.zarr", *QUICK, "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for name in "ab"
    ]
    for process in both:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert json.loads(out.splitlines()[-1])["proven_at"]
    assert sorted(file.name for file in parent.glob("embedded-*")) == ["embedded-1", "embedded-2"]


@pytest.mark.server
def test_an_embedded_server_ends_with_a_command_that_is_killed(tmp_path, survey):
    folder = tmp_path / "state" / "seismill" / FOLDER / "embedded-1"
    environment = without() | {"XDG_STATE_HOME": str(tmp_path / "state")}
    words = [SEISMILL, "publish", survey, tmp_path / "a.zarr"]
    with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as process:
        until(lambda: (folder / "made").exists(), 240)  # the server answers
        assert locked(folder / "lock") is None
        process.kill()
    until(lambda: locked(folder / "lock") is not None, 60)


@pytest.mark.server
def test_an_embedded_server_that_ends_at_once_is_a_sentence_at_once(tmp_path, survey):
    folder = tmp_path / "state" / "seismill" / FOLDER / "embedded-1"
    folder.mkdir(parents=True)
    (folder / "prefect.db").write_bytes(b"damaged since")
    (folder / "made").touch()
    environment = without() | {"XDG_STATE_HOME": str(tmp_path / "state")}
    began = time.monotonic()
    done = seismill("publish", str(survey), "a.zarr", cwd=tmp_path, environment=environment)
    assert done.returncode == 1
    assert "the Prefect server ended at once with " in done.stderr
    assert str(folder / "server.log") in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 60
    assert not (tmp_path / "a.zarr").exists()


@pytest.mark.server
def test_an_api_that_is_configured_and_silent_is_a_sentence_in_half_a_minute(tmp_path, survey):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/api"
        began = time.monotonic()
        done = seismill(
            "publish", str(survey), "a.zarr", cwd=tmp_path, environment=without() | {"PREFECT_API_URL": url}
        )
        assert done.returncode == 1
        assert f"the Prefect API at {url} does not answer" in done.stderr
        assert time.monotonic() - began < 60  # 20 s and the imports, on a busy machine
