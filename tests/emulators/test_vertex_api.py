"""Vertex AI on this machine, through the unmodified clients that production uses."""

import json
from pathlib import Path

import psutil
import pytest
from google.api_core import exceptions
from google.cloud.aiplatform_v1 import JobServiceClient
from google.cloud.location import locations_pb2
from prefect_gcp import GcpCredentials
from prefect_gcp.cloud_storage import GcsBucket

from emulators.vertex import filters
from emulators.vertex.cloud import Cloud
from tests.support.clouds import IMAGE, connect, parent, python_job, state_is
from tests.support.wait import wait_until

WAIT = "import time, pathlib, sys; pathlib.Path(sys.argv[1]).write_text('here'); time.sleep(600)"


@pytest.fixture
def jobs(cloud: Cloud) -> JobServiceClient:
    return connect(cloud)


def log(cloud: Cloud, name: str, replica: str = "workerpool0-0") -> str:
    return (cloud.root / "logs" / name.rpartition("/")[2] / f"{replica}.log").read_text()


def test_a_command_runs_and_its_files_go_to_the_bucket(cloud: Cloud, jobs: JobServiceClient) -> None:
    bucket = GcsBucket(
        bucket=cloud.bucket, gcp_credentials=GcpCredentials(service_account_info=cloud.service_account)
    ).get_bucket()
    bucket.blob("a-run/in/word.txt").upload_from_string("hello")
    code = (
        "import os, pathlib, sys\n"
        "source, target = map(pathlib.Path, sys.argv[1:3])\n"
        "target.mkdir(parents=True)\n"
        "(target / 'out.txt').write_text((source / 'word.txt').read_text() + ' ' + os.environ['CLOUD_ML_PROJECT_ID'])\n"
        "print(os.environ['AIP_MODEL_DIR'], 'PREFECT_API_URL' in os.environ)\n"
    )
    wanted = python_job(code, f"/gcs/{cloud.bucket}/a-run/in", f"/gcs/{cloud.bucket}/a-run/out")
    wanted["job_spec"]["base_output_directory"] = {"output_uri_prefix": f"gs://{cloud.bucket}/a-run/"}
    job = jobs.create_custom_job(parent=parent(cloud), custom_job=wanted, timeout=10)
    assert job.state.name == "JOB_STATE_PENDING"
    ended = state_is(jobs, job, ["SUCCEEDED", "FAILED"])
    assert ended.state.name == "JOB_STATE_SUCCEEDED", log(cloud, job.name)
    assert bucket.blob("a-run/out/out.txt").download_as_text() == f"hello {cloud.project.name}"
    mounted = cloud.root / "mounts" / job.name.rpartition("/")[2] / cloud.bucket
    assert log(cloud, job.name).split() == [f"{mounted}/a-run/model/", "False"]
    assert ended.start_time <= ended.end_time
    jobs.delete_custom_job(name=job.name).result(timeout=10)
    with pytest.raises(exceptions.NotFound):
        jobs.get_custom_job(name=job.name)


def test_replicas_know_each_other(cloud: Cloud, jobs: JobServiceClient) -> None:
    code = "import os; print(os.environ['TF_CONFIG']); print(os.environ['CLUSTER_SPEC'])"
    wanted = python_job(code, replicas=3)
    job = jobs.create_custom_job(parent=parent(cloud), custom_job=wanted, timeout=10)
    state_is(jobs, job, ["SUCCEEDED"])
    configs = {
        name: json.loads(log(cloud, job.name, name).splitlines()[0]) for name in ("workerpool0-0", "workerpool1-1")
    }
    assert configs["workerpool0-0"]["task"] == {"type": "chief", "index": 0, "trial": ""}
    assert configs["workerpool1-1"]["task"] == {"type": "worker", "index": 1, "trial": ""}
    cluster = configs["workerpool1-1"]["cluster"]
    assert cluster == configs["workerpool0-0"]["cluster"]
    assert len({*cluster["chief"], *cluster["worker"]}) == 3
    spec = json.loads(log(cloud, job.name, "workerpool1-1").splitlines()[1])
    assert (list(spec["cluster"]), spec["task"]["type"]) == (["workerpool0", "workerpool1"], "workerpool1")


