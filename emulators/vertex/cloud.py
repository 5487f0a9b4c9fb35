"""The whole of it: storage, JobService and the HTTP side, started together and ended together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from google.cloud import storage as gcs

from emulators.host import free_port
from emulators.vertex import cloud_storage
from emulators.vertex.certificate import Keys
from emulators.vertex.faults import Faults
from emulators.vertex.jobs import Jobs
from emulators.vertex.runner import Image, Runner
from emulators.vertex.service import Service, listen
from emulators.vertex.web import Project, Web, quotas_of

PROJECT, BUCKET = "local-project", "local-bucket"
LOCATIONS = ("us-central1", "us-east1", "europe-west4", "asia-southeast1")


@dataclass(frozen=True)
class Cloud:
    """A cloud that answers.

    `endpoint` is the api_endpoint of JobService, `web` the HTTP side, `storage` Cloud Storage. `images` says what
    stands for a container image, by its URI; for any other one it is this process' own environment.
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
        """The JSON of the account that may do everything here."""
        return self.keys.service_account(self.project.name, f"{self.web}/token")

    def environment(self) -> dict[str, str]:
        """What the unmodified clients of a process need to find in their environment."""
        return cloud_storage.environment(self.storage) | {
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(self.keys.roots),
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.keys.account_file),
        }

    def client(self) -> gcs.Client:
        """A client of the storage."""
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
    """A cloud on 127.0.0.1 that keeps its things under `root`, for as long as the block runs.

    Args:
        root: a folder; made when missing.
        project: id of the only project.
        bucket: name of a bucket that exists from the start.
        endpoint_port: of JobService; 0 takes a free one, here and below.
        web_port: of the HTTP side.
        storage_port: of the storage.
        capacity: jobs that have machines at the same time.
        grace: seconds that a job's processes have to tidy up.
        variables: what every container finds in its environment.
        keys: of a cloud that this process has met already; gRPC reads the roots that it trusts only once.
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
        web = Web(known, keys, faults, jobs, runner)
        with _serving(web, web_port) as web_url:
            keys.write_service_account(project, f"{web_url}/token")
            service = Service(jobs, runner, faults, web.believes, project, LOCATIONS)
            server, port = listen(service, keys.server, endpoint_port)
            try:
                yield Cloud(root, f"localhost:{port}", web_url, storage_url, bucket, known, keys, faults, jobs, images)
            finally:
                runner.close()
                server.stop(0).wait()


@contextlib.contextmanager
def _serving(web: Web, port: int) -> Iterator[str]:
    port = port or free_port()
    config = uvicorn.Config(
        web.app(), host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off"
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
