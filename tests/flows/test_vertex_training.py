"""Training on Vertex AI as a flow: the whole path with a real training, and who ends a job when.

Where the training itself does not matter, the image holds a stand-in that lays down what the trainer would leave.
"""

import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from typing import Any

import gcsfs
import pytest
import typer
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import LogSort
from prefect.states import Cancelled, Cancelling, Crashed, Failed

import cli.setup_gcp
from cli.setup_gcp import register_blocks
from conceptry.version import Manifest
from conceptry.vertex_settings import VertexBasics, VertexSettings
from emulators.vertex.cloud import Cloud
from emulators.vertex.runner import Image
from flows.reap import reap
from flows.train_concept import job_at_head, train_concept
from flows.training_runs import training_runs as runs_on_server
from flows.watch import watch
from tasks.training import custom_job, vertex_clients
from tasks.training.custom_job import FINGERPRINT, INSTALLATION, JobSpec, label
from tasks.training.job_trainings import live_trainings
from tasks.training.tasks import TERMINAL
from tests.support.clouds import IMAGE
from tests.support.registry_world import World, artifact, last_run, md5, run, set_state, training_runs
from tests.support.trainer_stand_in import stand_in, vertex_variables
from tests.support.uv_sync import uv_program, uv_variables
from tests.support.wait import wait_until


