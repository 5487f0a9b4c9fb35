"""kill -9 at every stage of a real run, and run it again: exactly one version, and nothing half-made."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.train_concept import job_at_head
from tests.support.registry_world import World, events_of, last_run, tasks_of
from tests.support.wait import wait_until

# Forks for every attempt, so that each of them starts at once and can be killed without the others.
FORKER = """
import json, os, sys, traceback
from flows.train_concept import train_concept
import tasks.dvc, tasks.hub
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            train_concept(**json.loads(line))
        except BaseException:
            traceback.print_exc()
            sys.exit(1)
        sys.exit(0)  # in order, so that events are sent
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Runs:
    """Starts runs of one fingerprint, one after the other, in processes of their own."""

    def __init__(self, forker: "subprocess.Popen[str]", parameters: dict[str, Any]) -> None:
        self._forker, self._order = forker, json.dumps(parameters) + "\n"

    def start(self) -> psutil.Process:
        assert self._forker.stdin is not None
        self._forker.stdin.write(self._order)
        self._forker.stdin.flush()
        return psutil.Process(int(self._answer()))

    def end(self) -> int:
        """Wait for the run's process; its status as os.waitpid gives it."""
        return int(self._answer())

    def _answer(self) -> str:
        assert self._forker.stdout is not None
        return self._forker.stdout.readline()


@contextmanager
def forker(parameters: dict[str, Any], variables: dict[str, str], log: Path) -> Iterator[Runs]:
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", FORKER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True, env={**os.environ, **variables},
        )  # fmt: skip
    try:
        yield Runs(process, parameters)
    finally:
        # Nobody is left behind, should the test have failed.
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.communicate()


@pytest.mark.e2e
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_at_any_stage_ends_in_one_version(world: World) -> None:
    world.write("nine-lives", release="v1", training={"max_steps": 10, "early_stopping": False})
    revision = world.push()
    fingerprint = job_at_head(world.installation, "nine-lives").fingerprint
    folder = world.run_folder(fingerprint)
    partial = folder.output.with_name("output.partial")
    refs = world.hub_repo("models", "nine-lives") / "refs" / "heads"
    stages: dict[str, Callable[[], bool]] = {
        "writing records": lambda: folder.images.exists(),
        "training": lambda: partial.exists(),
        "judging": lambda: folder.output.exists(),
        "publishing": lambda: folder.bundle.exists(),
        "staged": lambda: any(refs.glob("staging/*")),
        "numbered": lambda: (refs / "v1").exists(),
        "at the Space": lambda: world.hub_repo("spaces", "nine-lives").exists(),
    }
    parameters = {"name": "nine-lives", "revision": revision, "fingerprint": fingerprint}
    with forker(parameters, world.variables(), world.root / "runs.log") as runs:
        for stage, reached in stages.items():
            process = runs.start()
            wait_until(reached, 400, every=0.001)
            process.kill()
            assert runs.end() == 9, f"it had ended before it could be killed while {stage}"
        runs.start()
        assert runs.end() == 0
    assert world.branches("nine-lives") == ["main", "v1"]
    assert len(world.api().list_repo_refs("local/nine-lives").tags) == 1
    there = world.there("nine-lives")
    assert [version.fingerprint for version in there.versions] == [fingerprint]
    assert there.space is not None
    assert there.space.release == "v1"
    assert world.planned("nine-lives").health == "Healthy"
    # Told by the runs that came after those that had done it and were killed.
    judged = "published" if there.versions[0].gate == "passed" else "rejected"
    wait_until(lambda: {"training", judged, "released"} <= set(events_of("nine-lives")))
    assert "train" not in tasks_of(last_run("train-concept")), "the last run found the version on the Hub"
