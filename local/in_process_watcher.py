"""Watcher inside the serving process.

A runner starts a process for every run, whose imports take seconds. In this process the imports are done already: a
watch starts within half a second of being scheduled or triggered and takes one second, not ten.

Between two watches only the branch's head is read from the origin; if it has moved, a watch is scheduled at once. A
push is therefore noticed within seconds without a hook or webhook, and Prefect's UI is not flooded with runs that found
no change.
"""

import logging
import threading
import time
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException, PrefectSignal
from prefect.flow_engine import run_flow
from prefect.states import Pending
from prefect.types._datetime import now

from conceptry.errors import ConceptryError
from conceptry.installation import Installation
from flows.watch import watch
from tasks import git
from tasks.prefect_client import connected

LOOK_FOR_RUNS = 0.5
LOOK_AT_LOCAL_GIT = 0.25
"""Seconds between two reads of a local origin; the interval for a remote origin is a setting."""


class InProcessWatcher:
    """Runner of the watches of one deployment in a thread of this process.

    Args:
        deployment: The deployment `watch` on the Prefect server.
        installation: Installation, for the origin.
    """

    def __init__(self, deployment: UUID, installation: Installation) -> None:
        self._deployment, self._settings = deployment, installation.settings
        self._head: str | None = None
        self._next_look = self._next_runs = 0.0
        self._patience = LOOK_AT_LOCAL_GIT if git.is_local(self._settings.repo) else self._settings.poll_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._logger = logging.getLogger(__name__)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Stop after the current watch, or after `patience` seconds; the next watch completes an interrupted one."""
        self._stop.set()
        self._thread.join(patience)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connected() as client:
                    while not self._stop.wait(min(LOOK_FOR_RUNS, self._patience)):
                        self._turn(client)
            except (Exception, PrefectSignal) as error:
                passing = isinstance(error, (httpx.HTTPError, PrefectException, PrefectSignal))
                self._logger.warning("watching continues after: %s", error, exc_info=not passing)
                self._stop.wait(self._settings.poll_seconds)

    def _turn(self, client: SyncPrefectClient) -> None:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + self._patience
            if self._git_moved():
                client.create_flow_run_from_deployment(self._deployment, name=f"pushed {str(self._head)[:8]}")
                self._next_runs = 0.0
        if time.monotonic() < self._next_runs:
            return
        self._next_runs = time.monotonic() + LOOK_FOR_RUNS
        due = client.get_scheduled_flow_runs_for_deployments([self._deployment], scheduled_before=now("UTC"), limit=10)
        if due:
            # One watch reads the complete state and skips the other late ones.
            self._watch(client, max(due, key=lambda run: run.expected_start_time or now("UTC")).id)

    def _git_moved(self) -> bool:
        try:
            head = git.remote_head(self._settings.repo, self._settings.branch, login=self._settings.repo_login)
        except ConceptryError as error:
            self._logger.warning("%s", error)
            return False
        before, self._head = self._head, head
        return head is not None and head != before

    def _watch(self, client: SyncPrefectClient, flow_run: UUID) -> None:
        pending: State[None] = Pending()
        answer = client.set_flow_run_state(flow_run, pending)
        if answer.state is not None and answer.state.is_pending():
            run = client.read_flow_run(flow_run)
            run_flow(watch, flow_run=run, parameters=run.parameters, return_type="state")
