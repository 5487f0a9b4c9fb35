"""Train one concept, judge it, publish it, and release it.

    fetch images -> write records -> train -> judge and assemble -> publish -> release (card, Space)

What the tasks make lies in the run's folder (tasks.run_folder), so a run that is tried again resumes where it stopped.
Two runs of one fingerprint wait for each other; the second finds the version on the Hub and updates the Space only.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled

from conceptry.errors import TrainingCancelled
from conceptry.installation import Installation
from conceptry.planner import choose_release
from conceptry.training_job import TrainingJob, training_job
from conceptry.version import Manifest, Version
from flows import artifacts
from flows.installation import current_installation
from flows.release import release
from flows.training_runs import training_runs
from flows.vertex_hooks import cancel_jobs
from tasks import training
from tasks.dvc.tasks import fetch_job_images, list_desired_images, list_images_task
from tasks.events import EventName, emit
from tasks.git.tasks import read_desired, read_git
from tasks.hub import HubSession, Lineage, find_version, read_versions
from tasks.hub.session import MANIFEST
from tasks.hub.tasks import assemble_version, find_published, publish_version
from tasks.locks import run_id, slot
from tasks.records.tasks import write_records
from tasks.run_folder import RunFolder
from tasks.training.request import read_results
from tasks.training.tasks import read_cost, train
from trainer.metrics import TrainingMetrics


@flow(name="train-concept", flow_run_name="{name} {fingerprint:.8}", on_cancellation=[cancel_jobs])
def train_concept(name: str, revision: str, fingerprint: str, retrain: str | None = None) -> str | State[Any]:
    """Make the version of one fingerprint, once, and return its name; Cancelled when a person ended the training.

    Args:
        name: The concept.
        revision: Git commit whose concept.yaml and images.dvc are trained.
        fingerprint: Training fingerprint that the plan saw there; the run's idempotency key.
        retrain: ISO date for which a scheduled retraining was due.
    """
    installation, logger = current_installation(), get_run_logger()
    session, folder = HubSession(installation.hub), RunFolder(installation.work.run(fingerprint))
    with folder.lock(run_id(), lambda: logger.info("waiting for another run of %s", fingerprint[:8])) as lock:
        version = find_published(session, name, fingerprint)
        if version is None:
            desired = list_images_task(installation, read_git(installation, revision, only=name))
            bases = training.base_models()
            job = training_job(desired, name, bases, retrain=retrain, expected=fingerprint)
            fetch_job_images(folder, installation, job)
            write_records(folder, job)
            try:
                with place_to_train(installation, job):
                    train(folder, installation, job, lock)
            except TrainingCancelled as error:
                return Cancelled(message=str(error))
            # From the folder, not from the record of the task, which an older release may have written.
            metrics = read_results(folder.output, name)
            assemble_version(
                folder,
                job,
                metrics,
                lineage_of(job, folder, metrics),
                repo=session.target.repo(name),
                released_loss=released_loss(session, job) if retrain else None,
            )
            version = publish_version(session, job, folder)
        else:
            logger.info("%s is published already, as %s", fingerprint[:8], version.name)
        if folder.bundle.is_dir():
            # Also when an earlier run was killed between publishing and this.
            announce(session, folder, version)
        release(name)
        folder.clear()
    return version.name


def place_to_train(installation: Installation, job: TrainingJob) -> AbstractContextManager[None]:
    """Hold one of this machine's places for training; Vertex AI counts its own jobs."""
    if job.backend(installation.settings.backend) == "vertex":
        return nullcontext()
    logger = get_run_logger()
    places, count = installation.work.places, installation.settings.max_parallel
    return slot(places, count, run_id(), lambda: logger.info("waiting for a free place to train"))


def lineage_of(job: TrainingJob, folder: RunFolder, metrics: TrainingMetrics) -> Lineage:
    """Return where the version that a job makes comes from."""
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


def released_loss(session: HubSession, job: TrainingJob) -> float | None:
    """Return the held-out loss of the version that is released now, which a retraining must beat."""
    versions = read_versions(session, job.name)
    released = choose_release(job.spec, versions, job.inputs)
    return released.loss if released else None


def announce(session: HubSession, folder: RunFolder, version: Version) -> None:
    """Emit the event of the version that was made here, and attach it to the run."""
    manifest = Manifest.model_validate_json((folder.bundle / MANIFEST).read_bytes())
    address = session.target.url(manifest.name)
    event: EventName = "published" if manifest.gate == "passed" else "rejected"
    codes = [str(reason) for reason in manifest.gate_reasons]
    emit(manifest.name, event, version=version.name, reason=codes, cause=manifest.reasons, model=address)
    artifacts.show_version(version, manifest, address)


def schedule_training(installation: Installation, name: str) -> FlowRun | None:
    """Ask the Prefect server for the training of a concept as it is at the head of the branch.

    A run that failed is tried again: a person asked for it. None when the version is published already.

    Raises:
        ConceptryError: the concept cannot be trained as it is, see `training_job`.
    """
    job = job_at_head(installation, name)
    if find_version(HubSession(installation.hub), name, job.fingerprint) is not None:
        return None
    with training_runs(installation) as runs:
        return runs.start(name, job.revision, job.fingerprint, again=True)


def train_in_process(installation: Installation, name: str) -> str | None:
    """Train a concept as it is at the head of the branch in this process; None if its version is published already.

    Raises:
        ConceptryError: the concept cannot be trained as it is, or the training failed.
    """
    job = job_at_head(installation, name)
    if find_version(HubSession(installation.hub), name, job.fingerprint) is not None:
        return None
    made = train_concept(name, job.revision, job.fingerprint)
    return made if isinstance(made, str) else None


def job_at_head(installation: Installation, name: str, retrain: str | None = None) -> TrainingJob:
    """Return the training of a concept as it is at the head of the branch.

    Raises:
        ConceptryError: the concept cannot be trained as it is, see `training_job`.
    """
    desired = list_desired_images(installation, read_desired(installation, only=name))
    return training_job(desired, name, training.base_models(), retrain=retrain)
