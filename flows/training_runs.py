"""Training runs on the Prefect server: one run per fingerprint, found by its tag.

    running     scheduled, pending, running, or crashed and to be resumed        -> no action
    failed      ended by an error, or cancelled by the user                     -> hold until the user retries the run
    crashed     its process was killed: the watcher schedules the same run again, MAX_RUNS times in total

A run keeps its id through every retry, so that a retry finds its finished tasks. The lock on its folder (tasks.locks)
shows whether a run in state Running is alive or died together with its worker.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

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

from conceptry.actions import Attempt
from conceptry.installation import Installation
from conceptry.work_folder import WorkFolder
from tasks.prefect_client import connected
from tasks.run_folder import RunFolder

TRAINING = "train-concept"
MAX_RUNS = 4
# A worker starts the process of a run within seconds; a run that stays pending longer has lost its worker.
MAX_PENDING = timedelta(minutes=3)
PAGE = 100
_PREFIX = re.compile(r"^Flow run encountered an exception: (\w+: )?")


def fingerprint_tag(fingerprint: str) -> str:
    """Return the tag by which the run of a fingerprint is found."""
    return f"fingerprint:{fingerprint}"


def installation_tag(installation: str) -> str:
    """Return the tag of the runs of an installation."""
    return f"installation:{installation}"


class TrainingRuns:
    """Training runs of a Prefect server.

    Args:
        client: Client of the Prefect server.
        installation: Id of the installation; runs of others on the same server are not seen.
        work: Scratch folder, whose locks show which runs were killed on this machine.
        since: Moment at which the caller read the Hub; runs that completed later count as running.
    """

    def __init__(self, client: SyncPrefectClient, installation: str, work: WorkFolder, since: datetime) -> None:
        self._client, self._work, self._since = client, work, since
        self._installation = installation

    def attempts(self, fingerprints: Iterable[str]) -> dict[str, Attempt]:
        """Return the state of the runs of these fingerprints, and of all that are active.

        A fingerprint that may be trained, or trained again, is left out.
        """
        states = {fingerprint: self._attempt(run) for fingerprint, run in self._newest(fingerprints).items()}
        states |= {str(run.parameters.get("fingerprint")): "running" for run in self.active()}
        return {fingerprint: attempt for fingerprint, attempt in states.items() if attempt is not None}

    def failures(self, attempts: Mapping[str, Attempt]) -> dict[str, str]:
        """Return why the failed ones of these fingerprints failed, in one line each."""
        failed = [fingerprint for fingerprint, attempt in attempts.items() if attempt == "failed"]
        newest = self._newest(failed) if failed else {}
        return {fingerprint: cause for fingerprint, run in newest.items() if (cause := _cause(run))}

    def active(self) -> list[FlowRun]:
        """Return the runs that are scheduled or running, without those that were killed."""
        states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        runs = self._read([], FlowRunFilterState(type=FlowRunFilterStateType(any_=states)))
        return [run for run in runs if not self._crash_if_abandoned(run)]

    def latest(self, fingerprints: Iterable[str]) -> dict[str, FlowRun]:
        """Return the newest run of each fingerprint that has one; a killed run has the state Crashed."""
        newest = self._newest(fingerprints)
        for run in newest.values():
            self._crash_if_abandoned(run)
        return newest

    def start(
        self, name: str, revision: str, fingerprint: str, retrain: str | None = None, *, again: bool = False
    ) -> FlowRun:
        """Schedule the training of a fingerprint: one run, however many processes call this.

        A crashed run is scheduled again; with `again`, a user's request, also one that failed or was cancelled.
        """
        run = self._newest([fingerprint]).get(fingerprint)
        if run is not None and self._attempt(run) == "running":
            return run
        dead = (StateType.CRASHED, StateType.FAILED, StateType.CANCELLED) if again else (StateType.CRASHED,)
        if run is not None and run.state_type in dead:
            retry: State[None] = AwaitingRetry(message="Resumes at the first unfinished task.")
            self._client.set_flow_run_state(run.id, retry, force=True)
            return self._client.read_flow_run(run.id)
        # The version of a completed run may have been deleted from the Hub; a new training then needs a new run.
        key = fingerprint if run is None else f"{fingerprint}/{run.id}"
        return self._client.create_flow_run_from_deployment(
            self._client.read_deployment_by_name(f"{TRAINING}/{TRAINING}").id,
            parameters={"name": name, "revision": revision, "fingerprint": fingerprint, "retrain": retrain},
            name=f"{name} {fingerprint[:8]}",
            tags=[f"concept:{name}", fingerprint_tag(fingerprint), installation_tag(self._installation)],
            idempotency_key=f"{self._installation}/{key}",
        )

    def _attempt(self, run: FlowRun) -> Attempt | None:
        self._crash_if_abandoned(run)
        if run.state_type == StateType.COMPLETED:
            return "running" if run.end_time is None or run.end_time > self._since else None
        if run.state_type == StateType.CRASHED:
            return None if run.run_count < MAX_RUNS else "failed"
        return "failed" if run.state_type in (StateType.FAILED, StateType.CANCELLED) else "running"

    def _crash_if_abandoned(self, run: FlowRun) -> bool:
        """Set CRASHED on a run whose process and runner were killed; return whether that is so."""
        if not self._is_abandoned(run):
            return False
        state: State[None] = Crashed(message="The process of this run was killed, and so was its runner.")
        self._client.set_flow_run_state(run.id, state, force=True)
        run.state, run.state_type, run.state_name = state, state.type, state.name
        return True

    def _is_abandoned(self, run: FlowRun) -> bool:
        if run.state is None:
            return False
        if run.state_type in (StateType.PENDING, StateType.CANCELLING):
            return now("UTC") - run.state.timestamp > MAX_PENDING
        fingerprint = str(run.parameters.get("fingerprint", ""))
        return run.state_type == StateType.RUNNING and RunFolder(self._work.run(fingerprint)).abandoned_by(str(run.id))

    def _newest(self, fingerprints: Iterable[str]) -> dict[str, FlowRun]:
        unique = sorted(set(fingerprints))
        newest: dict[str, FlowRun] = {}
        for start in range(0, len(unique), PAGE):
            tags = [fingerprint_tag(fingerprint) for fingerprint in unique[start : start + PAGE]]
            for run in self._read(tags):
                newest.setdefault(str(run.parameters.get("fingerprint")), run)
        return newest

    def _read(self, any_tag: list[str], state: FlowRunFilterState | None = None) -> list[FlowRun]:
        """Return this installation's runs with any of these tags, or all, in any state or that one; newest first."""
        tags = FlowRunFilterTags(all_=[installation_tag(self._installation)], any_=any_tag or None)
        which = FlowRunFilter(tags=tags, state=state)
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


def _cause(run: FlowRun) -> str:
    """Return the first line of why a run ended, without Prefect's words and the name of the concept."""
    lines = (run.state.message or "").splitlines() if run.state else []
    text = _PREFIX.sub("", lines[0]) if lines else ""
    return text.removeprefix(f"{run.parameters.get('name')}: ")


@contextmanager
def training_runs(installation: Installation, since: datetime | None = None) -> Iterator[TrainingRuns]:
    """Yield the training runs of the Prefect server in Prefect's settings."""
    with connected() as client:
        yield TrainingRuns(client, installation.id, installation.work, since or now("UTC"))


def skip_late(flow_name: str) -> None:
    """Set the late runs of a flow to Skipped: the run that calls this does their work.

    They accumulate while a worker is down or slow, and each would read the same state again.
    """
    late = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=now("UTC")),
    )
    skipped: State[None] = Completed(name="Skipped", message="A watch that started later read the same state.")
    with connected() as client:
        flow = FlowFilter(name=FlowFilterName(any_=[flow_name]))
        for run in client.read_flow_runs(flow_filter=flow, flow_run_filter=late, limit=PAGE):
            client.set_flow_run_state(run.id, skipped)
