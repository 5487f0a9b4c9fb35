"""What failed trainings left in the scratch folder goes after some time, unless it may be needed."""

import os
import time
from itertools import count
from pathlib import Path

from prefect.states import Failed

from flows.watch import watch
from tests.support.registry_world import World, set_state, training_runs

SEEDS = count(30_000, 100)
OLD = 31 * 86400.0


def folder(world: World, fingerprint: str, age: float = OLD) -> Path:
    """Make the folder of a training that was last written some seconds ago."""
    made = world.installation.work.run(fingerprint)
    (made / "output.partial").mkdir(parents=True)
    (made / "lock").touch()
    for path in (*made.iterdir(), made):
        os.utime(path, (time.time() - age,) * 2)
    return made


def test_only_old_folders_that_no_plan_names_are_deleted(world: World) -> None:
    world.push()
    old, young = folder(world, "a" * 16), folder(world, "b" * 16, age=29 * 86400.0)
    written = folder(world, "c" * 16)
    (written / "trainer.log").touch()
    assert watch(return_state=True).is_completed()
    assert (old.exists(), young.exists(), written.exists()) == (False, True, True)


def test_a_failed_training_that_may_be_retried_keeps_its_folder(world: World) -> None:
    world.write("old-dog", seed=next(SEEDS))
    world.push()
    watch()
    failed = world.action("old-dog").fingerprint or ""
    [run] = training_runs(failed)
    set_state(run, Failed())
    kept = folder(world, failed)
    watch()
    assert world.action("old-dog").reason == "TrainingFailed"
    assert kept.exists()

    world.write("old-dog", seed=next(SEEDS))
    world.push()
    watch()
    assert not kept.exists(), "git asks for other images now"


def test_a_folder_in_use_is_kept(world: World) -> None:
    world.push()
    held = folder(world, "d" * 16)
    with world.run_folder("d" * 16).lock("a run"):
        for path in (*held.iterdir(), held):
            os.utime(path, (time.time() - OLD,) * 2)
        watch()
    assert held.exists()


def test_a_run_that_has_not_ended_keeps_its_folder(world: World) -> None:
    world.write("slow-dog", seed=next(SEEDS))
    world.push()
    watch()
    running = world.action("slow-dog").fingerprint or ""
    kept = folder(world, running)
    world.write("slow-dog", seed=next(SEEDS))
    world.push()
    watch()
    assert kept.exists()