def test_a_cancelled_job_leaves_no_process(cloud: Cloud, jobs: JobServiceClient) -> None:
    job = jobs.create_custom_job(parent=parent(cloud), custom_job=python_job(WAIT, f"/gcs/{cloud.bucket}/here"))
    wait_until(lambda: cloud.client().bucket(cloud.bucket).blob("here").exists())
    inside = [one for one in psutil.Process().children(recursive=True) if WAIT in one.cmdline()]
    assert len(inside) == 1
    jobs.cancel_custom_job(name=job.name)
    state_is(jobs, job, ["CANCELLED"])
    assert not inside[0].is_running()


def test_a_failing_command_reports_its_status(cloud: Cloud, jobs: JobServiceClient) -> None:
    job = jobs.create_custom_job(parent=parent(cloud), custom_job=python_job("raise SystemExit(3)"))
    ended = state_is(jobs, job, ["FAILED"])
    assert "workerpool0-0 exited with a non-zero status of 3." in ended.error.message


def test_a_preempted_job_starts_again_with_what_is_in_the_bucket(cloud: Cloud, jobs: JobServiceClient) -> None:
    code = (
        "import pathlib, sys, time\n"
        "seen = pathlib.Path(sys.argv[1], 'seen'); seen.parent.mkdir(parents=True, exist_ok=True)\n"
        "count = int(seen.read_text()) + 1 if seen.exists() else 1\n"
        "seen.write_text(str(count)); time.sleep(0 if count == 3 else 600)\n"
    )
    cloud.faults.preempt("*/preempted/seen", times=2)
    wanted = python_job(code, f"/gcs/{cloud.bucket}/preempted", strategy="SPOT")
    job = jobs.create_custom_job(parent=parent(cloud), custom_job=wanted)
    state_is(jobs, job, ["SUCCEEDED"])
    assert cloud.client().bucket(cloud.bucket).blob("preempted/seen").download_as_text() == "3"
    states = [state.name.removeprefix("JOB_STATE_") for name, _, state in cloud.jobs.history if name == job.name]
    assert states == ["PENDING", "RUNNING", "PENDING", "RUNNING", "PENDING", "RUNNING", "SUCCEEDED"]


def test_jobs_wait_and_flex_start_times_out(cloud: Cloud, jobs: JobServiceClient) -> None:
    cloud.faults.hold()
    flexible = python_job("pass", strategy="FLEX_START", max_wait_duration={"nanos": 200_000_000})
    given_up = jobs.create_custom_job(parent=parent(cloud), custom_job=flexible)
    waiting = jobs.create_custom_job(parent=parent(cloud), custom_job=python_job("pass"))
    assert "max_wait_duration" in state_is(jobs, given_up, ["FAILED"]).error.message
    assert jobs.get_custom_job(name=waiting.name).state.name == "JOB_STATE_PENDING"
    cloud.faults.release()
    state_is(jobs, waiting, ["SUCCEEDED"])


def test_a_timeout_ends_a_job(cloud: Cloud, jobs: JobServiceClient) -> None:
    wanted = python_job("import time; time.sleep(600)", timeout={"nanos": 300_000_000})
    job = jobs.create_custom_job(parent=parent(cloud), custom_job=wanted)
    assert "timeout" in state_is(jobs, job, ["FAILED"]).error.message


def test_a_lost_answer_leaves_a_job_and_a_refusal_none(cloud: Cloud, jobs: JobServiceClient) -> None:
    cloud.faults.lose("CreateCustomJob")
    with pytest.raises(exceptions.ServiceUnavailable):
        jobs.create_custom_job(parent=parent(cloud), custom_job=python_job("pass", label="lost"))
    cloud.faults.refuse("CreateCustomJob", "RESOURCE_EXHAUSTED")
    with pytest.raises(exceptions.ResourceExhausted):
        jobs.create_custom_job(parent=parent(cloud), custom_job=python_job("pass", label="lost"))
    found = list(jobs.list_custom_jobs(request={"parent": parent(cloud), "filter": "labels.test=lost"}))
    assert len(found) == 1
    state_is(jobs, found[0], ["SUCCEEDED"])


