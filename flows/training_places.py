"""Places for trainings: how many train at the same time, counted over all workers of an installation.

| trainings run                         | places                                                             |
|---------------------------------------|--------------------------------------------------------------------|
| in a serving process (`conceptry up`) | CONCEPTRY_MAX_PARALLEL                                             |
| on workers of a process pool          | the sum over the workers that are online; their names say how many |
| in containers, which a worker starts  | the limit of the work queue `trainings`, or of the pool            |

A limit that users set for the queue or the pool in Prefect also bounds the first sum. Prefect counts running runs for
it, which stays right when a host is lost: a slot of Prefect's concurrency limits would stay occupied.
"""

import re
import socket

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import Worker, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse

from conceptry.installation import Installation
from conceptry.settings import Settings
from conceptry.work_folder import WorkFolder
from flows.deployments import TRAINING, read_deployment

QUEUE = "trainings"
"""Work queue of the deployment `train-concept`, see prefect.yaml."""
OTHERS = "default"
"""Work queue of the other deployments, which Prefect creates with a work pool."""
_TRAININGS = re.compile(r": (\d+) trainings?$")
_OTHER_RUNS = ": other runs"


def training_worker_name(work: WorkFolder, trainings: int) -> str:
    """Return the name of the Prefect worker that takes the trainings of a machine, with how many it takes."""
    return f"{_machine(work)}: {trainings} training{'s' * (trainings != 1)}"


def other_worker_name(work: WorkFolder) -> str:
    """Return the name of the Prefect worker that takes the other runs of a machine."""
    return _machine(work) + _OTHER_RUNS


def training_places(client: SyncPrefectClient, installation: Installation) -> int:
    """Return how many trainings of an installation run at the same time; at least 1."""
    settings = installation.settings
    deployment = read_deployment(client, TRAINING, settings.deployment_suffix)
    if deployment is None or deployment.work_pool_name is None:
        return settings.max_parallel
    pool = client.read_work_pool(deployment.work_pool_name)
    limits = [limit for limit in (_queue_limit(client, deployment), pool.concurrency_limit) if limit is not None]
    if pool.type != "process":
        return max(1, min(limits, default=settings.max_parallel))
    # No worker may be online yet; what is scheduled then shows that one is needed.
    online = sum(_trainings(worker, settings) for worker in client.read_workers_for_work_pool(pool.name))
    return max(1, min([online or settings.max_parallel, *limits]))


def _queue_limit(client: SyncPrefectClient, deployment: DeploymentResponse) -> int | None:
    name = deployment.work_queue_name
    return None if name is None else client.read_work_queue_by_name(name, deployment.work_pool_name).concurrency_limit


def _trainings(worker: Worker, settings: Settings) -> int:
    """Return how many trainings a worker runs at the same time; one that was started by hand says nothing about it."""
    if worker.status is not WorkerStatus.ONLINE or worker.name.endswith(_OTHER_RUNS):
        return 0
    named = _TRAININGS.search(worker.name)
    return int(named[1]) if named else settings.max_parallel


def _machine(work: WorkFolder) -> str:
    # Prefect's API has the name in a path, so it must not contain slashes.
    return f"{socket.gethostname()} {str(work.root).strip('/').replace('/', '-')}"
