"""Watch: compare desired and live state, and start the actions that make them match.

    observe -> plan -> apply: trainings become runs of their own, Spaces are updated at once

It takes no longer than the interval between two watches, and says which concepts it had no time for.

The flow keeps no state: after an interruption the next watch finds the same difference again. A concept with errors
stops no other one.
"""

import time
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from conceptry.actions import Action, Plan
from conceptry.errors import RateLimitedError
from conceptry.installation import Installation
from flows import artifacts
from flows.apply import StartTraining, carry_out
from flows.bounded_apply import apply_in_time
from flows.current_installation import current_installation
from flows.final_state import final_state
from flows.observe import Context, observe
from flows.old_run_folders import clear_old_run_folders
from flows.prefect_steps import PREFECT
from flows.reconcile import compare
from flows.skipped_runs import SKIPPED, skip_late
from flows.training_runs import TrainingRuns, training_runs
from tasks.disk_full import disk_full
from tasks.locks import run_id, try_hold
from tasks.plan_events import emit_changes, emit_long_waits
from tasks.prefect_client import SERVER_ERRORS

LIMITED = "Limited"
"""Name of the final state of a watch that the Hub let read nothing, because of a limit of its rates."""


@flow(name="watch")
def watch(seconds: float | None = None) -> State[Any]:
    """Reconcile all concepts once.

    Args:
        seconds: Time after which it ends, the interval between two watches; None for no limit.
    """
    installation, logger, begin = current_installation(), get_run_logger(), time.monotonic()
    with try_hold(installation.work.watch_lock, run_id()) as lock:
        if lock is None:
            return Completed(name=SKIPPED, message="Another watch is running on this machine.")
        skip_late(watch.name)
        context = Context.of(installation, PREFECT)
        with training_runs(installation, settle=True) as runs:
            try:
                comparison = compare(context, observe(context), runs)
            except RateLimitedError as error:
                return _take_down(context, runs, error)
            logger.info("%s", artifacts.plan_lines(comparison.plan))
            _tell(comparison.plan, installation, runs)
            _clear(comparison.plan, installation, runs)
            start = scheduled(runs)

            def act(action: Action) -> None:
                carry_out(context, comparison, action, start)

            applied = apply_in_time(installation.work, comparison.plan.due, act, _left(begin, seconds))
    return final_state(comparison.plan, applied.failures, applied.skipped)


def _take_down(context: Context, runs: TrainingRuns, error: RateLimitedError) -> State[Any]:
    """Hide and take down what the Hub's listings show, while it gives out no files (429); the rest waits.

    A Space is paused, though its stamp and the card may have to wait.
    """
    try:
        comparison = compare(context, observe(context, partial=True), runs)
    except RateLimitedError as again:
        return Completed(name=LIMITED, message=str(again))
    start, urgent = scheduled(runs), comparison.plan.urgent

    def act(action: Action) -> None:
        carry_out(context, comparison, action, start)

    applied = apply_in_time(context.installation.work, urgent, act, None)
    if applied.failures:
        return final_state(comparison.plan, applied.failures, applied.skipped)
    done = ", ".join(action.concept for action in urgent if action.concept not in applied.skipped)
    return Completed(name=LIMITED, message=f"{done}: done; {error}" if done else str(error))


def _left(begin: float, seconds: float | None) -> float | None:
    """Return the seconds that remain for actions: a quarter at least, or a slow look would keep them all waiting."""
    return None if seconds is None else max(begin + seconds - time.monotonic(), seconds / 4)


def _tell(plan: Plan, installation: Installation, runs: TrainingRuns) -> None:
    """Emit events and show the plan; an error in this ends no watch."""
    path = installation.work.plan
    try:
        if emit_changes(plan, path):
            artifacts.show_plan(plan, installation.settings.deployment_suffix)
        emit_long_waits(plan, installation.work.waits, runs.server_time)
    except Exception as error:
        if disk_full(error, path) is not None:
            raise
        get_run_logger().error("the plan could not be shown: %s", error, exc_info=error)


def _clear(plan: Plan, installation: Installation, runs: TrainingRuns) -> None:
    """Delete old folders of trainings; an error in this ends no watch."""
    try:
        cleared = clear_old_run_folders(installation, plan, runs)
    except (OSError, *SERVER_ERRORS) as error:
        get_run_logger().warning("old folders of trainings could not be deleted: %s", error)
        return
    if cleared:
        get_run_logger().info("deleted the folders of %d old trainings: %s", len(cleared), ", ".join(cleared))


def scheduled(runs: TrainingRuns) -> StartTraining:
    """Return a callback that starts a training as a run on the Prefect server."""

    def start(action: Action, revision: str) -> None:
        run = runs.start(action.concept, revision, action.fingerprint or "", action.retrain, cause=action.reason)
        get_run_logger().info("%s: %s, in run %s", action.concept, action.cause, run.name)

    return start
