"""Training on Vertex AI: upload the records, find, join or create the job, follow it, download the results.

Every step is idempotent: uploaded records are not sent again, a live job is found by its label, complete results need
no job. A run that was killed at any moment therefore resumes when it is started again, without a second job. A job
outlives the process that follows it, unless the user cancels its run.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conceptry.errors import TrainingCancelled, TrainingError
from tasks.file_io import write_atomically
from tasks.training import cost
from tasks.training.begun_training import BegunTraining, no_machine
from tasks.training.bucket import METRICS, PROGRESS, Store, Tail
from tasks.training.creation_lock import PAUSE, CreationLock
from tasks.training.custom_job import FINGERPRINT, JobSpec, label
from tasks.training.job_snapshot import Job
from tasks.training.job_weights import check_weights
from tasks.training.shared_jobs import JobSharing, Ticket
from tasks.training.training_request import Progress, TrainingRequest, read_results, relay
from tasks.training.vertex_clients import Cloud
from trainer.metrics import TrainingMetrics
from trainer.ticket_folder import Ended

COST = "cost.json"
"""File beside the trainer's results with their cost."""


@dataclass(frozen=True)
class Callbacks:
    """Callbacks of a Vertex AI job.

    Attributes:
        on_progress: Called for each step that the trainer reports.
        on_event: Called for its other lines.
        log: Called with a line of text for each change of the job.
        is_cancelled: Returns whether the run was cancelled.
        creation_guard: Lock to hold while a job is found or created; None for the one in the bucket.
        now: Returns the time by a clock that can be trusted; None if that clock does not respond.
    """

    on_progress: Callable[[Progress], None] = lambda _: None
    on_event: Callable[[Mapping[str, Any]], None] = lambda _: None
    log: Callable[[str], None] = lambda _: None
    is_cancelled: Callable[[], bool] = lambda: False
    creation_guard: Callable[[], AbstractContextManager[Any]] | None = None
    now: Callable[[], datetime | None] = lambda: datetime.now(UTC)


def train_vertex(request: TrainingRequest, spec: JobSpec, cloud: Cloud, callbacks: Callbacks) -> TrainingMetrics:
    """Train, or resume an interrupted training, and return metrics.json.

    Writes cost.json, the estimated cost of all jobs of this training, beside the trainer's results.

    Raises:
        TrainingError: the trainer refused its input or failed, or no machine was available; a retry would fail, too.
        TrainingCancelled: the user cancelled the run; its job was cancelled, too.
        TransientError: Google did not respond for `patience_seconds`; a live job continues and is found by a retry.
        SettingsError: the settings or the credentials are not usable.
        DataCorruptError: a result does not have the digest that the trainer recorded.
    """
    if not request.output.is_dir():
        store = _finished(spec, cloud)
        if store is None:
            check_weights(request, cloud)
            store = _make(request, spec, cloud, callbacks=callbacks)
        callbacks.log(f"downloading the results from {store.uri}output/")
        store.download_output(request.output)
    _write_cost(request.output, spec, cloud)
    return read_results(request.output, request.concept)


def end_jobs(spec: JobSpec, cloud: Cloud) -> list[Job]:
    """Cancel a training in its live jobs, and wait for its end: a job of its own is cancelled as a whole."""
    live = cloud.jobs.live(spec.installation)
    own = [BegunTraining(job) for job in live if job.labels.get(FINGERPRINT) == label(spec.fingerprint)]
    tickets = (ticket for job in live for ticket in cloud.shared_jobs(spec.installation).open_in(job))
    own += [BegunTraining(ticket.job, ticket) for ticket in tickets if ticket.fingerprint == spec.fingerprint]
    return [begun.end(spec, cloud) for begun in own]


def _store(spec: JobSpec, cloud: Cloud) -> Store:
    """Return the objects of a training that no job has begun."""
    return Store(cloud.bucket, spec.prefix, spec.concept)


def _finished(spec: JobSpec, cloud: Cloud) -> Store | None:
    """Return where the results of a training are; None if they do not exist."""
    own = _store(spec, cloud)
    if own.has(METRICS):
        return own
    before = [BegunTraining(job) for job in cloud.jobs.of(spec) if job.state == "SUCCEEDED"]
    before += [
        BegunTraining(ticket.job, ticket)
        for ticket in cloud.shared_jobs(spec.installation).of(spec.fingerprint)
        if (ended := ticket.ended()) and ended.code == 0
    ]
    stores = (begun.store(spec, cloud) for begun in before)
    return next((store for store in stores if store.uri != own.uri and store.has(METRICS)), None)


def _make(request: TrainingRequest, spec: JobSpec, cloud: Cloud, *, callbacks: Callbacks) -> Store:
    """Run jobs one after the other until the results are in the bucket, and return where; another one follows if a
    machine is lost.
    """
    why = ""
    for attempt in range(cloud.settings.max_attempts):
        begun = _begin(request, spec, cloud, callbacks=callbacks)
        if begun is None:
            return _finished(spec, cloud) or _store(spec, cloud)
        store = begun.store(spec, cloud)
        job, ended = _watch(begun, spec, cloud, store, callbacks=callbacks)
        if begun.is_done(job, ended):
            return store
        why = begun.why_again(job, ended, spec, cloud)
        callbacks.log(f"job {job.short} {why}; attempt {attempt + 2} resumes")
    raise TrainingError(
        f"{cloud.settings.max_attempts} jobs lost their machines one after the other",
        concept=request.concept,
        next_step="try CONCEPTRY_VERTEX_PROVISIONING=standard or flex-start, or another region; the checkpoint is kept",
        last_lines=[why],
    )


