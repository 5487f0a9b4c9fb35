"""Whole ways of a user, with commands alone: what git says comes true on the Hub."""

from pathlib import Path

import httpx2
import numpy as np
import pytest
from safetensors.numpy import save_file

from conceptry.errors import ConceptryError
from local.demo.user import draw_images
from tests.support.library import Library
from tests.support.wait import wait_until

pytestmark = pytest.mark.e2e


def test_from_pictures_to_a_version_and_back(library: Library, tmp_path: Path) -> None:
    name = "night-light"
    before = library.result("plan")
    assert (before.returncode, before.stderr) == (0, "")
    assert "No concept in" in before.stdout

    draw_images(tmp_path / "pictures", "teal", "crescent", ["1", "2", "3", "4", "5"], seed=7)
    library.run(
        *("conceptry", "new", name, "--images", str(tmp_path / "pictures")),
        *("--token", f"<{name}>", "--init", "crescent"),
    )
    library.change(name, training={"max_steps": 60})

    # Without `dvc push` the images are nowhere but here: the concept waits and says for what.
    library.commit("Teach night-light")
    assert "dvc push" in library.wait_for_action(name, "ListingNotPushed")["cause"]
    library.run("dvc", "push")
    library.wait_for_release(name, "v1", timeout=180)
    assert library.wait_for_action(name, "InSync")["health"] == "Healthy"
    library.run("conceptry", "pull", f"{name}@v1", str(tmp_path / "v1"))
    assert (tmp_path / "v1" / "learned_embeds.safetensors").stat().st_size > 0
    library.run("conceptry", "verify")

    # A mistake is named with its file, and what is published stays as it is.
    good = library.spec(name).read_text()
    library.spec(name).write_text(good + "relase: v1\n")
    with pytest.raises(ConceptryError, match=r"relase") as failure:
        library.run("conceptry", "lint")
    assert f"concepts/{name}/concept.yaml" in str(failure.value)
    library.spec(name).write_text(good)

    # `release: none` pauses the Space; reverting that commit serves v1 again, without a training.
    library.change(name, release="none")
    library.commit("Take night-light back")
    library.wait_for_release(name, None)
    library.run("git", "revert", "--no-edit", "HEAD")
    published = library.wait_for_release(name, "v1")["versions"]
    assert [version["version"] for version in published] == ["v1"]


def test_a_version_that_did_not_pass_is_released_by_its_number(library: Library, tmp_path: Path) -> None:
    name = "half-baked"
    draw_images(tmp_path / "pictures", "red", "star", ["1", "2", "3"], seed=8)
    library.run(
        *("conceptry", "new", name, "--images", str(tmp_path / "pictures")),
        *("--token", f"<{name}>", "--init", "star"),
    )
    library.change(name, training={"max_steps": 1}, gate={"min_improvement": 0.9})
    library.run("dvc", "push")
    library.commit("Teach half-baked in one step")

    rejected = library.wait_for_action(name, "GateRejected", timeout=180)
    assert (rejected["kind"], rejected["health"]) == ("hold", "Degraded")
    assert library.versions(name)["released"] is None
    library.change(name, release="v1")
    library.commit("Release it all the same")
    library.wait_for_release(name, "v1")


def test_vectors_of_others_are_served_renamed_and_withdrawn(library: Library, tmp_path: Path) -> None:
    name = "of-others"
    embeds = tmp_path / "learned_embeds.safetensors"
    save_file({f"<{name}>": np.full((1, 96), 0.01, "float32")}, embeds)
    library.run("conceptry", "import", str(embeds), "--name", name, "--init", "star")
    library.change(name, release="v1")
    library.commit("Bring a token that was learned elsewhere")
    library.wait_for_release(name, "v1")
    library.wait_for_action(name, "InSync")

    library.change(name, space={"title": "Of other people"})
    library.commit("Give its Space a title")
    card = f"{library.setup.hub_endpoint}/spaces/{library.setup.hub_owner}/{name}/raw/main/README.md"
    wait_until(lambda: "Of other people" in httpx2.get(card).text, every=1)

    library.run("git", "rm", "-r", "--quiet", f"concepts/{name}")
    library.commit("Remove the concept")
    assert library.wait_for_action(name, "Archived")["kind"] == "nothing"
    assert [version["version"] for version in library.versions(name)["versions"]] == ["v1"]
