"""Prefect's database as SQLite or PostgreSQL: count its rows, and copy the recorded ones into the past."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import NAMESPACE_OID, UUID, uuid5

from local.team.postgres import DATABASE, ROLE, Postgres, database_url
from local.team.team_folder import TeamFolder, TeamSetup
from local.team.team_servers import TeamServers
from tests.team.team_world import may_separate, team_folder

RUN_TABLES = ("flow_run", "flow_run_state", "task_run", "task_run_state", "log", "artifact")
EVENT_TABLES = ("events", "event_resources")
EVENT_DAYS = 7
"""Days that Prefect keeps events."""

_RECORDED = "recorded"


class PrefectDatabase(Protocol):
    """A database of a Prefect server."""

    def variables(self) -> Mapping[str, str]:
        """Return the settings of a server that uses it."""

    def count(self) -> dict[str, int]:
        """Return the number of rows by table."""

    def grown(self, folder: Path, days: int, copies_a_day: float) -> PrefectDatabase:
        """Return a copy with its runs and events repeated evenly over the days before, under other ids.

        Args:
            folder: Empty folder for the copy.
            days: Days to fill with runs; events only fill the days that Prefect keeps.
            copies_a_day: Copies of all rows a day.
        """

    def megabytes(self) -> float:
        """Return its size, 10^6 bytes."""


class SqliteDatabase:
    """The database that a Prefect server makes in its folder.

    Args:
        home: PREFECT_HOME.
    """

    def __init__(self, home: Path) -> None:
        self._file = home / "prefect.db"

    def variables(self) -> Mapping[str, str]:
        """Return no settings: it is the default."""
        return {}

    def count(self) -> dict[str, int]:
        """Return the number of rows by table."""
        with closing(sqlite3.connect(self._file)) as connection:
            return {
                table: connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
                for table in (*RUN_TABLES, *EVENT_TABLES)
            }

    def grown(self, folder: Path, days: int, copies_a_day: float) -> SqliteDatabase:
        """Return a copy with more days, see `PrefectDatabase`."""
        copy = SqliteDatabase(folder)
        # With what the server, which was killed, left in its write-ahead log.
        with closing(sqlite3.connect(self._file)) as source, closing(sqlite3.connect(copy._file)) as target:
            source.backup(target)
            rows = {table: _Rows(target, table) for table in (*RUN_TABLES, *EVENT_TABLES)}
            ids = {row[rows[table].columns.index("id")] for table in rows for row in rows[table].rows}
            for number in range(1, round(days * copies_a_day)):
                earlier = timedelta(days=number / copies_a_day)
                for table in (*RUN_TABLES, *(EVENT_TABLES if earlier.days < EVENT_DAYS else ())):
                    rows[table].copy(target, ids, number, earlier)
                if number % 50 == 0:
                    target.commit()
            target.commit()
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            target.execute("VACUUM")
        return copy

    def megabytes(self) -> float:
        """Return its size, 10^6 bytes."""
        return self._file.stat().st_size / 1e6


class _Rows:
    """The rows of a table of SQLite, and how they are copied."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._table = table
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        self.columns = [column[1] for column in columns]
        self._times = {at for at, column in enumerate(columns) if column[2] == "DATETIME" and "total" not in column[1]}
        self._key = self.columns.index("idempotency_key") if "idempotency_key" in self.columns else None
        self.rows: list[tuple[Any, ...]] = connection.execute(f"SELECT * FROM {table}").fetchall()

    def copy(self, connection: sqlite3.Connection, ids: set[str], number: int, earlier: timedelta) -> None:
        """Insert all rows again."""
        marks = ", ".join("?" * len(self.columns))
        new = (tuple(self._values(row, ids, number, earlier)) for row in self.rows)
        connection.executemany(f"INSERT INTO {self._table} VALUES ({marks})", new)

    def _values(self, row: Sequence[Any], ids: set[str], number: int, earlier: timedelta) -> Iterator[Any]:
        for at, value in enumerate(row):
            if not isinstance(value, str):
                yield value
            elif at in self._times:
                yield str(datetime.fromisoformat(value) - earlier)
            elif at == self._key:
                yield f"{value}/{number}"
            else:
                yield str(uuid5(NAMESPACE_OID, f"{UUID(value)}/{number}")) if value in ids else value


