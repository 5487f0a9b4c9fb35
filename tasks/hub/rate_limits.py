"""Rate limits of the Hub: after a 429, no request that it concerns is sent until the Hub takes requests again.

The library would sleep until then, within the call and up to five times, which no watch has time for. Therefore a wait
of more than SHORT seconds is raised at once, and known to all threads of the process. A 429 to a write, for example the
quota of commits an hour, concerns writes only.
"""

import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2
from huggingface_hub.utils._http import parse_ratelimit_headers

from conceptry.errors import TransientError

SHORT = 20.0
"""Seconds that the library itself may wait."""
_READS = ("GET", "HEAD")
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_IN_WORDS = re.compile(r"\b(?:in|after)\s+(?:about\s+)?(\d{1,4}|an?)\s+(second|minute|hour)s?\b", re.IGNORECASE)
_LONGEST = 6 * 3600.0


def seconds_until_reset(headers: Mapping[str, str], words: str = "", *, now: datetime | None = None) -> float | None:
    """Return after how many seconds a request may be repeated, by headers or words of a 429; None if they do not say.

    Args:
        headers: `RateLimit`, `Retry-After` (seconds or a date) or `X-RateLimit-Reset` (seconds, or since 1970).
        words: Body, for example "You can retry this action in about 1 hour."
        now: Current time.
    """
    moment = now or datetime.now(UTC)
    lower = {key.lower(): value.strip() for key, value in headers.items()}
    limit = parse_ratelimit_headers(lower)
    if limit is not None and limit.remaining == 0:
        return min(float(limit.reset_in_seconds), _LONGEST)
    for key in ("retry-after", "x-ratelimit-reset"):
        seconds = _seconds(lower.get(key, ""), moment)
        if seconds is not None:
            return min(seconds, _LONGEST)
    if found := _IN_WORDS.search(words):
        number = 1 if found[1].lower().startswith("a") else int(found[1])
        return min(number * _UNITS[found[2].lower()], _LONGEST)
    return None


def _seconds(value: str, now: datetime) -> float | None:
    if re.fullmatch(r"\d{1,12}(\.\d+)?", value):
        seconds = float(value)
        return max(0.0, seconds - now.timestamp()) if seconds > 10**9 else seconds
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return None


class RateLimits:
    """Moments, of `time.monotonic()`, until which Hubs take no requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, bool], float] = {}

    def before(self, request: httpx2.Request) -> None:
        """Refuse a request that its Hub would refuse.

        Raises:
            TransientError: the Hub takes no such requests now; `retry_after` says when it does.
        """
        for reads in (True, False) if request.method not in _READS else (True,):
            left = self._until.get((_host(request), reads), 0.0) - time.monotonic()
            if left > 0:
                raise limited(_host(request), left)

    def after(self, response: httpx2.Response) -> None:
        """Note a 429.

        Raises:
            TransientError: the wait is longer than SHORT.
        """
        if response.status_code != 429:
            return
        response.read()
        seconds = seconds_until_reset(response.headers, response.text[:2000])
        if seconds is None or seconds <= SHORT:
            return
        host, reads = _host(response.request), response.request.method in _READS
        with self._lock:
            self._until[host, reads] = time.monotonic() + seconds
        raise limited(host, seconds)

    def forget(self) -> None:
        """Send requests again."""
        with self._lock:
            self._until.clear()


def limited(host: str, seconds: float) -> TransientError:
    """Return the error for a Hub that takes no more requests for some time."""
    return TransientError(
        f"{host} takes no more requests of this kind for now (429)",
        retry_after=seconds,
        next_step="flows try again by themselves then",
    )


def _host(request: httpx2.Request) -> str:
    parts = urlsplit(str(request.url))
    return f"{parts.scheme}://{parts.netloc}"


LIMITS = RateLimits()
"""Of this process, as the library's client is."""
