"""The step of a run that turns pictures into records."""

from prefect import get_run_logger

from conceptry.training_job import TrainingJob
from tasks.cached_task import cached_task
from tasks.records.build import build_records
from tasks.run_folder import RunFolder


@cached_task("write records", lambda run: run.records)
def write_records(run: RunFolder, job: TrainingJob) -> int:
    """Write TFRecords of the fetched pictures, log what a person should know about them, and return their number."""
    made = build_records(run.images, run.records, job.resolution)
    for warning in made.warnings:
        get_run_logger().warning("%s: %s", job.name, warning)
    return made.count
