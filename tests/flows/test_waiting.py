"""What a sweep shows of the runs that it waits for, and where sweeps of one machine take from and write to."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.client import base
from prefect.exceptions import PrefectHTTPStatusError

from flows import artifacts
from flows.command import told_in_one_sentence
from flows.server import _prefixes
from flows.sweep import Deployed


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        (["Running", "Scheduled"], "waiting for 2 runs of publish/publish-s: 1 Running, 1 Scheduled"),
        (
            ["Late", "Scheduled", "Late"],
            "waiting for 3 runs of publish/publish-s: 2 Late, 1 Scheduled; none has begun: look for a worker of their "
            "pool, and at its limits",
        ),
    ],
)
def test_a_sweep_names_the_runs_that_it_waits_for(
    states: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[dict[str, Any]] = []
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda **table: stored.append(table))  # Prefect's
    rows = [
        {"source": f"s3://staging/{n}.sgy", "run": "x", "state": state, "sentence": ""}
        for n, state in enumerate(states)
    ]
    artifacts.put_waiting("publish/publish-s", rows)
    assert stored == [{"table": rows, "key": "waiting-publish-s", "description": sentence}]


def test_a_sweep_names_the_sources_that_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[dict[str, Any]] = []
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda **table: stored.append(table))  # Prefect's
    until = datetime(2026, 11, 30, 12, 10, 5, tzinfo=UTC)
    artifacts.put_arriving("s3://staging/north", ["a.sgy", "b/c.sgy"], until)
    assert stored == [
        {
            "table": [{"source": "a.sgy", "state": "arriving"}, {"source": "b/c.sgy", "state": "arriving"}],
            "key": "arriving-north",
            "description": "waiting until 12:10:05 UTC for 2 sources that are arriving",
        }
    ]


@pytest.mark.parametrize(
    ("allowed", "staging", "volumes"),
    [
        ("/data", "/data/staging", "/data/volumes"),
        ("s3://bucket/", "s3://bucket/staging", "s3://bucket/volumes"),
        ("s3://staging,s3://volumes,https://minio.example", "s3://staging", "s3://volumes"),
    ],
)
def test_up_gives_sweeps_their_prefixes(allowed: str, staging: str, volumes: str) -> None:
    assert _prefixes(allowed) == {"SEISMILL_SWEEP_STAGING": staging, "SEISMILL_SWEEP_VOLUMES": volumes}


def failed(status: int) -> Exception:
    """What Prefect's client raises for an answer with this status; for none without one."""
    if not status:
        return base.httpx.ConnectError("All connection attempts failed")
    answer: Any = SimpleNamespace(status_code=status)
    request: Any = SimpleNamespace(method="POST")
    return PrefectHTTPStatusError("it failed", request=request, response=answer)


@pytest.mark.parametrize(("status", "code"), [(500, 75), (503, 75), (404, 1), (0, 75)])
def test_a_server_that_fails_while_it_ends_leaves_a_command_that_goes_on(
    status: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with told_in_one_sentence(debug=False) as ended:
        raise failed(status)
    assert ended() == code
    assert ("run the same command again" in capsys.readouterr().err) == (code == 75)


def test_a_sweep_waits_for_a_server_that_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    deployed = object.__new__(Deployed)  # which would look its deployment up
    deployed._poll_seconds = 0.0
    answers = [failed(0), failed(503), failed(0)]

    def call(word: str) -> str:
        if answers:
            raise answers.pop()
        return word

    assert deployed._patient(call, "x") == "x"
    assert [record.message for record in caplog.records] == [
        "the Prefect server does not answer (All connection attempts failed); it is waited for, for 10 min"
    ]
    answers[:] = [failed(404)]
    with pytest.raises(PrefectHTTPStatusError):
        deployed._patient(call, "x")
