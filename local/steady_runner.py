"""Prefect's runner, without its end after three failed requests.

Prefect ends a runner, and with it the processes of all its runs, when three requests for scheduled runs fail in
succession. An outage of the server must not end a training: here such failures are logged, and the runner asks again.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx
from prefect.runner import Runner

_logger = logging.getLogger(__name__)


class SteadyRunner(Runner):
    """Runner that continues through an outage of the server; takes the arguments of Prefect's runner."""

    async def __aenter__(self) -> SteadyRunner:
        """Open the runner; its requests for scheduled runs no longer raise errors of the connection or the server."""
        await super().__aenter__()
        # Prefect has no public way to continue: the number of failures is a constant of its polling loop.
        poller = self._scheduled_run_poller
        poll, away = poller._get_and_submit_flow_runs, False

        async def poll_steadily(*arguments: Any, **options: Any) -> None:
            nonlocal away
            try:
                await poll(*arguments, **options)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                if not away:
                    _logger.warning("%s: the Prefect server does not respond (%s); runs go on", self.name, error)
                away = True
            else:
                if away:
                    _logger.warning("%s: the Prefect server responds again", self.name)
                away = False

        poller._get_and_submit_flow_runs = poll_steadily  # type: ignore[method-assign]
        return self
