"""The secrets of a block are found nowhere, whatever a flow run does with a store and however it ends.

Flow runs of every verb use four kinds of blocks. Some complete, some miss their source, and some meet a store that
answers each request with an error that repeats the token, as S3 does. Prefect's API and database, logs at the level
DEBUG, terminals, temporary files and stores are then searched for keys, passwords and tokens.

SEISMILL_SECRETS is the number of runs:
SEISMILL_SECRETS=100 pytest -n 0 -s -m campaign tests/campaigns/test_secrets_in_flows.py
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.publishers import direct_sweep
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Publication, Run
from tasks.volume.store.writable import WritableStore
from tests.deployments.test_deployments import Server
from tests.flows.test_credentials import (  # fixtures, too
    SECRETS,
    aws,
    azure,
    check_not_found,
    gcp,
    minio,
    save,
    server,  # noqa: F401
    tokens,  # noqa: F401
)
from tests.support.survey import make_survey
from tests.support.warm import Process, run_flow

pytestmark = [pytest.mark.campaign, pytest.mark.server]
RUNS = int(os.environ.get("SEISMILL_SECRETS", "12"))
COMPLETES, MISSES, REFUSED = "completes", "misses its source", "is refused by the store"
WAYS = (COMPLETES, MISSES, REFUSED)
IN_PLACE = ("prove", "report", "rechunk", "pyramid")
VERBS = (
    "publish",
    "ingest_segy",
    "scan",
    "verify",
    *IN_PLACE,
    "copy",
    "export_segy",
    "export_ome",
    "sweep",
    "audit",
)


class _Refusing(BaseHTTPRequestHandler):
    """Answers each request with an error that repeats the token, as S3 does."""

    def refuse(self) -> None:
        token = self.headers.get("x-amz-security-token", "")
        signed = self.headers.get("Authorization", "")
        body = (
            "<Error><Code>InvalidToken</Code><Message>The provided token is malformed or otherwise invalid.</Message>"
            f"<Token-0>{token}</Token-0><StringToSign>{signed}</StringToSign></Error>"
        ).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.server.tokens.add(token)  # type: ignore[attr-defined]

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = refuse

    def log_message(self, *words: object) -> None:
        """Write no log."""


@pytest.fixture
def refusing() -> Iterator[ThreadingHTTPServer]:
    """Serve a store that refuses every request; it keeps the tokens of the requests."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as store:
        store.tokens = set()  # type: ignore[attr-defined]
        threading.Thread(target=store.serve_forever, daemon=True).start()
        yield store
        store.shutdown()


def places_of(verb: str, protocol: str, number: int, missing: bool) -> dict[str, Any]:
    """Return the places that a verb is given; make the volume that it changes."""
    staging, volumes = f"{protocol}://staging", f"{protocol}://volumes"
    name, new = ("missing" if missing else "a"), f"{volumes}/{number}"
    match verb:
        case "publish" | "ingest_segy":
            return {"source": f"{staging}/{name}/a.sgy", "volume": f"{new}.zarr"}
        case "scan":
            return {"source": f"{staging}/{name}/a.sgy"}
        case "copy" | "export_segy" | "export_ome":
            return {"volume": f"{volumes}/{name}/a.zarr", "target": f"{new}.{verb}"}
        case "sweep":
            return {"staging": f"{staging}/{name}", "volumes": new, "settle_minutes": 0}
        case "audit":
            return {"volumes": f"{volumes}/{name}"}
    if verb in IN_PLACE and not missing:
        ingest_segy(f"{staging}/a/a.sgy", f"{new}.zarr")
        return {"volume": f"{new}.zarr"}
    return {"volume": f"{volumes}/{name}/a.zarr"}


@pytest.mark.timeout(900 + 120 * RUNS)
def test_the_secrets_of_many_flow_runs_are_found_nowhere(
    server: Server,  # noqa: F811
    refusing: ThreadingHTTPServer,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    survey = make_survey(tmp_path / "a.sgy", drop=3, n_samples=37)
    routes = [made(request) for made in (aws, minio, gcp, azure)]
    for route in routes:
        staging = WritableStore(f"{route.protocol}://staging")
        if not staging.exists("a/a.sgy"):
            staging.put("a/a.sgy", survey.content)
            direct_sweep(
                staging=f"{staging.url}/a",
                volumes=f"{route.protocol}://volumes/a",
                settle_minutes=0,
                publication=Publication(steps=[]),
                run=Run(),
            )
        save(server, route)
    client = {"aws_client_parameters": {"endpoint_url": f"http://127.0.0.1:{refusing.server_port}"}}
    save(server, replace(routes[0], fields=routes[0].fields | client), "refusing")
    home = tmp_path / "home"
    home.mkdir()
    environment = dict.fromkeys(SECRETS) | {
        "PREFECT_API_URL": server.api,
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "tasks,botocore,aiobotocore,s3fs,gcsfs,azure",
        "AWS_EC2_METADATA_DISABLED": "true",
        **dict.fromkeys(("PREFECT_HOME", "XDG_STATE_HOME", "TMPDIR"), str(home)),
    }
    ended: Counter[str] = Counter()
    for number in range(RUNS):
        verb, way = VERBS[number % len(VERBS)], WAYS[(number + number // len(VERBS)) % len(WAYS)]
        route = routes[0] if way == REFUSED else routes[number % len(routes)]
        block = f"{route.kind}/{'refusing' if way == REFUSED else 'staging'}"
        options = {"storage_options": {"credentials": block}}
        parameters = places_of(verb, route.protocol, number, way == MISSES) | (
            options if verb == "scan" else {"run": options}
        )
        folder = tmp_path / str(number)
        folder.mkdir()
        module = verb if verb in ("publish", "sweep", "audit") else "verbs"
        process = Process(folder, run_flow, environment, f"flows.{module}:{verb}", parameters)
        code = process.wait(600)
        codes = {COMPLETES: (0,), MISSES: (0, 3), REFUSED: (3,)}[way]
        assert code in codes, (parameters, way, code, process.errors)
        ended[f"{way}: {'completed' if code == 0 else 'failed'}"] += 1
    print(f"{RUNS} runs: {dict(ended)}")
    canaries = tuple(dict.fromkeys(canary for route in routes for canary in route.canaries))
    assert len(canaries) == 6
    assert refusing.tokens & set(canaries)  # type: ignore[attr-defined]
    runs = [run["id"] for run in server.ask("/flow_runs/filter", {"limit": 200})]
    assert len(runs) == RUNS
    check_not_found(server, canaries, runs)
    for file in tmp_path.rglob("*"):
        content = file.read_bytes() if file.is_file() else b""
        assert not [canary for canary in canaries if canary.encode() in content], file
    for place in (
        f"{protocol}://{bucket}" for protocol in ("s3", "gs", "az") for bucket in ("staging", "volumes")
    ):
        store = WritableStore(place)
        for key in store.keys(""):
            content = store.get(key)
            assert not [canary for canary in canaries if canary.encode() in content], (place, key)
