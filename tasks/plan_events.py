"""Events about what changed between two plans of a watch: conditions, failures, the budget, and long waits for data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from conceptry.actions import ActionKind, ConceptPlan, Plan
from conceptry.errors import ConceptryError
from conceptry.reasons import ActionReason, DeferralReason
from tasks.events import EventName, emit, emit_of_installation
from tasks.file_io import write_atomically

LONG_WAIT = timedelta(days=1)
"""Wait for data after which `overdue` is emitted."""
_FAILED = (ActionReason.TRAINING_FAILED, ActionReason.RETRAIN_FAILED)


class Wait(BaseModel):
    """Wait of a concept for its images: since when, by the server's clock, and whether `overdue` was emitted."""

    model_config = ConfigDict(frozen=True)

    since: datetime
    told: bool = False


_WAITS: TypeAdapter[dict[str, Wait]] = TypeAdapter(dict[str, Wait])


def emit_changes(plan: Plan, known: Path) -> bool:
    """Emit an event for what changed since the last plan.

    That is each concept that became degraded, healthy or waiting, each training that failed, and trainings that wait
    for the budget, if none did before.

    Args:
        plan: Current plan.
        known: File that holds the last plan, for this purpose only; without it every event is emitted again.

    Returns:
        Whether the plan differs from the last one.
    """
    text = plan.to_json()
    try:
        before = known.read_text(encoding="utf-8")
        last = Plan.from_json(before)
    except (OSError, ConceptryError):
        before, last = "", Plan("", ())
    if text == before:
        return False
    concepts = {one.concept: one for one in last.concepts}
    for one in plan.concepts:
        _emit_changes_of(one, concepts.get(one.concept), plan.revision)
    waiting = _over_budget(plan)
    if waiting and not _over_budget(last):
        cause = next(one.training.deferred for one in plan.concepts if one.concept == waiting[0])
        emit_of_installation("over-budget", concepts=waiting, cause=cause, revision=plan.revision)
    write_atomically(known, text.encode())
    return True


def _emit_changes_of(one: ConceptPlan, last: ConceptPlan | None, revision: str) -> None:
    condition = _condition(one)
    if condition and (last is None or condition != _condition(last)):
        action = next((action for action in one.actions if action.health == "Degraded"), one.listed[-1])
        emit(one.concept, condition, reason=action.reason, cause=action.cause, revision=revision)
    failure = _failure(one)
    if failure and (last is None or failure != _failure(last)):
        emit(one.concept, "failed", reason=one.training.reason, cause=one.training.cause, revision=revision)


def _condition(one: ConceptPlan) -> EventName | None:
    if one.health == "Degraded":
        return "degraded"
    if one.training.kind is ActionKind.WAIT:
        return "waiting"
    return "healthy" if one.health == "Healthy" and one.sync == "Synced" else None


def _failure(one: ConceptPlan) -> tuple[str, str | None] | None:
    training = one.training
    return (training.reason, training.fingerprint) if training.reason in _FAILED else None


def _over_budget(plan: Plan) -> list[str]:
    return [one.concept for one in plan.concepts if one.training.deferral is DeferralReason.BUDGET_SPENT]


def emit_long_waits(plan: Plan, known: Path, moment: Callable[[], datetime]) -> None:
    """Emit `overdue`, once, for each concept whose images have been missing for more than a day.

    Args:
        plan: Current plan.
        known: File that holds since when concepts wait; without it, waits begin now.
        moment: Returns the time by the clock of the Prefect server; called only if a concept waits.
    """
    try:
        before = _WAITS.validate_json(known.read_bytes())
    except (OSError, ValidationError):
        before = {}
    waiting = [one for one in plan.concepts if one.training.kind is ActionKind.WAIT]
    waits = _aged(waiting, before, moment()) if waiting else {}
    if waits != before:
        write_atomically(known, _WAITS.dump_json(waits))


def _aged(waiting: list[ConceptPlan], before: dict[str, Wait], now: datetime) -> dict[str, Wait]:
    """Return the waits of these concepts; emit `overdue` for each that became long."""
    waits = {}
    for one in waiting:
        wait = before.get(one.concept) or Wait(since=now)
        if not wait.told and now - wait.since > LONG_WAIT:
            since = wait.since.isoformat(timespec="seconds")
            emit(one.concept, "overdue", reason=one.training.reason, cause=one.training.cause, since=since)
            wait = Wait(since=wait.since, told=True)
        waits[one.concept] = wait
    return waits
