"""Accidents take nothing down, and what git says now decides what a late run makes public."""

from itertools import count

import pytest

from cli.apply import command as apply
from flows.train_concept import train_concept
from flows.watch import watch
from tests.support.registry_world import World, run

SEEDS = count(60_000, 100)
NAMES = ("a-dog", "b-dog", "c-dog", "d-dog")


@pytest.fixture
def four(world: World) -> World:
    """Four concepts, each served."""
    for name in NAMES:
        world.write(name, seed=next(SEEDS))
    world.push()
    for name in NAMES:
        train_concept(**world.trained(name))
    assert world.plan().changes == ()
    return world


def served(world: World) -> list[str]:
    spaces = {name: world.there(name).space for name in NAMES}
    return [name for name, space in spaces.items() if space and space.release and not space.paused]


def test_an_empty_folder_of_concepts_takes_nothing_down(four: World) -> None:
    run(four.clone, "git", "rm", "-rq", "concepts")
    four.push("oops")
    state = watch(return_state=True)
    assert state.message == "4 concepts, 4 changes, 4 of them later"
    assert served(four) == list(NAMES)
    assert {action.deferral for action in four.plan().changes} == {"ConfirmationNeeded"}

    saved = four.root / "plan.json"
    saved.write_text(four.plan().to_json())
    apply(saved)
    assert served(four) == []


def test_a_few_are_taken_down_at_once(four: World) -> None:
    for name in NAMES[:3]:
        run(four.clone, "git", "rm", "-rq", f"concepts/{name}")
    four.push()
    watch()
    assert served(four) == ["d-dog"]


def test_another_branch_of_the_repository_is_another_installation(four: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run(four.clone, "git", "checkout", "-q", "--orphan", "wrong")
    run(four.clone, "git", "rm", "-rqf", "concepts")
    four.push("nothing here")
    monkeypatch.setenv("CONCEPTRY_BRANCH", "wrong")
    assert four.plan().concepts == ()
    watch()
    monkeypatch.setenv("CONCEPTRY_BRANCH", "main")
    assert served(four) == list(NAMES)


def test_a_late_run_asks_git_what_is_private_and_how_it_is_judged(world: World) -> None:
    seed = next(SEEDS)
    world.write("shy-dog", seed=seed)
    world.push()
    parameters = world.trained("shy-dog")
    world.write("shy-dog", seed=seed, space={"private": True}, gate={"min_improvement": 0.99})
    world.push()
    assert train_concept(**parameters) == "v1"
    assert world.api().model_info("local/shy-dog").private
    assert world.there("shy-dog").versions[0].gate != "passed"


def test_a_late_run_of_a_concept_with_a_mistake_is_private_if_git_says_so(world: World) -> None:
    seed = next(SEEDS)
    world.write("odd-dog", seed=seed)
    world.push()
    parameters = world.trained("odd-dog")
    world.write("odd-dog", seed=seed, space={"private": True}, learnable_property="mistake")
    world.push()
    train_concept(**parameters)
    assert world.api().model_info("local/odd-dog").private
