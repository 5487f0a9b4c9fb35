"""Why a job on Vertex AI failed, and whether another one may succeed."""

import re
from collections.abc import Iterable

from conceptry.errors import TrainingError
from conceptry.vertex_settings import VertexSettings
from tasks.training.job_snapshot import Job
from tasks.training.local_trainer import INTERRUPTED, failure

_STATUS = re.compile(r"non-zero status of (\d+)")
# Codes of google.rpc that mean a failure of the machine or the service, not of the trainer.
_RESOURCE_EXHAUSTED, _ABORTED, _INTERNAL, _UNAVAILABLE, _TOO_LATE = 8, 10, 13, 14, 4


def is_machine_lost(job: Job) -> bool:
    """Return whether another job may succeed: the machine was preempted, or the service failed."""
    if job.state != "FAILED":
        return False
    if status := _STATUS.search(job.message):
        return int(status[1]) == INTERRUPTED or int(status[1]) > 128
    return job.code in (_RESOURCE_EXHAUSTED, _ABORTED, _INTERNAL, _UNAVAILABLE)


def job_failure(concept: str, job: Job, settings: VertexSettings, last_lines: Iterable[str]) -> Exception:
    """Return the error that says why a job has not succeeded.

    Args:
        concept: Name of the concept that it trained.
        job: The job in its final state.
        settings: Settings of the job.
        last_lines: Last lines of its log.
    """
    message = job.message.partition(" To find out more")[0]
    lines = [line for line in (settings.job_link(job.name), message, *last_lines) if line]
    if job.state == "CANCELLED":
        return TrainingError(
            "its job was cancelled on Vertex AI", concept=concept, last_lines=lines, next_step="retry the run"
        )
    if job.state == "EXPIRED" or job.code == _TOO_LATE:
        what = f"the job reached its limit of {settings.timeout_hours:g} hours"
        step = "raise CONCEPTRY_VERTEX_TIMEOUT_HOURS or lower training.max_steps and retry; the checkpoint is kept"
        return TrainingError(what, concept=concept, last_lines=lines, next_step=step)
    status = _STATUS.search(job.message)
    if status:
        return failure(concept, int(status[1]), lines, settings.job_link(job.name))
    return TrainingError("the job failed", concept=concept, last_lines=lines, next_step="check its log")
