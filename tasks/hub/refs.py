"""What the branches and tags of a model repo say: which versions there are, whatever any card claims."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from huggingface_hub.errors import RepositoryNotFoundError
from pydantic import ValidationError

from conceptry.concept import BaseModel, ConceptSpec, ImageRef
from conceptry.errors import HubError
from conceptry.fingerprint import content_keys, training_keys
from conceptry.version import Manifest, Version
from tasks.hub.client import translate_errors
from tasks.hub.session import HubSession, Refs


def tag_name(fingerprint: str) -> str:
    """Return the tag that marks the commit of a fingerprint for good."""
    return f"fp-{fingerprint[:16]}"


def staging_name(fingerprint: str) -> str:
    """Return the branch on which a version is put together before it is visible as one."""
    return f"staging/{fingerprint}"


def version_of(manifest: Manifest, number: int, revision: str) -> Version:
    """Turn a manifest into what the index keeps of it; `revision` is the Hub's commit of the branch vN."""
    images = [ImageRef(path, md5) for path, md5 in manifest.images.items()]
    metrics = manifest.metrics
    total = metrics.seconds.get("total")
    return Version(
        number=number,
        fingerprint=manifest.fingerprint,
        inputs=manifest.inputs,
        commit=revision,
        gate=manifest.gate,
        dvc_md5=manifest.dvc_md5,
        created=manifest.created,
        retrain=manifest.retrain,
        loss=metrics.loss.trained,
        seconds=None if total is None else round(total, 1),
        clip=metrics.clip_image.trained if metrics.clip_image else None,
        images=content_keys(images),
        spec=_training_keys(manifest),
    )


def _training_keys(manifest: Manifest) -> dict[str, object]:
    """The keys that a plan compares; empty when another Conceptry wrote a concept.yaml that this one cannot read."""
    try:
        spec = ConceptSpec.model_validate(manifest.spec)
    except ValidationError:
        return {}
    # The manifest's spec has the effective resolution filled in, so the preset's own is not needed.
    base = BaseModel(manifest.base_model, manifest.base_digest, manifest.recipe, spec.resolution or 0)
    return training_keys(spec, base)


def find_version(session: HubSession, name: str, fingerprint: str) -> Version | None:
    """Look for a published version of a fingerprint by its tag; asks the repo itself, not the index.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    with translate_errors(session.target, f"looking for {tag_name(fingerprint)}", name=name):
        refs = session.refs(name)
        commit = refs.tags.get(tag_name(fingerprint)) if refs else None
        number = refs.number_at(commit) if refs and commit else None
        if commit is None or number is None:
            return None
        manifest = session.manifest(name, commit)
    return version_of(manifest, number, commit) if manifest and manifest.fingerprint == fingerprint else None


def read_versions(session: HubSession, name: str, known: Iterable[Version] = ()) -> tuple[Version, ...]:
    """Read every version of a concept from its branches: for repair, or when the index cannot be trusted.

    Of the `known` ones those are not read again whose branch has not moved.

    Raises:
        HubError, TransientError: the Hub could not be asked, or a version's manifest cannot be read.
    """
    with translate_errors(session.target, "reading its versions", name=name):
        refs = session.refs(name)
        return versions_at(session, name, refs, {version.number: version for version in known}) if refs else ()


def versions_at(session: HubSession, name: str, refs: Refs, known: Mapping[int, Version]) -> tuple[Version, ...]:
    """Return the versions that the branches hold; what is `known` and has not moved is not read again."""
    versions = []
    for number, commit in refs.versions.items():
        version = known.get(number)
        if version is None or version.commit != commit:
            manifest = session.manifest(name, commit)
            # A branch that happens to be called v7 and holds no manifest is not ours.
            version = version_of(manifest, number, commit) if manifest else None
        if version is not None:
            versions.append(version)
    return tuple(versions)


def read_bytes(session: HubSession, name: str, path: str, commit: str) -> bytes:
    """Read one small file of a version.

    Raises:
        HubError: it is not there, or the Hub refused.
        TransientError: the Hub could not be asked.
    """
    with translate_errors(session.target, f"reading {path}", name=name):
        content = session.read(name, path, commit)
    if content is None:
        what = f"{session.target.repo(name)} has no {path} at {commit[:8]}"
        raise HubError(what, concept=name, next_step=f"`conceptry verify {name}` tells what else is missing")
    return content


def read_manifest(session: HubSession, name: str, version: Version) -> Manifest:
    """Read concept.json of a version.

    Raises:
        HubError: there is none, or it cannot be read.
        TransientError: the Hub could not be asked.
    """
    with translate_errors(session.target, f"reading {version.name}", name=name):
        manifest = session.manifest(name, version.commit)
    if manifest is None:
        raise HubError(f"{version.name} has no concept.json", concept=name, next_step="release another version")
    return manifest


def releases(session: HubSession, name: str) -> list[tuple[str, datetime, str, str]]:
    """List what main of the model repo described: commit, moment, title and author of each change, the newest first.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    with translate_errors(session.target, "reading its releases", name=name):
        try:
            commits = session.api.list_repo_commits(session.target.repo(name))
        except RepositoryNotFoundError:
            return []
    return [
        (commit.commit_id, commit.created_at, commit.title, ", ".join(commit.authors))
        for commit in commits
        if commit.title.startswith("Release ")
    ]
