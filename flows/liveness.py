"""Liveness of training runs: which of those that the Prefect server calls active have lost their process.

    state         evidence of life                                     after the deadline
    RUNNING       its process renews it (flows/keep_alive.py)          Crashed; the watcher schedules it again
    PENDING       none: a machine may have to start first              Crashed; the watcher schedules it again
    CANCELLING    renewals, while its process ends what it started     Cancelled

A deadline is compared with the server's clock alone. A run that is past its deadline may only have been silent because
the server was away, so it is observed for a while before it counts as lost: a process renews its run within seconds
after the server is back. A run whose process this machine itself can see to be dead or alive needs no deadline.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Crashed

from conceptry.work_folder import WorkFolder
from flows.keep_alive import PLACE, STATE, place_of
from tasks.prefect_client import server_time
from tasks.run_folder import RunFolder


@dataclass(frozen=True)
class Deadlines:
    """Time after which silence counts.

    Attributes:
        running: Since the last renewal of a running run.
        pending: Since a run was handed to a worker, until its process reports; a node pool may have to scale up.
        cancelling: Since the last renewal of a run that is being cancelled.
        observed: Time for which a silent run is observed before it counts as lost.
    """

    running: timedelta = timedelta(seconds=75)
    pending: timedelta = timedelta(minutes=20)
    cancelling: timedelta = timedelta(minutes=3)
    observed: timedelta = timedelta(seconds=20)

    def of(self, state: StateType | None) -> timedelta | None:
        """Return the deadline of a state; None for a state that needs no sign of life."""
        by_state = {
            StateType.RUNNING: self.running,
            StateType.PENDING: self.pending,
            StateType.CANCELLING: self.cancelling,
        }
        return by_state.get(state) if state else None


@dataclass(frozen=True)
class Loss:
    """A run whose process was lost, with the state that it was set to.

    `host` is whether its machine is lost, too, or cannot reach the server: it gave no sign of life.
    """

    run: FlowRun
    words: str
    host: bool = False


class Liveness:
    """Judge of runs of one Prefect server.

    Args:
        client: Client of the server.
        work: Scratch folder of this machine.
        deadlines: Time after which silence counts.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        client: SyncPrefectClient,
        work: WorkFolder,
        deadlines: Deadlines,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._work, self._deadlines, self._pause = client, work, deadlines, pause

    def settle(self, runs: Iterable[FlowRun]) -> list[Loss]:
        """End the lost ones of these runs on the server, and return them; each run is updated to its new state.

        A run's state is changed only if it is still what was read.
        """
        suspects = {run.id: run for run in self._past_deadline(runs)}
        dead = [run for run in suspects.values() if self._dead_here(run)]
        silent = [run for run in suspects.values() if run not in dead]
        return [loss for run in [*dead, *self._observe(silent)] if (loss := self._end(run))]

    def _past_deadline(self, runs: Iterable[FlowRun]) -> list[FlowRun]:
        moment: datetime | None = None
        found = []
        for run in runs:
            deadline = self._deadlines.of(run.state_type)
            if deadline is None or self._alive_here(run):
                continue
            if not self._dead_here(run):
                moment = moment or server_time(self._client)
                if run.updated is None or moment - run.updated <= deadline:
                    continue
            found.append(run)
        return found

    def _folder(self, run: FlowRun) -> RunFolder:
        return RunFolder(self._work.run(str(run.parameters.get("fingerprint", ""))))

    def _alive_here(self, run: FlowRun) -> bool:
        """Whether a process of this machine holds the run's folder."""
        return run.state_type is StateType.RUNNING and self._folder(run).holder() == str(run.id)

    def _dead_here(self, run: FlowRun) -> bool:
        """Whether the run's process ran on this machine and was killed, which the kernel shows at once."""
        if run.state is None or run.state_type is not StateType.RUNNING or run.labels.get(STATE) != str(run.state.id):
            return False
        here = run.labels.get(PLACE) == place_of(self._work.root)
        return here and self._folder(run).abandoned_by(str(run.id))

    def _observe(self, silent: list[FlowRun]) -> list[FlowRun]:
        """Observe runs for a while, and return those that gave no sign of life."""
        left, since = silent, time.monotonic()
        while left and time.monotonic() - since < self._deadlines.observed.total_seconds():
            self._pause(min(2.0, self._deadlines.observed.total_seconds()))
            current = self._read([run.id for run in left])
            left = [run for run in left if run.id in current and _unchanged(run, current[run.id])]
        return left

    def _end(self, run: FlowRun) -> Loss | None:
        """Set the final state of a lost run, unless the run has changed since it was read."""
        current = self._read([run.id]).get(run.id)
        if current is None or not _unchanged(run, current):
            return None
        place = run.labels.get(PLACE)
        host = run.state_type is StateType.RUNNING and place not in (None, place_of(self._work.root))
        words = f"The process of this run on {run.labels.get(PLACE, 'an unknown machine')} gives no sign of life."
        if run.state_type is StateType.PENDING:
            words = "No process of this run was started in time."
        state: State[Any] = Crashed(message=words)
        if run.state_type is StateType.CANCELLING:
            state = Cancelled(message="Its process has ended.")
        answer = self._client.set_flow_run_state(run.id, state)
        if answer.state is None or answer.state.type is not state.type:
            return None
        run.state, run.state_type, run.state_name = answer.state, answer.state.type, answer.state.name
        return Loss(run, words, host)

    def _read(self, ids: list[UUID]) -> dict[UUID, FlowRun]:
        which = FlowRunFilter(id=FlowRunFilterId(any_=ids))
        return {run.id: run for run in self._client.read_flow_runs(flow_run_filter=which, limit=len(ids))}


def _unchanged(before: FlowRun, after: FlowRun) -> bool:
    same_state = before.state is not None and after.state is not None and before.state.id == after.state.id
    return same_state and before.updated == after.updated
