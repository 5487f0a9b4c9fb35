"""Train one concept, judge the result, publish it as a version, and release it.

    fetch images -> write records -> train -> judge and assemble -> publish -> release (card, Space)

The tasks write to the run's folder (tasks.run_folder), so a retried run resumes at the first unfinished task. Of two
runs of one fingerprint the second waits for the first, finds the version on the Hub and updates the Space only. If the
concept was renamed since the run was started, the version is published under the new name.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Completed, Failed

from conceptry.errors import ConceptryError, TrainingCancelled
from conceptry.fingerprint import equivalent_fingerprints
from conceptry.installation import Installation
from conceptry.training_job import TrainingJob, training_job
from conceptry.version import Version
from flows.announcement import announced, discard_bundle_of_another
from flows.current_installation import current_installation
from flows.form_run import claim, run_name
from flows.job_of_head import job_with_head, name_at_head
from flows.keep_alive import keep_alive, place_of
from flows.release import HELD, release
from flows.training_runs import training_runs
from flows.training_states import INTERRUPTED
from flows.vertex_hooks import cancel_jobs
from tasks import training
from tasks.dvc.desired_images import list_desired_images
from tasks.dvc.tasks import fetch_job_images, list_images_task
from tasks.git.desired_concepts import read_desired
from tasks.git.tasks import read_git
from tasks.hub import HubSession, Lineage, find_version, hub_time, read_live
from tasks.hub.refusal_records import note_limit
from tasks.hub.tasks import (
    assemble_version,
    check_the_names,
    delete_staging,
    fetch_initial,
    fetch_released,
    find_published,
    publish_version,
)
from tasks.locks import run_id, slot
from tasks.prefect_client import SERVER_ERRORS
from tasks.records.tasks import write_records
from tasks.run_folder import RunFolder
from tasks.training.tasks import is_cancelled, open_run_folder, read_cost, train
from tasks.training.training_request import read_results
from trainer.metrics import TrainingMetrics


@flow(name="train-concept", flow_run_name=run_name, on_cancellation=[cancel_jobs])
def train_concept(
    name: str, revision: str | None = None, fingerprint: str | None = None, retrain: str | None = None
) -> str | State[Any]:
    """Publish the version of one fingerprint, once, and return its name.

    With a name alone, as a user starts it in Prefect's form, it trains the inputs at the head of the branch.

    The run ends as Cancelled if the user cancelled it, and as Interrupted, to be tried again by the watcher, after an
    error that passes.

    Args:
        name: The concept.
        revision: Git commit whose concept.yaml and images.dvc are trained; given with `fingerprint`, or neither.
        fingerprint: Training fingerprint in the plan; the run's idempotency key.
        retrain: ISO date on which a scheduled retraining was due; None for other trainings.
    """
    installation, logger = current_installation(), get_run_logger()

    def wait(other: str) -> None:
        logger.info("waiting for %s, which trains the same", other)

    try:
        if revision is None or fingerprint is None:
            job = job_at_head(installation, name)
            if is_published(installation, job):
                return Completed(name="Skipped", message="The version of the inputs in git is published.")
            if other := claim(installation, job):
                return Completed(name="Skipped", message=f"The run {other} trains the same.")
            revision, fingerprint = job.revision, job.fingerprint
        folder = open_run_folder(installation, name, fingerprint)
        with sign_of_life(installation), folder.lock(run_id(), wait) as lock:
            return publish_and_release(
                installation, folder, lock, TrainingParameters(name, revision, fingerprint, retrain)
            )
    except TrainingCancelled as error:
        return Cancelled(message=str(error))
    except TerminationSignal:
        if is_cancelled():
            return Cancelled(message="The run was cancelled.")
        raise
    except (ConceptryError, *SERVER_ERRORS) as error:
        note_limit(installation.work, error)
        if isinstance(error, ConceptryError) and not error.retryable:
            raise
        logger.warning("interrupted by an error that passes", exc_info=True)
        return Failed(name=INTERRUPTED, message=" ".join(str(error).split()) or type(error).__name__)


@dataclass(frozen=True)
class TrainingParameters:
    """Parameters of the flow `train_concept`."""

    name: str
    revision: str
    fingerprint: str
    retrain: str | None = None


def publish_and_release(
    installation: Installation, folder: RunFolder, lock: int, wanted: TrainingParameters
) -> State[Any]:
    """Train and publish the version unless it is published, release it, and return its name in the final state.

    Raises:
        TrainingCancelled: the user cancelled the run.
        ConceptryError: a step failed.
    """
    fingerprint, session = wanted.fingerprint, HubSession(installation.hub)
    published = name_at_head(installation, wanted.name, wanted.revision)
    version, already = find_published(session, published, fingerprint), True
    if version is None:
        already = False
        check_the_names(session, published)
        desired = list_images_task(installation, read_git(installation, wanted.revision, only=wanted.name))
        job = training_job(desired, wanted.name, training.base_of, retrain=wanted.retrain, expected=fingerprint)
        metrics = trained(installation, session, folder, lock, job_with_head(installation, job))
        job = job_with_head(installation, job)
        published = job.name
        discard_bundle_of_another(folder, published, job.spec.gate)
        lineage = lineage_of(job, folder, metrics, hub_time(session))
        assemble_version(folder, job, metrics, lineage, repo=session.target.repo(published))
        version = publish_version(session, job, folder)
    else:
        get_run_logger().info("%s is already published as %s", fingerprint[:8], version.name)
        delete_staging(session, published, version)
        discard_bundle_of_another(folder, published)
    # An earlier run may have been killed after publishing and before it emitted the event.
    told = announced(installation, session, folder, version)
    served, left = released(published)
    if not told:
        announced(installation, session, folder, version)
    try:
        folder.clear()
    except ConceptryError as error:
        get_run_logger().warning("`conceptry gc` deletes what is left in the bucket: %s", error)
    return Completed(data=version.name, message=outcome(version, served, left, already=already))


def released(name: str) -> tuple[str | None, str]:
    """Reconcile card and Space of a concept; return the version that is served, and what is left to the plan, in words.

    A Space that the Hub refuses, or a limit of its rates, ends no training: the version is published.

    Raises:
        ConceptryError: the run of `release` failed.
    """
    state = release(name, return_state=True)
    if state.name == HELD:
        return None, state.message or HELD
    return cast(str | None, state.result()), ""


def outcome(version: Version, served: str | None, left: str = "", *, already: bool) -> str:
    """Return what came of a training, and what to do about a version that is not released, for the final state.

    Args:
        version: The published version.
        served: Name of the version that the Space serves.
        left: What the Hub did not take, and is left to the plan, in words.
        already: Whether the version was published before this run.
    """
    published = f"{version.name} {'was published already' if already else 'published'}, {version.gate}"
    if served == version.name:
        return f"{published}, released"
    if left:
        return f"{published}; {left}"
    serves = f"the Space serves {served}" if served else "nothing is served"
    if version.gate == "passed":
        return f"{published}; {serves}, as concept.yaml says"
    because = f" ({version.because})" if version.because else ""
    step = f"change the pictures or the settings, or set `release: {version.name}` to serve it all the same"
    return f"{published}{because}; {serves}: {step}"


def trained(
    installation: Installation, session: HubSession, folder: RunFolder, lock: int, job: TrainingJob
) -> TrainingMetrics:
    """Fetch the images, write the records, train, and return the metrics; finished steps are not done again."""
    fetch_job_images(folder, installation, job)
    write_records(folder, job)
    fetch_released(session, job, folder.released)
    words = fetch_initial(session, job, folder.initial)
    with place_to_train(installation, job):
        train(folder, installation, job, lock, words)
    # Read from the folder, because an older release may have written the record of the task.
    return read_results(folder.output, job.name)


def sign_of_life(installation: Installation) -> AbstractContextManager[None]:
    """Renew the sign of life of the current run, if a Prefect server schedules it."""
    if flow_run.id is None or not get_current_settings().api.url:
        return nullcontext()
    return keep_alive(UUID(flow_run.id), place_of(installation.work.root))


def place_to_train(installation: Installation, job: TrainingJob) -> AbstractContextManager[None]:
    """Hold one of this machine's slots for training; jobs on Vertex AI are counted there."""
    if job.backend(installation.settings.backend) == "vertex":
        return nullcontext()
    logger = get_run_logger()
    places, count = installation.work.places, installation.settings.max_parallel
    return slot(places, count, run_id(), lambda: logger.info("waiting for a free training slot"))


