"""Prefect in an embedded set-up: settings of its server, and of the clients that use it.

Prefect's server is open by default: it answers every web page, and who may change a deployment can run a shell as its
worker. Here requests need an auth string, forms a token against forgery (CSRF), and only its own UI may read answers.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from local.current_setup import folder_in_use
from local.setup_folder import Setup
from tasks import hub_check
from tasks.extras import is_installed
from tasks.prefect_address import server_address

HANGING = 1.0
"""Seconds for each request to a server that did not answer in ten."""

_BUSY = frozenset({429, 502, 503, 504})
_OURS = frozenset({"PREFECT_SERVER_API_HOST", "PREFECT_SERVER_API_PORT", "PREFECT_SERVER_API_AUTH_STRING"})
"""Settings that are not taken from the environment: the address, and the auth string, which every command must know."""


def server_variables(setup: Setup) -> dict[str, str]:
    """Return the environment variables of the server; PREFECT_SERVER_... of this process's environment win."""
    origins = (f"http://{name}:{setup.prefect_port}" for name in ("127.0.0.1", "localhost"))
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    }
    users = {key: value for key, value in os.environ.items() if key.startswith("PREFECT_SERVER_") and key not in _OURS}
    return defaults | users | {"PREFECT_SERVER_API_AUTH_STRING": setup.prefect_auth}


@contextmanager
def prefect_of(root: Path | None) -> Iterator[None]:
    """Use the Prefect server of the set-up that `open_installation` reads, within the block.

    Without a set-up Prefect's own settings apply; if the set-up's server is not running, flows run without one.
    """
    folder = folder_in_use(root)
    if folder is None:
        with prefect_for_people():
            yield
        return
    setup = folder.read()
    if not is_installed("prefect"):
        if folder.is_open():  # so that a plan says that it does not read this server
            os.environ["PREFECT_API_URL"] = setup.prefect_api
        yield
        return
    # Imported here: Prefect takes a second to import, and without a set-up its own settings apply.
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

    updates: dict[Any, Any] = {PREFECT_HOME: str(folder.prefect)}
    if folder.is_open():
        updates |= {PREFECT_API_URL: setup.prefect_api, PREFECT_API_AUTH_STRING: setup.prefect_auth or None}
    with temporary_settings(updates=updates), prefect_for_people():
        yield


@contextmanager
def prefect_for_people() -> Iterator[None]:
    """Within the block requests to a Prefect server in trouble fail at once, after it was asked for its health.

    If it hangs, its client waits a minute for an answer, six times; if it is busy, or a proxy answers in its place, it
    tries again for half a minute. A person at a terminal takes the command for hung by then.
    """
    address = server_address() if is_installed("prefect") else None
    trouble = _trouble(address) if address is not None else None
    if trouble is None:
        yield
        return
    from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    updates: dict[Any, Any] = {PREFECT_CLIENT_MAX_RETRIES: 0}
    if trouble == "hangs":
        updates[PREFECT_API_REQUEST_TIMEOUT] = HANGING
    with temporary_settings(updates=updates):
        yield


def _trouble(address: str) -> Literal["hangs", "busy"] | None:
    """Whether a server accepts a connection and says nothing, or has no time; any other trouble is its client's."""
    here = urlsplit(address).hostname in hub_check.LOOPBACK
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))
    try:
        with opener.open(f"{address}/health", timeout=hub_check.ANSWER):
            return None
    except urllib.error.HTTPError as error:
        return "busy" if error.code in _BUSY else None
    except (OSError, ValueError, http.client.HTTPException) as error:
        return "hangs" if isinstance(getattr(error, "reason", error), TimeoutError) else None
