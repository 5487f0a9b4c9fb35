"""Trainings on the emulated Vertex AI with a stand-in for the trainer, which counts steps instead of learning."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from prefect_gcp import GcpCredentials
from prefect_gcp.cloud_storage import GcsBucket

from conceptry.vertex_settings import VertexSettings
from emulators.vertex.cloud import Cloud as Emulator
from tasks.training import Progress, TrainingRequest
from tasks.training.creation_lock import CreationLock
from tasks.training.custom_job import FINGERPRINT, JobSpec, label
from tasks.training.vertex import Callbacks, train_vertex
from tasks.training.vertex_clients import Cloud, make_cloud
from tests.support.clouds import IMAGE
from trainer.metrics import TrainingMetrics

STAND_IN = """
import hashlib, json, pathlib, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
config = json.loads(pathlib.Path(given["--config"]).read_text())
records = sorted(path.name for path in pathlib.Path(given["--records"]).iterdir())
output = pathlib.Path(given["--output"]); (output / "checkpoints").mkdir(parents=True, exist_ok=True)
latest = output / "checkpoints" / "latest.json"
begun = json.loads(latest.read_text())["step"] if latest.is_file() else 0
if config.get("exit"):
    print("trainer: this will not do", file=sys.stderr); sys.exit(config["exit"])
for step in range(begun + 1, config["steps"] + 1):
    time.sleep(config.get("pace", 0))
    whole = latest.with_suffix(".partial"); whole.write_text(json.dumps({"step": step})); whole.replace(latest)
    with (output / "progress.jsonl").open("a") as journal:
        journal.write(json.dumps({"step": step, "of": config["steps"], "loss": 1 / step, "seconds": step}) + "\\n")
files = {}
for number in range(config.get("files", 2)):
    content = f"what was learned, part {number}".encode() * 100
    (output / f"{number}.bin").write_bytes(content)
    files[f"{number}.bin"] = hashlib.sha256(content).hexdigest()
told = {"steps": config["steps"], "began_at": begun, "records": records, "files": files}
(output / "metrics.json").write_text(json.dumps(told))
"""


BASE = {"base_model": "tiny"}


def vertex_settings(cloud: Emulator, **values: Any) -> VertexSettings:
    """Settings that lead to the emulator, and do not wait long for anything."""
    quick = {
        "project": cloud.project.name, "image": IMAGE, "api_endpoint": cloud.endpoint, "poll_seconds": 0.05,
        "patience_seconds": 5, "google_apis": cloud.web, "look_again_seconds": (0.05, 0.1, 0.2), "max_jobs": 100,
    }  # fmt: skip
    return VertexSettings(**{**quick, **values})


def open_emulator(
    settings: VertexSettings, account: dict[str, str], bucket: str, warnings: list[str] | None = None
) -> Cloud:
    """The clients, from blocks that are not registered anywhere."""
    credentials = GcpCredentials(service_account_info=account)
    warn = warnings.append if warnings is not None else lambda _: None
    block = GcsBucket(bucket=bucket, gcp_credentials=credentials)
    return make_cloud(
        settings, lambda endpoint: credentials.get_job_service_client({"api_endpoint": endpoint}), lambda: block, warn
    )


@dataclass
class Training:
    """One training, with a fingerprint of its own.

    `told`, `progress` and `warnings` are what a person would see of it.
    """

    cloud: Emulator
    root: Path
    config: dict[str, Any] = field(default_factory=lambda: {"steps": 3})
    settings: dict[str, Any] = field(default_factory=dict)
    records: int = 2
    fingerprint: str = field(default_factory=lambda: secrets.token_hex(32))
    told: list[str] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        folder = self.root / "records"
        folder.mkdir(parents=True)
        for number in range(self.records):
            (folder / f"images-{number:05d}.tfrecord").write_bytes(f"record {number} ".encode() * 500)

    @property
    def order(self) -> JobSpec:
        command = (sys.executable, "-c", STAND_IN)
        return JobSpec("grey-cat", self.fingerprint, "tests", "a-run", self.cloud.bucket, command)

    @property
    def request(self) -> TrainingRequest:
        return TrainingRequest("grey-cat", BASE | self.config, self.root / "records", self.root / "output")

    def open(self) -> Cloud:
        settings = vertex_settings(self.cloud, **self.settings)
        return open_emulator(settings, self.cloud.service_account, self.cloud.bucket, self.warnings)

    def run(self, **watching: Any) -> TrainingMetrics:
        """Train in this process."""
        opened = self.open()
        usual = {"log": self.told.append, "on_progress": self.progress.append, "creation_guard": guard(opened)}
        return train_vertex(self.request, self.order, opened, Callbacks(**(usual | watching)))

    def states(self) -> list[str]:
        """The state of each job that was ever created for it, the oldest first."""
        mine = label(self.fingerprint)
        jobs = [job for job in self.cloud.jobs.all() if job.labels.get(FINGERPRINT) == mine]
        return [job.state.name.removeprefix("JOB_STATE_") for job in jobs]

    def most_live(self) -> int:
        """How many of them were live at one time, at most."""
        return self.cloud.jobs.most_live(FINGERPRINT, label(self.fingerprint))

    def running(self) -> list[int]:
        """The processes of its jobs that are left."""
        return [one.pid for one in children() if any(self.fingerprint in text for text in one.cmdline())]

    def objects(self) -> list[str]:
        """What lies in the bucket, by its names under the prefix."""
        blobs = self.cloud.client().list_blobs(self.cloud.bucket, prefix=self.order.prefix)
        return [blob.name.removeprefix(self.order.prefix) for blob in blobs]

    def spec(self) -> str:
        """All of it as text, for another process."""
        return json.dumps({
            "root": str(self.root), "config": self.config, "fingerprint": self.fingerprint,
            "settings": vertex_settings(self.cloud, **self.settings).model_dump(mode="json"),
            "account": self.cloud.service_account, "bucket": self.cloud.bucket,
        })  # fmt: skip


def children() -> list[psutil.Process]:
    """The processes that this one started and that run, and theirs."""
    family = psutil.Process().children(recursive=True)
    return [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def train_as_told(spec: str) -> None:
    """Train in another process: `spec` is from `Training.spec`."""
    told = json.loads(spec)
    root = Path(told["root"])
    command = (sys.executable, "-c", STAND_IN)
    order = JobSpec("grey-cat", told["fingerprint"], "tests", "another-run", told["bucket"], command)
    request = TrainingRequest("grey-cat", BASE | told["config"], root / "records", root / "output")
    cloud = open_emulator(VertexSettings(**told["settings"]), told["account"], told["bucket"])
    callbacks = Callbacks(log=lambda text: print(text, flush=True), creation_guard=guard(cloud))
    train_vertex(request, order, cloud, callbacks)


def guard(cloud: Cloud) -> Callable[[], AbstractContextManager[None]]:
    """The lock of the bucket, which is taken from a process that was killed after a second."""
    return CreationLock(cloud.bucket, "tests", "a test", lease=1.0, pause=0.05).held
