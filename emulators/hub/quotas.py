"""Quotas of accounts: requests per window, commits per hour, private storage, and Spaces that need a plan.

Requests and commits are counted in the memory of one server process, in fixed windows. Every answer to an account with
a plan has the headers `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers-09, in the form of
https://huggingface.co/docs/hub/rate-limits. As there, a 429 for commits has no header that says when, only words.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Literal

from starlette.types import Scope

from emulators.hub.accounts import Account
from emulators.hub.http_errors import HubError
from emulators.hub.plans import PlanLimits

Bucket = Literal["api", "resolvers", "pages"]
HEADERS = "hub.rate_headers"
"""Key of the scope of a request: the rate headers of its answer, a list that `count_request` fills."""
HOUR = 3600
_PRICING = "https://huggingface.co/pricing"


def bucket_of(path: str) -> Bucket:
    """Return the bucket that a request counts in, by its path."""
    if "/resolve/" in path:
        return "resolvers"
    return "api" if path.startswith(("/api/", "/v2/")) or "/info/lfs/" in path else "pages"


class Quotas:
    """Counters of a server process.

    Args:
        now: Returns the time in seconds since 1970.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now, self._lock = now, threading.Lock()
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}

    def count_request(self, scope: Scope, account: Account) -> None:
        """Count a request of an account, and set the rate headers of its answer.

        Raises:
            HubError: the account has used up its requests of this window (429).
        """
        bucket, limits = bucket_of(scope["path"]), account.rates()
        limit: int | None = getattr(limits, bucket)
        if limit is None:
            return
        used, left = self._count(account, bucket, limits.window, limit)
        remaining = max(0, limit - used)
        scope.get(HEADERS, []).extend(
            [
                (b"ratelimit", f'"{bucket}";r={remaining};t={left}'.encode()),
                (b"ratelimit-policy", f'"fixed window";"{bucket}";q={limit};w={limits.window}'.encode()),
            ]
        )
        if used > limit:
            minutes = f"{limits.window / 60:g} minutes"
            raise HubError(
                429,
                f"We had to rate limit you, you hit the quota of {limit} {bucket} requests per {minutes} period. "
                f"Upgrade to a PRO user or Team/Enterprise organization account ({_PRICING}) to get higher limits.",
            )

    def count_commit(self, account: Account) -> None:
        """Count a commit of an account.

        Raises:
            HubError: the account has used up its commits of this hour (429).
        """
        limit = account.rates().commits
        if limit is None:
            return
        used, left = self._count(account, "commits", HOUR, limit)
        if used > limit:
            again = "1 hour" if left > HOUR * 0.75 else f"{math.ceil(left / 60)} minutes"
            raise HubError(
                429,
                f"You have exceeded the rate limit for repository commits ({limit} per hour). "
                f"You can retry this action in about {again}.",
            )

    def _count(self, account: Account, what: str, window: int, limit: int) -> tuple[int, int]:
        """Return how often an account did this in the current window, up to one more than the limit, and its rest."""
        now = self._now()
        begin = int(now // window)
        with self._lock:
            last, used = self._counts.get((account.name, what), (begin, 0))
            used = min(used if last == begin else 0, limit) + 1
            self._counts[account.name, what] = (begin, used)
        return used, math.ceil((begin + 1) * window - now)


def check_space(account: Account, owner: str, sdk: str | None) -> None:
    """Check that a namespace may have a new Space.

    Raises:
        HubError: a Space with an app needs a plan (402).
    """
    if sdk == "static" or account.limits_in(owner).app_spaces:
        return
    plan = "Team or Enterprise plan" if account.organization(owner) else "PRO subscription"
    raise HubError(
        402,
        "Static Spaces are free for everyone, but hosting Gradio and Docker Spaces on free cpu-basic requires a "
        f"{plan}. Subscribe at {_PRICING}",
    )


def check_hardware(account: Account, owner: str, hardware: str, free: str) -> None:
    """Check that a namespace may rent hardware.

    Raises:
        HubError: it has no way to pay (403, as the real Hub answers).
    """
    if hardware != free and not account.limits_in(owner).can_pay:
        raise HubError(
            403,
            "You must add a payment method to your account to upgrade your space's hardware. Visit your billing "
            "settings to add one: https://huggingface.co/settings/billing",
        )


def check_private_storage(limits: PlanLimits, stored: Iterable[int], added: int) -> None:
    """Check that a namespace may store more bytes in its private repos.

    Args:
        limits: Limits of the namespace.
        stored: Bytes of its private repos; read only if there is a limit.
        added: Bytes to add.

    Raises:
        HubError: the limit would be exceeded (403).
    """
    if limits.private_bytes is not None and added and sum(stored) + added > limits.private_bytes:
        raise HubError(
            403, "Private repository storage limit reached, please upgrade your plan to increase your private storage"
        )
