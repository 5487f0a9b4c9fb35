"""Trainings on Vertex AI without a run that follows them: cancel that of a cancelled run, and clean the bucket."""

from datetime import datetime
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging import get_logger

from conceptry.installation import Installation
from flows.current_installation import current_installation
from flows.training_runs import training_runs
from tasks.training.folder_archive import clean_folder


def cancel_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Cancel the training of a cancelled run; called by the runner, which may have killed the run's process already."""
    del flow, state
    installation, logger = current_installation(), get_logger("conceptry.vertex")
    if installation.vertex is None:
        return
    # Imported here: Google's clients take seconds to import, and this module is imported with every flow.
    from tasks.training import vertex, vertex_clients
    from tasks.training.custom_job import JobSpec

    cloud = vertex_clients.open_cloud(installation.vertex_settings(), logger.warning)
    name, fingerprint = str(flow_run.parameters["name"]), str(flow_run.parameters["fingerprint"])
    spec = JobSpec(name, fingerprint, installation.id, str(flow_run.id), cloud.bucket.name)
    for job in vertex.end_jobs(spec, cloud):
        logger.info("job %s of the cancelled run %s is %s", job.short, flow_run.name, job.state.lower())


def clean_bucket(installation: Installation, before: datetime, *, delete: bool) -> dict[str, int]:
    """Find, and with `delete` remove, what is kept of trainings that no run needs; return the bytes by address.

    The buckets of Vertex AI and of CONCEPTRY_RESULTS_BUCKET are cleaned, and CONCEPTRY_RESULTS_FOLDER.

    Objects of a live job or an active run are kept, and those written after `before`, because a failed run
    resumes from its checkpoint when the user retries it.

    Raises:
        SettingsError, TransientError: the settings of Vertex AI are wrong, or a bucket cannot be read or written.
    """
    # Imported here for the same reason.
    from tasks.training import vertex_clients
    from tasks.training.bucket import clean_prefixes
    from tasks.training.job_trainings import live_trainings
    from tasks.training.step_archive import open_results

    needed: set[str] = set()
    buckets: dict[str, Any] = {}
    if installation.vertex is not None:
        cloud = vertex_clients.open_cloud(installation.vertex_settings())
        needed |= {job.home.rstrip("/").rpartition("/")[2] for job in cloud.jobs.live(installation.id)}
        needed |= {training.fingerprint for training in live_trainings(cloud, installation.id)}
        buckets[cloud.bucket.name] = cloud.bucket
    if installation.settings.results_bucket is not None:
        results = open_results(installation.settings.results_bucket)
        buckets.setdefault(results.name, results)
    with training_runs(installation) as runs:
        needed |= {str(run.parameters.get("fingerprint")) for run in runs.active()}
    found: dict[str, int] = {}
    if (shared := installation.settings.results_folder) is not None:
        found |= clean_folder(shared, installation.id, needed, before=before, delete=delete)
    for bucket in buckets.values():
        found |= clean_prefixes(
            bucket, installation.id, lambda _, fingerprint: fingerprint in needed, before=before, delete=delete
        )
    return found
