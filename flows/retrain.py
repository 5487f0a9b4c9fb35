"""Retrain: start the retrainings that are due by `retrain` in concept.yaml. Scheduled once a day.

The new version has the same inputs and other training noise; the gate rejects it unless it is better than the released
one.
"""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.types._datetime import now

from conceptry.actions import Action
from flows.apply import for_each
from flows.current_installation import current_installation
from flows.observe import Context, observe
from flows.reconcile import compare, final_state
from flows.steps import PREFECT
from flows.training_runs import training_runs
from flows.watch import scheduled


@flow(name="retrain")
def retrain() -> State[Any]:
    """Start the retrainings that are due today."""
    installation = current_installation()
    context = Context.of(installation, PREFECT)
    with training_runs(installation, settle=True) as runs:
        comparison = compare(context, observe(context), runs, today=now("UTC").date())
        start = scheduled(runs)

        def act(action: Action) -> None:
            start(action, comparison.desired.revision)

        failures = for_each([action for action in comparison.plan.due if action.retrain], act)
    return final_state(comparison.plan, failures)
