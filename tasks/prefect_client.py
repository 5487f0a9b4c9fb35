"""The client of the Prefect server, for work that a person waits for.

A server on SQLite, as the embedded set-up's is, answers 503 when two of its writers meet: one of them has to repeat its
request. Prefect's client does so after two seconds, which is more than a whole watch takes; this one after some
hundredths.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import SyncClientContext
from prefect.settings import get_current_settings
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_chain, wait_fixed

PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each further try; after the last one Prefect's client has its own patience."""


class BusyServerTransport(httpx.HTTPTransport):
    """Repeats a request at once when the server is busy for a moment (503)."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; on 503 send it again, a few times."""
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


@contextmanager
def connected() -> Iterator[SyncPrefectClient]:
    """Yield a client of the Prefect server; flows and tasks that run within the block use the same one."""
    context = SyncClientContext.get()
    if context is not None:
        yield context.client
    elif (get_current_settings().api.url or "").startswith("http://"):
        settings: dict[str, Any] = {"transport": BusyServerTransport()}
        with SyncClientContext(httpx_settings=settings) as context:
            yield context.client
    else:
        # Certificates and proxies are Prefect's to know.
        with get_client(sync_client=True) as client:
            yield client
