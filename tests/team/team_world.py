"""A team's set-up as a process of its own, with an origin and a DVC remote that its workers can read."""

import functools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from conceptry.errors import SettingsError
from conceptry.installation import Installation
from conceptry.settings import Settings
from flows.current_installation import build_installation
from local.team.postgres import Postgres
from local.team.programs import PACKAGES, find_programs
from local.team.system_users import SystemUsers
from local.team.team_folder import SERVICES, TeamFolder, client_variables
from tests.support.registry_world import World
from tests.support.trainer_overlay import make_overlay


def why_not() -> str:
    """Say why a team's set-up cannot run on this machine; empty if it can."""
    try:
        find_programs(PACKAGES)
    except SettingsError as error:
        return error.what
    return ""


def may_separate() -> bool:
    """Whether each service can run as a user of its own: as root, with a Python that other users can run."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        return False
    code = "import sys, prefect; print(sys.version)"
    command = ["setpriv", "--reuid=nobody", "--clear-groups", sys.executable, "-c", code]
    done = subprocess.run(command, cwd="/", env={"PATH": os.defpath}, capture_output=True, text=True)
    return done.stdout.strip() == sys.version


class Team:
    """A folder with an origin, a DVC remote and the root of a team's set-up.

    Args:
        base: Folder that every user may read.
        repo_root: The checkout.
        seconds: How long a training takes.
    """

    def __init__(self, base: Path, repo_root: Path, seconds: float) -> None:
        self.base, self.folder = base, TeamFolder.at(base / "team")
        self.world = World(base, "", "")
        self.world.start()
        self.pythonpath, self.trainings = make_overlay(base, repo_root, seconds)
        self.separate = may_separate()
        self.said = ""
        self._up: subprocess.Popen[str] | None = None

    def environment(self) -> dict[str, str]:
        """Return the environment of `conceptry team ...`."""
        # DVC's folders of the tests are readable by their user only.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DVC_")}
        return {**kept, "PYTHONPATH": self.pythonpath, "CONCEPTRY_REPO": str(self.base / "origin.git")}

    def command(self, *arguments: str) -> list[str]:
        """Return a command `conceptry team ...` for this set-up."""
        return [sys.executable, "-P", "-m", "cli", "team", *arguments, "--root", str(self.folder.root)]

    def run(self, *arguments: str) -> str:
        """Run a command `conceptry team ...` to its end, and return what it prints."""
        done = subprocess.run(self.command(*arguments), env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> None:
        """Start `conceptry team up`; it is `process`, and `said` what it printed until everything was up."""
        users = () if self.separate else ("--one-user",)
        # A shell without job control starts background commands deaf to SIGINT.
        hearing = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        self._up = subprocess.Popen(
            self.command("up", *users), cwd=self.base, env=self.environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=hearing,
        )  # fmt: skip
        self.said = ""
        for line in self._up.stdout or ():
            self.said += line
            if "Ctrl-C" in line:
                return
        raise AssertionError(f"it ended with {self._up.wait()}:\n{self.said}")

    @property
    def process(self) -> psutil.Process:
        """Return the process of `conceptry team up`."""
        assert self._up is not None
        return psutil.Process(self._up.pid)

    def stop(self) -> None:
        """End it with Ctrl-C, if it runs; no process is left."""
        up, self._up = self._up, None
        if up is None:
            return
        family = psutil.Process(up.pid).children(recursive=True) if up.poll() is None else []
        up.send_signal(signal.SIGINT)
        rest = up.communicate(timeout=90)[0]
        assert up.returncode == 0, rest
        assert [process for process in family if process.is_running()] == []

    def variables(self) -> dict[str, str]:
        """Return the variables of a user's commands."""
        return client_variables(self.folder, self.folder.read()) | {"CONCEPTRY_WORK": str(self.base / "user-work")}

    @contextmanager
    def using(self, without: tuple[str, ...] = ()) -> Iterator[Installation]:
        """Use the set-up in this process, as a user's commands do, without some variables."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.variables().items():
                if name not in without:
                    patch.setenv(name, value)
            yield build_installation(Settings())

    def postgres(self) -> Postgres:
        """Return the commands for its database."""
        return Postgres(self.folder, SystemUsers(self.separate))


@contextmanager
def team_folder() -> Iterator[Path]:
    """Yield a folder that every user may read, unlike pytest's; delete it afterwards, with users that were created."""
    before = {entry.pw_name for entry in pwd.getpwall()}
    folder = Path(tempfile.mkdtemp(prefix="conceptry-team-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        new = [entry.pw_name for entry in pwd.getpwall() if entry.pw_name not in before]
        for user in new:
            if user in {SystemUsers(True).user(service) for service in SERVICES}:
                subprocess.run(["userdel", user], check=True)
