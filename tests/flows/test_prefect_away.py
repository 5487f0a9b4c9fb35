"""Commands while the Prefect server is away, or refuses: one line that says what to do, and the exit code."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
import typer
from prefect.settings import PREFECT_API_URL, temporary_settings

import cli.plan
from cli.exit_codes import PLAN_BROKEN
from local.child_process import environment_without_credentials, free_port
from tasks.processes import python_module
from tests.support.answering_server import answering
from tests.support.registry_world import World

SEEDS = count(89000, 100)


@contextmanager
def refusing() -> Iterator[str]:
    """A server that answers 401 to everything, as Prefect's does without its auth string; yields its API's address."""
    with answering(lambda *_: (401, "application/json", b"{}")) as port:
        yield f"http://127.0.0.1:{port}/api"


@contextmanager
def away() -> Iterator[str]:
    """An address at which nobody listens."""
    yield f"http://127.0.0.1:{free_port(0)}/api"


@pytest.mark.parametrize(
    ("server", "words"),
    [(away, ["does not respond", "correct PREFECT_API_URL"]), (refusing, ["refuses (401)", "PREFECT_API_AUTH_STRING"])],
)
def test_the_plan_says_that_it_does_not_know_the_runs(
    world: World, server: Any, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    world.write("far-cat", seed=next(SEEDS))
    world.push()
    with server() as api, temporary_settings({PREFECT_API_URL: api}), pytest.raises(typer.Exit) as ended:
        cli.plan.command(images=False)
    said = capsys.readouterr()
    assert ended.value.exit_code == PLAN_BROKEN
    assert "far-cat" in said.out
    assert [line for line in said.err.splitlines() if all(word in line for word in words)] == said.err.splitlines()


def test_a_command_that_needs_the_server_says_so_without_a_traceback(world: World) -> None:
    world.write("far-cat", seed=next(SEEDS))
    world.push()
    with refusing() as api:
        environment = environment_without_credentials() | world.variables() | {"PREFECT_API_URL": api}
        command = python_module("cli", "train", "far-cat")
        done = subprocess.run(command, env=environment, cwd=world.clone, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the Prefect server at {api} refuses (401)")
    assert "Traceback" not in done.stderr
