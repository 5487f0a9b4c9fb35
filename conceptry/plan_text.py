"""Plan as Markdown, for pull requests and run pages, and its one-line summary."""

from collections import Counter

from conceptry.actions import Action, ActionKind, ConceptPlan, Plan
from conceptry.markdown import code, plain, table

_WORDS = {ActionKind.WAIT: "waiting for `dvc push`", ActionKind.HOLD: "held", ActionKind.NOTHING: "unchanged"}
SHOWN = 12
"""Maximum of listed changes per concept."""


def summary(plan: Plan) -> str:
    """Return the plan in one line: the number of concepts per kind of action, and the estimate of the trainings."""
    counts = Counter(action.kind for one in plan.concepts for action in one.listed)
    parts = [f"{counts[kind]} {_WORDS.get(kind, f'to {kind}')}" for kind in ActionKind if counts[kind]]
    later = sum(action.deferred is not None for action in plan.actions)
    text = ", ".join(parts) + (f" ({later} later)" if later else "") + "."
    return f"{text} {takes(plan)}".rstrip()


def count(number: int, what: str) -> str:
    """Return a number of things: `1 concept`, `2 concepts`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def takes(plan: Plan) -> str:
    """Return the estimate of all trainings as a sentence; empty if there is none."""
    total = plan.estimate
    if total is None:
        return ""
    price = f", {total.usd:,.2f} USD" if total.usd else ""
    return f"About {total.gpu_minutes:,.0f} min of training{price}."


def why(action: Action) -> str:
    """Return the cause of an action and, if it is deferred, why."""
    return f"{action.cause} (later: {action.deferred})" if action.deferred else action.cause


def cost(action: Action) -> str:
    """Return the estimate of one training, abbreviated; empty if there is none."""
    if action.estimate is None:
        return ""
    price = f", {action.estimate.usd:,.2f} USD" if action.estimate.usd else ""
    return f"{action.estimate.gpu_minutes:,.0f} min{price}"


def details(action: Action) -> list[str]:
    """Return the changes that the cause does not name, one per line, the number of those left out, and the notes."""
    unnamed = [change for change in action.changes if str(change).removeprefix("~ ") not in action.cause]
    lines = [str(change) for change in unnamed[:SHOWN]]
    left = len(unnamed) - SHOWN
    return [*lines, *([f"and {left} more"] if left > 0 else []), *action.notes]


def in_order(plan: Plan) -> list[ConceptPlan]:
    """Return the concepts sorted by the kind of their first listed action, the most important first, then by name."""
    order = list(ActionKind)
    return sorted(plan.concepts, key=lambda one: (min(order.index(a.kind) for a in one.listed), one.concept))


def markdown(plan: Plan, *, limit: int = 200) -> str:
    """Return the plan as a Markdown document; concepts that are in sync and healthy are only counted.

    Args:
        plan: The plan.
        limit: Maximum of rows; a comment on a pull request is limited to 65,536 characters.
    """
    fine = ("Healthy", "Suspended")
    listed = [
        one
        for one in in_order(plan)
        if one.health not in fine or any(action.kind is not ActionKind.NOTHING for action in one.actions)
    ]
    head = f"Commit {code(plan.revision[:12])}: {summary(plan)}\n"
    if not listed:
        return f"{head}\nGit and the Hub agree.\n"
    rows = [
        [plain(one.concept), f"{a.kind} {a.version or ''}".strip(), plain(why(a)), cost(a), one.sync, one.health]
        for one in listed[:limit]
        for a in one.listed
    ]
    parts = [head, table(["concept", "action", "why", "takes about", "sync", "health"], rows)]
    if len(listed) > limit:
        parts.append(f"And {len(listed) - limit} more concepts.\n")
    changed = [one.training for one in listed[:limit] if details(one.training)]
    if changed:
        lines = "\n\n".join(
            f"**{plain(action.concept)}**\n\n" + "\n".join(f"- {code(line)}" for line in details(action))
            for action in changed
        )
        parts.append(f"<details><summary>What changed</summary>\n\n{lines}\n\n</details>\n")
    return "\n".join(parts)
