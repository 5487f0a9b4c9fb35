"""A year in Prefect's database: its size, and how long the pages of Prefect's UI take with it.

    python -m tests.simulation.growth [--postgres] [--days 365] [--trainings 16] [--idle 120]

Three concepts are pushed to a serving process and trained on `tiny`. What Prefect recorded of them is then copied with
other ids and earlier times until there are `--trainings` a day over `--days` days, and the server is started on that
database. Prints as JSON:

    idle_rows_a_day          rows that the watcher left while there was nothing to do, per day
    idle_cpu_seconds_a_look  what the serving process and Prefect's server took of the processor meanwhile, per look
    rows_a_training          rows by table that a training and its watches leave
    database_mb              size with everything of `--days` days, events of the last 7 days (Prefect's default)
    retained_mb              size with what `conceptry up` keeps: runs of the last 90 days
    page_seconds             time until the pages of the UI show their lists, in Chromium
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from playwright.sync_api import Page, sync_playwright

from emulators.hub.server import running
from tasks.hub import list_live
from tasks.processes import python_module
from tests.simulation.prefect_databases import PrefectDatabase, SqliteDatabase, postgres_database
from tests.simulation.simulated_cloud import GIT, PrefectServer, child_variables, servers, wait
from tests.support.chromium import CHROMIUM
from tests.support.registry_world import World

SAMPLE = ("first", "second", "third")
RUN_DAYS, LOOK_EVERY = 90, 10
PAGES = {"runs": "/runs", "deployments": "/deployments", "dashboard": "/dashboard", "events": "/events"}


class Recorded(NamedTuple):
    """Rows by table that were added while it idled and by the trainings, and the processor's seconds of a look."""

    idled: dict[str, int]
    trained: dict[str, int]
    look_seconds: dict[str, float]


def sample(root: Path, idle: float, database: PrefectDatabase) -> Recorded:
    """Let a serving process idle, then train three concepts."""
    with (
        servers(root, names=(), schedules=True, prefect=database.variables()) as shared,
        running(root / "hub") as hub,
    ):
        world = World(root, hub.url, shared.prefect.api)
        world.start()
        settings = world.variables()
        os.environ.update(settings)
        variables = child_variables(shared, root) | settings | {"PREFECT_RUNNER_POLL_FREQUENCY": "2"}
        world.push()
        with (root / "flows.log").open("ab") as log:
            command = python_module("local.serve_flows", "--take-over", "--watch-every", str(LOOK_EVERY))
            serving = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            time.sleep(60)
            watched = {"serving": psutil.Process(serving.pid), "server": shared.prefect.process}
            before, since = database.count(), {name: _processor(one) for name, one in watched.items()}
            time.sleep(idle)
            looks = idle / LOOK_EVERY
            seconds = {name: round((_processor(one) - since[name]) / looks, 3) for name, one in watched.items()}
            idled = difference(database.count(), before)
            for name in SAMPLE:
                world.write(name)
            before = database.count()
            world.push()
            wait(lambda: _released(world) == len(SAMPLE), 1800, "all are released")
            time.sleep(30)
            trained = difference(database.count(), before)
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait(60)
    return Recorded(idled, trained, seconds)


def _processor(process: psutil.Process) -> float:
    """Return the processor's seconds of a process and its children, those that ended included."""
    family = (process, *process.children(recursive=True))
    return sum(sum(one.cpu_times()[:4]) for one in family)


def _released(world: World) -> int:
    return sum(concept.space is not None for concept in list_live(world.session).concepts.values())


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """Return what was added."""
    return {table: after[table] - before[table] for table in after}


def page_seconds(address: str) -> dict[str, float]:
    """Return how long each page of Prefect's UI takes until its requests are answered, by page; the second time."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            for path in PAGES.values():
                _open(page, address + path)
            return {name: round(_open(page, address + path), 2) for name, path in PAGES.items()}
        finally:
            browser.close()


def _open(page: Page, address: str) -> float:
    since = time.monotonic()
    page.goto(address, wait_until="networkidle", timeout=120_000)
    # Chromium calls it idle after 500 ms without a request.
    return time.monotonic() - since - 0.5


def measured(database: PrefectDatabase, root: Path, days: int, copies_a_day: float) -> tuple[float, dict[str, float]]:
    """Return the size in MB of a database with that many days, and the seconds of the pages."""
    home = root / f"{days}-days"
    home.mkdir()
    copy = database.grown(home, days, copies_a_day)
    size = round(copy.megabytes(), 1)
    server = PrefectServer(home, **copy.variables())
    server.start()
    try:
        return size, page_seconds(server.api.removesuffix("/api"))
    finally:
        server.kill()


@contextmanager
def database_of(root: Path, postgres: bool) -> Iterator[PrefectDatabase]:
    """Yield the database that Prefect's server of `sample` uses."""
    if not postgres:
        yield SqliteDatabase(root / "prefect")
        return
    with postgres_database() as database:
        yield database


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of SQLite")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--trainings", type=float, default=16.0, help="trainings a day")
    parser.add_argument("--idle", type=float, default=120.0, help="seconds without anything to do")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="conceptry-growth-"))
    os.environ.update(GIT)
    copies_a_day = given.trainings / len(SAMPLE)
    with database_of(root, given.postgres) as database:
        recorded = sample(root, given.idle, database)
        size, seconds = measured(database, root, given.days, copies_a_day)
        retained = size if given.days <= RUN_DAYS else measured(database, root, RUN_DAYS, copies_a_day)[0]
    idled = recorded.idled.items()
    report = {
        "database": "PostgreSQL" if given.postgres else "SQLite",
        "days": given.days,
        "trainings": round(given.days * given.trainings),
        "idle_rows_a_day": {table: round(rows * 86400 / given.idle) for table, rows in idled if rows},
        "idle_cpu_seconds_a_look": recorded.look_seconds,
        "rows_a_training": {table: round(rows / len(SAMPLE)) for table, rows in recorded.trained.items()},
        "database_mb": size,
        "retained_mb": retained,
        "page_seconds": seconds,
        "load": os.getloadavg()[1],
    }
    print(json.dumps(report, indent=2))
    print(f"logs in {root}", file=sys.stderr)


if __name__ == "__main__":
    main()
