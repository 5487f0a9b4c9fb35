"""What a registry does at the moment: its plan, its runs on the Prefect server, and what it spent this month."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import get_current_settings

from conceptry.actions import Action
from conceptry.budget import Spending, spent_this_month
from conceptry.installation import Installation
from conceptry.plan import next_retrainings
from flows.deployments import installation_tag
from flows.reconcile import Comparison, current_comparison
from flows.training_runs import training_runs
from flows.watch import watch
from flows.watcher_runs import last_look
from tasks.prefect_client import connected, server_problem, server_time


@dataclass(frozen=True)
class Overview:
    """State of a registry at the moment `now`.

    Attributes:
        comparison: Desired and live state, and the plan.
        now: By the Prefect server's clock, or this machine's without a server.
        active: Training runs that are scheduled or running.
        last_watch: Newest watch that ended; None if none did, or without a server.
        last_look: When the watcher looked last, and its machine and scratch folder; None if none works.
        spent: Trainings of this calendar month.
        retrainings: Next retrainings, the earliest first.
    """

    comparison: Comparison
    now: datetime
    active: tuple[FlowRun, ...]
    last_watch: FlowRun | None
    last_look: tuple[datetime, str] | None
    spent: Spending
    retrainings: tuple[tuple[date, str], ...]

    @property
    def waiting(self) -> Iterator[Action]:
        """Actions that wait: for data, a window, a place, a canary, a confirmation."""
        for action in self.comparison.plan.actions:
            if action.kind == "wait" or action.deferred is not None:
                yield action

    @property
    def held(self) -> Iterator[Action]:
        """Actions that need a user."""
        for action in self.comparison.plan.actions:
            if action.kind == "hold" and action.health == "Degraded":
                yield action


def overview(installation: Installation) -> Overview:
    """Read the state of a registry; changes nothing.

    Raises:
        SettingsError: the origin or its branch does not exist.
        HubError, TransientError: the Hub or the origin could not be read.
    """
    compared = current_comparison(installation)
    active, last, looked, now = tuple[FlowRun, ...](), None, None, compared.pace.now
    if get_current_settings().api.url and compared.problem is None:
        try:
            with connected() as client, training_runs(installation) as runs:
                active, last, now = tuple(runs.active()), _last_watch(client, installation), server_time(client)
                looked = last_look(client, installation)
        except httpx.HTTPError as error:
            compared = replace(compared, problem=server_problem(error))
    desired, live, inputs = compared.desired, compared.live, compared.inputs
    return Overview(
        compared,
        now,
        active,
        last,
        looked,
        spent_this_month(compared.plan, desired, live, inputs, now),
        tuple(next_retrainings(desired, live, inputs)),
    )


def _last_watch(client: SyncPrefectClient, installation: Installation) -> FlowRun | None:
    """Return the newest watch that ended; one that another watch made superfluous does not count."""
    name = f"{watch.name}{installation.settings.deployment_suffix}"
    ended = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)), name=FlowRunFilterStateName(not_any_=["Skipped"])
    )
    found = client.read_flow_runs(
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name])),
        flow_run_filter=FlowRunFilter(state=ended, tags=FlowRunFilterTags(all_=[installation_tag(installation.id)])),
        sort=FlowRunSort.END_TIME_DESC,
        limit=1,
    )
    return found[0] if found else None
