"""A registry in a folder of a larger repository (`dvc init --subdir`, CONCEPTRY_PATH)."""

import pytest

from conceptry.errors import SettingsError
from flows.train_concept import train_concept
from tests.support.registry_world import World, run


def test_a_concept_in_a_folder_of_a_larger_repository(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.installation.id
    world.write("field-mouse", seed=77_000)
    (world.clone / "ml").mkdir()
    for name in ("concepts", ".dvc"):
        (world.clone / name).rename(world.clone / "ml" / name)
    world.push()
    with pytest.raises(SettingsError, match="no concepts/ at its top, but ml/concepts; set CONCEPTRY_PATH=ml"):
        world.plan()
    monkeypatch.setenv("CONCEPTRY_PATH", ".")
    assert [one.concept for one in world.plan().concepts if one.concept == "field-mouse"] == []

    monkeypatch.setenv("CONCEPTRY_PATH", "./ml/")
    assert world.installation.id != before, "the two do not take each other's repos for their own"
    assert world.action("field-mouse").kind == "train"
    assert train_concept(**world.trained("field-mouse")) == "v1"
    assert world.action("field-mouse").kind == "nothing"
    run(world.clone, "git", "rm", "--quiet", "-r", "ml/concepts")
    world.push()
    assert world.action("field-mouse").kind == "archive"
