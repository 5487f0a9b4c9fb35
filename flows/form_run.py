"""Training runs that a user started with a name alone: in the form of Prefect's UI, or by `prefect deployment run`.

Such a run takes the inputs at the head of the branch, and gets the parameters, name and tags of a run that the watch
starts, by which other runs and plans find it.
"""

from __future__ import annotations

from uuid import UUID

from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from conceptry.installation import Installation
from conceptry.training_job import TrainingJob
from flows.training_runs import training_runs
from tasks.prefect_client import connected


def run_name() -> str:
    """Return the name of a training run: the concept, and the first digits of the fingerprint if it is known."""
    given = flow_run.parameters
    return f"{given.get('name')} {str(given.get('fingerprint') or '')[:8]}".strip()


def claim(installation: Installation, job: TrainingJob) -> str | None:
    """Make the current run that of a training, and return None; return the name of another run that trains it now."""
    if flow_run.id is None or not get_current_settings().api.url:
        return None
    own = UUID(flow_run.id)
    with connected() as client, training_runs(installation) as runs:
        attempts = runs.attempts([job.fingerprint])
        other = runs.latest([job.fingerprint]).get(job.fingerprint)
        if other is not None and other.id != own and attempts.get(job.fingerprint) == "running":
            return other.name
        parameters, name, tags = runs.identity(job.name, job.revision, job.fingerprint)
        before = client.read_flow_run(own).tags
        client.update_flow_run(own, parameters=parameters, name=name, tags=sorted({*before, *tags}))
    return None
