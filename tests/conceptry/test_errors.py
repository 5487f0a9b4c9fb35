"""The tree of errors: one message each, and they survive the ways of Prefect."""

import pickle

import pytest

from conceptry import errors
from conceptry.errors import (
    ConceptryError,
    ImageError,
    PaymentRequiredError,
    PublishConflictError,
    RateLimitedError,
    RefusedError,
    TrainingError,
    TransientError,
    moment_in,
)


def tree(base: type[ConceptryError]) -> list[type[ConceptryError]]:
    return [base, *(kind for child in base.__subclasses__() for kind in tree(child))]


def test_the_drawing_shows_every_class() -> None:
    for kind in (kind for kind in tree(ConceptryError) if kind.__module__ == errors.__name__):
        assert kind.__name__ in (errors.__doc__ or "")
        assert kind.__doc__


def test_what_is_worth_another_try() -> None:
    retryable = {kind for kind in tree(ConceptryError) if kind.retryable and kind.__module__ == errors.__name__}
    assert retryable == {TransientError, RateLimitedError, PublishConflictError, PaymentRequiredError}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConceptryError("it broke"), "it broke"),
        (ImageError("is no picture", concept="my-cat", file="a.jpg"), "my-cat: a.jpg: is no picture"),
        (TransientError("no answer", next_step="try again"), "no answer; try again"),
        (
            TrainingError("the loss is NaN", exit_code=3, last_lines=["step 4", "loss nan"], concept="my-cat"),
            "my-cat: the loss is NaN (exit code 3)\n  | step 4\n  | loss nan",
        ),
    ],
)
def test_messages(error: ConceptryError, message: str) -> None:
    assert str(error) == message
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == message
    assert vars(copy) == vars(error)


@pytest.mark.parametrize("error", [RateLimitedError("no", retry_after=90, writes=False), RefusedError("no"),
                                   PaymentRequiredError("no", concept="my-cat", next_step="pay")])  # fmt: skip
def test_a_refusal_says_until_when_also_after_the_way_through_prefect(error: RateLimitedError | RefusedError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), vars(copy)) == (str(error), vars(error))
    assert str(error).count("not before") == 1
    assert error.not_before is not None
    assert moment_in(str(copy)) == error.not_before.replace(microsecond=0)
