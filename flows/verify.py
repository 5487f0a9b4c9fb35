"""Verify: hash everything again, from git through DVC to the Hub.

For every version: does its commit exist, does that commit ask for what was trained, does the DVC remote still hold
every picture with its md5, do these inputs give the version's fingerprint, is every file of the version on the Hub with
its sha256, are branch, tag and index where they belong, and does the Space hold what it was rendered from?
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from conceptry.concept import BaseModel, ConceptSpec, Desired, ImageRef, parse_sources
from conceptry.errors import ConceptryError
from conceptry.fingerprint import training_fingerprint, training_keys
from conceptry.settings import Settings
from conceptry.version import ActualConcept, Manifest, Version
from flows import state
from flows.drift import find_edits
from flows.rendering import read_manifest
from tasks import dvc, git, hub
from tasks.hub.refs import MANIFEST, version_of

KEPT = ".gitattributes"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked; `version` is None for what concerns the concept; `wrong` is None when it is right."""

    concept: str
    version: str | None
    what: str
    wrong: str | None


def verify(
    settings: Settings, names: Collection[str] = (), tell: Callable[[Finding], None] = lambda _: None
) -> list[Finding]:
    """Check concepts end to end; nothing is changed.

    Args:
        settings: of this installation.
        names: concepts, or single versions (`my-cat@v2`); all when there are none.
        tell: called with each finding as it is made.

    Raises:
        ConceptryError: there is no such concept or version.
    """
    desired = state.read_git(settings)
    actual = state.list_hub(settings)
    wanted = _wanted(names, {*desired.concepts, *actual.concepts})
    findings = []
    for name, versions in sorted(wanted.items()):
        there = actual.concepts.get(name, ActualConcept(name, (), None))
        missing = versions - {version.name for version in there.versions}
        if missing:
            raise ConceptryError(f"there is no version {', '.join(sorted(missing))}", concept=name)
        for finding in _check(settings, desired, there, versions):
            tell(finding)
            findings.append(finding)
    return findings


def _wanted(names: Collection[str], known: Collection[str]) -> dict[str, set[str]]:
    """Concepts to look at, each with the versions that are asked for; none means all."""
    if not names:
        return {name: set() for name in known}
    wanted: dict[str, set[str]] = {}
    for what in names:
        name, _, version = what.partition("@")
        if name not in known:
            raise ConceptryError("is neither in git nor on the Hub", concept=name, next_step="look at its name")
        wanted.setdefault(name, set()).update({version} - {""})
    return wanted


def _check(settings: Settings, desired: Desired, there: ActualConcept, only: Collection[str]) -> Iterator[Finding]:
    name, wanted = there.name, desired.concepts.get(there.name)
    if wanted is not None:
        yield Finding(name, None, "concept.yaml", str(wanted.error) if wanted.error else None)
    if there.trouble:
        yield Finding(name, None, "model repo", there.trouble)
        return
    moved = hub.find_moved(state.target(settings), name, there.versions)
    yield Finding(name, None, "branches and tags", "; ".join(moved) or None)
    edits = find_edits(settings, desired, there, state.templates())
    if edits is not None:
        yield Finding(name, None, "Space", "; ".join(edits) or None)
    for version in there.versions:
        if not only or version.name in only:
            for what, check in _checks(settings, desired, name, version):
                try:
                    wrong = check()
                except ConceptryError as error:
                    wrong = str(error)
                yield Finding(name, version.name, what, wrong)


def _checks(
    settings: Settings, desired: Desired, name: str, version: Version
) -> Iterator[tuple[str, Callable[[], str | None]]]:
    try:
        manifest = read_manifest(state.target(settings), version, name)
    except ConceptryError as error:
        said = str(error)
        yield "manifest", lambda: said
        return
    yield "index", lambda: _index(manifest, version)
    yield "fingerprint", lambda: _fingerprint(manifest)
    if manifest.imported is None:
        yield "git", lambda: _git(settings, manifest)
    yield "DVC", lambda: _dvc(settings, desired, manifest)
    yield "Hub", lambda: _hub(settings, manifest, version)


