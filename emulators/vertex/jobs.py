"""The store of jobs: creation, listing, state changes; kept in a folder over restarts."""

from __future__ import annotations

import datetime
import random
import threading
import time
from pathlib import Path

import grpc
from google.cloud.aiplatform_v1.types import CustomJob, JobState
from google.rpc import status_pb2

from emulators import atomic_files
from emulators.vertex import filters

LIVE = frozenset(
    {
        JobState.JOB_STATE_QUEUED,
        JobState.JOB_STATE_PENDING,
        JobState.JOB_STATE_RUNNING,
        JobState.JOB_STATE_CANCELLING,
        JobState.JOB_STATE_UPDATING,
    }
)
_PAGE = 100


class RequestError(Exception):
    """A wrong request, with the status that the client gets."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Jobs:
    """All jobs, by resource name; safe for threads.

    `received` holds every create request as it arrived; `history` every change of state, in order.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.RLock()
        self._jobs: dict[str, CustomJob] = {}
        self._shown_at: dict[str, float] = {}
        self.received: list[CustomJob] = []
        self.history: list[tuple[str, dict[str, str], JobState]] = []
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.json")):
            self._load(CustomJob.from_json(path.read_text(encoding="utf-8")))

    def create(self, parent: str, job: CustomJob, lag: float = 0.0) -> CustomJob:
        """Store a new job; it is listed `lag` seconds later.

        Raises:
            RequestError: the job lacks a required field, or a label is too long.
        """
        self.received.append(CustomJob.deserialize(CustomJob.serialize(job)))
        _check(job)
        with self._lock:
            name = f"{parent}/customJobs/{random.randint(10**18, 9 * 10**18)}"
            job.name, job.state = name, JobState.JOB_STATE_PENDING
            job.create_time = job.update_time = _now()
            self._jobs[name] = job
            self._shown_at[name] = time.monotonic() + lag
            self._record(job)
            return _copy(job)

    def get(self, name: str) -> CustomJob:
        """Return the current state of one job.

        Raises:
            RequestError: there is no job of that name.
        """
        with self._lock:
            if name not in self._jobs:
                raise RequestError(grpc.StatusCode.NOT_FOUND, f"The CustomJob does not exist: {name}")
            return _copy(self._jobs[name])

    def page(self, parent: str, text: str, page_size: int, page_token: str) -> tuple[list[CustomJob], str]:
        """Return a page of the jobs that match a filter, newest first, and the token of the next page.

        Raises:
            RequestError: the filter or the token is wrong.
        """
        try:
            test = filters.parse(text)
            start = int(page_token or 0)
        except ValueError as error:
            raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        with self._lock:
            now = time.monotonic()
            shown = [
                job
                for name, job in self._jobs.items()
                if name.startswith(f"{parent}/") and self._shown_at.get(name, 0) <= now and test(_fields(job))
            ]
            shown.sort(key=lambda job: job.create_time.timestamp(), reverse=True)
            end = start + min(page_size or _PAGE, _PAGE)
            return [_copy(job) for job in shown[start:end]], str(end) if end < len(shown) else ""

    def delete(self, name: str) -> None:
        """Delete a job that has ended.

        Raises:
            RequestError: there is no such job, or it has not ended.
        """
        with self._lock:
            if self.get(name).state in LIVE:
                raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, f"{name} has not ended; cancel it first")
            del self._jobs[name]
            self._path(name).unlink(missing_ok=True)

    def change(self, name: str, state: JobState, code: grpc.StatusCode | None = None, message: str = "") -> None:
        """Change the state of a job, unless it has ended."""
        with self._lock:
            job = self._jobs[name]
            if job.state not in LIVE or job.state == state:
                return
            job.state, job.update_time = state, _now()
            if state == JobState.JOB_STATE_RUNNING and not job.start_time:
                job.start_time = job.update_time
            if state not in LIVE:
                job.end_time = job.update_time
            if code is not None:
                job.error = status_pb2.Status(code=code.value[0], message=message)
            self._record(job)

    def live(self) -> list[CustomJob]:
        """Return the jobs that have not ended."""
        with self._lock:
            return [_copy(job) for job in self._jobs.values() if job.state in LIVE]

    def all(self) -> list[CustomJob]:
        """Return every job, oldest first."""
        with self._lock:
            return [_copy(job) for job in self._jobs.values()]

    def most_live(self, key: str, value: str) -> int:
        """Return the highest number of jobs with a label that were live at one time."""
        alive: set[str] = set()
        most = 0
        for name, labels, state in self.history:
            if labels.get(key) == value:
                (alive.add if state in LIVE else alive.discard)(name)
                most = max(most, len(alive))
        return most

    def _record(self, job: CustomJob) -> None:
        self.history.append((job.name, dict(job.labels), job.state))
        atomic_files.write_file(self._path(job.name), CustomJob.to_json(job).encode())

    def _load(self, job: CustomJob) -> None:
        self._jobs[job.name] = job
        code = grpc.StatusCode.INTERNAL
        self.change(job.name, JobState.JOB_STATE_FAILED, code, "The emulator was stopped while the job ran.")

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.rpartition('/')[2]}.json"


def _check(job: CustomJob) -> None:
    pools = job.job_spec.worker_pool_specs
    wrong = [] if job.display_name else ["display_name is required"]
    wrong += [] if pools else ["job_spec.worker_pool_specs is required"]
    for index, pool in enumerate(pools):
        where = f"job_spec.worker_pool_specs[{index}]"
        wrong += [] if pool.container_spec.image_uri else [f"{where}.container_spec.image_uri is required"]
        wrong += [] if pool.machine_spec.machine_type else [f"{where}.machine_spec.machine_type is required"]
        wrong += [] if pool.container_spec.command else [f"{where}: this emulator runs the command, so name it"]
    if pools and pools[0].replica_count != 1:
        wrong.append("job_spec.worker_pool_specs[0].replica_count must be 1")
    for key, value in job.labels.items():
        if len(key) > 63 or len(value) > 63:
            wrong.append(f"labels.{key}: keys and values are at most 63 characters")
    if wrong:
        raise RequestError(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(wrong))


def _fields(job: CustomJob) -> dict[str, str]:
    return {
        "name": job.name,
        "display_name": job.display_name,
        "state": job.state.name,
        "create_time": job.create_time.rfc3339(),
        "update_time": job.update_time.rfc3339(),
        **{f"labels.{key}": value for key, value in job.labels.items()},
    }


def _copy(job: CustomJob) -> CustomJob:
    return CustomJob.deserialize(CustomJob.serialize(job))


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
