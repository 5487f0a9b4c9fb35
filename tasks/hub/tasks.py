"""Prefect tasks that read and write the Hub."""

from prefect import get_run_logger, task

from conceptry.gate import judge, thresholds
from conceptry.training_job import TrainingJob
from conceptry.version import Version
from tasks.cached_task import cached_task
from tasks.hub.bundle import Lineage, assemble
from tasks.hub.index import update_main
from tasks.hub.judge_again import judge_again
from tasks.hub.live_state import list_live, read_live
from tasks.hub.ownership import check_names
from tasks.hub.publish import clean_up, publish
from tasks.hub.repair import repair_refs
from tasks.hub.repo_versions import find_version
from tasks.hub.session import HubSession
from tasks.hub.space_access import hide_repos
from tasks.hub.space_repo import pause_space, push_space
from tasks.hub.version_vectors import fetch_initial_vectors, fetch_released_vectors
from tasks.retries import RETRY_TRANSIENT
from tasks.run_folder import RunFolder
from trainer.metrics import TrainingMetrics

list_hub = task(name="list the Hub", tags=["hub"], **RETRY_TRANSIENT)(list_live)
read_hub = task(name="read the Hub", tags=["hub"], **RETRY_TRANSIENT)(read_live)
check_the_names = task(name="check the names", tags=["hub"], **RETRY_TRANSIENT)(check_names)
find_published = task(name="find the version", tags=["hub"], **RETRY_TRANSIENT)(find_version)
delete_staging = task(name="delete the staging branch", tags=["hub"], **RETRY_TRANSIENT)(clean_up)
judge_versions = task(name="judge versions again", tags=["hub"], **RETRY_TRANSIENT)(judge_again)
update_card = task(name="update the card", tags=["hub"], **RETRY_TRANSIENT)(update_main)
pause = task(name="pause the Space", tags=["hub"], **RETRY_TRANSIENT)(pause_space)
hide = task(name="hide the repos", tags=["hub"], **RETRY_TRANSIENT)(hide_repos)
push = task(name="push the Space", tags=["hub"], **RETRY_TRANSIENT)(push_space)
fetch_released = task(name="fetch the released version", tags=["hub"], **RETRY_TRANSIENT)(fetch_released_vectors)
fetch_initial = task(name="fetch the initial version", tags=["hub"], **RETRY_TRANSIENT)(fetch_initial_vectors)
repair = task(name="repair branches and tags", tags=["hub"], **RETRY_TRANSIENT)(repair_refs)


# Not archived: a bundle depends on the gate and the name, too, which may change until it is published.
@cached_task("judge and assemble", lambda run: run.bundle, archived=False)
def assemble_version(
    run: RunFolder,
    job: TrainingJob,
    metrics: TrainingMetrics,
    lineage: Lineage,
    *,
    repo: str,
) -> str:
    """Judge the metrics and assemble the version for the model repo."""
    verdict = judge(metrics, thresholds(job.spec.gate, job.base))
    bundle = assemble(
        run.output,
        run.bundle,
        name=job.name,
        spec=job.spec,
        base=job.base,
        lineage=lineage,
        gate=verdict,
        repo=repo,
    )
    return str(bundle)


@task(name="publish", tags=["hub"], **RETRY_TRANSIENT)
def publish_version(session: HubSession, job: TrainingJob, run: RunFolder) -> Version:
    """Publish the bundle as the next version; return the existing version if the fingerprint is published already."""
    version = publish(session, job.name, run.bundle, private=job.spec.space.private)
    get_run_logger().info("%s %s is published: %s", job.name, version.name, version.gate)
    return version
