"""Retrain: train again what is due by `retrain` in concept.yaml. Once a day, on a schedule.

The new version is of the same inputs with other noise; its gate rejects it unless it is better than the released one.
"""

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.types._datetime import now

from conceptry.actions import Action
from conceptry.settings import Settings
from flows.outlook import AS_TASKS, conclude, each, look
from flows.training_runs import trainings


@flow(name="retrain")
def retrain() -> State[Any]:
    """Start the retrainings that are due today."""
    settings, logger = Settings(), get_run_logger()
    with trainings(settings.work) as runs:
        outlook = look(settings, AS_TASKS, runs, today=now("UTC").date())

        def start(action: Action) -> None:
            if action.retrain:
                run = runs.start(action.concept, outlook.plan.revision, action.fingerprint or "", action.retrain)
                logger.info("%s: %s, in run %s", action.concept, action.cause, run.name)

        failures = each(outlook.plan.due, start)
    return conclude(outlook.plan, failures)
