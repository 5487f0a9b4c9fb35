"""Versions of a model repo, read from its branches and tags, independent of any card."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from huggingface_hub.errors import RepositoryNotFoundError
from pydantic import ValidationError

from conceptry.concept import BaseModel, ConceptSpec
from conceptry.desired import ImageRef
from conceptry.errors import HubError
from conceptry.fingerprint import content_keys, training_keys
from conceptry.judgement import with_judgement
from conceptry.version import Manifest, Version
from tasks.hub.client import translate_errors
from tasks.hub.ownership import RELEASED
from tasks.hub.session import HubSession, Refs

STAGING = "staging/"


def tag_name(fingerprint: str) -> str:
    """Return the tag that permanently marks the commit of a fingerprint."""
    return f"fp-{fingerprint[:16]}"


def staging_name(fingerprint: str) -> str:
    """Return the branch on which a version is staged before it is published."""
    return f"{STAGING}{fingerprint}"


def deletion_mark(version: Version) -> str:
    """Return the tag that records that the deletion of a version has begun; `Refs.deleted` reads it."""
    return f"deleted-{version.name}-{version.commit[:12]}"


def manifest_of_tag(session: HubSession, name: str, tag: str, commit: str) -> Manifest | None:
    """Return the manifest at the commit of a tag fp-..., None if it is not of that fingerprint: a tag made by hand."""
    try:
        manifest = session.manifest(name, commit)
    except HubError:
        return None
    return manifest if manifest is not None and tag_name(manifest.fingerprint) == tag else None


def published_commit(session: HubSession, name: str, refs: Refs, fingerprint: str) -> str | None:
    """Return the commit of a fingerprint's tag; None without one, if a person made it, or if its version is deleted."""
    tag = tag_name(fingerprint)
    commit = refs.tags.get(tag)
    if commit is None or is_deleted(refs, commit):
        return None
    return commit if manifest_of_tag(session, name, tag, commit) else None


def is_deleted(refs: Refs, commit: str) -> bool:
    """Whether a commit is that of a deleted version, and of no other one."""
    return refs.is_deleted(commit) and refs.number_at(commit) is None


def version_of(manifest: Manifest, number: int, revision: str) -> Version:
    """Return the entry of the index for a manifest; `revision` is the Hub's commit of the branch vN."""
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
        gate_reason=manifest.deciding_reason,
        evidence=manifest.evidence,
        judged=manifest.judged,
        clip=metrics.clip_image.trained if metrics.clip_image else None,
        images=content_keys(images),
        spec=_training_keys(manifest),
    )


def _training_keys(manifest: Manifest) -> dict[str, object]:
    """Return the keys that a plan compares; empty if this release of Conceptry cannot parse the manifest's spec."""
    try:
        spec = ConceptSpec.model_validate(manifest.spec)
    except ValidationError:
        return {}
    # The manifest's spec has the effective resolution filled in, so the preset's default is not needed.
    base = BaseModel(manifest.base_model, manifest.base_digest, manifest.recipe, spec.resolution or 0)
    return training_keys(spec, base)


def find_version(session: HubSession, name: str, fingerprint: str) -> Version | None:
    """Return the published version of a fingerprint, found by its tag and not by the index; None if there is none.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, f"looking for {tag_name(fingerprint)}", name=name):
        refs = session.refs(name)
        commit = refs.tags.get(tag_name(fingerprint)) if refs else None
        number = refs.number_at(commit) if refs and commit else None
        if commit is None or number is None:
            return None
        manifest = manifest_of_tag(session, name, tag_name(fingerprint), commit)
    return version_of(manifest, number, commit) if manifest and manifest.fingerprint == fingerprint else None


def read_versions(session: HubSession, name: str, known: Iterable[Version] = ()) -> tuple[Version, ...]:
    """Return every version of a concept, read from its branches: for repair, or if the index cannot be used.

    A `known` version is not read again if its branch has not moved.

    Raises:
        HubError, TransientError: the Hub could not be reached, or a version's manifest cannot be parsed.
    """
    with translate_errors(session.target, "reading its versions", name=name):
        refs = session.refs(name)
        return versions_at(session, name, refs, {version.number: version for version in known}) if refs else ()


def versions_at(session: HubSession, name: str, refs: Refs, known: Mapping[int, Version]) -> tuple[Version, ...]:
    """Return the versions of all branches; a `known` version is not read again if its branch has not moved."""
    versions = []
    for number, commit in refs.versions.items():
        version = known.get(number)
        if version is None or version.commit != commit:
            manifest = session.manifest(name, commit)
            # A branch named like a version, without a manifest, was not made by Conceptry.
            version = version_of(manifest, number, commit) if manifest else None
        if version is not None:
            versions.append(version)
    return tuple(versions)


def read_bytes(session: HubSession, name: str, path: str, commit: str) -> bytes:
    """Return the content of one small file of a version.

    Raises:
        HubError: the file does not exist, or the Hub refused.
        TransientError: the Hub could not be reached.
    """
    with translate_errors(session.target, f"reading {path}", name=name):
        content = session.read(name, path, commit)
    if content is None:
        what = f"{session.target.repo(name)} has no {path} at {commit[:8]}"
        raise HubError(what, concept=name, next_step=f"run `conceptry verify {name}` to find all missing files")
    return content


def read_manifest(session: HubSession, name: str, version: Version) -> Manifest:
    """Return the manifest of a version, its concept.json, with the verdict by which it was judged last.

    Raises:
        HubError: the manifest is missing or cannot be parsed.
        TransientError: the Hub could not be reached.
    """
    with translate_errors(session.target, f"reading {version.name}", name=name):
        manifest = session.manifest(name, version.commit)
    if manifest is None:
        raise HubError(f"{version.name} has no concept.json", concept=name, next_step="release another version")
    return with_judgement(manifest, version.judged)


def releases(session: HubSession, name: str) -> list[tuple[str, datetime, str, str]]:
    """Return the releases of a concept, the commits on main: commit, time, title and author of each, the newest first.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "reading its releases", name=name):
        try:
            commits = session.api.list_repo_commits(session.target.repo(name))
        except RepositoryNotFoundError:
            return []
    return [
        (commit.commit_id, commit.created_at, commit.title, ", ".join(commit.authors))
        for commit in commits
        if commit.title.startswith(RELEASED)
    ]
