"""What a Space is rendered from: the released version as it was trained, looking as today's concept.yaml says."""

from typing import Any

from pydantic import ValidationError

from conceptry.concept import ConceptSpec
from conceptry.errors import HubError
from conceptry.space_settings import serving_settings
from conceptry.version import Manifest, Version
from tasks import hub, training


def space_of(
    session: hub.HubSession, name: str, spec: ConceptSpec, version: Version
) -> tuple[ConceptSpec, dict[str, Any]]:
    """Return the spec and the settings that the Space of a version is rendered from.

    Raises:
        HubError: the version's manifest is missing or cannot be read.
        TransientError: the Hub could not be asked.
    """
    manifest = hub.read_manifest(session, name, version)
    trained = trained_spec(spec, manifest)
    base = training.base_models()[trained.base_model]
    repo = session.target.repo(name)
    settings = serving_settings(
        name,
        trained,
        base,
        version_name=version.name,
        metrics=manifest.metrics,
        model_repo=repo,
        revision=version.commit,
    )
    return trained, settings


def trained_spec(spec: ConceptSpec, manifest: Manifest) -> ConceptSpec:
    """Return the concept.yaml that a version was trained from, looking as today's says.

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
