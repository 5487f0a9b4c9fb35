"""Monthly budget of trainings: what was spent, computed from the live state and the runs that are known.

A month is a calendar month in UTC. Versions count with the duration of their training, failed runs with theirs, active
runs with their estimate; each at today's price of its base model, or at the highest price where the base model is not
known any more. Imported versions cost nothing. Versions that `conceptry gc` deleted in the same month are not known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from conceptry.actions import Action, Plan
from conceptry.desired import Desired
from conceptry.estimate import Rate, estimate
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import Budget
from conceptry.reasons import GateReason
from conceptry.version import Live

EDGE = 1e-9
"""Difference by which sums of hours and prices may miss a limit."""


@dataclass(frozen=True)
class Spending:
    """Trainings, their hours on one accelerator, and their price in US dollars."""

    runs: int = 0
    gpu_hours: float = 0.0
    usd: float = 0.0

    def __add__(self, other: "Spending") -> "Spending":
        """Return the sum."""
        return Spending(self.runs + other.runs, self.gpu_hours + other.gpu_hours, self.usd + other.usd)

    @classmethod
    def of(cls, action: Action) -> "Spending":
        """Return what a training will cost by its estimate."""
        each = action.estimate
        return cls(1, each.gpu_minutes / 60, each.usd) if each else cls(1)


def exceeded(budget: Budget, spent: Spending, asked: Spending, now: datetime) -> str | None:
    """Return, in words, why a training must wait until the next month; None if it need not.

    Args:
        budget: Budget of conceptry.yaml.
        spent: Spending of this month, with the trainings that start now.
        asked: Spending that the budget has to have room for; nothing, if it is enough that it is not used up.
        now: Current time.
    """
    limits = {"runs": budget.runs, "GPU hours": budget.gpu_hours, "USD": budget.usd}
    amounts = {
        "runs": (spent.runs, asked.runs),
        "GPU hours": (spent.gpu_hours, asked.gpu_hours),
        "USD": (spent.usd, asked.usd),
    }
    over = []
    for unit, limit in limits.items():
        used, more = amounts[unit]
        if limit is not None and (used + more > limit + EDGE or used >= limit - EDGE):
            needs = f" (this one takes about {_number(more)})" if used < limit and more else ""
            over.append(f"{_number(used)} of {_number(limit)} {unit}{needs}")
    if not over:
        return None
    free = next_month(now)
    return f"the budget of {now.astimezone(UTC):%B %Y} is spent: {', '.join(over)}; free again {free} 00:00 UTC"


def spent_this_month(plan: Plan, desired: Desired, live: Live, inputs: PlanInputs, now: datetime) -> Spending:
    """Return the spending of the calendar month in UTC that `now` is in, with the active runs' estimates."""
    total = Spending()
    for each in _of_versions(live, desired, inputs, now):
        total += each
    published = {version.fingerprint for there in live.concepts.values() for version in there.versions}
    actions = {one.training.fingerprint: one.training for one in plan.concepts if one.training.fingerprint}
    for fingerprint, attempt in inputs.attempts.items():
        if attempt != "failed" and fingerprint not in published:
            action = actions.get(fingerprint)
            total += Spending.of(action) if action else Spending(1)
    month = _month(now.astimezone(UTC).date())
    for failure in inputs.failures.values():
        if _month(failure.day) == month:
            total += Spending(1, failure.seconds / 3600, failure.seconds / 3600 * _dearest(inputs))
    return total


def next_month(now: datetime) -> date:
    """Return the first day of the next month in UTC."""
    today = now.astimezone(UTC)
    # Without `replace`, which warns of its deprecation on moments that came from Prefect.
    return date(today.year + today.month // 12, today.month % 12 + 1, 1)


def _of_versions(live: Live, desired: Desired, inputs: PlanInputs, now: datetime) -> Iterator[Spending]:
    month = _month(now.astimezone(UTC).date())
    for name, there in live.concepts.items():
        concept = desired.concepts.get(name)
        for version in there.versions:
            if _month(version.day) != month or version.gate_reason is GateReason.IMPORTED:
                continue
            base = str(version.spec.get("base_model", ""))
            same = concept is not None and concept.spec is not None and concept.spec.base_model == base
            rate = inputs.rate(concept.spec) if same and concept and concept.spec else inputs.rates.get(base)
            # An entry of bases.yaml that no concept names now: its kind is not known.
            rate = rate or _highest(inputs)
            seconds = version.seconds
            if seconds is None:  # one that the index holds as a line
                seconds = estimate(version.spec, (), rate).gpu_minutes * 60 if rate else 0.0
            yield Spending(1, seconds / 3600, seconds / 3600 * (rate.usd_per_hour if rate else 0.0))


def _highest(inputs: PlanInputs) -> Rate | None:
    """Return the rate of the base model that takes longest on the default backend."""
    known = (rate for name, rate in inputs.rates.items() if "/" not in name)
    return max(known, key=lambda rate: (rate.usd_per_hour, rate.step, rate.overhead), default=None)


def _dearest(inputs: PlanInputs) -> float:
    """Return the highest price of an hour here: the base model of a failed run is not known."""
    return max((rate.usd_per_hour for rate in inputs.rates.values()), default=0.0)


def _month(day: date) -> tuple[int, int]:
    return day.year, day.month


def _number(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")
