"""What a Space is rendered from: the released version as it was trained, looking as today's concept.yaml says."""

from pathlib import Path

from pydantic import ValidationError

from conceptry.concept import ConceptSpec
from conceptry.errors import HubError
from conceptry.serving import serving_settings
from conceptry.settings import Settings
from conceptry.version import Manifest, Version
from flows import state
from tasks import hub, space
from tasks.hub import refs
from tasks.hub.client import telling


def render_space(settings: Settings, name: str, spec: ConceptSpec, version: Version, folder: Path) -> Path:
    """Render the Space of a version into a folder, which is made anew.

    Raises:
        HubError: the version's manifest is missing or cannot be read.
    """
    target = state.target(settings)
    manifest = read_manifest(target, version, name)
    trained = trained_spec(spec, manifest)
    base = state.bases()[trained.base_model]
    told = serving_settings(name, trained, base, version.name, manifest.metrics, target.repo(name), version.commit)
    return space.render_space(folder, trained, told)


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
