"""Judgement of published versions by a changed gate: verdicts in the index on main; the versions stay as they are."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from conceptry.errors import HubError
from conceptry.version import Thresholds, Version
from tasks.hub.index import update_main
from tasks.hub.repo_versions import read_manifest, version_of
from tasks.hub.session import HubSession

_logger = logging.getLogger(__name__)


def judge_again(session: HubSession, name: str, gates: Mapping[int, Thresholds]) -> tuple[Version, ...]:
    """Judge versions from their recorded metrics, and write the verdicts to main in one commit.

    A version whose metrics cannot be read keeps its verdict and loses its thresholds, so that it is not judged again.

    Args:
        session: Session with the Hub.
        name: Name of the concept.
        gates: Thresholds to judge by, by number of the version.

    Returns:
        All versions, sorted by number.

    Raises:
        HubError, TransientError: as `update_main`.
    """

    def revise(version: Version) -> Version:
        gate = gates.get(version.number)
        return version if gate is None or version.judged is None else _judged(session, name, version, gate)

    return update_main(session, name, keep=True, revise=revise)


def _judged(session: HubSession, name: str, version: Version, gate: Thresholds) -> Version:
    try:
        manifest = read_manifest(session, name, replace(version, judged=gate))
    except HubError as error:
        _logger.warning("%s: %s is not judged again: %s", name, version.name, error)
        return replace(version, judged=None)
    return version_of(manifest, version.number, version.commit)
