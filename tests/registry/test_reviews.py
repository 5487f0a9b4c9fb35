"""What a review gets: the pre-commit hooks, and the workflow's own scripts run as GitHub runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulators.hub.server import running
from tests.support.registry_world import World

GH = """#!/bin/sh
printf '%s\\n' "$*" >> "$CALLS"
case "$*" in *--paginate*) printf '%s' "$KNOWN";; esac
"""


def steps(repo_root: Path) -> dict[str, dict[str, Any]]:
    workflow = yaml.safe_load((repo_root / ".github" / "workflows" / "plan.yml").read_text())
    return {step["name"]: step for job in workflow["jobs"].values() for step in job["steps"] if "name" in step}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with running(tmp_path / "hub") as server:
        world = World(tmp_path, server.url, "")
        world.start()
        world.write("red-dog")
        world.push()
        for name, value in world.variables().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("PREFECT_API_URL")
        yield world


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    ours = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment = {**os.environ, **ours, **variables}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_workflow_plans_what_is_checked_out_and_comments_it_once(
    world: World, repo_root: Path, tmp_path: Path
) -> None:
    scripts = steps(repo_root)
    output, summary, calls = (tmp_path / name for name in ("output", "summary", "calls"))
    done = shell(
        scripts["Plan"]["run"],
        world.clone,
        CONCEPTRY_REPO=str(world.clone),
        CONCEPTRY_BRANCH="conceptry-plan",
        CONCEPTRY_BACKEND="vertex",
        GITHUB_OUTPUT=str(output),
        GITHUB_STEP_SUMMARY=str(summary),
    )
    assert done.returncode == 0, done.stderr
    comment = (world.clone / "comment.md").read_text()
    code, start, *lines, end = output.read_text().splitlines()
    assert (code, start) == ("code=2", f"comment<<{end}")
    assert "\n".join(lines) + "\n" == comment
    assert comment == summary.read_text()
    assert comment.startswith("<!-- conceptry plan -->\n### Plan\n")
    assert "| red\\-dog | train | first version |" in comment
    assert "USD" in comment
    assert json.loads((world.clone / "plan.json").read_text())["actions"][0]["concept"] == "red-dog"

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gh").write_text(GH)
    (tmp_path / "bin" / "gh").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    first, again = "--method POST repos/me/it/issues/7/comments", "--method PATCH repos/me/it/issues/comments/42"
    for known, expected in (("", first), ("42", again)):
        calls.write_text("")
        variables = {"KNOWN": known, "CALLS": str(calls), "PULL": "7", "REPOSITORY": "me/it", "PATH": path}
        elsewhere = tmp_path / "bin"
        done = shell(scripts["Comment"]["run"], elsewhere, COMMENT=comment.rstrip(), **variables)
        assert done.returncode == 0, done.stderr
        assert (elsewhere / "comment.md").read_text() == comment
        assert expected in calls.read_text().splitlines()[1]
        assert "--field body=@comment.md" in calls.read_text()


def test_a_broken_set_up_fails_the_workflow(world: World, repo_root: Path, tmp_path: Path) -> None:
    variables = {"GITHUB_OUTPUT": str(tmp_path / "o"), "GITHUB_STEP_SUMMARY": str(tmp_path / "s")}
    script = steps(repo_root)["Plan"]["run"]
    done = shell(script, world.clone, CONCEPTRY_HUB_OWNER="", CONCEPTRY_BRANCH="x", **variables)
    assert done.returncode == 1
    assert "CONCEPTRY_HUB_OWNER" in done.stderr


def test_the_hooks_are_hooks_and_lint_a_checkout(world: World, repo_root: Path) -> None:
    manifest = repo_root / ".pre-commit-hooks.yaml"
    subprocess.run([sys.executable, "-m", "pre_commit", "validate-manifest", str(manifest)], check=True)
    offline, pushed = (hook["entry"] for hook in yaml.safe_load(manifest.read_text()))
    assert shell(offline, world.clone).returncode == 0
    world.write("late-dog", push=False)
    assert shell(offline, world.clone).returncode == 0, "before a commit nothing can have been pushed"
    done = shell(pushed, world.clone)
    assert done.returncode == 1
    assert "run `dvc push`" in done.stdout
    world.write("red-dog", colour="red")
    done = shell(offline, world.clone)
    assert (done.returncode, "colour: unknown key" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("package", "installed"),
    [
        (".", True),
        (f"conceptry @ git+https://github.com/me/conceptry@{'a1' * 20}", True),
        (f"conceptry[gs] @ git+https://github.com/me/conceptry@{'a1' * 20}", True),
        ("conceptry", False),
        ("conceptry[flows]", False),
        ("conceptry @ git+https://github.com/me/conceptry@v0.1.0", False),
        (f"conceptry @ git+https://github.com/me/conceptry@{'a1' * 20} --index-url https://example.org", False),
    ],
)
def test_the_workflow_installs_a_pinned_commit_only(
    repo_root: Path, tmp_path: Path, package: str, installed: bool
) -> None:
    (tmp_path / "pip").write_text('#!/bin/sh\nprintf "%s|" "$@" > "$CALLS"\n')
    (tmp_path / "pip").chmod(0o755)
    calls = tmp_path / "calls"
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PACKAGE": package, "CALLS": str(calls)}
    done = shell(steps(repo_root)["Install"]["run"], tmp_path, **variables)
    assert (done.returncode == 0, calls.exists()) == (installed, installed)
    assert not installed or calls.read_text() == f"install|--quiet|{package}|"
    assert installed or "name a commit" in done.stdout
