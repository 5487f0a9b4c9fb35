"""prefect.yaml: what it declares is what a server gets, from `prefect deploy --all` and from the local server alike.

Installations on one server do not replace each other's deployments.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.flows import load_flow_from_entrypoint

from conceptry.errors import SettingsError
from flows.declared_deployments import FILE
from flows.deployments import FLOWS
from flows.watch import watch
from local import serve_flows
from tasks.processes import python_module
from tests.support.registry_world import World, training_runs


def deployment(name: str) -> DeploymentResponse:
    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(name)


def create_pool(name: str) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))


@pytest.fixture
def deployed(world: World) -> Iterator[World]:
    """A world that may sign the deployments of the server; afterwards they are nobody's again, for the other tests."""
    yield world
    for one in serve_flows.deployments(watch_every=3600):
        one.apply(_sync=True)


def test_serve_declares_what_prefect_yaml_declares() -> None:
    declared = {one["name"]: one for one in yaml.safe_load(FILE.read_text())["deployments"]}
    served = {deployment.name: deployment for deployment in serve_flows.deployments(watch_every=7)}
    assert {deployment.full_name for deployment in served.values()} == {f"{flow}/{flow}" for flow in FLOWS}
    for name, deployment in served.items():
        assert isinstance(load_flow_from_entrypoint(deployment.entrypoint or ""), Flow)
        assert deployment.description == declared[name]["description"]
        scheduled = [] if name == "watcher" else declared[name].get("schedules", [])  # the serving process starts it
        assert len(deployment.schedules or []) == len(scheduled)
        assert len(deployment.triggers) == len(declared[name].get("triggers", []))
    assert (served["watcher"].parameters, served["watch"].parameters) == ({"every": 7}, {"seconds": 7})


def test_two_installations_are_deployed_on_one_server(
    deployed: World, repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, prefect = deployed, [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    first, revision = world.installation.id, _one_concept(world)

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=repo_root, env=dict(os.environ), capture_output=True, text=True, check=False)

    create_pool("conceptry")
    done = run(prefect)
    assert done.returncode == 0, done.stdout + done.stderr
    before = deployment("watch/watch")
    assert before.tags == ["conceptry", f"installation:{first}"]
    assert before.work_pool_name == "conceptry"
    assert not before.schedules, "the watcher starts it"
    with get_client(sync_client=True) as client:
        [automation] = client.read_resource_related_automations(f"prefect.deployment.{before.id}")
    assert automation.name == "watch when somebody pushed"
    assert str(automation.actions[0].deployment_id) == str(before.id), "an event starts it too"
    assert deployment("train-concept/train-concept").global_concurrency_limit is None, "its slots leak"

    # Another branch is another installation. Its worker has no deployment yet, and does not use those of the first one.
    monkeypatch.setenv("CONCEPTRY_BRANCH", "second")
    second = world.installation.id
    refused = run(prefect)
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert all(word in refused.stderr for word in (first, second, "set CONCEPTRY_DEPLOYMENT_SUFFIX"))
    with pytest.raises(SettingsError, match="CONCEPTRY_DEPLOYMENT_SUFFIX"):
        asyncio.run(serve_flows.serve(world.installation, 3600))
    failed = watch(return_state=True)
    assert "CONCEPTRY_DEPLOYMENT_SUFFIX" in (failed.message or "")
    assert deployment("watch/watch").updated == before.updated

    monkeypatch.setenv("CONCEPTRY_DEPLOYMENT_SUFFIX", "-second")
    assert "`conceptry deploy`" in run(prefect).stderr, "the names of prefect.yaml have no suffix"
    with pytest.raises(ObjectNotFound):
        deployment("watch/watch-second")
    create_pool("conceptry-second")
    done = run(python_module("cli", "deploy"))
    assert done.returncode == 0, done.stdout + done.stderr
    for flow in FLOWS:
        beside = deployment(f"{flow}/{flow}-second")
        assert beside.work_pool_name == "conceptry-second"
        assert beside.tags == ["conceptry", f"installation:{second}"]
    assert deployment("watch/watch").updated == before.updated

    # Each starts trainings by its own deployment, and sees them alone.
    assert watch(return_state=True).is_completed()
    fingerprint = world.action("paired-dog").fingerprint or ""
    [run_of_second] = training_runs(fingerprint)
    assert run_of_second.deployment_id == deployment("train-concept/train-concept-second").id
    assert run_of_second.parameters["revision"] == revision
    monkeypatch.delenv("CONCEPTRY_BRANCH")
    monkeypatch.delenv("CONCEPTRY_DEPLOYMENT_SUFFIX")
    assert world.action("paired-dog").kind == "train"
    assert watch(return_state=True).is_completed()
    started = {run.deployment_id for run in training_runs(fingerprint)}
    assert started == {run_of_second.deployment_id, deployment("train-concept/train-concept").id}


def _one_concept(world: World) -> str:
    """Push a concept to both branches; the revision."""
    world.write("paired-dog")
    revision = world.push()
    subprocess.run(["git", "push", "--quiet", "origin", "HEAD:second"], cwd=world.clone, check=True)
    return revision
