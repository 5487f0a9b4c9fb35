"""Screenshots of Prefect's pages and of the local Hub for docs/runs.md, of the set-up that `make demo` leaves.

    make demo && .venv/bin/python -m tests.e2e.screenshots [--root demo] [--into docs/images]

It starts the servers of the set-up as `conceptry up` does, opens the pages in Chromium, and writes a WebP file for
each. Look at them before they are committed.
"""

import argparse
import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, Page, sync_playwright
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowFilter, FlowFilterName
from prefect.client.schemas.sorting import FlowRunSort

from local.prefect_settings import prefect_of
from local.servers import Stack
from local.setup_folder import Folder, Setup
from tests.support.chromium import CHROMIUM

CONCEPT = "night-light"
SIZE = (1280, 860)


def pages(setup: Setup) -> dict[str, str]:
    """Return the addresses of the pages by the names of their pictures."""
    ui, flow = f"{setup.prefect_ui}", FlowFilter(name=FlowFilterName(any_=["train-concept"]))
    with get_client(sync_client=True) as client:
        [run] = client.read_flow_runs(flow_filter=flow, sort=FlowRunSort.START_TIME_DESC, limit=1)
        train = client.read_deployment_by_name("train-concept/train-concept")

        def artifact(key: str) -> str:
            which = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
            found = client.read_artifacts(artifact_filter=which, limit=100)
            return f"{ui}/artifacts/artifact/{max(found, key=lambda one: str(one.created)).id}"

        return {
            "runs": f"{ui}/runs",
            "run": f"{ui}/runs/flow-run/{run.id}",
            "version": artifact(f"{CONCEPT}-metrics"),
            "loss": artifact(f"{CONCEPT}-loss"),
            "plan": artifact("plan"),
            "form": f"{ui}/deployments/deployment/{train.id}/run",
            "hub": f"{setup.hub_endpoint}/{setup.hub_owner}/{CONCEPT}",
        }


@contextmanager
def browser(setup: Setup) -> Iterator[BrowserContext]:
    """Yield a browser that is signed in to Prefect's UI."""
    password = base64.b64encode(setup.prefect_auth.encode()).decode()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = chromium.new_context(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        context.add_init_script(f"localStorage.setItem('prefect-password', '{password}')")
        try:
            yield context
        finally:
            chromium.close()


def take(page: Page, address: str, file: Path) -> None:
    """Write a picture of a page when its requests are answered."""
    page.goto(address, wait_until="networkidle")
    page.wait_for_timeout(1500)  # animations
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").save(file, "WEBP", quality=82, method=6)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("demo"))
    parser.add_argument("--into", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    folder = Folder.at(given.root)
    with Stack(folder, folder.read()) as stack:
        setup = stack.start()
        with prefect_of(folder.root), browser(setup) as context:
            page = context.new_page()
            for name, address in pages(setup).items():
                take(page, address, given.into / f"{name}.webp")
                print(given.into / f"{name}.webp", address, flush=True)


if __name__ == "__main__":
    main()
