"""Decision about what is served: the visibility of a concept's repos, its card, its branches, and its Space.

It never waits for a training. What takes something from the public comes first: hide, then take down.
"""

from dataclasses import dataclass, replace

from conceptry.actions import IDLE, ROLLBACK, Action, ActionKind, Health
from conceptry.fingerprint import only_release_changed, serving_changes, serving_fingerprint
from conceptry.judgement import outdated_judgements
from conceptry.planner import ConceptFacts
from conceptry.reasons import ActionReason, GateReason
from conceptry.refusal import hold_refused
from conceptry.version import LiveConcept, Version

_HIDDEN = "concept.yaml says `space.private: true`, and its repos are public"
_NOW = frozenset({ActionReason.PRIVATE, ActionReason.RELEASE_NONE}) | ROLLBACK
"""Reasons that `suspend: true` does not hold up."""


def withdraw(live: LiveConcept, *, hidden: bool, nothing: bool) -> Action | None:
    """Return the action that withdraws a concept whose repos or concept.yaml cannot be read; None if none is needed.

    Args:
        live: The concept on the Hub.
        hidden: Whether git says `space.private: true`.
        nothing: Whether git says `release: none`.
    """
    if hidden and live.public:
        return _withdrawal(live, ActionKind.HIDE, ActionReason.PRIVATE, _HIDDEN)
    if nothing and live.space is not None and live.space.serves:
        cause = f"{live.space.release or 'a running Space'} -> none"
        return _withdrawal(live, ActionKind.RELEASE, ActionReason.RELEASE_NONE, cause)
    return None


def _withdrawal(live: LiveConcept, kind: ActionKind, reason: ActionReason, cause: str) -> Action:
    served = live.space is not None and live.space.release is not None
    return Action(live.name, kind, reason, cause, None, None, "OutOfSync", "Healthy" if served else "Missing")


