"""The workflows against GitHub's schema, and what `test.yml` may do and covers."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

SCHEMAS = ("vendor.github-workflows", "custom.github-workflows-require-timeout")


def workflow(repo_root: Path, name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((repo_root / ".github" / "workflows" / name).read_text()))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_workflows_follow_the_schema(repo_root: Path, schema: str) -> None:
    files = sorted(map(str, (repo_root / ".github" / "workflows").glob("*.yml")))
    assert len(files) >= 2
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_finds_a_mistake(repo_root: Path, tmp_path: Path) -> None:
    wrong = workflow(repo_root, "test.yml")
    del wrong["jobs"]["test"]["runs-on"]
    path = tmp_path / "wrong.yml"
    path.write_text(yaml.safe_dump(wrong))
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[0], str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_it_tests_on_every_python_that_the_project_allows(repo_root: Path) -> None:
    allowed = SpecifierSet(tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]["requires-python"])
    expected = [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed]
    assert workflow(repo_root, "test.yml")["jobs"]["test"]["strategy"]["matrix"]["python"] == expected


def test_it_only_reads_and_runs_actions_pinned_by_commit(repo_root: Path) -> None:
    found = workflow(repo_root, "test.yml")
    assert found["permissions"] == {"contents": "read"}
    steps = found["jobs"]["test"]["steps"]
    assert [step["uses"] for step in steps if not re.search(r"@[0-9a-f]{40}$", step.get("uses", "@" + "0" * 40))] == []
    assert steps[-1]["run"] == "make test"


def test_only_the_job_that_runs_no_code_of_the_repository_may_write_and_only_comments(repo_root: Path) -> None:
    found = workflow(repo_root, "plan.yml")
    plan, comment = found["jobs"]["plan"], found["jobs"]["comment"]
    assert found["permissions"] == {}
    assert plan["permissions"] == {"contents": "read"}
    assert comment["permissions"] == {"pull-requests": "write"}
    assert not any("uses" in step for step in comment["steps"])
    used = [step["uses"] for step in plan["steps"] if "uses" in step]
    assert [name for name in used if not re.search(r"@[0-9a-f]{40}$", name)] == []
    assert all("${{" not in step.get("run", "") for job in (plan, comment) for step in job["steps"])


def test_the_hooks_install_the_core(repo_root: Path) -> None:
    hooks = yaml.safe_load((repo_root / ".pre-commit-hooks.yaml").read_text())
    assert all("additional_dependencies" not in hook for hook in hooks)
