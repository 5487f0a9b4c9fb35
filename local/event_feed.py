"""Feed of a set-up's events: what happens to its concepts, from the Prefect server, as it happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from uuid import UUID

from prefect.events import Event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import get_current_settings

from local.event_lines import EventLine, event_line
from local.prefect_settings import prefect_of
from tasks.events import INSTALLATION_PREFIX, PREFIX

AGAIN = 2.0
"""Seconds until the next attempt to connect, after the server was away."""


class EventFeed:
    """Context manager that passes each event of a set-up, once, to a function, from a thread of its own.

    An outage of the server delays events. The subscriber asks the server again for those of the last minute. The end of
    the block does not wait for the thread, which shows nothing from then on and ends with the process.

    Args:
        root: Folder of the set-up, whose servers run.
        since: Earlier events are left out.
        show: Called with the line of each event.
    """

    def __init__(self, root: Path, since: datetime, show: Callable[[EventLine], None]) -> None:
        self._root, self._since, self._show = root, since, show
        self._ended = threading.Event()
        self._seen: set[UUID] = set()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def __enter__(self) -> EventFeed:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _run(self) -> None:
        with prefect_of(self._root):
            while not self._ended.is_set():
                try:
                    asyncio.run(self._follow())
                except Exception:  # noqa: BLE001 - of several libraries; the servers' own end is reported elsewhere
                    self._ended.wait(AGAIN)

    async def _follow(self) -> None:
        """Show events until the connection ends."""
        names = EventNameFilter(prefix=[f"{PREFIX}.", f"{INSTALLATION_PREFIX}."])
        async with get_events_subscriber(EventFilter(event=names), reconnect_on_clean_close=True) as events:
            async for event in events:
                self._take(event)

    def _take(self, event: Event) -> None:
        if self._ended.is_set() or event.occurred < self._since or event.id in self._seen:
            return
        self._seen.add(event.id)
        line = event_line(event.event, event.payload, event.occurred, _run_page(event))
        if line is not None:
            self._show(line)


def _run_page(event: Event) -> str | None:
    """Return the address of the page of the flow run that emitted an event; None if no run did."""
    ui = get_current_settings().ui_url
    for related in event.related:
        kind, _, run = related.id.rpartition(".")
        if ui and kind == "prefect.flow-run":
            return f"{ui}/runs/flow-run/{run}"
    return None
