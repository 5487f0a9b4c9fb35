"""An image for the emulated Vertex AI whose trainer waits, learns nothing, and leaves what a training leaves."""

import pytest

from emulators.vertex.cloud import Cloud
from emulators.vertex.runner import Image
from tests.support.clouds import IMAGE
from tests.support.registry_world import World, md5
from tests.support.trained import make_trained

STAND_IN = """
import json, pathlib, shutil, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
output = pathlib.Path(given["--output"]); output.mkdir(parents=True, exist_ok=True)
(output / "progress.jsonl").write_text(json.dumps({"step": 1, "of": 2, "loss": 0.5, "seconds": 1}) + "\\n")
time.sleep(%s)
source = pathlib.Path(__file__).parent / "trained"
for path in sorted(source.rglob("*"), key=lambda path: path.name == "metrics.json"):
    if path.is_file():
        target = output / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
"""


def vertex_variables(cloud: Cloud) -> dict[str, str]:
    """The settings of an installation that trains on the emulated Vertex AI."""
    return {
        "CONCEPTRY_BACKEND": "vertex",
        "CONCEPTRY_VERTEX_PROJECT": cloud.project.name,
        "CONCEPTRY_VERTEX_IMAGE": IMAGE,
        "CONCEPTRY_VERTEX_API_ENDPOINT": cloud.endpoint,
        "CONCEPTRY_VERTEX_POLL_SECONDS": "0.2",
        "CONCEPTRY_VERTEX_MAX_JOBS": "100",
    }


def stand_in(cloud: Cloud, world: World, name: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the image hold a trainer that takes `seconds` and learns nothing."""
    root = world.root / f"image-{name}"
    (root / "trainer").mkdir(parents=True)
    (root / "trainer" / "__init__.py").touch()
    (root / "trainer" / "__main__.py").write_text(STAND_IN % seconds)
    make_trained(root / "trainer" / "trained", token=f"<{name}>", loss=0.05)
    image = IMAGE.replace("0" * 64, md5(name.encode()) * 2)
    cloud.images[image] = Image(root=root)
    monkeypatch.setenv("CONCEPTRY_VERTEX_IMAGE", image)
