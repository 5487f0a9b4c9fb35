"""Address of a git repository: the login is separated from it, so that it never reaches a log or a process list."""

import re

from pydantic import SecretStr

# The login of an address ends at the last @ before the path.
_LOGIN = re.compile(r"^(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<login>[^/?#]*)@", re.IGNORECASE)


def split_login(address: str) -> tuple[str, SecretStr | None]:
    """Split an address into one without a login, and the login `USER:PASSWORD` or `USER`, percent-encoded.

    The user of an ssh:// address stays in it, because ssh takes it from there; its password, which ssh ignores, is
    dropped. Paths and `user@host:path` are returned unchanged.
    """
    found = _LOGIN.match(address)
    if found is None:
        return address, None
    scheme, login, rest = found["scheme"], found["login"], address[found.end() :]
    if "ssh" in scheme.lower():
        return f"{scheme}://{login.partition(':')[0]}@{rest}", None
    return f"{scheme}://{rest}", SecretStr(login) if login else None


def without_login(address: str) -> str:
    """Return an address as it may be printed and logged."""
    return split_login(address)[0]


_PAGES = {
    "github.com": "commit",
    "gitlab.com": "-/commit",
    "bitbucket.org": "commits",
    "codeberg.org": "commit",
    "huggingface.co": "commit",
}
"""Path of a commit's page, by host."""
_REMOTE = re.compile(
    r"^(?:[a-z+]+://(?:[^/@]*@)?|[^/@:]+@)(?P<host>[^/:]+)(?::\d+)?[/:](?P<path>.+?)(?:\.git)?/?$", re.IGNORECASE
)


def commit_page(address: str, revision: str) -> str | None:
    """Return the address of a commit's page on a known host of git repositories; None for another one, or a path."""
    found = _REMOTE.match(address)
    page = _PAGES.get(found["host"].lower()) if found else None
    return f"https://{found['host'].lower()}/{found['path']}/{page}/{revision}" if found and page else None
