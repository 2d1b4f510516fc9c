"""A stage as a Prefect task: what is tried again, and what its state says.

Covers tasks/volume/outcomes.py.
"""

import aiohttp
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from tasks.prefect_tasks import as_task, outcome_state, store_out_of_reach
from tasks.volume.outcomes import DestinationRefused, InputRefused, IntegrityFailure, Resumable
from tasks.volume.store.calls import OutOfReach


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ConnectionResetError("reset by peer"), True),
        (TimeoutError(), True),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), True),
        (ClientError({"Error": {"Code": "503"}}, "PutObject"), True),
        (aiohttp.ClientPayloadError("short"), True),
        (FileNotFoundError("a.sgy"), False),
        (PermissionError("no"), False),
        (KeyError("a mistake of ours"), False),
        (MemoryError(), False),
        (InputRefused("got"), False),
        (Resumable("locked"), False),
        (OutOfReach("no answer"), True),
        (None, False),
    ],
)
def test_only_a_store_out_of_reach_is_tried_again(error, wanted):
    assert store_out_of_reach(error) == wanted


@pytest.mark.parametrize(
    ("outcome", "name"),
    [
        (InputRefused("trace 17 is there twice"), "Failed"),
        (DestinationRefused("another plan"), "Failed"),
        (IntegrityFailure("3 objects"), "Failed"),
        (Resumable("stopped"), "Resumable"),
    ],
)
def test_an_outcome_is_a_failed_state_with_its_sentence(outcome, name):
    state = outcome_state(outcome)
    assert (state.is_failed(), state.name, state.message) == (True, name, str(outcome))


def test_a_task_has_the_name_and_words_of_its_stage():
    def rechunk(volume: str) -> None:
        """Add copies."""

    task = as_task(rechunk)
    assert (task.name, task.description, task.retries) == ("rechunk", "Add copies.", 3)


@pytest.mark.server
def test_tasks_end_as_their_stages_do(tmp_path, monkeypatch):
    from prefect import flow
    from prefect.testing.utilities import prefect_test_harness

    calls: list[str] = []

    def stage(volume: str) -> str:
        calls.append(volume)
        if volume == "refused.zarr":
            raise InputRefused("trace 17 is there twice")
        if volume == "unsteady.zarr" and calls.count(volume) < 3:
            raise OutOfReach("s3://volumes does not answer")
        if volume == "away.zarr":
            raise ConnectionResetError("reset by peer")
        if volume == "mistake.zarr":
            raise KeyError("a mistake of ours")
        return volume

    task = as_task(stage).with_options(retry_delay_seconds=0)

    @flow
    def one(volume: str):
        return task(volume, return_state=True)

    with prefect_test_harness(server_startup_timeout=120):
        states = {
            name: one(name, return_state=True)
            for name in ("good.zarr", "refused.zarr", "unsteady.zarr", "away.zarr", "mistake.zarr")
        }
    assert {name: (state.name, calls.count(name)) for name, state in states.items()} == {
        "good.zarr": ("Completed", 1),
        "refused.zarr": ("Failed", 1),
        "unsteady.zarr": ("Completed", 3),
        "away.zarr": ("Failed", 4),
        "mistake.zarr": ("Failed", 1),
    }
