"""Prefect task that trains, on this machine or on Vertex AI, with its progress in Prefect's UI."""

import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings

from conceptry.errors import SettingsError
from conceptry.installation import Installation
from conceptry.training_job import TrainingJob
from tasks.cached_task import cached_task
from tasks.events import emit
from tasks.locks import run_id
from tasks.prefect_client import SERVER_ERRORS, connected, server_time
from tasks.run_folder import RunFolder
from tasks.training.folder_archive import FolderArchive
from tasks.training.local_trainer import train_local
from tasks.training.progress_artifact import ProgressArtifact
from tasks.training.served_trainer import training_servers
from tasks.training.training_request import TrainingRequest

TERMINAL = "terminal-"
"""Prefix of the owner label of a training that was started without a Prefect server."""


@cached_task("train", lambda run: run.output)
def train(
    run: RunFolder, installation: Installation, job: TrainingJob, lock: int, initial_words: str | None = None
) -> str:
    """Run the trainer, show its progress, and return the folder of the results.

    Args:
        run: Folder of the run, with the records.
        installation: Installation, for the backend and its settings.
        job: The training.
        lock: File descriptor of the run folder's lock, which a local trainer inherits.
        initial_words: Words for the version that it starts from, whose vectors are in the folder; None if concept.yaml
            names words.
    """
    emit(job.name, "training", fingerprint=job.fingerprint, revision=job.revision, retrain=job.retrain)
    request = TrainingRequest(
        job.name,
        job.config | ({"initializer_token": initial_words} if initial_words else {}),
        run.records,
        run.output,
        installation.base_dir,
        needs_clip=job.needs_clip,
        vectors={folder.name: path for folder in (run.released, run.initial) for path in folder.glob("*.safetensors")},
    )
    with ProgressArtifact(job.name, installation.settings.deployment_suffix) as progress:
        if job.backend(installation.settings.backend) == "vertex":
            _train_on_vertex(request, installation, job, progress)
        else:
            servers = training_servers(installation)
            train_local(request, on_progress=progress.show, on_event=progress.log, keep_open=(lock,), servers=servers)
    return str(run.output)


def open_run_folder(installation: Installation, name: str, fingerprint: str) -> RunFolder:
    """Return the folder of a training, with its archive if results are kept in a shared folder or a bucket.

    Raises:
        SettingsError, TransientError: the folder or the bucket cannot be opened.
    """
    root, block = installation.work.run(fingerprint), installation.settings.results_bucket
    shared = installation.settings.results_folder
    if shared is not None:
        if not shared.is_dir():
            raise SettingsError(f"there is no folder {shared}", next_step="correct CONCEPTRY_RESULTS_FOLDER")
        return RunFolder(root, FolderArchive(shared, (installation.id, name, fingerprint)))
    if block is None:
        return RunFolder(root)
    # Imported here: Google's clients take seconds to import, and most installations use none.
    from tasks.training.custom_job import JobSpec
    from tasks.training.step_archive import StepArchive, open_results

    bucket = open_results(block)
    return RunFolder(root, StepArchive(bucket, JobSpec(name, fingerprint, installation.id, run_id(), bucket.name)))


def read_cost(output: Path) -> dict[str, Any] | None:
    """Return the cost of a training, for the manifest; None if it ran on this machine."""
    path = output / "cost.json"
    return json.loads(path.read_bytes()) if path.is_file() else None


def _train_on_vertex(
    request: TrainingRequest, installation: Installation, job: TrainingJob, progress: ProgressArtifact
) -> None:
    """Train on Vertex AI; metrics and cost are written to the folder of the results."""
    # Imported here: Google's clients take seconds to import, and only trainings on Vertex AI need them.
    from tasks.training import vertex, vertex_clients
    from tasks.training.custom_job import JobSpec

    logger = get_run_logger()
    cloud = vertex_clients.open_cloud(installation.vertex_settings(), logger.warning)
    spec = JobSpec(
        job.name,
        job.fingerprint,
        installation.id,
        _owner(),
        cloud.bucket.name,
        vectors=request.objects,
    )
    callbacks = vertex.Callbacks(
        on_progress=progress.show,
        on_event=progress.log,
        log=logger.info,
        is_cancelled=is_cancelled,
        now=_trusted_time,
    )
    vertex.train_vertex(request, spec, cloud, callbacks)


def is_cancelled() -> bool:
    """Whether the current run was cancelled; False if the server does not respond."""
    if flow_run.id is None:
        return False
    try:
        # Without the client's retries, which would take a minute of each look at the job.
        with temporary_settings(updates={PREFECT_CLIENT_MAX_RETRIES: 0}), connected() as client:
            state = client.read_flow_run(UUID(flow_run.id)).state
    except Exception:  # noqa: BLE001 - no failure of this request may end a paid job
        return False
    return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)


def _owner() -> str:
    """Return the owner of a job: the Prefect run, else this process, whose jobs the flow `reap` keeps."""
    if not get_current_settings().api.url:
        return f"{TERMINAL}{socket.gethostname()}"
    return run_id()


def _trusted_time() -> datetime | None:
    """Return the time of the Prefect server, which all machines share; None if it does not respond."""
    if not get_current_settings().api.url:
        return datetime.now(UTC)
    try:
        with connected() as client:
            return server_time(client)
    except SERVER_ERRORS:
        return None
