"""What Prefect knows of the trainings: one run per fingerprint, found again by its tag.

    running     scheduled, waiting, at work, or crashed and about to go on      -> leave it alone
    failed      ended by an error, or cancelled by a person                     -> hold, until a person retries the run
    crashed     its process was killed: the watcher schedules the same run again, MOST_RUNS times in all

A run keeps its number through every retry, so that a retry finds its finished steps; see flows.runs for how a run whose
worker died with it is told from one that is still at work.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry, Completed, Crashed
from prefect.types._datetime import now

from flows.prefect_client import connected
from flows.runs import RunFolder

TRAINING = "train-concept"
MOST_RUNS = 4
# A worker starts a run's process within seconds; one that is pending for longer lost its worker.
PENDING_AT_MOST = timedelta(minutes=3)
PAGE = 100

Attempt = Literal["running", "failed"]


def fingerprint_tag(fingerprint: str) -> str:
    """The tag by which a training run is found again."""
    return f"fingerprint:{fingerprint}"


class Trainings:
    """The training runs of a Prefect server.

    Args:
        client: of the server.
        work: the settings' scratch folder, whose locks tell which runs were killed on this machine.
        since: runs that were completed after this moment count as running: whoever asks looked at the Hub before.
    """

    def __init__(self, client: SyncPrefectClient, work: Path, since: datetime) -> None:
        self._client, self._work, self._since = client, work, since

    def attempts(self, fingerprints: Iterable[str]) -> dict[str, Attempt]:
        """Tell how the trainings of these fingerprints stand, and of all that are at work.

        Those that may (still) be started are left out.
        """
        stand = {fingerprint: self._stand(run) for fingerprint, run in self._newest(fingerprints).items()}
        stand |= {str(run.parameters.get("fingerprint")): "running" for run in self.active()}
        return {fingerprint: attempt for fingerprint, attempt in stand.items() if attempt is not None}

    def active(self) -> list[FlowRun]:
        """List the trainings that are scheduled or at work, without those that were killed."""
        wanted = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        runs = self._read(FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=wanted))))
        return [run for run in runs if not self._bury(run)]

    def latest(self, fingerprints: Iterable[str]) -> dict[str, FlowRun]:
        """The newest run of each of these fingerprints that has one; a run that was killed is Crashed in it."""
        newest = self._newest(fingerprints)
        for run in newest.values():
            self._bury(run)
        return newest

    def start(
        self, name: str, revision: str, fingerprint: str, retrain: str | None = None, *, again: bool = False
    ) -> FlowRun:
        """Schedule the training of a fingerprint; whoever asks first, it is one run for all of them.

        A run that crashed goes on. With `again`, so does one that failed or was cancelled: a person asked for it.
        """
        run = self._newest([fingerprint]).get(fingerprint)
        if run is not None and self._stand(run) == "running":
            return run
        dead = (StateType.CRASHED, StateType.FAILED, StateType.CANCELLED) if again else (StateType.CRASHED,)
        if run is not None and run.state_type in dead:
            retry: State[None] = AwaitingRetry(message="Goes on from the step that it had come to.")
            self._client.set_flow_run_state(run.id, retry, force=True)
            return self._client.read_flow_run(run.id)
        # A completed run whose version is gone from the Hub must not answer for the new one.
        key = fingerprint if run is None else f"{fingerprint}/{run.id}"
        return self._client.create_flow_run_from_deployment(
            self._client.read_deployment_by_name(f"{TRAINING}/{TRAINING}").id,
            parameters={"name": name, "revision": revision, "fingerprint": fingerprint, "retrain": retrain},
            name=f"{name} {fingerprint[:8]}",
            tags=[f"concept:{name}", fingerprint_tag(fingerprint)],
            idempotency_key=key,
        )

    def _stand(self, run: FlowRun) -> Attempt | None:
        self._bury(run)
        if run.state_type == StateType.COMPLETED:
            return "running" if run.end_time is None or run.end_time > self._since else None
        if run.state_type == StateType.CRASHED:
            return None if run.run_count < MOST_RUNS else "failed"
        return "failed" if run.state_type in (StateType.FAILED, StateType.CANCELLED) else "running"

    def _bury(self, run: FlowRun) -> bool:
        """Mark a run as crashed when nobody else is left to do so: the runner that watched its process is gone too."""
        if not self._is_dead(run):
            return False
        state: State[None] = Crashed(message="The process of this run was killed, and nobody was left to say so.")
        self._client.set_flow_run_state(run.id, state, force=True)
        run.state, run.state_type, run.state_name = state, state.type, state.name
        return True

    def _is_dead(self, run: FlowRun) -> bool:
        if run.state is None:
            return False
        if run.state_type in (StateType.PENDING, StateType.CANCELLING):
            return now("UTC") - run.state.timestamp > PENDING_AT_MOST
        fingerprint = str(run.parameters.get("fingerprint", ""))
        return run.state_type == StateType.RUNNING and RunFolder.of(self._work, fingerprint).abandoned_by(str(run.id))

    def _newest(self, fingerprints: Iterable[str]) -> dict[str, FlowRun]:
        wanted = sorted(set(fingerprints))
        newest: dict[str, FlowRun] = {}
        for start in range(0, len(wanted), PAGE):
            tags = [fingerprint_tag(fingerprint) for fingerprint in wanted[start : start + PAGE]]
            for run in self._read(FlowRunFilter(tags=FlowRunFilterTags(any_=tags))):
                newest.setdefault(str(run.parameters.get("fingerprint")), run)
        return newest

    def _read(self, which: FlowRunFilter) -> list[FlowRun]:
        """Read all runs of the training deployment that match, the newest first."""
        runs: list[FlowRun] = []
        while True:
            page = self._client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[TRAINING])),
                deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[TRAINING])),
                flow_run_filter=which,
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=PAGE,
                offset=len(runs),
            )
            runs += page
            if len(page) < PAGE:
                return runs


@contextmanager
def trainings(work: Path, since: datetime | None = None) -> Iterator[Trainings]:
    """Ask the Prefect server that the settings of Prefect name."""
    with connected() as client:
        yield Trainings(client, work, since or now("UTC"))


def skip_late(flow_name: str) -> None:
    """Let go of runs of a flow that should have started by now: the one that asks does all of their work.

    They pile up while a worker is away or slow, and each would look at the same state again.
    """
    late = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=now("UTC")),
    )
    skipped: State[None] = Completed(name="Skipped", message="A watch that started later has looked at everything.")
    with connected() as client:
        flow = FlowFilter(name=FlowFilterName(any_=[flow_name]))
        for run in client.read_flow_runs(flow_filter=flow, flow_run_filter=late, limit=PAGE):
            client.set_flow_run_state(run.id, skipped)
