"""Reconcile, shared by the flows: observe -> plan -> apply.

    observe    read git, DVC and the Hub                             flows/observe.py
    plan       compare desired and live state; a pure function       conceptry/plan.py
    apply      carry out the actions; the only step that writes      flows/apply.py

Each step happens once per run. `compare` reads the other inputs of the plan: the states of training runs and, for the
concepts that need a training, whether the DVC remote has every image.

Prefect is imported only if a server is configured: `conceptry plan` needs none, and importing it takes a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

from conceptry.actions import Plan
from conceptry.concept import ConceptSpec
from conceptry.desired import Desired, DesiredConcept
from conceptry.errors import ConceptryError
from conceptry.guards import guard_served
from conceptry.initial_version import initial_version_problem
from conceptry.installation import Installation
from conceptry.isolation import isolate, printable
from conceptry.plan import open_fingerprints, pending_trainings, plan
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import PATH as POLICY
from conceptry.policy import Policy, load_policy
from conceptry.refusal import defer_limited
from conceptry.rollout import Pace, defer_trainings
from conceptry.template_rollout import defer_renderings
from conceptry.version import Live
from flows.observe import Context, Observation, observe
from flows.steps import DIRECT
from tasks import dvc, git, space, training
from tasks.extras import extra_of, missing_extra
from tasks.hub.refusal_records import read_limit, read_refused
from tasks.prefect_address import server_address
from tasks.tokens import initializer_problem

if TYPE_CHECKING:
    from flows.training_runs import TrainingRuns


@dataclass(frozen=True)
class Comparison:
    """Desired and live state, and the plan that makes the second match the first, with its `inputs` and `pace`.

    `places` is how many trainings run at the same time, over all workers.

    `problem` says why the plan does not take the runs on the Prefect server into account; None if it does, or if no
    server is configured.
    """

    desired: Desired
    live: Live
    inputs: PlanInputs
    pace: Pace
    places: int
    plan: Plan
    problem: ConceptryError | None = None


def compare(context: Context, observed: Observation, runs: TrainingRuns | None) -> Comparison:
    """Make the plan.

    Args:
        context: Dependencies of the reconcile.
        observed: Desired and live state.
        runs: Training runs on the Prefect server; None without a server.
    """
    installation, live = context.installation, observed.live
    moment = _moment(runs)
    desired, inputs = _inputs(context, observed, runs, moment.date())
    places = installation.settings.max_parallel if runs is None else runs.places()
    pace = _pace(installation, desired, moment, places)
    made = defer_trainings(plan(desired, live, inputs), desired, live, inputs, pace=pace)
    whole, checked = desired, set[str]()
    # A retraining whose images are missing gives its place to another one, whose images are checked then.
    for everything in (False, True):
        if not pending_trainings(made) - checked:
            break
        checked |= pending_trainings(made, deferred=everything)
        desired = context.steps.list_images(installation, whole, checked)
        inputs = replace(inputs, image_names=_image_names(installation, live, checked))
        made = defer_trainings(plan(desired, live, inputs), desired, live, inputs, pace=pace)
    made = defer_renderings(made, live, inputs.templates, pace.policy)
    made = defer_limited(made, inputs.hub_limit)
    made = guard_served(replace(made, hub=live.digest()), live, pace.policy.guards)
    return Comparison(desired, live, inputs, pace, places, made)


def _inputs(
    context: Context, observed: Observation, runs: TrainingRuns | None, today: date
) -> tuple[Desired, PlanInputs]:
    """Return the desired state and the inputs of the plan, with the states of the runs that it depends on.

    A concept whose initializer could not be checked carries the error in the returned desired state.
    """
    installation, live = context.installation, observed.live
    desired, initializers = _check_initializers(observed.desired, live, installation)
    inputs = replace(
        plan_inputs(installation, desired.concepts.values()),
        today=today,
        initializers=initializers,
        refusals=read_refused(installation.work, desired.concepts),
        hub_limit=read_limit(installation.work),
    )
    if runs is None:
        return desired, inputs
    asked = open_fingerprints(desired, live, inputs)
    attempts = runs.attempts(asked)
    # After a retraining that failed, it depends on the following ones which one is next.
    following = open_fingerprints(desired, live, replace(inputs, attempts=attempts)) - asked
    if following:
        attempts = runs.attempts(asked | following)
    return desired, replace(inputs, attempts=attempts, because=runs.words(attempts), failures=runs.failures(attempts))


def _moment(runs: TrainingRuns | None) -> datetime:
    """Return the current time by the clock that is behind, the Prefect server's or this machine's.

    By a clock that is years ahead, every retraining would be due and every window open.
    """
    here = datetime.now(UTC)
    return here if runs is None else min(here, runs.server_time())


def _check_initializers(desired: Desired, live: Live, installation: Installation) -> tuple[Desired, dict[str, str]]:
    """Return what is wrong with the initializers of all concepts, by name, in words.

    A concept whose initializer could not be checked carries the error in the returned desired state.
    """

    def check(spec: ConceptSpec) -> str | None:
        problem = initializer_problem(spec, installation.base_dir)
        base = training.base_of(spec)
        return problem or initial_version_problem(spec, base, live.concepts)

    specs = {name: concept.spec for name, concept in desired.concepts.items() if concept.spec is not None}
    found = {name: isolate(name, partial(check, spec), lambda error: error) for name, spec in specs.items()}
    errors = {name: problem for name, problem in found.items() if isinstance(problem, ConceptryError)}
    held = {name: replace(desired.concepts[name], error=error) for name, error in errors.items()}
    words = {name: problem for name, problem in found.items() if isinstance(problem, str) and problem}
    return replace(desired, concepts={**desired.concepts, **held}), words


def current_comparison(installation: Installation, *, revision: str | None = None) -> Comparison:
    """Observe and plan outside of a run, at the head of the branch or at a revision.

    If the Prefect server does not respond, or refuses, or Prefect is not installed, the comparison says so in
    `problem`, and the plan does not take training runs into account.
    """
    context = Context.of(installation, DIRECT)
    problem: ConceptryError | None = None
    observed = observe(context, revision)
    try:
        if server_address():
            return _compare_with_runs(context, observed)
    except ModuleNotFoundError as error:
        if extra_of(error.name or "") is None:
            raise
        problem = missing_extra("reading the Prefect server", "flows", [error.name or ""])
    return replace(compare(context, observed, None), problem=problem)


def _compare_with_runs(context: Context, observed: Observation) -> Comparison:
    """Make the plan with the training runs on the Prefect server, or without them if it does not respond."""
    import httpx

    from flows.training_runs import training_runs
    from tasks.prefect_client import server_problem

    try:
        with training_runs(context.installation) as runs:
            return compare(context, observed, runs)
    except httpx.HTTPError as error:
        return replace(compare(context, observed, None), problem=server_problem(error))


def plan_inputs(installation: Installation, concepts: Iterable[DesiredConcept | None]) -> PlanInputs:
    """Return the plan inputs that need no request: base models, templates and rates."""
    specs = [concept.spec for concept in concepts if concept is not None and concept.spec is not None]
    return PlanInputs(training.base_models(specs), space.TEMPLATES_REVISION, rates=training.rates(installation))


def read_policy(installation: Installation, revision: str) -> tuple[Policy, str | None]:
    """Read conceptry.yaml at a revision; for an invalid one return the defaults and the error.

    Raises:
        TransientError: the mirror is damaged.
    """

    def read() -> tuple[Policy, str | None]:
        data = git.read_file(installation.mirror, revision, POLICY)
        return load_policy(None if data is None else data.decode("utf-8", "surrogateescape")), None

    def failed(error: ConceptryError) -> tuple[Policy, str | None]:
        if error.retryable:
            raise error
        return Policy(), printable("; ".join(str(error).splitlines()))

    return isolate(POLICY, read, failed)


def _pace(installation: Installation, desired: Desired, moment: datetime, places: int) -> Pace:
    policy, error = read_policy(installation, desired.revision)
    # Twice as many are scheduled in Prefect, so that the next one starts when one ends and not at the next watch.
    return Pace(policy, moment, 2 * places, error)


def _image_names(installation: Installation, live: Live, names: set[str]) -> dict[str, str]:
    """Return the paths, by md5, of the images in the newest versions of these concepts."""
    known = [live.concepts[name] for name in names if name in live.concepts]
    newest = (max(there.versions, key=lambda version: version.number, default=None) for there in known)
    return dvc.known_names({version.dvc_md5 for version in newest if version}, installation.work.listings)
