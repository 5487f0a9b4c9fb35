"""Settings of training on Vertex AI, from CONCEPTRY_VERTEX_... variables, validated together."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from conceptry.errors import SettingsError
from conceptry.machine_types import FLEXIBLE, misfits
from conceptry.settings import DeploymentSettings

PREFIX = "CONCEPTRY_VERTEX_"
OURS = "conceptry"
"""Prefix of the label keys that Conceptry sets."""
MOST_HOURS = 7 * 24

_IMAGE = re.compile(r"[a-z0-9.-]+(?::[0-9]+)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}")
_PATTERNS = {
    "project": (re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]"), "my-project-1"),
    "region": (re.compile(r"[a-z]+-[a-z]+[0-9]+"), "us-central1"),
    "network": (re.compile(r"projects/[^/]+/global/networks/[^/]+"), "projects/12345/global/networks/my-network"),
    "service_account": (re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"), "trainer@my-project-1.iam.gserviceaccount.com"),
    "tensorboard": (
        re.compile(r"projects/[^/]+/locations/[^/]+/tensorboards/[^/]+"),
        "projects/12345/locations/us-central1/tensorboards/67890",
    ),
    "base": (re.compile(r"gs://[^/]+/.+|/.+"), "gs://my-bucket/weights, or a path in the image"),
}
_KEY, _VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
_EXAMPLES = {"project": "my-project-1", "image": f"host/trainer@sha256:{'0' * 64}"}
_DISKS = ("pd-ssd", "pd-standard", "hyperdisk-balanced")


def _block() -> str:
    """Return the default name of a Prefect block, another one for each installation on a Prefect server."""
    return f"conceptry{DeploymentSettings().deployment_suffix}"


class VertexBasics(BaseSettings):
    """Settings that need no project: for estimates, and for `conceptry setup gcp`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    machine_type: str = Field("a2-highgpu-1g", description="Machine type of every replica.")
    provisioning: Literal["standard", "spot", "flex-start"] = Field(
        "standard", description="How machines are provisioned: on demand, Spot, or queued (flex start)."
    )
    prices: Path | None = Field(None, description="JSON file of prices, instead of the table in the package.")
    credentials: str = Field(default_factory=_block, description="Name of the Prefect block GcpCredentials.")
    bucket: str = Field(default_factory=_block, description="Name of the Prefect block GcsBucket.")
    image: str | None = Field(None, description="Container image; while a project is set up, a tag is enough.")
    google_apis: str | None = Field(None, description="Address to use instead of *.googleapis.com in `setup gcp`.")