class PostgresDatabase:
    """A database of a team's PostgreSQL.

    Args:
        postgres: Commands for the cluster.
        url: Its address for a Prefect server.
    """

    def __init__(self, postgres: Postgres, url: str) -> None:
        self._postgres, self._url = postgres, url

    def variables(self) -> Mapping[str, str]:
        """Return the setting of its address."""
        return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": self._url}

    def count(self) -> dict[str, int]:
        """Return the number of rows by table."""
        tables = (*RUN_TABLES, *EVENT_TABLES)
        return {table: int(self._postgres.sql(f"SELECT count(*) FROM {table}")) for table in tables}

    def grown(self, folder: Path, days: int, copies_a_day: float) -> PostgresDatabase:
        """Return a copy with more days, see `PrefectDatabase`; it takes this one's name, and is its only copy."""
        del folder
        sql = self._postgres.sql
        if not sql(f"SELECT 1 FROM pg_database WHERE datname = '{_RECORDED}'", "postgres"):
            sql(f"ALTER DATABASE {DATABASE} RENAME TO {_RECORDED}", "postgres")
        sql(f"DROP DATABASE IF EXISTS {DATABASE}", "postgres")
        sql(f"CREATE DATABASE {DATABASE} TEMPLATE {_RECORDED} OWNER {ROLE}", "postgres")
        # The tables refer to rows of each other that are not there yet.
        sql(f"ALTER DATABASE {DATABASE} SET session_replication_role = replica")
        ids = " UNION ALL ".join(f"SELECT id FROM {table}" for table in (*RUN_TABLES, *EVENT_TABLES))
        sql(f"CREATE TABLE copied_id AS {ids}; CREATE INDEX ON copied_id (id); ANALYZE")
        for table in (*RUN_TABLES, *EVENT_TABLES):
            filled = min(days, EVENT_DAYS) if table in EVENT_TABLES else days
            sql(self._insertion(table, round(filled * copies_a_day) - 1, copies_a_day))
        sql(f"ALTER DATABASE {DATABASE} RESET session_replication_role; DROP TABLE copied_id")
        sql("VACUUM FULL ANALYZE")
        return self

    def megabytes(self) -> float:
        """Return its size, 10^6 bytes."""
        return int(self._postgres.sql(f"SELECT pg_database_size('{DATABASE}')")) / 1e6

    def _insertion(self, table: str, copies: int, copies_a_day: float) -> str:
        """Return the statement that inserts all rows of a table again, `copies` times."""
        named = self._postgres.sql(
            "SELECT column_name, data_type FROM information_schema.columns "
            f"WHERE table_name = '{table}' AND is_generated = 'NEVER' ORDER BY ordinal_position"
        )
        columns = dict(line.split("|") for line in named.splitlines())
        values = ", ".join(_copied(name, kind, copies_a_day) for name, kind in columns.items())
        quoted = ", ".join(f'"{name}"' for name in columns)
        source = f"SELECT {values} FROM {table} CROSS JOIN generate_series(1, {copies}) AS number"
        return f"INSERT INTO {table} ({quoted}) {source}"


def _copied(name: str, kind: str, copies_a_day: float) -> str:
    """Return the expression for the value of a column in a copy."""
    if kind.startswith("timestamp"):
        return f"\"{name}\" - number * interval '1 day' / {copies_a_day}"
    if kind == "uuid":
        other = f"md5(\"{name}\"::text || '/' || number)::uuid"
        return f'CASE WHEN "{name}" IN (SELECT id FROM copied_id) THEN {other} ELSE "{name}" END'
    return f"\"{name}\" || '/' || number" if name == "idempotency_key" else f'"{name}"'


@contextmanager
def postgres_database() -> Iterator[PostgresDatabase]:
    """Run a team's PostgreSQL while the block runs; yield its empty database."""
    with team_folder() as base:
        folder = TeamFolder.at(base / "team")
        setup = TeamSetup(repo=str(base), separate_users=may_separate())
        with TeamServers(folder, setup) as servers:
            servers.prepare()
            servers.start_postgres()
            yield PostgresDatabase(servers.postgres, database_url(folder, setup))
