"""Why a job on Vertex AI failed, and whether another one may succeed."""

import re
from collections.abc import Iterable

from conceptry.errors import TrainingError
from conceptry.vertex_settings import VertexSettings
from tasks.training.job_snapshot import Job
from tasks.training.local_trainer import INTERRUPTED, failure
from trainer.ticket_folder import Ended

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
        return _too_late(concept, settings, lines)
    status = _STATUS.search(job.message)
    if status:
        return failure(concept, int(status[1]), lines, settings.job_link(job.name))
    return TrainingError("the job failed", concept=concept, last_lines=lines, next_step="check its log")


def is_process_lost(ended: Ended) -> bool:
    """Return whether another attempt may succeed after a training ended in a shared job: its process was killed."""
    return not ended.late and (ended.code is None or ended.code < 0 or ended.code == INTERRUPTED)


def shared_job_failure(concept: str, ended: Ended, job: Job, settings: VertexSettings) -> Exception:
    """Return the error that says why a training failed in a shared job, which did others as well."""
    lines = [settings.job_link(job.name), *ended.lines]
    if ended.late:
        return _too_late(concept, settings, lines)
    return failure(concept, ended.code, lines, lines[0])


def _too_late(concept: str, settings: VertexSettings, lines: list[str]) -> TrainingError:
    what = f"the job reached its limit of {settings.timeout_hours:g} hours"
    step = "raise CONCEPTRY_VERTEX_TIMEOUT_HOURS or lower training.max_steps and retry; the checkpoint is kept"
    return TrainingError(what, concept=concept, last_lines=lines, next_step=step)
