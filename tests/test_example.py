"""The example concept of this repository, as a newcomer finds it in a fresh clone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emulators.hub.server import running

NAME = "sea-star"


@pytest.fixture(scope="module")
def clone(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    subprocess.run(["git", "clone", "--quiet", str(repo_root), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", "-B", "main"], cwd=folder, check=True)
    return folder


def run(clone: Path, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=clone, capture_output=True, text=True)


def test_dvc_pull_brings_its_images_and_lint_finds_no_mistake(clone: Path) -> None:
    pulled = run(clone, "dvc", "pull")
    assert pulled.returncode == 0, pulled.stdout + pulled.stderr
    assert len(list((clone / "concepts" / NAME / "images").iterdir())) == 6
    listed = run(clone, "cli", "lint", "--strict")
    assert (listed.returncode, listed.stdout.strip()) == (0, "No mistake found."), listed.stdout + listed.stderr


def test_the_metrics_of_its_last_training_are_in_git(clone: Path) -> None:
    shown = run(clone, "dvc", "metrics", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    assert f"trained/{NAME}/output/metrics.json" in json.loads(shown.stdout)[""]["data"]


def test_the_plan_trains_it(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "hub") as hub:
        for name, value in {
            "REPO": str(clone), "WORK": str(tmp_path / "work"), "HUB_ENDPOINT": hub.url, "HUB_OWNER": "local",
            "HUB_TOKEN": "hf_local",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"CONCEPTRY_{name}", value)
        planned = run(clone, "cli", "plan", "--json")
    assert planned.returncode == 2, planned.stderr
    found = [(one["concept"], one["kind"], one["reason"]) for one in json.loads(planned.stdout)["actions"]]
    assert (NAME, "train", "FirstVersion") in found
