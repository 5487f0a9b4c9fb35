"""The command line explains itself, and answers before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer

from cli.app import app


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, (*path, name))


ALL = dict(_commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", ALL, ids=lambda path: " ".join(path) or "conceptry")
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    command = ALL[path]
    assert command.help, path  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None) or parameter.hidden, (path, parameter.name)


def test_the_commands_are_those_of_the_readme() -> None:
    names = {path[0] for path in ALL if len(path) == 1}
    of_versions = {"versions", "show", "diff", "pull", "history", "import", "verify", "gc", "delete"}
    assert (
        names
        == {"new", "lint", "plan", "apply", "train", "up", "demo", "playground", "endpoint", "hub", "setup", "base"}
        | of_versions
    )


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'prefect', 'tensorflow', 'keras', 'huggingface_hub', 'dvc', 'gradio', 'pydantic', 'numpy'}"
    program = (
        "import sys\nfrom cli import main\nsys.argv = ['conceptry', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    sys.exit(str({heavy} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
