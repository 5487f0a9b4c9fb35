"""Browser sessions: a signed cookie that names the account, valid for reading only (see Call.writer).

Browsers send Basic credentials only after a challenge, so /login challenges once and sets the cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from pathlib import Path

from emulators.hub.accounts import Account, Accounts

COOKIE = "hub_session"
SECONDS = 30 * 24 * 3600


class Sessions:
    """Creates and verifies cookies, signed with the root's secret."""

    def __init__(self, root: Path, accounts: Accounts) -> None:
        self._secret = (root / "secret").read_bytes()
        self._accounts = accounts

    def make(self, account: Account) -> str:
        """Return a cookie value for an account, valid for 30 days or until the account's token changes."""
        expires = int(time.time()) + SECONDS
        return f"{account.name}:{expires}:{self._sign(account, expires)}"

    def find(self, value: str | None) -> Account | None:
        """Return the account of a cookie; none when the cookie is missing, forged or expired."""
        name, _, rest = (value or "").partition(":")
        expires, _, signature = rest.partition(":")
        account = self._accounts.named(name) if name.isascii() else None
        if account is None or not (expires.isascii() and expires.isdecimal()) or len(expires) > 12:
            return None
        if not hmac.compare_digest(self._sign(account, int(expires)).encode(), signature.encode("utf-8", "replace")):
            return None
        return account if int(expires) > time.time() else None

    def _sign(self, account: Account, expires: int) -> str:
        message = "\0".join(("session", account.name, account.token, str(expires)))
        return hmac.new(self._secret, message.encode(), hashlib.sha256).hexdigest()