class VertexSettings(VertexBasics):
    """Project, region, machine and limits of a training job. Arguments take precedence over the environment.

    Raises:
        SettingsError: settings are missing, wrong or incompatible; the message names all of them.
    """

    project: str = Field(description="Google Cloud project, by its id.")
    region: str = Field("us-central1", description="Region of the job; the bucket should be in it, too.")
    image: str = Field(description="Container image, by digest: HOST/PATH@sha256:... `conceptry setup gcp` prints it.")
    base: str | None = Field(
        None, description="Weights that the image does not hold: gs://BUCKET/PATH, or a path in the image."
    )

    accelerator_type: str | None = Field(
        "NVIDIA_TESLA_A100", description="Accelerator type; `none`, with a count of 0, for a machine without."
    )
    accelerator_count: int = Field(1, ge=0, le=16, description="Accelerators per machine.")
    replicas: int = Field(1, ge=1, le=64, description="Machines that train together.")
    max_wait_hours: float | None = Field(
        None, gt=0, description="Flex start only: fail when no machine was free for so long; null is 24 hours."
    )
    timeout_hours: float = Field(6.0, gt=0, description="Maximum run time of a training, which caps its cost.")
    pending_hours: float = Field(24.0, gt=0, description="Cancel a job that waits longer for a machine.")
    boot_disk_type: str = Field("pd-ssd", description="Boot disk: pd-ssd, pd-standard or hyperdisk-balanced.")
    boot_disk_gb: int = Field(100, ge=100, le=64000, description="Size of the boot disk in GB.")
    network: str | None = Field(None, description="VPC network to peer with, by its full name.")
    service_account: str | None = Field(None, description="E-mail of the account that the job runs as.")
    tensorboard: str | None = Field(None, description="TensorBoard of the job, by its full name.")
    labels: dict[str, str] = Field(default_factory=dict, description="Additional labels of the job, as a JSON object.")

    max_jobs: int = Field(1, ge=1, description="Maximum of jobs at the same time.")
    concepts_per_job: int = Field(
        1, ge=1, le=100, description="Trainings that one job runs, one after the other; others join while it runs."
    )
    poll_seconds: float = Field(15.0, gt=0, description="Seconds between two requests for a job's state.")
    patience_seconds: float = Field(900.0, ge=0, description="Seconds of retries while Google does not respond.")
    look_again_seconds: tuple[float, ...] = Field(
        (2.0, 5.0, 10.0), description="After a lost response to create: seconds before each search for the job."
    )
    max_attempts: int = Field(4, ge=1, le=20, description="Maximum of jobs per training, when machines are preempted.")
    api_endpoint: str | None = Field(None, description="Address of JobService; null is that of the region.")
    console: str = Field("https://console.cloud.google.com", description="Address of the console, for links.")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            problems = [text for detail in error.errors(include_url=False) for text in _words(detail)]
        else:
            return
        raise SettingsError(
            "settings for Vertex AI are not usable: " + "; ".join(problems), next_step="set these environment variables"
        )

    @field_validator("accelerator_type", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return None if value in ("none", "NONE") else value

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, values: Any, handler: Any) -> Any:
        """Collect errors of single settings and incompatible combinations into one message."""
        try:
            settings = handler(values)
        except ValidationError as error:
            wrong = [text for detail in error.errors(include_url=False) for text in _words(detail)]
            bad = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
            # Check the combinations with the invalid values left out or replaced by valid ones.
            rest = {name: value for name, value in values.items() if name not in bad}
            usable = handler(rest | {name: value for name, value in _EXAMPLES.items() if name in bad})
            raise ValueError("\n".join([*wrong, *usable._problems()])) from None
        if problems := list(settings._problems()):
            raise ValueError("\n".join(problems))
        return settings

    @classmethod
    def in_use(cls) -> bool:
        """Whether any CONCEPTRY_VERTEX_... variable is set."""
        return any(name.startswith(PREFIX) for name in os.environ)

    @property
    def parent(self) -> str:
        """Resource name of the parent of all jobs."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def endpoint(self) -> str:
        """Address of JobService in the region."""
        return self.endpoint_in(self.region)

    def endpoint_in(self, region: str) -> str:
        """Return the address of JobService in another region."""
        return self.api_endpoint or f"{region}-aiplatform.googleapis.com"

    def job_link(self, name: str) -> str:
        """Return the address of a job's page in the console, by its resource name."""
        region, job = name.split("/")[3::2]
        if self.console == type(self).model_fields["console"].default:
            return f"{self.console}/vertex-ai/training/{region}/{job}/cpu?project={self.project}"
        return f"{self.console}/jobs/{job}"

    def log_link(self, name: str) -> str | None:
        """Return the address of a job's log in the console, by its resource name; None for an emulated console."""
        if self.console != type(self).model_fields["console"].default:
            return None
        query = quote(f'resource.labels.job_id="{name.rpartition("/")[2]}"', safe="")
        return f"{self.console}/logs/query;query={query}?project={self.project}"

    def _problems(self) -> Iterator[str]:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        for name, text in _format_problems(values):
            yield f"{_variable(name)}: {text}"
        for misfit in misfits(self.machine_type, self.accelerator_type, self.accelerator_count):
            name, _, text = misfit.partition(": ")
            yield f"{_variable(name)}: {text}"
        yield from self._schedule_problems()
        if self.concepts_per_job > 1 and self.replicas > 1:
            yield f"{_variable('concepts_per_job')}: only goes with {_variable('replicas')}=1"
        if self.tensorboard and not self.service_account:
            yield f"{_variable('tensorboard')}: needs {_variable('service_account')}, which writes to it"
        if self.tensorboard and f"/locations/{self.region}/" not in self.tensorboard:
            yield f"{_variable('tensorboard')}: must be in the job's region, {self.region}"

    def _schedule_problems(self) -> Iterator[str]:
        flexible = self.provisioning == "flex-start"
        if self.max_wait_hours is not None and not flexible:
            yield f"{_variable('max_wait_hours')}: only goes with {_variable('provisioning')}=flex-start"
        if flexible and self.accelerator_type not in FLEXIBLE:
            yield f"{_variable('provisioning')}: flex-start is for {', '.join(sorted(FLEXIBLE))}"
        if flexible and self.pending_hours < (self.max_wait_hours or 24.0):
            yield f"{_variable('pending_hours')}: must not be shorter than {_variable('max_wait_hours')}, 24 if not set"
        if self.timeout_hours > MOST_HOURS:
            yield f"{_variable('timeout_hours')}: at most {MOST_HOURS}, seven days"


def _format_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, (pattern, example) in _PATTERNS.items():
        value = values.get(name)
        if isinstance(value, str) and not pattern.fullmatch(value):
            yield name, f"{value!r} is not of the form {example}"
    image = values.get("image")
    if isinstance(image, str) and not _IMAGE.fullmatch(image):
        yield "image", f"{image!r} is not HOST/PATH@sha256:DIGEST; a tag may point elsewhere tomorrow"
    disk = values.get("boot_disk_type")
    if isinstance(disk, str) and disk not in _DISKS:
        yield "boot_disk_type", f"{disk!r} is not one of {', '.join(_DISKS)}"
    labels = values.get("labels")
    for key, value in labels.items() if isinstance(labels, Mapping) else ():
        if not (_KEY.fullmatch(key) and _VALUE.fullmatch(str(value))):
            yield (
                "labels",
                f"{key}={value}: lower-case letters, digits, - and _, 63 at most, the key begins with a letter",
            )
        if key.startswith(OURS):
            yield "labels", f"{key}: keys that begin with {OURS} are taken"


def _variable(name: str) -> str:
    return PREFIX + name.upper()


def _words(detail: Any) -> list[str]:
    if detail["type"] == "value_error" and not detail["loc"]:
        return str(detail["ctx"]["error"]).split("\n")
    name = str(detail["loc"][0])
    if detail["type"] == "missing":
        return [f"{_variable(name)}: is missing ({VertexSettings.model_fields[name].description})"]
    return [f"{_variable(name)}: {detail['msg']}"]
