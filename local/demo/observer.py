"""What really happened: the demo believes the Prefect server and the Hub, never its own script."""

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
from local.demo.console import StoryError
from local.servers import Stack
from tasks.hub import HubSession, list_live

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds until something that should have happened counts as not happened; a slow machine trains for minutes."""

_LOOK_EVERY = 1.0
_WATCHES = 3
_BAD = (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)


class Observer:
    """Looks at one embedded set-up from outside.

    Args:
        stack: the running servers.
        client: of the stack's Prefect server.
    """

    def __init__(self, stack: Stack, client: SyncPrefectClient) -> None:
        self._stack, self._client = stack, client
        self._hub = HubTarget(stack.setup.hub_endpoint, stack.setup.hub_owner)

    def until(
        self, look: Callable[[], T | None], what: str, status: Status, news: Callable[[], str] | None = None
    ) -> T:
        """Look until there is something to see, and return it.

        Args:
            look: returns None as long as there is nothing.
            what: what should happen, for the error.
            status: the spinner, whose text is replaced by `news`.
            news: what to tell meanwhile.

        Raises:
            StoryError: it did not happen in time, a training failed, or the watcher fails again and again.
            StackError: a server ended.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if (seen := look()) is not None:
                    return seen
                if news is not None:
                    status.update(news())
                self._no_run_may_fail()
                self._watcher_must_work()
            except (TransientError, PrefectHTTPStatusError):
                pass  # a busy server; the next look will do
            self._stack.check()
            if time.monotonic() > deadline:
                raise StoryError(
                    f"did not happen within {PATIENCE:.0f} s: {what}",
                    next_step=f"the logs are in {self._stack.folder.logs}",
                )
            time.sleep(_LOOK_EVERY)

    def concept(self, name: str) -> LiveConcept | None:
        """What the Hub holds of a concept, or None when it has never heard of it."""
        return list_live(HubSession(self._hub)).concepts.get(name)

    def version(self, name: str, number: int) -> Version | None:
        """One version of a concept, once it is published."""
        concept = self.concept(name)
        return next((v for v in concept.versions if v.number == number), None) if concept else None

    def serves(self, name: str, version: str) -> bool | None:
        """True once the Space of a concept says that it serves `version`, else None."""
        concept = self.concept(name)
        return True if concept and concept.space and concept.space.release == version else None

    def trainings(self, name: str | None = None) -> list[FlowRun]:
        """The runs of `train-concept`, the oldest first; of one concept when `name` is given."""
        runs = self._runs("train-concept", FlowRunSort.START_TIME_ASC, 50)
        return [run for run in runs if name is None or run.parameters.get("name") == name]

    def training(self, name: str) -> FlowRun | None:
        """The newest training of a concept that has been started."""
        return next(iter(reversed(self.trainings(name))), None)

    def looked_at(self, revision: str) -> bool | None:
        """True once the watcher has made a plan of this commit, else None."""
        plans = self._client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["plan"])),
            sort=ArtifactSort.CREATED_DESC,
            limit=20,
        )
        return True if any(revision[:12] in (plan.description or "") for plan in plans) else None

    def waiting(self, name: str) -> str | None:
        """Why a concept waits, in the words of the event that the watcher sent; None when it has sent none."""
        page = self._client.read_events(
            EventFilter(
                event=EventNameFilter(name=["conceptry.concept.waiting"]),
                resource=EventResourceFilter(id=[f"conceptry.concept.{name}"]),
            ),
            limit=1,
        )
        return str(page.events[0].payload.get("cause", "")) if page.events else None

    def news(self, names: Sequence[str]) -> str:
        """The latest line of the log of whichever of these concepts is being trained."""
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
        """One failed watch is made good by the next; several in a row will not be."""
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
