"""Edits of a concept.yaml that keep its comments and its layout."""

import yaml

from conceptry.concept import load_spec
from conceptry.errors import Problem, SpecError

_BY_HAND = "cannot be changed by a program without losing its layout; write it yourself"


def with_release(text: str, release: str, path: str) -> str:
    """Return the text of a concept.yaml with another value of `release`; everything else stays as it is.

    Args:
        text: The current text, without mistakes.
        release: The new value.
        path: For errors.

    Raises:
        SpecError: the file has mistakes, or is laid out so that the value cannot be replaced.
    """
    load_spec(text, path)
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    values = [value for key, value in root.value if key.value == "release"]
    if values:
        start, end = values[0].start_mark.index, values[0].end_mark.index
        changed = text[:start] + release + text[end:]
    else:
        changed = text + ("" if text.endswith("\n") else "\n") + f"release: {release}\n"
    try:
        right = load_spec(changed, path).release == release
    except SpecError:
        right = False
    if not right:
        raise SpecError([Problem(None, "release", _BY_HAND)], path)
    return changed
