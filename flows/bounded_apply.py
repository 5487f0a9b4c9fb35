"""Apply within the interval of the watch: actions side by side, and those that do not fit are left for the next watch.

The most urgent actions come first, and the others begin when these have ended, or have taken half of the time. A
concept whose repos another run or an earlier watch is writing to is skipped. An action that is late goes on in its
thread, with the concept's lock, which the kernel releases if the process ends.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby

from prefect import get_run_logger

from conceptry.actions import Action, urgency
from conceptry.errors import ConceptryError, left_to_the_plan
from conceptry.work_folder import WorkFolder
from flows.apply import needs_lock
from tasks.file_io import write_atomically
from tasks.locks import run_id, try_hold
from tasks.thread_pool import Outcome, run_each

JOBS = 4
"""Actions at a time: writes to the Hub, which limits their rate."""
LAST_URGENT = 2
"""The highest urgency that the other actions wait for: rollbacks."""


@dataclass
class Applied:
    """Exceptions and skipped actions by concept, with the reason in words."""

    failures: dict[str, Exception] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def apply_in_time(
    work: WorkFolder, actions: Iterable[Action], act: Callable[[Action], None], seconds: float | None
) -> Applied:
    """Carry out actions until the time is over.

    Args:
        work: Scratch folder, for locks, and for the record of skipped concepts.
        actions: Actions that are due.
        act: Carries out one action.
        seconds: Time for all of them; None for no limit.
    """
    applied, begin = Applied(), time.monotonic()
    order = _turns(work)
    ranked = sorted(actions, key=lambda action: (urgency(action), order.get(action.concept, 0), action.concept))

    def act_alone(action: Action) -> None:
        if not needs_lock(action):
            act(action)
            return
        with try_hold(work.concept_lock(action.concept), run_id()) as held:
            if held is None:
                applied.skipped[action.concept] = "its repos are being written to"
            else:
                act(action)

    late: list[Action] = []
    waiting: list[Action] = []
    for urgent, group in groupby(ranked, key=lambda action: urgency(action) <= LAST_URGENT):
        share = 0.5 if urgent else 1.0
        deadline = None if seconds is None else begin + share * seconds
        outcome = run_each(act_alone, list(group), jobs=JOBS, deadline=deadline)
        _note(outcome, applied)
        late += outcome.late
        waiting += outcome.waiting
    _keep_turns(work, late, waiting)
    return applied


def _note(outcome: Outcome[Action], applied: Applied) -> None:
    left: dict[str, list[str]] = {}
    for action, error in outcome.failed:
        if left_to_the_plan(error):
            words = str(error).removeprefix(f"{action.concept}: ")
            left.setdefault(words, []).append(action.concept)
            applied.skipped[action.concept] = words
            continue
        known = isinstance(error, ConceptryError)
        get_run_logger().error("%s: %s: %s", action.concept, action.kind, error, exc_info=None if known else error)
        applied.failures[action.concept] = error
    for words, names in left.items():
        get_run_logger().warning("%s: left to a later plan: %s", ", ".join(sorted(names)), words)
    applied.skipped |= {action.concept: f"{action.kind} is still in progress" for action in outcome.late}
    applied.skipped |= {action.concept: f"{action.kind} did not begin in time" for action in outcome.waiting}


def _turns(work: WorkFolder) -> dict[str, int]:
    """Return -1 for each concept that the last watch did not begin with, and 1 for each that was late."""
    try:
        known = json.loads(work.skipped.read_text(encoding="utf-8"))
        return {str(name): int(turn) for name, turn in known.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep_turns(work: WorkFolder, late: Iterable[Action], waiting: Iterable[Action]) -> None:
    turns = {action.concept: 1 for action in late} | {action.concept: -1 for action in waiting}
    if turns or work.skipped.exists():
        write_atomically(work.skipped, json.dumps(turns).encode())
