"""When a job on Vertex AI is ownerless: in doubt it is not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Crashed, Failed

from flows.reap import GRACE, is_ownerless
from tasks.training.job_snapshot import Job
from tasks.training.job_trainings import JobTraining

NOW = datetime.now(UTC)
JOB = Job("jobs/1", "RUNNING", "", {}, NOW, NOW, None, 0, "", "gs://b/conceptry/a/f/", "m", None, 0, 1)
TRAINING = JobTraining(JOB, "a", "f", "r", NOW)
LONG_AGO = NOW - GRACE - timedelta(minutes=1)


def run(state: State[None], updated: datetime) -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), name="a", state=state, state_type=state.type, updated=updated)


@pytest.mark.parametrize("state", [Crashed(), Failed()], ids=["crashed", "failed"])
def test_a_run_that_ended_owns_its_job_until_nobody_reported_for_a_while(state: State[None]) -> None:
    assert not is_ownerless(TRAINING, run(state, NOW), NOW)
    assert is_ownerless(TRAINING, run(state, LONG_AGO), NOW)


def test_the_job_of_a_cancelled_run_ends_at_once() -> None:
    assert is_ownerless(TRAINING, run(Cancelled(), NOW), NOW)


def test_a_job_without_a_run_is_kept_for_a_while() -> None:
    assert not is_ownerless(replace(TRAINING, asked=datetime.now(UTC)), None, NOW)
    assert is_ownerless(replace(TRAINING, asked=LONG_AGO), None, NOW)


def test_a_job_that_was_started_without_a_server_is_never_ours_to_end() -> None:
    training = replace(TRAINING, run="terminal-laptop", asked=LONG_AGO)
    assert not is_ownerless(training, None, NOW)
