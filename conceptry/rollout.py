"""Pace of trainings: which of the planned ones start now, by time window, canary and free capacity.

A new RECIPE or new weights of a base model require a training of every concept. That is a rollout: one concept, the
canary, is trained first; when its version passed its gate the others follow, a few at a time; when too many fail the
rollout stops. All of this is computed from desired and live state, so that a restarted or second watcher decides the
same.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from conceptry.actions import Action, ActionKind, Attempt, ConceptPlan, Plan
from conceptry.budget import Spending, exceeded, spent_this_month
from conceptry.concept import BaseModel
from conceptry.desired import Desired
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import Budget, Policy
from conceptry.reasons import ActionReason, DeferralReason, GateReason
from conceptry.version import Live, LiveConcept, Version

FEW = 2
"""Minimum of failures that stops a rollout, whatever their share."""

Deferral = tuple[DeferralReason, str]
"""Why an action is not carried out now: reason code and words."""


@dataclass(frozen=True)
class Rollout:
    """Progress of a rollout of one base model and RECIPE `to`; the tuples hold names of concepts."""

    to: str
    pending: tuple[str, ...]
    running: tuple[str, ...]
    passed: tuple[str, ...]
    failed: tuple[str, ...]

    def defer(self, name: str, policy: Policy) -> Deferral | None:
        """Return why this concept has to wait; None if it may be trained."""
        if not self.passed:
            if self.failed:
                words = (
                    f"the canary {self.failed[0]} failed with {self.to}: correct it, or `conceptry train` another one"
                )
                return DeferralReason.CANARY_FAILED, words
            canary = policy.canary if policy.canary in self.pending else self.pending[0]
            first = self.running[0] if self.running else canary
            return (
                None
                if name == first
                else (DeferralReason.CANARY_FIRST, f"the canary {first} is trained first with {self.to}")
            )
        share = len(self.failed) / (len(self.failed) + len(self.passed))
        if len(self.failed) >= FEW and share > policy.max_failures:
            names = ", ".join(self.failed[:3]) + (", ..." if len(self.failed) > 3 else "")
            words = f"{len(self.failed)} of {len(self.failed) + len(self.passed)} failed with {self.to} ({names})"
            return DeferralReason.ROLLOUT_STOPPED, words
        return None


@dataclass(frozen=True)
class Pace:
    """Limits on how many trainings start now.

    Attributes:
        policy: conceptry.yaml.
        now: Current time, with a time zone.
        places: Maximum of trainings that run or are scheduled; None for no limit.
        policy_error: Error in conceptry.yaml; with it no training starts.
    """

    policy: Policy
    now: datetime
    places: int | None = None
    policy_error: str | None = None

    def closed(self) -> Deferral | None:
        """Return why no training may start; None if trainings may start."""
        if self.policy_error:
            return DeferralReason.POLICY_INVALID, self.policy_error
        if self.policy.suspend:
            return DeferralReason.REGISTRY_SUSPENDED, "conceptry.yaml says `suspend: true`"
        windows = self.policy.windows
        if not windows or any(window.is_open(self.now) for window in windows):
            return None
        opens = min(window.opens(self.now) for window in windows)
        words = f"trainings may start again {opens:%a %Y-%m-%d %H:%M} {opens.tzname()}"
        return DeferralReason.WINDOW_CLOSED, words

    def over_budget(self, spent: Spending, asked: Spending) -> Deferral | None:
        """Return the deferral of a training for which this month's budget does not suffice; None if it does."""
        words = exceeded(self.policy.budget, spent, asked, self.now)
        return (DeferralReason.BUDGET_SPENT, words) if words else None


