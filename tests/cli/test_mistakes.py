"""What users mistype, and servers that are away: each is one message, and no input gives a traceback."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conceptry.suggestion import did_you_mean
from tasks import hub_check
from tests.cli.fuzz import Example, Result, carry_out, fuzz, template_world
from tests.support.fuzz_worlds import Template

PATIENCE_OF_CLIENTS = 60.0
"""Seconds that the clients wait for an answer, the first time."""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that every user may enter, because some commands run as one without rights."""
    with tempfile.TemporaryDirectory(prefix="conceptry-mistakes-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def template(place: Path) -> Iterator[Template]:
    """A world with `my-cat`, which has a version, and `my-dog`, whose images are missing."""
    with template_world(place) as made:
        yield made


@pytest.fixture(scope="module")
def said(template: Template, place: Path) -> Say:
    return Say(template, place)


class Say:
    """Runs a command in the clone, and returns what it did."""

    def __init__(self, template: Template, place: Path) -> None:
        self._template, self._place = template, place

    def __call__(self, *arguments: str, hub: str = "good", prefect: str = "none", **settings: str) -> Result:
        example = Example("1", [*arguments], "as it should be", hub, prefect, settings)
        result = carry_out(example, self._template, self._place)
        assert not result.problem, result.problem + result.output
        return result


@pytest.mark.parametrize(
    "arguments",
    [
        "show my-cta", "versions my-cta", "history my-cta", "diff my-cat my-cta@v1", "pull my-cta@v1 there",
        "gc my-cta", "verify my-cta", "delete my-cta", "adopt my-cta --yes", "rollback my-cta", "show MY-CAT",
        "history my_cat",
    ],
)  # fmt: skip
def test_a_mistyped_concept_gets_a_suggestion_everywhere(said: Say, arguments: str) -> None:
    result = said(*arguments.split())
    assert result.code == 1
    assert result.output.startswith("error: there is no concept named ")
    assert result.output.endswith("; did you mean my-cat?\n")


def test_a_concept_that_git_has_is_not_called_unknown(said: Say) -> None:
    assert "my-dog: has no published version" in said("show", "my-dog").output
    assert "there is no concept named zebra; `conceptry plan` lists all" in said("show", "zebra").output


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        ("verions my-cat", "did you mean versions or verify?"),
        ("base fetsh", "did you mean fetch?"),
        ("plan --jsno", "did you mean --json?"),
        ("gc --dys=3", "did you mean --days?"),
        ("show my-cat@relase", "did you mean release? Published: v1"),
        ("base mirror there --base-model tinny", "did you mean tiny?"),
    ],
)
def test_mistyped_commands_options_versions_and_base_models_get_a_suggestion(
    said: Say, arguments: str, question: str
) -> None:
    result = said(*arguments.split())
    assert result.code in (1, 2)
    assert question in " ".join(result.output.split())


def test_names_that_are_not_alike_are_not_suggested() -> None:
    assert did_you_mean("zebra", ["my-cat", "my-dog"]) is None
    assert did_you_mean("my-cap", ["my-cat", "my-car", "my-can", "my-cab"]) == "did you mean my-cat, my-car or my-can?"


@pytest.mark.parametrize("arguments", ["plan", "show my-cat", "gc", "history my-cat", "status"])
def test_a_hub_that_is_away_is_one_line_in_two_seconds_that_names_up(said: Say, arguments: str) -> None:
    result = said(*arguments.split(), hub="away")
    assert result.code == 1
    assert result.output.count("\n") == 1
    assert "does not respond (ConnectionRefusedError); start the servers with `conceptry up`" in result.output
    assert result.seconds < 2


