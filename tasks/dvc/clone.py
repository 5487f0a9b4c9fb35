"""DVC commands of `conceptry new` in the user's clone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from conceptry.errors import ConceptryError
from tasks.processes import child_environment, python_module

# Names over which the matrix stages of dvc.yaml run; a matrix can only read them from a file.
PIPELINE_VARS = "dvc.vars.yaml"


def add_images(repo_root: Path, folder: Path) -> Path:
    """Run `dvc add` on a folder of images and return the .dvc file beside it, which the user commits to git.

    Raises:
        ConceptryError: `dvc add` failed, for example because the clone has no DVC or git tracks the folder already.
    """
    target = folder.resolve().relative_to(repo_root.resolve()).as_posix()
    # A separate process, because DVC keeps locks and a database open and prints to the terminal.
    done = subprocess.run(
        python_module("dvc", "add", "--", target),
        cwd=repo_root,
        env=child_environment(DVC_NO_ANALYTICS="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = " ".join(errors).removeprefix("ERROR: ") or done.stderr.strip() or f"exit code {done.returncode}"
        raise ConceptryError(f"`dvc add` failed: {reason}", file=target)
    return folder.with_name(f"{folder.name}.dvc")


def add_to_pipeline(repo_root: Path, name: str) -> Path | None:
    """Add a concept to those that `dvc repro` trains; return the changed file, None if no change is needed.

    Raises:
        ConceptryError: the file has no list of concepts, which dvc.yaml expects.
    """
    path = repo_root / PIPELINE_VARS
    if not path.is_file():
        return None
    text = path.read_text("utf-8")
    try:
        names = (yaml.safe_load(text) or {})["concepts"] or []
        known = name in names
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConceptryError("has no list `concepts`", file=PIPELINE_VARS, next_step="correct that file") from error
    if known:
        return None
    # Only the list, which comes last, is rewritten, so that comments are kept.
    head = text[: text.index("concepts:")]
    lines = "".join(f"  - {each}\n" for each in sorted([*names, name]))
    path.write_text(f"{head}concepts:\n{lines}", encoding="utf-8")
    return path
