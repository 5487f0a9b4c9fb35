"""New templates reach one Space first, and the others when that one runs; the Hub runs their apps."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from emulators.hub.apps.limits import Limits
from emulators.hub.server import running
from flows.train_concept import train_concept
from flows.watch import watch
from tests.support.registry_world import World
from tests.support.wait import wait_until

SEEDS = count(41_000, 100)
NAMES = ("ant", "bee", "cat")
OLDER = "templates=00000000"
APP = """
import http.server, os, sys
if {fails} and b"{older}" not in open("README.md", "rb").read():
    sys.exit(3)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def hub_url(tmp_path: Path) -> Iterator[str]:
    """A local Hub that runs Spaces."""
    with running(tmp_path / "hub", limits=Limits(apps=4, start_seconds=30)) as server:
        yield server.url


def write(world: World, name: str, seed: int, *, fails: bool = False) -> None:
    """Write a concept whose app, if it `fails`, runs with the older templates only."""
    app = APP.format(fails=fails, older=OLDER)
    world.write(name, seed=seed, space={"override": {"app.py": app, "requirements.txt": ""}})


def make_older(world: World, name: str) -> None:
    """Let a Space be one of older templates, by its stamp."""
    text = world.space_file(name, "README.md").decode()
    front, found, rest = text.partition("templates=")
    assert found
    world.api().upload_file(
        path_or_fileobj=f"{front}{OLDER}{rest[8:]}".encode(), path_in_repo="README.md", repo_id=f"local/{name}",
        repo_type="space",
    )  # fmt: skip


def stage(world: World, name: str) -> str:
    return str(world.api().get_space_runtime(f"local/{name}").stage)


def deferrals(world: World) -> dict[str, str | None]:
    """Each concept whose Space is to be rendered, and why not now."""
    return {action.concept: action.deferral for action in world.plan().changes if action.kind == "render"}


def test_the_others_follow_when_the_canary_runs(world: World) -> None:
    seeds = {name: next(SEEDS) for name in NAMES}
    for name in NAMES:
        write(world, name, seeds[name], fails=name == "ant")
    world.push()
    for name in NAMES:
        train_concept(**world.trained(name))
        make_older(world, name)
    wait_until(lambda: [stage(world, name) for name in NAMES] == ["RUNNING"] * 3)
    assert deferrals(world) == {"ant": None, "bee": "TemplatesCanaryFirst", "cat": "TemplatesCanaryFirst"}

    state = watch(return_state=True)
    assert state.message == "3 concepts, 3 changes, 2 of them later"
    wait_until(lambda: stage(world, "ant") == "RUNTIME_ERROR")
    assert deferrals(world) == {"bee": "TemplatesCanaryFailed", "cat": "TemplatesCanaryFailed"}
    watch()
    assert stage(world, "bee") == "RUNNING"
    assert OLDER in world.space_file("bee", "README.md").decode(), "it is as it was"

    write(world, "ant", seeds["ant"])
    world.push("Correct the app")
    watch()
    assert OLDER not in world.space_file("ant", "README.md").decode(), "an edit does not wait"
    wait_until(lambda: stage(world, "ant") == "RUNNING")
    assert deferrals(world) == {"bee": None, "cat": None}
    watch()
    wait_until(lambda: [stage(world, name) for name in NAMES] == ["RUNNING"] * 3)
    assert watch(return_state=True).message == "3 concepts, 0 changes"
    assert OLDER not in world.space_file("cat", "README.md").decode()