def test_a_listing_has_pages_and_may_lag(cloud: Cloud, jobs: JobServiceClient) -> None:
    for _ in range(3):
        job = jobs.create_custom_job(parent=parent(cloud), custom_job=python_job("pass", label="paged"))
    request = {"parent": parent(cloud), "filter": 'labels.test="paged"', "page_size": 2}
    assert len(list(jobs.list_custom_jobs(request=request))) == 3
    cloud.faults.lag(30)
    late = jobs.create_custom_job(parent=parent(cloud), custom_job=python_job("pass", label="paged"))
    assert len(list(jobs.list_custom_jobs(request=request))) == 3
    for each in (job, late):
        state_is(jobs, each, ["SUCCEEDED"])


def test_strangers_and_wrong_requests_are_refused(cloud: Cloud, jobs: JobServiceClient) -> None:
    stranger = {**cloud.service_account, "private_key": other_key()}
    client = GcpCredentials(service_account_info=stranger).get_job_service_client({"api_endpoint": cloud.endpoint})
    with pytest.raises(exceptions.Unauthenticated):
        client.get_custom_job(name=f"{parent(cloud)}/customJobs/1")
    with pytest.raises(exceptions.PermissionDenied):
        jobs.list_custom_jobs(parent="projects/someone-elses/locations/us-central1")
    with pytest.raises(exceptions.NotFound, match="Location"):
        jobs.get_location(locations_pb2.GetLocationRequest(name=f"projects/{cloud.project.name}/locations/nowhere"))
    with pytest.raises(exceptions.InvalidArgument, match=r"display_name.*worker_pool_specs"):
        jobs.create_custom_job(parent=parent(cloud), custom_job={})
    with pytest.raises(exceptions.InvalidArgument, match="no field 'colour'"):
        jobs.list_custom_jobs(request={"parent": parent(cloud), "filter": 'colour="red"'})


def other_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    kind = serialization.PrivateFormat.TraditionalOpenSSL
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


def test_jobs_are_kept_over_a_restart(tmp_path: Path, cloud: Cloud, jobs: JobServiceClient) -> None:
    from emulators.vertex.jobs import Jobs

    job = jobs.create_custom_job(parent=parent(cloud), custom_job=python_job("pass", label="kept"))
    state_is(jobs, job, ["SUCCEEDED"])
    (tmp_path / "1.json").write_text((cloud.root / "jobs" / f"{job.name.rpartition('/')[2]}.json").read_text())
    again = Jobs(tmp_path)
    assert again.get(job.name).labels == {"test": "kept"}
    assert again.get(job.name).job_spec.worker_pool_specs[0].container_spec.image_uri == IMAGE


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ('state="JOB_STATE_RUNNING"', True),
        ('state!="JOB_STATE_RUNNING"', False),
        ("labels.team=red", True),
        ("labels.team:*", True),
        ("labels.other:*", False),
        ('display_name:"my-*" AND NOT labels.team="blue"', True),
        ('display_name="a" OR labels.team="red"', True),
        ('(display_name="a" OR labels.team="red") AND state="JOB_STATE_FAILED"', False),
        ('create_time>"2026-01-01T00:00:00Z"', True),
    ],
)
def test_filters(text: str, matches: bool) -> None:
    fields = {
        "display_name": "my-job", "state": "JOB_STATE_RUNNING", "labels.team": "red",
        "create_time": "2026-11-24T00:00:00Z",
    }  # fmt: skip
    assert filters.parse(text)(fields) is matches


@pytest.mark.parametrize("text", ["state=", '(state="x"', 'state="x" state="y"', "state ~ x", 'AND state="x"'])
def test_wrong_filters_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="filter"):
        filters.parse(text)
