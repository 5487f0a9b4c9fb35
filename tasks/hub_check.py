"""Check that a Hub answers, before its client is imported and tries again for half a minute."""

from __future__ import annotations

import http.client
import socket
import urllib.error
import urllib.request
from urllib.parse import quote, urlsplit

from conceptry.errors import TransientError
from conceptry.installation import HubTarget

PATIENCE = 1.5
"""Seconds for a Hub on this machine to accept a connection."""
ANSWER = 10.0
"""Seconds for an answer: trainings may take all cores of this machine, and networks may be slow."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_hub(target: HubTarget, command: str, timeout: float | None = None) -> None:
    """Check that a Hub answers; what it answers is left to its client, unless it is overloaded.

    Args:
        target: Hub and owner.
        command: Command that starts the servers of the set-up, for the message.
        timeout: Seconds to wait for the answer; None for ANSWER.

    Raises:
        TransientError: it does not answer, or with 500 or more, or with a 429 that does not say until when.
    """
    here = urlsplit(target.endpoint).hostname in LOOPBACK
    step = f"start the servers with `{command}`" if here else "check the network and CONCEPTRY_HUB_ENDPOINT"
    problem = _listens(target.endpoint) if here else None
    if problem := problem or _asks(target, ANSWER if timeout is None else timeout, here=here):
        raise TransientError(f"the Hub at {target.endpoint} {problem}", next_step=step)


def _listens(endpoint: str) -> str | None:
    """Return what is wrong if no process accepts connections at an address; None if one does."""
    parts = urlsplit(endpoint)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), PATIENCE):
            return None
    except (OSError, ValueError, OverflowError) as error:
        return f"does not respond ({type(error).__name__})"


def _asks(target: HubTarget, timeout: float, *, here: bool) -> str | None:
    """Return what is wrong if a small request gets no answer; None if it gets one, or TLS is not ours to judge.

    It has no token, because a refusal is an answer, too.
    """
    address = f"{target.endpoint}/api/models?author={quote(target.owner, safe='')}&limit=1"
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if here else []))
    try:
        with opener.open(address, timeout=timeout):
            return None
    except urllib.error.HTTPError as answer:
        until = {"retry-after", "ratelimit"} & {name.lower() for name in answer.headers}
        overloaded = answer.code >= 500 or (answer.code == 429 and not until)
        return f"answers {answer.code}" if overloaded else None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        away = isinstance(reason, (socket.gaierror, ConnectionError, TimeoutError, http.client.HTTPException))
        return f"does not respond ({type(reason).__name__})" if away else None
