"""What both concerns of a concept's plan depend on: the inputs, whether a training is outstanding, the release.

`conceptry/training_planner.py` and `conceptry/serving_planner.py` decide; neither waits for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from conceptry.actions import Action, ActionKind, Health, Sync
from conceptry.concept import BaseModel, ConceptSpec
from conceptry.desired import DesiredConcept
from conceptry.errors import ConceptryError, DataCorruptError, UnexpectedError
from conceptry.fingerprint import (
    equivalent_fingerprints,
    training_fingerprint,
    training_keys,
    was_trained_with,
    without_defaults,
)
from conceptry.plan_inputs import PlanInputs
from conceptry.reasons import ActionReason
from conceptry.version import LiveConcept, Version


def reason_of(error: ConceptryError) -> ActionReason:
    """Return the reason of the hold for an error in the desired state."""
    if isinstance(error, UnexpectedError):
        return ActionReason.UNEXPECTED
    return ActionReason.DATA_CORRUPT if isinstance(error, DataCorruptError) else ActionReason.SPEC_INVALID


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
class ConceptFacts:
    """Desired and live state of one concept whose concept.yaml is valid.

    Attributes:
        desired: The concept in git.
        spec: Its concept.yaml.
        live: The concept on the Hub.
        base: Its base model; None if that is not available in this installation.
        inputs: Inputs of the plan.
    """

    desired: DesiredConcept
    spec: ConceptSpec
    live: LiveConcept
    base: BaseModel | None
    inputs: PlanInputs

    @cached_property
    def fingerprint(self) -> str | None:
        """Inputs fingerprint; if the images are not listed, that of a version with the same images.dvc."""
        if self.base is None:
            return None
        if self.desired.images is not None:
            return training_fingerprint(self.spec, self.desired.images, self.base)
        keys = training_keys(self.spec, self.base)
        same = (
            version.inputs
            for version in self.live.versions
            if version.dvc_md5 == self.desired.dvc_md5 and was_trained_with(version, keys, self.base)
        )
        return next(same, None)

    @cached_property
    def made(self) -> tuple[Version, ...]:
        """Versions of the desired inputs."""
        return tuple(version for version in self.live.versions if version.inputs == self.fingerprint)

    @staticmethod
    def of(desired: DesiredConcept, spec: ConceptSpec, live: LiveConcept, inputs: PlanInputs) -> "ConceptFacts":
        """Return the facts of a concept.

        A version whose concept.yaml had defaults of the base model written out, or left out, gets the inputs
        fingerprint of the desired one, which trains the same.
        """
        base = inputs.bases.get(spec.base_model)
        facts = ConceptFacts(desired, spec, live, base, inputs)
        if base is None or not base.defaults or not live.versions:
            return facts
        known = {facts.fingerprint}
        similar = any(one.dvc_md5 == desired.dvc_md5 and one.inputs not in known for one in live.versions)
        if desired.images is not None and (similar or not facts.made):
            known |= equivalent_fingerprints(spec, desired.images, base)
        versions = tuple(
            replace(
                version,
                inputs=facts.fingerprint or version.inputs if version.inputs in known else version.inputs,
                spec=without_defaults(version.spec, base),
            )
            for version in live.versions
        )
        return replace(facts, live=replace(live, versions=versions))

    @property
    def newest(self) -> Version | None:
        """The version with the highest number."""
        return max(self.live.versions, key=lambda version: version.number, default=None)

    @property
    def served(self) -> str | None:
        """Name of the version that the Space serves or, if there is no Space, that the card describes."""
        if self.live.space is not None:
            return self.live.space.release
        return self.live.main.release if self.live.main else None

    @property
    def taken_down(self) -> bool:
        """Whether the Hub records that no version is to be served, so that an old one must not come back by itself."""
        recorded = self.live.space is not None or self.live.main is not None
        return recorded and self.served is None

    @cached_property
    def release(self) -> Version | None:
        """The version to serve.

        `latest` changes nothing while the training of new inputs is outstanding, and nothing if no version passes: one
        that is served, and that a changed gate passes no longer, stays until another one passes.
        """
        if self.spec.release != "latest":
            return choose_release(self.spec, self.live.versions, self.fingerprint)
        served = next((version for version in self.live.versions if version.name == self.served), None)
        if not self.made:
            if self.taken_down:
                return None
            if served is not None and served.gate == "passed":
                return served
        return choose_release(self.spec, self.live.versions, self.fingerprint) or served

    def act(
        self,
        kind: ActionKind,
        reason: ActionReason,
        cause: str,
        *,
        health: Health,
        sync: Sync = "OutOfSync",
        fingerprint: str | None = None,
        version: Version | None = None,
    ) -> Action:
        """Return an action of this concept."""
        return Action(
            self.desired.name, kind, reason, cause, fingerprint, version.name if version else None, sync, health
        )
