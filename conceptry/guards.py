"""Guard against accidents: a plan that would take many concepts down, or serve other versions, needs a person's yes.

An empty `concepts/`, a wrong branch or a force-pushed history look like a wish to archive everything.
"""

from dataclasses import replace

from conceptry.actions import Action, ActionKind, ConceptPlan, Plan
from conceptry.policy import Guards
from conceptry.reasons import DeferralReason
from conceptry.version import Live

_OTHERWISE = frozenset({ActionKind.RELEASE, ActionKind.ADOPT})


def guard_served(plan: Plan, live: Live, guards: Guards) -> Plan:
    """Return the plan with a deferral on each action that changes which version is served, if there are too many.

    Args:
        plan: The plan.
        live: Live state that it was made for.
        guards: Limits of conceptry.yaml.
    """
    affected = [one.concept for one in plan.concepts if _takes_away(one.serving, live)]
    limit = max(guards.at_least, int(guards.share * len(plan.concepts)))
    if len(affected) <= limit:
        return plan
    names = ", ".join(affected[:3]) + (", ..." if len(affected) > 3 else "")
    words = (
        f"{len(affected)} of {len(plan.concepts)} concepts would be archived or released otherwise at once ({names}), "
        f"more than {limit}: if that is right, `conceptry plan --out FILE` and `conceptry apply FILE`, or raise "
        "`guards` in conceptry.yaml"
    )

    def deferred(one: ConceptPlan) -> ConceptPlan:
        if one.concept not in affected:
            return one
        serving = replace(one.serving, deferral=DeferralReason.CONFIRMATION_NEEDED, deferred=words)
        return replace(one, serving=serving)

    return replace(plan, concepts=tuple(deferred(one) for one in plan.concepts))


def confirmed(plan: Plan) -> Plan:
    """Return the plan without the deferrals that only wait for a person's yes."""

    def allowed(one: ConceptPlan) -> ConceptPlan:
        if one.serving.deferral is not DeferralReason.CONFIRMATION_NEEDED:
            return one
        return replace(one, serving=replace(one.serving, deferral=None, deferred=None))

    return replace(plan, concepts=tuple(allowed(one) for one in plan.concepts))


def _takes_away(action: Action, live: Live) -> bool:
    """Whether an action ends the serving of the version that is served now."""
    there = live.concepts.get(action.concept)
    served = there.space.release if there and there.space else None
    return action.kind is ActionKind.ARCHIVE or (action.kind in _OTHERWISE and served is not None)
