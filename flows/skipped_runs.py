"""Runs that have nothing to do end as Skipped, and are deleted, so that they fill neither lists nor the database.

Runs of watch and reap that start late accumulate while a worker is down or slow; one does the work of all. A scheduled
watcher finds that another one works, and a reap that no job is live.
"""

from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run
from prefect.states import Completed

from conceptry.installation import Installation
from flows.deployments import REAP, WATCH, WATCHER, installation_tag
from tasks.prefect_client import connected, server_time

SKIPPED = "Skipped"
"""Name of the final state of a run that had nothing to do."""
PAGE = 100
"""Runs that are skipped, or deleted, at a time."""
SHOWN = timedelta(minutes=15)
"""How long a skipped run is kept, for users who look at it."""


def skip_late(flow_name: str) -> None:
    """Set the late runs of a flow, of the same deployment, to Skipped: the run that calls this does their work."""
    skipped: State[None] = Completed(name=SKIPPED, message="A run that started later read the same state.")
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


def delete_skipped(client: SyncPrefectClient, installation: Installation, shown: timedelta = SHOWN) -> None:
    """Delete the runs of watch, watcher and reap that had nothing to do, some time after their end."""
    flows = FlowFilter(name=FlowFilterName(any_=[WATCHER, WATCH, REAP]))
    which = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[installation_tag(installation.id)]),
        state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[SKIPPED])),
        end_time=FlowRunFilterEndTime(before_=server_time(client) - shown),
    )
    for run in client.read_flow_runs(flow_filter=flows, flow_run_filter=which, limit=PAGE):
        client.delete_flow_run(run.id)
