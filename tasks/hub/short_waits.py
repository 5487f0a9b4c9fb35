"""Short waits for the Hub: a request that a 429 refuses for some seconds is sent once more after them.

The library does so for transfers and listings only: a new repo, a branch, a commit or a Space's setting would fail, and
with it a command that runs no Prefect task.
"""

import time
from collections.abc import Generator

import httpx2

from tasks.hub.rate_limits import SHORT, seconds_until_reset
from tasks.hub.renewed_token import RENEWAL

ROUNDING = 0.5
"""Seconds more than the Hub says, which says whole ones."""


class ShortWaits(httpx2.Auth):
    """Authentication with renewed tokens that sends a request again after a 429 for at most SHORT seconds in total."""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send a request, with the newest known token, until the Hub does not ask to wait for some seconds."""
        flow, waited = RENEWAL.auth_flow(request), 0.0
        sent = next(flow)
        while True:
            response = yield sent
            seconds = _seconds(response)
            if seconds is not None and waited + seconds <= SHORT:
                time.sleep(seconds + ROUNDING)
                waited += seconds
                continue
            try:
                sent = flow.send(response)
            except StopIteration:
                return


def _seconds(response: httpx2.Response) -> float | None:
    """Return how long to wait before the same request is sent again; None if it is not to be, or its body is gone."""
    replayable = isinstance(response.request.stream, httpx2.ByteStream)
    if response.status_code != 429 or not replayable:
        return None
    response.read()
    return seconds_until_reset(response.headers, response.text[:2000])
