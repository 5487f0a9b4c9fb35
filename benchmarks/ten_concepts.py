"""Ten concepts of `tiny` pushed at once under `conceptry up`: how long until each is published, and is it the same?

    python -m benchmarks.ten_concepts --json
    python -m benchmarks.ten_concepts --json --concepts 4 --steps 50 --ways warm job

Three ways in turn, each in a set-up of its own: `alone` (every training has a process of its own), `warm` (one
training server, CONCEPTRY_TRAINER_IDLE_SECONDS) and `job` (one job on the emulated Vertex AI,
CONCEPTRY_VERTEX_CONCEPTS_PER_JOB). All train on this machine. `seconds` are from the push until the last version is
published, `training` those that the trainer measured, by concept. `same` is whether vectors, losses and verdicts are
the same in all of the ways, to the last digit.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from conceptry.installation import HubTarget
from conceptry.version import LiveConcept, Manifest
from local.current_setup import open_installation
from local.demo.user import User, draw_images
from local.post_receive_hook import install
from local.servers import Stack
from local.setup_folder import Folder, Setup
from tasks.hub import HubSession, download, list_live
from tasks.hub.session import MANIFEST

SUBJECTS = tuple(itertools.product(("teal", "orange", "pink", "purple"), ("crescent", "ring", "heart")))
WAYS = ("alone", "warm", "job")
LIMIT = 3600.0
"""Seconds in which all must be published."""


def measure(way: str, root: Path, count: int, steps: int) -> dict[str, Any]:
    """Push `count` concepts of `steps` steps to a new set-up, wait until all are published, and return figures."""
    together = count if way == "job" else 1
    origin, folder = root / "origin.git", Folder.at(root)
    setup = Setup(repo=str(origin), watch_every=15, max_parallel=together, cloud_emulated=way == "job")
    variables = {
        "CONCEPTRY_TRAINER_IDLE_SECONDS": "0" if way == "alone" else "300",
        "CONCEPTRY_VERTEX_CONCEPTS_PER_JOB": str(together),
    }
    user = User(root / "ada", root / "dvc-config", lambda _: None)
    with patch.dict(os.environ, variables), Stack(folder, setup) as stack:
        root.mkdir(parents=True, exist_ok=True)
        user.run("git", "init", "--quiet", "--bare", "--initial-branch=main", origin.name, where=root)
        install(origin, root)
        user.run("git", "clone", "--quiet", origin.name, user.clone.name, where=root)
        user.run("git", "checkout", "--quiet", "-B", "main")
        user.run("dvc", "init", "--quiet")
        user.run("dvc", "remote", "add", "--default", "storage", str(root / "remote"))
        for number, (colour, shape) in enumerate(SUBJECTS[:count]):
            name = f"{colour}-{shape}"
            concept = user.clone / "concepts" / name
            draw_images(concept / "images", colour, shape, ("one", "two", "three", "four", "five"), seed=number)
            (concept / "concept.yaml").write_text(
                f'placeholder_token: "<{name}>"\ninitializer_token: circle\nbase_model: tiny\n'
                f"training: {{max_steps: {steps}}}\n"
            )
            user.run("dvc", "add", "--quiet", f"concepts/{name}/images")
        user.run("dvc", "push", "--quiet")
        user.run("git", "add", ".")
        user.run("git", "commit", "--quiet", "-m", f"{count} concepts")
        stack.start()
        with open_installation(root):
            session = HubSession(HubTarget(stack.setup.hub_endpoint, stack.setup.hub_owner))
            user.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
            begun = time.monotonic()
            found = _published(session, count, begun)
            seconds = time.monotonic() - begun
            learned = {name: _learned(session, name, root / "versions") for name in found}
        stack.stop()
    return {
        "seconds": round(seconds, 1),
        "a_concept": round(seconds / count, 1),
        "training": {name: one.pop("seconds") for name, one in learned.items()},
        "learned": learned,
    }


def _published(session: HubSession, count: int, begun: float) -> dict[str, LiveConcept]:
    while time.monotonic() - begun < LIMIT:
        concepts = list_live(session).concepts
        found = {name: concept for name, concept in concepts.items() if concept.versions}
        if len(found) == count:
            return found
        time.sleep(1)
    raise TimeoutError(f"{len(found)} of {count} concepts were published in {LIMIT:.0f} s")


def _learned(session: HubSession, name: str, folder: Path) -> dict[str, Any]:
    """Return what a version is: seconds of its training, metrics, digests of vectors and samples, verdict."""
    download(session, name, "v1", folder / name)
    manifest = Manifest.model_validate_json((folder / name / MANIFEST).read_bytes())
    return {
        "seconds": manifest.seconds["total"],
        "metrics": manifest.metrics.model_dump(exclude={"seconds"}),
        "files": {path: digest for path, digest in manifest.files.items() if path.endswith((".safetensors", ".png"))},
        "gate": manifest.gate,
    }


def main() -> None:
    """Measure all ways and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object (the only output there is)")
    parser.add_argument("--concepts", type=int, default=10)
    parser.add_argument("--steps", type=int, default=200, help="of each training, at most")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ways = {way: measure(way, Path(folder, way), options.concepts, options.steps) for way in options.ways}
    learned = [figures.pop("learned") for figures in ways.values()]
    print(json.dumps({"ways": ways, "same": all(one == learned[0] for one in learned), "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
