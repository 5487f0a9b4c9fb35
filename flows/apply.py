"""Apply: carry out the actions of a plan, concept by concept. The only step of a reconcile that writes."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import get_run_logger
from pydantic import SecretStr

from conceptry.actions import TAKEDOWN, Action, ActionKind, urgency
from conceptry.concept import ConceptSpec
from conceptry.desired import DesiredConcept
from conceptry.errors import ConceptryError
from conceptry.fingerprint import serving_changes, serving_fingerprint
from conceptry.installation import Installation
from conceptry.plan import pending_judgements
from conceptry.reasons import DriftReason
from conceptry.version import LiveConcept, Thresholds, Version
from flows.observe import Context
from flows.reconcile import Comparison
from flows.rendering import space_of
from tasks.hub import RenderedSpace
from tasks.hub.refusal_records import remember
from tasks.locks import hold, run_id
from tasks.space import TEMPLATES_REVISION

PUT_BACK = frozenset({DriftReason.CARD_MISSING, DriftReason.CARD_EDITED, DriftReason.SPACE_EDITED})
"""Drift that is repaired as the card and the Space are written; that of branches and tags is told by `_repair`."""

StartTraining = Callable[[Action, str], None]
"""Callback that starts the training of an action at a git revision."""


def apply_all(context: Context, comparison: Comparison, start: StartTraining) -> dict[str, Exception]:
    """Carry out every action that is due; return the exceptions by concept. A failure stops no other concept."""
    failures: dict[str, Exception] = {}
    for action in comparison.plan.due:
        try:
            apply_action(context, comparison, action, start)
        except Exception as error:  # noqa: BLE001 - any failure of one concept must not stop the others
            known = isinstance(error, ConceptryError)
            get_run_logger().error("%s: %s: %s", action.concept, action.kind, error, exc_info=not known)
            failures[action.concept] = error
    return failures


def apply_action(context: Context, comparison: Comparison, action: Action, start: StartTraining) -> None:
    """Carry out one action, when no other process writes to the concept's repos.

    Raises:
        ConceptryError: the action failed.
    """
    lock = context.installation.work.concept_lock(action.concept)
    with hold(lock, run_id()) if needs_lock(action) else nullcontext():
        carry_out(context, comparison, action, start)


def needs_lock(action: Action) -> bool:
    """Whether an action must not be carried out while another process writes to the concept's repos.

    What hides or takes down does not wait: a run that is writing must not keep it public meanwhile.
    """
    return action.kind is not ActionKind.TRAIN and urgency(action) > TAKEDOWN


def carry_out(context: Context, comparison: Comparison, action: Action, start: StartTraining) -> None:
    """Carry out one action: start a training, hide the repos, judge versions, or reconcile the card and the Space.

    The caller holds the concept's lock if the action needs it.

    Raises:
        ConceptryError: the action failed.
    """
    if action.kind is ActionKind.TRAIN:
        start(action, comparison.desired.revision)
        return
    if action.kind is ActionKind.HIDE:
        hide(context, action)
        return
    live = comparison.live.concepts.get(action.concept) or LiveConcept(action.concept, (), None)
    desired = comparison.desired.concepts.get(action.concept)
    if action.kind is ActionKind.JUDGE:
        with remember(context.installation.work, action.concept):
            judge(context, live, pending_judgements(desired, live, comparison.inputs))
        return
    reconcile_serving(context, desired, live, action)
    for drift in action.drift:
        if drift.reason in PUT_BACK:
            context.steps.emit(action.concept, "repaired", reason=drift.reason, cause=str(drift))


def hide(context: Context, action: Action) -> None:
    """Make a concept's model repo and Space private.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    context.steps.hide(context.session, action.concept)
    context.steps.emit(action.concept, "hidden", reason=action.reason, cause=action.cause)


def judge(context: Context, live: LiveConcept, gates: Mapping[int, Thresholds]) -> None:
    """Judge versions of a concept by a changed gate; emit an event for each verdict that changed.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    before = {version.number: version.gate for version in live.versions}
    for version in context.steps.judge(context.session, live.name, gates):
        verdict = before.get(version.number, version.gate)
        if version.gate != verdict:
            cause = f"{verdict} -> {version.gate}: {version.because}"
            get_run_logger().info("%s: %s is judged again: %s", live.name, version.name, cause)
            context.steps.emit(live.name, "judged", version=version.name, reason=version.gate_reason, cause=cause)


def reconcile_serving(
    context: Context, desired: DesiredConcept | None, live: LiveConcept, action: Action
) -> str | None:
    """Carry out a plan's action on a concept's card and Space; return the name of the version that is served then.

    What the Hub refuses is recorded, and held by the next plan until it is asked again.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    version = next((version for version in live.versions if version.name == action.version), None)
    spec = desired.spec if desired else None
    serving = serving_fingerprint(spec, version, TEMPLATES_REVISION) if spec and version else None
    with remember(context.installation.work, action.concept, serving):
        return _reconcile_serving(context, desired, live, action)


