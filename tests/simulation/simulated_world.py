"""The world of one simulation: an origin, a Hub, and hosts with networks and clocks of their own."""

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from google.cloud.aiplatform_v1.types import CustomJob
from huggingface_hub import CommitOperationAdd
from huggingface_hub.errors import HfHubHTTPError
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun

from conceptry.fingerprint import training_fingerprint
from emulators.hub.server import running
from flows.deployments import installation_tag
from tasks.dvc.desired_images import list_desired_images
from tasks.git.desired_concepts import read_desired
from tasks.training import base_model
from tests.simulation.network import Network, Networks
from tests.simulation.simulated_cloud import FOREIGN, NAMES, Servers, Zygote, kill_group
from tests.support.git_server import serving
from tests.support.registry_world import World
from tests.support.trainer_stand_in import vertex_variables

HOSTS = 2


@dataclass
class SimulatedHost:
    """One host, seen from outside.

    Attributes:
        folder: Its files, see `host.py`.
        network: Its network.
        process: Id of its process group.
        disturbed: Moment, by the monotonic clock, at which its network or clock was last changed.
    """

    folder: Path
    network: Network
    process: int = 0
    disturbed: float = 0.0
    _read: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.folder.name

    def ended_watches(self) -> list[dict[str, float]]:
        """Return the watches that ended since the last call."""
        file = self.folder / "watches.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        new, self._read = lines[self._read :], len(lines)
        return [json.loads(line) for line in new]

    def set_clock(self, ahead: float) -> None:
        """Set the seconds that its clock is ahead of the true time."""
        (self.folder / "clock").write_text(str(ahead))
        self.disturbed = time.monotonic()

    def cut(self, *services: str) -> None:
        """Cut it off from services, and from no others."""
        self.network.mend()
        self.network.cut(*services)
        self.disturbed = time.monotonic()

    def trainings(self) -> list[int]:
        """Return the process ids of its training runs."""
        found = []
        for file in (self.folder / "processes").glob("*"):
            with suppress(FileNotFoundError):  # it has just ended
                if file.read_text() not in ("watch", "reap"):
                    found.append(int(file.name))
        return found


@dataclass
class Hidden:
    """A concept that git hides since a moment; `what` is private, none or removed."""

    name: str
    what: str
    since: float
    failed: int = 0


