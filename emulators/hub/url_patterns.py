"""Convertors of URL patterns, which match raw, still quoted paths.

{x:part}     one segment; a revision in it may hold quoted slashes
{x:name}     one segment that can name an owner or a repo
{x:rest}     the rest of the path
{x:kind}     models, datasets or spaces, in API URLs
{x:prefix}   the same in URLs of pages and files, where models have no prefix
{x:table}    secrets or variables
{x:switch}   enable or disable
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from starlette.convertors import Convertor, register_url_convertor

from emulators.hub.names import Kind

REPO = "/api/{kind:kind}/{owner:part}/{name:part}"
REPO_FILES = "/{kind:prefix}{owner:part}/{name:part}"


class _Part(Convertor[str]):
    """One segment of the raw path, unquoted after the split, since a revision may hold slashes."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return value


class _Name(_Part):
    """One segment that can name an owner or a repo."""

    regex = "[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"


class _Rest(_Part):
    """The rest of the path."""

    regex = ".*"


class _Kind(Convertor[Kind]):
    """The kind of a repo in API URLs."""

    regex = "models|datasets|spaces"

    def convert(self, value: str) -> Kind:
        return Kind(value)

    def to_string(self, value: Kind) -> str:
        return value.value


class _Prefix(_Kind):
    """The kind of a repo in URLs of pages and files, where models have no prefix."""

    regex = "(?:datasets/|spaces/)?"

    def convert(self, value: str) -> Kind:
        return Kind(value.rstrip("/") or "models")

    def to_string(self, value: Kind) -> str:
        return value.prefix


class _Table(_Part):
    """The two tables of a Space."""

    regex = "secrets|variables"


class _Switch(_Part):
    """On and off."""

    regex = "enable|disable"


_CONVERTORS: dict[str, Convertor[Any]] = {
    "part": _Part(),
    "name": _Name(),
    "rest": _Rest(),
    "kind": _Kind(),
    "prefix": _Prefix(),
    "table": _Table(),
    "switch": _Switch(),
}
for _name, _convertor in _CONVERTORS.items():
    register_url_convertor(_name, _convertor)
