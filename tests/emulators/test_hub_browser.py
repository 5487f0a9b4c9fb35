"""The pages in a real Chromium, light and dark."""

import io
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from PIL import Image

from emulators.hub.apps.limits import Limits
from emulators.hub.server import RunningHub, running
from tests.support.chromium import CHROMIUM, needs_chromium
from tests.support.hub_server import ACCOUNTS, CONFIG

pytestmark = needs_chromium
GROUND = {"light": (246, 245, 242), "dark": (21, 23, 27)}
TEAL = (0, 150, 140)
CARD = """---
tags: [cats]
---
# A cat

![grid](samples/grid.png)

<script>document.body.innerHTML = "pwned"</script>
<img src="none.png" onerror="document.title = 'pwned'"> <a href="javascript:alert(1)">x</a>
<style>body { display: none }</style> <form action="/api/repos/create"><input name="x"></form>
"""


@dataclass
class Rendered:
    """A page in Chromium: the document after all scripts, a screenshot, and the messages of the console."""

    document: str
    picture: Image.Image
    messages: list[str]

    def shows(self, colour: tuple[int, int, int]) -> bool:
        return any(found == colour for _, found in self.picture.getcolors(1 << 24) or [])


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Rendered]:
    folder = tmp_path_factory.mktemp("chromium")

    def render(url: str, scheme: str = "light") -> Rendered:
        picture = folder / "page.png"
        flags = "--headless=new --no-sandbox --disable-gpu --hide-scrollbars --enable-logging=stderr --no-first-run"
        options = [f"--user-data-dir={folder / 'profile'}", "--window-size=1200,1600", "--virtual-time-budget=3000"]
        options.append(f"--blink-settings=preferredColorScheme={int(scheme == 'light')}")
        command = [str(CHROMIUM), *flags.split(), *options, "--dump-dom", f"--screenshot={picture}", url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        messages = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return Rendered(done.stdout, Image.open(io.BytesIO(picture.read_bytes())).convert("RGB"), messages)

    return render


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running(tmp_path_factory.mktemp("browsed"), accounts=ACCOUNTS, limits=Limits(apps=1), config=CONFIG) as hub:
        yield hub


@pytest.fixture(scope="module")
def model(hub: RunningHub) -> str:
    """Publish a model with two versions; returns its name."""
    api = HfApi(endpoint=hub.url, token="hf_anna")
    api.create_repo("anna/seen")
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), TEAL).save(buffer, "PNG")
    for number in (1, 2):
        manifest = {"spec": {"steps": 1000 * number}, "images": {f"{number}.jpg": str(number) * 32}, "name": "<seen>"}
        files = {"README.md": CARD.encode(), "samples/grid.png": buffer.getvalue()}
        files["manifest.json"] = json.dumps(manifest).encode()
        operations = [CommitOperationAdd(path, data) for path, data in files.items()]
        api.create_commit("anna/seen", operations, commit_message=f"v{number}")
        api.create_branch("anna/seen", branch=f"v{number}")
    return "anna/seen"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_card_is_shown_in_light_and_dark_and_runs_nothing(
    hub: RunningHub, model: str, browse: Callable[..., Rendered], scheme: str
) -> None:
    seen = browse(f"{hub.url}/{model}", scheme)
    assert seen.picture.getpixel((5, 1590)) == GROUND[scheme]
    assert seen.shows(TEAL)  # the sample grid was really fetched and drawn
    assert "pwned" not in seen.document
    assert "<h1>A cat</h1>" in seen.document
    hostile = re.search(r'<article class="panel card">(.*?)</article>', seen.document, re.DOTALL)
    assert hostile is not None
    assert not re.search(r"<script|onerror|javascript:|<style|<form|<input", hostile[1])
    assert seen.messages == [line for line in seen.messages if "404" in line]  # only the picture that is not there


def test_two_versions_are_compared(hub: RunningHub, model: str, browse: Callable[..., Rendered]) -> None:
    seen = browse(f"{hub.url}/{model}/compare")
    text = " ".join(re.sub(r"<[^>]+>", " ", seen.document).split())
    assert "images 1.jpg − 111111111111… 2.jpg + 222222222222…" in text
    assert "spec steps − 1000 + 2000 +100.0%" in text
    assert re.search(r'<option selected="">v1</option>', seen.document)
    assert "modified manifest.json" in text
    assert seen.shows(TEAL)
    assert seen.messages == []


def test_a_space_is_opened_from_its_page(hub: RunningHub, browse: Callable[..., Rendered], tmp_path: Path) -> None:
    api = HfApi(endpoint=hub.url, token="hf_anna")
    api.create_repo("anna/shown", repo_type="space", space_sdk="static")
    page = tmp_path / "index.html"
    page.write_text("<body style='background: rgb(0, 150, 140)'><script>document.body.append('it draws')</script>")
    api.upload_file(path_or_fileobj=page, path_in_repo="index.html", repo_id="anna/shown", repo_type="space")
    assert api.wait_for_space("anna/shown", timeout=60, poll_interval=0.2).stage == "RUNNING"
    address = hub.url.replace("://", "://anna:hf_anna@")
    seen = browse(f"{address}/login?next=/spaces/anna/shown")
    assert '<span class="dot"></span>Running' in seen.document
    assert "Checked out 3 files of anna/shown" in seen.document
    link = re.search(r'<a class="button go" href="([^"]+)">Open the app</a>', seen.document)
    assert link is not None
    app = browse(link[1])
    assert "it draws" in app.document
    assert app.shows(TEAL)
