"""Train one concept, judge the result, publish it as a version, and release it.

    fetch images -> write records -> train -> judge and assemble -> publish -> release (card, Space)

The tasks write to the run's folder (tasks.run_folder), so a retried run resumes at the first unfinished task. Of two
runs of one fingerprint the second waits for the first, finds the version on the Hub and updates the Space only.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled

from conceptry.errors import TrainingCancelled
from conceptry.installation import Installation
from conceptry.training_job import TrainingJob, training_job
from conceptry.version import Manifest, Version
from flows import artifacts
from flows.current_installation import current_installation
from flows.release import release
from flows.training_runs import training_runs
from flows.vertex_hooks import cancel_jobs
from tasks import training
from tasks.dvc.tasks import fetch_job_images, list_desired_images, list_images_task
from tasks.events import EventName, emit
from tasks.git.tasks import read_desired, read_git
from tasks.hub import HubSession, Lineage, find_version
from tasks.hub.session import MANIFEST
from tasks.hub.tasks import (
    assemble_version,
    delete_staging,
    fetch_initial,
    fetch_released,
    find_published,
    publish_version,
)
from tasks.locks import run_id, slot
from tasks.records.tasks import write_records
from tasks.run_folder import RunFolder
from tasks.training.tasks import read_cost, train
from tasks.training.training_request import read_results
from trainer.metrics import TrainingMetrics


@flow(name="train-concept", flow_run_name="{name} {fingerprint:.8}", on_cancellation=[cancel_jobs])
def train_concept(name: str, revision: str, fingerprint: str, retrain: str | None = None) -> str | State[Any]:
    """Publish the version of one fingerprint, once, and return its name; end as Cancelled if the user cancelled it.

    Args:
        name: The concept.
        revision: Git commit whose concept.yaml and images.dvc are trained.
        fingerprint: Training fingerprint in the plan; the run's idempotency key.
        retrain: ISO date on which a scheduled retraining was due; None for other trainings.
    """
    installation, logger = current_installation(), get_run_logger()
    session, folder = HubSession(installation.hub), RunFolder(installation.work.run(fingerprint))
    with folder.lock(run_id(), lambda other: logger.info("waiting for %s, which trains the same", other)) as lock:
        version = find_published(session, name, fingerprint)
        if version is None:
            desired = list_images_task(installation, read_git(installation, revision, only=name))
            bases = training.base_models()
            job = training_job(desired, name, bases, retrain=retrain, expected=fingerprint)
            fetch_job_images(folder, installation, job)
            write_records(folder, job)
            fetch_released(session, job, folder.released)
            words = fetch_initial(session, job, folder.initial)
            try:
                with place_to_train(installation, job):
                    train(folder, installation, job, lock, words)
            except TrainingCancelled as error:
                return Cancelled(message=str(error))
            # Read from the folder, because an older release may have written the record of the task.
            metrics = read_results(folder.output, name)
            assemble_version(
                folder,
                job,
                metrics,
                lineage_of(job, folder, metrics),
                repo=session.target.repo(name),
            )
            version = publish_version(session, job, folder)
        else:
            logger.info("%s is already published as %s", fingerprint[:8], version.name)
            delete_staging(session, name, version)
        if folder.bundle.is_dir():
            # An earlier run may have been killed after publishing and before this release.
            announce(session, folder, version)
        release(name)
        folder.clear()
    return version.name


def place_to_train(installation: Installation, job: TrainingJob) -> AbstractContextManager[None]:
    """Hold one of this machine's slots for training; jobs on Vertex AI are counted there."""
    if job.backend(installation.settings.backend) == "vertex":
        return nullcontext()
    logger = get_run_logger()
    places, count = installation.work.places, installation.settings.max_parallel
    return slot(places, count, run_id(), lambda: logger.info("waiting for a free training slot"))


def lineage_of(job: TrainingJob, folder: RunFolder, metrics: TrainingMetrics) -> Lineage:
    """Return the lineage of the version that a training makes."""
    return Lineage(
        fingerprint=job.fingerprint,
        inputs=job.inputs,
        commit=job.revision,
        dvc_md5=job.desired.dvc_md5 or "",
        images=job.desired.images or (),
        retrain=job.retrain,
        prefect_run=run_id(),
        seconds=metrics.seconds,
        cost=read_cost(folder.output),
    )


def announce(session: HubSession, folder: RunFolder, version: Version) -> None:
    """Emit the event of a version that this run published, and attach its artifacts to the run."""
    manifest = Manifest.model_validate_json((folder.bundle / MANIFEST).read_bytes())
    address = session.target.url(manifest.name)
    event: EventName = "published" if manifest.gate == "passed" else manifest.gate
    codes = [str(reason) for reason in manifest.gate_reasons]
    emit(manifest.name, event, version=version.name, reason=codes, cause=manifest.reasons, model=address)
    artifacts.show_version(version, manifest, address)


def schedule_training(installation: Installation, name: str) -> FlowRun | None:
    """Schedule the training of a concept at the head of the branch on the Prefect server.

    A failed run is scheduled again, because the user requested it. Returns None if the version is already published.

    Raises:
        ConceptryError: the concept cannot be trained in this state, see `training_job`.
    """
    job = job_at_head(installation, name)
    if find_version(HubSession(installation.hub), name, job.fingerprint) is not None:
        return None
    with training_runs(installation) as runs:
        return runs.start(name, job.revision, job.fingerprint, again=True)


def train_in_process(installation: Installation, name: str) -> str | None:
    """Train a concept at the head of the branch in this process; return None if its version is already published.

    Raises:
        ConceptryError: the concept cannot be trained in this state, or the training failed.
    """
    job = job_at_head(installation, name)
    if find_version(HubSession(installation.hub), name, job.fingerprint) is not None:
        return None
    made = train_concept(name, job.revision, job.fingerprint)
    return made if isinstance(made, str) else None


def job_at_head(installation: Installation, name: str, retrain: str | None = None) -> TrainingJob:
    """Return the training of a concept at the head of the branch.

    Raises:
        ConceptryError: the concept cannot be trained in this state, see `training_job`.
    """
    desired = list_desired_images(installation, read_desired(installation, only=name))
    return training_job(desired, name, training.base_models(), retrain=retrain)
