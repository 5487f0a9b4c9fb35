"""Lint reads a checkout, and asks the DVC remote and the Hub when it may."""

from itertools import count

import pytest

from cli.lint import PRINTERS, Finding, Format, lint
from flows.train_concept import train_concept
from tasks.git.checkout import find_top
from tests.support.registry_world import World

SEEDS = count(9000, 100)


def said(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings]


def test_a_clean_checkout(world: World) -> None:
    world.write("clean-dog", seed=next(SEEDS))
    world.push()
    assert lint(find_top(world.clone / "concepts"), world.installation) == []


def test_every_kind_of_mistake_with_its_place(world: World) -> None:
    world.write("twin-dog", placeholder_token="<same>", seed=next(SEEDS))
    world.write("other-dog", placeholder_token="<same>", seed=next(SEEDS))
    world.write("long-dog", initializer_token="rhododendron", release="v7", seed=next(SEEDS))
    world.write("bad-dog", colour="red", seed=next(SEEDS))
    (world.clone / "conceptry.yaml").write_text("canary: no-dog\nsuspended: true\n")
    world.push()
    found = "\n".join(said(lint(world.clone, world.installation)))
    assert "concepts/twin-dog/concept.yaml:" in found
    assert "<same> is also the token of other-dog" in found
    assert "'rhododendron' is" in found
    assert "tokens in tiny" in found
    assert "concepts/long-dog/concept.yaml:3: error: release: v7 is not published; published: none" in found
    assert "colour: unknown key" in found
    assert "conceptry.yaml:2: error: suspended: unknown key; did you mean suspend?" in found


def test_pictures_that_two_share_or_that_nobody_pushed(world: World) -> None:
    seed = next(SEEDS)
    world.write("one-dog", seed=seed)
    first = dict(world.pushed)
    folder = world.clone / "concepts" / "two-dog"
    world.write("two-dog", seed=seed)
    (folder / "images.dvc").write_text((world.clone / "concepts" / "one-dog" / "images.dvc").read_text())
    world.write("late-dog", push=False, seed=next(SEEDS))
    world.push()
    found = lint(world.clone, world.installation)
    assert {finding.level for finding in found if "two concepts would learn" in finding.message} == {"warning"}
    assert sum("two concepts would learn" in finding.message for finding in found) == 2 * (len(first) - 1)
    late = [finding for finding in found if "late-dog" in finding.file]
    assert said(late) == ["concepts/late-dog/images.dvc: error: its images are not in the DVC remote: run `dvc push`"]
    assert lint(world.clone, None, remote=False) == [], "without the remote nobody knows"


def test_a_release_that_is_there(world: World) -> None:
    world.write("old-dog", seed=next(SEEDS))
    world.push()
    train_concept(**world.trained("old-dog"))
    file = world.clone / "concepts" / "old-dog" / "concept.yaml"
    file.write_text(file.read_text() + "release: v1\n")
    assert lint(world.clone, world.installation) == []
    file.write_text(file.read_text().replace("v1", "v2"))
    assert "release: v2 is not published; published: v1" in said(lint(world.clone, world.installation))[0]


def test_a_version_to_start_from_that_is_there(world: World) -> None:
    world.write("root-dog", seed=next(SEEDS))
    world.write("leaf-dog", initializer_token="root-dog@v1", seed=next(SEEDS))
    world.push()
    found = said(lint(world.clone, world.installation))
    says = "error: initializer_token: root-dog@v1 is not published yet; published versions of root-dog: none"
    assert found == [f"concepts/leaf-dog/concept.yaml:1: {says}"]
    assert lint(world.clone, None, remote=False) == [], "without the Hub nobody knows"
    train_concept(**world.trained("root-dog"))
    assert lint(world.clone, world.installation) == []


def test_findings_for_github(capsys: pytest.CaptureFixture[str]) -> None:
    bad = Finding("error", "concepts/a,b/concept.yaml", 3, "100 % wrong:\nvery")
    PRINTERS[Format.GITHUB]([bad, Finding("warning", "x", None, "y")])
    assert capsys.readouterr().out.splitlines() == [
        "::error file=concepts/a%2Cb/concept.yaml,line=3::100 %25 wrong:%0Avery",
        "::warning file=x::y",
    ]
