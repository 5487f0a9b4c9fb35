"""A repository of concepts with its `conceptry up`, used as a person does: by git, dvc and `conceptry` alone."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from conceptry.errors import ConceptryError
from flows.reconcile import current_comparison
from local.current_setup import open_installation
from local.demo.user import User
from local.prefect_settings import prefect_of
from local.setup_folder import Folder, Setup
from tasks.hub import HubSession, list_live
from tests.support.up_process import CONCEPTRY
from tests.support.wait import wait_until


class Library:
    """A clone whose commits the servers of `conceptry up` see.

    `greeting` is what `conceptry up` printed until everything was up, `up` the id of its process.

    Args:
        folder: Where the clone and the DVC remote are made.
    """

    def __init__(self, folder: Path) -> None:
        self.greeting, self.up = "", 0
        self.clone = folder / "library"
        self.clone.mkdir()
        self._user = User(self.clone, folder, show=lambda _: None)
        self.run("git", "init", "--quiet")
        self.run("dvc", "init", "--quiet")
        self.run("dvc", "remote", "add", "--default", "storage", str(folder / "storage"))
        self.commit("Begin")

    @property
    def setup(self) -> Setup:
        """Return the set-up that `conceptry up` wrote."""
        return Folder.at(self.setup_folder).read()

    @property
    def setup_folder(self) -> Path:
        """Return the folder of that set-up."""
        return self.clone / ".conceptry"

    def run(self, *command: str) -> str:
        """Run a command in the clone and return what it prints; ConceptryError if it fails."""
        return self._user.run(*command)

    def result(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `conceptry` in the clone, whatever its exit code."""
        command = [*CONCEPTRY, *arguments]
        environment = self._user.environment
        return subprocess.run(command, cwd=self.clone, env=environment, capture_output=True, text=True, check=False)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def spec(self, name: str) -> Path:
        """Return the path of a concept.yaml."""
        return self.clone / "concepts" / name / "concept.yaml"

    def change(self, name: str, **keys: object) -> None:
        """Set keys of a concept.yaml."""
        path = self.spec(name)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))

    def versions(self, name: str) -> dict[str, Any]:
        """Return what is published of a concept, `{}` while nothing is."""
        try:
            return dict(json.loads(self.run("conceptry", "versions", name, "--json")))
        except ConceptryError:
            return {}

    def action(self, name: str) -> dict[str, Any]:
        """Return a concept's action in the plan, `{}` if the plan has none."""
        actions = json.loads(self.result("plan", "--json").stdout)["actions"]
        return next((action for action in actions if action["concept"] == name), {})

    def wait_for_action(self, name: str, reason: str, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until a concept's action has a reason code; the action, as `conceptry plan` prints it."""

        def reached() -> bool:
            with open_installation(self.setup_folder) as installation, prefect_of(self.setup_folder):
                planned = current_comparison(installation).plan.actions
            return any(action.concept == name and action.reason == reason for action in planned)

        # In this process: a command takes two seconds, and would compete with the training that is awaited.
        wait_until(reached, timeout=timeout, every=1)
        action = self.action(name)
        assert action.get("reason") == reason
        return action

    def wait_for_release(self, name: str, version: str | None, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until a concept's Space serves a version; what `conceptry versions` prints then."""

        def reached() -> bool:
            with open_installation(self.setup_folder) as installation:
                concept = list_live(HubSession(installation.hub), [name]).concepts.get(name)
            return bool(concept and concept.space and concept.space.release == version)

        wait_until(reached, timeout=timeout, every=0.5)
        found = self.versions(name)
        assert found["released"] == version
        return found
