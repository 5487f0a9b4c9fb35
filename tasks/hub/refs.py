"""What the branches and tags of a model repo say: which versions there are, whatever any card claims."""

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError
from pydantic import ValidationError

from conceptry.concept import BaseModel, ConceptSpec, ImageRef
from conceptry.errors import HubError
from conceptry.fingerprint import content_keys, training_keys
from conceptry.version import Manifest, Version
from tasks.hub.client import HubTarget, telling

MANIFEST = "concept.json"
_BRANCH = re.compile(r"v([1-9][0-9]*)")


@dataclass(frozen=True)
class Refs:
    """Branches and tags of a repo with the commits they point at."""

    branches: dict[str, str]
    tags: dict[str, str]

    @property
    def versions(self) -> dict[int, str]:
        """Commit of each branch vN, by number, in order."""
        numbers = {int(match[1]): name for name in self.branches if (match := _BRANCH.fullmatch(name))}
        return {number: self.branches[numbers[number]] for number in sorted(numbers)}

    def number_at(self, commit: str) -> int | None:
        """The version whose branch points at a commit."""
        return next((number for number, target in self.versions.items() if target == commit), None)

    @property
    def next_number(self) -> int:
        """The number after the highest one."""
        return max(self.versions, default=0) + 1


def tag_name(fingerprint: str) -> str:
    """The tag that marks the commit of a fingerprint for good."""
    return f"fp-{fingerprint[:16]}"


def staging_name(fingerprint: str) -> str:
    """The branch on which a version is put together before anybody can see it as one."""
    return f"staging/{fingerprint}"


def read_refs(api: HfApi, repo: str) -> Refs:
    """Look at a model repo's branches and tags."""
    refs = api.list_repo_refs(repo)
    return Refs(
        {branch.name: branch.target_commit for branch in refs.branches},
        {tag.name: tag.target_commit for tag in refs.tags},
    )


def read_file(api: HfApi, repo: str, path: str, commit: str, *, repo_type: str = "model") -> bytes | None:
    """Read one small file at a commit, past the cache of this machine; None when it is not there."""
    with tempfile.TemporaryDirectory(prefix="conceptry-") as folder:
        try:
            local = api.hf_hub_download(repo, path, revision=commit, repo_type=repo_type, local_dir=folder)
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None
        return Path(local).read_bytes()


def read_manifest(api: HfApi, repo: str, commit: str) -> Manifest | None:
    """Read concept.json at a commit; None when there is none.

    Raises:
        HubError: it cannot be read, so somebody else wrote it.
    """
    content = read_file(api, repo, MANIFEST, commit)
    if content is None:
        return None
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{MANIFEST} of {repo} at {commit[:10]} cannot be read ({error.error_count()} mistakes): "
        next_step = "update Conceptry if a later release wrote it; else move the branch back, or delete it"
        raise HubError(f"{what}{where}: {first['msg'].removeprefix('Value error, ')}", next_step=next_step) from error


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


def find_version(target: HubTarget, name: str, fingerprint: str) -> Version | None:
    """Look for a published version of a fingerprint by its tag; asks the repo itself, not the index.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, f"looking for {tag_name(fingerprint)}", name=name):
        try:
            refs = read_refs(api, repo)
        except RepositoryNotFoundError:
            return None
        commit = refs.tags.get(tag_name(fingerprint))
        number = refs.number_at(commit) if commit else None
        if commit is None or number is None:
            return None
        manifest = read_manifest(api, repo, commit)
    return version_of(manifest, number, commit) if manifest and manifest.fingerprint == fingerprint else None


def read_versions(target: HubTarget, name: str, known: Iterable[Version] = ()) -> tuple[Version, ...]:
    """Read every version of a concept from its branches: for repair, or when the index is not to be trusted.

    Of the `known` ones those are not read again whose branch has not moved.

    Raises:
        HubError, TransientError: the Hub could not be asked, or a version's manifest cannot be read.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, "reading its versions", name=name):
        try:
            refs = read_refs(api, repo)
        except RepositoryNotFoundError:
            return ()
        return versions_at(api, repo, refs, {version.number: version for version in known})


def versions_at(api: HfApi, repo: str, refs: Refs, known: dict[int, Version]) -> tuple[Version, ...]:
    """The versions that the branches hold; what is `known` and has not moved is not read again."""
    versions = []
    for number, commit in refs.versions.items():
        version = known.get(number)
        if version is None or version.commit != commit:
            manifest = read_manifest(api, repo, commit)
            # A branch that happens to be called v7 and holds no manifest is somebody else's.
            version = version_of(manifest, number, commit) if manifest else None
        if version is not None:
            versions.append(version)
    return tuple(versions)


def read_bytes(target: HubTarget, name: str, path: str, commit: str) -> bytes:
    """Read one small file of a version.

    Raises:
        HubError: it is not there, or the Hub refused.
        TransientError: the Hub could not be asked.
    """
    with telling(target, f"reading {path}", name=name):
        content = read_file(target.api(), target.repo(name), path, commit)
    if content is None:
        what = f"{target.repo(name)} has no {path} at {commit[:8]}"
        raise HubError(what, concept=name, next_step=f"`conceptry verify {name}` tells what else is missing")
    return content


def releases(target: HubTarget, name: str) -> list[tuple[str, datetime, str, str]]:
    """What main of the model repo followed: commit, moment, title and author of each change, the newest first.

    Raises:
        HubError, TransientError: the Hub could not be asked.
    """
    with telling(target, "reading its releases", name=name):
        try:
            commits = target.api().list_repo_commits(target.repo(name))
        except RepositoryNotFoundError:
            return []
    return [
        (commit.commit_id, commit.created_at, commit.title, ", ".join(commit.authors))
        for commit in commits
        if commit.title.startswith("Release ")
    ]
