"""A worker needs nothing but its settings: it runs what was deployed from a checkout that it cannot see."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists

from flows.deployments import deployment_tags
from local import serve_flows
from tasks.processes import python_module
from tests.support.registry_world import World, run
from tests.support.wait import wait_until

INSTALLED = ("cli", "conceptry", "flows", "local", "tasks", "trainer", "space_template", "handler_template")


def checkout(repo_root: Path, folder: Path) -> Path:
    """Copy the code to another path."""
    for room in INSTALLED:
        shutil.copytree(repo_root / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(repo_root / "prefect.yaml", folder / "prefect.yaml")
    return folder


@pytest.fixture
def deployed(world: World, repo_root: Path, tmp_path: Path) -> Iterator[World]:
    """A world whose flows were deployed from a checkout that is gone; afterwards they are as the other tests need."""
    there = checkout(repo_root, tmp_path / "of the deployer")
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name="conceptry", type="process"))
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, cwd=there, env=environment(there), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(there)
    yield world
    for one in serve_flows.deployments(watch_every=3600):
        one.apply(_sync=True)


def environment(code: Path, **variables: str | None) -> dict[str, str]:
    """The environment of a machine on which the code is installed at a path; None unsets a variable."""
    given = {**os.environ, "PYTHONPATH": str(code), "PYTHONSAFEPATH": "1", **variables}
    return {name: value for name, value in given.items() if value is not None}


def start(deployment: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(client.read_deployment_by_name(deployment).id)


def ended(flow_run: FlowRun) -> FlowRun | None:
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(flow_run.id)
    return found if found.state is not None and found.state.is_final() else None


def execute(deployment: str, folder: Path, variables: dict[str, str]) -> FlowRun:
    """Run a deployment as a container of a docker, Kubernetes or Cloud Run pool does."""
    flow_run = start(deployment)
    command = [sys.executable, "-m", "prefect", "flow-run", "execute", str(flow_run.id)]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    found = ended(flow_run)
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.timeout(400)
def test_a_worker_at_another_path_runs_what_was_deployed(deployed: World, repo_root: Path, tmp_path: Path) -> None:
    deployed.write("moved-cat", suspend=True)
    deployed.push()
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("watch/watch")
    assert found.pull_steps == [{"flows.pull_step.pull_step": {}}]

    def watches() -> list[FlowRun]:
        with get_client(sync_client=True) as client:
            which = DeploymentFilter(id=DeploymentFilterId(any_=[found.id]))
            runs = client.read_flow_runs(deployment_filter=which, sort=FlowRunSort.START_TIME_DESC)
        return [run for run in runs if set(deployment_tags(deployed.installation.id)) <= set(run.tags)]

    installed = checkout(repo_root, tmp_path / "of the worker")
    home = tmp_path / "home"
    home.mkdir()
    work = tmp_path / "another" / "work"
    command = [*python_module("cli", "worker"), "--limit", "2"]
    variables = environment(installed, HOME=str(home), CONCEPTRY_WORK=str(work))
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=home, env=variables, stdout=log, stderr=log)
    try:
        flow_run = start("reap/reap")
        wait_until(lambda: (ended(flow_run) and watches()) or worker.poll() is not None, 200)
        assert worker.poll() is None, (tmp_path / "worker.log").read_text()
        done = ended(flow_run)
        assert done is not None
        assert done.state is not None
        assert done.state.is_completed(), (tmp_path / "worker.log").read_text()
    finally:
        worker.terminate()
        worker.wait(60)
    assert [run.name for run in watches()] == ["plan changed"], "it watches beside its runs"
    assert (work / "mirror.git").is_dir()
    assert list(home.iterdir()) == []


@pytest.mark.usefixtures("deployed")
def test_a_run_whose_worker_lacks_a_setting_says_so(repo_root: Path, tmp_path: Path) -> None:
    relative = environment(repo_root, CONCEPTRY_WORK=None, CONCEPTRY_BASE_DIR="weights")
    failed = execute("reap/reap", tmp_path, relative)
    assert failed.state_name == "Failed"
    assert failed.state is not None
    for words in ("CONCEPTRY_WORK is missing", "CONCEPTRY_BASE_DIR is a relative path"):
        assert words in (failed.state.message or "")


@pytest.mark.usefixtures("deployed")
def test_a_run_uses_the_code_of_a_git_repo(repo_root: Path, tmp_path: Path) -> None:
    code = checkout(repo_root, tmp_path / "code")
    changed = code / "flows" / "reap.py"
    changed.write_text(changed.read_text().replace("Vertex AI is not configured.", "from the clone"))
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "code"]):
        run(code, "git", *command)
    variables = environment(repo_root, CONCEPTRY_CODE=f"file://{code}")
    done = execute("reap/reap", tmp_path, variables)
    assert done.state is not None
    assert done.state.message == "from the clone"

    failed = execute("reap/reap", tmp_path, {**variables, "CONCEPTRY_CODE_BRANCH": "missing"})
    assert failed.state_name == "Interrupted", "it may appear"
    assert failed.state is not None
    assert "CONCEPTRY_CODE" in (failed.state.message or "")


@pytest.mark.usefixtures("world")
def test_wrong_settings_end_a_worker_before_it_starts(tmp_path: Path, repo_root: Path) -> None:
    def worker(**variables: str | None) -> str:
        done = subprocess.run(
            python_module("cli", "worker"),
            cwd=tmp_path,
            env=environment(repo_root, **variables),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "CONCEPTRY_WORK is missing" in worker(CONCEPTRY_WORK=None)
    assert "CONCEPTRY_WORK: must be an absolute path" in worker(CONCEPTRY_WORK="work")
    assert "CONCEPTRY_REPO is a relative path" in worker(CONCEPTRY_REPO="../origin.git")
    assert "set PREFECT_API_URL" in worker(PREFECT_API_URL=None)
    assert "CONCEPTRY_VERTEX_PROJECT" in worker(CONCEPTRY_BACKEND="vertex", CONCEPTRY_VERTEX_REGION="us-central1")