@dataclass(frozen=True)
class ServingPlanner:
    """Planner of what one concept serves."""

    facts: ConceptFacts

    def decide(self) -> Action:
        """Return the action about what is served; if concept.yaml suspends the concept, only an urgent one."""
        action, release = self._decide(), self.facts.release
        serving = serving_fingerprint(self.facts.spec, release, self.facts.inputs.templates) if release else None
        action = hold_refused(action, self.facts.inputs.refusals.get(self.facts.desired.name), serving)
        if not self.facts.spec.suspend or action.reason in _NOW:
            return action
        pending = f"; would {action.kind}: {action.cause}" if action.kind not in IDLE else ""
        return replace(
            action,
            kind=ActionKind.HOLD,
            reason=ActionReason.SUSPENDED,
            cause=f"suspended{pending}",
            health="Suspended",
        )

    def _decide(self) -> Action:
        facts, live = self.facts, self.facts.live
        urgent = withdraw(live, hidden=facts.spec.space.private, nothing=facts.spec.release == "none")
        if urgent:
            return urgent
        if live.error is not None:
            return facts.act(
                ActionKind.HOLD, ActionReason.REPO_UNREADABLE, live.error, sync="Unknown", health="Degraded"
            )
        if live.drift and not self.run_in_progress:
            cause = "; ".join(str(drift) for drift in live.drift)
            return replace(self._repair(ActionReason.DRIFTED, cause, health="Degraded"), drift=live.drift)
        if facts.spec.release == "latest":
            # First, because its verdicts decide what is released.
            return self._judge() or self._space() or self._no_action()
        return self._space() or self._judge() or self._no_action()

    def _judge(self) -> Action | None:
        """Return the action that judges versions by a changed gate; None if there is nothing to judge."""
        gates = {} if self.run_in_progress else outdated_judgements(self.facts)
        versions = [version for version in self.facts.live.versions if version.number in gates]
        if not versions:
            return None
        newest, names = versions[-1], ", ".join(version.name for version in versions)
        changes = newest.judged.changes(gates[newest.number]) if newest.judged else ()
        cause = f"{', '.join(changes)}: judges {names} by the recorded metrics"
        served = next((version for version in self.facts.live.versions if version.name == self.facts.served), None)
        return self._act(ActionKind.JUDGE, ActionReason.GATE_CHANGED, cause, version=served)

    @property
    def run_in_progress(self) -> bool:
        """Whether the run that published the version to serve is still updating card and Space."""
        release = self.facts.release
        return release is not None and self.facts.inputs.attempts.get(release.fingerprint) == "running"

    def _space(self) -> Action | None:
        """Return the action of the Space; None if it is in sync, or if there is no version that it could serve."""
        space, release = self.facts.live.space, self.facts.release
        if release is None:
            return self._card() if self.facts.spec.release == "none" else None
        if self.run_in_progress:
            return None
        if space is None:
            return self._repair(ActionReason.SPACE_MISSING, "the Space is missing")
        if space.release != release.name:
            return self._switch_release(release, space.release)
        if space.paused:
            return self._repair(ActionReason.SPACE_PAUSED, "the Space is paused", health="Degraded")
        serving = serving_fingerprint(self.facts.spec, release, self.facts.inputs.templates)
        if space.serving == serving:
            return self._card()
        if space.serving is None or "=" not in space.serving:
            cause = "the Space has no stamp of what it is rendered from"
            return self._repair(ActionReason.SPACE_UNSTAMPED, cause, health="Degraded")
        changes = serving_changes(space.serving, serving)
        updated = only_release_changed(space.serving, serving)
        reason = ActionReason.TEMPLATES_CHANGED if updated else ActionReason.SPACE_OUTDATED
        return self._act(ActionKind.RENDER, reason, ", ".join(changes), version=release)

    def _switch_release(self, release: Version, served: str | None) -> Action:
        """Return the action that serves another version: `adopt` if the inputs in git are those of an older version."""
        latest, inputs = self.facts.spec.release == "latest", self.facts.fingerprint
        old = next((version for version in self.facts.live.versions if version.name == served), None)
        kind, cause = ActionKind.RELEASE, f"{served or 'none'} -> {release.name}"
        reason = ActionReason.RELEASE_LATEST if latest else ActionReason.RELEASE_PINNED
        if latest and old and release.inputs == inputs != old.inputs:
            kind, reason = ActionKind.ADOPT, ActionReason.INPUTS_PUBLISHED
            cause += ", already made of these inputs"
        return self._act(kind, reason, cause, version=release, fingerprint=release.fingerprint)

    def _no_action(self) -> Action:
        """Return an action that changes nothing, with the reason; its health says whether a user has to act."""
        facts, release = self.facts, self.facts.release
        if release and self.run_in_progress:
            return facts.act(
                ActionKind.NOTHING,
                ActionReason.RELEASE_RUNNING,
                f"{release.name} is published, its run is updating the Space",
                fingerprint=release.fingerprint,
                health="Progressing",
            )
        if facts.spec.release == "none":
            return facts.act(
                ActionKind.NOTHING,
                ActionReason.NOTHING_RELEASED,
                "nothing is released",
                sync="Synced",
                health="Suspended",
            )
        if release is None:
            return self._nothing_to_serve()
        if facts.spec.release == "latest" and facts.made and all(version.gate != "passed" for version in facts.made):
            return self._not_passed(facts.made[-1])
        space = facts.live.space
        if space is not None and space.failed:
            cause = f"the Space is {space.stage}: see its log on the Hub, and correct its `override` or restart it"
            return facts.act(
                ActionKind.HOLD, ActionReason.SPACE_FAILED, cause, version=release, sync="Synced", health="Degraded"
            )
        return facts.act(
            ActionKind.NOTHING,
            ActionReason.IN_SYNC,
            f"serves {release.name}",
            version=release,
            sync="Synced",
            health="Healthy",
        )

    def _nothing_to_serve(self) -> Action:
        """Return the action for a concept that is to serve a version which does not exist, or has none that passed."""
        facts, newest = self.facts, self.facts.newest
        following = f"v{newest.number + 1 if newest else 1}"
        if facts.made and facts.spec.release == "latest":
            return self._not_passed(facts.made[-1])
        if facts.spec.release in ("latest", following) and not facts.made:
            cause = f"serves nothing until {following} is published"
            return facts.act(ActionKind.NOTHING, ActionReason.AWAITING_VERSION, cause, health="Missing")
        published = ", ".join(version.name for version in facts.live.versions) or "none"
        cause = f"release: {facts.spec.release} is not published; published: {published}"
        return facts.act(ActionKind.HOLD, ActionReason.VERSION_NOT_PUBLISHED, cause, health="Degraded")

    def _not_passed(self, version: Version) -> Action:
        """Return the hold for a version of the desired inputs that its gate did not pass, with what to do."""
        release = self.facts.release
        name, stays = version.name, f"{release.name} stays released" if release else "nothing is released"
        if release == version:
            stays = "it stays released until another version passes, or until `release: none`"
        because = f" ({version.because})" if version.because else ""
        health: Health = "Degraded"
        if version.gate == "undecided":
            reason, verdict = ActionReason.GATE_UNDECIDED, f"its gate could not decide about {name}{because}"
            next_step = "add images or hold out more of them"
        elif version.gate_reason is GateReason.NOT_BETTER_THAN_RELEASED and release and release != version:
            reason, verdict, health = ActionReason.NOT_BETTER, f"{name} is no better{because}", "Healthy"
            next_step = "nothing has to be done"
        else:
            reason, verdict = ActionReason.GATE_REJECTED, f"{name} did not pass its gate{because}"
            next_step = "change the inputs"
        cause = f"{verdict}, {stays}; {next_step}, or write `release: {name}`"
        return self.facts.act(ActionKind.HOLD, reason, cause, version=release, sync="Synced", health=health)

    def _card(self) -> Action | None:
        """Return the action that brings the card on main in line with the Space; None if it is, or was not read."""
        main, release = self.facts.live.main, self.facts.release
        if main is None:
            return None
        if main.release == (release.name if release else None):
            unsigned = "the card on main does not say which installation made it"
            return None if main.signed else self._repair(ActionReason.CARD_UNSIGNED, unsigned)
        cause = f"the card on main describes {main.release or 'no version'} instead of "
        return self._repair(ActionReason.CARD_OUTDATED, cause + (release.name if release else "none"))

    def _repair(self, reason: ActionReason, cause: str, health: Health | None = None) -> Action:
        return self._act(ActionKind.REPAIR, reason, cause, version=self.facts.release, health=health)

    def _act(
        self,
        kind: ActionKind,
        reason: ActionReason,
        cause: str,
        *,
        version: Version | None,
        fingerprint: str | None = None,
        health: Health | None = None,
    ) -> Action:
        """Return an action; `health` defaults to Healthy or Missing, by whether a version is served."""
        space = self.facts.live.space
        served: Health = "Healthy" if space is not None and space.release is not None else "Missing"
        return self.facts.act(kind, reason, cause, fingerprint=fingerprint, version=version, health=health or served)
