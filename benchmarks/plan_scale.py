"""How a plan grows with the number of concepts.

    python -m benchmarks.plan_scale --json

It takes about three minutes, most of them to lay down the repositories, and should find: 1,000 concepts in at most 1 s
and at most 5 HTTP requests when nothing changed, and growth that is at most linear.

For each size there is a real origin (bare git), a DVC remote (a folder), and a local Hub in a process of its own that
holds a model repo with one published version and a Space for every concept, all in sync. What is measured is what
`conceptry plan` does after its imports: fetch the origin, read every concept and listing, list the Hub, decide. `first`
is on a machine that never saw these concepts, `again` is with nothing changed since (the best of `--repeat`), `one` is
after one concept got other pictures. Requests are counted in the Hub's client. No Prefect server is asked. Up to
20 concepts are looked at more closely (branches, tags, files of Spaces), which costs a request or two each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pygit2
from huggingface_hub import get_session
from PIL import Image
from pydantic import SecretStr
from safetensors.numpy import save_file

import tasks.hub
from conceptry.actions import Plan
from conceptry.concept import ConceptSpec
from conceptry.desired import ImageRef
from conceptry.fingerprint import content_keys, serving_fingerprint, training_fingerprint, training_keys
from conceptry.gate import GateFinding, GateResult
from conceptry.installation import Installation
from conceptry.markdown import dump_front_matter
from conceptry.reasons import GateReason
from conceptry.settings import Settings
from conceptry.version import Version
from emulators.hub.commits import Author
from emulators.hub.names import Kind
from emulators.hub.storage import RepoSettings, RepoStore, SpaceSettings
from flows.current_installation import build_installation
from flows.drift import FEW
from flows.observe import Context, observe
from flows.reconcile import compare
from flows.rendering import space_of
from flows.steps import DIRECT
from local.child_process import answers, free_port
from tasks.dvc.desired_images import list_desired_images
from tasks.git.desired_concepts import read_desired
from tasks.hub.card import render_unreleased
from tasks.space import TEMPLATES_REVISION, render_space
from tasks.training import base_model
from trainer.metrics import METRICS_FILE, Losses, TrainingMetrics, write_metrics

SIZES = (10, 100, 1000, 5000)
IMAGES = 5
OWNER = "local"
GOOD = GateResult((GateFinding(GateReason.IMPROVED, "passed", "it was good"),))
CREATED = "2026-11-01T12:00:00+00:00"


@dataclass(frozen=True)
class Look:
    """One plan: seconds, requests to the Hub, and how many concepts it would change."""

    seconds: float
    requests: int
    changes: int


class World:
    """Concepts in git, in DVC and on the Hub, all in sync."""

    def __init__(self, root: Path, count: int) -> None:
        self.root, self.count = root, count
        self._spaces, self._base = TEMPLATES_REVISION, base_model("tiny")
        self._store = RepoStore(root / "hub")

    def lay_down(self) -> None:
        """Write everything; nobody pulls the plug here, so nothing waits for the disk."""
        git = pygit2.init_repository(str(self.root / "origin.git"), bare=True, initial_head="main")
        concepts = git.TreeBuilder()
        with patch("os.fsync", lambda _: None):
            for number in range(self.count):
                concepts.insert(f"concept-{number:05}", self._concept(git, number), pygit2.enums.FileMode.TREE)
        self._commit(git, concepts.write())

    def change_one(self) -> None:
        """Give the first concept other pictures."""
        git = pygit2.Repository(str(self.root / "origin.git"))
        concepts = git.TreeBuilder(git.references["refs/heads/main"].peel(pygit2.Commit).tree["concepts"])
        with patch("os.fsync", lambda _: None):
            concepts.insert("concept-00000", self._folder(git, 0, self._listing(10**6)), pygit2.enums.FileMode.TREE)
        self._commit(git, concepts.write())

    def _commit(self, git: Any, concepts: Any) -> None:
        config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {self.root / 'remote'}\n"
        dvc, top = git.TreeBuilder(), git.TreeBuilder()
        dvc.insert("config", git.create_blob(config.encode()), pygit2.enums.FileMode.BLOB)
        top.insert(".dvc", dvc.write(), pygit2.enums.FileMode.TREE)
        top.insert("concepts", concepts, pygit2.enums.FileMode.TREE)
        who = pygit2.Signature("Ann", "ann@example.org")
        parents = [git.references["refs/heads/main"].target] if "refs/heads/main" in git.references else []
        git.create_commit("refs/heads/main", who, who, "Concepts", top.write(), parents)

    def _spec(self, number: int) -> ConceptSpec:
        return ConceptSpec(placeholder_token=f"<concept-{number}>", initializer_token="circle")

    def _listing(self, seed: int) -> tuple[str, tuple[ImageRef, ...]]:
        """Put a listing and its files into the DVC remote."""
        refs = tuple(ImageRef(f"{at}.png", _md5(f"{seed}/{at}".encode())) for at in range(IMAGES))
        data = json.dumps([{"md5": ref.md5, "relpath": ref.relpath} for ref in refs]).encode()
        oid = f"{_md5(data)}.dir"
        for name, content in [(oid, data), *((ref.md5, b"") for ref in refs)]:
            path = self.root / "remote" / "files" / "md5" / name[:2] / name[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return oid, refs

    def _folder(self, git: Any, number: int, listing: tuple[str, tuple[ImageRef, ...]]) -> Any:
        spec = self._spec(number)
        outs = f"outs:\n- md5: {listing[0]}\n  size: 1\n  nfiles: {IMAGES}\n  hash: md5\n  path: images\n"
        text = f"placeholder_token: {spec.placeholder_token}\ninitializer_token: {spec.initializer_token}\n"
        folder = git.TreeBuilder()
        folder.insert("concept.yaml", git.create_blob(text.encode()), pygit2.enums.FileMode.BLOB)
        folder.insert("images.dvc", git.create_blob(outs.encode()), pygit2.enums.FileMode.BLOB)
        return folder.write()

    def _concept(self, git: Any, number: int) -> Any:
        listing = self._listing(number)
        if self.count > FEW:
            self._on_hub(f"concept-{number:05}", self._spec(number), *listing)
        return self._folder(git, number, listing)

    def _on_hub(self, name: str, spec: ConceptSpec, dvc_md5: str, images: tuple[ImageRef, ...]) -> None:
        """Make a concept's repos with just their cards: of so many nobody looks at more."""
        inputs = training_fingerprint(spec, images, self._base)
        version = Version(
            number=1, fingerprint=inputs, inputs=inputs, commit="c" * 40, gate="passed", dvc_md5=dvc_md5,
            created=CREATED, loss=0.05, images=content_keys(images), spec=training_keys(spec, self._base),
        )  # fmt: skip
        card = render_unreleased(name, [version]).replace("release: null", "release: 'v1'")
        said = {"release": "v1", "revision": "c" * 40, "serving": serving_fingerprint(spec, version, self._spaces)}
        space = dump_front_matter({"title": name, "sdk": "gradio", "conceptry": said})
        store, author = self._store, Author(OWNER)
        store.create(Kind.MODEL, RepoSettings(owner=OWNER, name=name), {"README.md": card.encode()}, author)
        settings = RepoSettings(owner=OWNER, name=name, space=SpaceSettings())
        store.create(Kind.SPACE, settings, {"README.md": space.encode()}, author)

    def change_title(self, title: str) -> None:
        """Give the first concept's Space another title."""
        git = pygit2.Repository(str(self.root / "origin.git"))
        tree = git.references["refs/heads/main"].peel(pygit2.Commit).tree["concepts"]
        folder = git.TreeBuilder(tree["concept-00000"])
        text = tree["concept-00000"]["concept.yaml"].data.decode() + f"space: {{title: {title}}}\n"
        folder.insert("concept.yaml", git.create_blob(text.encode()), pygit2.enums.FileMode.BLOB)
        concepts = git.TreeBuilder(tree)
        concepts.insert("concept-00000", folder.write(), pygit2.enums.FileMode.TREE)
        self._commit(git, concepts.write())

    def publish(self, installation: Installation, *, release: bool = True) -> None:
        """Publish every concept, and unless told otherwise serve it, as a training does at its end."""
        session = tasks.hub.HubSession(installation.hub)
        desired = list_desired_images(installation, read_desired(installation))
        for name, wanted in desired.concepts.items():
            assert wanted.spec is not None
            images = wanted.images or ()
            inputs = training_fingerprint(wanted.spec, images, self._base)
            bundle = tasks.hub.assemble(
                self._trained(wanted.spec.placeholder_token), self.root / "bundles" / name, name=name, spec=wanted.spec,
                base=self._base, gate=GOOD, repo=session.target.repo(name),
                lineage=tasks.hub.Lineage(
                    inputs, inputs, desired.revision, wanted.dvc_md5 or "", images, created=CREATED
                ),
            )  # fmt: skip
            version = tasks.hub.publish(session, name, bundle)
            if not release:
                continue
            tasks.hub.update_main(session, name, version.name)
            rendered = render_space(self.root / "space", *space_of(session, name, wanted.spec, version))
            serving = serving_fingerprint(wanted.spec, version, self._spaces)
            space = tasks.hub.RenderedSpace(rendered, version.name, version.commit, serving)
            tasks.hub.push_space(session, name, space, wanted.spec, token=None)

    def _trained(self, token: str) -> Path:
        """What a trainer leaves, with little in it."""
        folder = self.root / "trained" / token.strip("<>")
        (folder / "text_encoder").mkdir(parents=True)
        (folder / "text_encoder" / "saved_model.pb").write_bytes(b"graph")
        (folder / "samples").mkdir()
        for name in ("grid", "initializer"):
            Image.new("RGB", (8, 8)).save(folder / "samples" / f"{name}.png")
        save_file({token: np.zeros((1, 96), "float32")}, folder / "learned_embeds.safetensors")
        losses = Losses(initializer=0.1, trained=0.05, improvement=0.5)
        write_metrics(folder / METRICS_FILE, TrainingMetrics(loss=losses))
        return folder


