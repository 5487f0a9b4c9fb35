"""User of the story: runs git, dvc and conceptry commands in a clone, and makes images."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from conceptry.errors import ConceptryError
from local.child_process import clean_environment
from tasks.processes import python_module, run_to_end
from trainer.tiny.world import draw

COMMAND_TIMEOUT = 3600.0
"""Seconds for one command of the story; the longest ones train."""
# Commands of the user, and how they are run with the interpreter of the demo.
_MODULES = {"dvc": "dvc", "conceptry": "cli"}


class User:
    """User who works in one clone. Every command is printed; a failed one ends the story with its output.

    Args:
        clone: Working tree, in which `run` runs commands.
        scratch: Folder for DVC's caches, so that no file is left outside the demo's folder.
        show: Called with each command before it is run.

    `environment` is that of its commands.
    """

    def __init__(self, clone: Path, scratch: Path, show: Callable[[str], None]) -> None:
        self.clone = clone
        self._show = show
        self.environment = clean_environment() | {
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(scratch / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(scratch / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(scratch / "system"),
            # Without the signing key and the commit hooks of the user who runs the demo.
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.org",
        }

    def run(self, *command: str, show: bool = True, where: Path | None = None) -> str:
        """Run one command and return its output.

        Raises:
            ConceptryError: the command failed; the message contains its output.
        """
        if show:
            self._show(shlex.join(command))
        try:
            done = run_to_end(
                _resolved(command), timeout=COMMAND_TIMEOUT, environment=self.environment, folder=where or self.clone
            )
        except TimeoutError as error:
            raise ConceptryError(f"`{shlex.join(command)}` did not end within an hour") from error
        said = "\n".join(filter(None, (part.decode(errors="replace").strip() for part in (done.stdout, done.stderr))))
        if done.returncode != 0:
            raise ConceptryError(f"`{shlex.join(command)}` ended with exit code {done.returncode}:\n{said}")
        return said

    def commit_and_push(self, message: str, *paths: str) -> str:
        """Commit `paths`, push, and return the new revision."""
        self.run("git", "add", *paths)
        self.run("git", "commit", "--quiet", "-m", message)
        self.run("git", "push", "--quiet")
        return self.run("git", "rev-parse", "HEAD", show=False)


def draw_images(folder: Path, colour: str, shape: str, names: Sequence[str], *, seed: int) -> None:
    """Draw one image of a `shape` in `colour` for each name, 64 x 64 pixels, the same for the same seed."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        draw(colour, shape, rng).save(folder / f"{name}.png")


def _resolved(command: Sequence[str]) -> list[str]:
    program, *rest = command
    return python_module(_MODULES[program], *rest) if program in _MODULES else [program, *rest]