@pytest.mark.parametrize("hub", ["500", "429", "no HTTP"])
def test_a_hub_that_is_overloaded_is_not_asked_again_for_half_a_minute(said: Say, hub: str) -> None:
    result = said("plan", hub=hub)
    assert result.code == 1
    assert result.output.startswith("error: the Hub at http://127.0.0.1:")
    assert result.seconds < 2


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for a second only."""
    monkeypatch.setattr(hub_check, "ANSWER", 1.0)


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize(
    ("arguments", "code", "found"),
    [
        ("plan", 1, "warning: training runs are not taken into account: the Prefect server at"),
        ("status", 1, "does not respond (ReadTimeout)"),
        ("logs my-cat", 1, "error: the Prefect server at"),
        ("doctor", 1, "does not respond (ReadTimeout)"),
        ("deploy", 1, "error: the Prefect server at"),
    ],
)
def test_a_prefect_server_that_hangs_is_said(said: Say, arguments: str, code: int, found: str) -> None:
    result = said(*arguments.split(), prefect="hangs")
    assert result.code == code, result.output
    assert found in result.output
    assert result.seconds < PATIENCE_OF_CLIENTS


@pytest.mark.parametrize("prefect", ["429", "502"])
@pytest.mark.parametrize("arguments", ["status", "deploy", "logs my-cat"])
def test_a_prefect_server_without_time_or_behind_a_proxy_that_misses_it_is_said(
    said: Say, arguments: str, prefect: str
) -> None:
    result = said(*arguments.split(), prefect=prefect)
    assert result.code == 1, result.output
    assert f"({prefect})" in result.output
    assert result.seconds < PATIENCE_OF_CLIENTS


@pytest.mark.usefixtures("hurry")
@pytest.mark.parametrize("arguments", ["plan", "doctor", "logs my-cta", "show my-cat"])
def test_a_hub_that_hangs_is_said_once(said: Say, arguments: str) -> None:
    result = said(*arguments.split(), hub="hangs")
    assert result.code == 1
    assert result.output.count("does not respond") == (0 if arguments.startswith("logs") else 1)
    assert result.seconds < PATIENCE_OF_CLIENTS


@pytest.mark.parametrize("hub", ["strange list", "object", "HTML", "cut short"])
def test_another_program_at_the_hubs_address_is_said(said: Say, hub: str) -> None:
    result = said("diff", "my-cat", "my-cat@v1", hub=hub)
    assert result.code == 1
    assert "CONCEPTRY_HUB_ENDPOINT" in result.output or "has no published version" in result.output


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("show my", "my-cat my-dog"),
        ("show my-cat@", "my-cat@v1 my-cat@release my-cat@latest"),
        ("diff my-cat@v1 my-cat@l", "my-cat@latest"),
        ("vers", "versions"),
        ("history --js", "--json"),
        ("base mirror there --base-model s", "sd-v1-4"),
    ],
)
def test_the_shell_completes_commands_options_concepts_and_versions(said: Say, words: str, expected: str) -> None:
    typed = ["conceptry", *words.split()]
    shell = {"COMP_WORDS": "\n".join(typed), "COMP_CWORD": str(len(typed) - 1), "_CONCEPTRY_COMPLETE": "complete_bash"}
    assert said(**shell).output.split() == expected.split()


def test_completion_says_nothing_of_a_hub_that_is_away(said: Say) -> None:
    shell = {"COMP_WORDS": "conceptry\nshow\nmy-c", "COMP_CWORD": "2", "_CONCEPTRY_COMPLETE": "complete_bash"}
    assert said(hub="away", **shell).output == "my-cat\n"


def test_a_folder_that_was_deleted_under_the_shell_is_said(template: Template, place: Path) -> None:
    example = Example("1", ["lint"], "folder is gone", "good", "none", {})
    assert "the current folder no longer exists" in carry_out(example, template, place).output


def test_a_process_without_stdout_ends_as_any_other(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -m cli --version >&-"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_command_ends_with_a_traceback(template: Template, place: Path) -> None:
    # The last test of this file: some of the commands delete versions.
    failed = [f"{one.example}\n{one.problem}\n{one.output}" for one in fuzz(40, 20, template, place).failed]
    assert failed == []
