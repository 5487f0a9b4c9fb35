"""An environment of its own with the wheel of this checkout, as a person gets it who has no checkout."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.uv_sync import uv_variables


@dataclass(frozen=True)
class Installed:
    """Environment in `folder`, used from other folders."""

    folder: Path

    @property
    def site(self) -> Path:
        """Its packages."""
        return next(self.folder.glob("lib/python*/site-packages"))

    def run(
        self, *command: str | Path, cwd: Path, expect: int | None = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, with nothing of this checkout and of other environments on any path."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        path = f"{self.folder / 'bin'}:{Path('/usr/local/bin')}:/usr/bin:/bin"
        environment = {**kept, "PATH": path, "COLUMNS": "200", **variables}
        program = self.folder / "bin" / command[0]
        done = subprocess.run(
            [program if program.exists() else command[0], *command[1:]],
            cwd=cwd, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert expect is None or done.returncode == expect, f"{command}: {done.stdout}{done.stderr}"
        return done


class CannotInstall(Exception):
    """Neither uv's cache nor an index has what the wheel needs; the message is uv's."""


def find_uv(repo_root: Path) -> str | None:
    """The uv of the checkout, else the one on the PATH."""
    own = repo_root / ".uv" / "bin" / "uv"
    return str(own) if own.exists() else shutil.which("uv")


def build_wheel(uv: str, repo_root: Path, folder: Path) -> Path:
    """Build the wheel into a folder.

    Raises:
        CannotInstall: the build backend is not to be had.
    """
    _uv(uv, ["build", "--quiet", "--wheel", "--out-dir", str(folder), str(repo_root)], folder)
    return next(folder.glob("*.whl"))


def install_wheel(uv: str, wheel: Path, folder: Path, extras: str = "") -> Installed:
    """Install the wheel and what it needs into a new environment.

    Raises:
        CannotInstall: neither uv's cache nor an index has it.
    """
    _uv(uv, ["venv", "--quiet", "--python", sys.executable, str(folder)], folder)
    python = str(folder / "bin" / "python")
    _uv(uv, ["pip", "install", "--quiet", "--python", python, f"conceptry{extras} @ {wheel.as_uri()}"], folder)
    return Installed(folder)


def _uv(uv: str, arguments: list[str], folder: Path) -> None:
    """Run uv with what it has fetched before, else with the index."""
    variables = uv_variables(os.environ, folder)
    said = ""
    for offline in ("1", "0"):
        environment = {**variables, "UV_OFFLINE": offline}
        done = subprocess.run([uv, *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        said = done.stderr.strip()
    raise CannotInstall(said)
