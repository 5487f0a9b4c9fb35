"""Value of `initializer_token`: words of the base model, or a published version to start from."""

import re
from typing import NamedTuple

_VERSION = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)@(v[1-9][0-9]{0,5})")
_WORDS = re.compile(r"[^\s<>@]+(?: [^\s<>@]+){0,3}")
_LONGEST = 72


class InitialVersion(NamedTuple):
    """A published version whose vectors a training starts from: `my-cat@v3`."""

    name: str
    version: str

    @classmethod
    def parse(cls, initializer: str) -> "InitialVersion | None":
        """Parse an initializer; None if it is words."""
        match = _VERSION.fullmatch(initializer)
        return cls(*match.groups()) if match else None

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def check_initializer(text: str) -> str:
    """Return an initializer unchanged.

    Raises:
        ValueError: it is neither one to four lower-case words nor a version.
    """
    is_words = _WORDS.fullmatch(text) is not None and text == text.lower()
    if len(text) > _LONGEST or not (is_words or InitialVersion.parse(text)):
        raise ValueError(
            f"{text!r} is not an initializer: write one lower-case word, or up to four with single spaces between "
            "them, for example cat or stuffed animal; or a published version to start from, for example my-cat@v3"
        )
    return text