@pytest.fixture
def vertex_world(world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world whose trainings run on the emulated Vertex AI."""
    for name, value in vertex_variables(cloud).items():
        monkeypatch.setenv(name, value)
    register_blocks(VertexBasics(), cloud.service_account, cloud.bucket, None)
    return world


def states_of(cloud: Cloud, fingerprint: str) -> list[str]:
    jobs = [job for job in cloud.jobs.all() if job.labels.get(FINGERPRINT) == label(fingerprint)]
    return [job.state.name.removeprefix("JOB_STATE_") for job in jobs]


def log_of(flow_run: FlowRun) -> str:
    with get_client(sync_client=True) as client:
        which = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run.id]))
        return "\n".join(line.message for line in client.read_logs(which, limit=200, sort=LogSort.TIMESTAMP_ASC))


class Started(threading.Thread):
    """A run of train_concept in a thread; `returned` is what the flow returned or raised."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        super().__init__()
        self.parameters, self.returned = parameters, None
        self.context = copy_context()  # of Prefect's settings, which name the server
        self.start()

    def run(self) -> None:
        try:
            self.returned = self.context.run(train_concept, **self.parameters)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.returned = error  # type: ignore[assignment]

    def end(self) -> Any:
        self.join(120)
        return self.returned


def trainer_image(folder: Path, repo_root: Path) -> Image:
    """What trainer/Dockerfile installs, without CUDA, in an empty environment; and the trainer, alone."""
    [line] = [line for line in (repo_root / "trainer" / "Dockerfile").read_text().splitlines() if "uv sync" in line]
    _, *command = shlex.split(line)
    for left_out in ("--group", "gpu", "--compile-bytecode"):
        command.remove(left_out)
    uv, environment = uv_program(repo_root), uv_variables(os.environ, folder / "environment")
    build = folder / "build"
    build.mkdir()
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copyfile(repo_root / name, build / name)
    done = subprocess.run([uv, *command[1:]], cwd=build, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.copytree(repo_root / "trainer", folder / "app" / "trainer", ignore=shutil.ignore_patterns("__pycache__"))
    return Image(folder / "environment" / "bin", folder / "app")


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_from_a_push_to_a_space_by_way_of_vertex_ai(
    vertex_world: World, cloud: Cloud, repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures in git and a DVC remote on gs://, two machines that train together, nothing of Prefect in the image."""
    image = trainer_image(vertex_world.root, repo_root)
    assert not list(image.binaries.parent.glob("lib/python*/site-packages/prefect*"))
    monkeypatch.setenv("CONCEPTRY_VERTEX_IMAGE", IMAGE.replace("0" * 64, "e2e0" * 16))
    cloud.images[IMAGE.replace("0" * 64, "e2e0" * 16)] = image

    monkeypatch.setenv("CONCEPTRY_VERTEX_REPLICAS", "2")
    vertex_world.write("far-cat", push=False, release="v1", training={"max_steps": 10, "early_stopping": False})
    config = vertex_world.clone / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(vertex_world.root / "remote"), f"gs://{cloud.bucket}/dvc"))
    bucket = gcsfs.GCSFileSystem(token="anon")
    for oid, data in vertex_world.pushed.items():
        bucket.pipe(f"{cloud.bucket}/dvc/files/md5/{oid[:2]}/{oid[2:]}", data)
    vertex_world.push()

    watch()
    fingerprint = job_at_head(vertex_world.installation, "far-cat").fingerprint
    [started] = training_runs(fingerprint)
    execute(started)

    assert states_of(cloud, fingerprint) == ["SUCCEEDED"]
    there = vertex_world.there("far-cat")
    assert [version.fingerprint for version in there.versions] == [fingerprint]
    assert there.space is not None
    assert there.space.release == "v1"
    downloaded = Path(vertex_world.api().hf_hub_download("local/far-cat", "concept.json", revision="v1"))
    manifest = Manifest.model_validate_json(downloaded.read_bytes())
    assert manifest.cost is not None
    assert manifest.cost["machine_type"] == "a2-highgpu-1g"
    assert manifest.cost["amount"] > 0
    assert manifest.metrics.clip is None, "nobody put a CLIP model beside the base model's weights"
    assert (manifest.cost["replicas"], manifest.metrics.replicas) == (2, 2)
    [job] = manifest.cost["jobs"]
    page, settings = artifact("far-cat-metrics"), vertex_world.installation.vertex_settings()
    assert f"({settings.job_link(job)})" in page
    assert f"({settings.log_link(job)})" in page
    assert manifest.metrics.files["learned_embeds.safetensors"] == manifest.files["learned_embeds.safetensors"]
    told = log_of(started)
    page = "vertex-ai/training/us-central1/"
    for words in (page, "is running", "step 10 of 10", "trainer: export", "is succeeded"):
        assert words in told
    with get_client(sync_client=True) as client:
        shown = client.request("GET", "/artifacts/{key}/latest", path_params={"key": "far-cat-training"}).json()
    assert float(shown["data"]) == 100.0


def execute(flow_run: FlowRun) -> None:
    """Run a scheduled run in a process of its own, as a worker does."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "flow-run", "execute", str(flow_run.id)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_that_is_cancelled_by_api_cancels_its_job(
    vertex_world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(cloud, vertex_world, "calm-cat", 600, monkeypatch)
    vertex_world.write("calm-cat")
    vertex_world.push()
    job = job_at_head(vertex_world.installation, "calm-cat")
    started = Started({"name": "calm-cat", "revision": job.revision, "fingerprint": job.fingerprint})
    wait_until(lambda: states_of(cloud, job.fingerprint) == ["RUNNING"])
    set_state(last_run("train-concept"), Cancelling())
    started.end()
    assert last_run("train-concept").state_name == "Cancelled"
    assert states_of(cloud, job.fingerprint) == ["CANCELLED"]
    assert vertex_world.there("calm-cat").versions == ()


def test_two_runs_on_two_machines_have_one_job(
    vertex_world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is held up just while it creates its job; the second one comes to the same point."""
    stand_in(cloud, vertex_world, "twin-cat", 0.5, monkeypatch)
    vertex_world.write("twin-cat")
    vertex_world.push()
    job = job_at_head(vertex_world.installation, "twin-cat")
    parameters = {"name": "twin-cat", "revision": job.revision, "fingerprint": job.fingerprint}
    cloud.faults.refuse("CreateCustomJob", "RESOURCE_EXHAUSTED", 1000)
    first = Started(parameters)
    wait_until(lambda: "retrying in" in log_of(last_run("train-concept")))
    monkeypatch.setenv("CONCEPTRY_WORK", str(vertex_world.root / "another-machine"))
    second = Started(parameters)
    wait_until(lambda: "the data is already in gs://" in log_of(last_run("train-concept")))
    cloud.faults.clear()
    assert (first.end(), second.end()) == ("v1", "v1")
    assert states_of(cloud, job.fingerprint) == ["SUCCEEDED"]
    assert cloud.jobs.most_live(FINGERPRINT, label(job.fingerprint)) == 1
    assert vertex_world.branches("twin-cat") == ["main", "v1"]


def test_a_concept_that_is_renamed_while_its_job_runs_pays_once(
    vertex_world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And changes of region do not make a second job either."""
    stand_in(cloud, vertex_world, "wed-cat", 3, monkeypatch)
    vertex_world.write("wed-cat", seed=8300)
    vertex_world.push()
    watch()
    (scheduled,) = training_runs(vertex_world.action("wed-cat").fingerprint or "")
    started = Started(scheduled.parameters)
    fingerprint = str(scheduled.parameters["fingerprint"])
    wait_until(lambda: states_of(cloud, fingerprint) == ["RUNNING"])
    run(vertex_world.clone, "git", "mv", "concepts/wed-cat", "concepts/wife-cat")
    vertex_world.push("Renamed")
    monkeypatch.setenv("CONCEPTRY_VERTEX_REGION", "europe-west4")
    watch()
    assert vertex_world.action("wife-cat").reason == "TrainingRunning"
    assert started.end() == "v1"
    assert [version.fingerprint for version in vertex_world.there("wife-cat").versions] == [fingerprint]
    assert vertex_world.action("wife-cat").kind == "nothing"
    assert states_of(cloud, fingerprint) == ["SUCCEEDED"]
    assert len(training_runs(fingerprint)) == 1


def test_concepts_that_share_a_job_are_published_once_each(
    vertex_world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is cancelled and one renamed before their turn comes."""
    monkeypatch.setattr(custom_job, "IDLE", 1.0)
    monkeypatch.setenv("CONCEPTRY_VERTEX_CONCEPTS_PER_JOB", "3")
    monkeypatch.setenv("CONCEPTRY_VERTEX_MAX_JOBS", "1")
    cloud.faults.hold()
    names, ours = ("share-a", "share-b", "share-c"), vertex_world.installation.id
    for number, name in enumerate(names):
        # Rejected at once, so that the judge needs few rows.
        spec = {"training": {"max_steps": 6, "early_stopping": False}, "gate": {"min_improvement": 0.9}}
        vertex_world.write(name, seed=8400 + 10 * number, **spec)
    vertex_world.push()
    clients = vertex_clients.open_cloud(VertexSettings())
    started: list[Started] = []
    for name in names:
        job = job_at_head(vertex_world.installation, name)
        started.append(Started({"name": name, "revision": job.revision, "fingerprint": job.fingerprint}))
        wait_until(lambda: len(live_trainings(clients, ours)) == len(started))
    cancelled = last_run("train-concept")
    set_state(cancelled, Cancelling())
    started[2].end()
    run(vertex_world.clone, "git", "mv", "concepts/share-b", "concepts/bear-b")
    vertex_world.push("Renamed")
    assert (reap(return_state=True).message or "").startswith("2 live, 0 cancelled")
    cloud.faults.release()
    assert [one.end() for one in started[:2]] == ["v1", "v1"]
    assert [vertex_world.branches(name) for name in ("share-a", "bear-b")] == [["main", "v1"]] * 2
    assert vertex_world.there("share-c").versions == ()
    jobs = [job for job in cloud.jobs.all() if job.labels.get(INSTALLATION) == label(ours)]
    assert len(jobs) == 1
    wait_until(lambda: not cloud.jobs.live())


def test_a_concept_chooses_where_it_is_trained(
    vertex_world: World, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(cloud, vertex_world, "far-off", 0, monkeypatch)
    monkeypatch.setenv("CONCEPTRY_BACKEND", "local")
    vertex_world.write("far-off", training={"backend": "vertex"})
    vertex_world.push()
    job = job_at_head(vertex_world.installation, "far-off")
    assert train_concept("far-off", job.revision, job.fingerprint) == "v1"
    assert states_of(cloud, job.fingerprint) == ["SUCCEEDED"]
    vertex_world.write("far-off", training={"backend": "local"})
    vertex_world.push()
    assert job_at_head(vertex_world.installation, "far-off").fingerprint == job.fingerprint, "no reason to train"


def test_the_reaper_ends_jobs_that_no_run_owns(vertex_world: World, cloud: Cloud) -> None:
    cloud.faults.hold()
    cloud_clients = vertex_clients.open_cloud(VertexSettings())
    ours = vertex_world.installation.id

    def job_of(fingerprint: str, run_label: str, whose: str = ours) -> Any:
        return cloud_clients.jobs.find_or_create(JobSpec("lost-cat", fingerprint, whose, run_label, cloud.bucket))

    # The training of a concept in git, which was interrupted while conceptry.yaml allows no start.
    vertex_world.write("lost-cat")
    (vertex_world.clone / "conceptry.yaml").write_text("suspend: true\n")
    revision = vertex_world.push()
    wanted = job_at_head(vertex_world.installation, "lost-cat").fingerprint
    fingerprints = {name: md5(name.encode()) * 2 for name in ("running", "failed", "cancelled", "terminal", "others")}
    fingerprints["crashed"] = wanted
    on_server = ("running", "failed", "cancelled", "crashed")
    with runs_on_server(vertex_world.installation) as runs:
        owned = {name: runs.start("lost-cat", revision, fingerprints[name]) for name in on_server}
    for flow_run in owned.values():
        set_state(flow_run, "run")
    jobs = {name: job_of(fingerprints[name], str(owned[name].id)) for name in owned}
    jobs["terminal"] = job_of(fingerprints["terminal"], f"{TERMINAL}laptop")
    jobs["others"] = job_of(fingerprints["others"], "x", whose="another-installation")
    for name, ended in {"failed": Failed(), "cancelled": Cancelled(), "crashed": Crashed()}.items():
        set_state(owned[name], ended)
    state: State[Any] = reap(return_state=True)
    assert (state.message or "").startswith("5 live, 1 cancelled")
    wait_until(lambda: states_of(cloud, fingerprints["cancelled"]) == ["CANCELLED"])
    found = {name: states_of(cloud, fingerprint)[0] for name, fingerprint in fingerprints.items()}
    assert found == dict.fromkeys(found, "PENDING") | {"cancelled": "CANCELLED"}
    action = vertex_world.action("lost-cat")
    assert (action.reason, action.deferred) == ("TrainingInterrupted", None), "going on is not starting"
    for flow_run in owned.values():
        set_state(flow_run, Cancelling())
    for each in jobs.values():
        cloud_clients.jobs.end(each)


def test_the_reaper_has_nothing_to_do_where_nothing_is_set(world: World) -> None:
    del world
    assert reap(return_state=True).name == "Skipped"


def exit_code(command: Callable[[], None]) -> int:
    with pytest.raises(typer.Exit) as caught:
        command()
    return int(caught.value.exit_code)


@pytest.mark.usefixtures("vertex_world")
def test_setup_says_what_is_missing_and_how_to_mend_it(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = cloud.keys.write_service_account(cloud.project.name, f"{cloud.web}/token")
    monkeypatch.setenv("CONCEPTRY_VERTEX_GOOGLE_APIS", cloud.web)
    monkeypatch.setenv("CONCEPTRY_VERTEX_MAX_JOBS", "1")
    assert exit_code(lambda: cli.setup_gcp.command(None, key, cloud.bucket)) == 0
    told = capsys.readouterr().out
    assert "gcs-bucket/conceptry" in told
    assert "gs://conceptry-local can be read and written" in told
    assert "Ready for trainings" in told

    monkeypatch.setattr(cloud.project, "permissions", frozenset({"aiplatform.customJobs.get"}))
    monkeypatch.setattr(cloud.project, "images", {})
    for name, value in {"MACHINE_TYPE": "a2-highgpu-2g", "ACCELERATOR_COUNT": "2", "REGION": "us-east9"}.items():
        monkeypatch.setenv(f"CONCEPTRY_VERTEX_{name}", value)
    assert exit_code(lambda: cli.setup_gcp.command(check=True)) == 1
    told = capsys.readouterr().out
    assert "lacks aiplatform.customJobs.create" in told
    assert "--role roles/aiplatform.user" in told
    assert "set CONCEPTRY_VERTEX_REGION" in told
    assert "0 x NVIDIA_TESLA_A100 in us-east9, 2 required" in told
    assert "gcloud builds submit" in told
    assert "4 of these are not as needed" in told


@pytest.mark.usefixtures("vertex_world")
def test_setup_finds_the_digest_of_a_tag(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = "sha256:" + "ab" * 32
    image = IMAGE.partition("@")[0]
    path = image.partition("/")[2]
    monkeypatch.setattr(cloud.project, "images", {f"{path}:latest": digest, f"{path}@{digest}": digest})
    monkeypatch.setenv("CONCEPTRY_VERTEX_GOOGLE_APIS", cloud.web)
    monkeypatch.setenv("CONCEPTRY_VERTEX_IMAGE", f"{image}:latest")
    monkeypatch.setenv("CONCEPTRY_VERTEX_MAX_JOBS", "1")
    assert exit_code(lambda: cli.setup_gcp.command(check=True)) == 0
    assert f"export CONCEPTRY_VERTEX_IMAGE={image}@{digest}" in capsys.readouterr().out


def test_a_run_that_was_killed_and_then_cancelled_has_its_job_cancelled(vertex_world: World, cloud: Cloud) -> None:
    """What a runner calls once it has killed the process of a run that somebody cancelled."""
    cloud.faults.hold()
    clients = vertex_clients.open_cloud(VertexSettings())
    fingerprint = md5(b"hooked") * 2
    with runs_on_server(vertex_world.installation) as runs:
        flow_run = runs.start("lost-cat", "0" * 40, fingerprint)
    spec = JobSpec("lost-cat", fingerprint, vertex_world.installation.id, str(flow_run.id), cloud.bucket)
    clients.jobs.find_or_create(spec)
    [hook] = train_concept.on_cancellation_hooks
    hook(train_concept, flow_run, flow_run.state)
    assert states_of(cloud, fingerprint) == ["CANCELLED"]
    set_state(flow_run, Cancelling())
