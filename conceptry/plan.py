"""The plan: what to do so that the Hub holds what git asks for, and why. Pure, and the only place that decides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from types import MappingProxyType

from conceptry.actions import IDLE, Action, ActionKind, Attempt, Health, Plan, Sync
from conceptry.concept import BaseModel, Desired, DesiredConcept
from conceptry.estimate import Rate
from conceptry.planner import Case, choose_release
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
    names: Mapping[str, str] = MappingProxyType({}),
    rates: Mapping[str, Rate] = MappingProxyType({}),
) -> Plan:
    """Compare what git asks for with what the Hub holds.

    Args:
        desired: the concepts in git.
        actual: the concepts on the Hub.
        bases: the presets by name.
        attempts: state of the newest run for each training fingerprint, where that is running or failed.
        templates: digest of the templates of Space and handler.
        today: lets scheduled retrainings fall due; None leaves them alone.
        names: paths of images that are no longer in git, by md5, so that a plan can name them.
        rates: how fast each preset trains, by its name, and by `backend/name` for concepts that choose where.
    """
    actions = []
    known = Known(bases, attempts, templates, today, names, rates)
    for name in sorted(desired.concepts.keys() | actual.concepts.keys()):
        there = actual.concepts.get(name, ActualConcept(name, (), None))
        wanted = desired.concepts.get(name)
        actions.append(_archive(there) if wanted is None else _held(wanted, there, known))
    return Plan(desired.revision, tuple(actions))


def _archive(there: ActualConcept) -> Action:
    space = there.space
    if space is None or space.paused or space.release is None:
        return Action(there.name, ActionKind.NOTHING, "archived", None, None, "Synced", "Suspended")
    cause = "no longer in git: its Space is paused, its versions stay"
    return Action(there.name, ActionKind.ARCHIVE, cause, None, None, "OutOfSync", "Healthy")


@dataclass(frozen=True)
class Known:
    """What `plan` was given besides the two states."""

    bases: Mapping[str, BaseModel]
    attempts: Mapping[str, Attempt]
    templates: str
    today: date | None
    names: Mapping[str, str]
    rates: Mapping[str, Rate]


def _held(wanted: DesiredConcept, there: ActualConcept, known: Known) -> Action:
    """Hold what cannot or must not be worked on; decide on the rest."""
    spec, name = wanted.spec, wanted.name
    if wanted.error is not None or spec is None:
        cause = "; ".join(str(wanted.error or "concept.yaml was not read").splitlines())
        return Action(name, ActionKind.HOLD, cause, None, None, "Unknown", "Degraded")
    if there.trouble is not None:
        return Action(name, ActionKind.HOLD, there.trouble, None, None, "Unknown", "Degraded")
    base = known.bases.get(spec.base_model)
    if base is None:
        cause = f"base model {spec.base_model} is not available here; there are: {', '.join(sorted(known.bases))}"
        return Action(name, ActionKind.HOLD, cause, None, None, "Unknown", "Degraded")
    rate = known.rates.get(f"{spec.training.backend}/{base.name}") or known.rates.get(base.name)
    case = Case(wanted, spec, there, base, known.attempts, known.templates, known.today, known.names, rate)
    action = case.decide()
    if spec.suspend:
        pending = f"; would {action.kind}: {action.cause}" if action.kind not in IDLE else ""
        return replace(action, kind=ActionKind.HOLD, cause=f"suspended{pending}", health="Suspended")
    return action
