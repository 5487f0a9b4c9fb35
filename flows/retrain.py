"""Retrain: train again what is due by `retrain` in concept.yaml. Once a day, on a schedule.

The new version is of the same inputs with other noise; its gate rejects it unless it is better than the released one.
"""

from datetime import timedelta
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.types._datetime import now

from conceptry.actions import Action, ActionKind
from conceptry.concept import RetrainSpec
from conceptry.fingerprint import training_fingerprint
from conceptry.settings import Settings
from flows import state
from flows.attempts import trainings
from flows.outlook import AS_TASKS, Outlook, conclude, each, look


@flow(name="retrain")
def retrain() -> State[Any]:
    """Start the retrainings that are due today."""
    settings, logger = Settings(), get_run_logger()
    with trainings(settings.work) as runs:
        outlook = look(settings, AS_TASKS, runs, today=now("UTC").date())

        def start(action: Action) -> None:
            day = due(outlook, action)
            if day is not None:
                run = runs.start(action.concept, outlook.plan.revision, action.fingerprint or "", day)
                logger.info("%s: %s, in run %s", action.concept, action.cause, run.name)

        failures = each(outlook.plan.changes, start)
    return conclude(outlook.plan, failures)


def due(outlook: Outlook, action: Action) -> str | None:
    """The ISO date for which an action is a scheduled retraining; None when it is none."""
    wanted = outlook.desired.concepts.get(action.concept)
    there = outlook.actual.concepts.get(action.concept)
    if action.kind is not ActionKind.TRAIN or wanted is None or there is None or wanted.spec is None:
        return None
    spec, images = wanted.spec, wanted.images or ()
    if not isinstance(spec.retrain, RetrainSpec):
        return None
    base = state.bases()[spec.base_model]
    pause = timedelta(days=spec.retrain.every_days)
    days = {(version.day + pause).isoformat() for version in there.versions}
    return next((day for day in days if training_fingerprint(spec, images, base, day) == action.fingerprint), None)
