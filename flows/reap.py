"""Reap: cancel jobs on Vertex AI that nobody waits for any more. Every ten minutes, on a schedule.

A job outlives the process that watches it, so that a restart need not pay again. This is for what never comes back: a
run that failed, was cancelled or deleted while its job was at work.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed
from prefect.types._datetime import now

from conceptry.settings import Settings
from flows.events import tell
from flows.training_runs import MOST_RUNS, trainings
from flows.vertex import TERMINAL, installation
from tasks.training.settings import VertexSettings

if TYPE_CHECKING:
    from tasks.training.jobs import Job

CRASHED_AT_MOST = timedelta(minutes=30)
"""A run that crashed is started again by the watcher; so long its job is left at work for it."""
_OVER = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED})


@flow(name="reap")
def reap() -> State[Any]:
    """Look at the live jobs of this installation, and end those that no run owns."""
    settings, logger = Settings(), get_run_logger()
    if not VertexSettings.in_use():
        return Completed(name="Skipped", message="Nothing is set about Vertex AI.")
    from tasks.training import vertex

    cloud = vertex.open_cloud(VertexSettings(), logger.warning)
    # Jobs first, runs afterwards: a job that is listed has had a run when it was made.
    jobs = cloud.jobs.live(installation(settings))
    with trainings(settings.work) as known:
        runs = known.latest(fingerprint_of(job) for job in jobs)
    ended = []
    for job in jobs:
        if is_owned(job, runs.get(fingerprint_of(job))):
            continue
        logger.warning("job %s (%s) belongs to no live run and is cancelled", job.short, job.display_name)
        cloud.jobs.cancel(job)
        concept = job.home.rstrip("/").split("/")[-2]
        tell(concept, "reaped", job=job.short, fingerprint=fingerprint_of(job))
        ended.append(job.short)
    message = f"{len(jobs)} live, {len(ended)} cancelled" + (f": {', '.join(ended)}" if ended else "")
    return Completed(message=message)


def fingerprint_of(job: "Job") -> str:
    """The whole fingerprint that a job trains; its label holds all but one character."""
    return job.home.rstrip("/").rpartition("/")[2]


def is_owned(job: "Job", run: FlowRun | None) -> bool:
    """Whether somebody waits for a job, or will."""
    if job.labels.get("conceptry_run", "").startswith(TERMINAL):
        return True
    if run is None or run.state is None or run.state_type in _OVER:
        return False
    if run.state_type == StateType.CRASHED:
        return run.run_count < MOST_RUNS and now("UTC") - run.state.timestamp < CRASHED_AT_MOST
    return True
