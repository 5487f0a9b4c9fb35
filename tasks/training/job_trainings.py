"""What the live jobs of an installation train, for whoever ends or keeps it without following it."""

from dataclasses import dataclass
from datetime import datetime

from tasks.training.custom_job import RUN, SHARED
from tasks.training.job_snapshot import Job
from tasks.training.shared_jobs import Ticket
from tasks.training.vertex_clients import Cloud


@dataclass(frozen=True)
class JobTraining:
    """A training that a live job does or is to do, for a run that asked for it at a moment.

    `ticket` is None if the job does no other training.
    """

    job: Job
    concept: str
    fingerprint: str
    run: str
    asked: datetime
    ticket: Ticket | None = None


def live_trainings(cloud: Cloud, installation: str) -> list[JobTraining]:
    """Return what the live jobs of an installation do or are to do."""
    shared = cloud.shared_jobs(installation)
    found = []
    for job in cloud.jobs.live(installation):
        if SHARED not in job.labels:
            found.append(JobTraining(job, *_of_home(job.home), job.labels.get(RUN, ""), job.created))
        for ticket in shared.open_in(job):
            wanted = ticket.wanted()
            found.append(JobTraining(job, *_of_home(wanted.home), wanted.run, ticket.written, ticket))
    return found


def end_training(cloud: Cloud, installation: str, training: JobTraining) -> None:
    """Request the end of a training, and of its job if that does no other; do not wait for it."""
    if training.ticket is None:
        cloud.jobs.cancel(training.job)
    else:
        cloud.shared_jobs(installation).cancel(training.ticket)


def _of_home(home: str) -> tuple[str, str]:
    """Return concept and fingerprint of a training, by its folder: the label lacks a character of the latter."""
    concept, fingerprint = home.rstrip("/").split("/")[-2:]
    return concept, fingerprint
