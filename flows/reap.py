"""Reap: cancel trainings on Vertex AI that no run owns. Scheduled every ten minutes.

A job outlives the process that follows it, so that a restarted run finds it again. This flow ends the trainings that
nobody will follow again, and with the last training of a job the job. In doubt one continues, because its time-out
limits what it costs:

    a run is scheduled or running                                          kept
    its inputs are the desired ones in git, and their training may go on   kept: the watcher starts or resumes a run
    the run was cancelled                                                  cancelled
    otherwise                                                              cancelled once nobody reported for GRACE
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed

from conceptry.actions import Plan
from flows.current_installation import current_installation
from flows.observe import Context, observe
from flows.prefect_steps import PREFECT
from flows.reconcile import compare
from flows.skipped_runs import SKIPPED, skip_late
from flows.training_runs import training_runs
from tasks.events import emit
from tasks.training.tasks import TERMINAL

if TYPE_CHECKING:
    from tasks.training.job_trainings import JobTraining

GRACE = timedelta(minutes=10)
"""Time since the last sign of a run, or since a training without a run was asked for, in which the training is kept."""


@flow(name="reap")
def reap() -> State[Any]:
    """List the trainings in live jobs of this installation and cancel those that no run owns."""
    installation, logger = current_installation(), get_run_logger()
    if installation.vertex is None:
        return Completed(name=SKIPPED, message="Vertex AI is not configured.")
    skip_late(reap.name)
    # Imported here: Google's clients take seconds to import, and without a configuration none is needed.
    from tasks.training import vertex_clients
    from tasks.training.job_trainings import end_training, live_trainings

    cloud = vertex_clients.open_cloud(installation.vertex_settings(), logger.warning)
    # Jobs are listed before runs: the run of every listed job existed when the job was created.
    trainings = live_trainings(cloud, installation.id)
    if not trainings:
        return Completed(name=SKIPPED, message="No job is live.")
    context = Context.of(installation, PREFECT)
    with training_runs(installation) as known:
        runs = known.latest(training.fingerprint for training in trainings)
        owned = {str(run.parameters.get("fingerprint")) for run in known.active()}
        owned |= wanted(compare(context, observe(context), known).plan)
        moment = known.server_time()
    ended = []
    for one in trainings:
        if one.fingerprint in owned or not is_ownerless(one, runs.get(one.fingerprint), moment):
            continue
        logger.warning("cancelling %s in job %s: no live run owns it", one.concept, one.job.short)
        end_training(cloud, installation.id, one)
        emit(one.concept, "reaped", job=one.job.short, fingerprint=one.fingerprint)
        ended.append(one.job.short)
    message = f"{len(trainings)} live, {len(ended)} cancelled" + (f": {', '.join(ended)}" if ended else "")
    return Completed(message=message)


def wanted(plan: Plan) -> set[str]:
    """Return the fingerprints whose trainings may start or be resumed, now or later."""
    open_ = (one.training for one in plan.concepts if one.training.health != "Degraded")
    return {training.fingerprint for training in open_ if training.fingerprint}


def is_ownerless(training: "JobTraining", run: FlowRun | None, moment: datetime) -> bool:
    """Whether no process will follow a training again whose inputs git does not ask for.

    `moment` is the server's time. A process that still follows its training renews its run, in whatever state the
    server has it.
    """
    if training.run.startswith(TERMINAL):
        return False
    if run is None:
        return moment - training.asked > GRACE
    if run.state_type is StateType.CANCELLED:
        return True
    return run.updated is not None and moment - run.updated > GRACE
