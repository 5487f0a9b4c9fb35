"""Inputs of a rendered Space: the spec of the released version, with the current `space` and `endpoint`."""

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
    """Return the spec and the settings from which the Space of a version is rendered.

    Raises:
        HubError: the version's manifest is missing or cannot be read.
        TransientError: the Hub could not be reached.
    """
    manifest = hub.read_manifest(session, name, version)
    trained = trained_spec(spec, manifest)
    base = training.base_of(trained)
    repo = session.target.repo(name)
    settings = serving_settings(
        name,
        trained,
        base,
        version_name=version.name,
        metrics=manifest.metrics,
        model_repo=repo,
        revision=version.commit,
        gate=f"{manifest.gate}: {'; '.join(manifest.reasons)}",
    )
    return trained, settings


def trained_spec(spec: ConceptSpec, manifest: Manifest) -> ConceptSpec:
    """Return the spec that a version was trained from, with the current `space` and `endpoint`.

    A Space that serves v1 again must draw with v1's token, even if concept.yaml has another token by now.

    Raises:
        HubError: this release of Conceptry cannot parse the version's concept.yaml.
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
