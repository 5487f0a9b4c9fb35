"""Both states and the plan between them, looked at as Prefect tasks or plainly; and acting on it concept by concept."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx
from prefect import get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed

from conceptry.actions import Action, ActionKind, Attempt, Plan
from conceptry.concept import Desired
from conceptry.errors import ConceptryError
from conceptry.plan import plan
from conceptry.settings import Settings
from conceptry.version import Actual
from flows import state
from flows.attempts import Trainings, trainings
from flows.steps import PATIENT


@dataclass(frozen=True)
class Outlook:
    """What git asks for, what the Hub holds, and the plan that leads from one to the other."""

    desired: Desired
    actual: Actual
    plan: Plan


@dataclass(frozen=True)
class Reading:
    """The three ways out of this process that a plan needs."""

    read_git: Callable[[Settings], Desired]
    list_images: Callable[[Settings, Desired, Collection[str]], Desired]
    list_hub: Callable[[Settings], Actual]


PLAINLY = Reading(state.read_git, state.list_images, state.list_hub)
AS_TASKS = Reading(
    task(name="read git", **PATIENT)(state.read_git),
    task(name="list images", **PATIENT)(state.list_images),
    task(name="list the Hub", **PATIENT)(state.list_hub),
)
"""The same as tasks of a run, tried again while the network is down."""


def look(settings: Settings, reading: Reading, runs: Trainings | None, today: date | None = None) -> Outlook:
    """Read both states and make the plan.

    Args:
        settings: of this installation.
        reading: PLAINLY, or AS_TASKS within a flow.
        runs: what Prefect knows of the trainings; None when nobody can be asked.
        today: lets scheduled retrainings fall due.
    """
    desired = reading.list_images(settings, reading.read_git(settings), ())
    actual = reading.list_hub(settings)
    draft = make_plan(desired, actual, {}, today)
    attempts = runs.attempts(action.fingerprint for action in draft.actions if action.fingerprint) if runs else {}
    draft = make_plan(desired, actual, attempts, today)
    training = {action.concept for action in draft.actions if action.kind is ActionKind.TRAIN}
    if not training:
        return Outlook(desired, actual, draft)
    # Only for these is the remote asked whether it has every picture.
    desired = reading.list_images(settings, desired, training)
    return Outlook(desired, actual, make_plan(desired, actual, attempts, today))


def make_plan(desired: Desired, actual: Actual, attempts: Mapping[str, Attempt], today: date | None = None) -> Plan:
    """The pure plan, with the presets and templates of this installation."""
    bases, templates = state.bases(), state.templates()
    return plan(desired, actual, bases=bases, attempts=attempts, templates=templates, today=today)


def current_plan(settings: Settings, today: date | None = None) -> Plan:
    """The plan as it is now, outside of any run; without a Prefect server it does not know of running trainings."""
    if get_current_settings().api.url:
        try:
            with trainings(settings.work) as runs:
                return look(settings, PLAINLY, runs, today).plan
        except httpx.HTTPError:
            pass
    return look(settings, PLAINLY, None, today).plan


def each(actions: Iterable[Action], act: Callable[[Action], None]) -> dict[str, Exception]:
    """Act on one concept after the other; what went wrong, by concept."""
    failures: dict[str, Exception] = {}
    for action in actions:
        try:
            act(action)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one concept, the others go on.
            ours = isinstance(error, ConceptryError)
            get_run_logger().error("%s: %s: %s", action.concept, action.kind, error, exc_info=not ours)
            failures[action.concept] = error
    return failures


def conclude(plan: Plan, failures: Mapping[str, Exception]) -> State[Any]:
    """End a run: failed if something was tried and did not work; a concept that waits for a person is no failure."""
    if failures:
        told = "; ".join(f"{name}: {error}" for name, error in sorted(failures.items()))
        return Failed(message=f"{len(failures)} of {len(plan.changes)} changes did not work: {told}")
    degraded = sum(action.health == "Degraded" for action in plan.actions)
    needed = f", {degraded} need a person" if degraded else ""
    return Completed(message=f"{len(plan.actions)} concepts, {len(plan.changes)} changes{needed}")
