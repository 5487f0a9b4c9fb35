"""The base job templates of docker, Kubernetes and Cloud Run, by Prefect's own checks: none of them can run here."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, WorkPool
from prefect.deployments.runner import DeploymentApplyError
from prefect.workers.base import BaseJobConfiguration
from pydantic import ConfigDict

from cli.setup_pool import command
from conceptry.errors import SettingsError
from emulators.vertex.cloud import Cloud
from flows.work_pool import WORK, merged, pool_types
from local import serve_flows

IMAGE = "us-central1-docker.pkg.dev/my-project/conceptry/flows:latest"
pytestmark = pytest.mark.usefixtures("prefect_api")
CONTAINERS = [name for name in pool_types() if name != "process"]


class AnyJob(BaseJobConfiguration):
    """A job's configuration as a worker makes it, of a type whose worker is not installed."""

    model_config = ConfigDict(extra="allow")


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "REPO": "https://ann:pass@example.org/concepts.git",
        "HUB_OWNER": "ann",
        "HUB_TOKEN": "hf_secret",
        "WORK": "/home/ann/work",
        "SPACE_TOKEN": "hf_read",
        "BACKEND": "vertex",
        "VERTEX_PROJECT": "my-project-1",
    }.items():
        monkeypatch.setenv(f"CONCEPTRY_{name}", value)


def created(pool_type: str, monkeypatch: pytest.MonkeyPatch, suffix: str = "") -> WorkPool:
    """Create a pool by the command, under a name of its own."""
    name = f"-{pool_type.replace('-', '')}{suffix}"
    monkeypatch.setenv("CONCEPTRY_DEPLOYMENT_SUFFIX", name)
    command(pool_type, image=IMAGE)
    with get_client(sync_client=True) as client:
        return client.read_work_pool(f"conceptry{name}")


def job_variables(repo_root: Path) -> dict[str, Any]:
    """What the deployments ask of their pool."""
    declared = yaml.safe_load((repo_root / "prefect.yaml").read_text())["deployments"]
    variables: dict[str, Any] = declared[0]["work_pool"]["job_variables"]
    return variables


def job(template: dict[str, Any], variables: dict[str, Any], kind: type[BaseJobConfiguration] = AnyJob) -> Any:
    """The configuration of a run's job, as a worker makes it."""
    return asyncio.run(kind.from_template_and_values(template, variables))


@pytest.mark.parametrize("pool_type", CONTAINERS)
def test_a_pool_takes_the_deployments_and_makes_jobs_of_them(
    pool_type: str, repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = created(pool_type, monkeypatch)
    assert pool.type == pool_type
    deployment = serve_flows.deployments(watch_every=3600)[0]
    deployment.name, deployment.work_pool_name = f"in-{pool_type}", pool.name
    deployment.job_variables = {"image": 5}
    with pytest.raises(DeploymentApplyError, match="Validation failed for field 'image'"):
        deployment.apply(_sync=True)
    deployment.job_variables = job_variables(repo_root)
    deployment.apply(_sync=True)

    made = job(pool.base_job_template, deployment.job_variables)
    prefix = f"conceptry-{pool_type.replace('-', '')}"
    assert made.env == {
        "CONCEPTRY_BACKEND": "vertex",
        "CONCEPTRY_DEPLOYMENT_SUFFIX": prefix.removeprefix("conceptry"),
        "CONCEPTRY_HUB_OWNER": "ann",
        "CONCEPTRY_HUB_TOKEN_BLOCK": f"{prefix}-hub-token",
        "CONCEPTRY_REPO": "https://example.org/concepts.git",
        "CONCEPTRY_REPO_LOGIN": "ann:pass",
        "CONCEPTRY_SPACE_TOKEN": "hf_read",
        "CONCEPTRY_VERTEX_PROJECT": "my-project-1",
        "CONCEPTRY_WORK": WORK,
        "PYTHONSAFEPATH": "1",
    }
    assert Secret.load(f"{prefix}-hub-token", _sync=True).get() == "hf_secret"  # type: ignore[union-attr]
    for secret in ("ann:pass", "hf_read", "hf_secret"):
        assert secret not in str(pool.base_job_template)
    assert IMAGE in str(made.model_dump())
    assert "{{" not in str(made.model_dump()).replace("{{ labels }}", ""), "every variable has a value"


def test_a_docker_container_keeps_its_work_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(created("docker", monkeypatch, "-volume").base_job_template, {})
    assert made.volumes == ["conceptry-docker-volume-work:/work"], "each installation has its own"


def test_a_pod_may_write_to_its_work_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(created("kubernetes", monkeypatch, "-pod").base_job_template, {})
    pod = made.job_manifest["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["name"] == "prefect-job"
    assert container["image"] == IMAGE
    assert [volume["name"] for volume in pod["volumes"]] == [mount["name"] for mount in container["volumeMounts"]]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [WORK]
    assert container["resources"]["requests"] == {"cpu": "1", "memory": "4Gi"}
    assert made.pod_watch_timeout_seconds == 900


def test_cloud_run_gets_the_credentials_of_the_block(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect_gcp import GcpCredentials
    from prefect_gcp.workers.cloud_run_v2 import CloudRunWorkerJobV2Configuration

    monkeypatch.setenv("CONCEPTRY_VERTEX_CREDENTIALS", "conceptry-run")
    block = GcpCredentials(service_account_info=cloud.service_account, project="the-project")
    block.save("conceptry-run", overwrite=True, _sync=True)
    template = created("cloud-run-v2", monkeypatch, "-run").base_job_template
    made = job(template, {}, CloudRunWorkerJobV2Configuration)
    assert made.credentials.project == "the-project"
    made.prepare_for_flow_run(FlowRun(flow_id="00000000-0000-0000-0000-000000000000", name="a-run"), None, None)
    task = made.job_body["template"]["template"]
    [container] = task["containers"]
    assert container["command"] == ["prefect", "flow-run", "execute"]
    assert container["image"] == IMAGE
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "8Gi"}
    assert {"name": "CONCEPTRY_WORK", "value": WORK} in container["env"]
    assert task["timeout"] == "86400s"


def test_a_pool_is_not_replaced_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    created("process", monkeypatch)
    with pytest.raises(SettingsError, match="--replace"):
        command("process")
    command("process", replace=True)
    with pytest.raises(SettingsError, match="has the type process"):
        command("docker", image=IMAGE, replace=True)


def test_what_no_container_could_use_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="choose one of"):
        command("moon", image=IMAGE)
    with pytest.raises(SettingsError, match="--image"):
        command("docker")
    monkeypatch.setenv("CONCEPTRY_REPO", str(tmp_path))
    with pytest.raises(SettingsError, match="a container does not see"):
        command("docker", image=IMAGE)


def test_differences_are_merged_by_key_and_by_position() -> None:
    base = {"a": 1, "b": {"c": 2}, "d": [{"e": 3}, {"f": 4}]}
    changes = {"b": {"g": 5}, "d": [{"h": 6}], "i": [7]}
    assert merged(base, changes) == {"a": 1, "b": {"c": 2, "g": 5}, "d": [{"e": 3, "h": 6}, {"f": 4}], "i": [7]}
