"""Release: make the model card and the Space of one concept what git says now.

    look at git and at the Hub -> plan -> card on main -> Space (rendered and pushed, or paused)

The Space comes last, because it is what the next plan looks at: whatever is interrupted is seen and done again.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import flow, get_run_logger, task
from pydantic import ValidationError

from conceptry.actions import Action, ActionKind, Attempt, Plan
from conceptry.concept import ConceptSpec, Desired, DesiredConcept
from conceptry.errors import HubError
from conceptry.fingerprint import serving_fingerprint
from conceptry.plan import plan
from conceptry.serving import serving_settings
from conceptry.settings import Settings
from conceptry.version import Actual, ActualConcept, Manifest, Version
from flows import state
from flows.events import tell
from flows.runs import hold, run_id
from flows.steps import PATIENT
from tasks import hub, space
from tasks.hub import refs
from tasks.hub.client import telling

SERVES = frozenset({ActionKind.RELEASE, ActionKind.RENDER, ActionKind.ADOPT, ActionKind.REPAIR})
"""Actions that are about what the Space serves."""


@flow(name="release", flow_run_name="{name}")
def release(name: str) -> str | None:
    """Bring the card and the Space of one concept in line with git, and return the version that it serves.

    Args:
        name: the concept.
    """
    settings = Settings()
    with hold(settings.work / "locks" / f"{name}.lock", run_id()):
        desired = look_at_git(settings, name)
        there = look_at_hub(settings, name)
        action = serving_action(desired, there)
        get_run_logger().info("%s: %s: %s", name, action.kind, action.cause)
        if action.kind in (*SERVES, ActionKind.ARCHIVE):
            return bring_about(settings, desired.concepts.get(name), there, action)
        served = served_version(there)
        set_card(settings, name, served)
        return served


def serving_action(desired: Desired, there: ActualConcept) -> Action:
    """What is to be done about the Space of one concept. A training that is still to come does not hold it up."""
    actual = Actual({there.name: there})
    action = _plan(desired, actual, {}).actions[0]
    if action.kind is ActionKind.TRAIN and action.fingerprint:
        action = _plan(desired, actual, {action.fingerprint: "running"}).actions[0]
    return action


def bring_about(settings: Settings, wanted: DesiredConcept | None, there: ActualConcept, action: Action) -> str | None:
    """Do what a plan says about a concept's Space, and return the version that it serves from now on."""
    name = action.concept
    version = next((version for version in there.versions if version.name == action.version), None)
    if there.versions:
        set_card(settings, name, action.version)
    if version is None or wanted is None or wanted.spec is None:
        pause(settings, name)
        tell(name, "paused", cause=action.cause)
        return None
    address = set_space(settings, name, wanted.spec, version)
    tell(name, "released", version=version.name, cause=action.cause, space=address)
    return version.name


def served_version(there: ActualConcept) -> str | None:
    """The version that the Space says it serves, if there is such a version."""
    served = there.space.release if there.space else None
    return served if any(version.name == served for version in there.versions) else None


@task(name="look at git", **PATIENT)
def look_at_git(settings: Settings, name: str) -> Desired:
    """Read one concept as it is at the head of the branch."""
    return state.list_images(settings, state.read_git(settings, only=name))


@task(name="look at the Hub", **PATIENT)
def look_at_hub(settings: Settings, name: str) -> ActualConcept:
    """Read one concept's versions from its branches, past the index, and what its Space says."""
    known = state.list_hub(settings).concepts.get(name)
    return ActualConcept(name, hub.read_versions(state.target(settings), name), known.space if known else None)


@task(name="update the card", **PATIENT)
def set_card(settings: Settings, name: str, release: str | None) -> None:
    """Write the index of versions and the released version's card to main."""
    hub.update_main(state.target(settings), name, release)


@task(name="push the Space", **PATIENT)
def set_space(settings: Settings, name: str, spec: ConceptSpec, version: Version) -> str:
    """Render the Space for a version and push it; returns its address."""
    target = state.target(settings)
    manifest = read_manifest(target, version, name)
    trained = trained_spec(spec, manifest)
    base = state.bases()[trained.base_model]
    told = serving_settings(name, trained, base, version.name, manifest.metrics, target.repo(name), version.commit)
    serving = serving_fingerprint(spec, version, state.templates())
    with TemporaryDirectory(prefix="conceptry-space-") as folder:
        rendered = space.render_space(Path(folder) / "space", trained, told)
        return hub.push_space(
            target, name, rendered, version.name, serving, revision=version.commit, private=spec.space.private
        )


@task(name="pause the Space", **PATIENT)
def pause(settings: Settings, name: str) -> None:
    """Let the Space serve nothing."""
    hub.pause_space(state.target(settings), name)


def read_manifest(target: hub.HubTarget, version: Version, name: str) -> Manifest:
    """Read concept.json of a version.

    Raises:
        HubError: there is none, or it cannot be read.
    """
    with telling(target, f"reading {version.name}", name=name):
        manifest = refs.read_manifest(target.api(), target.repo(name), version.commit)
    if manifest is None:
        raise HubError(f"{version.name} has no concept.json", concept=name, next_step="release another version")
    return manifest


def trained_spec(spec: ConceptSpec, manifest: Manifest) -> ConceptSpec:
    """The concept.yaml that a version was trained from, looking as today's says.

    A Space that goes back to v1 must draw with v1's token, even if concept.yaml has another one since.

    Raises:
        HubError: the version's concept.yaml cannot be read any more.
    """
    today = spec.model_dump(include={"space", "endpoint"})
    try:
        return ConceptSpec.model_validate({**manifest.spec, **today})
    except ValidationError as error:
        raise HubError(
            f"the concept.yaml that this version was trained from cannot be read ({error.error_count()} mistakes)",
            concept=manifest.name,
            next_step="release a newer version",
        ) from error


def _plan(desired: Desired, actual: Actual, attempts: Mapping[str, Attempt]) -> Plan:
    return plan(desired, actual, bases=state.bases(), attempts=attempts, templates=state.templates())
