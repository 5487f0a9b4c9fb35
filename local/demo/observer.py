"""Observation of the demo's results on the Prefect server and on the Hub."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowFilter,
    FlowFilterName,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort, LogSort
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.exceptions import PrefectHTTPStatusError
from rich.status import Status

from conceptry.errors import TransientError
from conceptry.installation import HubTarget
from conceptry.version import LiveConcept, Version
from local.demo.story_console import StoryError
from local.servers import Stack
from tasks.hub import HubSession, list_live

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds after which an expectation fails; a slow machine trains for minutes."""

_LOOK_EVERY = 1.0
_WATCHES = 3
_BAD = (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


class Observer:
    """Observer of an embedded set-up from outside.

    Args:
        stack: The running servers.
        client: Client of the stack's Prefect server.
    """

    def __init__(self, stack: Stack, client: SyncPrefectClient) -> None:
        self._stack, self._client = stack, client
        self._hub = HubTarget(stack.setup.hub_endpoint, stack.setup.hub_owner)

    def until(
        self, read: Callable[[], T | None], what: str, status: Status, progress: Callable[[], str] | None = None
    ) -> T:
        """Poll until `read` returns a value, and return it.

        Args:
            read: Returns None until the expectation is met.
            what: The expectation, for the error.
            status: Spinner, whose text is replaced by `progress`.
            progress: Returns a line on the current progress.

        Raises:
            StoryError: the expectation was not met in time, a training failed, or the watcher failed repeatedly.
            StackError: a server ended.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if (seen := read()) is not None:
                    return seen
                if progress is not None:
                    status.update(progress())
                self._no_run_may_fail()
                self._watcher_must_work()
            except (TransientError, PrefectHTTPStatusError):
                pass  # a busy server; the next attempt will succeed
            self._stack.check()
            if time.monotonic() > deadline:
                raise StoryError(
                    f"did not happen within {PATIENCE:.0f} s: {what}",
                    next_step=f"the logs are in {self._stack.folder.logs}",
                )
            time.sleep(_LOOK_EVERY)

    def concept(self, name: str) -> LiveConcept | None:
        """Return the live state of a concept; None if the Hub has none."""
        return list_live(HubSession(self._hub)).concepts.get(name)

    def version(self, name: str, number: int) -> Version | None:
        """Return a version of a concept; None until it is published."""
        concept = self.concept(name)
        return next((v for v in concept.versions if v.number == number), None) if concept else None

    def serves(self, name: str, version: str) -> bool | None:
        """Return True once the stamp of a concept's Space names `version`, else None."""
        concept = self.concept(name)
        return True if concept and concept.space and concept.space.release == version else None

    def trainings(self, name: str | None = None) -> list[FlowRun]:
        """Return the runs of `train-concept`, the oldest first; those of one concept if `name` is given."""
        runs = self._runs("train-concept", FlowRunSort.START_TIME_ASC, 50)
        return [run for run in runs if name is None or run.parameters.get("name") == name]

    def training(self, name: str) -> FlowRun | None:
        """Return the newest training run of a concept; None until one exists."""
        return next(iter(reversed(self.trainings(name))), None)

    def planned(self, revision: str) -> bool | None:
        """Return True once the watcher has made a plan of this commit, else None."""
        plans = self._client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["plan"])),
            sort=ArtifactSort.CREATED_DESC,
            limit=20,
        )
        return True if any(revision[:12] in (plan.description or "") for plan in plans) else None

    def waiting(self, name: str) -> str | None:
        """Return why a concept waits, in the words of the watcher's event; None until it was emitted."""
        page = self._client.read_events(
            EventFilter(
                event=EventNameFilter(name=["conceptry.concept.waiting"]),
                resource=EventResourceFilter(id=[f"conceptry.concept.{name}"]),
            ),
            limit=1,
        )
        return str(page.events[0].payload.get("cause", "")) if page.events else None

    def progress(self, names: Sequence[str]) -> str:
        """Return the latest log line of a running training of these concepts."""
        for name in names:
            run = self.training(name)
            if run is None or run.state_type not in (StateType.RUNNING, StateType.PENDING):
                continue
            logs = self._client.read_logs(
                log_filter=LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])),
                sort=LogSort.TIMESTAMP_DESC,
                limit=1,
            )
            text = logs[0].message.splitlines()[0] if logs else str(run.state_name)
            return f"{name}: {text[:90]}"
        return "waiting for the watcher"

    def _runs(self, flow: str, sort: FlowRunSort, limit: int) -> list[FlowRun]:
        return self._client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])), sort=sort, limit=limit
        )

    def _watcher_must_work(self) -> None:
        """Raise StoryError after several failed watches in a row; a single one is repeated by the next."""
        last = [run for run in self._runs("watch", FlowRunSort.END_TIME_DESC, _WATCHES) if run.end_time]
        if len(last) == _WATCHES and all(run.state_type in _BAD for run in last):
            raise StoryError(
                f"the watcher failed {_WATCHES} times in a row: {last[0].state.message if last[0].state else ''}",
                next_step=f"see {self._stack.folder.logs / 'flows.log'}",
            )

    def _no_run_may_fail(self) -> None:
        for run in self.trainings():
            if run.state_type in _BAD:
                reason = run.state.message if run.state else ""
                fingerprint = str(run.parameters.get("fingerprint"))
                raise StoryError(
                    f"run {run.name} ended as {run.state_name}: {reason}",
                    concept=str(run.parameters.get("name")),
                    next_step=f"see {self._stack.folder.work / 'runs' / fingerprint / 'trainer.log'}, "
                    f"{self._stack.folder.logs / 'flows.log'}, and `conceptry up --root {self._stack.folder.root}`",
                )
