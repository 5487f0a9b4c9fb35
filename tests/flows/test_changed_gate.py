"""A changed gate judges published versions from their recorded metrics, and `release: latest` follows, untrained."""

from itertools import count

from cli.verify import verify
from flows.release import release
from flows.train_concept import train_concept
from flows.watch import watch
from tests.support.registry_world import World, events_of, training_runs
from tests.support.wait import wait_until

SEEDS = count(31000, 100)


def gate(required: float) -> dict[str, dict[str, float]]:
    return {"gate": {"min_improvement": required}}


def verdicts(world: World, name: str) -> dict[str, str]:
    return {version.name: version.gate for version in world.there(name).versions}


def served(world: World, name: str) -> str | None:
    space = world.there(name).space
    return space.release if space else None


def test_a_relaxed_gate_releases_and_a_stricter_one_takes_back_without_a_training(world: World) -> None:
    first, second = next(SEEDS), next(SEEDS)
    world.write("gate-dog", seed=first, **gate(0.3))
    world.push()
    train_concept(**world.trained("gate-dog", loss=0.01))
    world.write("gate-dog", seed=second, **gate(0.3))
    world.push("Other pictures")
    train_concept(**world.trained("gate-dog", loss=0.08))
    assert (verdicts(world, "gate-dog"), served(world, "gate-dog")) == ({"v1": "passed", "v2": "rejected"}, "v1")
    assert world.planned("gate-dog").serving.reason == "GateRejected"

    world.write("gate-dog", seed=second, **gate(0.1))
    world.push("Relax the gate")
    judging = world.planned("gate-dog")
    assert (judging.serving.kind, judging.serving.reason, judging.training.kind) == ("judge", "GateChanged", "nothing")
    assert judging.serving.cause == "gate.min_improvement 0.3 -> 0.1: judges v1, v2 by the recorded metrics"
    assert watch(return_state=True).is_completed()
    assert verdicts(world, "gate-dog") == {"v1": "passed", "v2": "passed"}
    assert served(world, "gate-dog") == "v1", "a judgement releases nothing itself"
    assert (world.planned("gate-dog").serving.kind, world.planned("gate-dog").serving.version) == ("adopt", "v2")
    watch()
    assert served(world, "gate-dog") == "v2"
    assert watch(return_state=True).message == "1 concept, 0 changes"
    wait_until(lambda: events_of("gate-dog").count("judged") == 1)

    world.write("gate-dog", seed=second, **gate(0.4))
    world.push("A stricter gate than ever")
    watch()
    assert verdicts(world, "gate-dog") == {"v1": "passed", "v2": "rejected"}
    watch()
    assert served(world, "gate-dog") == "v1", "the newest that passes"
    state = watch(return_state=True)
    assert state.message == "1 concept, 0 changes, 1 degraded", "it says that v2 did not pass"
    model = world.api().model_info("local/gate-dog")
    assert model.card_data is not None
    assert model.card_data["conceptry"]["versions"][1]["judged"] == {"min_improvement": 0.4, "confidence": 0.95}
    assert all(finding.wrong is None for finding in verify(world.installation, ["gate-dog"]))
    assert len(world.there("gate-dog").versions) == 2
    assert training_runs(world.there("gate-dog").versions[0].fingerprint) == []


def test_one_release_run_judges_and_releases(world: World) -> None:
    seed = next(SEEDS)
    world.write("run-dog", seed=seed, **gate(0.9))
    world.push()
    train_concept(**world.trained("run-dog", loss=0.05))
    assert served(world, "run-dog") is None
    world.write("run-dog", seed=seed)
    world.push("Use the default of the base model")
    assert release("run-dog") == "v1"
    assert served(world, "run-dog") == "v1"
    assert b"passed: " in world.space_file("run-dog", "settings.json"), "the Space shows the verdict that released it"
    assert watch(return_state=True).message == "1 concept, 0 changes"


def test_what_nobody_judged_stays_as_it_is(world: World) -> None:
    seed = next(SEEDS)
    world.write("old-dog", seed=seed)
    world.push()
    world.publish("old-dog", created="2026-11-01T12:00:00+00:00", loss=0.05)
    assert release("old-dog") == "v1"
    world.write("old-dog", seed=seed, **gate(0.9))
    world.push("A gate that it would not pass")
    assert watch(return_state=True).message == "1 concept, 0 changes"
    assert verdicts(world, "old-dog") == {"v1": "passed"}
