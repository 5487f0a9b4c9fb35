"""Sign of life of a training run, which its process renews on the Prefect server every few seconds.

The server stamps each renewal with its own clock (`FlowRun.updated`), so neither the clocks of the machines matter nor
files that only one of them sees. `flows/liveness.py` reads it.

The same thread sees that a user has cancelled the run. Usually the runner or worker ends the process before; after an
outage of the server they no longer notice.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from tasks.prefect_client import SERVER_ERRORS, connected

PLACE, STATE = "conceptry.place", "conceptry.state"
"""Labels of a run: machine and scratch folder of the process that works on it, and the state that it works in."""
EVERY = 15.0
"""Seconds between two renewals."""
AGAIN = 2.0
"""Seconds until the next attempt after a failed one, so that a run is seen soon after an outage of the server."""
PATIENCE = 2
"""Renewals for which a cancelled run waits to be ended by its runner or worker before it ends itself."""
_logger = logging.getLogger(__name__)


def place_of(work: Path) -> str:
    """Return the machine and the scratch folder of this process, as the label PLACE holds them."""
    return f"{socket.gethostname()}:{work}"


def end_process() -> None:
    """End this process as its runner or worker would."""
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def keep_alive(run: UUID, place: str, *, every: float = EVERY, end: Callable[[], None] = end_process) -> Iterator[None]:
    """Renew a run's sign of life while the block runs, in a thread; a failure to do so never ends the block.

    Args:
        run: The flow run.
        place: Result of `place_of`.
        every: Seconds between two renewals.
        end: Called once if a user has cancelled the run and nobody else ended it.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_renew, args=(run, place, every, stop, end), name="sign of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Not joined: a request to a server that is away may take seconds, and the thread dies with the process.
        stop.set()


def _renew(run: UUID, place: str, every: float, stop: threading.Event, end: Callable[[], None]) -> None:
    # The client's own retries pause for up to half a minute, in which the run would be taken for lost.
    patience = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 10.0}
    with temporary_settings(updates=patience), connected() as client:
        away, cancelling = False, 0
        while not stop.is_set():
            try:
                current = client.read_flow_run(run)
                # With the state: the place of an attempt that was killed must not count for the next one.
                state = str(current.state.id) if current.state else ""
                client.update_flow_run_labels(run, {PLACE: place, STATE: state})
                cancelling = cancelling + 1 if _is_cancelling(current) else 0
                if cancelling == PATIENCE:
                    end()
            except SERVER_ERRORS as error:
                if not away:
                    _logger.warning("the Prefect server does not respond (%s); the run goes on", error)
                away = True
                stop.wait(AGAIN)
            else:
                away = False
                stop.wait(every)


def _is_cancelling(run: FlowRun) -> bool:
    """Whether a user cancelled the run; one without a deployment is part of another process, which is not ended."""
    return run.state_type is StateType.CANCELLING and run.deployment_id is not None
