"""Builder of the CustomJob from settings: pure, so that tests can check what would be rented.

A job trains one concept, or up to CONCEPTRY_VERTEX_CONCEPTS_PER_JOB (a shared job, see `shared_jobs`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from conceptry.vertex_settings import MOST_HOURS, OURS, VertexSettings

FINGERPRINT = f"{OURS}_fingerprint"
CONCEPT = f"{OURS}_concept"
INSTALLATION = f"{OURS}_installation"
RUN = f"{OURS}_run"
ATTEMPT = f"{OURS}_attempt"
SHARED = f"{OURS}_shared"
"""Label of a shared job: a digest of what it rents and runs, because only those of equal settings are joined."""
ROOT = "conceptry"
"""Top folder of Conceptry's objects in the bucket."""
COMPILED = "conceptry-compiled"
"""Top folder of XLA's compilation cache, by accelerator type."""
COMMAND = ("python", "-m", "trainer")
SHARED_COMMAND = ("python", "-m", "trainer.training_queue")
QUEUES = ".jobs"
"""Folder of the shared jobs' queues, beside those of the concepts."""
IDLE = 60.0
"""Seconds for which a shared job waits for a further training."""
_STRATEGY = {"standard": "STANDARD", "spot": "SPOT", "flex-start": "FLEX_START"}
_LONGEST_LABEL = 63
_DAY = 24.0


