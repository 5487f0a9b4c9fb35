"""Guard against accidents: a plan that would take many concepts down, or serve other versions, needs a person's yes.

An empty `concepts/`, a wrong branch or a force-pushed history look like a wish to archive everything.
"""

from collections.abc import Collection
from dataclasses import replace

from conceptry.actions import Action, ActionKind, ConceptPlan, Plan
from conceptry.policy import Guards
from conceptry.reasons import ActionReason, DeferralReason
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
        return _after_judgements(plan, live, affected, limit)
    names = ", ".join(affected[:3]) + (", ..." if len(affected) > 3 else "")
    words = (
        f"{len(affected)} of {len(plan.concepts)} concepts would be archived or released otherwise at once ({names}), "
        f"more than {limit}: if that is right, `conceptry plan --out FILE` and `conceptry apply FILE`, or raise "
        "`guards` in conceptry.yaml"
    )

    return _deferred(plan, affected, words)


def _after_judgements(plan: Plan, live: Live, affected: Collection[str], limit: int) -> Plan:
    """Return the plan in which releases by `latest` wait while a changed gate judges versions of many concepts.

    One watch may not have the time to judge them all; the limit is for all that the gate changes.
    """
    judged = [one for one in plan.concepts if one.serving.kind is ActionKind.JUDGE and _served(one.serving, live)]
    if len(affected) + len(judged) <= limit:
        return plan
    latest = (ActionReason.RELEASE_LATEST, ActionReason.INPUTS_PUBLISHED)
    names = {one.concept for one in plan.concepts if one.serving.reason in latest}.intersection(affected)
    words = (
        f"a changed gate judges versions of {len(judged)} concepts first, so that more than {limit} may be released "
        "otherwise: wait for that, or `conceptry plan --out FILE` and `conceptry apply FILE`"
    )
    return _deferred(plan, names, words)


def _deferred(plan: Plan, names: Collection[str], words: str) -> Plan:
    def deferred(one: ConceptPlan) -> ConceptPlan:
        if one.concept not in names:
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
    return action.kind is ActionKind.ARCHIVE or (action.kind in _OTHERWISE and _served(action, live) is not None)


def _served(action: Action, live: Live) -> str | None:
    there = live.concepts.get(action.concept)
    return there.space.release if there and there.space else None
