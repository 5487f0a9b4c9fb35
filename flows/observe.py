"""Observe: read what git asks for and what the Hub holds. Nothing is written."""

from dataclasses import dataclass

from conceptry.concept import Desired
from conceptry.installation import Installation
from conceptry.version import Live, LiveConcept
from flows.steps import Steps
from tasks.hub import HubSession


@dataclass(frozen=True)
class Context:
    """What every part of one reconcile works with.

    Attributes:
        installation: Where it reads, writes and works.
        session: Its conversation with the Hub.
        steps: DIRECT, or PREFECT within a flow.
    """

    installation: Installation
    session: HubSession
    steps: Steps

    @classmethod
    def of(cls, installation: Installation, steps: Steps) -> "Context":
        """Begin a conversation with the installation's Hub."""
        return cls(installation, HubSession(installation.hub), steps)


@dataclass(frozen=True)
class Observation:
    """What git asks for and what the Hub holds, read in one pass."""

    desired: Desired
    live: Live


def observe(context: Context, revision: str | None = None) -> Observation:
    """Read git at the head of the branch, or at a revision, and all concepts on the Hub.

    Raises:
        SettingsError: the origin, its branch or the revision does not exist.
        HubError, TransientError: the Hub or the origin could not be read.
    """
    steps, installation = context.steps, context.installation
    desired = steps.list_images(installation, steps.read_git(installation, revision), ())
    live = steps.list_hub(context.session)
    return Observation(desired, steps.find_drift(installation, context.session, desired, live))


def observe_concept(context: Context, name: str) -> tuple[Desired, LiveConcept]:
    """Read one concept in git at the head of the branch, and its own repos on the Hub.

    Raises:
        SettingsError, HubError, TransientError: as `observe`.
    """
    steps, installation = context.steps, context.installation
    desired = steps.list_images(installation, steps.read_git(installation, only=name), ())
    return desired, steps.read_hub(context.session, name)
