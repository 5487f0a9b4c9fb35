"""The life of a job: wait for a machine, run, possibly lose the machines and get others, end.

    PENDING -> RUNNING -> SUCCEEDED | FAILED            PENDING | RUNNING -> CANCELLING -> CANCELLED

A preempted job goes back to PENDING and is started again, six times at most, as the guide to Spot machines says:
https://cloud.google.com/vertex-ai/docs/training/use-spot-vms
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path

import grpc
from google.cloud import storage
from google.cloud.aiplatform_v1.types import CustomJob, JobState, Scheduling

from emulators.vertex.faults import Faults, Preemption
from emulators.vertex.jobs import Jobs
from emulators.vertex.mount import Mount
from emulators.vertex.replicas import Replicas

RESTARTS = 6
_TICK = 0.05
_TOO_LONG = "The job has exceeded its timeout."


@dataclass(frozen=True)
class Image:
    """The stand-in of a container image: a folder of programs, first on PATH, and a root folder, on PYTHONPATH."""

    binaries: Path = field(default_factory=lambda: Path(sys.executable).parent)
    root: Path | None = field(default_factory=lambda: Path(__file__).resolve().parents[2])


class Ending(Enum):
    """How an attempt at a job ended."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"


class Runner:
    """Runs jobs, each in a thread.

    Args:
        jobs: the store of their states.
        faults: faults to inject.
        root: folder of mounts and logs.
        open_storage: returns a client of Cloud Storage.
        images: stand-ins of container images; other images run in this process's own environment.
        capacity: jobs that have machines at the same time.
        grace: seconds between SIGTERM and SIGKILL.
        variables: added to the environment of every container.
    """

    def __init__(
        self,
        jobs: Jobs,
        faults: Faults,
        root: Path,
        open_storage: Callable[[], storage.Client],
        *,
        images: Mapping[str, Image],
        capacity: int,
        grace: float,
        variables: Mapping[str, str],
    ) -> None:
        self._jobs, self._faults, self._root, self._open_storage = jobs, faults, root, open_storage
        self._images, self._grace, self._variables = images, grace, variables
        self._slots = threading.Semaphore(capacity)
        self._cancelled: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def begin(self, job: CustomJob) -> None:
        """Run a new job in the background."""
        self._cancelled[job.name] = threading.Event()
        thread = threading.Thread(target=self._run_job, args=(job,), name=f"job {job.name[-6:]}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def cancel(self, name: str) -> None:
        """Request a job's end; it is CANCELLING until its processes are gone."""
        self._jobs.change(name, JobState.JOB_STATE_CANCELLING)
        if event := self._cancelled.get(name):
            event.set()

    def close(self) -> None:
        """End all jobs; returns when their processes are gone."""
        for job in self._jobs.live():
            self.cancel(job.name)
        for thread in self._threads:
            thread.join()

    def logs(self, name: str) -> Path:
        """Return the folder of the output of a job's replicas."""
        return self._root / "logs" / name.rpartition("/")[2]

    def _run_job(self, job: CustomJob) -> None:
        try:
            for _ in range(RESTARTS + 1):
                if self._attempt(job) is not Ending.PREEMPTED:
                    return
            self._fail(job, grpc.StatusCode.RESOURCE_EXHAUSTED, "Preempted too often: STOCKOUT of Spot machines.")
        except Exception as error:  # noqa: BLE001 - after any error the client must not wait forever
            traceback.print_exc()
            self._fail(job, grpc.StatusCode.INTERNAL, f"The emulator failed: {error}")

    def _attempt(self, job: CustomJob) -> Ending:
        if not self._wait_for_slot(job):
            return Ending.CANCELLED
        try:
            if failure := self._faults.take_failure():
                self._fail(job, failure.code, failure.message)
                return Ending.FAILED
            return self._run(job)
        finally:
            self._slots.release()

    def _wait_for_slot(self, job: CustomJob) -> bool:
        scheduling = job.job_spec.scheduling
        limit = scheduling.max_wait_duration.total_seconds() if scheduling.max_wait_duration else 0.0
        flexible = scheduling.strategy == Scheduling.Strategy.FLEX_START
        began = time.monotonic()
        while self._faults.held or not self._slots.acquire(timeout=_TICK):
            if self._cancelled[job.name].wait(_TICK):
                self._jobs.change(job.name, JobState.JOB_STATE_CANCELLED)
                return False
            if flexible and limit and time.monotonic() - began > limit:
                message = "Resources are insufficient: max_wait_duration has passed."
                self._fail(job, grpc.StatusCode.RESOURCE_EXHAUSTED, message)
                return False
        return True

    def _run(self, job: CustomJob) -> Ending:
        mount = Mount(self._root / "mounts" / job.name.rpartition("/")[2], self._open_storage())
        containers = [pool.container_spec for pool in job.job_spec.worker_pool_specs]
        mount.fill(
            text for one in containers for text in (*one.command, *one.args, *(variable.value for variable in one.env))
        )
        image = self._images.get(containers[0].image_uri, Image())
        replicas = Replicas(
            job,
            mount,
            logs=self.logs(job.name),
            binaries=image.binaries,
            root=image.root,
            variables=self._variables,
        )
        try:
            self._jobs.change(job.name, JobState.JOB_STATE_RUNNING)
            replicas.start()
            ending, finish = self._watch(job, replicas, mount)
        finally:
            replicas.stop(self._grace)
            mount.sync(final=True)
        finish()
        return ending

    def _watch(self, job: CustomJob, replicas: Replicas, mount: Mount) -> tuple[Ending, Callable[[], None]]:
        """Watch the replicas until the attempt ends; returns its ending, and the state change to apply afterwards."""
        timeout = job.job_spec.scheduling.timeout
        deadline = time.monotonic() + (timeout.total_seconds() if timeout else 7 * 86400.0)
        while True:
            if self._cancelled[job.name].wait(_TICK):
                return Ending.CANCELLED, lambda: self._jobs.change(job.name, JobState.JOB_STATE_CANCELLED)
            mount.sync()
            if preemption := self._faults.take_preemption(mount.written):
                return self._preempt(job, preemption)
            failed = replicas.failed()
            if failed is not None:
                exited = (
                    f"The replica {failed[0]} exited with a non-zero status of {failed[1]}. "
                    f"To find out more about why your job exited please check the logs: {self.logs(job.name)}"
                )
                return Ending.FAILED, partial(self._fail, job, grpc.StatusCode.INTERNAL, exited)
            if replicas.done():
                replicas.wait(self._grace)
                return Ending.DONE, lambda: self._jobs.change(job.name, JobState.JOB_STATE_SUCCEEDED)
            if time.monotonic() > deadline:
                return Ending.FAILED, lambda: self._fail(job, grpc.StatusCode.DEADLINE_EXCEEDED, _TOO_LONG)

    def _preempt(self, job: CustomJob, preemption: Preemption) -> tuple[Ending, Callable[[], None]]:
        if preemption.for_good or job.job_spec.scheduling.disable_retries:
            code, message = grpc.StatusCode.RESOURCE_EXHAUSTED, "The Spot machine was preempted: STOCKOUT."
            return Ending.FAILED, lambda: self._fail(job, code, message)
        return Ending.PREEMPTED, lambda: self._jobs.change(job.name, JobState.JOB_STATE_PENDING)

    def _fail(self, job: CustomJob, code: grpc.StatusCode, message: str) -> None:
        self._jobs.change(job.name, JobState.JOB_STATE_FAILED, code, message)
