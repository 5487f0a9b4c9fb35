"""Prefect task that writes the records of a training."""

from prefect import get_run_logger

from conceptry.training_job import TrainingJob
from tasks.cached_task import cached_task
from tasks.records.build_records import build_records
from tasks.run_folder import RunFolder


@cached_task("write records", lambda run: run.records)
def write_records(run: RunFolder, job: TrainingJob) -> int:
    """Write TFRecords of the fetched images, log the warnings about them, and return their number."""
    made = build_records(run.images, run.records, job.resolution, mask=job.spec.training.mask)
    logger = get_run_logger()
    logger.info("%s: %s", job.name, made.judged_by(job.spec.training.held_out))
    for warning in (*made.warnings, *made.notes):
        logger.warning("%s: %s", job.name, warning)
    return made.count
