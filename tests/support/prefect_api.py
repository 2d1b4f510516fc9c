"""A Prefect server's API, as tests ask it.

All of them ask through one class, because its answers have one habit: a server whose SQLite is busy for a moment
answers 503, has done nothing, and means to be asked again.
"""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def until(true: Callable[[], Any], seconds: float, *, said: Callable[[], Any] = lambda: None) -> Any:
    """Wait for something to be true; what it was.

    Raises:
        AssertionError: It is not after `seconds`, which no machine should need; it shows what `said` says.
    """
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, said()
        time.sleep(0.2)
    return found


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, urllib.error.HTTPError) and error.code == 503


def _answer(request: urllib.request.Request) -> bytes:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            data: bytes = answer.read()
            return data
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise


class Api:
    """The API of a server, and what tests do with runs there."""

    def __init__(self, api: str, authority: str = "") -> None:
        """`authority` is what the server has in PREFECT_SERVER_API_AUTH_STRING."""
        self.api, self.authority = api, authority

    def read(self, path: str, body: Any = None, *, method: str | None = None) -> bytes:
        """What the server answers: to a question without a body by GET, else by POST or `method`."""
        request = urllib.request.Request(self.api + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if self.authority:
            request.add_header("Authorization", f"Basic {base64.b64encode(self.authority.encode()).decode()}")
        again = Retrying(
            retry=retry_if_exception(_is_busy), wait=wait_fixed(0.5), stop=stop_after_delay(60), reraise=True
        )
        return again(_answer, request)

    def ask(self, path: str, body: Any = None, *, method: str | None = None) -> Any:
        """What the server answers, read as JSON; None where it says nothing."""
        return json.loads(self.read(path, body, method=method) or "null")

    def start(self, deployment: str, /, **parameters: Any) -> str:
        """Trigger a run as the UI does; its number. A deployment is named as its flow, unless as flow/name."""
        name = deployment if "/" in deployment else f"{deployment}/{deployment}"
        found = self.ask(f"/deployments/name/{name}")
        return str(self.ask(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"])

    def state(self, run: str) -> dict[str, Any]:
        """A run's state."""
        found: dict[str, Any] = self.ask(f"/flow_runs/{run}")["state"]
        return found

    def until(self, run: str, true: Callable[[dict[str, Any]], bool], seconds: float = 120) -> dict[str, Any]:
        """Wait for a run's state."""
        state = self.state(run)

        def reached() -> bool:
            nonlocal state
            state = self.state(run)
            return true(state)

        until(reached, seconds, said=lambda: state)
        return state

    def end(self, run: str, seconds: float = 120) -> dict[str, Any]:
        """Wait for a run to end; its state."""
        return self.until(run, lambda state: state["type"] in ENDED, seconds)

    def artifacts(self, run: str) -> dict[str, list[dict[str, Any]]]:
        """The artifacts that a run left, by type."""
        asked = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"exists_": True}}}
        found: dict[str, list[dict[str, Any]]] = {}
        for artifact in self.ask("/artifacts/filter", asked):
            found.setdefault(artifact["type"], []).append(artifact)
        return found

    def log(self, run: str) -> list[str]:
        """The lines of a run's log."""
        asked = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
        return [f"{line['name']}: {line['message']}" for line in self.ask("/logs/filter", asked)]

    def gave_a_sign(self, run: str) -> bool:
        """Whether a run has said that it lives."""
        sign = {"event": {"name": ["prefect.flow-run.heartbeat"]}}
        sign |= {"resource": {"id": [f"prefect.flow-run.{run}"]}}
        return bool(self.ask("/events/filter", {"filter": sign})["events"])

    def hurry(self, **seconds: float) -> None:
        """Shorten the times of automations by the word that their names hold."""
        for automation in self.ask("/automations/filter", {}):
            for word, within in seconds.items():
                if word in automation["name"]:
                    kept = ("name", "description", "enabled")
                    kept += ("actions", "actions_on_trigger", "actions_on_resolve")
                    body = {key: automation[key] for key in kept}
                    body["trigger"] = automation["trigger"] | {"within": within}
                    self.ask(f"/automations/{automation['id']}", body, method="PUT")
