"""The concepts that git describes, read from the mirror of the origin."""

from contextlib import suppress
from pathlib import Path

from conceptry.desired import Desired, parse_sources
from conceptry.errors import SettingsError, TransientError
from conceptry.installation import Installation
from tasks.git.repository import find_registries, head, mirror, read_bases, read_concepts, resolve


def read_desired(installation: Installation, revision: str | None = None, only: str | None = None) -> Desired:
    """Fetch the origin and return the concepts at the head of its branch; their images are not listed yet.

    Args:
        installation: Installation, for the origin and its branch.
        revision: Commit, branch or tag to read instead.
        only: Name of the only concept to return; tokens are still checked for uniqueness over all concepts.

    Raises:
        SettingsError: the origin is no repository, or has no such branch or revision.
        TransientError: the origin could not be reached.
    """
    with suppress(TransientError):
        return _read(installation, revision, only)
    # Commands run without retries, and `mirror` replaces what was found damaged while it was read.
    return _read(installation, revision, only)


def _read(installation: Installation, revision: str | None, only: str | None) -> Desired:
    settings = installation.settings
    bare = mirror(settings.repo, installation.work.mirror, login=settings.repo_login)
    commit = resolve(bare, revision) if revision else head(bare, settings.branch)
    concepts = parse_sources(read_concepts(installation.mirror, commit), read_bases(installation.mirror, commit))
    if not concepts and not settings.path:
        _check_elsewhere(bare, commit)
    return Desired(commit, {name: concept for name, concept in concepts.items() if only in (None, name)})


def _check_elsewhere(bare: Path, commit: str) -> None:
    """Check that the concepts of a repository without any at its top are not in one of its folders."""
    if elsewhere := find_registries(bare, commit):
        places = ", ".join(f"{folder}/concepts" for folder in elsewhere[:3])
        raise SettingsError(
            f"the repository has no concepts/ at its top, but {places}",
            next_step=f"set CONCEPTRY_PATH={elsewhere[0]}, or CONCEPTRY_PATH=. if there are to be no concepts",
        )
