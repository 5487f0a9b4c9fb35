"""What is urgent is done at once, whatever holds the concept's training up."""

import pytest

from conceptry.reasons import DeferralReason
from flows.train_concept import train_concept
from flows.watch import watch
from tasks.locks import hold
from tests.support.registry_world import World


@pytest.fixture
def waiting(world: World) -> World:
    """A concept that serves v1, whose training of other images waits because conceptry.yaml suspends all."""
    world.write("old-dog")
    world.push()
    train_concept(**world.trained("old-dog"))
    (world.clone / "conceptry.yaml").write_text("suspend: true\n")
    change(world)
    assert world.planned("old-dog").training.deferral is DeferralReason.REGISTRY_SUSPENDED
    return world


def change(world: World, **spec: object) -> None:
    """Push other images with these keys of concept.yaml, which changes nothing about the deferred training."""
    world.write("old-dog", pictures=3, **spec)
    world.push()


def served(world: World) -> str | None:
    space = world.there("old-dog").space
    return space.release if space and not space.paused else None


def private(world: World) -> tuple[bool, bool]:
    api = world.api()
    return bool(api.model_info("local/old-dog").private), bool(api.space_info("local/old-dog").private)


def test_take_down(waiting: World) -> None:
    change(waiting, release="none")
    watch()
    assert served(waiting) is None
    change(waiting)
    watch()
    assert served(waiting) is None, "v1 is not of the images in git"
    change(waiting, release="v1")
    watch()
    assert served(waiting) == "v1"


def test_a_takedown_does_not_wait_for_a_run_that_writes(waiting: World) -> None:
    change(waiting, release="none")
    with hold(waiting.installation.work.concept_lock("old-dog"), "a run that is releasing v1"):
        watch()
        assert served(waiting) is None
    assert waiting.there("old-dog").main.release is None, "the card says so, too"


def test_hide(waiting: World) -> None:
    change(waiting, release="none", space={"private": True})
    watch()
    assert private(waiting) == (True, True)


def test_hide_although_concept_yaml_has_a_mistake(waiting: World) -> None:
    change(waiting, release="none", space={"private": True}, learnable_property="thing")
    assert waiting.planned("old-dog").training.reason == "SpecInvalid"
    for _ in range(2):
        watch()
    assert private(waiting) == (True, True)
    assert served(waiting) is None


def test_render_and_repair(waiting: World) -> None:
    change(waiting, space={"title": "Another"})
    waiting.api().delete_branch("local/old-dog", branch="v1")
    watch()
    watch()
    assert b"Another" in waiting.space_file("old-dog", "settings.json")
    assert waiting.branches("old-dog") == ["main", "v1"]
    assert waiting.planned("old-dog").serving.kind == "nothing"
