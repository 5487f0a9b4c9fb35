"""Watcher: a run that lasts, looks at git and the Hub, and starts a watch only when there is something to do.

    every few seconds   the branch's head; if it has moved, a watch is started at once
    every minute, and   a look (flows/look.py): desired and live state, and the training runs
    when a training
    has ended
    twice a second      scheduled watches: those that a user or an event started
    every five minutes  runs that had nothing to do are deleted

It runs the watches in its own process, where all imports are done, so one starts within half a second. A look that
finds nothing leaves no run and no rows in Prefect's database.

One watcher of an installation works, see flows/watcher_runs.py. It rests while the deployment `watch` is paused, and
while all schedules of `watcher` are switched off, which is what Prefect's UI has a switch for; `conceptry up` gives it
none.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException, PrefectSignal
from prefect.flow_engine import run_flow
from prefect.runtime import flow_run
from prefect.states import Completed, Pending

from conceptry.errors import ConceptryError, RateLimitedError
from conceptry.installation import Installation
from flows.current_installation import current_installation
from flows.deployments import WATCH, WATCHER, find_deployment
from flows.keep_alive import keep_alive, place_of
from flows.look import Work, look
from flows.skipped_runs import SKIPPED, delete_skipped
from flows.training_runs import count_active
from flows.watch import watch
from flows.watcher_runs import must_end, note_look, working_watcher
from tasks import git
from tasks.locks import run_id, try_hold
from tasks.prefect_client import connected

LOOK_FOR_RUNS = 0.5
"""Seconds between two requests for scheduled watches."""
LOOK_AT_LOCAL_GIT = 0.25
"""Seconds between two reads of a local origin; the interval for a remote origin is a setting."""
LOOK_AT_TRAININGS = 5.0
"""Seconds between two counts of the active training runs."""
DELETE_SKIPPED = 300.0
"""Seconds between two deletions of runs that had nothing to do."""
LOOK_AT_SWITCHES = 10.0
"""Seconds between two requests whether it is switched off, or has to end."""
AGAIN = 5.0
"""Seconds until it continues after an error, or asks again whether `watch` is paused."""
LONGEST, LONGEST_URGENT = 900.0, 60.0
"""Longest pauses, in seconds, between watches that leave the same undone."""
stop_of_context: ContextVar[threading.Event | None] = ContextVar("stops the watcher of this context", default=None)
_logger = logging.getLogger("conceptry.watcher")


@flow(name=WATCHER, flow_run_name=lambda: f"on {socket.gethostname()}")
def watcher(every: float = 60.0) -> State[Any]:
    """Look at git and the Hub until the run is cancelled; end at once if another watcher of this installation works.

    Args:
        every: Seconds between two looks.
    """
    installation, own = current_installation(), UUID(str(flow_run.id))
    with try_hold(installation.work.watcher_lock, run_id()) as lock, connected() as client:
        other = "A run on this machine" if lock is None else working_watcher(client, installation, own)
        if other:
            return Completed(name=SKIPPED, message=f"{other} watches already.")
        stop = stop_of_context.get() or threading.Event()
        with keep_alive(own, place_of(installation.work.root), end=stop.set):
            Watcher(installation, client, own, every).work(stop)
    return Completed(message="Stopped.")


class Undone:
    """Pauses between watches that leave the same undone, each twice as long as the one before.

    Args:
        first: Seconds of the first pause.
    """

    def __init__(self, first: float) -> None:
        self._first, self._pause, self._key, self._until = first, 0.0, "", 0.0

    def may_start(self, work: Work) -> bool:
        """Whether a watch for this may start now; the caller then starts it."""
        if work.key == self._key and time.monotonic() < self._until:
            return False
        longest = LONGEST_URGENT if work.urgent else LONGEST
        self._pause = min(2 * self._pause, longest) if work.key == self._key else self._first
        self._key, self._until = work.key, time.monotonic() + self._pause
        return True


class Watcher:
    """The work of one watcher.

    Args:
        installation: Installation that it watches.
        client: Client of the Prefect server.
        own: Its run.
        every: Seconds between two looks.
    """

    def __init__(self, installation: Installation, client: SyncPrefectClient, own: UUID, every: float) -> None:
        self._installation, self._client, self._own, self._every = installation, client, own, every
        repo = installation.settings.repo
        patience = LOOK_AT_LOCAL_GIT if git.is_local(repo) else installation.settings.poll_seconds
        self._turns: tuple[tuple[float, Callable[[UUID], None]], ...] = (
            (patience, self._read_head),
            (LOOK_FOR_RUNS, self._take_scheduled),
            (LOOK_AT_TRAININGS, self._look_if_training_ended),
            (every, self._look),
            (DELETE_SKIPPED, lambda _: delete_skipped(self._client, self._installation)),
        )
        self._due = [0.0] * len(self._turns)
        self._undone = Undone(every)
        self._training = 0
        self._head: str | None = None
        self._limited = ""
        self._rests = False

    def work(self, stop: threading.Event) -> None:
        """Look, and run watches, until `stop` is set, the run was ended on the server, or an older watcher works."""
        while not stop.is_set():
            try:
                if must_end(self._client, self._installation, self._own):
                    return
                deployment = find_deployment(self._client, self._installation, WATCH)
                rests = deployment.paused or self._is_switched_off()
                if rests != self._rests:
                    self._rests = rests
                    _logger.info("the watcher %s", "rests: it is switched off" if rests else "works again")
                if rests:
                    stop.wait(AGAIN)
                else:
                    self._work_for(min(self._every, LOOK_AT_SWITCHES), deployment.id, stop)
            except (Exception, PrefectSignal) as error:
                passing = isinstance(error, (httpx.HTTPError, PrefectException, PrefectSignal, ConceptryError))
                _logger.warning("watching continues after: %s", error, exc_info=not passing)
                stop.wait(AGAIN)

    def _is_switched_off(self) -> bool:
        """Whether a user has switched off all schedules of the watcher."""
        schedules = find_deployment(self._client, self._installation, WATCHER).schedules
        return bool(schedules) and not any(schedule.active for schedule in schedules)

    def _work_for(self, seconds: float, deployment: UUID, stop: threading.Event) -> None:
        until = time.monotonic() + seconds
        while not stop.is_set() and time.monotonic() < until:
            for index, (every, turn) in enumerate(self._turns):
                if time.monotonic() >= self._due[index]:
                    self._due[index] = time.monotonic() + every
                    turn(deployment)
            stop.wait(max(0.05, min(self._due) - time.monotonic()))

    def _read_head(self, deployment: UUID) -> None:
        settings = self._installation.settings
        try:
            head = git.remote_head(settings.repo, settings.branch, login=settings.repo_login)
        except ConceptryError as error:
            _logger.warning("%s", error)
            return
        before, self._head = self._head, head
        # What it was before this watcher is unknown; its first look compares all.
        if None not in (before, head) and head != before:
            self._watch(deployment, f"pushed {str(head)[:8]}")

    def _take_scheduled(self, deployment: UUID) -> None:
        moment = datetime.now(UTC)
        due = self._client.get_scheduled_flow_runs_for_deployments([deployment], scheduled_before=moment, limit=10)
        if not due:
            return
        # One watch reads the complete state and skips the other late ones.
        latest = max(due, key=lambda run: run.expected_start_time or moment).id
        pending: State[None] = Pending()
        answer = self._client.set_flow_run_state(latest, pending)
        if answer.state is not None and answer.state.is_pending():
            self._run(latest)

    def _look_if_training_ended(self, deployment: UUID) -> None:
        before = self._training
        self._training = count_active(self._client, self._installation)
        if self._training < before:
            self._look(deployment)

    def _look(self, deployment: UUID) -> None:
        try:
            work = look(self._installation)
        except RateLimitedError as error:
            # A watch would be refused, too; the next look that is not finds the same difference.
            if str(error) != self._limited:
                _logger.warning("%s", error)
            self._limited = str(error)
            return
        except ConceptryError as error:
            # A watch shows the error to the users of Prefect.
            work = Work("cannot look", str(error))
        else:
            self._limited = ""
            note_look(self._client, self._own)
        if work is not None and self._undone.may_start(work):
            self._watch(deployment, work.title)

    def _watch(self, deployment: UUID, name: str) -> None:
        pending: State[None] = Pending()  # no worker takes it
        self._run(self._client.create_flow_run_from_deployment(deployment, name=name, state=pending).id)

    def _run(self, run: UUID) -> None:
        current = self._client.read_flow_run(run)
        # In a context of its own: this run's must not become the parent of the watch's tasks.
        copy_context().run(run_flow, watch, flow_run=current, parameters=current.parameters, return_type="state")
