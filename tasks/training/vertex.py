"""Training on Vertex AI: upload the records, find or create the job, follow it, download the results.

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
from tasks.training.bucket import METRICS, PROGRESS, Store, Tail
from tasks.training.creation_lock import PAUSE, CreationLock
from tasks.training.custom_job import JobSpec
from tasks.training.job_failure import is_machine_lost, job_failure
from tasks.training.job_snapshot import Job
from tasks.training.job_weights import check_weights
from tasks.training.training_request import Progress, TrainingRequest, read_results, relay
from tasks.training.vertex_clients import Cloud
from trainer.metrics import TrainingMetrics

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
    """Cancel the live jobs of a training and wait for their end."""
    return [cloud.jobs.end(job) for job in cloud.jobs.of(spec) if job.live]


def _store(spec: JobSpec, cloud: Cloud, job: Job | None = None) -> Store:
    """Return the objects of a job, which may have been created under an earlier name of the concept or in another
    bucket; without a job, of a new one.
    """
    if job is None or not job.home.startswith("gs://"):
        return Store(cloud.bucket, spec.prefix, spec.concept)
    name, _, prefix = job.home.removeprefix("gs://").partition("/")
    bucket = cloud.bucket if name == cloud.bucket.name else cloud.bucket.client.bucket(name)
    return Store(bucket, prefix.rstrip("/") + "/", spec.concept)


def _finished(spec: JobSpec, cloud: Cloud) -> Store | None:
    """Return where the results of a training are; None if they do not exist."""
    own = _store(spec, cloud)
    if own.has(METRICS):
        return own
    ended = (_store(spec, cloud, job) for job in cloud.jobs.of(spec) if job.state == "SUCCEEDED")
    return next((store for store in ended if store.uri != own.uri and store.has(METRICS)), None)


def _make(request: TrainingRequest, spec: JobSpec, cloud: Cloud, *, callbacks: Callbacks) -> Store:
    """Run jobs one after the other until the results are in the bucket, and return where; another one follows if a
    machine is lost.
    """
    for attempt in range(cloud.settings.max_attempts):
        begun = _begin(request, spec, cloud, callbacks=callbacks)
        if begun is None:
            return _finished(spec, cloud) or _store(spec, cloud)
        store = _store(spec, cloud, begun)
        job = _watch(begun, spec, cloud, store, callbacks=callbacks)
        if job.state == "SUCCEEDED":
            return store
        if not is_machine_lost(job):
            raise job_failure(request.concept, job, cloud.settings, cloud.last_lines(job.short))
        callbacks.log(f"job {job.short} lost its machine ({job.message or job.state}); attempt {attempt + 2} resumes")
    raise TrainingError(
        f"{cloud.settings.max_attempts} jobs lost their machines one after the other",
        concept=request.concept,
        next_step="try CONCEPTRY_VERTEX_PROVISIONING=standard or flex-start, or another region; the checkpoint is kept",
        last_lines=[job.message],
    )


def _begin(request: TrainingRequest, spec: JobSpec, cloud: Cloud, *, callbacks: Callbacks) -> Job | None:
    """Return the live job of this training, else upload its data and create one; None if the results exist already."""
    live = [job for job in cloud.jobs.of(spec) if job.live]
    job: Job | None
    if live:
        job = cloud.jobs.keep_one(live)
        callbacks.log(f"found its live job {job.short}")
    else:
        store = _store(spec, cloud)
        sent = store.upload(_inputs(request), "records")
        callbacks.log(f"uploaded {len(sent)} files to {store.uri}" if sent else f"the data is already in {store.uri}")
        job = _find_or_create(spec, cloud, callbacks=callbacks)
    if job is not None:
        callbacks.log(f"job {job.short}: {cloud.settings.job_link(job.name)}")
    return job


def _find_or_create(spec: JobSpec, cloud: Cloud, *, callbacks: Callbacks) -> Job | None:
    def stop() -> None:
        """Raise TrainingCancelled if the run was cancelled."""
        if callbacks.is_cancelled():
            raise TrainingCancelled("the run was cancelled before it had a job", concept=spec.concept)

    def wait() -> None:
        callbacks.log(
            f"waiting for a job to end: the limit of {cloud.settings.max_jobs} trainings with a job is reached"
        )

    pause = min(PAUSE, cloud.settings.poll_seconds)
    lock = CreationLock(cloud.bucket, spec.installation, f"run {spec.run}", pause=pause, stop=stop)
    guard = callbacks.creation_guard or lock.held
    return cloud.jobs.find_or_create(
        spec, guard=guard, on_wait=wait, stop=stop, done=lambda: _finished(spec, cloud) is not None
    )


def _watch(job: Job, spec: JobSpec, cloud: Cloud, store: Store, *, callbacks: Callbacks) -> Job:
    """Follow a job until it has ended, and return its final state."""
    tail = Tail(store, PROGRESS)
    state, since = "", time.monotonic() - _waited(job, callbacks)
    try:
        while True:
            if job.state != state:
                since = time.monotonic() if job.started else since
                state = job.state
                callbacks.log(f"job {job.short} is {state.lower().replace('_', ' ')}")
            tail.relay(lambda line: relay(line, callbacks.on_progress, callbacks.on_event))
            if not job.live:
                return job
            if callbacks.is_cancelled():
                _cancel(job, cloud, callbacks)
                raise TrainingCancelled("the run was cancelled, and its job with it", concept=spec.concept)
            _check_patience(job, since, cloud, spec)
            time.sleep(cloud.settings.poll_seconds)
            job = cloud.jobs.get(job.name)
    except Exception:
        raise
    except BaseException as ending:
        # The process is being ended. The paid job continues, unless the user cancelled the run or pressed Ctrl-C.
        if isinstance(ending, KeyboardInterrupt) or callbacks.is_cancelled():
            _cancel(job, cloud, callbacks)
        else:
            callbacks.log(f"job {job.short} continues; a retry of the run finds it")
        raise


def _cancel(job: Job, cloud: Cloud, callbacks: Callbacks) -> None:
    callbacks.log(f"cancelling job {job.short}")
    ended = cloud.jobs.end(job)
    callbacks.log(f"job {ended.short} is {ended.state.lower()}")


def _waited(job: Job, callbacks: Callbacks) -> float:
    """Return the seconds for which a job without a machine has waited for one."""
    moment = callbacks.now() if job.started is None else None
    return 0.0 if moment is None else max(0.0, (moment - job.created).total_seconds())


def _check_patience(job: Job, since: float, cloud: Cloud, spec: JobSpec) -> None:
    if job.state in ("PENDING", "QUEUED") and time.monotonic() - since > cloud.settings.pending_hours * 3600:
        cloud.jobs.end(job)
        raise TrainingError(
            f"no {cloud.settings.accelerator_type or cloud.settings.machine_type} was free in {cloud.settings.region} "
            f"for {cloud.settings.pending_hours:g} hours; the job was cancelled before it cost anything",
            concept=spec.concept,
            next_step="retry the run, or set CONCEPTRY_VERTEX_REGION, _PROVISIONING or _PENDING_HOURS",
        )


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
        prices = cost.Prices.load(cloud.settings.prices)
        text = cost.dumps(cost.estimate(uses, prices, cloud.settings.provisioning))
        write_atomically(output / COST, text.encode())
