"""The filter of ListCustomJobs: `labels.team="x" AND (state="JOB_STATE_RUNNING" OR NOT display_name:"old*")`.

Fields: name, display_name, state, create_time, update_time, labels.KEY. `:` matches a part (with * anywhere), and
`labels.KEY:*` tests whether the label exists. AND binds tighter than OR here; Vertex AI
documents no precedence, so clients should write parentheses.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping

Fields = Mapping[str, str]
Test = Callable[[Fields], bool]
_TOKEN = re.compile(r'\s*(?:(\(|\))|(<=|>=|!=|=|<|>|:)|"((?:[^"\\]|\\.)*)"|([\w.*/-]+))')
_FIELDS = re.compile(r"name|display_name|state|create_time|update_time|labels\.[a-z][a-z0-9_-]*")


def parse(text: str) -> Test:
    """Parse a filter.

    Raises:
        ValueError: the syntax is wrong, or it names a field that jobs do not have.
    """
    if not text.strip():
        return lambda _: True
    parser = _Parser(_tokens(text))
    test = parser.any_of()
    if parser.left:
        raise ValueError(f"unexpected {parser.left[0][1]!r} in filter")
    return test


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position = [], 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read the filter at {text[position:]!r}")
        kind = ("bracket", "operator", "text", "word")[match.lastindex - 1 if match.lastindex else 0]
        tokens.append((kind, match[match.lastindex or 0]))
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.left = tokens

    def any_of(self) -> Test:
        tests = [self._all_of()]
        while self._take("word", "OR"):
            tests.append(self._all_of())
        return lambda fields: any(test(fields) for test in tests)

    def _all_of(self) -> Test:
        tests = [self._one()]
        while self._take("word", "AND"):
            tests.append(self._one())
        return lambda fields: all(test(fields) for test in tests)

    def _one(self) -> Test:
        if self._take("word", "NOT"):
            test = self._one()
            return lambda fields: not test(fields)
        if self._take("bracket", "("):
            test = self.any_of()
            if not self._take("bracket", ")"):
                raise ValueError("a bracket is not closed in the filter")
            return test
        field, operator, value = self._next("word"), self._next("operator"), self._next("text", "word")
        if not _FIELDS.fullmatch(field):
            raise ValueError(f"jobs have no field {field!r} to filter by")
        return _comparison(field, operator, value)

    def _take(self, kind: str, value: str) -> bool:
        if self.left and self.left[0] == (kind, value):
            self.left = self.left[1:]
            return True
        return False

    def _next(self, *kinds: str) -> str:
        if not self.left or self.left[0][0] not in kinds:
            raise ValueError(f"expected a {' or a '.join(kinds)} in the filter")
        (_, value), self.left = self.left[0], self.left[1:]
        return value


def _comparison(field: str, operator: str, value: str) -> Test:
    if operator == ":":
        return lambda fields: (
            field in fields and fnmatch.fnmatchcase(fields[field], value if "*" in value else f"*{value}*")
        )
    compare: dict[str, Callable[[str, str], bool]] = {
        "=": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        ">": lambda a, b: a > b,
        "<=": lambda a, b: a <= b,
        ">=": lambda a, b: a >= b,
    }
    test = compare[operator]
    return lambda fields: test(fields.get(field, ""), value)
