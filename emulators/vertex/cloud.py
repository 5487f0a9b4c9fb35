"""The whole cloud: Cloud Storage, JobService and the HTTP API, started and stopped together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from google.cloud import storage as gcs

from emulators.foreign_requests import RefuseForeignRequests
from emulators.host import free_port
from emulators.vertex import cloud_storage
from emulators.vertex.certificate import Keys
from emulators.vertex.faults import Faults
from emulators.vertex.http_api import HttpApi, Project, quotas_of
from emulators.vertex.jobs import Jobs
from emulators.vertex.runner import Image, Runner
from emulators.vertex.service import Service, listen

PROJECT, BUCKET = "local-project", "local-bucket"
LOCATIONS = ("us-central1", "us-east1", "europe-west4", "asia-southeast1")


@dataclass(frozen=True)
class Cloud:
    """A running cloud.

    Attributes:
        endpoint: JobService's api_endpoint.
        web: URL of the HTTP API.
        storage: URL of Cloud Storage.
        images: the stand-ins of container images, by URI; other images run in this process's own environment.
    """

    root: Path
    endpoint: str
    web: str
    storage: str
    bucket: str
    project: Project
    keys: Keys
    faults: Faults
    jobs: Jobs
    images: dict[str, Image]

    @property
    def service_account(self) -> dict[str, str]:
        """The JSON of the account that has every permission."""
        return self.keys.service_account(self.project.name, f"{self.web}/token")

    def environment(self) -> dict[str, str]:
        """Return the variables that unmodified clients need in their environment."""
        return cloud_storage.environment(self.storage) | {
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.keys.roots),
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.keys.account_file),
        }

    def client(self) -> gcs.Client:
        """Return a client of the storage."""
        return cloud_storage.client(self.storage, self.project.name)


@contextlib.contextmanager
def running(
    root: Path,
    *,
    project: str = PROJECT,
    bucket: str = BUCKET,
    endpoint_port: int = 0,
    web_port: int = 0,
    storage_port: int = 0,
    capacity: int = 2,
    grace: float = 10.0,
    variables: Mapping[str, str] | None = None,
    keys: Keys | None = None,
) -> Iterator[Cloud]:
    """Run a cloud on 127.0.0.1, with its files under `root`, while the block runs.

    Args:
        root: folder; created when missing.
        project: id of the only project.
        bucket: name of a bucket that exists from the start.
        endpoint_port: of JobService; 0 for any free port, also below.
        web_port: of the HTTP API.
        storage_port: of Cloud Storage.
        capacity: jobs that have machines at the same time.
        grace: seconds between SIGTERM and SIGKILL for a job's processes.
        variables: added to the environment of every container.
        keys: of an earlier cloud of this process, since gRPC reads the trusted roots only once.

    Raises:
        RuntimeError: a port is taken, or Cloud Storage does not start.
    """
    with cloud_storage.running(root / "storage", root / "logs" / "storage.log", storage_port) as storage_url:
        keys, faults, jobs = keys or Keys(root / "keys"), Faults(), Jobs(root / "jobs")
        known = Project(project, quotas_of({"nvidia_a100": 1, "nvidia_a100_80gb": 1, "nvidia_t4": 1}, LOCATIONS))
        client = cloud_storage.client(storage_url, project)
        if not client.bucket(bucket).exists():
            client.create_bucket(bucket, location="us-central1")
        images: dict[str, Image] = {}
        runner = Runner(
            jobs,
            faults,
            root,
            lambda: cloud_storage.client(storage_url, project),
            images=images,
            capacity=capacity,
            grace=grace,
            variables=variables or {},
        )
        api = HttpApi(known, keys, faults, jobs, runner)
        with _serving(api, web_port) as web_url:
            keys.write_service_account(project, f"{web_url}/token")
            service = Service(
                jobs=jobs,
                runner=runner,
                faults=faults,
                accepts_token=api.accepts_token,
                project=project,
                locations=LOCATIONS,
            )
            server, port = listen(service, keys.server, endpoint_port)
            try:
                yield Cloud(
                    root=root,
                    endpoint=f"localhost:{port}",
                    web=web_url,
                    storage=storage_url,
                    bucket=bucket,
                    project=known,
                    keys=keys,
                    faults=faults,
                    jobs=jobs,
                    images=images,
                )
            finally:
                runner.close()
                server.stop(0).wait()


@contextlib.contextmanager
def _serving(api: HttpApi, port: int) -> Iterator[str]:
    port = port or free_port()
    config = uvicorn.Config(
        RefuseForeignRequests(api.app(), loopback=True),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="cloud", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError(f"port {port} is taken")
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
