"""Everything that can go wrong, as one tree.

    ConceptryError
    ├── SpecError                mistakes in concept.yaml or images.dvc, all of a file at once
    ├── ImageError               a picture that cannot be trained on
    ├── DataMissingError         in git, not in the DVC remote: `dvc push` was forgotten
    ├── DataCorruptError         bytes that do not have the md5 they should have
    ├── TrainingError            the trainer ended badly
    │   └── TrainingCancelled    a person ended it
    ├── TransientError           what can pass by itself: network, 5xx, 429            (retryable)
    ├── HubError                 the Hub refused, or holds something unexpected
    │   └── PublishConflictError somebody else published meanwhile: look again         (retryable)
    ├── StalePlanError           a saved plan, and git or the Hub has moved since
    └── SettingsError            CONCEPTRY_... settings that are missing or wrong

A message says what happened, in which concept and file, and what to do next. `retryable` tells a flow whether the same
call may succeed a little later; bad data never does. All of them survive pickling, because Prefect stores results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class ConceptryError(Exception):
    """The base: `str()` gives "CONCEPT: FILE: what happened; what to do next", with the parts that are known."""

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
    """One mistake in a file: the line (from 1, where known), the dotted key, and what is wrong with it."""

    line: int | None
    field: str
    message: str

    def located(self, path: str) -> str:
        """Write it the way compilers do, so that editors can jump to it: `path:4: key: message`."""
        place = path if self.line is None else f"{path}:{self.line}"
        return ": ".join(part for part in (place, self.field, self.message) if part)


class SpecError(ConceptryError):
    """A file of a concept has mistakes; all of them are in `problems`, one a line in the message."""

    def __init__(self, problems: Sequence[Problem], path: str) -> None:
        self.problems = tuple(problems)
        self.path = path
        super().__init__("\n".join(problem.located(path) for problem in self.problems))

    def __reduce__(self) -> tuple[type["SpecError"], tuple[tuple[Problem, ...], str]]:
        return (type(self), (self.problems, self.path))


class ImageError(ConceptryError):
    """A picture is broken, too small, too large, or no picture at all; `file` names it."""


class DataMissingError(ConceptryError):
    """The images are in git but not in the DVC remote."""


class DataCorruptError(ConceptryError):
    """An object of the DVC remote does not have the md5 that it is stored under."""


class TrainingError(ConceptryError):
    """The trainer ended badly; `exit_code` and the `last_lines` of its output say how."""

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
    """A person cancelled the run, and its training was ended with it."""


class TransientError(ConceptryError):
    """Something that can pass by itself: the network, a 5xx answer, 429 Too Many Requests."""

    retryable = True


class HubError(ConceptryError):
    """The Hub refused a request for good, or holds something that Conceptry did not write."""


class PublishConflictError(HubError):
    """Somebody else published between our look and our write: look again, the version may be there by now."""

    retryable = True


class StalePlanError(ConceptryError):
    """A saved plan that no longer says what would be done."""

    def __init__(self, what: str) -> None:
        super().__init__(what, next_step="look at a new one: `conceptry plan`")

    def __reduce__(self) -> tuple[type["StalePlanError"], tuple[str]]:
        return (type(self), (self.what,))


class SettingsError(ConceptryError):
    """Settings are missing or wrong; the message names every one of them, and never a secret."""
