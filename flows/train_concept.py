"""Train one concept, judge it, publish it, and bring its Space along.

    fetch the images -> write records -> train -> judge and assemble -> publish -> release (card, Space)

What the steps make lies in the run's folder (see flows.runs), so a run that is tried again goes on where it stopped.
Two runs of one fingerprint wait for each other; the second finds the version on the Hub and looks after the Space only.
"""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled

from conceptry.errors import TrainingCancelled
from conceptry.gate import judge
from conceptry.plan import choose_release
from conceptry.settings import Settings
from conceptry.version import Manifest, Version
from flows import artifacts as report
from flows import state, vertex
from flows.events import tell
from flows.release import release
from flows.runs import RunFolder, run_id, slot
from flows.steps import PATIENT, step
from flows.training_job import Order, make_order
from flows.training_runs import trainings
from tasks import dvc, hub, records
from tasks.training import Progress, TrainingRequest, train_local


@flow(name="train-concept", flow_run_name="{name} {fingerprint:.8}", on_cancellation=[vertex.end_job])
def train_concept(name: str, revision: str, fingerprint: str, retrain: str | None = None) -> str | State[Any]:
    """Make the version of one fingerprint, once, and return its name; Cancelled when a person ended the training.

    Args:
        name: the concept.
        revision: git commit whose concept.yaml and images.dvc are trained.
        fingerprint: training fingerprint that the plan saw there; the run's idempotency key.
        retrain: ISO date for which a scheduled retraining was due.
    """
    settings, logger = Settings(), get_run_logger()
    folder = RunFolder.of(settings.work, fingerprint)
    with folder.lock(run_id(), lambda: logger.info("another run is at %s; waiting for it", fingerprint[:8])) as lock:
        version = find_published(settings, name, fingerprint)
        if version is None:
            order = read_order(settings, name, revision, fingerprint, retrain)
            fetch(folder, settings, order)
            write_records(folder, order)
            try:
                with place(settings, order):
                    metrics = train(folder, settings, order, lock)
            except TrainingCancelled as error:
                return Cancelled(message=str(error))
            assemble(folder, settings, order, metrics)
            version = publish(folder, settings, order)
        else:
            logger.info("%s is published already, as %s", fingerprint[:8], version.name)
        if folder.bundle.is_dir():
            # Also when an earlier run was killed between publishing and this.
            announce(folder, settings, version)
        release(name)
        folder.clear()
    return version.name


@task(name="look for the version", **PATIENT)
def find_published(settings: Settings, name: str, fingerprint: str) -> Version | None:
    """Ask the model repo itself whether this fingerprint is published."""
    return hub.find_version(state.target(settings), name, fingerprint)


@task(name="read concept", **PATIENT)
def read_order(settings: Settings, name: str, revision: str, fingerprint: str, retrain: str | None) -> Order:
    """Read the concept at the revision and make sure that it is what the plan saw."""
    return make_order(settings, name, revision, retrain, expected=fingerprint)


@step("fetch images", lambda run: run.images)
def fetch(run: RunFolder, settings: Settings, order: Order) -> str:
    """Bring the pictures here, every md5 checked."""
    wanted = order.wanted
    dvc.fetch_images(
        state.mirror(settings), order.revision, wanted.dvc_md5 or "", wanted.images, run.images, concept=order.name
    )
    return str(run.images)


@step("write records", lambda run: run.records)
def write_records(run: RunFolder, order: Order) -> int:
    """Write TFRecords and pass on what a person should know about the pictures."""
    resolution = order.spec.resolution or order.base.resolution
    made = records.build_records(run.images, run.records, resolution)
    for warning in made.warnings:
        get_run_logger().warning("%s: %s", order.name, warning)
    return made.count


def place(settings: Settings, order: Order) -> AbstractContextManager[None]:
    """A place to train: this machine has few, and Vertex AI counts its own jobs."""
    if vertex.backend(settings, order) == "vertex":
        return nullcontext()
    logger = get_run_logger()
    return slot(settings.work, settings.max_parallel, lambda: logger.info("waiting for a free place to train"))


@step("train", lambda run: run.output)
def train(run: RunFolder, settings: Settings, order: Order, lock: int) -> dict[str, Any]:
    """Run the trainer, here or on Vertex AI, show how far it is, and return its metrics."""
    tell(order.name, "training", fingerprint=order.fingerprint, revision=order.revision, retrain=order.retrain)
    bar = ProgressBar(order.name)
    if vertex.backend(settings, order) == "vertex":
        metrics = vertex.train(run, settings, order, bar.show, bar.note)
    else:
        request = TrainingRequest(order.name, order.config, run.records, run.output, settings.base_dir, order.scored)
        metrics = train_local(request, on_progress=bar.show, on_event=bar.note, keep_open=(lock,))
    bar.done()
    return metrics


