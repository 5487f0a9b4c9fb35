"""Release: reconcile the model card and the Space of one concept with git.

observe (git, the concept's own repos) -> plan (the Space alone) -> apply: card on main, then the Space
"""

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed

from conceptry.actions import IDLE, Action, ActionKind
from conceptry.desired import DesiredConcept
from conceptry.errors import ConceptryError, left_to_the_plan
from conceptry.plan import pending_judgements, plan_concept
from conceptry.version import LiveConcept
from flows.apply import hide, judge, reconcile_serving, update_index
from flows.current_installation import current_installation
from flows.observe import Context, observe_concept
from flows.prefect_steps import PREFECT
from flows.reconcile import plan_inputs
from tasks.locks import hold, run_id

HELD = "Held"
"""Name of the final state of a run that the Hub refused something, which the plan holds or defers."""


@flow(name="release", flow_run_name="{name}")
def release(name: str) -> str | State[Any] | None:
    """Reconcile the card and the Space of one concept; return the version that the Space serves.

    What the Hub refuses until a user acts or a limit ends is left to the plan; the run then ends as Held.

    Args:
        name: Name of the concept.
    """
    try:
        served = release_concept(Context.of(current_installation(), PREFECT), name)
    except ConceptryError as error:
        if not left_to_the_plan(error):
            raise
        return Completed(name=HELD, message=f"left to the plan: {error}")
    return Completed(data=served, message=f"the Space serves {served}" if served else "no Space serves a version")


def release_concept(context: Context, name: str) -> str | None:
    """Observe, plan and apply for the Space of one concept; return the version that it serves.

    Raises:
        ConceptryError: git or the Hub could not be read, or the Hub refused.
    """
    with hold(context.installation.work.concept_lock(name), run_id()):
        concept, live, action = _plan(context, name)
        if action.kind is ActionKind.HIDE:
            hide(context, action)
            concept, live, action = _plan(context, name)
        if action.kind is ActionKind.JUDGE:
            judge(context, live, pending_judgements(concept, live, plan_inputs(context.installation, [concept])))
            concept, live, action = _plan(context, name)
        if action.kind in IDLE:
            return update_index(context, live)
        return reconcile_serving(context, concept, live, action)


def _plan(context: Context, name: str) -> tuple[DesiredConcept | None, LiveConcept, Action]:
    """Return the concept in git and on the Hub, and the action about what it serves."""
    desired, live = observe_concept(context, name)
    concept = desired.concepts.get(name)
    action = plan_concept(concept, live, plan_inputs(context.installation, [concept])).serving
    get_run_logger().info("%s: %s: %s", name, action.kind, action.cause)
    return concept, live, action
