"""The plan in Prefect's UI: as a table, and in the log."""

from prefect.artifacts import create_markdown_artifact

from conceptry.actions import Plan
from conceptry.plan_text import count, markdown, why


def plan_lines(plan: Plan) -> str:
    """Return the plan for a log: one line for each concept that is out of sync or not healthy."""
    listed = [
        action
        for one in plan.concepts
        for action in one.listed
        if action.kind != "nothing" or action.health != "Healthy"
    ]
    lines = [f"  {action.concept}: {action.kind}: {why(action)}" for action in listed]
    return "\n".join([f"commit {plan.revision[:12]}: {count(len(plan.concepts), 'concept')}", *lines])


def show_plan(plan: Plan, suffix: str = "") -> None:
    """Attach the plan to the run as an artifact; the suffix of its key differs between installations on one server."""
    what = f"The plan at commit {plan.revision[:12]}"
    create_markdown_artifact(markdown(plan), key=f"plan{suffix}", description=what)
