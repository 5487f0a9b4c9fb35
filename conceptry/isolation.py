"""Isolation between concepts: an exception about one concept holds that concept, and the others continue.

Every loop over concepts calls `isolate`, so that no exception that nobody thought of ends the loop. Exceptions that the
project does not raise itself are logged with their traceback; Prefect attaches this logger to the log of a run.
"""

import logging
import re
from collections.abc import Callable
from typing import TypeVar

from conceptry.errors import ConceptryError, UnexpectedError

T = TypeVar("T")
F = TypeVar("F")
_logger = logging.getLogger(__name__)
# Control characters and surrogates: a terminal would obey the first, and UTF-8 cannot encode the second.
_UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def isolate(name: str, call: Callable[[], T], failed: Callable[[ConceptryError], F]) -> T | F:
    """Return the result of a call that is about one concept, or what `failed` makes of its exception.

    Args:
        name: Name of the concept.
        call: Function to call.
        failed: Called with the exception; one that is not a ConceptryError is logged, and passed as UnexpectedError.
    """
    try:
        return call()
    except ConceptryError as error:
        return failed(error)
    except Exception as error:
        _logger.error("%s: an unexpected error", printable(name), exc_info=True)
        return failed(UnexpectedError(f"{type(error).__name__}: {error}", concept=name))


def printable(text: str) -> str:
    """Return the text with control characters except newlines, and what is not Unicode, as escapes such as \\x1b."""
    return _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def printable_name(name: str) -> str:
    """Return the name of a folder on one line."""
    return printable(name).replace("\n", "\\n")
