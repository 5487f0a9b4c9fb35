"""The program git, with a deadline, and with a login that no log and no process list shows.

The program runs instead of libgit2, so that the user's keys, proxies and credential helpers apply.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from conceptry.errors import ConceptryError, SettingsError, TransientError
from conceptry.git_address import split_login
from tasks.disk_full import DiskFullError, says_disk_full
from tasks.processes import child_environment, run_to_end

# Variables that git sets while it runs a hook, which would direct our commands to another repository; and those that
# make git print what it sends.
_FOREIGN = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_TRACE",
    "GIT_CURL_VERBOSE",
)  # fmt: skip

_USER, _PASSWORD = "CONCEPTRY_GIT_USER", "CONCEPTRY_GIT_PASSWORD"
# Run by git with `sh`; the password is in the environment of git and its children only.
_HELPER = f'!f() {{ test "$1" = get || exit 0; printf \'username=%s\\npassword=%s\\n\' "${_USER}" "${_PASSWORD}"; }}; f'

_LOGIN = re.compile(r"://[^/@\s]+@")
_REFUSED = re.compile(
    r"Authentication failed|could not read (Username|Password)|Permission denied \(|Host key verification failed"
)


def run_git(
    *arguments: str, timeout: float, address: str = "", login: SecretStr | None = None, folder: Path | None = None
) -> bytes:
    """Run git and return its output.

    Args:
        arguments: Arguments, without a login in an address.
        timeout: Seconds until git and all that it started are ended.
        address: Address of the repository that git connects to, without a login.
        login: `USER:PASSWORD` or `USER`, percent-encoded, for an http(s) address. With a password the user's own
            credential helpers are not asked for this host; without one they are, for this user.
        folder: Repository that git writes to, for the message of a full disk.

    Raises:
        SettingsError: git is not installed, or the origin refuses the login.
        TransientError: git failed, or did not end in time.
    """
    program = shutil.which("git")
    if program is None:
        raise SettingsError("git is not installed", next_step="install it")
    user, password = _read(login)
    configured = child_environment(without=_FOREIGN, GIT_TERMINAL_PROMPT="0", LC_ALL="C.UTF-8")
    environment = configured | _login_variables(address, user, password)
    try:
        done = run_to_end([str(Path(program).absolute()), *arguments], timeout=timeout, environment=environment)
    except TimeoutError:
        done = None
    # Outside of the handler, so that no exception of subprocess, with its command, is in the chain.
    if done is None:
        raise TransientError(f"git did not answer for {timeout:.0f} s", next_step="check the network")
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise _failure(_masked(words, login, user, password), str(folder or "the temporary files"))
    return done.stdout


def _read(login: SecretStr | None) -> tuple[str, str]:
    if login is None:
        return "", ""
    user, _, password = login.get_secret_value().partition(":")
    user, password = unquote(user), unquote(password)
    if any(ord(character) < 32 for character in user + password):
        raise SettingsError("the login of the repository contains a control character", next_step="correct it")
    return user, password


def _login_variables(address: str, user: str, password: str) -> dict[str, str]:
    """Return the variables that hand a login over to git: configuration, and the values that its helper prints."""
    parts = urlsplit(address) if user or password else None
    if parts is None or parts.scheme.lower() not in ("http", "https"):
        return {}
    host = f"credential.{parts.scheme.lower()}://{parts.netloc}"
    pairs = [(f"{host}.username", user)]
    if password:
        # An empty helper drops those of the user's configuration for this host.
        pairs = [(f"{host}.helper", ""), (f"{host}.helper", _HELPER)]
    before = os.environ.get("GIT_CONFIG_COUNT", "")
    first = int(before) if before.isdigit() else 0
    found = {"GIT_CONFIG_COUNT": str(first + len(pairs))}
    for number, (key, value) in enumerate(pairs, first):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found | ({_USER: user, _PASSWORD: password} if password else {})


def _masked(words: str, login: SecretStr | None, user: str, password: str) -> str:
    """Return git's words without the login, in case a helper or a proxy printed it."""
    secrets = {password, *((login.get_secret_value(), login.get_secret_value().partition(":")[2]) if login else ())}
    if not password:
        secrets.add(user)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        words = words.replace(secret, "***")
    return _LOGIN.sub("://***@", words)


def _failure(words: str, folder: str) -> ConceptryError:
    """Return the error for git's message; git has one exit code for all failures."""
    what = f"git could not fetch the repository: {words}"
    if says_disk_full(words):
        return DiskFullError(folder)
    if _REFUSED.search(words):
        return SettingsError(
            what,
            next_step="set CONCEPTRY_REPO_LOGIN to USER:PASSWORD (or USER:TOKEN) for an http(s) address, or give this "
            "user's ssh a key of its own, without a passphrase or in an agent, and the host in known_hosts",
        )
    # A wrong address is retried as well before it is reported.
    return TransientError(what, next_step="check CONCEPTRY_REPO if this persists")


def without_login(url: str, login: SecretStr | None) -> tuple[str, SecretStr | None]:
    """Return an address without the login that it may contain, and that login or else `login`."""
    address, contained = split_login(url)
    return address, contained or login
