"""Runs of watch and reap that start late: they accumulate while a worker is down or slow, and each would read the same
state again.
"""

from uuid import UUID

from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run
from prefect.states import Completed

from tasks.prefect_client import connected, server_time

PAGE = 100
"""Late runs that one run skips."""


def skip_late(flow_name: str) -> None:
    """Set the late runs of a flow, of the same deployment, to Skipped: the run that calls this does their work."""
    skipped: State[None] = Completed(name="Skipped", message="A run that started later read the same state.")
    with connected() as client:
        late = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=server_time(client)),
        )
        flow = FlowFilter(name=FlowFilterName(any_=[flow_name]))
        current = client.read_flow_run(UUID(flow_run.id)).deployment_id if flow_run.id else None
        for run in client.read_flow_runs(flow_filter=flow, flow_run_filter=late, limit=PAGE):
            if current in (None, run.deployment_id):
                client.set_flow_run_state(run.id, skipped)
