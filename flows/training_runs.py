"""Training runs on the Prefect server: one run per fingerprint, found by its tag.

    running       scheduled, pending or running                            -> no action
    interrupted   its process was lost (flows/liveness.py), it crashed,    -> the watcher schedules the same run again,
                  or an error that passes ended it                            after an error with increasing pauses
    failed        ended by an error, cancelled by the user, or             -> hold until the user retries the run
                  interrupted too often since a user started it

A run keeps its id through every retry, so that a retry finds its finished tasks.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID, uuid5

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry, Scheduled

from conceptry.actions import Attempt
from conceptry.errors import moment_in
from conceptry.installation import Installation
from conceptry.reasons import ActionReason
from conceptry.retraining import Failure
from flows.deployments import TRAINING, find_deployment, installation_tag
from flows.liveness import Deadlines, Liveness
from flows.training_places import training_places
from flows.training_states import INTERRUPTED, RESUMED, TRIED_AGAIN, cause_of, failure_of, waits_of
from tasks.events import emit
from tasks.prefect_client import connected, server_time

MAX_RESUMED = 3
"""How often a crashed run is scheduled again."""
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 30, *[60] * 24))
"""Pauses before each new attempt after an error that passes: more than a day in total."""
LONGEST = timedelta(hours=6)
"""Longest time that an answer of the Hub adds to a pause."""
PAGE = 100
ACTIVE = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
)


def fingerprint_tag(fingerprint: str) -> str:
    """Return the tag by which the run of a fingerprint is found."""
    return f"fingerprint:{fingerprint}"


class TrainingRuns:
    """Training runs of a Prefect server.

    Args:
        client: Client of the Prefect server.
        installation: Runs of others on the same server, and of other deployments, are not seen.
        since: Moment, by the server's clock, before the caller read the Hub; runs that completed later count as
            running.
        liveness: Judge of active runs, which ends lost ones; None leaves them as they are.
    """

    def __init__(
        self, client: SyncPrefectClient, installation: Installation, since: datetime, liveness: Liveness | None = None
    ) -> None:
        self._client, self._installation, self._since = client, installation, since
        self._suffix = installation.settings.deployment_suffix
        self._liveness = liveness
        self._seen: dict[str, FlowRun] = {}
        self._known: dict[str, FlowRun] = {}

    def attempts(self, fingerprints: Iterable[str]) -> dict[str, Attempt]:
        """Return the state of the runs of these fingerprints, and of all that are active.

        A fingerprint that may be trained is left out.
        """
        self._seen = active = {str(run.parameters.get("fingerprint")): run for run in self.active()}
        self._known = self._newest(fingerprints)
        states = {fingerprint: self._attempt(run) for fingerprint, run in self._known.items()}
        states |= dict.fromkeys(active, "running")
        return {fingerprint: attempt for fingerprint, attempt in states.items() if attempt is not None}

    def places(self) -> int:
        """Return how many trainings run at the same time, over all workers."""
        return training_places(self._client, self._installation)

    def words(self, attempts: Mapping[str, Attempt]) -> dict[str, str]:
        """Return, in one line for each fingerprint, why its run failed, or when and why it is tried again."""
        failed = [fingerprint for fingerprint, attempt in attempts.items() if attempt == "failed"]
        newest = self._newest(failed) if failed else {}
        words = {fingerprint: cause for fingerprint, run in newest.items() if (cause := cause_of(run))}
        return words | {fingerprint: when for fingerprint, run in self._seen.items() if (when := waits_of(run))}

    def failures(self, attempts: Mapping[str, Attempt]) -> dict[str, Failure]:
        """Return when and how the runs of the last `attempts` failed, by fingerprint."""
        failed = (self._known[fingerprint] for fingerprint, attempt in attempts.items() if attempt == "failed")
        return {str(run.parameters.get("fingerprint")): failure_of(run) for run in failed}

    def active(self) -> list[FlowRun]:
        """Return the runs that are scheduled or running; runs that lost their process are ended and left out."""
        runs = self._read([], ACTIVE)
        if self._liveness is None:
            return runs
        lost = {loss.run.id: loss for loss in self._liveness.settle(runs)}
        for loss in lost.values():
            name, words = str(loss.run.parameters.get("name")), loss.words
            state, reason = loss.run.state_name, ActionReason.TRAINING_INTERRUPTED
            told = {"run": str(loss.run.id), "state": state, "reason": reason, "cause": words}
            emit(name, "interrupted", **told)
            if loss.host:
                emit(name, "host-lost", **told)
        return [run for run in runs if run.id not in lost]

    @property
    def client(self) -> SyncPrefectClient:
        """Client of the server."""
        return self._client

    def of_concept(self, name: str) -> list[FlowRun]:
        """Return the runs of a concept, the newest first."""
        return self._read([f"concept:{name}"])

    def latest(self, fingerprints: Iterable[str]) -> dict[str, FlowRun]:
        """Return the newest run of each fingerprint that has one."""
        return self._newest(fingerprints)

    def server_time(self) -> datetime:
        """Return the clock of the Prefect server."""
        return server_time(self._client)

    def start(
        self,
        name: str,
        revision: str,
        fingerprint: str,
        retrain: str | None = None,
        *,
        again: bool = False,
        cause: ActionReason | None = None,
    ) -> FlowRun:
        """Schedule the training of a fingerprint: one run, however many processes call this; `cause` becomes a tag.

        An interrupted run is scheduled again; with `again`, a user's request, also one that failed or was cancelled. At
        another revision that becomes a new run, because keys that are in no fingerprint may have been corrected, for
        example gate.min_clip_gain; it finds the finished steps in the run's folder.
        """
        run = self._newest([fingerprint]).get(fingerprint)
        if run is not None and self._attempt(run) == "running":
            return run
        moved = again and run is not None and run.parameters.get("revision") != revision
        retry = None if run is None or moved else self._retry(run, again=again)
        if run is not None and run.state is not None and retry is not None:
            # Two watches that read the same state make one transition of it.
            retry.state_details.transition_id = uuid5(run.state.id, "retry")
            current = self._client.read_flow_run(run.id).state
            if current is not None and current.id == run.state.id:
                self._client.set_flow_run_state(run.id, retry)
            return self._client.read_flow_run(run.id)
        # The version of a completed run may have been deleted from the Hub; a new training then needs a new run.
        key = fingerprint if run is None else f"{fingerprint}/{run.id}"
        moment = self.server_time()
        parameters, title, tags = self.identity(name, revision, fingerprint, retrain)
        return self._client.create_flow_run_from_deployment(
            find_deployment(self._client, self._installation, TRAINING).id,
            state=Scheduled(scheduled_time=moment, timestamp=moment),
            parameters=parameters,
            name=title,
            tags=[*tags, f"cause:{cause}"] if cause else tags,
            idempotency_key=f"{self._installation.id}{self._suffix}/{key}",
        )

    def identity(
        self, name: str, revision: str, fingerprint: str, retrain: str | None = None
    ) -> tuple[dict[str, Any], str, list[str]]:
        """Return parameters, name and tags of the run of a training."""
        parameters = {"name": name, "revision": revision, "fingerprint": fingerprint, "retrain": retrain}
        tags = [f"concept:{name}", fingerprint_tag(fingerprint), installation_tag(self._installation.id)]
        return parameters, f"{name} {fingerprint[:8]}", tags

    def _retry(self, run: FlowRun, *, again: bool) -> State[None] | None:
        """Return the state in which a run is tried again; None if it has no end that allows it."""
        if again and run.state_type in (StateType.CRASHED, StateType.FAILED, StateType.CANCELLED):
            return _awaiting("Retried by a user.", self.server_time())
        return self._next_state(run)

    def _attempt(self, run: FlowRun) -> Attempt | None:
        if run.state_type == StateType.COMPLETED:
            # `end_time` is what the clock of the run's machine said; this is the server's.
            return "running" if run.updated is None or run.updated > self._since else None
        if run.state_type in (StateType.CRASHED, StateType.FAILED):
            return "interrupted" if self._next_state(run) else "failed"
        return "failed" if run.state_type == StateType.CANCELLED else "running"

    def _next_state(self, run: FlowRun) -> State[None] | None:
        """Return the state in which an interrupted run is resumed; None if it failed, or was interrupted too often."""
        crashed = run.state_type == StateType.CRASHED
        if run.state is None or not (crashed or run.state_name == INTERRUPTED):
            return None
        often = self._resumed(run.id, RESUMED if crashed else TRIED_AGAIN)
        if often is None or often >= (MAX_RESUMED if crashed else len(PAUSES)):
            return None
        moment = self.server_time()
        if crashed:
            return _awaiting(RESUMED, moment)
        when = moment + PAUSES[often]
        said = moment_in(run.state.message or "")
        if said is not None:
            when = max(when, min(said, when + LONGEST))
        return _awaiting(f"{TRIED_AGAIN}{run.state.message}", moment, when)

    def _resumed(self, run: UUID, message: str) -> int | None:
        """Return how often the watcher resumed a run with a message since a user started or retried it.

        Returns None if a user cancelled it, and it crashed while it ended.
        """
        count, cancelled = 0, False
        for state in sorted(self._client.read_flow_run_states(run), key=lambda state: state.timestamp):
            if state.type is StateType.SCHEDULED:
                said, cancelled = state.message or "", False
                ours = said.startswith((RESUMED, TRIED_AGAIN))
                count = count + said.startswith(message) if ours else 0
            cancelled = cancelled or state.type is StateType.CANCELLING
        return None if cancelled else count

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
        filters = _filters(self._installation, any_tag, state)
        runs: list[FlowRun] = []
        while True:
            sort = FlowRunSort.EXPECTED_START_TIME_DESC
            page = self._client.read_flow_runs(**filters, sort=sort, limit=PAGE, offset=len(runs))
            runs += page
            if len(page) < PAGE:
                return runs


def count_active(client: SyncPrefectClient, installation: Installation) -> int:
    """Return how many training runs of an installation have not ended."""
    return client.count_flow_runs(**_filters(installation, [], ACTIVE))


class _Filters(TypedDict):
    flow_filter: FlowFilter
    deployment_filter: DeploymentFilter
    flow_run_filter: FlowRunFilter


def _filters(installation: Installation, any_tag: list[str], state: FlowRunFilterState | None) -> _Filters:
    """Return the filters for an installation's runs with any of these tags, or all, in any state or that one."""
    tags = FlowRunFilterTags(all_=[installation_tag(installation.id)], any_=any_tag or None)
    name = TRAINING + installation.settings.deployment_suffix
    return {
        "flow_filter": FlowFilter(name=FlowFilterName(any_=[TRAINING])),
        "deployment_filter": DeploymentFilter(name=DeploymentFilterName(any_=[name])),
        "flow_run_filter": FlowRunFilter(tags=tags, state=state),
    }


def _awaiting(message: str, moment: datetime, when: datetime | None = None) -> State[None]:
    """Return the state, made at a moment, of a run that is tried again then or later."""
    return AwaitingRetry(message=message, scheduled_time=when or moment, timestamp=moment)


@contextmanager
def training_runs(
    installation: Installation,
    since: datetime | None = None,
    *,
    settle: bool = False,
    deadlines: Deadlines | None = None,
) -> Iterator[TrainingRuns]:
    """Yield the training runs of the Prefect server in Prefect's settings.

    Args:
        installation: Installation whose runs are meant.
        since: Moment, by the server's clock, before the caller read the Hub; now, if left out.
        settle: Whether to end runs that lost their process, which only flows do.
        deadlines: Time after which silence counts; the setting `start_minutes` and the defaults, if left out.
    """
    start = timedelta(minutes=installation.settings.start_minutes)
    with connected() as client:
        judge = Liveness(client, installation.work, deadlines or replace(Deadlines(), pending=start))
        yield TrainingRuns(client, installation, since or server_time(client), judge if settle else None)
