"""Injected faults: `faults.lose("CreateCustomJob")` loses the answer to the next create.

lose         execute the call and lose its answer
refuse       do not execute the call
hold         give no job a machine, until `release`
lag          do not list a new job for some seconds
fail         fail the next job that starts
preempt      take a running job's machines once it has written a file of a given name
"""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Collection
from dataclasses import dataclass

import grpc


@dataclass
class InjectedError:
    """An error answer for the next `times` calls of `method` (* for any); `executed` ones take effect all the same."""

    method: str
    code: grpc.StatusCode
    message: str
    times: int
    executed: bool


@dataclass
class Preemption:
    """Take a job's machines once it has written a file that matches `when`; `times` times.

    With `for_good` the job fails, as it does if no Spot capacity returns.
    """

    when: str
    times: int
    for_good: bool


@dataclass(frozen=True)
class Failure:
    """The error of a job that must fail."""

    code: grpc.StatusCode
    message: str


class Faults:
    """The pending faults; every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._errors: list[InjectedError] = []
        self._preemptions: list[Preemption] = []
        self._failures: list[Failure] = []
        self._held = False
        self.lag_seconds = 0.0

    def lose(self, method: str, times: int = 1, code: str = "UNAVAILABLE") -> None:
        """Execute the next calls of a method and lose the answers."""
        self._add(InjectedError(method, grpc.StatusCode[code], "Connection reset by peer", times, True))

    def refuse(self, method: str, code: str, times: int = 1, message: str = "injected fault") -> None:
        """Answer the next calls of a method (* for any) with an error, without executing them."""
        self._add(InjectedError(method, grpc.StatusCode[code], message, times, False))

    def hold(self) -> None:
        """Keep every job waiting for a machine."""
        self._held = True

    def release(self) -> None:
        """Undo `hold`."""
        self._held = False

    def lag(self, seconds: float) -> None:
        """List new jobs only this many seconds after their creation."""
        self.lag_seconds = seconds

    def fail(self, message: str = "Internal error occurred.", code: str = "INTERNAL") -> None:
        """Fail the next job that starts, before its command runs."""
        with self._lock:
            self._failures.append(Failure(grpc.StatusCode[code], message))

    def preempt(self, when: str, times: int = 1, *, for_good: bool = False) -> None:
        """Take a job's machines once it has written a file that matches the pattern `when`."""
        with self._lock:
            self._preemptions.append(Preemption(when, times, for_good))

    def clear(self) -> None:
        """Remove all pending faults."""
        with self._lock:
            self._errors.clear()
            self._preemptions.clear()
            self._failures.clear()
            self._held, self.lag_seconds = False, 0.0

    @property
    def held(self) -> bool:
        """Whether jobs are kept waiting."""
        return self._held

    def take_error(self, method: str) -> InjectedError | None:
        """Remove and return the error for a call, if there is one."""
        with self._lock:
            for error in self._errors:
                if error.method in (method, "*") and error.times > 0:
                    error.times -= 1
                    return error
        return None

    def take_failure(self) -> Failure | None:
        """Remove and return the error for the job that is about to start, if there is one."""
        with self._lock:
            return self._failures.pop(0) if self._failures else None

    def take_preemption(self, files: Collection[str]) -> Preemption | None:
        """Remove and return the preemption that newly written files trigger, if there is one."""
        with self._lock:
            for preemption in self._preemptions:
                if preemption.times > 0 and fnmatch.filter(files, preemption.when):
                    preemption.times -= 1
                    return preemption
        return None

    def _add(self, error: InjectedError) -> None:
        with self._lock:
            self._errors.append(error)
