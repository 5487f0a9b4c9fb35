"""Which of the planned trainings start now: none outside of its hours, a canary before the many, a few at a time.

A new RECIPE or new weights of a base model ask for every concept to be trained again. That is a rollout: one concept
goes first; when its version passed its gate the others follow, a few at a time; when too many go wrong it stops. All
of this is read off the two states, so that a watcher that was killed, or a second one, decides the same.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from conceptry.actions import Action, ActionKind, Attempt, Plan
from conceptry.concept import BaseModel, Desired
from conceptry.fingerprint import training_fingerprint
from conceptry.planner import PlanInputs
from conceptry.policy import Policy
from conceptry.reasons import DeferralReason
from conceptry.version import Live, LiveConcept, Version

FEW = 2
"""Failures that are needed to stop a rollout, whatever their share."""

Deferral = tuple[DeferralReason, str]
"""Why a training does not start now: the reason, and the words."""


@dataclass(frozen=True)
class Rollout:
    """How far the move of many concepts to one base model and RECIPE has come; all are names of concepts."""

    to: str
    pending: tuple[str, ...]
    running: tuple[str, ...]
    passed: tuple[str, ...]
    wrong: tuple[str, ...]

    def defer(self, name: str, policy: Policy) -> Deferral | None:
        """Return why this concept must wait; None when it may be trained."""
        if not self.passed:
            if self.wrong:
                words = f"{self.wrong[0]} went wrong with {self.to}: fix it, or `conceptry train` another one"
                return DeferralReason.CANARY_FAILED, words
            canary = policy.canary if policy.canary in self.pending else self.pending[0]
            first = self.running[0] if self.running else canary
            return None if name == first else (DeferralReason.CANARY_FIRST, f"{first} goes first with {self.to}")
        share = len(self.wrong) / (len(self.wrong) + len(self.passed))
        if len(self.wrong) >= FEW and share > policy.max_failures:
            names = ", ".join(self.wrong[:3]) + (", ..." if len(self.wrong) > 3 else "")
            words = f"{len(self.wrong)} of {len(self.wrong) + len(self.passed)} went wrong with {self.to} ({names})"
            return DeferralReason.ROLLOUT_STOPPED, words
        return None


@dataclass(frozen=True)
class Pace:
    """What limits how many trainings start now.

    Attributes:
        policy: conceptry.yaml.
        now: The moment, with its time zone.
        places: How many trainings may run or be scheduled; None for any number.
        policy_error: What is wrong with conceptry.yaml; nothing is trained then.
    """

    policy: Policy
    now: datetime
    places: int | None = None
    policy_error: str | None = None

    def closed(self) -> Deferral | None:
        """Return why no training at all may start; None when some may."""
        if self.policy_error:
            return DeferralReason.POLICY_INVALID, self.policy_error
        if self.policy.suspend:
            return DeferralReason.REGISTRY_SUSPENDED, "conceptry.yaml says suspend"
        windows = self.policy.windows
        if not windows or any(window.is_open(self.now) for window in windows):
            return None
        opens = min(window.opens(self.now) for window in windows)
        words = f"trainings may start again {opens:%a %Y-%m-%d %H:%M} {opens.tzname()}"
        return DeferralReason.WINDOW_CLOSED, words


def defer_trainings(plan: Plan, desired: Desired, live: Live, inputs: PlanInputs, pace: Pace) -> Plan:
    """Mark each training that must not start now with the reason."""
    trainings = [action for action in plan.actions if action.kind is ActionKind.TRAIN]
    if not trainings:
        return plan
    closed = pace.closed()
    moves = {name: rollout for rollout in rollouts(plan, desired, live, inputs) for name in rollout.pending}
    running = sum(_attempt(action, desired, inputs) == "running" for action in plan.actions)
    free = len(trainings) if pace.places is None else max(0, pace.places - running)
    deferred: dict[str, Deferral] = {}
    # What people ask for goes ahead of what changes everything.
    for action in sorted(trainings, key=lambda action: (action.concept in moves, action.concept)):
        rollout = moves.get(action.concept)
        deferral = closed or (rollout.defer(action.concept, pace.policy) if rollout else None)
        if deferral is None and free == 0:
            deferral = DeferralReason.NO_FREE_PLACE, f"{running} trainings are running"
        if deferral is None:
            free, running = free - 1, running + 1
        else:
            deferred[action.concept] = deferral
    return replace(plan, actions=tuple(_deferred(action, deferred.get(action.concept)) for action in plan.actions))


def _deferred(action: Action, deferral: Deferral | None) -> Action:
    return action if deferral is None else replace(action, deferral=deferral[0], deferred=deferral[1])


def rollouts(plan: Plan, desired: Desired, live: Live, inputs: PlanInputs) -> tuple[Rollout, ...]:
    """Find the base models whose change moves more than one concept."""
    found: dict[str, dict[str, list[str]]] = {}
    for action in plan.actions:
        concept, there = desired.concepts.get(action.concept), live.concepts.get(action.concept)
        base = inputs.bases.get(concept.spec.base_model) if concept and concept.spec else None
        if base is None or there is None:
            continue
        place = _place(action.kind, there, base, _attempt(action, desired, inputs))
        if place is None:
            continue
        found.setdefault(base.name, {}).setdefault(place, []).append(action.concept)
    made = []
    for name, places in found.items():
        pending = tuple(places.get("pending", ()))
        if len(pending) + len(places.get("running", ())) + len(places.get("wrong", ())) > 1 and pending:
            to = f"{name} recipe {inputs.bases[name].recipe}"
            rest = (tuple(places.get(place, ())) for place in ("running", "passed", "wrong"))
            made.append(Rollout(to, pending, *rest))
    return tuple(made)


def _place(kind: ActionKind, there: LiveConcept, base: BaseModel, attempt: Attempt | None) -> str | None:
    """Where a concept stands on its way to the base model as it is now; None when it is not on that way."""
    versions = [version for version in there.versions if version.spec]
    if not versions:
        return None
    newest = max(versions, key=lambda version: version.number)
    if _is_of(newest, base):
        moved = any(not _is_of(version, base) for version in versions)
        return ("passed" if newest.gate == "passed" else "wrong") if moved else None
    if kind is ActionKind.TRAIN:
        return "pending"
    return {"running": "running", "failed": "wrong", None: None}[attempt]


def _is_of(version: Version, base: BaseModel) -> bool:
    keys = {"base_model": base.name, "base_digest": base.digest, "recipe": base.recipe}
    return all(version.spec.get(key) == value for key, value in keys.items())


def _attempt(action: Action, desired: Desired, inputs: PlanInputs) -> Attempt | None:
    """Return the state of the training of what git asks for, also when the action is about the Space meanwhile."""
    concept = desired.concepts.get(action.concept)
    base = inputs.bases.get(concept.spec.base_model) if concept and concept.spec else None
    attempt = inputs.attempts.get(action.fingerprint or "")
    if concept is None or concept.spec is None or base is None:
        return attempt
    return inputs.attempts.get(training_fingerprint(concept.spec, concept.images or (), base)) or attempt
