"""Look: compare desired and live state without a flow run, and say whether there is anything for a watch to do."""

from dataclasses import dataclass

from conceptry.actions import TAKEDOWN, Action, urgency
from conceptry.errors import RateLimitedError
from conceptry.installation import Installation
from flows.observe import Context, observe
from flows.reconcile import compare
from flows.steps import LOOK
from flows.training_runs import TrainingRuns, training_runs


@dataclass(frozen=True)
class Work:
    """What a watch has to do.

    Attributes:
        title: In a few words, as the name of the watch.
        key: Text that is the same as long as the same is to be done.
        urgent: Whether something is to be hidden or taken down.
    """

    title: str
    key: str
    urgent: bool = False


def look(installation: Installation) -> Work | None:
    """Return what a watch has to do; None if git and the Hub agree as far as they can, and the last plan still holds.

    Training runs that lost their process are ended.

    Raises:
        SettingsError: the origin or its branch does not exist.
        HubError, TransientError: the Hub or the origin could not be read.
        httpx.HTTPError: the Prefect server does not respond.
    """
    context = Context.of(installation, LOOK)
    with training_runs(installation, settle=True) as runs:
        try:
            plan = compare(context, observe(context), runs).plan
        except RateLimitedError:
            urgent = _urgent(context, runs)
            if not urgent:
                raise
            return Work(_title(urgent), "; ".join(action.cause for action in urgent), urgent=True)
    due, text = plan.due, plan.to_json()
    if due:
        return Work(_title(due), text, urgency(due[0]) <= TAKEDOWN)
    try:
        known = installation.work.plan.read_text(encoding="utf-8")
    except (OSError, ValueError):
        known = ""
    return None if text == known else Work("plan changed", text)


def _urgent(context: Context, runs: TrainingRuns | None) -> tuple[Action, ...]:
    """Return what is to be hidden or taken down, as far as the Hub's listings show it."""
    return compare(context, observe(context, partial=True), runs).plan.urgent


def _title(due: tuple[Action, ...]) -> str:
    first, more = due[0], len({action.concept for action in due}) - 1
    return f"{first.kind} {first.concept}" + (f" and {more} more" if more else "")
