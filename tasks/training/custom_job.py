"""Builder of the CustomJob from settings: pure, so that tests can check what would be rented."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from conceptry.vertex_settings import OURS, VertexSettings

FINGERPRINT = f"{OURS}_fingerprint"
CONCEPT = f"{OURS}_concept"
INSTALLATION = f"{OURS}_installation"
RUN = f"{OURS}_run"
ATTEMPT = f"{OURS}_attempt"
ROOT = "conceptry"
"""Top folder of Conceptry's objects in the bucket."""
COMPILED = "conceptry-compiled"
"""Top folder of XLA's compilation cache, by accelerator type."""
COMMAND = ("python", "-m", "trainer")
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
        return f"{ROOT}/{label(self.installation)}/{self.concept}/{self.fingerprint}/"


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
    own = {**labels(spec), **({ATTEMPT: attempt} if attempt else {})}
    job_spec: dict[str, Any] = {
        "worker_pool_specs": _pools(spec, settings),
        "scheduling": _scheduling(settings),
        "base_output_directory": {"output_uri_prefix": f"gs://{spec.bucket}/{spec.prefix}"},
    }
    optional = {key: getattr(settings, key) for key in ("network", "service_account", "tensorboard")}
    job_spec.update({key: value for key, value in optional.items() if value})
    return {
        "display_name": f"conceptry {spec.concept} {spec.fingerprint[:12]}",
        "labels": {**settings.labels, **own},
        "job_spec": job_spec,
    }


def mounted(uri: str) -> str:
    """Return the path under /gcs/ at which gs://BUCKET/PATH is mounted in a job; return any other path unchanged."""
    return uri.replace("gs://", "/gcs/", 1)


def _pools(spec: JobSpec, settings: VertexSettings) -> list[dict[str, Any]]:
    """Return the chief's pool, which must have exactly one replica, and a pool of workers for further machines."""
    machine: dict[str, Any] = {"machine_type": settings.machine_type}
    if settings.accelerator_type:
        machine |= {"accelerator_type": settings.accelerator_type, "accelerator_count": settings.accelerator_count}
    home = mounted(f"gs://{spec.bucket}/{spec.prefix}")
    arguments = {"--records": f"{home}records", "--config": f"{home}config.json", "--output": f"{home}output"}
    arguments |= {f"--{option}": f"{home}{name}" for option, name in spec.vectors.items()}
    if settings.base:
        arguments["--base"] = mounted(settings.base)
    if settings.accelerator_type:
        arguments["--compiled"] = mounted(f"gs://{spec.bucket}/{COMPILED}/{settings.accelerator_type}")
    pool = {
        "machine_spec": machine,
        "replica_count": 1,
        "disk_spec": {"boot_disk_type": settings.boot_disk_type, "boot_disk_size_gb": settings.boot_disk_gb},
        "container_spec": {
            "image_uri": settings.image,
            "command": list(spec.command),
            "args": [text for pair in arguments.items() for text in pair],
        },
    }
    workers = [{**pool, "replica_count": settings.replicas - 1}] if settings.replicas > 1 else []
    return [pool, *workers]


def _scheduling(settings: VertexSettings) -> dict[str, Any]:
    scheduling: dict[str, Any] = {
        "timeout": _duration(settings.timeout_hours),
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
