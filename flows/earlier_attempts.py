"""End the task runs that a lost attempt of a flow run left open; they would stay Running for ever."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

_OPEN = [StateType.PENDING, StateType.RUNNING]


def end_open_tasks(flow_run: str) -> None:
    """End the task runs that are open before this attempt of a flow run has begun any."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run)]))
    still_open = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_OPEN)))
    with get_client(sync_client=True) as client:
        for task in client.read_task_runs(flow_run_filter=of_run, task_run_filter=still_open):
            client.set_task_run_state(task.id, Crashed(message="Its process is gone"), force=True)
