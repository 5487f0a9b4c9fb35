"""Prefect tasks that read the DVC remote."""

from collections.abc import Collection
from dataclasses import replace

from prefect import task

from conceptry.desired import Desired
from conceptry.errors import ConceptryError
from conceptry.installation import Installation
from conceptry.training_job import TrainingJob
from tasks.cached_task import cached_task
from tasks.disk_full import disk_errors
from tasks.dvc.image_listing import list_cached, list_images
from tasks.dvc.images import fetch_images
from tasks.retries import RETRY_TRANSIENT
from tasks.run_folder import RunFolder


def list_desired_images(installation: Installation, desired: Desired, check: Collection[str] = ()) -> Desired:
    """Return the desired state with the images of each concept filled in.

    If the DVC remote cannot be read, only trainings are blocked: images are filled in from cached listings, and
    concepts that need the remote carry `remote_error`.

    Args:
        installation: Installation, for the mirror and the cached listings.
        desired: Desired state.
        check: Names of the concepts whose images are looked up in the remote, to fill in `missing`.
    """
    listings = installation.work.listings
    try:
        with disk_errors(listings):
            listed = list_images(installation.mirror, desired.revision, desired.concepts, listings, check=set(check))
        return replace(desired, concepts=listed)
    except ConceptryError as error:
        words = " ".join(str(error).split())
        known = list_cached(desired.concepts, listings)
        concepts = {
            name: replace(one, remote_error=words)
            if name in check or (one.images is None and one.error is None)
            else one
            for name, one in known.items()
        }
        return replace(desired, concepts=concepts)


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
