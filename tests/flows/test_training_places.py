"""Trainings that run at the same time: counted over the workers of the fleet, not over one machine."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate

from cli.worker import worker_commands
from conceptry.work_folder import WorkFolder
from flows.deployments import TRAINING
from flows.reconcile import current_comparison
from flows.training_places import QUEUE, other_worker_name, training_places, training_worker_name
from flows.work_pool import create_training_queue
from tests.support.registry_world import World


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def deploy(client: SyncPrefectClient, suffix: str, pool_type: str) -> str:
    """Create a work pool and the deployment of trainings in it, in a queue of its own; the name of the pool."""
    pool = f"conceptry{suffix}"
    client.create_work_pool(WorkPoolCreate(name=pool, type=pool_type))
    flow = client.create_flow_from_name(TRAINING)
    client.create_deployment(flow, TRAINING + suffix, work_pool_name=pool, work_queue_name=QUEUE)
    return pool


def come_online(client: SyncPrefectClient, pool: str, *names: str) -> None:
    for name in names:
        client.send_worker_heartbeat(pool, name, heartbeat_interval_seconds=60)


@pytest.fixture
def suffix(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    suffix = f"-{request.param}"
    monkeypatch.setenv("CONCEPTRY_DEPLOYMENT_SUFFIX", suffix)
    return suffix


@pytest.mark.parametrize("suffix", ["fleet"], indirect=True)
def test_each_worker_adds_its_places(
    world: World, client: SyncPrefectClient, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = deploy(client, suffix, "process")
    monkeypatch.setenv("CONCEPTRY_MAX_PARALLEL", "2")
    assert training_places(client, world.installation) == 2, "for the worker that will come"

    one, other = WorkFolder(Path("/srv/one")), WorkFolder(Path("/srv/another one"))
    come_online(client, pool, training_worker_name(one, 1), other_worker_name(one))
    assert training_places(client, world.installation) == 1
    come_online(client, pool, training_worker_name(other, 4), other_worker_name(other))
    assert training_places(client, world.installation) == 5
    come_online(client, pool, "ProcessWorker 5a0c")
    assert training_places(client, world.installation) == 7, "one that was started by hand"
    come_online(client, pool, training_worker_name(one, 1))
    assert training_places(client, world.installation) == 7, "it is the same one after a restart"

    [queue] = [each for each in client.read_work_queues(work_pool_name=pool) if each.name == QUEUE]
    client.update_work_queue(queue.id, concurrency_limit=3)
    assert training_places(client, world.installation) == 3, "as a user limits it in Prefect"

    names = [f"fleet-{index}" for index in range(8)]
    for name in names:
        world.write(name)
    world.push()
    compared = current_comparison(world.installation)
    started = [one.concept for one in compared.plan.concepts if one.training.deferral is None]
    assert compared.places == 3
    assert len(started) == 6, "as many again are scheduled ahead"


@pytest.mark.parametrize("suffix", ["pods"], indirect=True)
def test_the_queue_limits_trainings_in_containers(world: World, client: SyncPrefectClient, suffix: str) -> None:
    pool = deploy(client, suffix, "kubernetes")
    come_online(client, pool, "KubernetesWorker 1", "KubernetesWorker 2")
    assert training_places(client, world.installation) == 1
    [queue] = [each for each in client.read_work_queues(work_pool_name=pool) if each.name == QUEUE]
    client.delete_work_queue_by_id(queue.id)
    create_training_queue(pool, 12)
    create_training_queue(pool, 1)  # what users set in Prefect stays
    client.create_deployment(
        client.create_flow_from_name(TRAINING), TRAINING + suffix, work_pool_name=pool, work_queue_name=QUEUE
    )
    assert training_places(client, world.installation) == 12


def test_a_worker_takes_trainings_by_a_limit_of_their_own(world: World) -> None:
    settings = world.installation.settings.model_copy(update={"max_parallel": 3})
    commands = worker_commands(replace(world.installation, settings=settings), 7)
    options = [dict(zip(command[-6::2], command[-5::2], strict=True)) for command in commands]
    assert [one["--work-queue"] for one in options] == ["trainings", "default"]
    assert [one["--limit"] for one in options] == ["3", "7"]
    assert options[0]["--name"].startswith(socket.gethostname())
    assert options[0]["--name"].endswith(": 3 trainings")
