"""Plan: the actions that make the live state match the desired state, and why. Pure; no other module decides."""

from collections.abc import Iterator
from dataclasses import replace

from conceptry.actions import IDLE, Action, ActionKind, Plan
from conceptry.desired import Desired, DesiredConcept
from conceptry.errors import DataCorruptError
from conceptry.plan_inputs import PlanInputs
from conceptry.planner import ConceptPlanner
from conceptry.reasons import ActionReason
from conceptry.version import Live, LiveConcept


def plan(desired: Desired, live: Live, inputs: PlanInputs) -> Plan:
    """Compare desired and live state; return one action per concept, sorted by name."""
    return Plan(
        desired.revision,
        tuple(
            _archive(live_concept) if concept is None else _decide(concept, live_concept, inputs)
            for concept, live_concept in _pairs(desired, live)
        ),
    )


def serving_action(concept: DesiredConcept | None, live: LiveConcept, inputs: PlanInputs) -> Action:
    """Return the action of one concept's Space, without its trainings; the flow `release` uses this."""
    return _archive(live) if concept is None else _decide(concept, live, inputs, serving_only=True)


def open_fingerprints(desired: Desired, live: Live, inputs: PlanInputs) -> set[str]:
    """Return the training fingerprints whose runs the plan depends on; the caller reads these runs from Prefect."""
    found: set[str] = set()
    for concept, live_concept in _pairs(desired, live):
        planner = _planner(concept, live_concept, inputs) if concept else None
        found |= planner.open_fingerprints() if isinstance(planner, ConceptPlanner) else frozenset()
    return found


def pending_trainings(desired: Desired, live: Live, inputs: PlanInputs) -> set[str]:
    """Return the concepts whose needed training was not attempted yet; the caller checks their images in the remote."""
    found = set()
    for concept, live_concept in _pairs(desired, live):
        planner = _planner(concept, live_concept, inputs) if concept else None
        if concept and isinstance(planner, ConceptPlanner) and not planner.spec.suspend:
            training = planner.training(planner.inputs_fingerprint())
            if training is not None and training.kind is ActionKind.TRAIN:
                found.add(concept.name)
    return found


def _pairs(desired: Desired, live: Live) -> Iterator[tuple[DesiredConcept | None, LiveConcept]]:
    for name in sorted(desired.concepts.keys() | live.concepts.keys()):
        yield desired.concepts.get(name), live.concepts.get(name, LiveConcept(name, (), None))


def _archive(live: LiveConcept) -> Action:
    space = live.space
    if space is None or space.paused or space.release is None:
        return Action(
            live.name, ActionKind.NOTHING, ActionReason.ARCHIVED, "archived", None, None, "Synced", "Suspended"
        )
    cause = "no longer in git: its Space is paused, its versions stay"
    return Action(
        live.name, ActionKind.ARCHIVE, ActionReason.REMOVED_FROM_GIT, cause, None, None, "OutOfSync", "Healthy"
    )


def _decide(concept: DesiredConcept, live: LiveConcept, inputs: PlanInputs, *, serving_only: bool = False) -> Action:
    planner = _planner(concept, live, inputs)
    if isinstance(planner, Action):
        return planner
    action = planner.decide_serving() if serving_only else planner.decide()
    if planner.spec.suspend:
        pending = f"; would {action.kind}: {action.cause}" if action.kind not in IDLE else ""
        return replace(
            action,
            kind=ActionKind.HOLD,
            reason=ActionReason.SUSPENDED,
            cause=f"suspended{pending}",
            health="Suspended",
        )
    return action


def _planner(concept: DesiredConcept, live: LiveConcept, inputs: PlanInputs) -> ConceptPlanner | Action:
    """Return the planner of a concept, or a `hold` action if its files or its base model are not usable."""

    def hold(reason: ActionReason, cause: str) -> Action:
        return Action(concept.name, ActionKind.HOLD, reason, cause, None, None, "Unknown", "Degraded")

    spec = concept.spec
    if concept.error is not None or spec is None:
        corrupt = isinstance(concept.error, DataCorruptError)
        reason = ActionReason.DATA_CORRUPT if corrupt else ActionReason.SPEC_INVALID
        return hold(reason, "; ".join(str(concept.error or "concept.yaml was not read").splitlines()))
    if live.error is not None:
        return hold(ActionReason.REPO_UNREADABLE, live.error)
    base = inputs.bases.get(spec.base_model)
    if base is None:
        available = ", ".join(sorted(inputs.bases))
        cause = f"base model {spec.base_model} is not available here; available: {available}"
        return hold(ActionReason.BASE_MODEL_UNAVAILABLE, cause)
    return ConceptPlanner(concept, spec, live, base, inputs)
