"""Signed-in browsers: a cookie that names the account, signed, for reading only (see Call.writer).

Browsers do not send a token to pages that do not ask for one, so /login asks once and this remembers it.
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
    """Makes and checks the cookie's values with the root's secret."""

    def __init__(self, root: Path, accounts: Accounts) -> None:
        self._secret = (root / "secret").read_bytes()
        self._accounts = accounts

    def make(self, account: Account) -> str:
        """A value that stands for the account for a month, or until its token changes."""
        expires = int(time.time()) + SECONDS
        return f"{account.name}:{expires}:{self._sign(account, expires)}"

    def find(self, value: str | None) -> Account | None:
        """The account of a cookie; none when there is no such cookie, or it is forged or too old."""
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
