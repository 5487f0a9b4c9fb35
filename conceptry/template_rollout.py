"""Pace of new templates: which Spaces are rendered with them now, and which wait.

New templates of Space and handler change every Space. That is a rollout: one Space, the canary, gets them first; when
it runs the others follow, a few at a time; when too many fail the rollout stops. All of this is computed from desired
and live state, so that a restarted or second watcher decides the same. Other changes of a Space do not wait for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from conceptry.actions import ConceptPlan, Plan
from conceptry.fingerprint import has_templates
from conceptry.policy import Policy
from conceptry.reasons import ActionReason, DeferralReason
from conceptry.rollout import FEW, Deferral
from conceptry.version import Live, SpaceState

AT_ONCE = 10
"""Maximum of Spaces that are being built with new templates."""
UNOBSERVABLE = frozenset({None, "PAUSED", "PAUSING", "SLEEPING", "STOPPED", "DELETING"})
"""Stages in which a Space shows nothing about its templates; None is that of a Hub that runs no Spaces."""


@dataclass(frozen=True)
class TemplateRollout:
    """Progress of a rollout of templates; the tuples hold names of concepts.

    `pending` have other templates, all others have the new ones: `building` are not up yet, `running` are, `failed`
    ended in an error, and of `unobservable` it cannot be told.
    """

    pending: tuple[str, ...]
    building: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unobservable: tuple[str, ...] = ()

    def start(self, policy: Policy) -> tuple[tuple[str, ...], Deferral]:
        """Return the concepts whose Spaces are rendered now, and why the others wait."""
        if not (self.running or self.unobservable):
            return self._start_canary(policy)
        share = len(self.failed) / max(1, len(self.failed) + len(self.running))
        if len(self.failed) >= FEW and share > policy.max_failures:
            words = (
                f"{len(self.failed)} of {len(self.failed) + len(self.running)} Spaces failed with the new templates "
                f"({_few(self.failed)}): see their logs on the Hub, and correct their `override` or the templates"
            )
            return (), (DeferralReason.TEMPLATES_STOPPED, words)
        words = f"{AT_ONCE} Spaces at a time are built with the new templates"
        if self.building:
            words += f"; in progress: {_few(self.building)}"
        return self.pending[: max(0, AT_ONCE - len(self.building))], (DeferralReason.TEMPLATES_IN_PROGRESS, words)

    def _start_canary(self, policy: Policy) -> tuple[tuple[str, ...], Deferral]:
        another = "name another `canary` in conceptry.yaml"
        if policy.canary in self.pending:
            canary = str(policy.canary)
        elif self.failed:
            words = (
                f"the Space of the canary {self.failed[0]} failed with the new templates: see its log on the Hub, and "
                f"correct its `override` or the templates; or {another}"
            )
            return (), (DeferralReason.TEMPLATES_CANARY_FAILED, words)
        elif self.building:
            words = f"the Space of the canary {self.building[0]} is being built with the new templates"
            return (), (DeferralReason.TEMPLATES_CANARY_FIRST, f"{words}; if that does not end, {another}")
        else:
            canary = self.pending[0]
        words = f"the canary {canary} gets the new templates first; if it cannot, {another}"
        return (canary,), (DeferralReason.TEMPLATES_CANARY_FIRST, words)


def defer_renderings(plan: Plan, live: Live, templates: str, policy: Policy) -> Plan:
    """Return the plan with a deferral on each Space that must not get new templates now.

    Args:
        plan: The plan.
        live: Live state that it was made for.
        templates: Identity of the current templates.
        policy: conceptry.yaml, for the canary and the share of failures that stops the rollout.
    """
    rollout = template_rollout(plan, live, templates)
    if not rollout.pending:
        return plan
    now, (reason, words) = rollout.start(policy)
    waiting = set(rollout.pending).difference(now)

    def deferred(one: ConceptPlan) -> ConceptPlan:
        if one.concept not in waiting:
            return one
        return replace(one, serving=replace(one.serving, deferral=reason, deferred=words))

    return replace(plan, concepts=tuple(map(deferred, plan.concepts)))


def template_rollout(plan: Plan, live: Live, templates: str) -> TemplateRollout:
    """Return how far the current templates are; Spaces that serve nothing take no part.

    Spaces that run now come first, and those that failed with older templates last: they could show least.
    """
    found: dict[str, list[str]] = {"pending": []}
    spaces: dict[str, SpaceState] = {}
    for one in plan.concepts:
        there = live.concepts.get(one.concept)
        space = there.space if there else None
        if one.serving.reason is ActionReason.TEMPLATES_CHANGED:
            found["pending"].append(one.concept)
            spaces[one.concept] = space or SpaceState(None, None)
        elif space is not None and space.release is not None and has_templates(space.serving or "", templates):
            found.setdefault(_progress(space), []).append(one.concept)
    found["pending"].sort(key=lambda name: (spaces[name].failed, spaces[name].stage != "RUNNING", name))
    return TemplateRollout(**{state: tuple(names) for state, names in found.items()})


def _progress(space: SpaceState) -> str:
    """Return how far a Space with the new templates is, by its stage, which may still be that of an earlier commit."""
    if space.stage in UNOBSERVABLE:
        return "unobservable"
    if space.running_sha not in (None, space.sha):
        return "building"
    return "failed" if space.failed else "running" if space.stage == "RUNNING" else "building"


def _few(names: Iterable[str]) -> str:
    listed = tuple(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
