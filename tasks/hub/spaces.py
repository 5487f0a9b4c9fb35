"""Pushing a rendered Space to the Hub, pausing and waking it."""

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from conceptry.errors import ConceptryError, HubError
from conceptry.markdown import dump_front_matter, split_front_matter
from tasks.hub.client import HubTarget, telling
from tasks.hub.listing import KEY, PAUSED
from tasks.hub.refs import read_file

README = "README.md"
KEPT = ".gitattributes"
Equip = Callable[[HfApi, str], object]
"""Gives a Space, by its id, what it is to run with."""


def push_space(
    target: HubTarget,
    name: str,
    folder: Path,
    release: str | None,
    serving: str,
    *,
    revision: str | None = None,
    private: bool = False,
    equip: Equip | None = None,
) -> str:
    """Make the concept's Space what a rendered folder says, in one commit; pause it when nothing is released.

    A Space that cannot be equipped serves the release all the same, but does not say that it is as it should be: so the
    next plan sees to it again.

    Args:
        target: The Hub and the owner.
        name: The concept.
        folder: A folder made by `render_space`.
        release: The version that it serves, or None.
        serving: The serving fingerprint that it was rendered from.
        revision: The commit of the model repo that it serves.
        private: Whether a new Space is visible to its owner only.
        equip: Is called before the Space starts.

    Returns:
        The Space's address.

    Raises:
        HubError: the Hub refused, or a Space of this name is not ours.
        TransientError: network or server trouble; the same call goes on.
    """
    api, repo = target.api(), target.repo(name)
    trouble: ConceptryError | None = None
    with telling(target, "pushing its Space", name=name):
        api.create_repo(repo, repo_type="space", space_sdk="gradio", private=private, exist_ok=True)
        head = api.list_repo_refs(repo, repo_type="space").branches[0].target_commit
        there = set(api.list_repo_files(repo, repo_type="space", revision=head))
        _check_ours(api, repo, name, head, there)
        if equip is not None:
            try:
                with telling(target, "giving its Space hardware", name=name):
                    equip(api, repo)
            except ConceptryError as error:
                trouble = error
        files = space_files(folder, release, None if trouble else serving, revision)
        api.create_commit(
            repo,
            [
                *(CommitOperationAdd(path, file) for path, file in files.items()),
                *(CommitOperationDelete(path) for path in sorted(there - set(files) - {KEPT})),
            ],
            repo_type="space",
            commit_message=f"Serve {release}" if release else "Serve nothing",
        )
        _run(api, repo, run=release is not None)
    if trouble is not None:
        raise trouble
    return f"{target.endpoint}/spaces/{repo}"


def space_files(
    folder: Path, release: str | None, serving: str | None, revision: str | None
) -> dict[str, bytes | Path]:
    """All files of a Space as they are pushed: those of a rendered folder, its README saying what it serves."""
    files: dict[str, bytes | Path] = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    said = {"release": release, "revision": revision, "serving": serving}
    readme = _stamped((folder / README).read_text(encoding="utf-8"), said)
    return {**files, README: readme.encode()}


def pause_space(target: HubTarget, name: str) -> None:
    """Let a concept's Space say that it serves nothing, and pause it: for a concept that is no longer in git.

    Raises:
        HubError, TransientError: as `push_space`.
    """
    api, repo = target.api(), target.repo(name)
    with telling(target, "pausing its Space", name=name):
        try:
            head = api.list_repo_refs(repo, repo_type="space").branches[0].target_commit
        except RepositoryNotFoundError:
            return
        content = read_file(api, repo, README, head, repo_type="space")
        _check_ours(api, repo, name, head, {README} if content else set())
        readme = _stamped((content or b"").decode("utf-8", "replace"), {"release": None})
        api.create_commit(
            repo,
            [CommitOperationAdd(README, readme.encode())],
            repo_type="space",
            commit_message="Serve nothing",
            parent_commit=head,
        )
        _run(api, repo, run=False)


def _check_ours(api: HfApi, repo: str, name: str, head: str, there: set[str]) -> None:
    """Refuse to write over a Space that somebody made by hand.

    A Space that we have made and not filled yet holds nothing but what the Hub puts into a new one.
    """
    if there <= {KEPT}:
        return
    readme = read_file(api, repo, README, head, repo_type="space") if README in there else None
    data, _ = split_front_matter((readme or b"").decode("utf-8", "replace"))
    if KEY not in data and there - {KEPT, README}:
        what = f"the Space {repo} was not made by Conceptry"
        raise HubError(what, concept=name, next_step="choose another name for the concept, or delete that Space")


def _stamped(readme: str, said: dict[str, str | None]) -> str:
    data, text = split_front_matter(readme)
    return dump_front_matter({**data, KEY: said}) + text


def _run(api: HfApi, repo: str, *, run: bool) -> None:
    """Pause a Space that serves nothing; wake one that was paused. A Hub that runs no Spaces is fine as well."""
    try:
        stage = api.get_space_runtime(repo).stage
        if run and stage in PAUSED:
            api.restart_space(repo)
        elif not run and stage not in PAUSED:
            api.pause_space(repo)
    except HfHubHTTPError as error:
        if error.response.status_code not in (404, 501):
            raise