@dataclass
class SimulatedWorld:
    """What disturbances change and invariants look at.

    Attributes:
        root: Folder.
        servers: Servers.
        zygote: Process that starts hosts.
        rng: Decides what happens.
        sabotage: Fault of all hosts, from `sabotage.py`.
        hosts: Live hosts.
        hidden: Concepts that git hides and that were not seen hidden yet.
        cancelled: Fingerprints of the runs that a person cancelled, by the runs' ids.
        wanted: Fingerprints that git asks for.
        unwanted: Fingerprints that git did not ask for at some time after it had.
        forgotten: Images for which `dvc push` was forgotten.
        suspended: Whether conceptry.yaml suspends trainings.
        disturbed: Moment, by the monotonic clock, at which a shared server was last stopped.
    """

    root: Path
    servers: Servers
    zygote: Zygote
    rng: random.Random
    sabotage: str
    hosts: list[SimulatedHost] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    cancelled: dict[str, str] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)
    forgotten: list[dict[str, bytes]] = field(default_factory=list)
    suspended: bool = False
    disturbed: float = 0.0
    _images: int = 0

    def build(self, stack: ExitStack) -> None:
        """Start everything; the stack ends it."""
        self.root.mkdir(parents=True)
        self._images = self.rng.randrange(10**6)
        hub = stack.enter_context(running(self.root / "hub"))
        self.registry = World(self.root, hub.url, self.servers.prefect.api)
        self.registry.start()
        hook = self.root / "origin.git" / "hooks" / "post-update"
        hook.write_text("#!/bin/sh\nexec git update-server-info\n")
        hook.chmod(0o755)
        git = stack.enter_context(serving(self.root / "origin.git", ""))
        cloud = self.servers.cloud
        self._settings = {
            **self.registry.variables(),
            **vertex_variables(cloud),
            "CONCEPTRY_REPO": git.shown,
            "CONCEPTRY_START_MINUTES": "0.4",
        }
        stack.enter_context(environment(self._settings))
        urls = {"prefect": self.servers.prefect.api, "hub": hub.url, "git": git.shown}
        self._services = {urlsplit(url).port or 0: name for name, url in urls.items()}
        for url in (cloud.web, cloud.storage, f"//{cloud.endpoint}"):
            self._services[urlsplit(url).port or 0] = "cloud"
        self._make_foreign_repos()
        for name in self.rng.sample(NAMES, 2):
            self.write(name)
        self.push("Begin")
        self._networks = Networks()
        stack.callback(self._networks.close)
        stack.callback(self._stop)
        for _ in range(HOSTS):
            self.add_host()

    def add_host(self) -> None:
        """Start a host with an empty folder."""
        folder = self.root / f"host-{len(list(self.root.glob('host-*')))}"
        folder.mkdir()
        host = SimulatedHost(folder, Network(self._networks, self._services))
        host.set_clock(0)
        order = {
            "folder": str(folder),
            "installation": self.registry.installation.id,
            "sabotage": self.sabotage,
            "variables": self._settings | host.network.variables() | {"CONCEPTRY_WORK": str(folder / "work")},
        }
        host.process = self.zygote.start(order)
        self.hosts.append(host)

    def lose_host(self, host: SimulatedHost) -> None:
        """Kill a host with everything that runs on it."""
        kill_group(host.process)
        self.hosts.remove(host)
        host.network.close()

    def _stop(self) -> None:
        for host in list(self.hosts):
            self.lose_host(host)

    # Git.

    def names(self) -> list[str]:
        """Return the names of the concepts in git."""
        return sorted(path.parent.name for path in (self.registry.clone / "concepts").glob("*/concept.yaml"))

    def spec(self, name: str) -> dict[str, Any]:
        """Return a concept's concept.yaml."""
        return dict(yaml.safe_load((self.registry.clone / "concepts" / name / "concept.yaml").read_text()))

    def change(self, name: str, **keys: Any) -> None:
        """Change keys of a concept's concept.yaml."""
        file = self.registry.clone / "concepts" / name / "concept.yaml"
        file.write_text(yaml.safe_dump(self.spec(name) | keys))

    def write(self, name: str, *, pushed: bool = True) -> None:
        """Write a concept with new images; what is said about its release stays."""
        self._images += 10
        before = self.spec(name) if name in self.names() else {}
        kept = {key: before[key] for key in ("release", "space", "placeholder_token") if key in before}
        steps = self.rng.choice([200, 600, 1200])
        self.registry.write(name, 3, push=pushed, seed=self._images, training={"max_steps": steps}, **kept)
        if not pushed:
            self.forgotten.append(dict(self.registry.pushed))

    def push(self, message: str) -> None:
        """Commit and push everything."""
        self.registry.push(message)
        before, self.wanted = self.wanted, {self.fingerprint(name) for name in self.names()}
        self.unwanted |= before - self.wanted

    def fingerprint(self, name: str) -> str:
        """Return the fingerprint of what git says of a concept."""
        installation = self.registry.installation
        concept = list_desired_images(installation, read_desired(installation, only=name)).concepts[name]
        assert concept.spec is not None, concept.error
        return training_fingerprint(concept.spec, concept.images or (), base_model(concept.spec.base_model))

    # Prefect, Vertex AI and the Hub.

    def runs(self) -> list[FlowRun]:
        """Return the training runs, the newest first."""
        tags = FlowRunFilterTags(all_=[installation_tag(self.registry.installation.id)])
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(tags=tags), limit=200)
        trainings = [run for run in runs if "fingerprint" in run.parameters]
        return sorted(trainings, key=lambda run: str(run.created), reverse=True)

    def is_cancelled(self, fingerprint: str | None) -> bool:
        """Whether a person cancelled the newest run of a fingerprint."""
        runs = [run for run in self.runs() if run.parameters["fingerprint"] == fingerprint]
        return bool(runs) and str(runs[0].id) in self.cancelled

    def jobs(self) -> list[CustomJob]:
        """Return the jobs of this installation."""
        ours = self.registry.installation.id
        return [job for job in self.servers.cloud.jobs.all() if job.labels.get("conceptry_installation") == ours]

    def exists(self, name: str) -> bool:
        """Whether a concept's model repo exists."""
        return bool(self.registry.api().repo_exists(f"local/{name}"))

    def branches(self, name: str) -> dict[str, str]:
        """Return the commits of a concept's versions, by branch."""
        with suppress(HfHubHTTPError):
            branches = self.registry.api().list_repo_refs(f"local/{name}").branches
            return {branch.name: branch.target_commit for branch in branches if branch.name.startswith("v")}
        return {}

    def served(self, name: str) -> str | None:
        """Return the version that a concept's Space serves; None if it serves none."""
        space = self.registry.there(name).space
        return space.release if space and not space.paused else None

    def _make_foreign_repos(self) -> None:
        """Make a model and a Space that somebody else has under the same account."""
        api = self.registry.api()
        api.create_repo(f"local/{FOREIGN}")
        api.create_repo(f"local/{FOREIGN}", repo_type="space", space_sdk="gradio")
        for kind, file in (("model", "README.md"), ("space", "app.py")):
            operation = CommitOperationAdd(file, b"# theirs\n")
            api.create_commit(f"local/{FOREIGN}", [operation], commit_message="Theirs", repo_type=kind)
        self.foreign = self.foreign_state()

    def foreign_state(self) -> list[object]:
        """Return everything of the foreign repos that could have been changed."""
        api, found = self.registry.api(), list[object]()
        for kind in ("model", "space"):
            info = api.repo_info(f"local/{FOREIGN}", repo_type=kind)
            refs = api.list_repo_refs(f"local/{FOREIGN}", repo_type=kind)
            runtime = getattr(info, "runtime", None)
            found += [info.sha, info.private, sorted(ref.ref for ref in (*refs.branches, *refs.tags))]
            found.append(runtime and runtime.stage)
        return found


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
