"""Release: make the model card and the Space of one concept what git says now.

    look at git and at the Hub -> plan -> card on main -> Space (rendered and pushed, or paused)

The Space comes last, because it is what the next plan looks at: whatever is interrupted is seen and done again.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi
from prefect import flow, get_run_logger, task

from conceptry.actions import Action, ActionKind, Attempt, Plan
from conceptry.concept import ConceptSpec, Desired, DesiredConcept
from conceptry.fingerprint import serving_fingerprint
from conceptry.plan import plan
from conceptry.settings import Settings
from conceptry.version import Actual, ActualConcept, Version
from flows import state
from flows.events import tell
from flows.rendering import read_manifest, render_space, trained_spec
from flows.runs import hold, run_id
from flows.steps import PATIENT
from tasks import hub
from tasks import space as spaces

__all__ = ["bring_about", "read_manifest", "release", "serving_action", "trained_spec"]

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
    there = mend(settings, there)
    version = next((version for version in there.versions if version.name == action.version), None)
    if there.versions or there.main:
        set_card(settings, name, version.name if version else None)
    if version is None and action.version is not None:
        get_run_logger().warning("%s: %s is gone from the Hub for good; the next plan sees to it", name, action.version)
        tell(name, "lost", version=action.version, cause=action.cause)
        return None
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


@task(name="put branches and tags right", **PATIENT)
def mend(settings: Settings, there: ActualConcept) -> ActualConcept:
    """Put back what somebody moved by hand, before anything is derived from the branches; what is left then."""
    if not there.versions:
        return there
    target = state.target(settings)
    for words in hub.mend_refs(target, there.name, there.versions):
        get_run_logger().warning("%s: put right: %s", there.name, words)
        tell(there.name, "repaired", cause=words)
    return replace(there, versions=hub.read_versions(target, there.name, there.versions))


@task(name="look at git", **PATIENT)
def look_at_git(settings: Settings, name: str) -> Desired:
    """Read one concept as it is at the head of the branch."""
    return state.list_images(settings, state.read_git(settings, only=name))


@task(name="look at the Hub", **PATIENT)
def look_at_hub(settings: Settings, name: str) -> ActualConcept:
    """Read one concept's versions from its branches, past the index, and what its Space says."""
    known = state.list_hub(settings).concepts.get(name) or ActualConcept(name, (), None)
    hub.mend_refs(state.target(settings), name, known.versions)
    return replace(known, versions=hub.read_versions(state.target(settings), name))


@task(name="update the card", **PATIENT)
def set_card(settings: Settings, name: str, release: str | None) -> None:
    """Write the index of versions and the released version's card to main."""
    hub.update_main(state.target(settings), name, release)


@task(name="push the Space", **PATIENT)
def set_space(settings: Settings, name: str, spec: ConceptSpec, version: Version) -> str:
    """Render the Space for a version and push it; returns its address."""
    target = state.target(settings)
    serving = serving_fingerprint(spec, version, state.templates())

    def equip(api: HfApi, repo: str) -> None:
        changed = spaces.equip_space(api, repo, spec, settings.space_token or target.token)
        if changed:
            get_run_logger().info("%s: its Space: %s", name, ", ".join(changed))

    with TemporaryDirectory(prefix="conceptry-space-") as folder:
        return hub.push_space(
            target,
            name,
            render_space(settings, name, spec, version, Path(folder) / "space"),
            version.name,
            serving,
            revision=version.commit,
            private=spec.space.private,
            equip=equip,
        )


@task(name="pause the Space", **PATIENT)
def pause(settings: Settings, name: str) -> None:
    """Let the Space serve nothing."""
    hub.pause_space(state.target(settings), name)


def _plan(desired: Desired, actual: Actual, attempts: Mapping[str, Attempt]) -> Plan:
    return plan(desired, actual, bases=state.bases(), attempts=attempts, templates=state.templates())
