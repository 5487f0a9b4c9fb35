"""Apply: carry out a plan that somebody looked at, and nothing else.

A saved plan says at which commit it was made and what the Hub held then. When either has moved it is refused: what
would be done now may be another thing than what was agreed to.
"""

from collections.abc import Iterator
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.settings import get_current_settings
from prefect.states import Failed

from conceptry.actions import Action, ActionKind, Plan
from conceptry.errors import StalePlanError
from conceptry.settings import Settings
from flows.outlook import AS_TASKS, PLAINLY, conclude, each, look
from flows.runs import hold, run_id
from flows.train_concept import train_concept
from flows.training_runs import trainings
from flows.watch import carry_out, serve


@flow(name="apply")
def apply(saved: str) -> State[Any]:
    """Carry out a plan as `conceptry plan --out` wrote it.

    Fails, and changes nothing, when git or the Hub has moved since.

    Args:
        saved: the file's text.
    """
    settings, agreed = Settings(), Plan.from_json(saved)
    with hold(settings.work / "watch.lock", run_id()):
        try:
            return _apply(settings, agreed) if get_current_settings().api.url else _apply_here(settings, agreed)
        except StalePlanError as error:
            # Nobody's mistake: it needs a new look, not a traceback.
            return Failed(message=str(error))


def _apply(settings: Settings, agreed: Plan) -> State[Any]:
    """As tasks and runs of the Prefect server."""
    with trainings(settings.work) as runs:
        outlook = look(settings, AS_TASKS, runs)
        refuse_stale(agreed, outlook.plan)
        return conclude(outlook.plan, carry_out(settings, outlook, runs))


def _apply_here(settings: Settings, agreed: Plan) -> State[Any]:
    """Without a Prefect server to start runs on, trainings happen in this process, one after the other."""
    outlook = look(settings, PLAINLY, None)
    refuse_stale(agreed, outlook.plan)

    def act(action: Action) -> None:
        if action.kind is ActionKind.TRAIN:
            train_concept(action.concept, outlook.plan.revision, action.fingerprint or "")
        else:
            serve(settings, outlook, action)

    return conclude(outlook.plan, each(outlook.plan.due, act))


def refuse_stale(agreed: Plan, current: Plan) -> None:
    """Compare a saved plan with what would be done now.

    Raises:
        StalePlanError: it is another plan; the message says what moved.
    """
    if agreed.revision != current.revision:
        moved = f"from {agreed.revision[:8]} to {current.revision[:8]}"
        raise StalePlanError(f"git has moved since the plan was made: {moved}")
    differing = list(_differing(agreed, current))
    told = "; ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
    if agreed.hub != current.hub:
        raise StalePlanError(f"the Hub has moved since the plan was made{': ' if told else ''}{told}")
    if differing:
        raise StalePlanError(f"what is to be done has changed since the plan was made: {told}")


def _differing(agreed: Plan, current: Plan) -> Iterator[str]:
    before, after = ({action.concept: action for action in plan.actions} for plan in (agreed, current))
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if _deed(old) != _deed(new):
            yield f"{name}: {_words(old)} -> {_words(new)}"


def _deed(action: Action | None) -> tuple[object, ...] | None:
    return (action.kind, action.fingerprint, action.version) if action else None


def _words(action: Action | None) -> str:
    return f"{action.kind} {action.version or ''}".strip() if action else "not there"
