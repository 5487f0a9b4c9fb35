"""Schedule of retrainings: on which day the next one of a concept is due.

    due        every_days after the last version of the inputs in git
    failed     again a day after it failed, and if it fails again two days after that; then when the next one is due
    cancelled  again when the next one is due

A day that passed without an attempt, because no window was open or no place was free, stays due: the retraining waits
and is not missed. The day is part of the fingerprint, so that a retraining is one run however often it is planned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from conceptry.actions import Attempt

PAUSES = (timedelta(days=1), timedelta(days=2))
"""Pauses after a failed retraining until it is tried again."""
LOOKED_UP = 60
"""Number of past days whose attempts are looked up after a failure."""
PERIODS = 6
"""Number of past due days whose attempts are looked up after a failure."""


@dataclass(frozen=True)
class Failure:
    """End of a training run that failed.

    Attributes:
        day: Day of its end, in UTC.
        seconds: How long it ran.
        cancelled: Whether a user cancelled it.
    """

    day: date
    seconds: float = 0.0
    cancelled: bool = False


@dataclass(frozen=True)
class Due:
    """Day on which the next retraining is due, and the day for which the last one failed; None if none did."""

    day: date
    failed: date | None = None


@dataclass(frozen=True)
class Schedule:
    """Days on which retrainings are due: `start`, and every `every_days` after it until a version is published."""

    start: date
    every_days: int

    def due(self, today: date, attempts: Mapping[date, Attempt], failures: Mapping[date, Failure]) -> Due:
        """Return the next day, which may be over, from the attempts for `start` and, if that failed, for `days`."""
        if active := [day for day, attempt in attempts.items() if attempt in ("running", "interrupted")]:
            return Due(max(active))
        failed = sorted(day for day, attempt in attempts.items() if attempt == "failed")
        if not failed:
            return Due(self.start)
        last = failed[-1]
        failure = failures.get(last) or Failure(last)
        # A machine whose clock is ahead must not postpone the next attempt for years.
        ended = max(last, min(failure.day, today))
        following = self._first(self._period(ended) + 1)
        again = len([day for day in failed if day > self._first(self._period(last))])
        if not failure.cancelled and again < len(PAUSES):
            following = min(following, ended + PAUSES[again])
        # What waits for longer gets a later day, or its run would not be found among those that are looked up.
        return Due(max(following, today - timedelta(days=LOOKED_UP // 2)), last)

    def days(self, today: date) -> tuple[date, ...]:
        """Return the days of the attempts that count after a failure, until today."""
        recent = {today - timedelta(days=ago) for ago in range(LOOKED_UP)}
        period = self._period(today)
        regular = {self.start} | {self._first(index) for index in range(max(0, period - PERIODS), period + 1)}
        return tuple(sorted(day for day in recent | regular if self.start <= day <= today))

    def _period(self, day: date) -> int:
        return max(0, (day - self.start).days // self.every_days)

    def _first(self, period: int) -> date:
        return self.start + timedelta(days=period * self.every_days)
