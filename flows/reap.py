"""Reap: cancel jobs on Vertex AI that no run owns. Scheduled every ten minutes.

A job outlives the process that follows it, so that a restarted run finds it again. This flow ends the jobs of runs that
do not restart: runs that failed, were cancelled or were deleted while their job was live.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed
from prefect.types._datetime import now

from flows.current_installation import current_installation
from flows.training_runs import MAX_RUNS, training_runs
from tasks.events import emit
from tasks.training.tasks import TERMINAL

if TYPE_CHECKING:
    from tasks.training.job_snapshot import Job

MAX_CRASHED = timedelta(minutes=30)
"""Time for which the job of a crashed run is kept, because the watcher schedules the run again."""
_OVER = frozenset({StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED})


@flow(name="reap")
def reap() -> State[Any]:
    """List the live jobs of this installation and cancel those that no run owns."""
    installation, logger = current_installation(), get_run_logger()
    if installation.vertex is None:
        return Completed(name="Skipped", message="Vertex AI is not configured.")
    from tasks.training import vertex  # Google's clients take seconds to import; without a configuration none is needed

    cloud = vertex.open_cloud(installation.vertex_settings(), logger.warning)
    # Jobs are listed before runs: the run of every listed job existed when the job was created.
    jobs = cloud.jobs.live(installation.id)
    with training_runs(installation) as known:
        runs = known.latest(fingerprint_of(job) for job in jobs)
    ended = []
    for job in jobs:
        if is_owned(job, runs.get(fingerprint_of(job))):
            continue
        logger.warning("cancelling job %s (%s): no live run owns it", job.short, job.display_name)
        cloud.jobs.cancel(job)
        concept = job.home.rstrip("/").split("/")[-2]
        emit(concept, "reaped", job=job.short, fingerprint=fingerprint_of(job))
        ended.append(job.short)
    message = f"{len(jobs)} live, {len(ended)} cancelled" + (f": {', '.join(ended)}" if ended else "")
    return Completed(message=message)


def fingerprint_of(job: "Job") -> str:
    """Return the complete fingerprint of a job's training; the label holds all but one character of it."""
    return job.home.rstrip("/").rpartition("/")[2]


def is_owned(job: "Job", run: FlowRun | None) -> bool:
    """Whether a run follows a job, or will do so when it is retried."""
    if job.labels.get("conceptry_run", "").startswith(TERMINAL):
        return True
    if run is None or run.state is None or run.state_type in _OVER:
        return False
    if run.state_type == StateType.CRASHED:
        return run.run_count < MAX_RUNS and now("UTC") - run.state.timestamp < MAX_CRASHED
    return True
