"""The emulators know nothing of this project; local/ passes its names to them."""

from pathlib import Path


def test_no_file_names_the_project(repo_root: Path) -> None:
    files = [path for path in sorted((repo_root / "emulators").rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    assert len(files) > 50
    assert [path.name for path in files if "conceptry" in path.read_text(encoding="utf-8").lower()] == []
