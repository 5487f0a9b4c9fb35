"""Forecast of trainings: which start when until a day, by the same plan and the same pace as the watch.

The clock moves from one event to the next: the end of a training, the opening of a window, midnight in UTC. A training
takes as long as estimated and makes a version; what people will change in git meanwhile is not known.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

from conceptry.actions import Action, ActionKind, Attempt, ConceptPlan, Plan
from conceptry.concept import RetrainSpec
from conceptry.desired import Desired
from conceptry.fingerprint import content_keys, training_fingerprint, training_keys
from conceptry.plan import plan_concept
from conceptry.plan_inputs import PlanInputs
from conceptry.reasons import DeferralReason
from conceptry.retraining import Failure
from conceptry.rollout import Pace, defer_trainings
from conceptry.version import Live, LiveConcept, Version

SHORTEST = timedelta(minutes=1)
"""Duration of a training without an estimate."""


@dataclass(frozen=True)
class Start:
    """A training that starts at a moment, and for what it waited since it was due, each reason once."""

    at: datetime
    action: Action
    waited: tuple[DeferralReason, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """Trainings that start until a day, in order, and those that are needed by then and still wait, with the reason."""

    until: date
    starts: tuple[Start, ...]
    waiting: tuple[Action, ...]


def estimated(action: Action) -> timedelta:
    """Return how long a training takes by its estimate."""
    return max(SHORTEST, timedelta(minutes=action.estimate.gpu_minutes if action.estimate else 0))


@dataclass
class Simulation:
    """Registry whose trainings end in simulated time.

    Attributes:
        desired: Desired state; it stays as it is.
        live: Live state at the start.
        inputs: Inputs of the plan at the start; the runs that it knows occupy their places.
        pace: Limits on what starts, with the time at which the simulation starts.
        duration: Returns how long a training takes.
        fails: Returns whether a training fails.
    """

    desired: Desired
    live: Live
    inputs: PlanInputs
    pace: Pace
    duration: Callable[[Action], timedelta] = estimated
    fails: Callable[[Action], bool] = lambda _action: False
    _plans: dict[str, ConceptPlan] = field(default_factory=dict)
    _running: list[tuple[datetime, Action]] = field(default_factory=list)
    _waited: dict[str, list[DeferralReason]] = field(default_factory=dict)

    def run(self, until: date) -> Forecast:
        """Return what starts from now until the end of a day in UTC, and what waits then."""
        moment = datetime.fromtimestamp(self.pace.now.timestamp(), UTC)
        starts, made = list[Start](), self._plan(moment)
        self._running = [
            (moment + self.duration(one.training), one.training)
            for one in made.concepts
            if one.training.health == "Progressing" and one.training.fingerprint
        ]
        while moment.date() <= until:
            made = self._plan(moment)
            starts += [self._start(moment, action) for action in self._trainings(made)]
            moment = self._next(moment)
            self._finish(moment)
        waiting = tuple(action for action in made.changes if action.kind is ActionKind.TRAIN and action.deferred)
        return Forecast(until, tuple(starts), waiting)

    def _trainings(self, made: Plan) -> list[Action]:
        """Return the trainings that start now, and note what the others wait for."""
        trainings = [action for action in made.changes if action.kind is ActionKind.TRAIN]
        for action in trainings:
            reasons = self._waited.setdefault(action.fingerprint or "", [])
            if action.deferral and action.deferral not in reasons:
                reasons.append(action.deferral)
        begun = self.inputs.attempts
        return [one for one in trainings if one.deferred is None and one.fingerprint not in begun]

    def _start(self, moment: datetime, action: Action) -> Start:
        self._running.append((moment + self.duration(action), action))
        self._attempt(action, "running")
        return Start(moment, action, tuple(self._waited.pop(action.fingerprint or "", ())))

    def _plan(self, moment: datetime) -> Plan:
        """Return the plan at a moment; only concepts for which something has changed are planned again."""
        if self.inputs.today != moment.date():
            self.inputs = replace(self.inputs, today=moment.date())
            self._plans = {name: one for name, one in self._plans.items() if not self._is_scheduled(name)}
        for name, concept in self.desired.concepts.items():
            if name not in self._plans:
                self._plans[name] = plan_concept(concept, self._live(name), self.inputs)
        made = Plan(self.desired.revision, tuple(self._plans[name] for name in sorted(self._plans)))
        return defer_trainings(made, self.desired, self.live, self.inputs, pace=replace(self.pace, now=moment))

    def _is_scheduled(self, name: str) -> bool:
        spec = self.desired.concepts[name].spec
        return spec is not None and isinstance(spec.retrain, RetrainSpec)

    def _live(self, name: str) -> LiveConcept:
        return self.live.concepts.get(name) or LiveConcept(name, (), None)

    def _next(self, moment: datetime) -> datetime:
        midnight = datetime.combine(moment.date() + timedelta(days=1), time(), UTC)
        opens = [window.opens(moment) for window in self.pace.policy.windows]
        return min([midnight, *(end for end, _ in self._running if end > moment), *opens]).astimezone(UTC)

    def _finish(self, moment: datetime) -> None:
        ended = [(end, action) for end, action in self._running if end <= moment]
        self._running = [(end, action) for end, action in self._running if end > moment]
        for end, action in ended:
            if self.fails(action):
                self._attempt(action, "failed")
                failures = {**self.inputs.failures, action.fingerprint or "": Failure(end.date())}
                self.inputs = replace(self.inputs, failures=failures)
            else:
                self._attempt(action, None)
                self._publish(end, action)

    def _attempt(self, action: Action, attempt: Attempt | None) -> None:
        self._plans.pop(action.concept, None)
        attempts = {key: value for key, value in self.inputs.attempts.items() if key != action.fingerprint}
        if attempt is not None:
            attempts[action.fingerprint or ""] = attempt
        self.inputs = replace(self.inputs, attempts=attempts)

    def _publish(self, end: datetime, action: Action) -> None:
        concept, live = self.desired.concepts[action.concept], self._live(action.concept)
        base = self.inputs.bases.get(concept.spec.base_model) if concept.spec else None
        if concept.spec is None or base is None:
            return
        images = concept.images or ()
        version = Version(
            number=max((version.number for version in live.versions), default=0) + 1,
            fingerprint=action.fingerprint or "",
            inputs=training_fingerprint(concept.spec, images, base),
            commit=self.desired.revision,
            gate="passed",
            dvc_md5=concept.dvc_md5 or "",
            created=end.isoformat(),
            retrain=action.retrain,
            seconds=self.duration(action).total_seconds(),
            images=content_keys(images),
            spec=training_keys(concept.spec, base),
        )
        versions = (*live.versions, version)
        self.live = Live({**self.live.concepts, action.concept: replace(live, versions=versions)})
