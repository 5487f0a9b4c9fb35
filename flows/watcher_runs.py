"""Which watcher of an installation works: of its runs that give a sign of life, the one that began to look first.

A watcher that starts beside one that looks already ends at once. Should two work, because the server was away or both
started at the same time, the younger one ends.
"""

from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Crashed

from conceptry.installation import Installation
from flows.deployments import WATCHER, installation_tag
from flows.keep_alive import PLACE, place_of
from flows.liveness import Deadlines, Liveness
from tasks.prefect_client import server_time

LOOKED = "conceptry.looked"
"""Label of a watcher's run: when it last looked at git and the Hub, by the server's clock."""


def working_watcher(
    client: SyncPrefectClient, installation: Installation, own: UUID | None = None, deadlines: Deadlines | None = None
) -> str | None:
    """Return which watcher of an installation works, in words; None if the run `own`, or a new one, may work.

    Lost ones are ended. The caller holds the lock of this machine's watcher.
    """
    runs = _running(client, installation)
    others = _without_dead_here(client, installation, [run for run in runs if run.id != own])
    lost = {loss.run.id for loss in Liveness(client, installation.work, deadlines or Deadlines()).settle(others)}
    alive = [run for run in others if run.id not in lost]
    mine = next((run for run in runs if run.id == own), None)
    first = next((run for run in alive if mine is None or _looked(run) or _age(run) < _age(mine)), None)
    return (
        None if first is None else f"The run {first.name} on {first.labels.get(PLACE, 'a machine that just started')}"
    )


def must_end(client: SyncPrefectClient, installation: Installation, own: UUID) -> bool:
    """Whether a watcher has to end: its run has ended on the server, or one that began earlier looks, too."""
    runs = _running(client, installation)
    mine = next((run for run in runs if run.id == own), None)
    return mine is None or any(_looked(run) and _age(run) < _age(mine) for run in runs if run.id != own)


def note_look(client: SyncPrefectClient, own: UUID) -> None:
    """Write into a watcher's run that it has just looked."""
    client.update_flow_run_labels(own, {LOOKED: server_time(client).isoformat(timespec="seconds")})


def last_look(client: SyncPrefectClient, installation: Installation) -> tuple[datetime, str] | None:
    """Return when a watcher that runs looked last, and on which machine; None if none runs."""
    looks = [
        (datetime.fromisoformat(when), str(run.labels.get(PLACE, "")))
        for run in _running(client, installation)
        if isinstance(when := run.labels.get(LOOKED), str)
    ]
    return max(looks, default=None)


def _running(client: SyncPrefectClient, installation: Installation) -> list[FlowRun]:
    name = f"{WATCHER}{installation.settings.deployment_suffix}"
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
            tags=FlowRunFilterTags(all_=[installation_tag(installation.id)]),
        ),
    )


def _without_dead_here(client: SyncPrefectClient, installation: Installation, runs: list[FlowRun]) -> list[FlowRun]:
    """End the runs whose process was killed on this machine, since it no longer holds the lock; return the others."""
    place = place_of(installation.work.root)
    dead = [run for run in runs if run.labels.get(PLACE) == place]
    for run in dead:
        state: State[None] = Crashed(message="Its process was killed.")
        client.set_flow_run_state(run.id, state)
    return [run for run in runs if run not in dead]


def _looked(run: FlowRun) -> bool:
    return LOOKED in run.labels


def _age(run: FlowRun) -> tuple[str, str]:
    return str(run.created), str(run.id)
