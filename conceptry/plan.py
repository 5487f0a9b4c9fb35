"""Plan: the actions that make the live state match the desired state, and why. Pure; no other module decides."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import partial

from conceptry.actions import Action, ActionKind, ConceptPlan, Plan
from conceptry.desired import Desired, DesiredConcept
from conceptry.errors import ConceptryError
from conceptry.isolation import isolate
from conceptry.judgement import outdated_judgements
from conceptry.plan_inputs import PlanInputs
from conceptry.planner import ConceptFacts, reason_of
from conceptry.reasons import ActionReason
from conceptry.serving_planner import ServingPlanner, withdraw
from conceptry.training_planner import TrainingPlanner
from conceptry.version import Live, LiveConcept, Thresholds


def plan(desired: Desired, live: Live, inputs: PlanInputs) -> Plan:
    """Compare desired and live state; return the plan of every concept, sorted by name.

    A concept that cannot be planned is held, and no other one.
    """
    return Plan(desired.revision, tuple(_planned(concept, there, inputs) for concept, there in _pairs(desired, live)))


def plan_concept(concept: DesiredConcept | None, live: LiveConcept, inputs: PlanInputs) -> ConceptPlan:
    """Return the plan of one concept; `concept` is None if it is not in git."""
    if concept is None:
        return _archive(live)
    if live.holder is not None:
        cause = f"{live.holder}; choose another name for the concept, or take it over: `conceptry adopt {live.name}`"
        taken = Action(live.name, ActionKind.HOLD, ActionReason.NAME_TAKEN, cause, None, None, "OutOfSync", "Degraded")
        return ConceptPlan(live.name, taken, taken)
    facts = _facts(concept, live, inputs)
    if facts is None:
        return _unreadable(concept, live)
    return ConceptPlan(concept.name, ServingPlanner(facts).decide(), TrainingPlanner(facts).decide())


def _planned(concept: DesiredConcept | None, live: LiveConcept, inputs: PlanInputs) -> ConceptPlan:
    return isolate(
        live.name,
        lambda: plan_concept(concept, live, inputs).printable(),
        lambda error: _unplannable(concept, live, error).printable(),
    )


def open_fingerprints(desired: Desired, live: Live, inputs: PlanInputs) -> set[str]:
    """Return the training fingerprints whose runs the plan depends on; the caller reads these runs from Prefect.

    They are those of needed trainings, of retrainings that may have failed, and of versions to release.
    """
    found: set[str] = set()
    for concept, there in _pairs(desired, live):
        # `plan` meets the same exception, and holds the concept.
        found |= isolate(there.name, partial(_fingerprints, concept, there, inputs), lambda _: set())
    return found


def _fingerprints(concept: DesiredConcept | None, live: LiveConcept, inputs: PlanInputs) -> set[str]:
    facts = _facts(concept, live, inputs) if concept else None
    if facts is None:
        return set()
    release = facts.release
    served = live.space.release if live.space else None
    switched = release.fingerprint if release and (release.name != served or live.drift) else None
    return TrainingPlanner(facts).fingerprints() | ({switched} if switched else set())


def pending_judgements(concept: DesiredConcept | None, live: LiveConcept, inputs: PlanInputs) -> dict[int, Thresholds]:
    """Return the versions that an action `judge` of a concept judges, by number, with the thresholds."""
    facts = _facts(concept, live, inputs) if concept else None
    return outdated_judgements(facts) if facts else {}


def pending_trainings(made: Plan, *, deferred: bool = False) -> set[str]:
    """Return the concepts whose training is planned; the caller checks their images in the remote.

    Retrainings that are deferred are left out without `deferred`: they may wait for days, and their images are checked
    when they may start.
    """
    trainings = (action for action in made.changes if action.kind is ActionKind.TRAIN)
    return {action.concept for action in trainings if deferred or action.retrain is None or action.deferred is None}


def _pairs(desired: Desired, live: Live) -> Iterator[tuple[DesiredConcept | None, LiveConcept]]:
    for name in sorted(desired.concepts.keys() | live.concepts.keys()):
        yield desired.concepts.get(name), live.concepts.get(name, LiveConcept(name, (), None))


def next_retrainings(desired: Desired, live: Live, inputs: PlanInputs) -> list[tuple[date, str]]:
    """Return the day of the next retraining of each concept that has a schedule, with its name, the earliest first."""
    found = []
    for concept, there in _pairs(desired, live):
        facts = isolate(there.name, partial(_facts, concept, there, inputs), lambda _: None) if concept else None
        due = TrainingPlanner(facts).next_retraining if facts else None
        if due is not None:
            found.append((due.day, there.name))
    return sorted(found)


def _facts(concept: DesiredConcept, live: LiveConcept, inputs: PlanInputs) -> ConceptFacts | None:
    """Return what the planners decide by; None if concept.yaml is not readable."""
    spec = concept.spec
    if spec is None or live.holder is not None:
        return None
    return ConceptFacts.of(concept, spec, live, inputs)


def _repair_archived(live: LiveConcept, idle: Action) -> Action | None:
    """Return the action that puts back what was changed by hand, or was left half done; None if nothing was."""
    if live.unsigned:
        return None
    repair = replace(idle, kind=ActionKind.REPAIR, sync="OutOfSync", health="Degraded")
    if live.drift:
        cause = "; ".join(str(drift) for drift in live.drift)
        return replace(repair, reason=ActionReason.DRIFTED, cause=cause, drift=live.drift)
    if live.main is not None and live.main.release is not None:
        cause = f"the card on main describes {live.main.release} instead of none"
        return replace(repair, reason=ActionReason.CARD_OUTDATED, cause=cause)
    return None


def _archive(live: LiveConcept) -> ConceptPlan:
    space = live.space
    idle = Action(live.name, ActionKind.NOTHING, ActionReason.ARCHIVED, "archived", None, None, "Synced", "Suspended")
    if space is None or space.paused or not space.serves:
        return ConceptPlan(live.name, _repair_archived(live, idle) or idle, idle)
    if live.unsigned:
        cause = f"not in git; `conceptry adopt {live.name}` lets this installation pause its Space"
        unsigned = replace(idle, reason=ActionReason.UNSIGNED, cause=cause)
        return ConceptPlan(live.name, unsigned, idle)
    cause = "no longer in git: its Space is paused, its versions stay"
    archive = Action(
        live.name, ActionKind.ARCHIVE, ActionReason.REMOVED_FROM_GIT, cause, None, None, "OutOfSync", "Healthy"
    )
    return ConceptPlan(live.name, archive, idle)


def _unreadable(concept: DesiredConcept, live: LiveConcept) -> ConceptPlan:
    """Return the plan of a concept whose concept.yaml has mistakes: held, but what it withdraws is withdrawn."""
    error = concept.error or ConceptryError("concept.yaml was not read", concept=concept.name)
    return _held(live, error, hidden=concept.hidden, nothing=concept.taken_down)


def _unplannable(concept: DesiredConcept | None, live: LiveConcept, error: ConceptryError) -> ConceptPlan:
    """Return the plan of a concept whose plan raised an exception: held, but what it withdraws is withdrawn."""
    spec = concept.spec if concept else None
    hidden, nothing = (concept.hidden, concept.taken_down) if concept else (False, False)
    if spec is not None:
        hidden, nothing = spec.space.private, spec.release == "none"
    return isolate(
        live.name,
        lambda: _held(live, error, hidden=hidden, nothing=nothing),
        lambda another: _held(LiveConcept(live.name, (), None), another, hidden=False, nothing=False),
    )


def _held(live: LiveConcept, error: ConceptryError, *, hidden: bool, nothing: bool) -> ConceptPlan:
    cause = "; ".join(str(error).splitlines())
    held = Action(live.name, ActionKind.HOLD, reason_of(error), cause, None, None, "Unknown", "Degraded")
    return ConceptPlan(live.name, withdraw(live, hidden=hidden, nothing=nothing) or held, held)
