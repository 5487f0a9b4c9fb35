"""One concept's decision: does it need a training, and does its Space serve what it should?

A training goes first, because it takes longest; while it runs, and when it has to wait, the Space is looked after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from conceptry.actions import Action, ActionKind, Attempt, Change, Estimate, Health, Sync
from conceptry.changes import list_changes, training_changes
from conceptry.concept import BaseModel, ConceptSpec, DesiredConcept, RetrainSpec
from conceptry.estimate import Rate, estimate
from conceptry.fingerprint import (
    content_keys,
    serving_changes,
    serving_fingerprint,
    training_fingerprint,
    training_keys,
)
from conceptry.version import ActualConcept, Version


def choose_release(spec: ConceptSpec, versions: Sequence[Version], inputs: str | None) -> Version | None:
    """Pick the version to serve: the pinned one; or the newest that passed, of these inputs if there is one.

    So `git revert` of a commit of images releases the old version again, without training.
    """
    if spec.release == "none":
        return None
    if spec.release != "latest":
        return next((version for version in versions if version.name == spec.release), None)
    passed = [version for version in versions if version.gate == "passed"]
    same = [version for version in passed if version.inputs == inputs]
    return max(same or passed, key=lambda version: version.number, default=None)


@dataclass(frozen=True)
class Case:
    """One concept that is in git and in order, with all that `plan` was given about it."""

    wanted: DesiredConcept
    spec: ConceptSpec
    there: ActualConcept
    base: BaseModel
    attempts: Mapping[str, Attempt]
    templates: str
    today: date | None
    names: Mapping[str, str] = field(default_factory=dict)
    rate: Rate | None = None

    def decide(self) -> Action:
        """Weigh the two questions and give the one action."""
        inputs = self.inputs()
        training = self.training(inputs)
        release = self.release(inputs, settled=training is None)
        if self.there.drift and not self.busy(release):
            # Before a training: what is put right may be the very version that is asked for.
            return self.action(ActionKind.REPAIR, "; ".join(self.there.drift), version=release, health="Degraded")
        if training and training.kind is ActionKind.TRAIN:
            return training
        return self.serving(inputs, release) or training or self.rest(inputs, release)

    def action(
        self,
        kind: ActionKind,
        cause: str,
        *,
        fingerprint: str | None = None,
        version: Version | None = None,
        sync: Sync = "OutOfSync",
        health: Health | None = None,
    ) -> Action:
        """Make an action; its health, left out, says whether anything is served."""
        served = self.there.space is not None and self.there.space.release is not None
        health = health or ("Healthy" if served else "Missing")
        return Action(self.wanted.name, kind, cause, fingerprint, version.name if version else None, sync, health)

    def inputs(self) -> str | None:
        """Inputs fingerprint; without the listing of the images, that of a version made of the same images.dvc."""
        if self.wanted.images is not None:
            return training_fingerprint(self.spec, self.wanted.images, self.base)
        keys = training_keys(self.spec, self.base)
        same = (
            version.inputs
            for version in self.there.versions
            if version.dvc_md5 == self.wanted.dvc_md5 and dict(version.spec) == keys
        )
        return next(same, None)

    def training(self, inputs: str | None) -> Action | None:
        """What to do about the training that is needed; None when none is."""
        made = [version for version in self.there.versions if version.inputs == inputs]
        due = self.due(made)
        if made and due is None:
            return None
        lacking = self.lacking()
        if lacking is not None:
            return self.action(ActionKind.WAIT, lacking, fingerprint=inputs)
        images = self.wanted.images or ()
        keys = content_keys(images)
        retrain = due and due[0].isoformat()
        fingerprint = training_fingerprint(self.spec, images, self.base, retrain)
        cause = due[1] if due else training_changes(keys, training_keys(self.spec, self.base), self.there.versions)
        if not keys:
            cause = "the images folder holds no picture; add some, then `dvc add` and `dvc push` them"
            return self.action(ActionKind.HOLD, cause, fingerprint=fingerprint, health="Degraded")
        attempt = self.attempts.get(fingerprint)
        if attempt == "running":
            return self.action(
                ActionKind.NOTHING, f"is being trained: {cause}", fingerprint=fingerprint, health="Progressing"
            )
        if attempt == "failed":
            cause = f"training failed ({cause}); change the inputs, or `conceptry train {self.wanted.name}` to retry"
            return self.action(ActionKind.HOLD, cause, fingerprint=fingerprint, health="Degraded")
        action = self.action(ActionKind.TRAIN, cause, fingerprint=fingerprint)
        return replace(action, retrain=retrain, changes=self.changes(), estimate=self.estimate())

    def changes(self) -> tuple[Change, ...]:
        """What differs from the newest version, one by one."""
        if not self.there.versions:
            return ()
        newest = max(self.there.versions, key=lambda version: version.number)
        images = self.wanted.images or ()
        names = {**self.names, **{image.md5: image.relpath for image in images}}
        return list_changes(
            newest.images, content_keys(images), newest.spec, training_keys(self.spec, self.base), names
        )

    def estimate(self) -> Estimate | None:
        """What the training will take; None when nobody said how fast it is here."""
        keys = training_keys(self.spec, self.base)
        return estimate(keys, self.there.versions, self.rate) if self.rate else None

    def due(self, made: Sequence[Version]) -> tuple[date, str] | None:
        """The day on which a scheduled retraining fell due, and the cause.

        The day is counted from the last version and not today's, so that a retraining which fails is one attempt, not
        one every day.
        """
        retrain = self.spec.retrain
        if not isinstance(retrain, RetrainSpec) or self.spec.release != "latest" or self.today is None or not made:
            return None
        newest = max(made, key=lambda version: version.number)
        day = newest.day + timedelta(days=retrain.every_days)
        elapsed = (self.today - newest.day).days
        return (day, f"scheduled ({elapsed} days since {newest.name})") if day <= self.today else None

    def lacking(self) -> str | None:
        """Say which images are in git but not in the DVC remote."""
        images, missing = self.wanted.images, self.wanted.missing
        if self.wanted.trouble is not None:
            return f"the DVC remote could not be asked: {self.wanted.trouble}"
        if images is None:
            return f"the images ({self.wanted.dvc_md5}) are in git but not in the DVC remote: run `dvc push`"
        if not missing:
            return None
        names = ", ".join(image.relpath for image in missing[:3]) + (", ..." if len(missing) > 3 else "")
        return f"{len(missing)} of {len(images)} images are not in the DVC remote ({names}): run `dvc push`"

    def release(self, inputs: str | None, *, settled: bool) -> Version | None:
        """Version to serve. As long as a training is outstanding, `latest` leaves the Space where it is."""
        made = any(version.inputs == inputs for version in self.there.versions)
        if self.spec.release == "latest" and not settled and not made and self.there.space:
            for version in self.there.versions:
                if version.name == self.there.space.release and version.gate == "passed":
                    return version
        return choose_release(self.spec, self.there.versions, inputs)

    def serving(self, inputs: str | None, release: Version | None) -> Action | None:
        """What to do about the Space; None when it is as it should be, or there is nothing that it could serve."""
        space = self.there.space
        if release is None:
            if self.spec.release != "none" or space is None or space.release is None:
                return self.card(None, None) if self.spec.release == "none" else None
            return self.action(ActionKind.RELEASE, f"{space.release} -> none")
        if self.busy(release):
            return None
        if space is None:
            return self.action(ActionKind.REPAIR, "the Space is missing", version=release)
        if space.release != release.name:
            return self.move(inputs, release, space.release)
        if space.paused:
            return self.action(ActionKind.REPAIR, "the Space is paused", version=release, health="Degraded")
        serving = serving_fingerprint(self.spec, release, self.templates)
        if space.serving == serving:
            return self.card(release.name, release)
        if space.serving is None or "=" not in space.serving:
            cause = "the Space does not say what it is rendered from"
            return self.action(ActionKind.REPAIR, cause, version=release, health="Degraded")
        return self.action(ActionKind.RENDER, ", ".join(serving_changes(space.serving, serving)), version=release)

    def card(self, name: str | None, release: Version | None) -> Action | None:
        """Let main of the model repo follow the Space; None when it does, or nobody looked."""
        main = self.there.main
        if main is None or main.release == name:
            return None
        cause = f"the card on main describes {main.release or 'no version'} instead of {name or 'none'}"
        return self.action(ActionKind.REPAIR, cause, version=release)

    def busy(self, release: Version | None) -> bool:
        """Whether the run that made the version to be served is still at the card and the Space."""
        return release is not None and self.attempts.get(release.fingerprint) == "running"

    def move(self, inputs: str | None, release: Version, served: str | None) -> Action:
        """From one version to another: `adopt` when git went to inputs that are published already."""
        old = next((version for version in self.there.versions if version.name == served), None)
        cause = f"{served or 'none'} -> {release.name}"
        if self.spec.release == "latest" and old and release.inputs == inputs != old.inputs:
            cause += ", already made of these inputs"
            return self.action(ActionKind.ADOPT, cause, version=release, fingerprint=release.fingerprint)
        return self.action(ActionKind.RELEASE, cause, version=release, fingerprint=release.fingerprint)

    def rest(self, inputs: str | None, release: Version | None) -> Action:
        """Nothing to do; say whether that is fine."""
        if release and self.busy(release):
            cause = f"{release.name} is published, its run is at the Space"
            return self.action(ActionKind.NOTHING, cause, fingerprint=release.fingerprint, health="Progressing")
        if self.spec.release == "none":
            return self.action(ActionKind.NOTHING, "nothing is released", sync="Synced", health="Suspended")
        if release is None and self.spec.release != "latest":
            there = ", ".join(version.name for version in self.there.versions)
            cause = f"release: {self.spec.release} is not published; there are: {there}"
            return self.action(ActionKind.HOLD, cause, health="Degraded")
        rejected = [version for version in self.there.versions if version.inputs == inputs]
        if self.spec.release == "latest" and rejected and all(version.gate == "rejected" for version in rejected):
            stays = f"{release.name} stays released" if release else "nothing is released"
            cause = f"{rejected[-1].name} did not pass its gate, {stays}; change the inputs, or release it by name"
            return self.action(ActionKind.HOLD, cause, version=release, sync="Synced", health="Degraded")
        return self.action(ActionKind.NOTHING, "in sync", version=release, sync="Synced", health="Healthy")
