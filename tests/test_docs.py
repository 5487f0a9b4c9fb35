"""The pages for contributors name files and functions that exist."""

import ast
import re
from pathlib import Path

import pytest

PAGES = [
    "docs/architecture.md", "docs/deploy.md", "docs/pictures.md", "docs/runs.md", "docs/secrets.md",
    "docs/team.md", "docs/workers.md", "CONTRIBUTING.md", "README.md",
]  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_function_that_a_page_names_exists(page: str, repo_root: Path) -> None:
    named = re.findall(r"`((?:\w+/)+\w+\.py)(?::([\w.]+))?`", (repo_root / page).read_text())
    missing = [f"{path}:{name}" for path, name in named if not _defines(repo_root / path, name)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file(page: str, repo_root: Path) -> None:
    source = repo_root / page
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)", source.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (source.parent / target).exists()] == []


def _defines(path: Path, name: str) -> bool:
    """Return whether a module exists and binds `name` (or `Class.method`) at its top."""
    if not path.is_file():
        return False
    scope: list[ast.stmt] = ast.parse(path.read_text()).body
    for part in filter(None, name.split(".")):
        found = [node for node in scope if part in _bound(node)]
        if not found:
            return False
        scope = found[0].body if isinstance(found[0], ast.ClassDef) else []
    return True


def _bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_no_file_has_the_marks_of_a_merge(repo_root: Path) -> None:
    # Written apart, or this file would have them.
    marks = tuple(mark * 7 for mark in "<>")
    pages = [*repo_root.glob("*.*"), *(repo_root / "docs").rglob("*.*"), *(repo_root / "deploy").rglob("*.*")]
    texts = [page for page in pages if page.suffix in (".md", ".toml", ".yaml", ".yml", ".env", ".service")]
    assert [str(page) for page in texts if any(line.startswith(marks) for line in page.read_text().splitlines())] == []
