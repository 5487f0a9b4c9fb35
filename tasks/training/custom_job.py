"""Settings in, CustomJob out: pure, so that what will be rented can be read before it is rented."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conceptry.vertex_settings import OURS, VertexSettings

FINGERPRINT = f"{OURS}_fingerprint"
CONCEPT = f"{OURS}_concept"
INSTALLATION = f"{OURS}_installation"
RUN = f"{OURS}_run"
ATTEMPT = f"{OURS}_attempt"
ROOT = "conceptry"
"""First folder of everything of ours in the bucket."""
COMPILED = "conceptry-compiled"
"""First folder of what XLA compiled for a kind of accelerator, which the next job there need not compile again."""
COMMAND = ("python", "-m", "trainer")
_STRATEGY = {"standard": "STANDARD", "spot": "SPOT", "flex-start": "FLEX_START"}
_LONGEST_LABEL = 63
_DAY = 24.0


@dataclass(frozen=True)
class JobSpec:
    """What a job is for.

    Args:
        concept: name of the concept.
        fingerprint: 64 hex digits.
        installation: which Conceptry this is, so that two of them in one project leave each other's jobs alone.
        run: id of the Prefect run that asks.
        bucket: name of the bucket, without gs://.
        command: of the container; another one only in tests of everything around the trainer.
    """

    concept: str
    fingerprint: str
    installation: str
    run: str
    bucket: str
    command: tuple[str, ...] = COMMAND

    @property
    def prefix(self) -> str:
        """Where everything of this training lies in the bucket, with a / at its end."""
        return f"{ROOT}/{self.concept}/{self.fingerprint}/"


def label(text: str) -> str:
    """Make a label's value of any text: what labels do not allow becomes -, and 63 characters are kept."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:_LONGEST_LABEL]


def labels(spec: JobSpec) -> dict[str, str]:
    """The labels by which a job is found again. A fingerprint is one character too long for a label: 63 are enough."""
    return {
        FINGERPRINT: label(spec.fingerprint),
        CONCEPT: label(spec.concept),
        INSTALLATION: label(spec.installation),
        RUN: label(spec.run),
    }


def custom_job(spec: JobSpec, settings: VertexSettings, attempt: str = "") -> dict[str, Any]:
    """Write the CustomJob of a training, as the client library takes it.

    Args:
        spec: what it is for.
        settings: where and on what it runs; they have been checked together.
        attempt: names this very request, to find its job again when the answer gets lost.
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
    """The path under /gcs/ by which a job sees gs://BUCKET/PATH; any other path stays."""
    return uri.replace("gs://", "/gcs/", 1)


def _pools(spec: JobSpec, settings: VertexSettings) -> list[dict[str, Any]]:
    """The chief, and a pool of workers when there are several machines: Vertex AI wants exactly one in the first."""
    machine: dict[str, Any] = {"machine_type": settings.machine_type}
    if settings.accelerator_type:
        machine |= {"accelerator_type": settings.accelerator_type, "accelerator_count": settings.accelerator_count}
    home = mounted(f"gs://{spec.bucket}/{spec.prefix}")
    arguments = {"--records": f"{home}records", "--config": f"{home}config.json", "--output": f"{home}output"}
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
        # A worker that comes back alone would wait for the others for ever: all begin again at the checkpoint.
        scheduling["restart_job_on_worker_restart"] = True
    if settings.provisioning == "flex-start":
        scheduling["max_wait_duration"] = _duration(settings.max_wait_hours or _DAY)
    return scheduling


def _duration(hours: float) -> Mapping[str, int]:
    seconds, rest = divmod(hours * 3600, 1)
    return {"seconds": int(seconds), **({"nanos": int(rest * 1e9)} if rest >= 1e-6 else {})}