@step("judge and assemble", lambda run: run.bundle)
def assemble(run: RunFolder, settings: Settings, order: Order, metrics: Mapping[str, Any]) -> str:
    """Judge the metrics and put the version together."""
    target = state.target(settings)
    verdict = judge(metrics, order.spec.gate, released_loss(settings, order) if order.retrain else None)
    lineage = hub.Lineage(
        fingerprint=order.fingerprint,
        inputs=order.inputs,
        commit=order.revision,
        dvc_md5=order.wanted.dvc_md5 or "",
        images=order.wanted.images or (),
        retrain=order.retrain,
        prefect_run=run_id(),
        seconds=metrics.get("seconds") or {},
        cost=vertex.read_cost(run.output),
    )
    hub.assemble(
        run.output,
        run.bundle,
        name=order.name,
        spec=order.spec,
        base=order.base,
        lineage=lineage,
        gate=verdict,
        repo=target.repo(order.name),
    )
    return str(run.bundle)


@task(name="publish", **PATIENT)
def publish(run: RunFolder, settings: Settings, order: Order) -> Version:
    """Publish the bundle as the next version; a version that is there already is taken as it is."""
    version = hub.publish(state.target(settings), order.name, run.bundle, private=order.spec.space.private)
    get_run_logger().info("%s %s is published: %s", order.name, version.name, version.gate)
    return version


def announce(run: RunFolder, settings: Settings, version: Version) -> None:
    """Tell people of the version that was made here: an event, and the run's artifacts."""
    manifest = Manifest.model_validate_json((run.bundle / "concept.json").read_bytes())
    target = state.target(settings)
    address = f"{target.endpoint}/{target.repo(manifest.name)}"
    what = "published" if manifest.gate == "passed" else "rejected"
    tell(manifest.name, what, version=version.name, reasons=manifest.reasons, model=address)
    report.show_version(version, manifest, address)


def released_loss(settings: Settings, order: Order) -> float | None:
    """The held-out loss of the version that is released now, which a retraining must beat."""
    versions = hub.read_versions(state.target(settings), order.name)
    released = choose_release(order.spec, versions, order.inputs)
    return released.loss if released else None


class ProgressBar:
    """A training's progress in the run's page: a bar that moves, and a line in the log every few seconds."""

    EVERY = 5.0

    def __init__(self, name: str) -> None:
        self._logger = get_run_logger()
        artifact = create_progress_artifact(0.0, key=f"{name}-training", description=f"Training {name}")
        self._artifact = cast(UUID, artifact)
        self._last = 0.0

    def show(self, progress: Progress) -> None:
        """Move the bar, if the last move is some seconds ago."""
        if time.monotonic() - self._last < self.EVERY and progress.step < progress.of:
            return
        self._last = time.monotonic()
        done, seconds = f"step {progress.step} of {progress.of}", f"{progress.seconds:.0f} s"
        self._logger.info("%s, loss %.4f, %s", done, progress.loss, seconds)
        update_progress_artifact(self._artifact, progress=100 * progress.step / max(1, progress.of))

    def note(self, event: Mapping[str, Any]) -> None:
        """Log an event of the trainer's."""
        told = ", ".join(f"{key} {value}" for key, value in event.items() if key != "event")
        self._logger.info("trainer: %s%s", event.get("event"), f" ({told})" if told else "")

    def done(self) -> None:
        """Fill the bar; a training may stop early."""
        update_progress_artifact(self._artifact, progress=100.0)


def train_now(settings: Settings, name: str) -> FlowRun | None:
    """Ask the Prefect server for the training of a concept as it is at the head of the branch.

    A run that failed is tried again: a person asked for it. None when the version is published already.

    Raises:
        ConceptryError: the concept cannot be trained as it is, see `make_order`.
    """
    order = make_order(settings, name, None)
    if hub.find_version(state.target(settings), name, order.fingerprint) is not None:
        return None
    with trainings(settings.work) as runs:
        return runs.start(name, order.revision, order.fingerprint, again=True)


def train_here(settings: Settings, name: str) -> str | None:
    """Train a concept as it is at the head of the branch in this process; None if its version is published already."""
    order = make_order(settings, name, None)
    if hub.find_version(state.target(settings), name, order.fingerprint) is not None:
        return None
    made = train_concept(name, order.revision, order.fingerprint)
    return made if isinstance(made, str) else None
