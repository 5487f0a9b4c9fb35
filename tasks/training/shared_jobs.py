"""Jobs that train several concepts, one after the other (CONCEPTRY_VERTEX_CONCEPTS_PER_JOB).

A run asks such a job for its training by a ticket, an object in the job's queue, and follows its own training as it
does in a job of its own. `trainer.ticket_folder` says what is in a queue, `trainer.training_queue` is the job's side.

    gs://BUCKET/conceptry/INSTALLATION/.jobs/ATTEMPT/                    queue of the job with that label
    gs://BUCKET/conceptry/INSTALLATION/.trainings/FINGERPRINT/ATTEMPT    the training has, or had, a ticket there
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from google.api_core import exceptions as google

from conceptry.vertex_settings import VertexSettings
from tasks.training.bucket import CALL_SECONDS, storage_errors
from tasks.training.cost import Use
from tasks.training.custom_job import ATTEMPT, SHARED, JobSpec, custom_job, queue, shared_job, trainings
from tasks.training.job_snapshot import Job
from tasks.training.renewed_bucket import renewing
from tasks.training.vertex_jobs import VertexJobs
from trainer import ticket_folder
from trainer.ticket_folder import BEGUN, CANCELLED, CLOSED, ENDED, TICKETS, Ended, Wanted

MARKS = ".trainings"


@dataclass(frozen=True)
class Queue:
    """Objects by which runs and one job speak, below a prefix of a bucket."""

    bucket: Any
    prefix: str

    @renewing
    def names(self) -> dict[str, datetime]:
        """Return when each object was written, by its name below the prefix."""
        with storage_errors(None, self._uri):
            found = self.bucket.client.list_blobs(self.bucket.name, prefix=self.prefix, timeout=CALL_SECONDS)
            return {blob.name.removeprefix(self.prefix): blob.time_created for blob in found}

    @renewing
    def read(self, kind: str, name: str) -> bytes | None:
        """Return the content of an object; None if it does not exist."""
        with storage_errors(None, self._uri):
            blob = self.bucket.get_blob(f"{self.prefix}{kind}/{name}", timeout=CALL_SECONDS)
            return None if blob is None else blob.download_as_bytes(timeout=CALL_SECONDS)

    @renewing
    def write(self, name: str, content: str) -> None:
        """Write an object, unless it exists."""
        with storage_errors(None, self._uri):
            try:
                self.bucket.blob(self.prefix + name).upload_from_string(
                    content, "application/json", if_generation_match=0, timeout=CALL_SECONDS
                )
            except google.PreconditionFailed:
                return

    @property
    def _uri(self) -> str:
        return f"gs://{self.bucket.name}/{self.prefix}"


def _of_kind(names: Iterable[str], kind: str) -> set[str]:
    return {name.removeprefix(f"{kind}/") for name in names if name.startswith(f"{kind}/")}


@dataclass(frozen=True)
class Ticket:
    """Ticket of one training in a shared job, and when it was written, by the bucket's clock."""

    job: Job
    queue: Queue
    name: str
    written: datetime

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the training."""
        return self.name.partition("-")[2]

    def wanted(self) -> Wanted:
        """Return what it asks for."""
        content = self.queue.read(TICKETS, self.name)
        assert content is not None
        return ticket_folder.wanted(content)

    def is_begun(self) -> bool:
        """Whether the job has begun its training."""
        return self.queue.read(BEGUN, self.name) is not None

    def ended(self) -> Ended | None:
        """Return how its training ended; None if that has not ended."""
        content = self.queue.read(ENDED, self.name)
        return None if content is None else ticket_folder.ended(content)

    def before(self) -> int:
        """Return how many trainings the job does first."""
        names = self.queue.names()
        waiting = _of_kind(names, TICKETS) - _of_kind(names, ENDED) - _of_kind(names, CANCELLED)
        return sum(name < self.name for name in waiting)

    def is_closed(self) -> bool:
        """Whether the job takes no further tickets: one that has not ended may have come too late."""
        return CLOSED in self.queue.names()

    def close(self) -> None:
        """Have the job take no further tickets."""
        self.queue.write(CLOSED, "{}")

    def use(self) -> Use:
        """Return its share of the job: the time since the job was free for it, until its end."""
        begun, ended, job = self.queue.read(BEGUN, self.name), self.ended(), self.job
        if begun is None:
            return replace(job.use(), seconds=0.0)
        free = ticket_folder.begun(begun).free
        since = job.started if free is None else datetime.fromisoformat(free)
        until = datetime.fromisoformat(ended.at) if ended else job.ended or datetime.now(UTC)
        return replace(job.use(), seconds=max(0.0, (until - since).total_seconds()) if since else 0.0)


class SharedJobs:
    """Shared jobs of one installation.

    Args:
        jobs: Jobs on Vertex AI.
        bucket: Bucket of google-cloud-storage.
        settings: Settings of training on Vertex AI.
        installation: Id of the installation.
    """

    def __init__(self, jobs: VertexJobs, bucket: Any, settings: VertexSettings, installation: str) -> None:
        self._jobs, self._bucket, self._settings, self._installation = jobs, bucket, settings, installation

    def of(self, fingerprint: str) -> list[Ticket]:
        """Return all tickets that a training has had, the oldest first."""
        attempts = Queue(self._bucket, self._marks(fingerprint)).names()
        found = [job for attempt in sorted(attempts) for job in self._jobs.of_attempt(attempt, self._installation)]
        tickets = (ticket for job in sorted(found, key=lambda job: job.created) for ticket in self.all_in(job))
        return [ticket for ticket in tickets if ticket.fingerprint == fingerprint]

    def all_in(self, job: Job) -> list[Ticket]:
        """Return the tickets in a job, in order; none in a job of one training."""
        return self._tickets(job, TICKETS) if SHARED in job.labels else []

    def open_in(self, job: Job) -> list[Ticket]:
        """Return the tickets in a live job whose trainings are to be done, in order; none in a job of one training."""
        return self._tickets(job, TICKETS, ENDED, CANCELLED) if SHARED in job.labels and job.live else []

    def sharing(self, spec: JobSpec) -> "JobSharing":
        """Return what finds, joins or creates a job for a training."""
        return JobSharing(spec, self, self._settings)

    def cancel(self, ticket: Ticket) -> None:
        """Have a job stop or skip a training; cancel the job itself if nobody else waits for it."""
        ticket.queue.write(f"{CANCELLED}/{ticket.name}", "{}")
        if not self.open_in(ticket.job):
            ticket.close()
            if not self.open_in(ticket.job):  # Nobody came in between.
                self._jobs.cancel(ticket.job)

    def add(self, attempt: str, spec: JobSpec) -> bool:
        """Put a ticket into a queue; return False if it is closed or full."""
        place = Queue(self._bucket, queue(self._installation, attempt))
        names = place.names()
        numbers = [int(name.partition("-")[0]) for name in _of_kind(names, TICKETS)]
        if CLOSED in names or len(numbers) >= self._settings.concepts_per_job:
            return False
        Queue(self._bucket, self._marks(spec.fingerprint)).write(attempt, "{}")
        name = f"{max(numbers, default=0) + 1:03d}-{spec.fingerprint}"
        wanted = Wanted(spec.prefix.removeprefix(trainings(spec.installation)).rstrip("/"), spec.run, spec.vectors)
        place.write(f"{TICKETS}/{name}", ticket_folder.dumps(wanted))
        return True

    def _tickets(self, job: Job, *kinds: str) -> list[Ticket]:
        """Return the tickets of a job that are of the first kind and of none of the others, in order."""
        place = self._queue_of(job)
        names = place.names()
        first, *others = (_of_kind(names, kind) for kind in kinds)
        return [Ticket(job, place, name, names[f"{kinds[0]}/{name}"]) for name in sorted(first.difference(*others))]

    def _queue_of(self, job: Job) -> Queue:
        """Return the queue of a job, which may have been created with another bucket."""
        name, _, prefix = job.home.removeprefix("gs://").partition("/")
        bucket = self._bucket if name == self._bucket.name else self._bucket.client.bucket(name)
        return Queue(bucket, prefix.rstrip("/") + "/")

    def _marks(self, fingerprint: str) -> str:
        return f"{trainings(self._installation)}{MARKS}/{fingerprint}/"


class JobSharing:
    """Finds, joins or creates the job of one training: what `VertexJobs.find_or_create` asks.

    Args:
        spec: The training.
        shared: Shared jobs of its installation.
        settings: Settings of training on Vertex AI.
    """

    def __init__(self, spec: JobSpec, shared: SharedJobs, settings: VertexSettings) -> None:
        self._spec, self._shared, self._settings = spec, shared, settings

    def ticket_in(self, job: Job) -> Ticket | None:
        """Return the last ticket of the training in a job; None if it is not a shared one."""
        own = [ticket for ticket in self._shared.all_in(job) if ticket.fingerprint == self._spec.fingerprint]
        return own[-1] if own else None

    def find(self, live: Iterable[Job]) -> Job | None:
        """Return the live shared job in which the training has a ticket; of several the oldest, and cancel the others.

        Args:
            live: Live jobs of the installation.
        """
        jobs = sorted({job.name: job for job in live}.values(), key=lambda job: (job.created, job.name))
        tickets = (ticket for job in jobs for ticket in self._shared.open_in(job))
        own = [ticket for ticket in tickets if ticket.fingerprint == self._spec.fingerprint]
        for ticket in own[1:]:
            self._shared.cancel(ticket)
        return own[0].job if own else None

    def join(self, live: Iterable[Job]) -> Job | None:
        """Put a ticket into the first job that has the present settings, and room; return it."""
        kind = shared_job(self._spec, self._settings, "")["labels"][SHARED]
        for job in live if self._settings.concepts_per_job > 1 else ():
            if job.labels.get(SHARED) == kind and job.state != "CANCELLING" and self._add(job):
                return job
        return None

    def payload(self, attempt: str) -> dict[str, Any]:
        """Return the job to create; if it is a shared one, put a ticket into its queue."""
        if self._settings.concepts_per_job == 1:
            return custom_job(self._spec, self._settings, attempt)
        self._shared.add(attempt, self._spec)
        return shared_job(self._spec, self._settings, attempt)

    def _add(self, job: Job) -> bool:
        """Put a ticket into a job's queue, unless that is full or being closed; return whether it is there."""
        if not self._shared.add(job.labels[ATTEMPT], self._spec):
            return False
        ticket = self.ticket_in(job)
        if ticket is None or ticket.is_closed():
            if ticket is not None:
                self._shared.cancel(ticket)
            return False
        return True
