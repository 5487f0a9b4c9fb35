"""prefect.yaml: what it declares is what a server gets, from `prefect deploy --all` and from the local server alike."""

import os
import subprocess
import sys
from pathlib import Path

import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.flows import load_flow_from_entrypoint

from local import serve_flows
from tests.support.registry_world import World

NAMES = {"watch/watch", "train-concept/train-concept", "release/release", "reap/reap"}


def test_serve_declares_what_prefect_yaml_declares() -> None:
    declared = {one["name"]: one for one in yaml.safe_load(serve_flows.FILE.read_text())["deployments"]}
    served = {deployment.name: deployment for deployment in serve_flows.deployments(watch_every=7)}
    assert {deployment.full_name for deployment in served.values()} == NAMES
    for name, deployment in served.items():
        assert isinstance(load_flow_from_entrypoint(deployment.entrypoint or ""), Flow)
        assert deployment.description == declared[name]["description"]
        assert len(deployment.schedules or []) == len(declared[name].get("schedules", []))
        assert len(deployment.triggers) == len(declared[name].get("triggers", []))
    assert served["watch"].schedules[0].schedule.interval.total_seconds() == 7


def test_prefect_deploy_all_takes_every_declaration(world: World, repo_root: Path) -> None:
    environment = {**os.environ, **world.variables(), "PREFECT_CLI_PROMPT": "false"}
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="conceptry", type="process"))
    done = subprocess.run([*prefect, "deploy", "--all"], cwd=repo_root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with get_client(sync_client=True) as client:
        watch = client.read_deployment_by_name("watch/watch")
        assert watch.work_pool_name == "conceptry"
        assert [schedule.schedule.interval.total_seconds() for schedule in watch.schedules] == [60]
        automations = client.read_automations_by_name("watch when somebody pushed")
        assert automations, "an event starts it too"
        assert {str(automation.actions[0].deployment_id) for automation in automations} == {str(watch.id)}
        train = client.read_deployment_by_name("train-concept/train-concept")
        assert train.global_concurrency_limit is not None
        assert train.global_concurrency_limit.limit == 4
