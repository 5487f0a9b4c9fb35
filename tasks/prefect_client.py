"""Client of the Prefect server with fast retries, for interactive use.

A server on SQLite, as in the embedded set-up, responds with 503 to one of two concurrent writers, which then has to
repeat its request. Prefect's client waits two seconds, longer than a complete watch takes; this one some hundredths of
a second.
"""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.context import SyncClientContext
from prefect.exceptions import PrefectException
from prefect.settings import get_current_settings
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_chain, wait_fixed

from conceptry.errors import SettingsError, TransientError

SERVER_ERRORS = (httpx.HTTPError, PrefectException, ConcurrencySlotAcquisitionError)
"""What Prefect's client raises when the server does not respond, or does not do what is asked."""
AUTH_STEP = "set PREFECT_API_AUTH_STRING to the auth string of the server"
HEADER_LATE = timedelta(seconds=3)
"""Longest time by which the header of an answer is behind the server's clock, and the answer on its way."""
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each retry; after the last one the retries of Prefect's client apply."""


class BusyServerTransport(httpx.HTTPTransport):
    """Transport that repeats a request after a short pause when the server responds with 503."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; on 503 repeat it a few times."""
        return _REPEAT(super().handle_request, request)


def _close(state: RetryCallState) -> None:
    if state.outcome:
        state.outcome.result().close()


_REPEAT = Retrying(
    retry=retry_if_result(lambda response: response.status_code == httpx.codes.SERVICE_UNAVAILABLE),
    wait=wait_chain(*map(wait_fixed, PAUSES)),
    stop=stop_after_attempt(len(PAUSES) + 1),
    before_sleep=_close,
    retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
)


def server_time(client: SyncPrefectClient) -> datetime:
    """Return the server's clock, from the header of an answer; this machine's clock if a proxy removed the header.

    Machines may have wrong clocks: what one of them compares with a moment that another one or the server noted, it
    compares by this clock. The header tells whole seconds, and is up to a second late; a machine's clock that agrees
    with it is as right, and more precise.
    """
    header = client.hello().headers.get("date")
    here = datetime.now(UTC)
    try:
        there = parsedate_to_datetime(header or "").astimezone(UTC)
    except ValueError:
        return here
    return here if timedelta(0) <= here - there <= HEADER_LATE else there


def proxy_of(address: str) -> str | None:
    """Return the proxy that the environment names for an http:// address; None if it is reached directly."""
    return None if proxy_bypass(urlsplit(address).netloc) else getproxies().get("http")


@cache
def _tls() -> ssl.SSLContext:
    """Return httpx's TLS context; made once, because each one reads all certificates, which takes 20 ms of CPU."""
    return httpx.create_ssl_context()


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """Yield a client of the Prefect server, which flows and tasks within the block use as well.

    Raises:
        httpx.HTTPError: the server does not respond, or refuses the client.
    """
    context = SyncClientContext.get()
    if context is not None:
        yield context.client
        return
    with ExitStack() as opened:
        try:
            client = _open(opened)
        except RuntimeError as error:  # of Prefect's check of the server's version
            if isinstance(error.__cause__, httpx.HTTPError):
                raise error.__cause__ from None
            raise
        yield client


def _open(opened: ExitStack) -> SyncPrefectClient:
    address = get_current_settings().api.url or ""
    if not address.startswith("http://"):
        # Prefect's settings determine certificates and proxies.
        return opened.enter_context(get_client(sync_client=True))
    # With a transport of its own, httpx does not read the environment's proxies.
    transport = BusyServerTransport(verify=_tls(), proxy=proxy_of(address))
    return opened.enter_context(SyncClientContext(httpx_settings={"transport": transport, "verify": _tls()})).client


def server_problem(error: Exception) -> TransientError | SettingsError:
    """Return why the Prefect server did not do what was asked, and what to do, from what its client raised."""
    address = get_current_settings().api.url
    if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
        status = error.response.status_code
        step = AUTH_STEP if status in (401, 403) else "see its log, and compare its version with this machine's"
        return SettingsError(f"the Prefect server at {address} refuses ({status})", next_step=step)
    answer = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else type(error).__name__
    what = f"the Prefect server at {address} does not respond ({answer})"
    return TransientError(what, next_step="start it (`conceptry up` starts a set-up's), or correct PREFECT_API_URL")
