"""Watch: compare git with the Hub, and start what is needed so that they agree.

    read git -> list the images -> list the Hub -> plan -> trainings as runs of their own, the Spaces at once

It remembers nothing: whatever was missed or interrupted, the next watch sees the difference again. A concept that is
broken stops no other one.
"""

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from conceptry.actions import Action, ActionKind
from conceptry.settings import Settings
from conceptry.version import ActualConcept
from flows import artifacts as report
from flows.events import tell_changes
from flows.outlook import AS_TASKS, Outlook, conclude, current_plan, each, look
from flows.release import bring_about
from flows.runs import hold, run_id, try_hold
from flows.training_runs import Trainings, skip_late, trainings

__all__ = ["current_plan", "watch"]


@flow(name="watch")
def watch() -> State[Any]:
    """Look once, and act on what there is to do."""
    settings, logger = Settings(), get_run_logger()
    with try_hold(settings.work / "watch.lock", run_id()) as alone:
        if alone is None:
            return Completed(name="Skipped", message="Another watch is at work on this machine.")
        skip_late(watch.name)
        with trainings(settings.work) as runs:
            outlook = look(settings, AS_TASKS, runs)
            logger.info("%s", report.plan_lines(outlook.plan))
            if tell_changes(outlook.plan, settings.work / "plan.json"):
                report.show_plan(outlook.plan)
            failures = carry_out(settings, outlook, runs)
    return conclude(outlook.plan, failures)


def carry_out(settings: Settings, outlook: Outlook, runs: Trainings) -> dict[str, Exception]:
    """Do what is due: trainings become runs of their own, the Spaces are looked after here; what failed, by concept."""

    def act(action: Action) -> None:
        if action.kind is ActionKind.TRAIN:
            run = runs.start(action.concept, outlook.plan.revision, action.fingerprint or "")
            get_run_logger().info("%s: %s, in run %s", action.concept, action.cause, run.name)
        else:
            serve(settings, outlook, action)

    return each(outlook.plan.due, act)


def serve(settings: Settings, outlook: Outlook, action: Action) -> None:
    """Bring one concept's card and Space about."""
    there = outlook.actual.concepts.get(action.concept) or ActualConcept(action.concept, (), None)
    with hold(settings.work / "locks" / f"{action.concept}.lock", run_id()):
        bring_about(settings, outlook.desired.concepts.get(action.concept), there, action)
