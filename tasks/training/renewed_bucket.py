"""Bucket whose credentials may be rotated while a training lasts: when they are refused, it is opened again."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from google.api_core.exceptions import Unauthorized
from google.auth.exceptions import GoogleAuthError, TransportError

from conceptry.errors import SettingsError

P = ParamSpec("P")
R = TypeVar("R")


class RenewedBucket:
    """Bucket of google-cloud-storage that can be opened again; has all of its attributes.

    Args:
        bucket: The bucket.
        reopen: Returns it with the credentials that are registered now.
    """

    def __init__(self, bucket: Any, reopen: Callable[[], Any]) -> None:
        self._bucket, self._reopen = bucket, reopen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bucket, name)

    def renew(self) -> None:
        """Open the bucket again."""
        self._bucket = self._reopen()


class HasBucket(Protocol):
    """Object whose methods use a bucket."""

    @property
    def bucket(self) -> Any:
        """The bucket."""


S = TypeVar("S", bound=HasBucket)


def refused(error: BaseException | None) -> bool:
    """Whether Google does not accept the credentials, rather than their owner's request."""
    return isinstance(error, (Unauthorized, GoogleAuthError)) and not isinstance(error, TransportError)


def renewing(operate: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorate an idempotent method: if Google refuses the credentials, renew the bucket and call it once more."""

    @wraps(operate)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return operate(self, *args, **kwargs)
        except SettingsError as error:
            if not refused(error.__cause__) or not isinstance(self.bucket, RenewedBucket):
                raise
            self.bucket.renew()
        return operate(self, *args, **kwargs)

    return call
