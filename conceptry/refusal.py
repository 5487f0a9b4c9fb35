"""What the Hub refuses: changes of single concepts until somebody acts (402, 403), and all changes for a while (429).

The plan holds the first, and defers the second. Either is asked again by itself, but not in every look.
"""

from dataclasses import dataclass, replace

from conceptry.actions import Action, ActionKind, ConceptPlan, Plan
from conceptry.reasons import ActionReason, DeferralReason

PUSHES = frozenset({ActionKind.RELEASE, ActionKind.RENDER, ActionKind.ADOPT, ActionKind.REPAIR})
"""Actions that write a Space that serves a version."""


@dataclass(frozen=True)
class Refusal:
    """Change that the Hub refused.

    Attributes:
        reason: Reason of the hold.
        cause: What the Hub said and what to do, in words.
        serving: Serving fingerprint that the Space was to have; another one is another change, which is tried.
        due: Whether it is time to try again.
    """

    reason: ActionReason
    cause: str
    serving: str
    due: bool = False


def hold_refused(action: Action, refusal: Refusal | None, serving: str | None) -> Action:
    """Return the hold in place of an action that the Hub refused before; the action itself if it is to be tried.

    One that is tried again counts as degraded until it succeeds, so that no event says the same every hour.

    Args:
        action: Action about what is served.
        refusal: What the Hub refused to do for this concept.
        serving: Serving fingerprint that the Space gets by the action.
    """
    if refusal is None or refusal.serving != serving or action.kind not in PUSHES or action.drift:
        return action
    if refusal.due:
        return replace(action, health="Degraded")
    return replace(action, kind=ActionKind.HOLD, reason=refusal.reason, cause=refusal.cause, health="Degraded")


def defer_limited(plan: Plan, words: str | None) -> Plan:
    """Return the plan with a deferral on each action that the Hub would not take now.

    What hides or takes down is tried all the same, and a training publishes later.

    Args:
        plan: The plan.
        words: Why the Hub takes no changes now; None if it does.
    """
    if words is None:
        return plan
    writes = PUSHES | {ActionKind.JUDGE}

    def deferred(one: ConceptPlan) -> ConceptPlan:
        action = one.serving
        if action.kind not in writes or action.deferred or action.reason is ActionReason.RELEASE_NONE:
            return one
        return replace(one, serving=replace(action, deferral=DeferralReason.HUB_LIMIT, deferred=words))

    return replace(plan, concepts=tuple(map(deferred, plan.concepts)))
