"""What the commands print, and how a set-up is found again."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from cli import versions
from cli.exit_codes import PLAN_BROKEN, PLAN_CHANGES, PLAN_IN_SYNC
from cli.plan import exit_code, print_plan
from conceptry.actions import Action, ActionKind, ConceptPlan, Plan
from conceptry.errors import ConceptryError, SettingsError
from conceptry.reasons import ActionReason
from conceptry.version import Evidence, LiveConcept, SpaceState, Version
from conceptry.version_ref import VersionRef
from local.console import print_table
from local.contact_sheet import Panel, Row, contact_sheet
from local.current_setup import open_installation
from local.setup_folder import Folder, Setup
from tasks.git.checkout import branch_of, origin_of

SHA = "f" * 64
R = ActionReason
SERVES = Action("my-cat", ActionKind.NOTHING, R.IN_SYNC, "serves v1", SHA, "v1", "Synced", "Healthy")
TRAINED = Action("my-cat", ActionKind.NOTHING, R.INPUTS_TRAINED, "v1 was", None, None, "Synced", "Healthy")
IDLE = ConceptPlan("my-cat", SERVES, TRAINED)
TRAINS = Action("my-dog", ActionKind.TRAIN, R.IMAGES_CHANGED, "images +2 -1", SHA, None, "OutOfSync", "Healthy")
TRAIN = ConceptPlan("my-dog", SERVES, TRAINS)
WAITS = Action("my-pot", ActionKind.WAIT, R.LISTING_NOT_PUSHED, "run `dvc push`", None, None, "OutOfSync", "Healthy")
WAIT = ConceptPlan("my-pot", SERVES, WAITS)
WRONG = "concept.yaml:3: release: [v] is wrong"
HELD = Action("my-cup", ActionKind.HOLD, R.SPEC_INVALID, WRONG, None, None, "Unknown", "Degraded")
BAD = ConceptPlan("my-cup", HELD, HELD)
RENDERS = Action("my-dog", ActionKind.RENDER, R.SPACE_OUTDATED, "title", None, "v1", "OutOfSync", "Healthy")


def _version(number: int, gate: str = "passed") -> Version:
    return Version(
        number=number,
        fingerprint=str(number) * 64,
        inputs=str(number) * 64,
        commit="c0ffee" * 7,
        gate=gate,  # type: ignore[arg-type]
        dvc_md5="0" * 32 + ".dir",
        created="2026-11-22T20:00:00Z",
        loss=0.05,
        images=("a", "b"),
    )


CAT = LiveConcept("my-cat", (_version(1), _version(2), _version(3, "rejected")), SpaceState("v1", "s"))


def _printed(*concepts: ConceptPlan) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_plan(Plan("0123456789abcdef", concepts), console, "origin.git")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_a_plan_says_what_and_why_most_important_first() -> None:
    lines = _printed(IDLE, WAIT, BAD, TRAIN).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["my-dog", "my-pot", "my-cup", "my-cat"]
    assert "images +2 -1" in lines[1]
    assert "release: [v] is wrong" in lines[3], "brackets are text, not markup"
    assert lines[-1].startswith("1 to train, 1 waiting for `dvc push`, 1 held, 1 unchanged. (origin.git at 01234567)")


def test_a_concept_with_two_actions_takes_two_lines() -> None:
    first, second = _printed(replace(TRAIN, serving=RENDERS)).splitlines()[1:3]
    assert first.split() == ["my-dog", "render", "v1", "title", "OutOfSync", "Healthy"]
    assert second.split() == ["train", "images", "+2", "-1"]


def test_an_empty_plan_says_how_to_begin() -> None:
    assert "conceptry new" in _printed()


@pytest.mark.parametrize(
    ("concepts", "code"),
    [
        ((), PLAN_IN_SYNC),
        ((IDLE, WAIT), PLAN_IN_SYNC),
        ((IDLE, TRAIN), PLAN_CHANGES),
        ((TRAIN, BAD), PLAN_CHANGES),
        ((IDLE, BAD), PLAN_BROKEN),
    ],
)
def test_exit_codes_of_a_plan(concepts: tuple[ConceptPlan, ...], code: int) -> None:
    assert exit_code(Plan("0" * 40, concepts)) == code


def test_versions_are_listed_newest_first_and_the_released_one_is_marked() -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(versions.table(CAT))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[0] for line in lines[1:]] == ["v3", "v2", "v1"]
    assert "released" in lines[3]
    assert "rejected" in lines[1]
    assert versions.as_dict(CAT)["released"] == "v1"
    assert "CLIP" not in lines[0]


def test_versions_have_a_column_for_clip_scores_where_there_are_any() -> None:
    console = Console(file=io.StringIO(), width=160)
    console.print(versions.table(replace(CAT, versions=(_version(1), replace(_version(2), clip=74.56)))))
    header, second, first = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "CLIP score" in header
    assert (second.split()[3], first.split()[4]) == ("74.6", "-")


def test_versions_have_a_column_for_what_their_verdicts_rest_on() -> None:
    evidence = Evidence("initializer", 0.171, 0.092, 0.25, 0.05, 0.95)
    console = Console(file=io.StringIO(), width=180)
    undecided = replace(_version(2, "undecided"), evidence=evidence)
    console.print(versions.table(replace(CAT, versions=(_version(1), undecided))))
    header, second, _ = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "lower by" in header
    assert "undecided" in second
    assert "17.1% (at least 9.2%)" in second


@pytest.mark.parametrize(
    ("text", "number"),
    [("my-cat", 1), ("my-cat@v3", 3), ("my-cat@v1", 1), ("my-cat@release", 1), ("my-cat@latest", 3), ("my-cat@", 1)],
)
def test_a_version_is_named_the_same_everywhere(text: str, number: int) -> None:
    assert VersionRef.parse(text).choose(CAT).number == number


def test_a_version_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConceptryError, match="there is no version v9; choose a published one: v1, v2, v3"):
        VersionRef("my-cat", "v9").choose(CAT)
    with pytest.raises(ConceptryError, match="my-cat: has no published version"):
        VersionRef("my-cat", None).choose(None)


def test_a_set_up_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = Folder.at(tmp_path / "here")
    setup = Setup(repo='/a "quoted" path\\origin.git', hub_port=1234, watch_every=5)
    folder.write(setup)
    assert folder.read() == replace(setup.named_now(), root=str(folder.root))
    assert stat.S_IMODE(folder.file.stat().st_mode) == 0o600, "there is a token in it"


@pytest.fixture
def environment() -> Iterator[None]:
    """Put the environment back afterwards: entering a set-up changes it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("environment")
