"""Snapshot of a job on Vertex AI."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks.training.cost import Use

ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"})


@dataclass(frozen=True)
class Job:
    """Snapshot of a job; `state` has no prefix JOB_STATE_."""

    name: str
    state: str
    display_name: str
    labels: dict[str, str]
    created: datetime
    started: datetime | None
    ended: datetime | None
    code: int
    message: str
    home: str
    machine_type: str
    accelerator_type: str | None
    accelerator_count: int
    replicas: int

    @property
    def live(self) -> bool:
        """Whether the job incurs cost, or may still do so."""
        return self.state not in ENDED

    @property
    def short(self) -> str:
        """Last part of the job's name."""
        return self.name.rpartition("/")[2]

    def use(self) -> Use:
        """Return the job's usage so far."""
        end = self.ended or datetime.now(UTC)
        seconds = (end - self.started).total_seconds() if self.started else 0.0
        billed = self.state not in ("FAILED", "EXPIRED")
        return Use(
            self.name, self.machine_type, self.accelerator_type, self.accelerator_count, self.replicas, seconds, billed
        )


def snapshot(job: Any) -> Job:
    """Return the snapshot of a CustomJob of the client library."""
    pools = job.job_spec.worker_pool_specs
    machine = pools[0].machine_spec if pools else None
    accelerator = machine.accelerator_type.name if machine and machine.accelerator_type else None
    return Job(
        name=job.name,
        state=job.state.name.removeprefix("JOB_STATE_"),
        display_name=job.display_name,
        labels=dict(job.labels),
        created=_moment(job.create_time) or datetime.now(UTC),
        started=_moment(job.start_time),
        ended=_moment(job.end_time),
        code=int(job.error.code) if job.error else 0,
        message=str(job.error.message) if job.error else "",
        home=job.job_spec.base_output_directory.output_uri_prefix,
        machine_type=machine.machine_type if machine else "",
        accelerator_type=accelerator,
        accelerator_count=int(machine.accelerator_count) if machine else 0,
        replicas=sum(int(pool.replica_count) for pool in pools),
    )


def _moment(stamp: Any) -> datetime | None:
    return datetime.fromtimestamp(stamp.timestamp(), UTC) if stamp else None
