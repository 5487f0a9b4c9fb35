"""The grammar of the names of repos, branches and files. Every name that becomes part of a path is checked here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import pygit2

from emulators.hub.http_errors import HubError, bad_request

_SEGMENT = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_MAX_PATH = 1000
# First segments of the server's own URLs: a namespace of such a name could not be reached.
RESERVED = frozenset({"api", "models", "datasets", "spaces", "static", "login", "logout", "healthz", "_lfs", "v2"})


class Kind(StrEnum):
    """The three kinds of repos; the value is the segment in API URLs and the folder on disk."""

    MODEL = "models"
    DATASET = "datasets"
    SPACE = "spaces"

    @property
    def singular(self) -> str:
        """The client's `repo_type`."""
        return self.value[:-1]

    @property
    def prefix(self) -> str:
        """The prefix of owner/name in URLs of pages and files."""
        return "" if self is Kind.MODEL else f"{self.value}/"

    @classmethod
    def parse(cls, singular: str | None) -> Kind:
        """Parse the client's `repo_type`; none means model.

        Raises:
            HubError: the type is unknown (400).
        """
        for kind in cls:
            if kind.singular == (singular or "model"):
                return kind
        raise bad_request(f"Unknown repo type {singular!r}; it is one of model, dataset, space")


@dataclass(frozen=True)
class RepoId:
    """Kind, owner and name, in the spelling of the repo's creation; look-ups ignore case."""

    kind: Kind
    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def path(self) -> str:
        """URL path of the repo's page, without a leading slash."""
        return f"{self.kind.prefix}{self}"

    @property
    def key(self) -> str:
        """The canonical spelling, for folders and for the grants of LFS objects."""
        return f"{self.kind.value}/{self.owner}/{self.name}".lower()


def is_repo_name(text: str) -> bool:
    """Whether a text can name an owner or a repo, by the real Hub's rules."""
    if not _SEGMENT.fullmatch(text) or "--" in text or ".." in text:
        return False
    return not text.lower().endswith((".git", ".ipynb"))


def check_repo_name(text: str) -> str:
    """Return the name of an owner or repo if it is valid.

    Raises:
        HubError: it is not (400); the message states the rules.
    """
    if not is_repo_name(text):
        raise bad_request(
            f"Invalid name {text[:100]!r}: letters, digits, '-', '_' and '.', at most 96 characters, "
            "no '--' or '..', and neither starting nor ending with '-' or '.'"
        )
    return text


def check_ref_name(text: str, what: str) -> str:
    """Return the name of a branch or tag if it is valid; 40 hex digits are not, since they name a commit.

    Raises:
        HubError: the name is invalid (400).
    """
    looks_full = text.startswith("refs/") or text == "HEAD" or re.fullmatch(r"[0-9a-f]{40}", text)
    if looks_full or len(text) > 200 or not is_ref(f"refs/heads/{text}"):
        raise bad_request(f"Invalid reference for a {what}: {text[:200]}")
    return text


def is_ref(ref: str) -> bool:
    """Whether git accepts a text as a full reference name."""
    return "\0" not in ref and bool(pygit2.reference_is_valid_name(ref))


def check_path(text: str) -> str:
    """Return a file's path if it stays inside the repo on every system that clones it.

    Raises:
        HubError: the path is invalid (422).
    """
    parts = text.split("/")
    # To git a backslash is an ordinary character; the real Hub refuses only a leading `..\\`, a way out on Windows.
    if not text or len(text) > _MAX_PATH or any(ord(c) < 32 for c in text) or text.startswith("..\\"):
        raise _bad_path(text)
    for part in parts:
        # ".git" also with the trailing dots and spaces that Windows drops.
        if part in ("", ".", "..") or part.lower().rstrip(". ") == ".git":
            raise _bad_path(text)
    return text


def _bad_path(text: str) -> HubError:
    return HubError(422, f"Invalid path in the repo: {text[:200]!r}")
