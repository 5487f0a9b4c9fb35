"""A world for the tests of the flows: an origin, its DVC remote, and what Prefect and the Hub know of them."""

import hashlib
import io
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from huggingface_hub import HfApi
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterId, FlowRunFilterTags
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, TaskRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Completed, Pending, Running, Scheduled

from conceptry.actions import Action, ConceptPlan, Plan
from conceptry.gate import GateFinding, GateResult
from conceptry.installation import Installation
from conceptry.reasons import GateReason
from conceptry.settings import Settings
from conceptry.version import LiveConcept
from flows.current_installation import build_installation
from flows.reconcile import current_comparison
from flows.rendering import space_of
from flows.train_concept import job_at_head
from tasks.hub import HubSession, Lineage, assemble, list_live, publish
from tasks.run_folder import RunFolder
from tasks.space import render_space
from tests.support.trained import make_trained
from tests.support.wait import wait_until
from trainer.tiny.world import PAIRS, draw


@dataclass
class World:
    """A bare origin with a person's clone, a DVC remote (a folder), and an account on the Hub."""

    root: Path
    hub: str
    prefect: str
    pushed: dict[str, bytes] = field(default_factory=dict)

    def variables(self, work: str = "work") -> dict[str, str]:
        """The settings; another `work` is another machine."""
        return {
            "PREFECT_API_URL": self.prefect,
            "CONCEPTRY_REPO": str(self.root / "origin.git"),
            "CONCEPTRY_WORK": str(self.root / work),
            "CONCEPTRY_HUB_ENDPOINT": self.hub,
            "CONCEPTRY_HUB_OWNER": "local",
            "CONCEPTRY_HUB_TOKEN": "hf_local",
        }

    @property
    def installation(self) -> Installation:
        """As the environment says now."""
        return build_installation(Settings())

    @property
    def session(self) -> HubSession:
        """A new conversation with the Hub, which has read nothing yet."""
        return HubSession(self.installation.hub)

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    def start(self) -> None:
        run(self.root, "git", "init", "--quiet", "--bare", "origin.git")
        run(self.root, "git", "clone", "--quiet", "origin.git", "clone")
        (self.clone / ".dvc").mkdir()
        config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {self.root / 'remote'}\n"
        (self.clone / ".dvc" / "config").write_text(config)

    def write(self, name: str, pictures: int = 4, *, push: bool = True, seed: int = 0, **spec: Any) -> None:
        """Write a concept's two files, and push its pictures as `dvc push` does, unless that is forgotten."""
        folder = self.clone / "concepts" / name
        folder.mkdir(parents=True, exist_ok=True)
        told = {"placeholder_token": f"<{name}>", "initializer_token": "circle", **spec}
        (folder / "concept.yaml").write_text(yaml.safe_dump(told))
        files = {f"{index}.png": picture(name, seed + index) for index in range(pictures)}
        listing = json.dumps([{"md5": md5(data), "relpath": path} for path, data in sorted(files.items())]).encode()
        oid = f"{md5(listing)}.dir"
        self.pushed = {oid: listing, **{md5(data): data for data in files.values()}}
        if push:
            self.dvc_push()
        outs = [{"md5": oid, "size": 1, "nfiles": pictures, "hash": "md5", "path": "images"}]
        (folder / "images.dvc").write_text(yaml.safe_dump({"outs": outs}))

    def dvc_push(self) -> None:
        """Bring the pictures that were written last to the DVC remote."""
        for oid, data in self.pushed.items():
            path = self.root / "remote" / "files" / "md5" / oid[:2] / oid[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def push(self, message: str = "a commit") -> str:
        """Commit everything and push; the new revision."""
        run(self.clone, "git", "add", "--all")
        run(self.clone, "git", "commit", "--quiet", "--allow-empty", "-m", message)
        run(self.clone, "git", "push", "--quiet", "origin", "HEAD")
        return run(self.clone, "git", "rev-parse", "HEAD")

    def plan(self) -> Plan:
        """The plan as it is now."""
        return current_comparison(self.installation).plan

    def planned(self, name: str) -> ConceptPlan:
        """What the plan says about a concept now."""
        return next(one for one in self.plan().concepts if one.concept == name)

    def action(self, name: str) -> Action:
        """The last action that the plan lists for a concept now."""
        return self.planned(name).listed[-1]

    def there(self, name: str) -> LiveConcept:
        """What the Hub holds of a concept, by the listing that everybody goes by."""
        return list_live(self.session).concepts.get(name, LiveConcept(name, (), None))

    def api(self) -> HfApi:
        """The Hub's own client."""
        return self.session.api

    def space_file(self, name: str, path: str) -> bytes:
        """A file of its Space as it is now."""
        local = self.api().hf_hub_download(f"local/{name}", path, repo_type="space", local_dir=self.root / "space-file")
        return Path(local).read_bytes()

    def rendered(self, name: str, folder: Path) -> Path:
        """Render its Space, with the first version, into a folder."""
        spec = job_at_head(self.installation, name).spec
        return render_space(folder, *space_of(self.session, name, spec, self.there(name).versions[0]))

    def publish(self, name: str, *, created: str, loss: float, fingerprint: str | None = None) -> None:
        """Publish a version that was made on another day, or by a release with another fingerprint of the inputs."""
        job = job_at_head(self.installation, name)
        trained, made = self.root / f"trained-{name}", self.root / f"bundle-{name}"
        make_trained(trained, token=f"<{name}>", loss=loss)
        lineage = Lineage(
            fingerprint=fingerprint or job.fingerprint, inputs=fingerprint or job.inputs, commit=job.revision,
            dvc_md5=job.desired.dvc_md5 or "", images=job.desired.images or (), created=created,
        )  # fmt: skip
        bundle = assemble(
            trained, made, name=name, spec=job.spec, base=job.base, lineage=lineage,
            gate=GateResult((GateFinding(GateReason.IMPROVED, "passed", "it was good"),)), repo=f"local/{name}",
        )  # fmt: skip
        publish(self.session, name, bundle)

    def hub_repo(self, kind: str, name: str) -> Path:
        """Where the Hub keeps a repo."""
        return self.root / "hub" / "repos" / kind / "local" / f"{name}.git"

    def branches(self, name: str) -> list[str]:
        """The branches of its model repo."""
        refs = self.api().list_repo_refs(f"local/{name}")
        return sorted(branch.name for branch in refs.branches)

    def trained(
        self, name: str, loss: float = 0.05, retrain: str | None = None, released: float | None = None
    ) -> dict[str, Any]:
        """Put what a trainer leaves into the run's folder, and return the parameters of its run.

        So a run finds its training done, as after a retry, and a test need not wait for one.
        """
        job = job_at_head(self.installation, name, retrain)
        folder = self.run_folder(job.fingerprint)
        make_trained(folder.output, token=f"<{name}>", loss=loss, released=released)
        return {"name": name, "revision": job.revision, "fingerprint": job.fingerprint, "retrain": retrain}

    def run_folder(self, fingerprint: str) -> RunFolder:
        """The folder of a training."""
        return RunFolder(self.installation.work.run(fingerprint))


def picture(name: str, seed: int) -> bytes:
    """A PNG that no other name and seed has: a shape that `tiny` can draw, the same for every seed."""
    pair = PAIRS[sum(name.encode()) % len(PAIRS)]
    buffer = io.BytesIO()
    draw(*pair, np.random.default_rng([seed, *name.encode()])).save(buffer, "PNG")
    return buffer.getvalue()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def run(folder: Path, *arguments: str) -> str:
    done = subprocess.run(arguments, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def training_runs(fingerprint: str) -> list[FlowRun]:
    """All runs that were asked to train a fingerprint."""
    tags = FlowRunFilterTags(all_=[f"fingerprint:{fingerprint}"])
    with get_client(sync_client=True) as client:
        flow = FlowFilter(name=FlowFilterName(any_=["train-concept"]))
        return client.read_flow_runs(flow_filter=flow, flow_run_filter=FlowRunFilter(tags=tags))


def set_state(flow_run: FlowRun, state: State[Any] | str) -> None:
    """Let a run be in a state; "run" and "complete" take it through the states that a run goes through."""
    through = {"run": [Scheduled(), Pending(), Running()], "complete": [Pending(), Running(), Completed()]}
    with get_client(sync_client=True) as client:
        for each in through[state] if isinstance(state, str) else [state]:
            client.set_flow_run_state(flow_run.id, each, force=True)


def last_run(flow_name: str) -> FlowRun:
    """The run of a flow that was started last."""
    with get_client(sync_client=True) as client:
        flow = FlowFilter(name=FlowFilterName(any_=[flow_name]))
        return client.read_flow_runs(flow_filter=flow, sort=FlowRunSort.START_TIME_DESC, limit=1)[0]


def tasks_of(flow_run: FlowRun, *expected: str, attempts: bool = False) -> dict[str, Any]:
    """How the tasks of a run ended, by name, or how often each was tried; waits for the expected ones."""
    which = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    with get_client(sync_client=True) as client:
        # The server learns of tasks through events, a moment later and in any order.
        def ended() -> tuple[list[TaskRun], ...]:
            runs = client.read_task_runs(flow_run_filter=which)
            known = {_task_of(run) for run in runs}
            over = all(run.state_type in TERMINAL_STATES for run in runs) and known.issuperset(expected)
            return (runs,) if over else ()

        (runs,) = wait_until(ended)
    return {_task_of(run): run.run_count if attempts else run.state_name for run in runs}


def _task_of(run: TaskRun) -> str:
    return run.name.rsplit("-", 1)[0]


def events_of(name: str) -> list[str]:
    """What was told about a concept: the events' names without their prefix, the oldest first."""
    resource = {"resource": {"id": [f"conceptry.concept.{name}"]}, "order": "ASC"}
    with get_client(sync_client=True) as client:
        response = client._client.post("/events/filter", json={"filter": resource, "limit": 50})
    return [event["event"].removeprefix("conceptry.concept.") for event in response.json()["events"]]


def artifact(key: str) -> str:
    """What the newest artifact under a key says."""
    with get_client(sync_client=True) as client:
        response = client.request("GET", "/artifacts/{key}/latest", path_params={"key": key})
    return str(response.json()["data"])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def python(code: str, variables: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    """Start another process with these settings, and let it be the head of its own group."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)
