"""A training that a job on Vertex AI does or is to do: a job of its own, or a shared one, in which it has a ticket."""

import time
from dataclasses import dataclass

from conceptry.errors import TrainingError
from tasks.training.bucket import Store
from tasks.training.custom_job import JobSpec, trainings
from tasks.training.job_failure import is_machine_lost, is_process_lost, job_failure, shared_job_failure
from tasks.training.job_snapshot import Job
from tasks.training.shared_jobs import Ticket
from tasks.training.vertex_clients import Cloud
from trainer.ticket_folder import Ended


@dataclass(frozen=True)
class BegunTraining:
    """A training in a job; `ticket` is None if the job does no other."""

    job: Job
    ticket: Ticket | None = None

    def store(self, spec: JobSpec, cloud: Cloud) -> Store:
        """Return its objects, which may be those of an earlier name of the concept, or in another bucket."""
        if self.ticket is not None:
            prefix = f"{trainings(spec.installation)}{self.ticket.wanted().home}/"
            return Store(self.ticket.queue.bucket, prefix, spec.concept)
        if not self.job.home.startswith("gs://"):
            return Store(cloud.bucket, spec.prefix, spec.concept)
        name, _, prefix = self.job.home.removeprefix("gs://").partition("/")
        bucket = cloud.bucket if name == cloud.bucket.name else cloud.bucket.client.bucket(name)
        return Store(bucket, prefix.rstrip("/") + "/", spec.concept)

    def ended(self) -> Ended | None:
        """Return how it ended in a shared job; None if it has not ended."""
        return self.ticket.ended() if self.ticket else None

    def end(self, spec: JobSpec, cloud: Cloud) -> Job:
        """Cancel it, wait for its end, and return the state of its job; a shared one goes on with the others."""
        if self.ticket is None:
            return cloud.jobs.end(self.job)
        cloud.shared_jobs(spec.installation).cancel(self.ticket)
        while (job := cloud.jobs.get(self.job.name)).live and self.ticket.is_begun() and self.ended() is None:
            time.sleep(min(cloud.settings.poll_seconds, 5.0))
        return job

    def is_done(self, job: Job, ended: Ended | None) -> bool:
        """Whether its results are there, by the state of its job and how it ended in a shared one."""
        return job.state == "SUCCEEDED" if self.ticket is None else ended is not None and ended.code == 0

    def why_again(self, job: Job, ended: Ended | None, spec: JobSpec, cloud: Cloud) -> str:
        """Return why another job may succeed where this one did not: what happened to it, in words.

        Raises:
            TrainingError: another one would fail, too.
        """
        if ended is not None:
            if is_process_lost(ended):
                return f"lost the process of this training (exit code {ended.code})"
            raise shared_job_failure(spec.concept, ended, job, cloud.settings)
        if is_machine_lost(job):
            return f"lost its machine ({job.message or job.state})"
        if self.ticket is not None:
            if job.state == "SUCCEEDED":
                return "ended before the turn of this training came"
            if job.state == "CANCELLED" and self.ticket.is_closed():
                raise no_machine(spec, cloud)
        raise job_failure(spec.concept, job, cloud.settings, cloud.last_lines(job.short))


def no_machine(spec: JobSpec, cloud: Cloud) -> TrainingError:
    """Return the error of a training whose job waited too long for a machine."""
    return TrainingError(
        f"no {cloud.settings.accelerator_type or cloud.settings.machine_type} was free in {cloud.settings.region} "
        f"for {cloud.settings.pending_hours:g} hours; the job was cancelled before it cost anything",
        concept=spec.concept,
        next_step="retry the run, or set CONCEPTRY_VERTEX_REGION, _PROVISIONING or _PENDING_HOURS",
    )
