"""Requests to the Hub for what the registry does most: a first release, a release with nothing to do, another title.

    python -m benchmarks.requests [--json]

Takes about ten seconds: an origin, a DVC remote and a local Hub in a temporary folder, one concept with a version that
no trainer made. Requests are counted in the Hub's client, each redirect and upload included; a release is what the flow
`release` does, without Prefect around it. docs/log holds the figures of earlier releases.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import get_session
from prefect.logging import disable_run_logger
from pydantic import SecretStr

from benchmarks.plan_scale import OWNER, World, hub
from conceptry.installation import Installation
from conceptry.settings import Settings
from flows.current_installation import build_installation
from flows.observe import Context
from flows.release import release_concept
from flows.steps import DIRECT

CONCEPT = "concept-00000"


@dataclass
class Counter:
    """The requests of a block, as "METHOD /path"."""

    requests: list[str] = field(default_factory=list)

    def __call__(self, request: Any) -> None:
        """Note one request; a hook of the Hub's client."""
        self.requests.append(f"{request.method} {request.url.path}")


@contextmanager
def counting() -> Iterator[Counter]:
    """Count the requests of the Hub's client within the block."""
    counter = Counter()
    session = get_session()
    before = session.event_hooks
    session.event_hooks = {**before, "request": [*before.get("request", []), counter]}
    try:
        yield counter
    finally:
        session.event_hooks = before


def measure(installation: Installation, world: World) -> dict[str, list[str]]:
    """Return the requests of each case."""
    found = {}
    world.publish(installation, release=False)
    for case in ("first release", "nothing to do", "another title"):
        if case == "another title":
            world.change_title("Another title")
        with counting() as counter, disable_run_logger():
            release_concept(Context.of(installation, DIRECT), CONCEPT)
        found[case] = counter.requests
    return found


def run() -> dict[str, list[str]]:
    """Make a world of one concept and measure it."""
    with tempfile.TemporaryDirectory(prefix="conceptry-requests-") as folder:
        root = Path(folder)
        world = World(root, 1)
        world.lay_down()
        with hub(root / "hub") as url:
            settings = Settings(
                repo=str(root / "origin.git"),
                work=root / "work",
                hub_endpoint=url,
                hub_owner=OWNER,
                hub_token=SecretStr("hf_local"),
            )
            return measure(build_installation(settings), world)


def main() -> None:
    """Print the number of requests of each case, or with --json every request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print every request as JSON")
    as_json = parser.parse_args().json
    found = run()
    if as_json:
        print(json.dumps({case: {"count": len(asked), "requests": asked} for case, asked in found.items()}, indent=2))
    else:
        for case, asked in found.items():
            print(f"{case:<16}{len(asked):>3}")


if __name__ == "__main__":
    main()
