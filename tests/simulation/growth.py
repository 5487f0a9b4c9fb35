"""A year in Prefect's database: its size, and how long the pages of Prefect's UI take with it.

    python -m tests.simulation.growth [--days 365] [--trainings 16] [--idle 120]

Three concepts are pushed to a serving process and trained on `tiny`. What Prefect recorded of them is then copied with
other ids and earlier times until there are `--trainings` a day over `--days` days, and the server is started on that
database. Prints as JSON:

    idle_rows_a_day        rows that the watcher left while there was nothing to do, per day
    rows_a_training        rows by table that a training and its watches leave
    database_mb            size with everything of `--days` days, events of the last 7 days (Prefect's default)
    retained_mb            size with what `conceptry up` keeps: runs of the last 90 days
    page_seconds           time until the pages of the UI show their lists, in Chromium
"""

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from playwright.sync_api import Page, sync_playwright

from emulators.hub.server import running
from tasks.hub import list_live
from tasks.processes import python_module
from tests.simulation.simulated_cloud import GIT, PrefectServer, child_variables, servers, wait
from tests.support.chromium import CHROMIUM
from tests.support.registry_world import World

SAMPLE = ("first", "second", "third")
RUN_TABLES = ("flow_run", "flow_run_state", "task_run", "task_run_state", "log", "artifact")
EVENT_TABLES = ("events", "event_resources")
EVENT_DAYS, RUN_DAYS = 7, 90
PAGES = {"runs": "/runs", "deployments": "/deployments", "dashboard": "/dashboard", "events": "/events"}


def sample(root: Path, idle: float) -> tuple[Path, dict[str, int], dict[str, int]]:
    """Let a serving process idle, then train three concepts.

    Returns:
        The database, and the rows by table that were added while it idled, and by the trainings.
    """
    with (
        servers(root, names=(), schedules=True) as shared,
        running(root / "hub") as hub,
    ):
        world = World(root, hub.url, shared.prefect.api)
        world.start()
        settings = world.variables()
        os.environ.update(settings)
        variables = child_variables(shared, root) | settings | {"PREFECT_RUNNER_POLL_FREQUENCY": "2"}
        world.push()
        database = root / "prefect" / "prefect.db"
        with (root / "flows.log").open("ab") as log:
            command = python_module("local.serve_flows", "--take-over", "--watch-every", "10")
            serving = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            time.sleep(60)
            before = count(database)
            time.sleep(idle)
            idled = difference(count(database), before)
            for name in SAMPLE:
                world.write(name)
            before = count(database)
            world.push()
            wait(lambda: _released(world) == len(SAMPLE), 1800, "all are released")
            time.sleep(30)
            trained = difference(count(database), before)
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.wait(60)
    return database, idled, trained


def _released(world: World) -> int:
    return sum(concept.space is not None for concept in list_live(world.session).concepts.values())


def count(database: Path) -> dict[str, int]:
    """Return the number of rows by table."""
    with closing(sqlite3.connect(database)) as connection:
        return {
            table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for table in (*RUN_TABLES, *EVENT_TABLES)
        }


def difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    """Return what was added."""
    return {table: after[table] - before[table] for table in after}


def multiply(database: Path, days: int, copies_a_day: float) -> None:
    """Copy the rows of all runs and events with other ids, evenly over the days before.

    Args:
        database: SQLite file of a server that does not run.
        days: Days to fill with runs; events only fill the days that Prefect keeps.
        copies_a_day: Copies of all rows a day.
    """
    with closing(sqlite3.connect(database)) as connection:
        rows = {table: Rows(connection, table) for table in (*RUN_TABLES, *EVENT_TABLES)}
        ids = {row[rows[table].columns.index("id")] for table in rows for row in rows[table].rows}
        for copy in range(1, round(days * copies_a_day)):
            earlier = timedelta(days=copy / copies_a_day)
            tables = (*RUN_TABLES, *(EVENT_TABLES if earlier.days < EVENT_DAYS else ()))
            for table in tables:
                rows[table].copy(connection, ids, copy, earlier)
            if copy % 50 == 0:
                connection.commit()
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")


class Rows:
    """The rows of a table, and how they are copied."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._table = table
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        self.columns = [column[1] for column in columns]
        self._times = {at for at, column in enumerate(columns) if column[2] == "DATETIME" and "total" not in column[1]}
        self._key = self.columns.index("idempotency_key") if "idempotency_key" in self.columns else None
        self.rows: list[tuple[Any, ...]] = connection.execute(f"SELECT * FROM {table}").fetchall()

    def copy(self, connection: sqlite3.Connection, ids: set[str], copy: int, earlier: timedelta) -> None:
        """Insert all rows again."""
        marks = ", ".join("?" * len(self.columns))
        new = (tuple(self._values(row, ids, copy, earlier)) for row in self.rows)
        connection.executemany(f"INSERT INTO {self._table} VALUES ({marks})", new)

    def _values(self, row: Sequence[Any], ids: set[str], copy: int, earlier: timedelta) -> Iterator[Any]:
        for at, value in enumerate(row):
            if not isinstance(value, str):
                yield value
            elif at in self._times:
                yield str(datetime.fromisoformat(value) - earlier)
            elif at == self._key:
                yield f"{value}/{copy}"
            else:
                yield _other_id(value, copy) if value in ids else value


def _other_id(value: str, copy: int) -> str:
    return str(uuid5(NAMESPACE_OID, f"{UUID(value)}/{copy}"))


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


def grown(database: Path, root: Path, days: int, copies_a_day: float) -> tuple[float, dict[str, float]]:
    """Return the size in MB of a database with that many days, and the seconds of the pages."""
    home = root / f"{days}-days"
    home.mkdir()
    copy = home / "prefect.db"
    # With what the server, which was killed, left in its write-ahead log.
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    multiply(copy, days, copies_a_day)
    size = round(copy.stat().st_size / 1e6, 1)
    server = PrefectServer(home)
    server.start()
    try:
        return size, page_seconds(server.api.removesuffix("/api"))
    finally:
        server.kill()


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--trainings", type=float, default=16.0, help="trainings a day")
    parser.add_argument("--idle", type=float, default=120.0, help="seconds without anything to do")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="conceptry-growth-"))
    os.environ.update(GIT)
    database, idled, trained = sample(root, given.idle)
    copies_a_day = given.trainings / len(SAMPLE)
    size, seconds = grown(database, root, given.days, copies_a_day)
    retained = size if given.days <= RUN_DAYS else grown(database, root, RUN_DAYS, copies_a_day)[0]
    report = {
        "days": given.days,
        "trainings": round(given.days * given.trainings),
        "idle_rows_a_day": {table: round(rows * 86400 / given.idle) for table, rows in idled.items() if rows},
        "rows_a_training": {table: round(rows / len(SAMPLE)) for table, rows in trained.items()},
        "database_mb": size,
        "retained_mb": retained,
        "page_seconds": seconds,
        "load": os.getloadavg()[1],
    }
    print(json.dumps(report, indent=2))
    print(f"logs in {root}", file=sys.stderr)


if __name__ == "__main__":
    main()
