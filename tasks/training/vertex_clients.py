"""Clients of Vertex AI and its bucket for a training, made from Prefect blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conceptry.errors import SettingsError
from conceptry.vertex_settings import VertexSettings
from tasks.training.bucket import storage_errors
from tasks.training.job_logs import last_lines
from tasks.training.job_places import Places
from tasks.training.renewed_bucket import RenewedBucket
from tasks.training.shared_jobs import SharedJobs
from tasks.training.vertex_jobs import VertexJobs


@dataclass(frozen=True)
class Cloud:
    """Clients of a training on Vertex AI.

    `bucket` is of google-cloud-storage; `last_lines` returns the last log lines of a job, by the last part of its name.
    """

    settings: VertexSettings
    jobs: VertexJobs
    bucket: Any
    last_lines: Callable[[str], list[str]]

    def shared_jobs(self, installation: str) -> SharedJobs:
        """Return the jobs of an installation that train several concepts."""
        return SharedJobs(self.jobs, self.bucket, self.settings, installation)


def open_cloud(settings: VertexSettings, warn: Callable[[str], None] = lambda _: None) -> Cloud:
    """Return the clients made from the Prefect blocks in the settings.

    Raises:
        SettingsError: a block does not exist.
    """
    # Imported here: prefect_gcp takes seconds to import, and `make_cloud` needs only its blocks.
    from prefect_gcp import GcpCredentials

    def connect(endpoint: str) -> Any:
        credentials = _load(GcpCredentials, settings.credentials)
        return credentials.get_job_service_client({"api_endpoint": endpoint})

    return make_cloud(settings, connect, lambda: load_gcs_bucket(settings.bucket), warn)


def make_cloud(
    settings: VertexSettings,
    connect: Callable[[str], Any],
    load_block: Callable[[], Any],
    warn: Callable[[str], None] = lambda _: None,
) -> Cloud:
    """Return the clients of a training.

    Args:
        settings: Settings of training on Vertex AI.
        connect: Returns a JobService client for an address; called again if the credentials are refused.
        load_block: Returns the Prefect block GcsBucket; called again if its credentials are refused.
        warn: Called with warnings for the user.

    Raises:
        SettingsError: the bucket does not exist, or the credentials are refused.
        TransientError: Cloud Storage did not respond.
    """

    def open_bucket() -> Any:
        block = load_block()
        with storage_errors(None, f"gs://{block.bucket}"):
            return block.get_bucket()

    def read_lines(job_id: str) -> list[str]:
        return last_lines(load_block().gcp_credentials.get_credentials_from_service_account(), settings, job_id)

    bucket = RenewedBucket(open_bucket(), open_bucket)
    jobs = VertexJobs(settings, connect, warn, places=lambda installation: Places(bucket, installation))
    return Cloud(settings, jobs, bucket, read_lines)


def load_gcs_bucket(name: str) -> Any:
    """Return a Prefect block GcsBucket.

    Raises:
        SettingsError: it does not exist.
    """
    from prefect_gcp.cloud_storage import GcsBucket

    return _load(GcsBucket, name)


def _load(block: Any, name: str) -> Any:
    try:
        return block.load(name, _sync=True)
    except ValueError as error:
        raise SettingsError(
            f"there is no Prefect block {block.get_block_type_slug()}/{name}",
            next_step="`conceptry setup gcp` registers it",
        ) from error
