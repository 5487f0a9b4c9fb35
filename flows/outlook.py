"""Both states and the plan between them, looked at as Prefect tasks or plainly; and acting on it concept by concept."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

import httpx
from prefect import get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings
from prefect.states import Completed, Failed
from prefect.types._datetime import now

from conceptry.actions import Action, ActionKind, Attempt, Plan
from conceptry.concept import Desired
from conceptry.errors import ConceptryError
from conceptry.plan import plan
from conceptry.policy import Policy
from conceptry.rollout import pace
from conceptry.settings import Settings
from conceptry.version import Actual
from flows import state
from flows.drift import audit
from flows.steps import PATIENT
from flows.training_runs import Trainings, trainings


@dataclass(frozen=True)
class Outlook:
    """What git asks for, what the Hub holds, and the plan that leads from one to the other."""

    desired: Desired
    actual: Actual
    plan: Plan
    policy: Policy


@dataclass(frozen=True)
class Reading:
    """The ways out of this process that a plan needs."""

    read_git: Callable[[Settings], Desired]
    list_images: Callable[[Settings, Desired, Collection[str]], Desired]
    list_hub: Callable[[Settings], Actual]
    audit: Callable[[Settings, Desired, Actual], Actual]


PLAINLY = Reading(state.read_git, state.list_images, state.list_hub, audit)
AS_TASKS = Reading(
    task(name="read git", **PATIENT)(state.read_git),
    task(name="list images", **PATIENT)(state.list_images),
    task(name="list the Hub", **PATIENT)(state.list_hub),
    task(name="look closer", **PATIENT)(partial(audit, in_turn=True)),
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
    listed = reading.read_git(settings)
    desired = _list_images(settings, reading, listed)
    actual = reading.audit(settings, desired, reading.list_hub(settings))
    know = Knowledge(settings, actual, today)
    draft = know.plan(desired, {})
    attempts = runs.attempts(action.fingerprint for action in draft.actions if action.fingerprint) if runs else {}
    if attempts:
        draft = know.plan(desired, attempts)
    training = {action.concept for action in draft.actions if action.kind is ActionKind.TRAIN}
    if training:
        # Only for these is the remote asked whether it has every picture.
        desired = _list_images(settings, reading, desired, training)
        draft = know.plan(desired, attempts, training)
    policy, trouble = state.read_policy(settings, desired.revision)
    paced = pace(
        replace(draft, hub=actual.digest()),
        desired,
        actual,
        bases=know.bases,
        attempts=attempts,
        policy=policy,
        now=now("UTC"),
        # As many again wait in Prefect, so that the next one starts when one ends and not at the next watch.
        places=2 * settings.max_parallel,
        trouble=trouble,
    )
    return Outlook(desired, actual, paced, policy)


def _list_images(settings: Settings, reading: Reading, desired: Desired, check: Collection[str] = ()) -> Desired:
    """Look up the images; a DVC remote that is away keeps trainings waiting, and no release or rollback."""
    try:
        return reading.list_images(settings, desired, check)
    except ConceptryError as error:
        return state.list_known_images(settings, desired, " ".join(str(error).split()), check)


class Knowledge:
    """All that plans of one look have in common: presets, templates and rates of this installation."""

    def __init__(self, settings: Settings, actual: Actual, today: date | None) -> None:
        self._settings, self._actual, self._today = settings, actual, today
        self.bases, self._templates, self._rates = state.bases(), state.templates(), state.rates(settings)

    def plan(self, desired: Desired, attempts: Mapping[str, Attempt], training: Collection[str] = ()) -> Plan:
        """The pure plan; of those in `training`, images that are gone are named."""
        known = [name for name in training if name in self._actual.concepts]
        return plan(
            desired,
            self._actual,
            bases=self.bases,
            attempts=attempts,
            templates=self._templates,
            today=self._today,
            names=state.image_names(self._settings, self._actual, known),
            rates=self._rates,
        )


def current_plan(settings: Settings, today: date | None = None) -> Plan:
    """The plan as it is now, outside of any run; without a Prefect server it does not know of running trainings."""
    return current_outlook(settings, today).plan


def current_outlook(settings: Settings, today: date | None = None, revision: str | None = None) -> Outlook:
    """Both states and the plan, see `current_plan`; at a revision, as if the branch were there."""
    reading = replace(PLAINLY, read_git=partial(state.read_git, revision=revision))
    if get_current_settings().api.url:
        try:
            with trainings(settings.work) as runs:
                return look(settings, reading, runs, today)
        except httpx.HTTPError:
            pass
    return look(settings, reading, None, today)


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
    later = len(plan.changes) - len(plan.due)
    degraded = sum(action.health == "Degraded" for action in plan.actions)
    needed = f", {degraded} need a person" if degraded else ""
    waiting = f", {later} of them later" if later else ""
    return Completed(message=f"{len(plan.actions)} concepts, {len(plan.changes)} changes{waiting}{needed}")
