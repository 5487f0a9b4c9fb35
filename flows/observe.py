"""Observe: read desired and live state. Writes nothing."""

from dataclasses import dataclass

from conceptry.desired import Desired
from conceptry.installation import Installation
from conceptry.version import Live, LiveConcept
from flows.steps import Steps
from tasks.hub import HubSession


@dataclass(frozen=True)
class Context:
    """Dependencies of one reconcile.

    Attributes:
        installation: Settings of the installation.
        session: Session with the Hub, with its cache.
        steps: I/O functions: DIRECT, or PREFECT within a flow.
    """

    installation: Installation
    session: HubSession
    steps: Steps

    @classmethod
    def of(cls, installation: Installation, steps: Steps) -> "Context":
        """Return a context with a new session with the installation's Hub."""
        return cls(installation, HubSession(installation.hub), steps)


@dataclass(frozen=True)
class Observation:
    """Desired and live state, read in one pass."""

    desired: Desired
    live: Live


def observe(context: Context, revision: str | None = None, *, partial: bool = False) -> Observation:
    """Read the desired state at the head of the branch, or at a revision, and the live state of all concepts.

    Args:
        context: Dependencies of the reconcile.
        revision: Git commit; None for the head of the branch.
        partial: Whether a limit of the Hub's rates (429) may leave concepts unread; what is to be taken down shows.

    Raises:
        SettingsError: the origin, its branch or the revision does not exist.
        HubError, TransientError: the Hub or the origin could not be read.
    """
    steps, installation = context.steps, context.installation
    desired = steps.list_images(installation, steps.read_git(installation, revision), ())
    live = steps.list_hub(context.session, tuple(desired.concepts), partial=partial)
    return Observation(desired, steps.find_drift(installation, context.session, desired, live))


def observe_concept(context: Context, name: str) -> tuple[Desired, LiveConcept]:
    """Read the desired state of one concept at the head of the branch, and its live state from its own repos.

    Raises:
        SettingsError, HubError, TransientError: as `observe`.
    """
    steps, installation = context.steps, context.installation
    desired = steps.list_images(installation, steps.read_git(installation, only=name), ())
    return desired, steps.read_hub(context.session, name)
