"""Browser sessions: a signed cookie that names the account, valid for reading only (see Call.writer).

Browsers send Basic credentials only after a challenge, so /login challenges once and sets the cookie.
"""

from __future__ import annotations

import time

from emulators.hub.accounts import Account, Accounts
from emulators.hub.signing import Signer

COOKIE = "hub_session"
SECONDS = 30 * 24 * 3600


class Sessions:
    """Creates and verifies signed cookies."""

    def __init__(self, accounts: Accounts, signer: Signer) -> None:
        self._accounts, self._signer = accounts, signer

    def make(self, account: Account) -> str:
        """Return a cookie value for an account, valid for 30 days or until the account's token changes."""
        expires = int(time.time()) + SECONDS
        return f"{account.name}:{expires}:{self._signer.sign(*_signed(account, expires))}"

    def find(self, value: str | None) -> Account | None:
        """Return the account of a cookie; none when the cookie is missing, forged or expired."""
        name, _, rest = (value or "").partition(":")
        expires, _, signature = rest.partition(":")
        account = self._accounts.named(name) if name.isascii() else None
        if account is None or not (expires.isascii() and expires.isdecimal()) or len(expires) > 12:
            return None
        if not self._signer.is_valid(signature, *_signed(account, int(expires))):
            return None
        return account if int(expires) > time.time() else None


def _signed(account: Account, expires: int) -> tuple[str, str, str, int]:
    """Return what a cookie signs; the token is part of it, so that a new token ends the session."""
    return "session", account.name, account.token, expires
