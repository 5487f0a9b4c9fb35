"""The plan: what to do so that the Hub holds what git asks for, and why. Pure, and the only place that decides."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from types import MappingProxyType

from conceptry.actions import IDLE, Action, ActionKind, Attempt, Health, Plan, Sync
from conceptry.concept import BaseModel, Desired, DesiredConcept
from conceptry.deciding import Case, choose_release
from conceptry.version import Actual, ActualConcept

__all__ = ["Action", "ActionKind", "Attempt", "Health", "Plan", "Sync", "choose_release", "plan"]


def plan(
    desired: Desired,
    actual: Actual,
    *,
    bases: Mapping[str, BaseModel],
    attempts: Mapping[str, Attempt] = MappingProxyType({}),
    templates: str,
    today: date | None = None,
) -> Plan:
    """Compare what git asks for with what the Hub holds.

    Args:
        desired: the concepts in git.
        actual: the concepts on the Hub.
        bases: the presets by name.
        attempts: state of the newest run for each training fingerprint, where that is running or failed.
        templates: digest of the templates of Space and handler.
        today: lets scheduled retrainings fall due; None leaves them alone.
    """
    actions = []
    for name in sorted(desired.concepts.keys() | actual.concepts.keys()):
        there = actual.concepts.get(name, ActualConcept(name, (), None))
        wanted = desired.concepts.get(name)
        actions.append(_archive(there) if wanted is None else _held(wanted, there, bases, attempts, templates, today))
    return Plan(desired.revision, tuple(actions))


def _archive(there: ActualConcept) -> Action:
    space = there.space
    if space is None or space.paused or space.release is None:
        return Action(there.name, ActionKind.NOTHING, "archived", None, None, "Synced", "Suspended")
    cause = "no longer in git: its Space is paused, its versions stay"
    return Action(there.name, ActionKind.ARCHIVE, cause, None, None, "OutOfSync", "Healthy")


def _held(
    wanted: DesiredConcept,
    there: ActualConcept,
    bases: Mapping[str, BaseModel],
    attempts: Mapping[str, Attempt],
    templates: str,
    today: date | None,
) -> Action:
    """Hold what cannot or must not be worked on; decide on the rest."""
    spec, name = wanted.spec, wanted.name
    if wanted.error is not None or spec is None:
        cause = "; ".join(str(wanted.error or "concept.yaml was not read").splitlines())
        return Action(name, ActionKind.HOLD, cause, None, None, "Unknown", "Degraded")
    base = bases.get(spec.base_model)
    if base is None:
        cause = f"base model {spec.base_model} is not available here; there are: {', '.join(sorted(bases))}"
        return Action(name, ActionKind.HOLD, cause, None, None, "Unknown", "Degraded")
    action = Case(wanted, spec, there, base, attempts, templates, today).decide()
    if spec.suspend:
        pending = f"; would {action.kind}: {action.cause}" if action.kind not in IDLE else ""
        return replace(action, kind=ActionKind.HOLD, cause=f"suspended{pending}", health="Suspended")
    return action
