"""Permanent deletion of versions and concepts.

    1. mark      tag deleted-vN-<first 12 of the commit>, at the head of main; from now on no reader counts the version
    2. index     main without these versions, its parent compared
    3. delete    branch vN, tag fp-..., staging branch

Crash safety: before step 1 nothing has happened; after it `Refs.versions` leaves the version out, and the repair of
refs does steps 2 and 3. The mark stays, so that no number is given twice and a process that listed the version before
does not create its branch again. Main decides between a deletion and a release that happen at once, because both commit
to it with the parent compared: the version that main describes keeps its branch and loses its mark.
"""

from collections.abc import Sequence

from conceptry.version import Version
from tasks.hub.client import translate_errors
from tasks.hub.index import update_main
from tasks.hub.ownership import KINDS, prove_ownership
from tasks.hub.repair import finish_deletions
from tasks.hub.repo_versions import deletion_mark
from tasks.hub.session import HubSession


def delete_versions(session: HubSession, name: str, versions: Sequence[Version]) -> tuple[Version, ...]:
    """Delete versions with their branches and tags; finish deletions that were interrupted, too.

    Returns:
        The deleted ones of `versions`; one that was released in the meantime is left out.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached; the next call deletes the rest.
    """
    with translate_errors(session.target, "deleting versions", name=name):
        session.forget(name)
        refs = session.refs(name)
        if refs is None:
            return ()
        # A branch that was moved manually is repaired first.
        there = [version for version in versions if refs.branches.get(version.name, version.commit) == version.commit]
        for version in there:
            session.create_tag(name, deletion_mark(version), refs.branches["main"])
        marked = session.refs(name)
        if marked is None or not marked.deleted:
            return ()
        update_main(session, name, keep=True)
        finish_deletions(session, name)
        refs = session.refs(name)
        return tuple(version for version in there if refs and refs.is_deleted(version.commit, version.number))


def delete_concept(session: HubSession, name: str) -> None:
    """Delete a concept's model repo and Space, with all versions, permanently.

    Raises:
        HubError: the Hub refused, or Conceptry did not create the repo.
        TransientError: the Hub could not be reached.
    """
    repo = session.target.repo(name)
    with translate_errors(session.target, "deleting its repos", name=name):
        for kind in KINDS:
            prove_ownership(session, name, kind, signed=True)
        session.api.delete_repo(repo, repo_type="space", missing_ok=True)
        session.api.delete_repo(repo, missing_ok=True)
    session.forget(name)
    session.forget(name, "space")