def _begin(request: TrainingRequest, spec: JobSpec, cloud: Cloud, *, callbacks: Callbacks) -> BegunTraining | None:
    """Return the live job of this training, else upload its data and join or create one; None if the results exist
    already.
    """
    live = cloud.jobs.live(spec.installation)
    sharing = cloud.shared_jobs(spec.installation).sharing(spec)
    own = [job for job in live if job.labels.get(FINGERPRINT) == label(spec.fingerprint)]
    job = cloud.jobs.keep_one(own) if own else sharing.find(live)
    if job is not None:
        callbacks.log(f"found its live job {job.short}")
    else:
        store = _store(spec, cloud)
        sent = store.upload(_inputs(request), "records")
        callbacks.log(f"uploaded {len(sent)} files to {store.uri}" if sent else f"the data is already in {store.uri}")
        job = _find_or_create(spec, cloud, sharing, callbacks=callbacks)
    if job is None:
        return None
    callbacks.log(f"job {job.short}: {cloud.settings.job_link(job.name)}")
    ticket = sharing.ticket_in(job)
    if ticket is not None and (before := ticket.before()):
        callbacks.log(f"job {job.short} does {before} other trainings first")
    return BegunTraining(job, ticket)


def _find_or_create(spec: JobSpec, cloud: Cloud, sharing: JobSharing, *, callbacks: Callbacks) -> Job | None:
    def stop() -> None:
        """Raise TrainingCancelled if the run was cancelled."""
        if callbacks.is_cancelled():
            raise TrainingCancelled("the run was cancelled before it had a job", concept=spec.concept)

    def wait() -> None:
        callbacks.log(f"waiting for a job to end: the limit of {cloud.settings.max_jobs} jobs is reached")

    pause = min(PAUSE, cloud.settings.poll_seconds)
    lock = CreationLock(cloud.bucket, spec.installation, f"run {spec.run}", pause=pause, stop=stop)
    guard = callbacks.creation_guard or lock.held
    return cloud.jobs.find_or_create(
        spec, sharing=sharing, guard=guard, on_wait=wait, stop=stop, done=lambda: _finished(spec, cloud) is not None
    )


def _watch(
    begun: BegunTraining, spec: JobSpec, cloud: Cloud, store: Store, *, callbacks: Callbacks
) -> tuple[Job, Ended | None]:
    """Follow a training until it or its job has ended; return the job, and how the training ended in a shared one."""
    tail, job = Tail(store, PROGRESS), begun.job
    state, since = "", time.monotonic() - _waited(job, callbacks)
    try:
        while True:
            if job.state != state:
                since = time.monotonic() if job.started else since
                state = job.state
                callbacks.log(f"job {job.short} is {state.lower().replace('_', ' ')}")
            ended = begun.ended()
            tail.relay(lambda line: relay(line, callbacks.on_progress, callbacks.on_event))
            if ended is not None or not job.live:
                return job, ended
            if callbacks.is_cancelled():
                _cancel(begun, spec, cloud, callbacks)
                raise TrainingCancelled("the run was cancelled, and its job with it", concept=spec.concept)
            _check_patience(job, since, cloud, spec, begun.ticket)
            time.sleep(cloud.settings.poll_seconds)
            job = cloud.jobs.get(job.name)
    except Exception:
        raise
    except BaseException as ending:
        # The process is being ended. The paid job continues, unless the user cancelled the run or pressed Ctrl-C.
        if isinstance(ending, KeyboardInterrupt) or callbacks.is_cancelled():
            _cancel(begun, spec, cloud, callbacks)
        else:
            callbacks.log(f"job {job.short} continues; a retry of the run finds it")
        raise


def _cancel(begun: BegunTraining, spec: JobSpec, cloud: Cloud, callbacks: Callbacks) -> None:
    callbacks.log(f"cancelling {'job' if begun.ticket is None else 'the training in job'} {begun.job.short}")
    ended = begun.end(spec, cloud)
    callbacks.log(f"job {ended.short} is {ended.state.lower()}")


def _waited(job: Job, callbacks: Callbacks) -> float:
    """Return the seconds for which a job without a machine has waited for one."""
    moment = callbacks.now() if job.started is None else None
    return 0.0 if moment is None else max(0.0, (moment - job.created).total_seconds())


def _check_patience(job: Job, since: float, cloud: Cloud, spec: JobSpec, ticket: Ticket | None) -> None:
    if job.state in ("PENDING", "QUEUED") and time.monotonic() - since > cloud.settings.pending_hours * 3600:
        if ticket is not None:
            ticket.close()  # tells the others why it is cancelled
        cloud.jobs.end(job)
        raise no_machine(spec, cloud)


def _inputs(request: TrainingRequest) -> dict[str, Path]:
    """Return the files that the job reads, by their names in the bucket."""
    config = request.output.with_name("config.json")
    config.write_text(json.dumps(dict(request.config), indent=2) + "\n", encoding="utf-8")
    records = sorted(path for path in request.records.rglob("*") if path.is_file())
    inputs = {f"records/{path.relative_to(request.records).as_posix()}": path for path in records}
    inputs["config.json"] = config
    return inputs | {name: request.vectors[option] for option, name in request.objects.items()}


def _write_cost(output: Path, spec: JobSpec, cloud: Cloud) -> None:
    if not (output / COST).is_file():
        uses = [job.use() for job in cloud.jobs.of(spec)]
        uses += [ticket.use() for ticket in cloud.shared_jobs(spec.installation).of(spec.fingerprint)]
        prices = cost.Prices.load(cloud.settings.prices)
        text = cost.dumps(cost.estimate(uses, prices, cloud.settings.provisioning))
        write_atomically(output / COST, text.encode())
