"""Withdrawals in a concept.yaml that is invalid otherwise: a mistake elsewhere must not keep something public."""

import re

import yaml

from conceptry.yaml_spec import MAX_CHARACTERS

_NONE = re.compile(r"""^release:\s*["']?none["']?\s*(#.*)?$""", re.MULTILINE)
_PRIVATE = re.compile(r"^\s+private:\s*true\s*(#.*)?$", re.MULTILINE)


def read_withdrawal(text: str | None) -> tuple[bool, bool]:
    """Return whether an invalid concept.yaml says `space.private: true`, and whether it says `release: none`.

    Lines are read where the text is not valid YAML.
    """
    if not text or len(text) > MAX_CHARACTERS:
        return False, False
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return bool(_PRIVATE.search(text)), bool(_NONE.search(text))
    if not isinstance(document, dict):
        return False, False
    space = document.get("space")
    return isinstance(space, dict) and space.get("private") is True, document.get("release") == "none"
