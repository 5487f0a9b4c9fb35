"""`conceptry plan` says which images cannot be trained with, before a run has tried."""

import io
import shutil
from itertools import count

import numpy as np
import pytest
from PIL import Image

from cli.image_checks import hold_unusable
from cli.lint import PRINTERS, Format, lint
from conceptry.actions import Plan
from conceptry.plan_text import markdown
from flows.reconcile import current_comparison
from tasks.git.checkout import find_top
from tests.support import registry_world
from tests.support.registry_world import World
from tests.support.registry_world import picture as drawn

SEEDS = count(12_000, 100)


def noise(name: str, seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng([seed, *name.encode()]).integers(0, 256, (64, 64, 3), "uint8")
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_plan_says_what_the_trainer_would_refuse(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("clear-dog", seed=next(SEEDS))
    with monkeypatch.context() as patched:
        patched.setattr(registry_world, "picture", noise)
        world.write("noisy-dog", seed=next(SEEDS))
    world.push()
    compared, told = current_comparison(world.installation), []
    assert {one.training.kind for one in compared.plan.concepts} == {"train"}
    checked = hold_unusable(compared.plan, compared.desired, world.installation, told.append)
    actions = {one.concept: one.training for one in checked.concepts}
    assert (actions["clear-dog"].kind, actions["clear-dog"].reason) == ("train", "FirstVersion")
    noisy = actions["noisy-dog"]
    assert (noisy.kind, noisy.reason) == ("train", "FirstVersion"), "the watcher will try it"
    [note] = noisy.notes
    assert note.startswith("its version will be rejected: the base model tiny cannot draw pictures like these")
    assert "sd-v1-4 draws photographs" in note
    assert told == ["clear-dog", "noisy-dog"]

    shutil.rmtree(world.root / "remote")
    again = hold_unusable(compared.plan, compared.desired, world.installation)
    assert again == checked, "what was found is kept"


def wide(name: str, seed: int) -> bytes:
    """A shape that `tiny` can draw, on a ground that is twice as wide."""
    with Image.open(io.BytesIO(drawn(name, seed))) as square:
        picture = Image.new("RGB", (128, 64), square.getpixel((0, 0)))
        picture.paste(square, (32, 0))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_plan_and_lint_name_the_pictures_that_crops_cut(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry_world, "picture", wide)
    world.write("wide-dog", seed=next(SEEDS))
    world.push()
    compared = current_comparison(world.installation)
    checked = hold_unusable(compared.plan, compared.desired, world.installation)
    [action] = [one.training for one in checked.concepts if one.concept == "wide-dog"]
    assert (action.kind, action.reason) == ("train", "FirstVersion"), "it is no reason to hold it"
    [note] = action.notes
    assert "lose over 40% of the area" in note
    assert note in markdown(checked)
    assert Plan.from_json(checked.to_json()) == checked

    folder = world.clone / "concepts" / "wide-dog" / "images"
    folder.mkdir()
    for number, data in enumerate(data for oid, data in world.pushed.items() if not oid.endswith(".dir")):
        (folder / f"{number}.png").write_bytes(data)
    found = [one for one in lint(find_top(world.clone), world.installation) if one.level == "note"]
    assert [(one.file, one.message) for one in found] == [("concepts/wide-dog/images.dvc", note)]
    PRINTERS[Format.GITHUB](found)
    assert capsys.readouterr().out.startswith("::notice file=concepts/wide-dog/images.dvc::")


def test_a_check_that_was_killed_says_nothing_about_the_images(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("calm-dog", seed=next(SEEDS))
    world.push()
    compared = current_comparison(world.installation)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONHOME", str(world.root / "no-python"))  # every process that is started crashes
        unchecked = hold_unusable(compared.plan, compared.desired, world.installation)
    assert unchecked == compared.plan
    assert not list(world.installation.work.checks.glob("*"))
