"""What the state of a training run says: why it ended, and when it is tried again."""

import re
from datetime import UTC, datetime

from prefect.client.schemas.objects import FlowRun, StateType

from conceptry.errors import MAX_WORDS
from conceptry.retraining import Failure

INTERRUPTED = "Interrupted"
"""Name of the final state of a run that an error ended which passes."""
RESUMED = "Resumes at the first unfinished task."
TRIED_AGAIN = "Tried again after: "
"""Messages of the states that the watcher gives to an interrupted run; a user's retry has another one."""
_QUOTED = "  | "
"""Begin of a line of the trainer's output in the text of a TrainingError."""
_PREFIX = re.compile(r"^Flow run encountered an exception: (\w+: )?")


def cause_of(run: FlowRun) -> str:
    """Return on one line why a run ended, without Prefect's words and the name of the concept.

    The last line of the trainer's output, which a TrainingError carries, says what went wrong in it.
    """
    lines = (run.state.message or "").splitlines() if run.state else []
    text = _PREFIX.sub("", lines[0]) if lines else ""
    said = [line.removeprefix(_QUOTED).strip() for line in lines[1:] if line.startswith(_QUOTED)]
    last = next((line for line in reversed(said) if line and "://" not in line), "")
    return text.removeprefix(f"{run.parameters.get('name')}: ") + (f": {last[:MAX_WORDS]}" if last else "")


def failure_of(run: FlowRun) -> Failure:
    """Return the day on which a run failed, how long it ran, and whether a user cancelled it."""
    ended = run.updated or run.end_time or datetime.now(UTC)
    cancelled = run.state_type is StateType.CANCELLED
    return Failure(ended.astimezone(UTC).date(), run.total_run_time.total_seconds(), cancelled)


def waits_of(run: FlowRun) -> str | None:
    """Return when and why a run is tried again, in words; None if it was not ended by an error that passes."""
    said, when = (run.state.message or "") if run.state else "", run.next_scheduled_start_time
    if when is None or run.state_type is not StateType.SCHEDULED or not said.startswith(TRIED_AGAIN):
        return None
    return f"tried again at {when:%Y-%m-%d %H:%M} UTC after: {said.removeprefix(TRIED_AGAIN)}"
