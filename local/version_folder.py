"""A version's files in a folder, as `conceptry pull` writes them: served without a Hub, a set-up or settings."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from pydantic import ValidationError

from conceptry.concept import ConceptSpec
from conceptry.errors import ConceptryError
from conceptry.settings import BaseWeightsSettings, ServingSettings
from conceptry.space_settings import serving_settings
from conceptry.version import Manifest
from tasks import training
from tasks.hub.session import MANIFEST
from tasks.space import render_space
from tasks.weights_files import default_folder

_OWNER = "local"


def is_version_folder(text: str) -> bool:
    """Whether an argument is the path of a folder with a version's files, and not the name of a concept."""
    return (Path(text).expanduser() / MANIFEST).is_file()


def manifest_of(folder: Path) -> Manifest:
    """Read the manifest of a version's files.

    Raises:
        ConceptryError: it is damaged, or of another release.
    """
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        step = "pull the version again: `conceptry pull NAME@VERSION FOLDER`"
        raise ConceptryError("is not the manifest of a version", file=str(folder / MANIFEST), next_step=step) from error


def title_of(manifest: Manifest) -> str:
    """Return concept and version, for people."""
    return f"{manifest.name} {manifest.version or ''}".strip()


def render_page(folder: Path, manifest: Manifest, place: Path, cache: Path) -> Path:
    """Render the Space of a version's files into `place`, and put the files where it looks for downloads.

    Args:
        folder: The version's files.
        manifest: Their manifest.
        place: Folder to render into.
        cache: Folder for downloads from the Hub; the page is to run with HF_HUB_OFFLINE=1.
    """
    spec = ConceptSpec.model_validate(manifest.spec)
    base = training.base_of(spec)
    # A commit's hash is what a download is found by in the cache; this one is of the files.
    revision = hashlib.sha1((folder / MANIFEST).read_bytes(), usedforsecurity=False).hexdigest()
    settings = serving_settings(
        manifest.name,
        spec,
        base,
        version_name=manifest.version or "v1",
        metrics=manifest.metrics,
        model_repo=f"{_OWNER}/{manifest.name}",
        revision=revision,
        gate=f"{manifest.gate}: {'; '.join(manifest.reasons)}",
    )
    render_space(place, spec, settings)
    snapshot = cache / f"models--{_OWNER}--{manifest.name}" / "snapshots" / revision
    if not snapshot.is_dir():
        shutil.copytree(folder, snapshot)
    return place


def weights_variables(base_dir: Path | None = None) -> dict[str, str]:
    """Return the variables with the folder or the address of base model weights, for Space and handler."""
    mirror = ServingSettings().base_url
    fetched = default_folder()
    found = base_dir or BaseWeightsSettings().base_dir or (fetched if fetched.is_dir() else None)
    variables = {"CONCEPTRY_BASE_URL": mirror} if mirror else {}
    return variables | ({"CONCEPTRY_BASE_DIR": str(found.absolute())} if found else {})
