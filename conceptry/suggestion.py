"""Suggestions for mistyped names: of commands, options, concepts, versions and base models."""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST = 3
_CUTOFF = 0.6
"""Similarity, of difflib's ratio from 0 to 1, from which a name is suggested."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    """Return the question "did you mean my-cat?", with up to three known names that are alike; None if none is."""
    by_lower = {name.casefold(): name for name in sorted(set(known), reverse=True)}
    close = get_close_matches(wrong.casefold(), by_lower, n=_MOST, cutoff=_CUTOFF)
    names = [by_lower[name] for name in close]
    if not names:
        return None
    return f"did you mean {names[0] if len(names) == 1 else ', '.join(names[:-1]) + ' or ' + names[-1]}?"
