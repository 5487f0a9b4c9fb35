"""A plan as Markdown, for pull requests and run pages, and its summary in one line."""

from collections import Counter

from conceptry.actions import Action, ActionKind, Plan
from conceptry.markdown import code, plain, table

_WORDS = {ActionKind.WAIT: "waiting for `dvc push`", ActionKind.HOLD: "held", ActionKind.NOTHING: "unchanged"}
SHOWN = 12
"""So many single changes of one concept are listed."""


def summary(plan: Plan) -> str:
    """The plan in one line: how many concepts for each kind of action, and what the trainings take."""
    counts = Counter(action.kind for action in plan.actions)
    parts = [f"{counts[kind]} {_WORDS.get(kind, f'to {kind}')}" for kind in ActionKind if counts[kind]]
    later = sum(action.deferred is not None for action in plan.actions)
    text = ", ".join(parts) + (f" ({later} later)" if later else "") + "."
    return f"{text} {takes(plan)}".rstrip()


def takes(plan: Plan) -> str:
    """What the trainings take, as a sentence; empty when there is none."""
    total = plan.estimate
    if total is None:
        return ""
    price = f", {total.usd:,.2f} USD" if total.usd else ""
    return f"About {total.gpu_minutes:,.0f} min of training{price}."


def why(action: Action) -> str:
    """The cause, and why it is not done now."""
    return f"{action.cause} (later: {action.deferred})" if action.deferred else action.cause


def cost(action: Action) -> str:
    """One training's estimate, short."""
    if action.estimate is None:
        return ""
    price = f", {action.estimate.usd:,.2f} USD" if action.estimate.usd else ""
    return f"{action.estimate.gpu_minutes:,.0f} min{price}"


def details(action: Action) -> list[str]:
    """The single changes that the cause does not name, a line each, the last one saying how many more there are."""
    untold = [change for change in action.changes if str(change).removeprefix("~ ") not in action.cause]
    lines = [str(change) for change in untold[:SHOWN]]
    left = len(untold) - SHOWN
    return [*lines, f"and {left} more"] if left > 0 else lines


def in_order(plan: Plan) -> list[Action]:
    """Actions with the most important kinds first, then by name."""
    order = list(ActionKind)
    return sorted(plan.actions, key=lambda action: (order.index(action.kind), action.concept))


def markdown(plan: Plan, *, limit: int = 200) -> str:
    """The plan as a Markdown document; concepts with nothing to say are only counted.

    Args:
        plan: the plan.
        limit: rows at most; a comment on a pull request has 65,536 characters.
    """
    fine = ("Healthy", "Suspended")
    telling = [one for one in in_order(plan) if one.kind is not ActionKind.NOTHING or one.health not in fine]
    head = f"Commit {code(plan.revision[:12])}: {summary(plan)}\n"
    if not telling:
        return f"{head}\nGit and the Hub agree.\n"
    rows = [
        [plain(a.concept), f"{a.kind} {a.version or ''}".strip(), plain(why(a)), cost(a), a.sync, a.health]
        for a in telling[:limit]
    ]
    parts = [head, table(["concept", "action", "why", "takes about", "sync", "health"], rows)]
    if len(telling) > limit:
        parts.append(f"And {len(telling) - limit} more concepts.\n")
    changed = [action for action in telling[:limit] if details(action)]
    if changed:
        lines = "\n\n".join(
            f"**{plain(action.concept)}**\n\n" + "\n".join(f"- {code(line)}" for line in details(action))
            for action in changed
        )
        parts.append(f"<details><summary>What changed</summary>\n\n{lines}\n\n</details>\n")
    return "\n".join(parts)
