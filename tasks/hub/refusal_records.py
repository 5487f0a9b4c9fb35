"""Records, in the scratch folder, of what the Hub refused and until when it is not asked again.

They save requests that would be refused, over all processes of a machine. Without them the Hub is asked again: a
record that cannot be read or written changes nothing else.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from conceptry.errors import RateLimitedError, RefusedError
from conceptry.reasons import ActionReason
from conceptry.refusal import Refusal
from conceptry.work_folder import WorkFolder
from tasks.file_io import write_atomically

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T", bound=BaseModel)


class _Refused(BaseModel):
    """Content of refused/NAME.json."""

    model_config = ConfigDict(frozen=True)

    reason: ActionReason
    cause: str
    serving: str
    again: AwareDatetime


class _Limited(BaseModel):
    """Content of hub-limit.json."""

    model_config = ConfigDict(frozen=True)

    words: str
    until: AwareDatetime


@contextmanager
def remember(work: WorkFolder, name: str, serving: str | None = None) -> Iterator[None]:
    """Record what the Hub refuses within the block, and delete the record when it takes the change.

    Args:
        work: Scratch folder.
        name: Name of the concept.
        serving: Serving fingerprint that its Space gets in the block; None if it writes no Space.
    """
    try:
        yield
    except RateLimitedError as error:
        note_limit(work, error)
        raise
    except RefusedError as error:
        if serving is not None:
            _note_refused(work, name, serving, error)
        raise
    if serving is not None:
        work.refused(name).unlink(missing_ok=True)


def _note_refused(work: WorkFolder, name: str, serving: str, error: RefusedError) -> None:
    cause = str(error).removeprefix(f"{error.concept}: ")
    record = _Refused(reason=error.reason, cause=cause, serving=serving, again=error.not_before)
    _write(work.refused(name), record)


def read_refused(work: WorkFolder, names: Iterable[str], now: datetime | None = None) -> Mapping[str, Refusal]:
    """Return what the Hub refused to do for these concepts, by name.

    Args:
        work: Scratch folder.
        names: Names of the concepts.
        now: Current time of this machine.
    """
    moment = now or datetime.now(UTC)
    found = ((name, _read(work.refused(name), _Refused)) for name in names)
    return {name: Refusal(one.reason, one.cause, one.serving, due=moment >= one.again) for name, one in found if one}


def note_limit(work: WorkFolder, error: Exception) -> None:
    """Record that the Hub takes no changes, if the error is a 429 that says so and until when."""
    if isinstance(error, RateLimitedError) and error.writes and error.not_before is not None:
        words = str(error).removeprefix(f"{error.concept}: ")
        _write(work.hub_limit, _Limited(words=words, until=error.not_before))


def read_limit(work: WorkFolder, now: datetime | None = None) -> str | None:
    """Return why the Hub takes no changes now, in words; None if it does."""
    found = _read(work.hub_limit, _Limited)
    return found.words if found and (now or datetime.now(UTC)) < found.until else None


def _write(path: Path, record: BaseModel) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, record.model_dump_json().encode())
    except OSError as error:
        _LOG.warning("%s could not be written: %s", path, error)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