@contextmanager
def hub(root: Path) -> Iterator[str]:
    """A local Hub in a process of its own."""
    port = free_port(0)
    command = [sys.executable, "-m", "emulators.hub", "--root", str(root), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not answers(f"http://127.0.0.1:{port}/healthz"):
            if process.poll() is not None:
                raise RuntimeError("the Hub did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def measure(count: int, repeat: int) -> dict[str, Any]:
    """Lay down a world of `count` concepts and plan it."""
    with tempfile.TemporaryDirectory(prefix="plan-scale-") as folder:
        root, start = Path(folder), time.perf_counter()
        world = World(root, count)
        world.lay_down()
        laid_down = time.perf_counter() - start
        with hub(root / "hub") as url:
            settings = Settings(
                repo=str(root / "origin.git"), work=root / "work", hub_endpoint=url, hub_owner=OWNER,
                hub_token=SecretStr("hf_local"),
            )  # fmt: skip
            installation = build_installation(settings)
            if count <= FEW:
                world.publish(installation)
            first = look(installation)
            again = min((look(installation) for _ in range(repeat)), key=lambda one: one.seconds)
            world.change_one()
            one = look(installation)
    if again.changes or one.changes != 1:
        raise RuntimeError(f"the plan is wrong: {again.changes} changes, then {one.changes}")
    looks = {"first": asdict(first), "again": asdict(again), "one": asdict(one)}
    return {"concepts": count, "lay_down_seconds": round(laid_down, 1), **looks}


def look(installation: Installation) -> Look:
    """Plan once."""
    requests = 0

    def count(_: object) -> None:
        nonlocal requests
        requests += 1

    context = Context.of(installation, DIRECT)
    get_session().event_hooks = {"request": [count], "response": []}
    start = time.perf_counter()
    plan: Plan = compare(context, observe(context), None).plan
    seconds = time.perf_counter() - start
    return Look(round(seconds, 3), requests, len(plan.changes))


def main() -> None:
    """Measure all sizes and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    measure(2, 1)  # what is imported and connected once is no part of a plan
    results = [measure(count, options.repeat) for count in options.sizes]
    largest, thousand = results[-1], next((one for one in results if one["concepts"] == 1000), None)
    report: dict[str, Any] = {"sizes": results, "cores": os.cpu_count()}
    if thousand and largest is not thousand:
        ratio = largest["again"]["seconds"] / thousand["again"]["seconds"]
        report["growth"] = {"concepts": largest["concepts"] / 1000, "seconds": round(ratio, 2)}
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for one in results:
        told = ", ".join(
            f"{key} {one[key]['seconds']:.3f} s / {one[key]['requests']} requests" for key in ("first", "again", "one")
        )
        print(f"{one['concepts']:>6} concepts: {told}")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    main()
