"""PostgreSQL of a team's set-up: a cluster of its own, reached over a Unix socket only."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from urllib.parse import quote

from conceptry.errors import ConceptryError
from local.team.programs import find_programs
from local.team.system_users import SystemUsers
from local.team.team_folder import TeamFolder, TeamSetup

DATABASE = ROLE = "prefect"
SERVICE = "postgres"


class Postgres:
    """Commands for the cluster of one folder.

    Args:
        folder: Folder of the set-up.
        users: Whose user PostgreSQL runs as; it is the cluster's superuser, too.
    """

    def __init__(self, folder: TeamFolder, users: SystemUsers) -> None:
        self._folder, self._users = folder, users
        self._programs = find_programs(["initdb", "postgres", "psql", "pg_isready", "pg_dump", "pg_restore"])
        self._superuser = users.user(SERVICE) or pwd.getpwuid(os.geteuid()).pw_name

    def create_cluster(self) -> bool:
        """Create the cluster; return False if there is one already."""
        if (self._folder.data / "PG_VERSION").is_file():
            return False
        options = ["--pgdata", str(self._folder.data), "--username", self._superuser, "--encoding", "UTF8"]
        self._run("initdb", *options, "--locale", "C.UTF-8", "--auth", "peer", "--data-checksums", connects=False)
        rules = f"local {DATABASE} {ROLE} scram-sha-256\nlocal all {self._superuser} peer\n"
        (self._folder.data / "pg_hba.conf").write_text(rules, encoding="utf-8")
        return True

    def command(self) -> list[str]:
        """Return the command that serves the cluster in the foreground."""
        options = ["-D", str(self._folder.data), "-k", str(self._folder.socket), "-c", "listen_addresses="]
        return self._users.as_user(SERVICE, [self._programs["postgres"], *options])

    def is_ready(self) -> bool:
        """Whether the server accepts connections."""
        command = [self._programs["pg_isready"], "--quiet", "--host", str(self._folder.socket)]
        command += ["--username", self._superuser, "--dbname", "postgres"]
        return subprocess.run(self._users.as_user(SERVICE, command), cwd="/", capture_output=True).returncode == 0

    def create_database(self, password: str) -> None:
        """Create Prefect's role and database if they do not exist, and set the role's password."""
        if not self.sql(f"SELECT rolname FROM pg_roles WHERE rolname = '{ROLE}'", "postgres"):
            self.sql(f"CREATE ROLE {ROLE} LOGIN", "postgres")
        if not self.sql(f"SELECT datname FROM pg_database WHERE datname = '{DATABASE}'", "postgres"):
            self.sql(f"CREATE DATABASE {DATABASE} OWNER {ROLE}", "postgres")
        quoted = password.replace("'", "''")
        self.sql(f"ALTER ROLE {ROLE} PASSWORD '{quoted}'", "postgres")

    def sql(self, statements: str, database: str = DATABASE) -> str:
        """Run statements as the superuser; return the rows, values separated by `|`.

        Raises:
            ConceptryError: a statement failed.
        """
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]
        return self._run("psql", *options, "--dbname", database, stdin=statements.encode()).decode().strip()

    def dump(self, file: Path) -> None:
        """Write Prefect's database to a file; the server may be in use."""
        file.write_bytes(self._run("pg_dump", "--format", "custom", "--no-owner", "--dbname", DATABASE))

    def restore(self, file: Path) -> None:
        """Fill Prefect's empty database from a file that `dump` wrote."""
        options = ["--no-owner", "--role", ROLE, "--exit-on-error", "--dbname", DATABASE]
        self._run("pg_restore", *options, stdin=file.read_bytes())

    def _run(self, name: str, *arguments: str, stdin: bytes = b"", connects: bool = True) -> bytes:
        command = [self._programs[name], *(["--host", str(self._folder.socket)] if connects else []), *arguments]
        if connects:
            command += ["--username", self._superuser]
        done = subprocess.run(self._users.as_user(SERVICE, command), input=stdin, capture_output=True, cwd="/")
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            log = self._folder.logs / "postgres.log"
            raise ConceptryError(f"PostgreSQL's {name} failed: {said}", next_step=f"see {log}")
        return done.stdout


def database_url(folder: TeamFolder, setup: TeamSetup) -> str:
    """Return the address of the database for Prefect's server."""
    password = quote(setup.database_password, safe="")
    return f"postgresql+asyncpg://{ROLE}:{password}@/{DATABASE}?host={quote(str(folder.socket))}"