def test_root_wins_over_the_environment(tmp_path: Path) -> None:
    """A demo's folder must never publish to the Hub that somebody's shell is set up for."""
    os.environ.update(CONCEPTRY_REPO="git@example.org:real", CONCEPTRY_HUB_OWNER="acme")
    with open_installation(None) as installation:
        assert installation.hub.owner == "acme"
    Folder.at(tmp_path).write(Setup(repo="origin.git"))
    with open_installation(tmp_path) as installation:
        assert (installation.settings.repo, installation.hub.owner) == ("origin.git", "local")
        assert installation.hub.endpoint.startswith("http://127.0.0.1:")
    assert os.environ["CONCEPTRY_HUB_OWNER"] == "acme", "no command writes its settings into the environment"


def test_a_folder_without_set_up_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="conceptry up --root"), open_installation(tmp_path):
        pass


def test_a_command_names_the_servers_that_do_not_run(tmp_path: Path) -> None:
    Folder.at(tmp_path).write(Setup(repo="origin.git"))
    done = subprocess.run(
        [sys.executable, "-m", "cli", "plan", "--root", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the servers of {tmp_path.resolve()} are not running")
    assert f"`conceptry up --root {tmp_path}`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_set_up_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "conceptry.toml").write_text("repo = \n")
    with pytest.raises(SettingsError, match=r"conceptry\.toml"), open_installation(tmp_path):
        pass


def test_the_repository_is_the_origin_of_the_one_you_are_in(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "origin.git")], check=True)
    subprocess.run(["git", "clone", "-q", "../origin.git", "clone"], cwd=_folder(tmp_path / "x"), check=True)
    clone = tmp_path / "x" / "clone"
    assert origin_of(clone) == str(tmp_path / "origin.git")
    assert branch_of(clone) == "main"
    subprocess.run(["git", "remote", "set-url", "origin", "git@example.org:team/concepts.git"], cwd=clone, check=True)
    assert origin_of(clone) == "git@example.org:team/concepts.git"
    with pytest.raises(SettingsError, match="in no git repository"):
        origin_of(tmp_path)


def test_a_contact_sheet_holds_every_picture(tmp_path: Path) -> None:
    red, wide = tmp_path / "red.png", tmp_path / "wide.png"
    Image.new("RGB", (64, 64), "red").save(red)
    Image.new("RGB", (256, 128), "blue").save(wide)
    row = Row(
        "my-cat v1", "a photo of <my-cat>", [Panel("pictures", [red] * 5), Panel("after", [wide]), Panel("-", [])]
    )
    with Image.open(contact_sheet([row, row], tmp_path / "out" / "sheet.png")) as sheet:
        colours = {colour: count for count, colour in sheet.convert("RGB").getcolors(1 << 24) or ()}
    assert colours[(0, 0, 255)] / colours[(255, 0, 0)] == pytest.approx(380 * 190 / (5 * 124 * 124), rel=0.02)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


@pytest.mark.parametrize("width", [60, 100])
def test_a_plan_is_readable_in_a_narrow_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    long = replace(TRAINS, cause="images +2 -1, training.learning_rate 0.005 -> 0.001, initializer_token circle -> cup")
    print_plan(Plan("0" * 40, (replace(TRAIN, training=long, serving=RENDERS), WAIT, BAD)), console, "o.git")
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert max(map(len, lines[:-1])) <= width
    words = " ".join(" ".join(lines).split())
    for shown in (
        "my-dog",
        "OutOfSync",
        "Degraded",
        "-> cup",
        "run `dvc push`",
        "concept.yaml:3: release: [v] is wrong",
    ):
        assert shown in words
    assert "…" not in words


def test_versions_are_blocks_where_their_columns_do_not_fit() -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    print_table(console, versions.table(CAT, full=True))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "v1 released\n" in text
    assert CAT.versions[0].commit in text
    assert "…" not in text
    assert "gate" in text


def test_a_set_up_whose_file_is_no_text_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "conceptry.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"conceptry\.toml: cannot be read"), open_installation(tmp_path):
        pass