def _index(manifest: Manifest, version: Version) -> str | None:
    """Whether the card's index says what the manifest does."""
    true = version_of(manifest, version.number, version.commit).to_index()
    said = version.to_index()
    # What a training took is in the index since a later release of Conceptry.
    keys = (true.keys() | said.keys()) - ({"seconds"} - said.keys())
    wrong = [key for key in sorted(keys) if true.get(key) != said.get(key)]
    return f"the card on main says another {', '.join(wrong)} than concept.json" if wrong else None


def _fingerprint(manifest: Manifest) -> str | None:
    """Whether the inputs that the manifest names give its fingerprint."""
    spec = _spec(manifest)
    base = BaseModel(manifest.base_model, manifest.base_digest, manifest.recipe, spec.resolution or 0)
    images = [ImageRef(path, md5) for path, md5 in manifest.images.items()]
    made = training_fingerprint(spec, images, base, manifest.retrain)
    return None if made == manifest.fingerprint else f"its inputs give {made[:12]}, not {manifest.fingerprint[:12]}"


def _git(settings: Settings, manifest: Manifest) -> str | None:
    """Whether its commit asks for these images and these training keys."""
    sources = git.read_concepts(state.mirror(settings), manifest.commit)
    concept = parse_sources([source for source in sources if source.name == manifest.name]).get(manifest.name)
    if concept is None or concept.spec is None:
        return f"commit {manifest.commit[:8]} does not hold it"
    if concept.dvc_md5 != manifest.dvc_md5:
        return f"images.dvc at {manifest.commit[:8]} is {concept.dvc_md5}, not {manifest.dvc_md5}"
    spec = _spec(manifest)
    base = BaseModel(manifest.base_model, manifest.base_digest, manifest.recipe, spec.resolution or 0)
    asked, trained = training_keys(concept.spec, base), training_keys(spec, base)
    wrong = [key for key in asked if asked[key] != trained[key]]
    return f"concept.yaml at {manifest.commit[:8]} has another {', '.join(wrong)}" if wrong else None


def _dvc(settings: Settings, desired: Desired, manifest: Manifest) -> str | None:
    """Whether the remote holds every picture with its md5; every byte is read."""
    with TemporaryDirectory(prefix="conceptry-verify-") as folder:
        destination = Path(folder) / "images"
        dvc.fetch_images(
            state.mirror(settings), desired.revision, manifest.dvc_md5, None, destination, concept=manifest.name
        )
        there = {
            path.relative_to(destination).as_posix(): _digest(path, "md5")
            for path in destination.rglob("*")
            if path.is_file()
        }
    return None if there == manifest.images else "the pictures are not those of concept.json"


def _hub(settings: Settings, manifest: Manifest, version: Version) -> str | None:
    """Whether every file of the version is there with its sha256, and no other; every byte is read."""
    with TemporaryDirectory(prefix="conceptry-verify-") as folder:
        place = hub.download(state.target(settings), manifest.name, version.commit, Path(folder) / "version")
        there = {
            path.relative_to(place).as_posix(): _digest(path, "sha256")
            for path in place.rglob("*")
            if path.is_file() and ".cache" not in path.relative_to(place).parts
        }
    there = {path: digest for path, digest in there.items() if path not in (MANIFEST, KEPT)}
    keys = there.keys() | manifest.files.keys()
    wrong = [path for path in sorted(keys) if there.get(path) != manifest.files.get(path)]
    more = ", ..." if len(wrong) > 5 else ""
    return f"other bytes than concept.json says: {', '.join(wrong[:5])}{more}" if wrong else None


def _spec(manifest: Manifest) -> ConceptSpec:
    try:
        return ConceptSpec.model_validate(manifest.spec)
    except ValidationError as error:
        what = f"the concept.yaml in its manifest cannot be read ({error.error_count()} mistakes)"
        raise ConceptryError(what) from None


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()
