"""Permanent deletion of versions and concepts."""

from conceptry.version import Version
from tasks.hub.client import translate_errors
from tasks.hub.repo_versions import tag_name
from tasks.hub.session import HubSession


def delete_version(session: HubSession, name: str, version: Version) -> None:
    """Delete a version's branch and tag; the caller has removed it from the index, or the watcher would repair them.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, f"deleting {version.name}", name=name):
        session.delete_branch(name, version.name)
        session.delete_tag(name, tag_name(version.fingerprint))


def delete_concept(session: HubSession, name: str) -> None:
    """Delete a concept's model repo and Space, with all versions, permanently.

    Raises:
        HubError: the Hub refused, or Conceptry did not create the repo.
        TransientError: the Hub could not be reached.
    """
    repo = session.target.repo(name)
    with translate_errors(session.target, "deleting its repos", name=name):
        session.api.delete_repo(repo, repo_type="space", missing_ok=True)
        session.api.delete_repo(repo, missing_ok=True)
    session.forget(name)
    session.forget(name, "space")
