"""Prefect tasks that read the DVC remote."""

from prefect import task

from conceptry.installation import Installation
from conceptry.training_job import TrainingJob
from tasks.cached_task import cached_task
from tasks.dvc.desired_images import list_desired_images
from tasks.dvc.images import fetch_images
from tasks.retries import RETRY_TRANSIENT
from tasks.run_folder import RunFolder

list_images_task = task(name="list images", tags=["dvc"], **RETRY_TRANSIENT)(list_desired_images)


@cached_task("fetch images", lambda run: run.images)
def fetch_job_images(run: RunFolder, installation: Installation, job: TrainingJob) -> str:
    """Fetch the images of a training into the run's folder, every md5 checked; return their folder.

    Raises:
        DataMissingError, DataCorruptError, SettingsError, TransientError: as `fetch_images`.
    """
    desired = job.desired
    fetch_images(
        installation.mirror,
        job.revision,
        desired.dvc_md5 or "",
        desired.images,
        destination=run.images,
        concept=job.name,
        remote_name=desired.dvc_remote,
    )
    return str(run.images)
