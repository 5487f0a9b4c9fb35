"""What shall go wrong, on order: `faults.lose("CreateCustomJob")` loses the answer to the next create.

lose         the call is carried out and its answer lost
refuse       the call is not carried out
hold         no job gets a machine, until `release`
lag          a new job is not listed for some seconds
fail         the next job to start fails
preempt      a running job loses its machines as soon as it has written a file of that name
"""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Collection
from dataclasses import dataclass

import grpc


@dataclass
class Refusal:
    """An answer that is an error: `times` calls of `method` (* for any) get it; `carried_out` says whether in vain."""

    method: str
    code: grpc.StatusCode
    message: str
    times: int
    carried_out: bool


@dataclass
class Preemption:
    """Take a job's machines away once it has written a file that matches `when`; `times` times.

    With `for_good` the job fails, as when there was no Spot capacity again.
    """

    when: str
    times: int
    for_good: bool


@dataclass(frozen=True)
class Failure:
    """What a job that is to fail says."""

    code: grpc.StatusCode
    message: str


class Faults:
    """The list; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._refusals: list[Refusal] = []
        self._preemptions: list[Preemption] = []
        self._failures: list[Failure] = []
        self._held = False
        self.lag_seconds = 0.0

    def lose(self, method: str, times: int = 1, code: str = "UNAVAILABLE") -> None:
        """Carry out the next calls of a method and lose the answers."""
        self._refuse(Refusal(method, grpc.StatusCode[code], "Connection reset by peer", times, True))

    def refuse(self, method: str, code: str, times: int = 1, message: str = "refused on order") -> None:
        """Answer the next calls of a method (* for any) with an error, and do nothing."""
        self._refuse(Refusal(method, grpc.StatusCode[code], message, times, False))

    def hold(self) -> None:
        """Let every job wait for a machine."""
        self._held = True

    def release(self) -> None:
        """Undo `hold`."""
        self._held = False

    def lag(self, seconds: float) -> None:
        """List a job only that long after it was created."""
        self.lag_seconds = seconds

    def fail(self, message: str = "Internal error occurred.", code: str = "INTERNAL") -> None:
        """Let the next job that starts fail before its command runs."""
        with self._lock:
            self._failures.append(Failure(grpc.StatusCode[code], message))

    def preempt(self, when: str, times: int = 1, *, for_good: bool = False) -> None:
        """Take the machines of a job away as soon as it has written a file that matches the pattern `when`."""
        with self._lock:
            self._preemptions.append(Preemption(when, times, for_good))

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._refusals.clear()
            self._preemptions.clear()
            self._failures.clear()
            self._held, self.lag_seconds = False, 0.0

    @property
    def held(self) -> bool:
        """Whether jobs are kept waiting."""
        return self._held

    def take_refusal(self, method: str) -> Refusal | None:
        """The error that this call shall get, if any; it is used up."""
        with self._lock:
            for refusal in self._refusals:
                if refusal.method in (method, "*") and refusal.times > 0:
                    refusal.times -= 1
                    return refusal
        return None

    def take_failure(self) -> Failure | None:
        """How the job that is about to start shall fail, if it shall; it is used up."""
        with self._lock:
            return self._failures.pop(0) if self._failures else None

    def take_preemption(self, files: Collection[str]) -> Preemption | None:
        """The preemption that these files, just written, call for, if any; it is used up."""
        with self._lock:
            for preemption in self._preemptions:
                if preemption.times > 0 and fnmatch.filter(files, preemption.when):
                    preemption.times -= 1
                    return preemption
        return None

    def _refuse(self, refusal: Refusal) -> None:
        with self._lock:
            self._refusals.append(refusal)
