"""Staging branches, on which versions are put together before they are published; see tasks.hub.publish."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

from huggingface_hub.errors import RevisionNotFoundError

from tasks.hub.client import translate_errors
from tasks.hub.clock import hub_time
from tasks.hub.repo_versions import STAGING, published_commit
from tasks.hub.session import HubSession

STALE = timedelta(days=1)
"""Age of a staged commit at which no publisher resumes it; a retry of its run stages its bundle again."""


def delete_stale_staging(
    session: HubSession,
    name: str,
    active: Callable[[], Collection[str]] = lambda: (),
    *,
    older_than: timedelta = STALE,
    delete: bool = True,
) -> tuple[str, ...]:
    """Delete the staging branches that no run resumes, and return them.

    These are branches of published versions, whose publisher was killed, and old ones of runs that are not active.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        active: Returns the fingerprints of active runs; called only if there is such a branch.
        older_than: Age of the branch's last commit.
        delete: Delete them; otherwise only list them.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    with translate_errors(session.target, "deleting its staging branches", name=name):
        refs = session.refs(name)
        staged = [branch for branch in sorted(refs.branches) if branch.startswith(STAGING)] if refs else []
        if refs is None or not staged:
            return ()
        published = [one for one in staged if published_commit(session, name, refs, one.removeprefix(STAGING))]
        waiting = {f"{STAGING}{fingerprint}" for fingerprint in active()}
        left = [one for one in staged if one not in waiting and one not in published]
        moment = hub_time(session) - older_than
        stale = [*published, *(one for one in left if _committed(session, name, one) < moment)]
        for branch in stale if delete else ():
            session.delete_branch(name, branch)
    return tuple(stale)


def _committed(session: HubSession, name: str, branch: str) -> datetime:
    """Return when the last commit of a branch was made; the present if its publisher has just deleted it."""
    try:
        return session.api.list_repo_commits(session.target.repo(name), revision=branch)[0].created_at
    except RevisionNotFoundError:
        return datetime.now(UTC)
