"""Which of the planned trainings start now: none outside of its hours, a canary before the many, a few at a time.

A new RECIPE or new weights of a base model ask for every concept to be trained again. That is a rollout: one concept
goes first; when its version passed its gate the others follow, a few at a time; when too many go wrong it stops. All
of this is read off the two states, so that a watcher that was killed, or a second one, decides the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from conceptry.actions import Action, ActionKind, Attempt, Plan
from conceptry.concept import BaseModel, Desired
from conceptry.fingerprint import training_fingerprint
from conceptry.policy import Policy
from conceptry.version import Actual, ActualConcept, Version

FEW = 2
"""So many failures are needed to stop a rollout, whatever their share."""


@dataclass(frozen=True)
class Rollout:
    """How far the move of many concepts to one base model and RECIPE has come; all are names of concepts."""

    to: str
    pending: tuple[str, ...]
    running: tuple[str, ...]
    passed: tuple[str, ...]
    wrong: tuple[str, ...]

    def hold_back(self, name: str, policy: Policy) -> str | None:
        """Why this one must wait; None when it may go."""
        if not self.passed:
            if self.wrong:
                return f"{self.wrong[0]} went wrong with {self.to}: mend it, or `conceptry train` another one"
            canary = policy.canary if policy.canary in self.pending else self.pending[0]
            first = self.running[0] if self.running else canary
            return None if name == first else f"{first} goes first with {self.to}"
        share = len(self.wrong) / (len(self.wrong) + len(self.passed))
        if len(self.wrong) >= FEW and share > policy.max_failures:
            told = ", ".join(self.wrong[:3]) + (", ..." if len(self.wrong) > 3 else "")
            return f"{len(self.wrong)} of {len(self.wrong) + len(self.passed)} went wrong with {self.to} ({told})"
        return None


def pace(
    plan: Plan,
    desired: Desired,
    actual: Actual,
    *,
    bases: Mapping[str, BaseModel],
    attempts: Mapping[str, Attempt],
    policy: Policy,
    now: datetime,
    places: int | None = None,
    trouble: str | None = None,
) -> Plan:
    """Say of each training that must not start now why.

    Args:
        plan: what is to be done.
        desired: what git asks for.
        actual: what the Hub holds.
        bases: the presets by name.
        attempts: as `plan` was given them.
        policy: conceptry.yaml.
        now: with its time zone.
        places: how many trainings may be at work or waiting to be; None for any number.
        trouble: what is wrong with conceptry.yaml; nothing is trained then.
    """
    trainings = [action for action in plan.actions if action.kind is ActionKind.TRAIN]
    if not trainings:
        return plan
    general = trouble or _closed(policy, now)
    moves = {name: rollout for rollout in rollouts(plan, desired, actual, bases, attempts) for name in rollout.pending}
    running = sum(_attempt(action, desired, bases, attempts) == "running" for action in plan.actions)
    free = len(trainings) if places is None else max(0, places - running)
    reasons: dict[str, str] = {}
    # What people ask for goes ahead of what changes everything.
    for action in sorted(trainings, key=lambda action: (action.concept in moves, action.concept)):
        rollout = moves.get(action.concept)
        reason = general or (rollout.hold_back(action.concept, policy) if rollout else None)
        if reason is None and free == 0:
            reason = f"{running} trainings are at work"
        if reason is None:
            free, running = free - 1, running + 1
        else:
            reasons[action.concept] = reason
    return replace(
        plan, actions=tuple(replace(action, deferred=reasons.get(action.concept)) for action in plan.actions)
    )


def rollouts(
    plan: Plan,
    desired: Desired,
    actual: Actual,
    bases: Mapping[str, BaseModel],
    attempts: Mapping[str, Attempt],
) -> tuple[Rollout, ...]:
    """Find the base models whose change moves more than one concept."""
    found: dict[str, dict[str, list[str]]] = {}
    for action in plan.actions:
        wanted, there = desired.concepts.get(action.concept), actual.concepts.get(action.concept)
        base = bases.get(wanted.spec.base_model) if wanted and wanted.spec else None
        if base is None or there is None:
            continue
        place = _place(action.kind, there, base, _attempt(action, desired, bases, attempts))
        if place is None:
            continue
        found.setdefault(base.name, {}).setdefault(place, []).append(action.concept)
    made = []
    for name, places in found.items():
        pending = tuple(places.get("pending", ()))
        if len(pending) + len(places.get("running", ())) + len(places.get("wrong", ())) > 1 and pending:
            to = f"{name} recipe {bases[name].recipe}"
            rest = (tuple(places.get(place, ())) for place in ("running", "passed", "wrong"))
            made.append(Rollout(to, pending, *rest))
    return tuple(made)


def _place(kind: ActionKind, there: ActualConcept, base: BaseModel, attempt: Attempt | None) -> str | None:
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


def _attempt(
    action: Action, desired: Desired, bases: Mapping[str, BaseModel], attempts: Mapping[str, Attempt]
) -> Attempt | None:
    """How the training of what git asks for stands, also when the action is about the Space meanwhile."""
    wanted = desired.concepts.get(action.concept)
    base = bases.get(wanted.spec.base_model) if wanted and wanted.spec else None
    needed = training_fingerprint(wanted.spec, wanted.images or (), base) if wanted and wanted.spec and base else ""
    return attempts.get(needed) or attempts.get(action.fingerprint or "")


def _closed(policy: Policy, now: datetime) -> str | None:
    if policy.suspend:
        return "conceptry.yaml says suspend"
    if not policy.windows or any(window.is_open(now) for window in policy.windows):
        return None
    return f"trainings may start again {_moment(min(window.opens(now) for window in policy.windows))}"


def _moment(opens: datetime) -> str:
    return f"{opens:%a %Y-%m-%d %H:%M} {opens.tzname()}"
