"""Versions that trainings start from."""

from dataclasses import replace

import pytest

from conceptry.initial_version import words_of
from conceptry.initializer import InitialVersion
from conceptry.version import Version

FIRST = Version(1, "a" * 64, "b" * 64, "c" * 40, "passed", "d" * 32, "2026-11-01T00:00:00+00:00")


def version(number: int, initializer: str) -> Version:
    return replace(FIRST, number=number, fingerprint=f"{number:064}", spec={"initializer_token": initializer})


CHAIN = {
    InitialVersion("cat", "v1"): version(1, "stuffed animal"),
    InitialVersion("cat", "v2"): version(2, "cat@v1"),
    InitialVersion("cat", "v3"): version(3, "dog@v9"),
    InitialVersion("cat", "v4"): version(4, "cat@v5"),
    InitialVersion("cat", "v5"): version(5, "cat@v4"),
    InitialVersion("cat", "v6"): replace(FIRST, number=6),
}


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("v1", "stuffed animal"),
        ("v2", "stuffed animal"),
        ("v3", "object"),  # dog@v9 was deleted
        ("v4", "object"),  # two that name each other, as after a repo was made anew
        ("v6", "object"),  # an index that does not say
    ],
)
def test_words_of_a_version_are_those_that_its_line_began_with(start: str, words: str) -> None:
    assert words_of(CHAIN[InitialVersion("cat", start)], CHAIN.get, default="object") == words


@pytest.mark.parametrize("text", ["cat", "stuffed animal", "cat@v0", "cat@", "@v1", "Cat@v1", "cat@v1 ", "a@b@v1"])
def test_words_are_no_version(text: str) -> None:
    assert InitialVersion.parse(text) is None
