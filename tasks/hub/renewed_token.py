"""Tokens of the Hub that are rotated while a run lasts: after a 401 the token is read again, and the request repeated.

A training takes hours, and publishes with the token that was set when it began. The client sends the same token in
every request, so it is replaced on the way.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator
from urllib.parse import urlsplit

import httpx2
from pydantic import SecretStr

from conceptry.installation import HubTarget

# Seconds between two attempts to read a token again: the Hub also answers 401 for repos that the token may not see.
_PAUSE = 10.0
_BEARER = "Bearer "
_LOG = logging.getLogger(__name__)


_Key = tuple[str, str]
"""Scheme, host and port of a Hub, and a token."""


class TokenRenewal(httpx2.Auth):
    """Authentication that replaces a token which was registered with `register` by its successor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[_Key, Callable[[], SecretStr | None]] = {}
        self._successors: dict[_Key, str] = {}
        self._tried: dict[_Key, float] = {}

    def register(self, target: HubTarget) -> None:
        """Register how the token of a target is read again; its successors are sent to that Hub only."""
        if target.token is None:
            return
        key = (_origin(target.endpoint), target.token.get_secret_value())
        with self._lock:
            if target.renew is None:
                self._sources.pop(key, None)
            else:
                self._sources[key] = target.renew

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send a request with the newest known token, and once more if the Hub refuses it and another one is set."""
        given = (_origin(str(request.url)), request.headers.get("Authorization", "").removeprefix(_BEARER))
        if given not in self._sources:
            yield request
            return
        sent = self._successors.get(given, given[1])
        request.headers["Authorization"] = _BEARER + sent
        response = yield request
        if response.status_code == 401:
            successor = self._read_again(given, sent)
            if successor is not None:
                request.headers["Authorization"] = _BEARER + successor
                yield request

    def _read_again(self, given: _Key, refused: str) -> str | None:
        """Return the token that is set now; None if it is the refused one, or cannot be read."""
        with self._lock:
            known = self._successors.get(given, given[1])
            if known != refused:  # another thread read it
                return known
            if time.monotonic() - self._tried.get(given, -_PAUSE) < _PAUSE:
                return None
            self._tried[given] = time.monotonic()
            renew = self._sources.get(given)
            try:
                token = renew() if renew else None
            except Exception as error:  # noqa: BLE001 - the Hub's 401 is what the caller has to know
                _LOG.warning("the Hub's token could not be read again (%s)", type(error).__name__)
                return None
            if token is None or token.get_secret_value() == refused:
                return None
            self._successors[given] = token.get_secret_value()
            del self._tried[given]
            return self._successors[given]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


RENEWAL = TokenRenewal()
"""Of this process, as the library's client is."""
