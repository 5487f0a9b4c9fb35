"""Build an app: check out its revision, and find or make a Python environment that meets its requirements."""

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
from emulators.hub import git_objects
from emulators.hub.lfs import LfsStore
from emulators.hub.storage import Repo

_KEPT_ENVIRONMENTS = 8
# Variables that an installer inherits: where the package index is, and how to reach it.
_INSTALLER = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")

WriteLine = Callable[[str], None]


class BuildError(Exception):
    """An app cannot be built; the message says why, and its build log has the details."""


class BuildLog:
    """build.log, emptied by each build; its lines have the form of run.log."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        path.write_bytes(b"")

    def __call__(self, text: str) -> None:
        """Append one line."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        with self._path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{now} {text}\n")


def check_out(repo: Repo, commit: str, folder: Path, *, lfs: LfsStore, excluded: Iterable[str] = ()) -> int:
    """Write a revision's files into a new folder, LFS files with their content; return their number.

    Args:
        excluded: shell patterns of paths that are left out.

    Raises:
        BuildError: the content of an LFS file is missing.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    git, count = repo.git(), 0
    for entry in git_objects.walk(git, commit, recursive=True):
        if entry.folder or any(fnmatch.fnmatch(entry.path, pattern) for pattern in excluded):
            continue
        target = folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.lfs is None:
            target.write_bytes(git[entry.oid].data)
        elif lfs.size(entry.lfs.oid) is None:
            raise BuildError(f"{entry.path}: its content is missing on this Hub")
        else:
            # A copy instead of a link, since the app may write to its files.
            shutil.copyfile(lfs.path(entry.lfs.oid), target)
        count += 1
    return count


def unmet(folder: Path, extra: Iterable[str] = ()) -> list[str]:
    """Return the lines of requirements.txt, and of `extra`, that this process's environment does not meet.

    Extras in brackets count as met when the package itself is: most of them name accelerators.
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
    """Python environments for requirements that the Hub's own does not meet, one for each set of lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._installer: subprocess.Popen[bytes] | None = None

    def interrupt(self) -> None:
        """Kill a running installation, because the Hub ends."""
        installer = self._installer
        if installer is not None:
            installer.kill()

    def python_for(self, folder: Path, extra: tuple[str, ...], log: WriteLine, *, reinstall: bool = False) -> Path:
        """Return a Python that meets the requirements of the app in `folder`, installing them where necessary.

        Args:
            folder: the app's files.
            extra: requirements besides those in its requirements.txt.
            log: receives the output, line by line.
            reinstall: install again even if the environment exists.

        Raises:
            BuildError: a requirement cannot be installed.
        """
        missing = unmet(folder, extra)
        if not missing:
            log("The Hub's own Python environment meets all requirements.")
            return Path(sys.executable)
        log(f"Not met by the Hub's own environment: {', '.join(missing)}")
        with self._lock:
            return self._installed(folder, extra, log, reinstall=reinstall)

    def _installed(self, folder: Path, extra: tuple[str, ...], log: WriteLine, *, reinstall: bool) -> Path:
        lines = [*extra, *_lines(folder / "requirements.txt", folder)]
        place = self._folder / hashlib.sha256("\n".join([sys.version, *sorted(lines)]).encode()).hexdigest()[:20]
        python = place / "bin" / "python"
        if reinstall:
            shutil.rmtree(place, ignore_errors=True)
        if (place / "complete").exists():
            os.utime(place)
            log("They were installed before.")
            return python
        shutil.rmtree(place, ignore_errors=True)
        self._remove_old()
        place.parent.mkdir(parents=True, exist_ok=True)
        listed = place.with_suffix(".txt")
        listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
        # `uv run` sets UV to its own path.
        if uv := os.environ.get("UV") or shutil.which("uv"):
            self._run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], log)
            self._run([uv, "pip", "install", "--no-progress", "--python", str(python), "-r", str(listed)], log)
        else:
            self._run([sys.executable, "-m", "venv", str(place)], log)
            pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
            self._run([*pip, "install", "--no-color", "--progress-bar=off", "-r", str(listed)], log)
        listed.unlink()
        atomic_files.write_file(place / "complete", b"")
        return python

    def _remove_old(self) -> None:
        if self._folder.is_dir():
            places = sorted(
                (p for p in self._folder.iterdir() if p.is_dir()), key=lambda place: place.stat().st_mtime, reverse=True
            )
            for place in places[_KEPT_ENVIRONMENTS - 1 :]:
                shutil.rmtree(place, ignore_errors=True)

    def _run(self, command: list[str], log: WriteLine) -> None:
        environment = {
            key: value
            for key, value in os.environ.items()
            if key in ("PATH", "HOME", "TMPDIR", "LANG") or key.startswith(_INSTALLER) or key.lower() in _PROXIES
        }
        last = ""
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        ) as process:
            self._installer = process
            assert process.stdout is not None
            for line in process.stdout:
                last = line.decode("utf-8", "replace").rstrip() or last
                log(last)
        self._installer = None
        if process.returncode:
            raise BuildError(last or f"{command[0]} ended with {process.returncode}")
