"""What `conceptry new` does with DVC in a person's own clone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from conceptry.errors import ConceptryError
from tasks.processes import child_environment, python_module

# The names that the matrix stages of dvc.yaml run over: a matrix can only read them from a file.
PIPELINE_VARS = "dvc.vars.yaml"


def add_images(repo_root: Path, folder: Path) -> Path:
    """Run `dvc add` on a folder of images and return the .dvc file beside it, which belongs into git.

    Raises:
        ConceptryError: DVC refused, for example because the clone has no DVC or git tracks the folder already.
    """
    target = folder.resolve().relative_to(repo_root.resolve()).as_posix()
    # A process of its own: DVC keeps locks and a database open, and prints as it likes.
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
        said = " ".join(errors).removeprefix("ERROR: ") or done.stderr.strip() or f"exit code {done.returncode}"
        raise ConceptryError(f"`dvc add` failed: {said}", file=target)
    return folder.with_name(f"{folder.name}.dvc")


def add_to_pipeline(repo_root: Path, name: str) -> Path | None:
    """Add a concept to those that `dvc repro` trains; returns the changed file, None when there is nothing to change.

    Raises:
        ConceptryError: the file is not what dvc.yaml expects.
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
    # Comments stay: only the list, which comes last, is written again.
    head = text[: text.index("concepts:")]
    lines = "".join(f"  - {each}\n" for each in sorted([*names, name]))
    path.write_text(f"{head}concepts:\n{lines}", encoding="utf-8")
    return path
