"""One training run: what it leaves on the Hub, and how it goes on after it was stopped."""

from conceptry.version import SpaceState
from flows.train_concept import train_concept
from tests.flows.origins import World


def test_a_run_publishes_one_version_and_its_space(world: World) -> None:
    world.write("grey-cat")
    world.push()
    parameters = world.trained("grey-cat")
    assert train_concept(**parameters) == "v1"
    there = world.there("grey-cat")
    assert [version.fingerprint for version in there.versions] == [parameters["fingerprint"]]
    assert there.space == SpaceState("v1", there.space and there.space.serving)
    assert world.branches("grey-cat") == ["main", "v1"]
    assert world.action("grey-cat").health == "Healthy"
