"""Runs that an earlier `conceptry up` left behind: what it was stopped in the middle of, on its own Prefect server.

`up` stops within seconds, so a run may end before the server has recorded it. The watcher would notice late: a run that
was just being started counts as lost after twenty minutes (flows/liveness.py), one in a moved folder after a minute.
"""

import socket

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Crashed

from conceptry.work_folder import WorkFolder
from flows.deployments import FLOWS
from flows.keep_alive import PLACE
from tasks.run_folder import RunFolder

PAGE = 100
_ACTIVE = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def end_left_runs(client: SyncPrefectClient, work: WorkFolder) -> list[FlowRun]:
    """End the runs that no process works on any more, and return them; the watcher resumes trainings among them.

    The caller is the only process that starts runs of this server's deployments, and has started none yet. Runs on
    other machines are left alone, and trainings whose folder a process of this machine still holds.

    Args:
        client: Client of the set-up's Prefect server.
        work: Scratch folder of the set-up.
    """
    left = client.read_flow_runs(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=list(FLOWS))),
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ACTIVE))),
        limit=PAGE,
    )
    ended = [run for run in left if _was_here(run) and not _is_held(run, work)]
    for run in ended:
        state: State[None] = Crashed(message="`conceptry up` was stopped.")
        if run.state_type is StateType.CANCELLING:
            state = Cancelled(message="Its process has ended.")
        client.set_flow_run_state(run.id, state)
    return ended


def _was_here(run: FlowRun) -> bool:
    place = run.labels.get(PLACE)
    return place is None or str(place).partition(":")[0] == socket.gethostname()


def _is_held(run: FlowRun, work: WorkFolder) -> bool:
    """Whether a process of this machine holds the folder of a training."""
    fingerprint = run.parameters.get("fingerprint")
    return bool(fingerprint) and RunFolder(work.run(str(fingerprint))).holder() == str(run.id)
