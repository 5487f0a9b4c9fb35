"""What happens to a simulated world: people push, rename, cancel and edit by hand; hosts, networks and servers fail.

Each method returns what it did in words, or None if it could not be done now.
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

import psutil
from huggingface_hub.errors import HfHubHTTPError
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import Cancelling

from tests.simulation.simulated_cloud import FOREIGN, NAMES
from tests.simulation.simulated_world import Hidden, SimulatedWorld
from tests.support.registry_world import run

ACTIVE = (StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING)
SERVICES = ("prefect", "hub", "cloud", "git")
DAY = 86400.0
CLOCKS = (0.0, 90.0, -90.0, 3 * DAY, -3 * DAY, 700 * DAY)
"""Seconds that a host's clock may be ahead."""
BY_HAND = ("delete a branch", "delete a tag", "edit the card", "pause", "edit the Space", "delete the Space")
OUTAGES = (1.0, 4.0, 9.0)
"""Seconds that the Prefect server may be away."""


class Disturbances:
    """Disturbances of one world.

    Args:
        world: The world.
        only: Names of the methods to choose from; all of them, if empty.
    """

    def __init__(self, world: SimulatedWorld, only: Collection[str] = ()) -> None:
        self._world, self._rng, self._git = world, world.rng, world.registry.clone
        weights: Mapping[Callable[[], str | None], int] = {
            self.edit: 4, self.hide: 3, self.show: 2, self.rename: 2, self.revert: 1, self.suspend: 1, self.forget: 1,
            self.take_name: 1, self.cut: 3, self.kill_host: 3, self.kill_run: 3, self.stop_server: 2,
            self.move_clock: 2, self.cancel: 3, self.edit_by_hand: 4, self.fail_cloud: 2,
        }  # fmt: skip
        self._weights = {act: weight for act, weight in weights.items() if not only or act.__name__ in only}

    def next(self) -> tuple[str, str]:
        """Do one thing; return its name, and what was done in words."""
        while True:
            [action] = self._rng.choices(list(self._weights), list(self._weights.values()))
            words = action()
            if words:
                return getattr(action, "__name__", ""), words

    # Pushes.

    def edit(self) -> str | None:
        """Write a new concept, or new images of one."""
        name = self._free(list(NAMES))
        used = {self._world.spec(one)["placeholder_token"] for one in self._world.names() if one != name}
        if name is None or (name not in self._world.names() and f"<{name}>" in used):
            return None
        self._world.write(name)
        self._world.push(f"Edit {name}")
        return f"edit {name}"

    def hide(self) -> str | None:
        """Ask for a private repo, for no release, or for no concept, where one is served."""
        name = self._free([name for name in self._world.names() if name != FOREIGN and self._world.served(name)])
        if name is None:
            return None
        what = self._rng.choice(["private", "none", "removed"])
        if what == "removed":
            run(self._git, "git", "rm", "-rqf", f"concepts/{name}")
        elif what == "none":
            self._world.change(name, release="none")
        else:
            self._world.change(name, space={"private": True})
        self._world.push(f"Hide {name}: {what}")
        self._world.hidden.append(Hidden(name, what, time.monotonic()))
        return f"hide {name}: {what}"

    def show(self) -> str | None:
        """Undo `hide`."""
        name = self._free([one for one in self._world.names() if {"release", "space"} & set(self._world.spec(one))])
        if name is None:
            return None
        self._world.change(name, release="latest", space={"private": False})
        self._world.push(f"Show {name}")
        return f"show {name}"

    def rename(self) -> str | None:
        """Give a concept a name that no concept had."""
        names = self._world.names()
        name = self._free([one for one in names if one != FOREIGN])
        unused = [one for one in NAMES if one not in names and one == self._free([one]) and not self._world.exists(one)]
        if name is None or not unused:
            return None
        new = self._rng.choice(unused)
        run(self._git, "git", "mv", f"concepts/{name}", f"concepts/{new}")
        self._world.push(f"Rename {name} to {new}")
        return f"rename {name} to {new}"

    def revert(self) -> str | None:
        """Revert the last commit."""
        if self._world.hidden or int(run(self._git, "git", "rev-list", "--count", "HEAD")) < 4:
            return None
        run(self._git, "git", "revert", "--no-commit", "HEAD")
        self._world.push("Revert")
        return "revert the last commit"

    def suspend(self) -> str:
        """Suspend all trainings, or end that."""
        self._world.suspended = not self._world.suspended
        (self._git / "conceptry.yaml").write_text(f"suspend: {str(self._world.suspended).lower()}\n")
        self._world.push("Suspend" if self._world.suspended else "Resume")
        return f"suspend: {self._world.suspended}"

    def forget(self) -> str | None:
        """Push new images of a concept without `dvc push`."""
        name = self._free(self._world.names())
        if name is None:
            return None
        self._world.write(name, pushed=False)
        self._world.push(f"Edit {name}, without dvc push")
        return f"edit {name} without `dvc push`"

    def take_name(self) -> str | None:
        """Add a concept whose repos belong to somebody else."""
        if FOREIGN in self._world.names():
            return None
        self._world.write(FOREIGN)
        self._world.push("A name that somebody else has")
        return f"add {FOREIGN}"

    def _free(self, names: list[str]) -> str | None:
        """Choose a concept that is not awaited to be hidden."""
        awaited = {hidden.name for hidden in self._world.hidden}
        free = [name for name in names if name not in awaited]
        return self._rng.choice(free) if free else None

    # Failures.

    def cut(self) -> str:
        """Cut a host off from one service or all, or reconnect it."""
        host = self._rng.choice(self._world.hosts)
        if host.network.is_cut:
            host.cut()
            return f"{host.name}: network is back"
        services = self._rng.choice([SERVICES, *[(service,) for service in SERVICES]])
        host.cut(*services)
        return f"{host.name}: cut off from {', '.join(services)}"

    def kill_host(self) -> str:
        """Lose a host for good, one that trains if there is one; another one comes."""
        training = [host for host in self._world.hosts if host.trainings()]
        host = self._rng.choice(training or self._world.hosts)
        self._world.lose_host(host)
        self._world.add_host()
        return f"lose {host.name} for good"

    def kill_run(self) -> str | None:
        """Kill the process of a training run."""
        processes = {process: host for host in self._world.hosts for process in host.trainings()}
        if not processes:
            return None
        process = self._rng.choice(sorted(processes))
        with suppress(psutil.NoSuchProcess):
            psutil.Process(process).kill()
        return f"{processes[process].name}: kill a run"

    def stop_server(self) -> str:
        """Let the Prefect server answer nothing for some seconds, or kill it and start it again."""
        server, seconds = self._world.servers.prefect, self._rng.choice(OUTAGES)
        killed = self._rng.random() < 0.25
        self._world.disturbed = float("inf")
        if killed:
            server.kill()
            time.sleep(seconds)
            server.start()
        else:
            server.freeze(True)
            time.sleep(seconds)
            server.freeze(False)
        self._world.disturbed = time.monotonic()
        return f"the Prefect server is {'dead' if killed else 'frozen'} for {seconds:g} s"

    def move_clock(self) -> str:
        """Set a host's clock."""
        host, ahead = self._rng.choice(self._world.hosts), self._rng.choice(CLOCKS)
        host.set_clock(ahead)
        return f"{host.name}: clock {ahead:+.0f} s"

    def fail_cloud(self) -> str:
        """Let Vertex AI lose answers, refuse requests, or list new jobs late."""
        faults = self._world.servers.cloud.faults
        kind = self._rng.choice(["lose", "refuse", "lag"])
        if kind == "lose":
            faults.lose("CreateCustomJob", self._rng.randint(1, 2))
        elif kind == "refuse":
            method = self._rng.choice(["CreateCustomJob", "GetCustomJob", "ListCustomJobs"])
            faults.refuse(method, self._rng.choice(["RESOURCE_EXHAUSTED", "UNAVAILABLE"]), self._rng.randint(1, 4))
        else:
            faults.lag(self._rng.uniform(0.2, 1.0))
        return f"Vertex AI: {kind}"

    # People, in the browser.

    def cancel(self) -> str | None:
        """Cancel a training run in Prefect's UI."""
        runs = [one for one in self._world.runs() if one.state_type in ACTIVE]
        if not runs:
            return None
        chosen = self._rng.choice(runs)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(chosen.id, Cancelling())
            state = client.read_flow_run(chosen.id).state_type
        if state not in (StateType.CANCELLING, StateType.CANCELLED):
            return None
        self._world.cancelled[str(chosen.id)] = str(chosen.parameters["fingerprint"])
        return f"cancel {chosen.name}"

    def edit_by_hand(self) -> str | None:
        """Edit a repo on the Hub by hand."""
        names = [name for name in NAMES if name == self._free([name]) and self._world.exists(name)]
        if not names:
            return None
        name = self._rng.choice(names)
        kind = self._rng.choice(
            ["delete a branch", "delete a tag", "edit the card", "pause", "edit the Space", "delete the Space"]
        )
        try:
            done = self._edit_repo(self._world.registry.api(), f"local/{name}", kind)
        except HfHubHTTPError:
            return None  # there is none yet
        return f"{name}: {kind} by hand" if done else None

    def _edit_repo(self, api: Any, repo: str, kind: str) -> bool:
        refs = api.list_repo_refs(repo)
        branches = [branch.name for branch in refs.branches if branch.name.startswith("v")]
        tags = [tag.name for tag in refs.tags if tag.name.startswith("fp-")]
        edit: Callable[[], object] | None = {
            "delete a branch": lambda: api.delete_branch(repo, branch=self._rng.choice(branches)),
            "delete a tag": lambda: api.delete_tag(repo, tag=self._rng.choice(tags)),
            "edit the card": lambda: api.upload_file(path_or_fileobj=b"mine", path_in_repo="README.md", repo_id=repo),
            "pause": lambda: api.pause_space(repo),
            "edit the Space": lambda: api.upload_file(
                path_or_fileobj=b"pass", path_in_repo="app.py", repo_id=repo, repo_type="space"
            ),
            "delete the Space": lambda: api.delete_repo(repo, repo_type="space"),
        }.get(kind)
        if edit is None or (kind == "delete a branch" and not branches) or (kind == "delete a tag" and not tags):
            return False
        edit()
        return True