@dataclass(frozen=True)
class JobSpec:
    """Purpose of a job.

    Args:
        concept: Name of the concept.
        fingerprint: Training fingerprint, 64 hex digits.
        installation: Id of the installation, which separates the jobs of installations in one project.
        run: Id of the Prefect run that owns the job.
        bucket: Name of the bucket, without gs://.
        command: Command of the container; tests replace it.
        vectors: Objects with published vectors, below the prefix, by the trainer's option for them.
    """

    concept: str
    fingerprint: str
    installation: str
    run: str
    bucket: str
    command: tuple[str, ...] = COMMAND
    vectors: Mapping[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """Prefix of this training's objects in the bucket, with a trailing /."""
        return f"{trainings(self.installation)}{self.concept}/{self.fingerprint}/"


def trainings(installation: str) -> str:
    """Return the prefix of an installation's trainings in the bucket, with a trailing /."""
    return f"{ROOT}/{label(installation)}/"


def queue(installation: str, attempt: str) -> str:
    """Return the prefix of a shared job's queue in the bucket, with a trailing /."""
    return f"{trainings(installation)}{QUEUES}/{attempt}/"


def label(text: str) -> str:
    """Return a valid label value: other characters are replaced by -, and the text is cut to 63 characters."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:_LONGEST_LABEL]


def labels(spec: JobSpec) -> dict[str, str]:
    """Return the labels by which a job is found. Of the fingerprint's 64 digits a label can hold 63, which suffice."""
    return {
        FINGERPRINT: label(spec.fingerprint),
        CONCEPT: label(spec.concept),
        INSTALLATION: label(spec.installation),
        RUN: label(spec.run),
    }


def custom_job(spec: JobSpec, settings: VertexSettings, attempt: str = "") -> dict[str, Any]:
    """Return the CustomJob of a training, as the client library accepts it.

    Args:
        spec: Purpose of the job.
        settings: Region, machine and limits; already validated.
        attempt: Id of this request, by which its job is found if the response is lost.
    """
    home = f"gs://{spec.bucket}/{spec.prefix}"
    mount = mounted(home)
    arguments = {"--records": f"{mount}records", "--config": f"{mount}config.json", "--output": f"{mount}output"}
    arguments |= {f"--{option}": f"{mount}{name}" for option, name in spec.vectors.items()}
    name = f"conceptry {spec.concept} {spec.fingerprint[:12]}"
    own = {**labels(spec), **({ATTEMPT: attempt} if attempt else {})}
    return _job(name, own, home, (spec.command, arguments), settings, settings.timeout_hours)


def shared_job(spec: JobSpec, settings: VertexSettings, attempt: str) -> dict[str, Any]:
    """Return the CustomJob of several trainings, of which `spec` is the first; `attempt` names its queue."""
    kind = sha256(json.dumps(_shared_job(spec, settings, ""), sort_keys=True).encode()).hexdigest()[:16]
    job = _shared_job(spec, settings, attempt)
    own = {SHARED: kind, INSTALLATION: label(spec.installation), RUN: label(spec.run), ATTEMPT: attempt}
    return job | {"labels": {**job["labels"], **own}}


def _shared_job(spec: JobSpec, settings: VertexSettings, attempt: str) -> dict[str, Any]:
    most, bucket = settings.concepts_per_job, f"gs://{spec.bucket}/"
    home = f"{bucket}{queue(spec.installation, attempt)}"
    arguments = {
        "--trainings": mounted(f"{bucket}{trainings(spec.installation)}"),
        "--queue": mounted(home),
        "--most": str(most),
        "--idle": f"{IDLE:g}",
        "--limit": f"{settings.timeout_hours * 3600:g}",
    }
    hours = min(most * settings.timeout_hours, MOST_HOURS)
    return _job(f"conceptry up to {most} concepts", {}, home, (SHARED_COMMAND, arguments), settings, hours)


def mounted(uri: str) -> str:
    """Return the path under /gcs/ at which gs://BUCKET/PATH is mounted in a job; return any other path unchanged."""
    return uri.replace("gs://", "/gcs/", 1)


def _job(
    name: str,
    own: Mapping[str, str],
    home: str,
    program: tuple[Sequence[str], Mapping[str, str]],
    settings: VertexSettings,
    hours: float,
) -> dict[str, Any]:
    """Return a CustomJob of a name, with `own` labels, that runs a program at most so many hours."""
    job_spec: dict[str, Any] = {
        "worker_pool_specs": _pools(*program, home, settings),
        "scheduling": _scheduling(settings, hours),
        "base_output_directory": {"output_uri_prefix": home},
    }
    optional = {key: getattr(settings, key) for key in ("network", "service_account", "tensorboard")}
    job_spec.update({key: value for key, value in optional.items() if value})
    return {"display_name": name, "labels": {**settings.labels, **own}, "job_spec": job_spec}


def _pools(
    command: Sequence[str], arguments: Mapping[str, str], home: str, settings: VertexSettings
) -> list[dict[str, Any]]:
    """Return the chief's pool, which must have exactly one replica, and a pool of workers for further machines."""
    machine: dict[str, Any] = {"machine_type": settings.machine_type}
    given = dict(arguments)
    if settings.base:
        given["--base"] = mounted(settings.base)
    if settings.accelerator_type:
        machine |= {"accelerator_type": settings.accelerator_type, "accelerator_count": settings.accelerator_count}
        bucket = home.removeprefix("gs://").partition("/")[0]
        given["--compiled"] = mounted(f"gs://{bucket}/{COMPILED}/{settings.accelerator_type}")
    pool = {
        "machine_spec": machine,
        "replica_count": 1,
        "disk_spec": {"boot_disk_type": settings.boot_disk_type, "boot_disk_size_gb": settings.boot_disk_gb},
        "container_spec": {
            "image_uri": settings.image,
            "command": list(command),
            "args": [text for pair in given.items() for text in pair],
        },
    }
    workers = [{**pool, "replica_count": settings.replicas - 1}] if settings.replicas > 1 else []
    return [pool, *workers]


def _scheduling(settings: VertexSettings, hours: float) -> dict[str, Any]:
    scheduling: dict[str, Any] = {
        "timeout": _duration(hours),
        "strategy": _STRATEGY[settings.provisioning],
    }
    if settings.replicas > 1:
        # A single restarted worker would wait for the others forever, so all restart from the checkpoint.
        scheduling["restart_job_on_worker_restart"] = True
    if settings.provisioning == "flex-start":
        scheduling["max_wait_duration"] = _duration(settings.max_wait_hours or _DAY)
    return scheduling


def _duration(hours: float) -> Mapping[str, int]:
    seconds, rest = divmod(hours * 3600, 1)
    return {"seconds": int(seconds), **({"nanos": int(rest * 1e9)} if rest >= 1e-6 else {})}
