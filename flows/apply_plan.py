"""Apply a saved plan: carry out exactly the actions that the user reviewed.

A saved plan contains the git commit and the digest of the live state. If either has changed the plan is refused,
because the actions that are needed now may differ from the reviewed ones.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings
from prefect.states import Failed

from conceptry.actions import Action, ConceptPlan, Plan
from conceptry.errors import StalePlanError
from conceptry.guards import confirmed
from flows.apply import apply_all
from flows.current_installation import current_installation
from flows.final_state import final_state
from flows.observe import Context, observe
from flows.prefect_steps import PREFECT
from flows.reconcile import compare
from flows.steps import DIRECT
from flows.train_concept import train_concept
from flows.training_runs import training_runs
from flows.watch import scheduled
from tasks.locks import hold, run_id


@flow(name="apply")
def apply(saved: str) -> State[Any]:
    """Carry out a plan that `conceptry plan --out` saved.

    The run fails and changes nothing if git or the Hub has changed since.

    Args:
        saved: Content of the file.
    """
    installation, agreed, logger = current_installation(), Plan.from_json(saved), get_run_logger()
    # Without a Prefect server, trainings run in this process, one after the other.
    server = bool(get_current_settings().api.url)
    context = Context.of(installation, PREFECT if server else DIRECT)
    with (
        hold(installation.work.watch_lock, run_id(), lambda other: logger.info("waiting for %s to end", other)),
        training_runs(installation, settle=True) if server else nullcontext() as runs,
    ):
        comparison = compare(context, observe(context), runs)
        try:
            refuse_stale(agreed, comparison.plan)
        except StalePlanError as error:
            # Expected: the user needs a new plan, not a traceback.
            return Failed(message=str(error))
        start = scheduled(runs) if runs is not None else train_here
        comparison = replace(comparison, plan=confirmed(comparison.plan))
        return final_state(comparison.plan, apply_all(context, comparison, start))


def train_here(action: Action, revision: str) -> None:
    """Run the training of an action in this process."""
    train_concept(action.concept, revision, action.fingerprint or "", action.retrain)


def refuse_stale(agreed: Plan, current: Plan) -> None:
    """Compare a saved plan with the current one.

    Raises:
        StalePlanError: the plans differ; the message says what has changed.
    """
    if agreed.revision != current.revision:
        moved = f"from {agreed.revision[:8]} to {current.revision[:8]}"
        raise StalePlanError(f"git has changed since the plan was saved: {moved}")
    differing = list(_differing(agreed, current))
    words = "; ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
    if agreed.hub != current.hub:
        raise StalePlanError(f"the Hub has changed since the plan was saved{': ' if words else ''}{words}")
    if differing:
        raise StalePlanError(f"the actions have changed since the plan was saved: {words}")


def _differing(agreed: Plan, current: Plan) -> Iterator[str]:
    before, after = ({one.concept: one for one in plan.concepts} for plan in (agreed, current))
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if _essence(old) != _essence(new):
            yield f"{name}: {_words(old)} -> {_words(new)}"


def _essence(one: ConceptPlan | None) -> tuple[object, ...] | None:
    return tuple((action.kind, action.fingerprint, action.version) for action in one.actions) if one else None


def _words(one: ConceptPlan | None) -> str:
    actions = one.listed if one else ()
    return ", ".join(f"{action.kind} {action.version or ''}".strip() for action in actions) or "no action"
