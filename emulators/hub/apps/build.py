"""What an app needs before it can start: the files of its revision, and a Python that meets its requirements."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from emulators import atomic_files
from emulators.hub import history
from emulators.hub.lfs import LfsStore
from emulators.hub.storage import Repo

_KEPT_ENVIRONMENTS = 8
# What an installer may know of the machine: where its index is, and how to get there.
_INSTALLER = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")

Say = Callable[[str], None]


class BuildError(Exception):
    """An app cannot be built; the message says why, and its log has the rest."""


class BuildLog:
    """build.log: begun anew with each build, lines as in run.log."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        path.write_bytes(b"")

    def __call__(self, text: str) -> None:
        """Append one line."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        with self._path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{now} {text}\n")


def check_out(repo: Repo, commit: str, lfs: LfsStore, folder: Path, skipped: Iterable[str] = ()) -> int:
    """Lay a revision's files into a folder, made anew, large ones as their bytes; return how many there are.

    Args:
        skipped: patterns, as of the shell, of paths that are left out.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    git, count = repo.git(), 0
    for entry in history.walk(git, commit, recursive=True):
        if entry.folder or any(fnmatch.fnmatch(entry.path, pattern) for pattern in skipped):
            continue
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.lfs is None:
            target.write_bytes(git[entry.oid].data)
        elif lfs.size(entry.lfs.oid) is None:
            raise BuildError(f"{entry.path}: its bytes are not on this hub")
        else:
            # A copy, not a link: the app may write to its files.
            shutil.copyfile(lfs.path(entry.lfs.oid), target)
        count += 1
    return count


def unmet(folder: Path, extra: Iterable[str] = ()) -> list[str]:
    """The lines of requirements.txt, and of `extra`, that this Python's environment does not meet.

    Extras in brackets are taken as met when the package itself is: they name accelerators more often than not.
    """
    lines = [*extra, *_lines(folder / "requirements.txt", folder)]
    return [line for line in lines if not _is_met(line)]


def _lines(path: Path, folder: Path, depth: int = 0) -> list[str]:
    if not path.is_file() or depth > 5:
        return []
    found = []
    for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
        line = raw.split(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith(("-r ", "--requirement ")):
            inner = (path.parent / line.split(maxsplit=1)[1]).resolve()
            if inner.is_relative_to(folder.resolve()):
                found += _lines(inner, folder, depth + 1)
        elif not line.startswith("-"):
            found.append(line)
    return found


def _is_met(line: str) -> bool:
    try:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            return True
        if wanted.url is not None:
            return False
        return wanted.specifier.contains(importlib.metadata.version(wanted.name), prereleases=True)
    except (InvalidRequirement, importlib.metadata.PackageNotFoundError):
        return False


class Environments:
    """Python environments for requirements that the hub's own does not meet, made once for each set of lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Lock()
        self._installer: subprocess.Popen[bytes] | None = None

    def interrupt(self) -> None:
        """End an installation that is under way: the hub ends."""
        installer = self._installer
        if installer is not None:
            installer.kill()

    def python_for(self, folder: Path, extra: tuple[str, ...], say: Say, *, fresh: bool = False) -> Path:
        """A Python that meets the requirements of the app in `folder`.

        Args:
            folder: the app's files.
            extra: requirements besides those in its requirements.txt.
            say: is told each line of what happens.
            fresh: install again what was installed before.

        Raises:
            BuildError: something cannot be installed.
        """
        missing = unmet(folder, extra)
        if not missing:
            say("The hub's own Python environment meets all requirements.")
            return Path(sys.executable)
        say(f"Not met by the hub's own environment: {', '.join(missing)}")
        with self._turn:
            return self._installed(folder, extra, say, fresh=fresh)

    def _installed(self, folder: Path, extra: tuple[str, ...], say: Say, *, fresh: bool) -> Path:
        lines = [*extra, *_lines(folder / "requirements.txt", folder)]
        place = self._folder / hashlib.sha256("\n".join([sys.version, *sorted(lines)]).encode()).hexdigest()[:20]
        python = place / "bin" / "python"
        if fresh:
            shutil.rmtree(place, ignore_errors=True)
        if (place / "complete").exists():
            os.utime(place)
            say("They were installed before.")
            return python
        shutil.rmtree(place, ignore_errors=True)
        self._forget_old()
        place.parent.mkdir(parents=True, exist_ok=True)
        listed = place.with_suffix(".txt")
        listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
        # `uv run` tells its children where it is.
        if uv := os.environ.get("UV") or shutil.which("uv"):
            self._run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], say)
            self._run([uv, "pip", "install", "--no-progress", "--python", str(python), "-r", str(listed)], say)
        else:
            self._run([sys.executable, "-m", "venv", str(place)], say)
            pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
            self._run([*pip, "install", "--no-color", "--progress-bar=off", "-r", str(listed)], say)
        listed.unlink()
        atomic_files.write_file(place / "complete", b"")
        return python

    def _forget_old(self) -> None:
        if self._folder.is_dir():
            places = sorted(
                (p for p in self._folder.iterdir() if p.is_dir()), key=lambda place: place.stat().st_mtime, reverse=True
            )
            for place in places[_KEPT_ENVIRONMENTS - 1 :]:
                shutil.rmtree(place, ignore_errors=True)

    def _run(self, command: list[str], say: Say) -> None:
        environment = {
            key: value
            for key, value in os.environ.items()
            if key in ("PATH", "HOME", "TMPDIR", "LANG") or key.startswith(_INSTALLER) or key.lower() in _PROXIES
        }
        said = ""
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        ) as process:
            self._installer = process
            assert process.stdout is not None
            for line in process.stdout:
                said = line.decode("utf-8", "replace").rstrip() or said
                say(said)
        self._installer = None
        if process.returncode:
            raise BuildError(said or f"{command[0]} ended with {process.returncode}")
