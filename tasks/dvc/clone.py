"""DVC commands of `conceptry new` in the user's clone."""

from __future__ import annotations

from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from pathlib import Path

import yaml

from conceptry.errors import ConceptryError, TransientError
from tasks.disk_full import DiskFullError, says_disk_full
from tasks.processes import child_environment, python_module, run_to_end

# Names over which the matrix stages of dvc.yaml run; a matrix can only read them from a file.
PIPELINE_VARS = "dvc.vars.yaml"
# Seconds; DVC copies the images into its cache, and waits for the lock of another DVC command.
_ADD_TIMEOUT = 1800.0


def cache_folders(dvc_root: Path) -> tuple[Path, ...]:
    """Return the folders of a clone's DVC cache: that of DVC 3, and the one in which DVC 2 keeps objects.

    `dvc_root` is the folder that `.dvc` is in. `cache.dir` in `.dvc/config.local` or `.dvc/config` names another place,
    relative to `.dvc`, that clones may share.
    """
    dvc_dir, place = dvc_root / ".dvc", "cache"
    for name in ("config", "config.local"):
        config = ConfigParser(interpolation=None, strict=False)
        with suppress(OSError, ValueError, ConfigParserError):
            config.read_string((dvc_dir / name).read_text("utf-8"))
            place = config.get("cache", "dir", fallback=place)
    folder = dvc_dir / Path(place).expanduser()
    return folder / "files" / "md5", folder


def add_images(repo_root: Path, folder: Path) -> Path:
    """Run `dvc add` on a folder of images and return the .dvc file beside it, which the user commits to git.

    Raises:
        ConceptryError: `dvc add` failed, for example because the clone has no DVC or git tracks the folder already.
        TransientError: it did not end, or the disk is full.
    """
    target = folder.resolve().relative_to(repo_root.resolve()).as_posix()
    # A separate process, because DVC keeps locks and a database open and prints to the terminal.
    environment = child_environment(DVC_NO_ANALYTICS="1")
    try:
        done = run_to_end(
            python_module("dvc", "add", "--", target), timeout=_ADD_TIMEOUT, environment=environment, folder=repo_root
        )
    except TimeoutError as error:
        raise TransientError(f"`dvc add` did not end within {_ADD_TIMEOUT / 60:.0f} minutes", file=target) from error
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace")
        errors = [line for line in words.splitlines() if line.startswith("ERROR")]
        reason = " ".join(errors).removeprefix("ERROR: ") or words.strip() or f"exit code {done.returncode}"
        if says_disk_full(words):
            raise DiskFullError(str(folder))
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
