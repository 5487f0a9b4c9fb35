"""What DVC 2.58 and 3.67 themselves write, recorded by dvc_worlds.py: each way in which images get into DVC."""

import json
from pathlib import Path

import pytest

from tasks import dvc
from tests.support.dvc_world import World
from tests.tasks.dvc_worlds import NAMES, WAYS

RECORDED = Path(__file__).with_name("dvc_written")
HELD = {
    "import-url-no-download": "run `dvc update concepts/import-url-no-download/images.dvc`, commit it",
    "import-no-download": "run `dvc update concepts/import-no-download/images.dvc`, then `rm ",
}
ABSENT = {"uncommitted": "with `dvc commit` first", "import": "DVC does not push imports; make them your own"}
PUSHED = sorted(WAYS.keys() - {*HELD, *ABSENT})


@pytest.fixture(scope="module", params=["2.58", "3.67"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("written"))
    world.start()
    recorded = json.loads((RECORDED / f"{request.param}.json").read_text("utf-8"))
    for folder, files in ((world.clone, recorded["repository"]), (world.remote, recorded["remote"])):
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text.replace("{root}", str(world.root)), "utf-8")
    world.commit()
    return world


@pytest.mark.parametrize("way", PUSHED)
def test_what_was_pushed_is_read(world: World, way: str, tmp_path: Path) -> None:
    concept = world.list("main", check=(way,))[way]
    assert (concept.error, concept.missing) == (None, ())
    assert sorted(ref.relpath for ref in concept.images or ()) == sorted(NAMES)
    folder = dvc.fetch_images(world.mirror, "main", str(concept.dvc_md5), None, destination=tmp_path / "images")
    made = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert made == {name: f"{'added' if way == 'added' else 'outside'}: {name}" for name in NAMES}


@pytest.mark.parametrize("way", sorted(HELD))
def test_what_has_no_data_is_held_with_advice_that_helps(world: World, way: str) -> None:
    error = str(world.list("main")[way].error)
    assert "was imported without its data" in error
    assert HELD[way] in error


@pytest.mark.parametrize("way", sorted(ABSENT))
def test_what_dvc_did_not_push_waits_with_advice_that_helps(world: World, way: str) -> None:
    _, words = world.list("main", check=(way,))[way].missing_images() or ("", "")
    assert ABSENT[way] in words
