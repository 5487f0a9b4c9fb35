"""Withdrawals in a concept.yaml that is invalid otherwise: a mistake elsewhere must not keep something public."""

import re

import yaml

from conceptry.yaml_spec import MAX_CHARACTERS

_NONE = re.compile(r"""^release:[ \t]*["']?none["']?[ \t]*\r?(#.*)?$""", re.MULTILINE)
_PRIVATE = re.compile(r"^[ \t]+private:[ \t]*true[ \t]*\r?(#.*)?$", re.MULTILINE)


def read_withdrawal(text: str | None) -> tuple[bool, bool]:
    """Return whether an invalid concept.yaml says `space.private: true`, and whether it says `release: none`.

    Lines are read where the text is not valid YAML.
    """
    if not text:
        return False, False
    try:
        document = yaml.safe_load(text) if len(text) <= MAX_CHARACTERS else None
    except Exception:  # noqa: BLE001 - whatever YAML makes of it, a withdrawal counts
        document = None
    if document is None:
        return bool(_PRIVATE.search(text)), bool(_NONE.search(text))
    if not isinstance(document, dict):
        return False, False
    space = document.get("space")
    return isinstance(space, dict) and space.get("private") is True, document.get("release") == "none"
