"""Sign of life of a training run, which its process renews on the Prefect server every few seconds.

The server stamps each renewal with its own clock (`FlowRun.updated`), so neither the clocks of the machines matter nor
files that only one of them sees. `flows/liveness.py` reads it.
"""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

PLACE = "conceptry.place"
"""Label of a run: machine and scratch folder of the process that works on it."""
EVERY = 15.0
"""Seconds between two renewals."""
AGAIN = 2.0
"""Seconds until the next attempt after a failed one, so that a run is seen soon after an outage of the server."""
_logger = logging.getLogger(__name__)


def place_of(work: Path) -> str:
    """Return the machine and the scratch folder of this process, as the label PLACE holds them."""
    return f"{socket.gethostname()}:{work}"


@contextmanager
def keep_alive(run: UUID, place: str, *, every: float = EVERY) -> Iterator[None]:
    """Renew a run's sign of life while the block runs, in a thread; a failure to do so never ends the block.

    Args:
        run: The flow run.
        place: Result of `place_of`.
        every: Seconds between two renewals.
    """
    stop = threading.Event()
    thread = threading.Thread(target=_renew, args=(run, place, every, stop), name="sign of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Not joined: a request to a server that is away may take seconds, and the thread dies with the process.
        stop.set()


def _renew(run: UUID, place: str, every: float, stop: threading.Event) -> None:
    # The client's own retries pause for up to half a minute, in which the run would be taken for lost.
    patience = {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 10.0}
    with temporary_settings(updates=patience), get_client(sync_client=True) as client:
        away = False
        while not stop.is_set():
            try:
                client.update_flow_run_labels(run, {PLACE: place})
            except (httpx.HTTPError, PrefectException, OSError) as error:
                if not away:
                    _logger.warning("the Prefect server does not respond (%s); the run goes on", error)
                away = True
                stop.wait(AGAIN)
            else:
                away = False
                stop.wait(every)