def lineage_of(job: TrainingJob, folder: RunFolder, metrics: TrainingMetrics, moment: datetime) -> Lineage:
    """Return the lineage of the version that a training makes at a moment, by the clock that all machines share."""
    return Lineage(
        fingerprint=job.fingerprint,
        inputs=job.inputs,
        commit=job.revision,
        dvc_md5=job.desired.dvc_md5 or "",
        images=job.desired.images or (),
        created=moment.isoformat(timespec="seconds"),
        retrain=job.retrain,
        prefect_run=run_id(),
        seconds=metrics.seconds,
        cost=read_cost(folder.output),
    )


def schedule_training(installation: Installation, name: str) -> FlowRun | None:
    """Schedule the training of a concept at the head of the branch on the Prefect server.

    A failed run is scheduled again, because the user requested it. Returns None if the version is already published.

    Raises:
        ConceptryError: the concept cannot be trained in this state, see `training_job`.
    """
    job = job_at_head(installation, name)
    if is_published(installation, job):
        return None
    with training_runs(installation) as runs:
        return runs.start(name, job.revision, job.fingerprint, again=True)


def train_in_process(installation: Installation, name: str) -> str | None:
    """Train a concept at the head of the branch in this process; return None if its version is already published.

    Raises:
        ConceptryError: the concept cannot be trained in this state, or the training failed.
    """
    job = job_at_head(installation, name)
    if is_published(installation, job):
        return None
    made = train_concept(name, job.revision, job.fingerprint)
    return made if isinstance(made, str) else None


def is_published(installation: Installation, job: TrainingJob) -> bool:
    """Whether there is a version of a training's inputs, as the plan compares them.

    Raises:
        HubError, TransientError: the Hub refused, or could not be reached.
    """
    session = HubSession(installation.hub)
    if find_version(session, job.name, job.fingerprint) is not None:
        return True
    same = equivalent_fingerprints(job.spec, job.desired.images or (), job.base)
    return any(version.inputs in same for version in read_live(session, job.name).versions)


def job_at_head(installation: Installation, name: str, retrain: str | None = None) -> TrainingJob:
    """Return the training of a concept at the head of the branch.

    Raises:
        ConceptryError: the concept cannot be trained in this state, see `training_job`.
    """
    desired = list_desired_images(installation, read_desired(installation, only=name))
    return training_job(desired, name, training.base_of, retrain=retrain)