def _reconcile_serving(
    context: Context, desired: DesiredConcept | None, live: LiveConcept, action: Action
) -> str | None:
    """Write the branches, the card and the Space.

    The Space is written last, because the next plan compares it: after an interruption the action is planned again.
    What is taken down is paused first, and does not wait for its card.
    """
    name, session, steps = action.concept, context.session, context.steps
    if action.version is None and action.kind is not ActionKind.REPAIR:
        steps.pause(session, name)
        steps.emit(name, "paused", reason=action.reason, cause=action.cause)
    else:
        live = _repair(context, live)
    version = next((version for version in live.versions if version.name == action.version), None)
    release = version.name if version else None
    if (live.versions or live.main) and not _card_is_current(live, desired, version, action):
        steps.update_card(session, name, release)
    if version is None and action.version is not None:
        get_run_logger().warning(
            "%s: the commit of %s no longer exists on the Hub; the next plan trains it again", name, action.version
        )
        steps.emit(name, "lost", version=action.version, reason=action.reason, cause=action.cause)
        return None
    if version is None or desired is None or desired.spec is None:
        return None
    address = _push_space(context, name, desired.spec, version)
    steps.emit(name, "released", version=version.name, reason=action.reason, cause=action.cause, space=address)
    return release


def update_index(context: Context, live: LiveConcept) -> str | None:
    """Add missing versions to the index in the card on main; return the version that the Space serves."""
    served = live.space.release if live.space else None
    release = served if any(version.name == served for version in live.versions) else None
    if live.versions and not _index_is_current(live):
        context.steps.update_card(context.session, live.name, release)
    return release


def _repair(context: Context, live: LiveConcept) -> LiveConcept:
    """Reset branches and tags to the commits of their versions; return the refreshed live state."""
    if not live.versions and not live.drift:
        return live
    repaired, versions = context.steps.repair(context.session, live.name, live.versions)
    for drift in repaired:
        get_run_logger().warning("%s: repaired: %s", live.name, drift)
        context.steps.emit(live.name, "repaired", reason=drift.reason, cause=str(drift))
    return replace(live, versions=versions, drift=())


def _push_space(context: Context, name: str, spec: ConceptSpec, version: Version) -> str:
    """Render the Space of a version and push it; return its address."""
    session, installation = context.session, context.installation
    trained, settings = space_of(session, name, spec, version)
    serving = serving_fingerprint(spec, version, TEMPLATES_REVISION)
    token = _space_token(installation, spec, name)
    with TemporaryDirectory(prefix="conceptry-space-") as folder:
        rendered = context.steps.render(Path(folder) / "space", trained, settings)
        space = RenderedSpace(rendered, version.name, version.commit, serving, session.target.installation)
        return context.steps.push(session, name, space, spec, token=token)


def _space_token(installation: Installation, spec: ConceptSpec, name: str) -> SecretStr | None:
    """Return the token that a private Space may have: one that reads, and never the registry's own.

    Whoever may change `space.override` in git runs code in the Space, and must not get write access to the Hub by it.
    """
    token, own = installation.settings.space_token, installation.hub.token
    if not spec.space.private or (token is not None and token != own):
        return token
    problem = "is not set" if token is None else "is the registry's own, which may write"
    get_run_logger().warning(
        "%s: its private Space cannot read the model: CONCEPTRY_SPACE_TOKEN %s; set it to a token that may only read "
        "the repos of %s, or add the secret HF_TOKEN in the Space's settings",
        name, problem, installation.hub.owner,
    )  # fmt: skip
    return None


def _card_is_current(
    live: LiveConcept, desired: DesiredConcept | None, version: Version | None, action: Action
) -> bool:
    """Whether the card on main already describes the version, so that only the Space has to be written."""
    if action.kind is not ActionKind.RENDER or not desired or not desired.spec or not live.space or not version:
        return False
    serving = serving_fingerprint(desired.spec, version, TEMPLATES_REVISION)
    changed = serving_changes(live.space.serving or "", serving)
    described = live.main is not None and live.main.release == version.name
    return described and _index_is_current(live) and "templates" not in changed


def _index_is_current(live: LiveConcept) -> bool:
    """Whether the card on main lists exactly the published versions."""
    return live.main is not None and live.main.versions == tuple(version.number for version in live.versions)
