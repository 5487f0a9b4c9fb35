"""Rate limits of the Hub: after a 429, no request that it concerns is sent until the Hub takes requests again.

    429 with `RateLimit: "api";r=0;t=SECONDS`     the API, or what else the header names, until the window ends
    429 without, to a commit or a new repo        these, until its words or `Retry-After` say
    429 without, to another request               all that write, or after a read all

The library would sleep until then, within the call and up to five times, which no watch has time for. Therefore a wait
of more than SHORT seconds is raised at once, and known to all threads of the process. Forms and limits:
https://huggingface.co/docs/hub/rate-limits.
"""

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2
from huggingface_hub.utils._http import parse_ratelimit_headers

from conceptry.errors import RateLimitedError

SHORT = 20.0
"""Seconds that the library itself may wait."""
HOURLY = 900.0
"""Seconds to wait for an hourly quota whose answer does not say when it ends: it may have begun at any time."""
_READS = ("GET", "HEAD")
_UNITS = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_IN_WORDS = re.compile(r"\b(?:in|after)\s+(?:about\s+)?(\d{1,4}|an?)\s+(second|minute|hour)s?\b", re.IGNORECASE)
_PER_WORDS = re.compile(r"\bper\s+(\d{1,4})\s+(second|minute)s?\b", re.IGNORECASE)
_HOURLY = re.compile(r"\bhourly\b|\bper hour\b", re.IGNORECASE)
_LONGEST = 6 * 3600.0

Kind = str
"""What a limit counts: a bucket of the Hub ("api", "resolvers", "pages"), "commits", "creations", "writes", "all"."""
_IN_PLURAL = {
    "api": "API requests", "resolvers": "downloads", "pages": "requests for pages", "commits": "commits",
    "creations": "new repos", "writes": "changes", "all": "requests",
}  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """Limit that a 429 names: what it counts, its words, and the seconds after which requests are taken again."""

    kind: Kind
    words: str
    seconds: float | None


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
    for pattern in (_IN_WORDS, _PER_WORDS):
        if found := pattern.search(words):
            number = 1 if found[1].lower().startswith("a") else int(found[1])
            return min(number * _UNITS[found[2].lower()], _LONGEST)
    return HOURLY if _HOURLY.search(words) else None


def _seconds(value: str, now: datetime) -> float | None:
    if re.fullmatch(r"\d{1,12}(\.\d+)?", value):
        seconds = float(value)
        return max(0.0, seconds - now.timestamp()) if seconds > 10**9 else seconds
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def limit_of(response: httpx2.Response, message: str) -> Limit:
    """Return the limit that a 429 names.

    Args:
        response: The answer, read or not.
        message: What the Hub says in it.
    """
    seconds = seconds_until_reset(response.headers, message)
    found = parse_ratelimit_headers(response.headers)
    if found is None or found.remaining > 0:
        return Limit(_kind_of(response.request), message, seconds)
    kind = found.resource_type
    words = ""
    if found.limit is not None and found.window_seconds is not None:
        plural = _IN_PLURAL.get(kind, f"requests ({kind})")
        words = f"the {found.limit:,} {plural} of {found.window_seconds / 60:g} minutes are used up"
    return Limit(kind, words or message, seconds)


def limited(host: str, limit: Limit) -> RateLimitedError:
    """Return the error for a Hub that takes no more requests of a kind."""
    because = f": {limit.words.rstrip('.')}" if limit.words else ""
    return RateLimitedError(
        f"{host} takes no more {_IN_PLURAL.get(limit.kind, 'requests')} for now (429{because})",
        retry_after=limit.seconds,
        writes=limit.kind not in ("resolvers", "pages"),
        next_step="flows try again by themselves then; a larger plan of the account has higher limits",
    )


def _kind_of(request: httpx2.Request) -> Kind:
    """Return what a limit counts that no header names, by the request that it refused."""
    path = request.url.path
    if request.method in _READS:
        return "all"
    if "/commit/" in path:
        return "commits"
    return "creations" if path.endswith("/repos/create") else "writes"


def _concerns(kind: Kind, request: httpx2.Request) -> bool:
    path = request.url.path
    if kind in ("commits", "creations"):
        return _kind_of(request) == kind
    if kind == "writes":
        return request.method not in _READS
    if kind == "resolvers":
        return "/resolve/" in path
    if kind == "pages":
        return not path.startswith("/api/") and "/resolve/" not in path and "/info/lfs/" not in path
    return kind != "api" or path.startswith("/api/") or "/info/lfs/" in path


class RateLimits:
    """Limits that Hubs have named, with their errors, until moments of `time.monotonic()`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, Kind], tuple[float, RateLimitedError]] = {}

    def before(self, request: httpx2.Request) -> None:
        """Refuse a request that its Hub would refuse.

        Raises:
            RateLimitedError: the Hub takes no such requests now; `not_before` says when it does.
        """
        with self._lock:
            known = list(self._until.items())
        for (host, kind), (until, error) in known:
            if host == _host(request) and time.monotonic() < until and _concerns(kind, request):
                # A copy with the moment of the first one: the same limit is the same message.
                raise _copy(error)

    def after(self, response: httpx2.Response) -> None:
        """Note a 429.

        Raises:
            RateLimitedError: the wait is longer than SHORT.
        """
        if response.status_code != 429:
            return
        response.read()
        limit = limit_of(response, _message(response))
        if limit.seconds is None or limit.seconds <= SHORT:
            return
        host = _host(response.request)
        error = limited(host, limit)
        with self._lock:
            self._until[host, limit.kind] = time.monotonic() + limit.seconds, error
        raise _copy(error)

    def forget(self) -> None:
        """Send requests again."""
        with self._lock:
            self._until.clear()


def _copy(error: RateLimitedError) -> RateLimitedError:
    copy = RateLimitedError(error.what, writes=error.writes, next_step=error.next_step)
    copy.not_before = error.not_before
    return copy


def _message(response: httpx2.Response) -> str:
    """Return what the Hub says in an answer, in one line."""
    said = response.headers.get("X-Error-Message") or ""
    if not said:
        try:
            body = response.json()
        except ValueError:
            body = response.text
        said = str(body.get("error", "")) if isinstance(body, dict) else str(body)
    return " ".join(said.split())[:500]


def _host(request: httpx2.Request) -> str:
    parts = urlsplit(str(request.url))
    return f"{parts.scheme}://{parts.netloc}"


LIMITS = RateLimits()
"""Of this process, as the library's client is."""
