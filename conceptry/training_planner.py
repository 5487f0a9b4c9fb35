"""Decision about a concept's training: whether a version of the desired inputs is needed, and whether it can be made.

When a needed training starts is decided by `conceptry/rollout.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Literal

from conceptry.actions import Action, ActionKind, Change, Estimate
from conceptry.changes import list_changes, training_changes
from conceptry.concept import BaseModel, RetrainSpec
from conceptry.estimate import estimate
from conceptry.fingerprint import content_keys, training_fingerprint, training_keys
from conceptry.planner import ConceptFacts, reason_of
from conceptry.reasons import ActionReason, DeferralReason, DriftReason
from conceptry.retraining import Due, Schedule
from conceptry.version import Version


@dataclass(frozen=True)
class TrainingPlanner:
    """Planner of one concept's training."""

    facts: ConceptFacts

    def decide(self) -> Action:
        """Return the action about the training; `nothing` if a version of the desired inputs is published."""
        if cannot := self._unknown():
            return self._hold(*cannot, sync="Unknown")
        due = self._due()
        if self.facts.made and due is None:
            return self.facts.act(ActionKind.NOTHING, *self._trained(), sync="Synced", health="Healthy")
        if missing := self.facts.desired.missing_images():
            return self.facts.act(ActionKind.WAIT, *missing, fingerprint=self.facts.fingerprint, health="Healthy")
        assert self.facts.base is not None, "a concept without a base model is held above"
        return self._train(self.facts.base, due)

    def _unknown(self) -> tuple[ActionReason, str] | None:
        """Return why it is not known which versions are needed or exist, as reason and words; None if it is known."""
        error, spec = self.facts.desired.error, self.facts.spec
        if error is not None:
            return reason_of(error), "; ".join(str(error).splitlines())
        if self.facts.live.error is not None:
            return ActionReason.REPO_UNREADABLE, self.facts.live.error
        if self.facts.base is None:
            available = ", ".join(sorted(self.facts.inputs.bases))
            cause = f"base model {spec.base_model} is not available here; available: {available}"
            return ActionReason.BASE_MODEL_UNAVAILABLE, cause
        return None

    def fingerprints(self) -> set[str]:
        """Return the fingerprints whose runs the decision depends on."""
        fingerprint = self.decide().fingerprint
        return {*self._attempted.values(), fingerprint or ""} - {""}

    def _train(self, base: BaseModel, due: Due | None) -> Action:
        """Return the action for a needed training whose images are in the remote."""
        facts, images = self.facts, self.facts.desired.images or ()
        keys = content_keys(images)
        retrain = due.day.isoformat() if due else None
        fingerprint = training_fingerprint(facts.spec, images, base, retrain)
        if cannot := self._cannot_train(keys):
            return self._hold(*cannot, fingerprint=fingerprint)
        reason, cause = (
            (ActionReason.RETRAIN_DUE, self._schedule_words(due))
            if due
            else training_changes(keys, training_keys(facts.spec, base), facts.live.versions)
        )
        attempt, because = facts.inputs.attempts.get(fingerprint), facts.inputs.because.get(fingerprint)
        if attempt == "running":
            running = ActionReason.TRAINING_RETRIED if because else ActionReason.TRAINING_RUNNING
            words = f"{because} ({cause})" if because else f"is being trained: {cause}"
            action = facts.act(ActionKind.NOTHING, running, words, fingerprint=fingerprint, health="Progressing")
            return replace(action, estimate=self._estimate(base))
        if attempt == "interrupted":
            going_on = f"goes on after its process was lost: {cause}"
            action = facts.act(
                ActionKind.TRAIN,
                ActionReason.TRAINING_INTERRUPTED,
                going_on,
                fingerprint=fingerprint,
                health="Progressing",
            )
            return replace(action, retrain=retrain, estimate=self._estimate(base))
        failure = facts.inputs.failures.get(fingerprint)
        if attempt == "failed" and failure is not None and failure.cancelled:
            words = f"the training was cancelled; `conceptry train {facts.desired.name}` starts it again"
            held = self._hold(ActionReason.TRAINING_CANCELLED, words, fingerprint=fingerprint)
            return replace(held, health="Suspended")
        if attempt == "failed":
            name = facts.desired.name
            retry = f"see `conceptry logs {name}`, change the inputs, or `conceptry train {name}`"
            failed = f"training failed ({because or cause}); {retry}"
            return self._hold(ActionReason.TRAINING_FAILED, failed, fingerprint=fingerprint)
        if facts.spec.suspend:
            return self._suspended(cause, fingerprint)
        action = facts.act(ActionKind.TRAIN, reason, cause, fingerprint=fingerprint, health="Healthy")
        action = replace(action, retrain=retrain, changes=self._changes(base), estimate=self._estimate(base))
        return self._after_repair(action)

    def _suspended(self, cause: str, fingerprint: str) -> Action:
        return self.facts.act(
            ActionKind.HOLD,
            ActionReason.SUSPENDED,
            f"suspended; would train: {cause}",
            fingerprint=fingerprint,
            health="Suspended",
        )

    def _after_repair(self, action: Action) -> Action:
        """Defer a training until deleted branches and tags are back: one may be of the very version to train."""
        moved = [drift for drift in self.facts.live.drift if drift.reason is not DriftReason.SPACE_EDITED]
        if not moved:
            return action
        return replace(action, deferral=DeferralReason.REPAIR_FIRST, deferred=f"repaired first: {moved[0]}")

    def _cannot_train(self, images: Sequence[str]) -> tuple[ActionReason, str] | None:
        """Return why these inputs cannot be trained, as reason and words; None if they can."""
        if not images:
            cause = "the images folder contains no image; add some, then `dvc add` and `dvc push` them"
            return ActionReason.NO_IMAGES, cause
        problem = self.facts.inputs.initializers.get(self.facts.desired.name)
        return (ActionReason.INITIALIZER_UNKNOWN, f"initializer_token: {problem}") if problem else None

    def _hold(
        self,
        reason: ActionReason,
        cause: str,
        *,
        fingerprint: str | None = None,
        sync: Literal["OutOfSync", "Unknown"] = "OutOfSync",
    ) -> Action:
        return self.facts.act(ActionKind.HOLD, reason, cause, fingerprint=fingerprint, sync=sync, health="Degraded")

    def _changes(self, base: BaseModel) -> tuple[Change, ...]:
        """Return each difference from the newest version."""
        newest = self.facts.newest
        if newest is None:
            return ()
        images = self.facts.desired.images or ()
        names = {**self.facts.inputs.image_names, **{image.md5: image.relpath for image in images}}
        return list_changes(
            old_images=newest.images,
            new_images=content_keys(images),
            old_keys=newest.spec,
            new_keys=training_keys(self.facts.spec, base),
            names=names,
        )

    def _estimate(self, base: BaseModel) -> Estimate | None:
        """Estimate duration and price of the training; None if no rate is known."""
        rate = self.facts.inputs.rate(self.facts.spec)
        keys = training_keys(self.facts.spec, base)
        return estimate(keys, self.facts.live.versions, rate) if rate else None

    @cached_property
    def _last(self) -> Version:
        """The last version of the inputs in git, from which retrainings are counted."""
        return max(self.facts.made, key=lambda version: version.number)

    @cached_property
    def _schedule(self) -> Schedule | None:
        """Schedule of retrainings; None if there is none, or nothing that could be trained again."""
        retrain, facts = self.facts.spec.retrain, self.facts
        if not isinstance(retrain, RetrainSpec) or facts.spec.release != "latest" or not facts.made:
            return None
        return Schedule(self._last.day + timedelta(days=retrain.every_days), retrain.every_days)

    @cached_property
    def _attempted(self) -> dict[date, str]:
        """Fingerprints of the retrainings that may have been attempted, by their day."""
        facts, today, schedule = self.facts, self.facts.inputs.today, self._schedule
        if schedule is None or today is None or today < schedule.start:
            return {}
        first = self._fingerprint(schedule.start)
        if facts.inputs.attempts.get(first) != "failed":
            return {schedule.start: first}
        return {day: self._fingerprint(day) for day in schedule.days(today)}

    def _fingerprint(self, day: date) -> str:
        """Return the fingerprint of the retraining that is due on a day; "" if the inputs are not known."""
        base, images = self.facts.base, self.facts.desired.images
        if base is None or images is None:
            return ""
        return training_fingerprint(self.facts.spec, images, base, day.isoformat())

    @cached_property
    def next_retraining(self) -> Due | None:
        """The next retraining, due or not; None without a schedule or a date."""
        if self._schedule is None or self.facts.inputs.today is None:
            return None
        known, failed = self.facts.inputs.attempts, self.facts.inputs.failures
        attempts = {day: known[fingerprint] for day, fingerprint in self._attempted.items() if fingerprint in known}
        failures = {day: failed[fingerprint] for day, fingerprint in self._attempted.items() if fingerprint in failed}
        return self._schedule.due(self.facts.inputs.today, attempts, failures)

    def _due(self) -> Due | None:
        """Return the retraining that is due; None if none is."""
        today, due = self.facts.inputs.today, self.next_retraining
        return due if due and today and due.day <= today else None

    def _schedule_words(self, due: Due) -> str:
        elapsed = ((self.facts.inputs.today or due.day) - self._last.day).days
        again = f", again after the retraining of {due.failed} failed" if due.failed else ""
        return f"scheduled ({elapsed} days since {self._last.name}){again}"

    def _trained(self) -> tuple[ActionReason, str]:
        """Return why no training is needed, as reason and words."""
        due, today = self.next_retraining, self.facts.inputs.today
        if due and due.failed:
            because = self.facts.inputs.because.get(self._attempted[due.failed])
            cause = f"the retraining of {due.failed} failed{f' ({because})' if because else ''}; tried again {due.day}"
            return ActionReason.RETRAIN_FAILED, cause
        cause = f"{self._last.name} was trained of these inputs"
        if due and today and self._last.day > today:
            cause += f"; it is dated {self._last.day}, which is not over, so it is retrained from {due.day} on"
        return ActionReason.INPUTS_TRAINED, cause
