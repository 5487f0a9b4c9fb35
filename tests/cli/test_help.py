"""The command line explains itself, and answers before anything heavy is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cli.app import COMMANDS, GROUPS, LazyCommand

LAZY = {
    **{(name,): LazyCommand(name, *about) for name, about in COMMANDS.items()},
    **{
        (group, name): LazyCommand(name, *about)
        for group, (_, commands) in GROUPS.items()
        for name, about in commands.items()
    },
}


@pytest.mark.parametrize("path", LAZY, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    command = LAZY[path].load()
    assert command.help, path
    for parameter in command.params:
        assert getattr(parameter, "help", None) or parameter.hidden, (path, parameter.name)


def test_the_commands_are_those_of_the_readme() -> None:
    names = {*COMMANDS, *GROUPS}
    of_versions = {"versions", "show", "diff", "pull", "history", "import", "verify", "gc", "delete", "adopt"}
    assert (
        names
        == {
            "init",
            "new",
            "lint",
            "plan",
            "apply",
            "train",
            "deploy",
            "rollback",
            "status",
            "logs",
            "doctor",
            "worker",
            "up",
            "demo",
            "playground",
            "endpoint",
            "hub",
            "setup",
            "team",
            "base",
        }
        | of_versions
    )


def test_the_overview_lists_every_command_with_its_summary() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "--help"], capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    for name, (_, summary) in COMMANDS.items():
        assert f" {name} " in done.stdout
        assert summary in done.stdout


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'prefect', 'tensorflow', 'keras', 'huggingface_hub', 'dvc', 'gradio', 'pydantic', 'numpy'}"
    program = (
        "import sys\nfrom cli import main\nsys.argv = ['conceptry', '--help']\n"
        f"try:\n    main()\nexcept SystemExit:\n    sys.exit(str({heavy} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
