"""Prefect task that trains, on this machine or on Vertex AI, with its progress in Prefect's UI."""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import StateType
from prefect.concurrency.sync import concurrency
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from conceptry.installation import Installation
from conceptry.training_job import TrainingJob
from tasks.cached_task import cached_task
from tasks.events import emit
from tasks.locks import run_id
from tasks.prefect_client import connected
from tasks.run_folder import RunFolder
from tasks.training.local_trainer import train_local
from tasks.training.training_request import Progress, TrainingRequest

CREATING = "conceptry-vertex-create"
"""Name of Prefect's global concurrency limit under which one run at a time, on any machine, finds or creates a job."""
TERMINAL = "terminal-"
"""Prefix of the owner label of a training that was started without a Prefect server."""
_LEASE = 60.0


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
    progress = ProgressArtifact(job.name)
    request = TrainingRequest(
        job.name,
        job.config | ({"initializer_token": initial_words} if initial_words else {}),
        run.records,
        run.output,
        installation.base_dir,
        needs_clip=job.needs_clip,
        vectors={folder.name: path for folder in (run.released, run.initial) for path in folder.glob("*.safetensors")},
    )
    if job.backend(installation.settings.backend) == "vertex":
        _train_on_vertex(request, installation, job, progress)
    else:
        train_local(request, on_progress=progress.show, on_event=progress.log, keep_open=(lock,))
    progress.finish()
    return str(run.output)


def read_cost(output: Path) -> dict[str, Any] | None:
    """Return the cost of a training, for the manifest; None if it ran on this machine."""
    path = output / "cost.json"
    return json.loads(path.read_bytes()) if path.is_file() else None


class ProgressArtifact:
    """Progress of a training on the run's page: a progress bar, and a log line every few seconds."""

    EVERY = 5.0

    def __init__(self, name: str) -> None:
        self._logger = get_run_logger()
        artifact = create_progress_artifact(0.0, key=f"{name}-training", description=f"Training {name}")
        self._artifact = cast(UUID, artifact)
        self._last = 0.0

    def show(self, progress: Progress) -> None:
        """Update the bar and the log, at most once every few seconds."""
        if time.monotonic() - self._last < self.EVERY and progress.step < progress.of:
            return
        self._last = time.monotonic()
        done, seconds = f"step {progress.step} of {progress.of}", f"{progress.seconds:.0f} s"
        self._logger.info("%s, loss %.4f, %s", done, progress.loss, seconds)
        update_progress_artifact(self._artifact, progress=100 * progress.step / max(1, progress.of))

    def log(self, event: Mapping[str, Any]) -> None:
        """Log an event of the trainer."""
        details = ", ".join(f"{key} {value}" for key, value in event.items() if key != "event")
        self._logger.info("trainer: %s%s", event.get("event"), f" ({details})" if details else "")

    def finish(self) -> None:
        """Set the bar to 100 %, because a training may stop early."""
        update_progress_artifact(self._artifact, progress=100.0)


def _train_on_vertex(
    request: TrainingRequest, installation: Installation, job: TrainingJob, progress: ProgressArtifact
) -> None:
    """Train on Vertex AI; metrics and cost are written to the folder of the results."""
    # Imported here: Google's clients take seconds to import, and only trainings on Vertex AI need them.
    from tasks.training import vertex
    from tasks.training.custom_job import JobSpec

    logger = get_run_logger()
    cloud = vertex.open_cloud(installation.vertex_settings(), logger.warning)
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
        creation_guard=_one_creation_at_a_time,
    )
    vertex.train_vertex(request, spec, cloud, callbacks)


def is_cancelled() -> bool:
    """Whether the current run was cancelled; False if the server does not respond."""
    if flow_run.id is None:
        return False
    try:
        with connected() as client:
            state = client.read_flow_run(UUID(flow_run.id)).state
    except Exception:  # noqa: BLE001 - no failure of this request may end a paid job
        return False
    return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)


def _owner() -> str:
    """Return the owner of a job: the Prefect run, else this process, whose jobs the flow `reap` keeps."""
    if get_current_settings().api.url is None:
        return f"{TERMINAL}{socket.gethostname()}"
    return run_id()


@contextmanager
def _one_creation_at_a_time() -> Iterator[None]:
    with connected() as client:
        client.upsert_global_concurrency_limit_by_name(CREATING, 1)
    with concurrency(CREATING, occupy=1, lease_duration=_LEASE):
        yield
