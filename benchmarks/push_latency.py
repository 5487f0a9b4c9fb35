"""From `git push` to a training run being created, on the embedded set-up as `conceptry up` starts it.

    python -m benchmarks.push_latency --json

It takes about three minutes, and should find: at most 2 s when the origin tells of pushes (its post-receive hook sends
an event), at most 10 s when nobody does and the watcher asks the origin, at the default interval.

Each push adds one concept with pictures that are in the DVC remote. The clock starts before `git push` and stops when
the Prefect server lists a run of train-concept for it (`created` is the server's own time stamp). The next push removes
it again, and nobody picks the runs up, so that nothing is trained meanwhile.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from local import servers as embedded
from local.post_receive_hook import install
from local.setup_folder import Folder, Setup

PUSHES = 7
PATIENCE = 60.0
IMAGES = 3


class Person:
    """Somebody with a clone, who pushes concepts one after the other."""

    def __init__(self, root: Path) -> None:
        self._root, self._clone, self.origin = root, root / "clone", root / "origin.git"
        self._run(root, "git", "init", "-q", "--bare", "-b", "main", str(self.origin))
        self._run(root, "git", "clone", "-q", str(self.origin), str(self._clone))
        (self._clone / ".dvc").mkdir()
        config = f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {root / 'remote'}\n"
        (self._clone / ".dvc" / "config").write_text(config)
        self.commit("Begin")
        self.push()

    def add(self, name: str) -> None:
        """Let there be one concept, whose pictures are in the remote, and commit it."""
        shutil.rmtree(self._clone / "concepts", ignore_errors=True)
        folder = self._clone / "concepts" / name
        folder.mkdir(parents=True)
        (folder / "concept.yaml").write_text(f"placeholder_token: <{name}>\ninitializer_token: circle\n")
        files = {f"{at}.png": f"{name} {at}".encode() for at in range(IMAGES)}
        listing = json.dumps([{"md5": _md5(data), "relpath": path} for path, data in files.items()]).encode()
        oid = f"{_md5(listing)}.dir"
        for key, data in [(oid, listing), *((_md5(data), data) for data in files.values())]:
            path = self._root / "remote" / "files" / "md5" / key[:2] / key[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / "images.dvc").write_text(f"outs:\n- md5: {oid}\n  hash: md5\n  path: images\n")
        self.commit(f"Add {name}")

    def commit(self, message: str) -> None:
        """Commit everything."""
        self._run(self._clone, "git", "add", "--all")
        who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
        self._run(self._clone, "git", *who, "commit", "-q", "-m", message)

    def push(self) -> None:
        """`git push`."""
        self._run(self._clone, "git", "push", "-q", "origin", "HEAD:main")

    @staticmethod
    def _run(folder: Path, *command: str) -> None:
        subprocess.run(command, cwd=folder, check=True)


def measure(client: SyncPrefectClient, person: Person, names: Sequence[str]) -> list[dict[str, float]]:
    """Push one concept after the other, and time each."""
    times = []
    for number, name in enumerate(names):
        person.add(name)
        # At another point of the watcher's interval each time.
        time.sleep(1.0 + 1.3 * (number % 4))
        pushed, clock = datetime.now(UTC), time.monotonic()
        person.push()
        run = wait_for(client, name, clock + PATIENCE)
        seen = time.monotonic() - clock
        times.append(
            {
                "seen": round(seen, 2),
                "created": round(_after(pushed, run), 2),
            }
        )
    return times


def wait_for(client: SyncPrefectClient, name: str, deadline: float) -> FlowRun:
    """Wait until the server has a run of train-concept for a concept."""
    flow = FlowFilter(name=FlowFilterName(any_=["train-concept"]))
    while time.monotonic() < deadline:
        runs = client.read_flow_runs(flow_filter=flow, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=20)
        found = next((run for run in runs if run.parameters.get("name") == name), None)
        if found is not None:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"no run for {name} after {PATIENCE:.0f} s")


def _after(moment: datetime, run: FlowRun) -> float:
    return run.created.timestamp() - moment.timestamp() if run.created else float("nan")


def set_up(root: Path, *, told: bool) -> list[dict[str, float]]:
    """Start a set-up whose origin does, or does not, tell of pushes, and measure."""
    folder = Folder.at(root / "set-up")
    person = Person(root)
    # The runner of trainings would take them up, and the machine would be busy with them.
    embedded._PREFECT["PREFECT_RUNNER_POLL_FREQUENCY"] = "3600"
    with embedded.Stack(folder, Setup(repo=str(person.origin))) as stack:
        setup = stack.start()
        if told:
            install(person.origin, folder.root)
        with (
            temporary_settings({PREFECT_API_URL: setup.prefect_api, PREFECT_API_AUTH_STRING: setup.prefect_auth}),
            get_client(sync_client=True) as client,
        ):
            measure(client, person, ["warm-up"])
            kind = "told" if told else "asked"
            return measure(client, person, [f"{kind}-{number}" for number in range(PUSHES)])


def main() -> None:
    """Measure both ways and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    report: dict[str, Any] = {"cores": os.cpu_count(), "python": sys.version.split()[0]}
    for key, told in (("by_event", True), ("by_polling", False)):
        with tempfile.TemporaryDirectory(prefix="push-latency-") as place:
            times = set_up(Path(place), told=told)
        created = [one["created"] for one in times]
        report[key] = {"median": statistics.median(created), "max": max(created), "pushes": times}
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for key in ("by_event", "by_polling"):
        print(f"{key}: median {report[key]['median']:.2f} s, at most {report[key]['max']:.2f} s")


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    main()
