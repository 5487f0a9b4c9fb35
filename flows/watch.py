"""Watch: compare desired and live state, and start the actions that make them match.

    observe -> plan -> apply: trainings become runs of their own, Spaces are updated at once

The flow keeps no state: after an interruption the next watch finds the same difference again. A concept with errors
stops no other one.
"""

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from conceptry.actions import Action
from flows import artifacts
from flows.apply import StartTraining, apply_all
from flows.current_installation import current_installation
from flows.observe import Context, observe
from flows.reconcile import compare, final_state
from flows.steps import PREFECT
from flows.training_runs import TrainingRuns, skip_late, training_runs
from tasks.events import emit_changes
from tasks.locks import run_id, try_hold


@flow(name="watch")
def watch() -> State[Any]:
    """Reconcile all concepts once."""
    installation, logger = current_installation(), get_run_logger()
    with try_hold(installation.work.watch_lock, run_id()) as lock:
        if lock is None:
            return Completed(name="Skipped", message="Another watch is running on this machine.")
        skip_late(watch.name)
        context = Context.of(installation, PREFECT)
        with training_runs(installation, settle=True) as runs:
            comparison = compare(context, observe(context), runs)
            logger.info("%s", artifacts.plan_lines(comparison.plan))
            if emit_changes(comparison.plan, installation.work.plan):
                artifacts.show_plan(comparison.plan)
            failures = apply_all(context, comparison, scheduled(runs))
    return final_state(comparison.plan, failures)


def scheduled(runs: TrainingRuns) -> StartTraining:
    """Return a callback that starts a training as a run on the Prefect server."""

    def start(action: Action, revision: str) -> None:
        run = runs.start(action.concept, revision, action.fingerprint or "", action.retrain)
        get_run_logger().info("%s: %s, in run %s", action.concept, action.cause, run.name)

    return start
