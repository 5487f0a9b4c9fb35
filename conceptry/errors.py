"""Exceptions of the project, as one tree.

    ConceptryError
    ├── SpecError                mistakes in concept.yaml or images.dvc, all of a file at once
    ├── ImageError               an image file that cannot be used for training
    ├── DataMissingError         in git, but not in the DVC remote: `dvc push` was not run
    ├── DataCorruptError         bytes with another md5 than the one they are stored under
    ├── TrainingError            the trainer or its job failed
    │   └── TrainingCancelled    the user cancelled the run
    ├── TransientError           a retry may succeed: network, 5xx, 429                (retryable)
    │   └── RateLimitedError     the Hub takes no more requests of a kind until a moment (429)
    ├── HubError                 the Hub refused a request, or holds unexpected data
    │   ├── PublishConflictError another process published at the same time            (retryable)
    │   └── RefusedError         the Hub refused a change until somebody acts (403)
    │       └── PaymentRequiredError  it wants a plan, a way to pay, or less storage   (retryable)
    ├── UnknownConceptError      a user named a concept that was not found where it was looked for
    ├── StalePlanError           git or the Hub has changed since the plan was saved
    ├── UnexpectedError          an exception about one concept that is a bug, or damage that no check finds
    ├── MissingExtraError        a part of the project that this command needs is not installed
    └── SettingsError            CONCEPTRY_... settings that are missing or wrong

A message says what happened, in which concept and file, and what to do next. `retryable` is whether the same call may
succeed later; for bad data it is false. All of them can be pickled, because Prefect stores results.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from conceptry.reasons import ActionReason

NOT_BEFORE = "not before "
_MOMENT = re.compile(NOT_BEFORE + r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC")

MAX_WORDS = 300
"""Characters of the text of a foreign exception that a message quotes."""


class ConceptryError(Exception):
    """Base class; `str()` returns "CONCEPT: FILE: what happened; what to do next", with the parts that are known."""

    retryable: ClassVar[bool] = False

    def __init__(
        self, what: str, *, concept: str | None = None, file: str | None = None, next_step: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.concept = concept
        self.file = file
        self.next_step = next_step

    def __str__(self) -> str:
        where = [part for part in (self.concept, self.file) if part]
        message = ": ".join([*where, self.what])
        return f"{message}; {self.next_step}" if self.next_step else message


@dataclass(frozen=True)
class Problem:
    """Mistake in a file: its line (from 1; None if unknown), the dotted key, and a message."""

    line: int | None
    field: str
    message: str

    def located(self, path: str) -> str:
        """Return `path:4: key: message`, the format of compilers, which editors can jump to."""
        place = path if self.line is None else f"{path}:{self.line}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class SpecError(ConceptryError):
    """A file of a concept has mistakes; `problems` holds all of them, the message one per line."""

    def __init__(self, problems: Sequence[Problem], path: str) -> None:
        self.problems = tuple(problems)
        self.path = path
        super().__init__("\n".join(problem.located(path) for problem in self.problems))

    def __reduce__(self) -> tuple[type["SpecError"], tuple[tuple[Problem, ...], str]]:
        return (type(self), (self.problems, self.path))


class ImageError(ConceptryError):
    """An image file is damaged, too small, too large, or not an image; `file` names it."""


class DataMissingError(ConceptryError):
    """The images are in git but not in the DVC remote."""


class DataCorruptError(ConceptryError):
    """An object of the DVC remote does not have the md5 that it is stored under."""


class TrainingError(ConceptryError):
    """The trainer or its job failed; `exit_code` and the `last_lines` of its output describe how."""

    def __init__(
        self,
        what: str,
        *,
        exit_code: int | None = None,
        last_lines: Sequence[str] = (),
        concept: str | None = None,
        file: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(what, concept=concept, file=file, next_step=next_step)
        self.exit_code = exit_code
        self.last_lines = tuple(last_lines)

    def __str__(self) -> str:
        code = "" if self.exit_code is None else f" (exit code {self.exit_code})"
        return "\n".join([super().__str__() + code, *(f"  | {line}" for line in self.last_lines)])


class TrainingCancelled(TrainingError):
    """The user cancelled the run, and its training was stopped."""


class TransientError(ConceptryError):
    """A failure after which a retry may succeed: the network, a 5xx response, 429 Too Many Requests.

    `not_before` is the moment before which a retry fails, if the other side said so; the message contains it in UTC.
    """

    retryable = True

    def __init__(
        self,
        what: str,
        *,
        retry_after: float | None = None,
        concept: str | None = None,
        file: str | None = None,
        next_step: str | None = None,
    ) -> None:
        self.not_before = None if retry_after is None else datetime.now(UTC) + timedelta(seconds=retry_after)
        when = f", {NOT_BEFORE}{self.not_before:%Y-%m-%d %H:%M:%S} UTC" if self.not_before else ""
        super().__init__(what + when, concept=concept, file=file, next_step=next_step)


class RateLimitedError(TransientError):
    """The Hub takes no more requests of a kind before the moment `not_before` (429).

    `writes` is whether it takes no more changes.
    """

    def __init__(
        self,
        what: str,
        *,
        retry_after: float | None = None,
        writes: bool = True,
        concept: str | None = None,
        file: str | None = None,
        next_step: str | None = None,
    ) -> None:
        super().__init__(what, retry_after=retry_after, concept=concept, file=file, next_step=next_step)
        self.writes = writes


def moment_in(message: str) -> datetime | None:
    """Return the moment before which a retry fails, from the message of an error; None if it says none."""
    found = _MOMENT.search(message)
    return None if found is None else datetime.fromisoformat(found[1]).replace(tzinfo=UTC)


class HubError(ConceptryError):
    """The Hub refused a request permanently, or holds data that Conceptry did not write."""


class PublishConflictError(HubError):
    """Another process published between the read and the write; a retry reads again and may find the version."""

    retryable = True


class RefusedError(HubError):
    """The Hub refused a change until a user changes the account, the token or concept.yaml.

    `reason` is that of the hold in a plan, `not_before` the moment at which the change is tried again, after the pause
    `ask_again`: within it, a new right or a new plan is noticed.
    """

    reason: ClassVar[ActionReason] = ActionReason.HUB_REFUSED
    ask_again: ClassVar[timedelta] = timedelta(minutes=15)

    def __init__(
        self,
        what: str,
        *,
        concept: str | None = None,
        file: str | None = None,
        next_step: str | None = None,
    ) -> None:
        # Whole minutes, so that concepts that are refused together give one message.
        self.not_before = (datetime.now(UTC) + self.ask_again).replace(second=0, microsecond=0)
        again = f" (tried again {NOT_BEFORE}{self.not_before:%Y-%m-%d %H:%M:%S} UTC)"
        super().__init__(what + again, concept=concept, file=file, next_step=next_step)


class PaymentRequiredError(RefusedError):
    """The Hub wants a plan, a way to pay, or less storage in use; it takes the change once the account has it."""

    retryable = True
    reason = ActionReason.PAYMENT_REQUIRED
    ask_again = timedelta(hours=1)


def left_to_the_plan(error: Exception) -> bool:
    """Whether a later plan carries out an action that failed with this error, and not a retry."""
    return isinstance(error, (RefusedError, RateLimitedError))


class UnknownConceptError(ConceptryError):
    """A concept that a user named was not found; `concept` is its name.

    `local.current_setup` turns it into a suggestion if neither git nor the Hub has a concept of this name.
    """


class StalePlanError(ConceptryError):
    """A saved plan differs from the plan that would be made now."""

    def __init__(self, what: str) -> None:
        super().__init__(what, next_step="review a new plan: `conceptry plan --out FILE`")

    def __reduce__(self) -> tuple[type["StalePlanError"], tuple[str]]:
        return (type(self), (self.what,))


class UnexpectedError(ConceptryError):
    """Any other exception about one concept; `conceptry.isolation.isolate` logs its traceback."""

    def __init__(self, what: str, *, concept: str | None = None) -> None:
        words = " ".join(what.split())
        super().__init__(
            f"an unexpected error ({words if len(words) <= MAX_WORDS else words[:MAX_WORDS] + '...'})",
            concept=concept,
            next_step="its traceback is in the log",
        )


class MissingExtraError(ConceptryError):
    """An extra of the package is not installed; the message has the command that installs it."""


class SettingsError(ConceptryError):
    """Settings are missing or wrong; the message names every one of them, and never a secret."""
