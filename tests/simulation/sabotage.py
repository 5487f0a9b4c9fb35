"""Deliberate faults of the hosts, one for each invariant: with it the simulation must fail.

    python -m tests.simulation.simulate --seeds 0-4 --only edit,kill_run --sabotage second-job --until-violated

Each function changes this process, which is a simulated host.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry

import flows.apply
import flows.reap
import flows.watch
import tasks.hub.live_state
import tasks.hub.session
from conceptry.actions import Action, ActionKind
from flows.current_installation import current_installation
from flows.training_runs import TrainingRuns
from flows.training_states import RESUMED
from tasks.hub import HubSession
from tasks.hub.ownership import Ownership
from tasks.training import job_trainings
from tasks.training.vertex_jobs import VertexJobs
from tests.simulation.simulated_cloud import FOREIGN


def second_job() -> None:
    """Find no job that exists."""
    _always(VertexJobs, "_list", [])


def lost_job() -> None:
    """Let the reaper take every job for ownerless."""
    _replace(job_trainings, "_of_home", lambda home: (home.rstrip("/").split("/")[-2], ""))
    _always(flows.reap, "is_ownerless", True)


def lost_version() -> None:
    """Delete all versions and their tags after each watch."""
    watch = flows.watch.watch

    def watch_and_delete(**options: Any) -> Any:
        state = watch(**options)
        api = HubSession(current_installation().hub).api
        for repo in [model.id for model in api.list_models(author="local") if not model.id.endswith(FOREIGN)]:
            refs = api.list_repo_refs(repo)
            for branch in [branch.name for branch in refs.branches if branch.name.startswith("v")]:
                api.delete_branch(repo, branch=branch)
            for tag in refs.tags:
                api.delete_tag(repo, tag=tag.name)
        return state

    _replace(watch_and_delete, "name", watch.name)  # the flow asks for it
    _replace(flows.watch, "watch", watch_and_delete)


def foreign() -> None:
    """Take every repo for one of this installation."""
    _always(tasks.hub.live_state, "ownership", Ownership("ours"))
    _always(tasks.hub.session, "prove_ownership", None)


def never_hide() -> None:
    """Carry out nothing that hides or pauses."""
    carry_out = flows.watch.carry_out

    def carry_out_others(context: Any, comparison: Any, action: Action, start: Any) -> None:
        hides = action.kind in (ActionKind.HIDE, ActionKind.ARCHIVE)
        if not hides and (action.kind is ActionKind.TRAIN or action.version is not None):
            carry_out(context, comparison, action, start)

    _replace(flows.watch, "carry_out", carry_out_others)


def uncancel() -> None:
    """Resume runs that a person cancelled."""
    attempt = TrainingRuns._attempt

    def attempt_again(self: TrainingRuns, run: FlowRun) -> Any:
        return "interrupted" if run.state_type is StateType.CANCELLED else attempt(self, run)

    _always(TrainingRuns, "_next_state", AwaitingRetry(message=RESUMED))
    _replace(TrainingRuns, "_attempt", attempt_again)


def no_release() -> None:
    """Render no Space."""
    _replace(flows.apply, "space_of", None)


def _always(owner: Any, name: str, value: object) -> None:
    """Let a function or method always return a value."""
    _replace(owner, name, lambda *_, **__: value)


def _replace(owner: Any, name: str, value: object) -> None:
    setattr(owner, name, value)


SABOTAGES: Mapping[str, Callable[[], None]] = MappingProxyType(
    {
        "second-job": second_job,
        "lost-job": lost_job,
        "lost-version": lost_version,
        "foreign": foreign,
        "never-hide": never_hide,
        "uncancel": uncancel,
        "no-release": no_release,
    }
)
