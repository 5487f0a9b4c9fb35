"""Trainings on Vertex AI, as a flow sees them: which job is whose, and when a run no longer wants it."""

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.concurrency.sync import concurrency
from prefect.logging import get_logger
from prefect.settings import get_current_settings

from conceptry.settings import Settings
from flows.prefect_client import connected
from flows.runs import RunFolder, run_id
from flows.training_job import Order
from flows.training_runs import trainings
from tasks.training import Progress, TrainingRequest
from tasks.training.settings import VertexSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.training.job import JobOrder

CREATING = "conceptry-vertex-create"
"""Prefect's global limit that lets one run at a time look for a job and create one, on whatever machine it is."""
TERMINAL = "terminal-"
"""How the owner's label begins when a training was started without a Prefect server."""
_LEASE = 60.0


def backend(settings: Settings, order: Order) -> str:
    """Where a concept is trained: as its concept.yaml says, else as this deployment does."""
    return order.spec.training.backend or settings.backend


def installation(settings: Settings) -> str:
    """Name this Conceptry, by the account on the Hub that it publishes to; two of them may share a project."""
    where = f"{settings.hub_endpoint}/{settings.hub_owner}"
    return f"{settings.hub_owner}-{hashlib.sha256(where.encode()).hexdigest()[:8]}"


def train(
    run: RunFolder,
    settings: Settings,
    order: Order,
    on_progress: "Callable[[Progress], None]",
    on_event: "Callable[[Mapping[str, Any]], None]",
) -> dict[str, Any]:
    """Train one concept on Vertex AI and return its metrics; what it cost lies beside its results."""
    from tasks.training import vertex  # seconds to import, and only trainings on Vertex AI need it
    from tasks.training.job import JobOrder

    logger = get_run_logger()
    cloud = vertex.open_cloud(VertexSettings(), logger.warning)
    request = TrainingRequest(order.name, order.config, run.records, run.output, scored=order.scored)
    job = JobOrder(order.name, order.fingerprint, installation(settings), _owner(), cloud.bucket.name)
    watcher = vertex.Watcher(
        on_progress=on_progress, on_event=on_event, tell=logger.info, cancelled=cancelled, guard=_one_at_a_time
    )
    return vertex.train_vertex(request, job, cloud, watcher)


def read_cost(output: Path) -> dict[str, Any] | None:
    """What a training cost, for the manifest; None when it was trained on one's own machine."""
    path = output / "cost.json"
    return json.loads(path.read_bytes()) if path.is_file() else None


def clean_bucket(settings: Settings, days: float, *, delete: bool) -> dict[str, int]:
    """Find, and with `delete` remove, what trainings left in the bucket and nobody needs: bytes, by gs:// address.

    Kept is what belongs to a live job or a live run, and what was written less than `days` days ago: a run that failed
    goes on from its checkpoint when a person retries it.
    """
    from tasks.training import vertex
    from tasks.training.bucket import clean_prefixes

    cloud = vertex.open_cloud(VertexSettings())
    needed = {job.home.rstrip("/").rpartition("/")[2] for job in cloud.jobs.live(installation(settings))}
    with trainings(settings.work) as runs:
        needed |= {str(run.parameters.get("fingerprint")) for run in runs.active()}
    return clean_prefixes(cloud.bucket, lambda _, fingerprint: fingerprint in needed, days=days, delete=delete)


def cancelled() -> bool:
    """Whether somebody cancelled this very run. A server that does not answer has not said so."""
    from prefect.runtime import flow_run

    if flow_run.id is None:
        return False
    try:
        with connected() as client:
            state = client.read_flow_run(UUID(flow_run.id)).state
    except Exception:  # noqa: BLE001 - whatever the client raises, the job is worth more than the answer
        return False
    return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)


def end_job(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancel the job of a run that was cancelled; runs in the runner, which may have killed the run's process."""
    del flow, state
    logger = get_logger("conceptry.vertex")
    if not VertexSettings.in_use():
        return
    from tasks.training import vertex

    cloud = vertex.open_cloud(VertexSettings(), logger.warning)
    for job in vertex.end_jobs(order_of(flow_run, Settings(), cloud.bucket.name), cloud):
        logger.info("job %s of the cancelled run %s is %s", job.short, flow_run.name, job.state.lower())


def order_of(flow_run: FlowRun, settings: Settings, bucket: str) -> "JobOrder":
    """What the job of a run is for, told by the run's parameters."""
    from tasks.training.job import JobOrder

    name, fingerprint = str(flow_run.parameters["name"]), str(flow_run.parameters["fingerprint"])
    return JobOrder(name, fingerprint, installation(settings), str(flow_run.id), bucket)


def _owner() -> str:
    """Who answers for a job: a run of the Prefect server, else a terminal, whose jobs no reaper knows anything of."""
    if get_current_settings().api.url is None:
        return f"{TERMINAL}{socket.gethostname()}"
    return run_id()


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with connected() as client:
        client.upsert_global_concurrency_limit_by_name(CREATING, 1)
    with concurrency(CREATING, occupy=1, lease_duration=_LEASE):
        yield
