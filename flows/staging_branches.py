"""Staging branches of runs that are never started again."""

from collections.abc import Collection, Iterable
from functools import cache, partial

from conceptry.installation import Installation
from tasks import hub
from tasks.locks import hold, run_id
from tasks.prefect_address import server_address


def clean_staging(installation: Installation, names: Iterable[str], *, delete: bool) -> dict[str, tuple[str, ...]]:
    """Find, and with `delete` remove, staging branches that no run resumes; return them by concept.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    session, found = hub.HubSession(installation.hub), {}
    active = cache(partial(_active, installation))
    for name in sorted(set(names)):
        with hold(installation.work.concept_lock(name), run_id()):
            branches = hub.delete_stale_staging(session, name, active, delete=delete)
        if branches:
            found[name] = branches
    return found


def _active(installation: Installation) -> Collection[str]:
    """Return the fingerprints of active training runs; without a Prefect server there are none."""
    if not server_address():
        return ()
    from flows.training_runs import training_runs  # imports Prefect

    with training_runs(installation) as runs:
        return {str(run.parameters.get("fingerprint")) for run in runs.active()}
