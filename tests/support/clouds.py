"""Helpers for tests that meet the emulated cloud; the fixture `cloud` is in conftest.py."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from google.cloud.aiplatform_v1 import JobServiceClient
from google.cloud.aiplatform_v1.types import CustomJob, JobState
from prefect_gcp import GcpCredentials

from emulators.vertex.cloud import Cloud
from tests.support.wait import wait_until

REGION = "us-central1"
IMAGE = "us-central1-docker.pkg.dev/conceptry-local/conceptry/trainer@sha256:" + "0" * 64


def parent(cloud: Cloud) -> str:
    return f"projects/{cloud.project.name}/locations/{REGION}"


def connect(cloud: Cloud) -> JobServiceClient:
    """What production does: an unmodified block makes an unmodified client."""
    credentials = GcpCredentials(service_account_info=cloud.service_account)
    return credentials.get_job_service_client({"api_endpoint": cloud.endpoint})


def python_job(code: str, *arguments: str, label: str = "x", replicas: int = 1, **scheduling: Any) -> dict[str, Any]:
    """A job that runs a few lines of Python."""

    def pool(count: int) -> dict[str, Any]:
        container = {"image_uri": IMAGE, "command": [sys.executable, "-c", code], "args": list(arguments)}
        return {"machine_spec": {"machine_type": "n1-standard-4"}, "replica_count": count, "container_spec": container}

    pools = [pool(1)] + ([pool(replicas - 1)] if replicas > 1 else [])
    spec: dict[str, Any] = {"worker_pool_specs": pools, "scheduling": scheduling}
    return {"display_name": f"job {label}", "labels": {"test": label}, "job_spec": spec}


def state_is(client: JobServiceClient, job: CustomJob, states: Sequence[str]) -> CustomJob:
    """Wait for a job to be in one of these states."""

    def look() -> CustomJob | None:
        found = client.get_custom_job(name=job.name, timeout=10)
        return found if found.state.name.removeprefix("JOB_STATE_") in states else None

    found: CustomJob = wait_until(look)
    return found


ENDED = {JobState.JOB_STATE_SUCCEEDED, JobState.JOB_STATE_FAILED, JobState.JOB_STATE_CANCELLED}
