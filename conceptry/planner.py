"""Decision about one concept: whether it needs a training, and whether its Space serves the desired version.

A training comes first, because it takes longest. While it runs or waits, the Space is still reconciled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from conceptry.actions import Action, ActionKind, Change, Estimate, Health, Sync
from conceptry.changes import list_changes, training_changes
from conceptry.concept import BaseModel, ConceptSpec, RetrainSpec
from conceptry.desired import DesiredConcept
from conceptry.estimate import estimate
from conceptry.fingerprint import (
    content_keys,
    serving_changes,
    serving_fingerprint,
    training_fingerprint,
    training_keys,
    was_trained_with,
)
from conceptry.plan_inputs import PlanInputs
from conceptry.reasons import ActionReason, GateReason
from conceptry.version import LiveConcept, Version


def choose_release(spec: ConceptSpec, versions: Sequence[Version], inputs: str | None) -> Version | None:
    """Return the version to serve: the pinned one, else the newest that passed, preferably one of these inputs.

    Therefore `git revert` of a commit of images releases the old version again without a training.
    """
    if spec.release == "none":
        return None
    if spec.release != "latest":
        return next((version for version in versions if version.name == spec.release), None)
    passed = [version for version in versions if version.gate == "passed"]
    same = [version for version in passed if version.inputs == inputs]
    return max(same or passed, key=lambda version: version.number, default=None)


@dataclass(frozen=True)
class ConceptPlanner:
    """Planner of one concept whose files are valid and whose base model is known."""

    desired: DesiredConcept
    spec: ConceptSpec
    live: LiveConcept
    base: BaseModel
    inputs: PlanInputs

    def decide(self) -> Action:
        """Return the one action of the concept: repair, then training, then serving."""
        fingerprint = self.inputs_fingerprint()
        training = self.training(fingerprint)
        release = self.release(fingerprint, settled=training is None)
        if self.live.drift and not self.run_in_progress(release):
            # Before a training: the repair may restore the very version that a training would make.
            return self._drifted(release)
        if training and training.kind is ActionKind.TRAIN:
            return training
        return self.serving(fingerprint, release) or training or self.no_action(fingerprint, release)

    def decide_serving(self) -> Action:
        """Return the action of the Space alone; an outstanding training does not delay it."""
        fingerprint = self.inputs_fingerprint()
        training = self.training(fingerprint)
        release = self.release(fingerprint, settled=training is None)
        if self.live.drift:
            return self._drifted(release)
        return self.serving(fingerprint, release) or self.no_action(fingerprint, release)

    def open_fingerprints(self) -> frozenset[str]:
        """Return the fingerprints whose runs the decision depends on: of a needed training, of a version to release."""
        fingerprint = self.inputs_fingerprint()
        training = self.training(fingerprint)
        release = self.release(fingerprint, settled=training is None)
        served = self.live.space.release if self.live.space else None
        switched = release.fingerprint if release and (release.name != served or self.live.drift) else None
        return frozenset(filter(None, (training.fingerprint if training else None, switched)))

    def inputs_fingerprint(self) -> str | None:
        """Return the inputs fingerprint; if the images are not listed, that of a version with the same images.dvc."""
        if self.desired.images is not None:
            return training_fingerprint(self.spec, self.desired.images, self.base)
        keys = training_keys(self.spec, self.base)
        same = (
            version.inputs
            for version in self.live.versions
            if version.dvc_md5 == self.desired.dvc_md5 and was_trained_with(version, keys)
        )
        return next(same, None)

    def training(self, inputs: str | None) -> Action | None:
        """Return the action for a needed training; None if no training is needed."""
        made = [version for version in self.live.versions if version.inputs == inputs]
        due = self._due(made)
        if made and due is None:
            return None
        missing = self.desired.missing_images()
        if missing is not None:
            return self._action(ActionKind.WAIT, *missing, fingerprint=inputs)
        images = self.desired.images or ()
        keys = content_keys(images)
        retrain = due and due[0].isoformat()
        fingerprint = training_fingerprint(self.spec, images, self.base, retrain)
        if cannot := self._cannot_train(keys):
            return self._action(ActionKind.HOLD, *cannot, fingerprint=fingerprint, health="Degraded")
        reason, cause = (
            (ActionReason.RETRAIN_DUE, due[1])
            if due
            else training_changes(keys, training_keys(self.spec, self.base), self.live.versions)
        )
        attempt = self.inputs.attempts.get(fingerprint)
        if attempt == "running":
            cause = f"is being trained: {cause}"
            return self._action(
                ActionKind.NOTHING, ActionReason.TRAINING_RUNNING, cause, fingerprint=fingerprint, health="Progressing"
            )
        if attempt == "failed":
            because = self.inputs.failures.get(fingerprint, cause)
            cause = f"training failed ({because}); change the inputs, or `conceptry train {self.desired.name}` to retry"
            return self._action(
                ActionKind.HOLD, ActionReason.TRAINING_FAILED, cause, fingerprint=fingerprint, health="Degraded"
            )
        action = self._action(ActionKind.TRAIN, reason, cause, fingerprint=fingerprint)
        return replace(action, retrain=retrain, changes=self._changes(), estimate=self._estimate())

    def _cannot_train(self, images: Sequence[str]) -> tuple[ActionReason, str] | None:
        """Return why these inputs cannot be trained, as reason and words; None if they can."""
        if not images:
            cause = "the images folder contains no image; add some, then `dvc add` and `dvc push` them"
            return ActionReason.NO_IMAGES, cause
        problem = self.inputs.initializers.get(self.desired.name)
        return (ActionReason.INITIALIZER_UNKNOWN, f"initializer_token: {problem}") if problem else None

    def release(self, inputs: str | None, *, settled: bool) -> Version | None:
        """Return the version to serve. While a training is outstanding, `latest` keeps the served version."""
        made = any(version.inputs == inputs for version in self.live.versions)
        if self.spec.release == "latest" and not settled and not made and self.live.space:
            for version in self.live.versions:
                if version.name == self.live.space.release and version.gate == "passed":
                    return version
        return choose_release(self.spec, self.live.versions, inputs)

    def serving(self, inputs: str | None, release: Version | None) -> Action | None:
        """Return the action of the Space; None if it is in sync, or if there is no version that it could serve."""
        space = self.live.space
        if release is None:
            if self.spec.release != "none" or space is None or space.release is None:
                return self._card(None, None) if self.spec.release == "none" else None
            return self._action(ActionKind.RELEASE, ActionReason.RELEASE_NONE, f"{space.release} -> none")
        if self.run_in_progress(release):
            return None
        if space is None:
            return self._repair(ActionReason.SPACE_MISSING, "the Space is missing", release)
        if space.release != release.name:
            return self.switch_release(inputs, release, space.release)
        if space.paused:
            return self._repair(ActionReason.SPACE_PAUSED, "the Space is paused", release, health="Degraded")
        serving = serving_fingerprint(self.spec, release, self.inputs.templates)
        if space.serving == serving:
            return self._card(release.name, release)
        if space.serving is None or "=" not in space.serving:
            cause = "the Space has no stamp of what it is rendered from"
            return self._repair(ActionReason.SPACE_UNSTAMPED, cause, release, health="Degraded")
        changes = ", ".join(serving_changes(space.serving, serving))
        return self._action(ActionKind.RENDER, ActionReason.SPACE_OUTDATED, changes, version=release)

    def run_in_progress(self, release: Version | None) -> bool:
        """Whether the run that published the version is still updating card and Space."""
        return release is not None and self.inputs.attempts.get(release.fingerprint) == "running"

    def switch_release(self, inputs: str | None, release: Version, served: str | None) -> Action:
        """Return the action that serves another version: `adopt` if the inputs in git are those of an older version."""
        old = next((version for version in self.live.versions if version.name == served), None)
        kind, cause = ActionKind.RELEASE, f"{served or 'none'} -> {release.name}"
        reason = ActionReason.RELEASE_LATEST if self.spec.release == "latest" else ActionReason.RELEASE_PINNED
        if self.spec.release == "latest" and old and release.inputs == inputs != old.inputs:
            kind, reason = ActionKind.ADOPT, ActionReason.INPUTS_PUBLISHED
            cause += ", already made of these inputs"
        return self._action(kind, reason, cause, version=release, fingerprint=release.fingerprint)

    def no_action(self, inputs: str | None, release: Version | None) -> Action:
        """Return an action that changes nothing, with the reason; its health says whether a user has to act."""
        if release and self.run_in_progress(release):
            cause = f"{release.name} is published, its run is updating the Space"
            return self._action(
                ActionKind.NOTHING,
                ActionReason.RELEASE_RUNNING,
                cause,
                fingerprint=release.fingerprint,
                health="Progressing",
            )
        if self.spec.release == "none":
            return self._action(
                ActionKind.NOTHING,
                ActionReason.NOTHING_RELEASED,
                "nothing is released",
                sync="Synced",
                health="Suspended",
            )
        if release is None and self.spec.release != "latest":
            published = ", ".join(version.name for version in self.live.versions)
            cause = f"release: {self.spec.release} is not published; published: {published}"
            return self._action(ActionKind.HOLD, ActionReason.VERSION_NOT_PUBLISHED, cause, health="Degraded")
        made = [version for version in self.live.versions if version.inputs == inputs]
        if self.spec.release == "latest" and made and all(version.gate != "passed" for version in made):
            return self._not_passed(made[-1], release)
        return self._action(
            ActionKind.NOTHING, ActionReason.IN_SYNC, "in sync", version=release, sync="Synced", health="Healthy"
        )

    def _not_passed(self, version: Version, release: Version | None) -> Action:
        """Return the hold for a version of the desired inputs that its gate did not pass, with what to do."""
        name, stays = version.name, f"{release.name} stays released" if release else "nothing is released"
        because = f" ({version.because})" if version.because else ""
        health: Health = "Degraded"
        if version.gate == "undecided":
            reason, verdict = ActionReason.GATE_UNDECIDED, f"its gate could not decide about {name}{because}"
            next_step = "add images or hold out more of them"
        elif version.gate_reason is GateReason.NOT_BETTER_THAN_RELEASED and release:
            reason, verdict, health = ActionReason.NOT_BETTER, f"{name} is no better{because}", "Healthy"
            next_step = "nothing has to be done"
        else:
            reason, verdict = ActionReason.GATE_REJECTED, f"{name} did not pass its gate{because}"
            next_step = "change the inputs"
        cause = f"{verdict}, {stays}; {next_step}, or write `release: {name}`"
        return self._action(ActionKind.HOLD, reason, cause, version=release, sync="Synced", health=health)

    def _drifted(self, release: Version | None) -> Action:
        cause = "; ".join(str(drift) for drift in self.live.drift)
        action = self._repair(ActionReason.DRIFTED, cause, release, health="Degraded")
        return replace(action, drift=self.live.drift)

    def _card(self, name: str | None, release: Version | None) -> Action | None:
        """Return the action that brings the card on main in line with the Space; None if it is, or was not read."""
        main = self.live.main
        if main is None or main.release == name:
            return None
        cause = f"the card on main describes {main.release or 'no version'} instead of {name or 'none'}"
        return self._repair(ActionReason.CARD_OUTDATED, cause, release)

    def _changes(self) -> tuple[Change, ...]:
        """Return each difference from the newest version."""
        if not self.live.versions:
            return ()
        newest = max(self.live.versions, key=lambda version: version.number)
        images = self.desired.images or ()
        names = {**self.inputs.image_names, **{image.md5: image.relpath for image in images}}
        return list_changes(
            old_images=newest.images,
            new_images=content_keys(images),
            old_keys=newest.spec,
            new_keys=training_keys(self.spec, self.base),
            names=names,
        )

    def _estimate(self) -> Estimate | None:
        """Estimate duration and price of the training; None if no rate is known."""
        rate = self.inputs.rate(self.spec)
        return estimate(training_keys(self.spec, self.base), self.live.versions, rate) if rate else None

    def _due(self, made: Sequence[Version]) -> tuple[date, str] | None:
        """Return the day on which a scheduled retraining fell due, and the cause; None if none is due.

        The day is counted from the last version, so it stays the same on later days: a failed retraining remains one
        attempt with one fingerprint.
        """
        retrain, today = self.spec.retrain, self.inputs.today
        if not isinstance(retrain, RetrainSpec) or self.spec.release != "latest" or today is None or not made:
            return None
        newest = max(made, key=lambda version: version.number)
        day = newest.day + timedelta(days=retrain.every_days)
        elapsed = (today - newest.day).days
        return (day, f"scheduled ({elapsed} days since {newest.name})") if day <= today else None

    def _repair(
        self, reason: ActionReason, cause: str, release: Version | None, health: Health | None = None
    ) -> Action:
        return self._action(ActionKind.REPAIR, reason, cause, version=release, health=health)

    def _action(
        self,
        kind: ActionKind,
        reason: ActionReason,
        cause: str,
        *,
        fingerprint: str | None = None,
        version: Version | None = None,
        sync: Sync = "OutOfSync",
        health: Health | None = None,
    ) -> Action:
        """Return an action; `health` defaults to Healthy or Missing, by whether a version is served."""
        served = self.live.space is not None and self.live.space.release is not None
        health = health or ("Healthy" if served else "Missing")
        name = version.name if version else None
        return Action(self.desired.name, kind, reason, cause, fingerprint, name, sync, health)