def defer_trainings(plan: Plan, desired: Desired, live: Live, inputs: PlanInputs, *, pace: Pace) -> Plan:
    """Return the plan with a deferral on each training that must not start now."""
    # An interrupted training is resumed at once: it was started when it was allowed to.
    trainings = [
        one.training
        for one in plan.concepts
        if one.training.kind is ActionKind.TRAIN
        and one.training.deferral is None
        and one.training.reason is not ActionReason.TRAINING_INTERRUPTED
    ]
    if not trainings:
        return plan
    closed = pace.closed()
    # A concept that is retrained has a version of its base model already.
    moving = rollouts(plan, desired, live, inputs) if any(action.retrain is None for action in trainings) else ()
    by_rollout = {name: rollout for rollout in moving for name in rollout.pending}
    running = sum(attempt != "failed" for attempt in inputs.attempts.values())
    free = len(trainings) if pace.places is None else max(0, pace.places - running)
    spent = spent_this_month(plan, desired, live, inputs, pace.now) if pace.policy.budget != Budget() else Spending()
    deferred: dict[str, Deferral] = {}
    for action in sorted(trainings, key=lambda action: _turn(action, live, in_rollout=action.concept in by_rollout)):
        rollout = by_rollout.get(action.concept)
        deferral = closed or (rollout.defer(action.concept, pace.policy) if rollout else None)
        edited = rollout is None and action.retrain is None
        deferral = deferral or pace.over_budget(spent, Spending() if edited else Spending.of(action))
        if deferral is None and free == 0:
            deferral = DeferralReason.NO_FREE_PLACE, f"{running} trainings are running"
        if deferral is None:
            free, running, spent = free - 1, running + 1, spent + Spending.of(action)
        else:
            deferred[action.concept] = deferral
    return replace(plan, concepts=tuple(_deferred(one, deferred.get(one.concept)) for one in plan.concepts))


def _turn(action: Action, live: Live, *, in_rollout: bool) -> tuple[int, str, str, str]:
    """Return the rank of a training: edits by users, then a rollout, then retrainings, the longest due first.

    Of those that are due on one day the oldest version comes first. In the order of their names, those that come last
    would be a day later each time that a day does not suffice for all.
    """
    if action.retrain is None:
        return int(in_rollout), "", "", action.concept
    versions = live.concepts[action.concept].versions
    return 2, action.retrain, max(version.created[:19] for version in versions), action.concept


def _deferred(one: ConceptPlan, deferral: Deferral | None) -> ConceptPlan:
    if deferral is None:
        return one
    return replace(one, training=replace(one.training, deferral=deferral[0], deferred=deferral[1]))


def rollouts(plan: Plan, desired: Desired, live: Live, inputs: PlanInputs) -> tuple[Rollout, ...]:
    """Return the rollouts: changes of a base model that affect more than one concept."""
    found: dict[str, dict[str, list[str]]] = {}
    for one in plan.concepts:
        concept, live_concept = desired.concepts.get(one.concept), live.concepts.get(one.concept)
        base = inputs.bases.get(concept.spec.base_model) if concept and concept.spec else None
        if base is None or live_concept is None:
            continue
        stage = _stage(one.training.kind, live_concept, base, inputs.attempts.get(one.training.fingerprint or ""))
        if stage is None:
            continue
        found.setdefault(base.name, {}).setdefault(stage, []).append(one.concept)
    made = []
    for name, stages in found.items():
        pending = tuple(stages.get("pending", ()))
        if len(pending) + len(stages.get("running", ())) + len(stages.get("failed", ())) > 1 and pending:
            to = f"{name} recipe {inputs.bases[name].recipe}"
            begun = (tuple(stages.get(stage, ())) for stage in ("running", "passed", "failed"))
            made.append(Rollout(to, pending, *begun))
    return tuple(made)


def _stage(kind: ActionKind, live: LiveConcept, base: BaseModel, attempt: Attempt | None) -> str | None:
    """Return how far a concept is in the rollout of its base model; None if it takes no part in one."""
    versions = [version for version in live.versions if version.spec]
    if not versions:
        return None
    newest = max(versions, key=lambda version: version.number)
    if _is_of(newest, base):
        moved = any(not _is_of(version, base) for version in versions)
        return _verdict(newest) if moved else None
    if attempt is not None:
        return "failed" if attempt == "failed" else "running"
    return "pending" if kind is ActionKind.TRAIN else None


def _verdict(newest: Version) -> str | None:
    """Return what a version of the new recipe says about it: nothing if the gate could not tell.

    One that is only no better than the released version shows that the recipe works.
    """
    works = (GateReason.NOT_BETTER_THAN_RELEASED, GateReason.UNCLEAR_AGAINST_RELEASED)
    if newest.gate == "passed" or newest.gate_reason in works:
        return "passed"
    return "failed" if newest.gate == "rejected" else None


def _is_of(version: Version, base: BaseModel) -> bool:
    keys = {"base_model": base.name, "base_digest": base.digest, "recipe": base.recipe}
    return all(version.spec.get(key) == value for key, value in keys.items())
