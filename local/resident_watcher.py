"""Watcher in the process of `conceptry up` or `conceptry worker`: the flow `watcher`, started whenever none works.

It takes no place of a worker's limit, so trainings that fill a worker do not stop it.
"""

import logging
import threading
from contextvars import copy_context

import httpx
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException, PrefectSignal
from prefect.flow_engine import run_flow
from prefect.states import Pending

from conceptry.errors import ConceptryError
from conceptry.installation import Installation
from flows.deployments import WATCHER, find_deployment
from flows.watcher import stop_of_context, watcher
from flows.watcher_runs import working_watcher
from tasks.locks import try_hold
from tasks.prefect_client import connected

AGAIN = 5.0
"""Seconds between two looks for a watcher that works."""


class ResidentWatcher:
    """Thread that runs the flow `watcher` unless another process does.

    Args:
        installation: Installation that it watches; the Prefect server has its deployments, or gets them later.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._stop = threading.Event()
        # With the settings of this context, which threads do not have by themselves.
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name="watcher", daemon=True)
        self._logger = logging.getLogger(__name__)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Stop after the current watch, or after `patience` seconds; the next watch completes an interrupted one."""
        self._stop.set()
        self._thread.join(patience)

    def _run(self) -> None:
        stop_of_context.set(self._stop)
        said = ""
        while not self._stop.is_set():
            try:
                self._watch()
                said = ""
            except (Exception, PrefectSignal) as error:
                passing = isinstance(error, (httpx.HTTPError, PrefectException, PrefectSignal, ConceptryError))
                if str(error) != said:
                    self._logger.warning("watching continues after: %s", error, exc_info=not passing)
                said = str(error)
            self._stop.wait(AGAIN)

    def _watch(self) -> None:
        pending: State[None] = Pending()  # no worker takes it
        with connected() as client, try_hold(self._installation.work.watcher_lock, "starting") as lock:
            deployment = find_deployment(client, self._installation, WATCHER)
            if lock is None or deployment.paused or working_watcher(client, self._installation):
                return
            run = client.create_flow_run_from_deployment(deployment.id, state=pending)
        run_flow(watcher, flow_run=run, parameters=run.parameters, return_type="state")
