"""A team's set-up, made by one command on a database of an earlier Prefect: all tests use the one that runs."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from local.team.postgres import DATABASE, ROLE, database_url
from local.team.team_folder import OWNER, SERVICES, WORKERS, TeamFolder, TeamSetup
from local.team.team_servers import TeamServers
from tasks.hub import HubSession, list_live
from tasks.processes import python_module
from tests.support.chromium import needs_chromium
from tests.support.foreign_page import attack, attacks
from tests.support.wait import wait_until
from tests.team.team_world import Team, team_folder, why_not

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.skipif(bool(why_not()), reason=why_not())]

EARLIER = "d4a7e1c93f52"
"""Revision of the database's schema in Prefect 3.8.8, with which release 0.1.0 was made."""


@pytest.fixture(scope="module")
def team(repo_root: Path) -> Iterator[Team]:
    with team_folder() as base:
        team = Team(base, repo_root, seconds=1)
        make_earlier_database(team)
        team.world.write("team-cat")
        team.world.push()
        try:
            team.start()
            yield team
        finally:
            team.stop()


def make_earlier_database(team: Team) -> None:
    """Make the database that an earlier Prefect left, with a variable in it."""
    setup = TeamSetup(repo=str(team.base / "origin.git"), separate_users=team.separate)
    team.folder.write(setup)
    upgrade = python_module("prefect", "server", "database", "upgrade", "--yes", "--revision", EARLIER)
    with TeamServers(team.folder, setup) as servers:
        servers.prepare()
        servers.start_postgres()
        variables = {**team.environment(), "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url(team.folder, setup)}
        done = subprocess.run(upgrade, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        servers.postgres.sql("INSERT INTO variable (name, value) VALUES ('earlier', '\"kept\"')")


def published(team: Team) -> dict[str, int]:
    """Return the versions of each concept on the Hub."""
    with team.using() as installation:
        return {name: len(live.versions) for name, live in list_live(HubSession(installation.hub)).concepts.items()}


def test_a_push_is_trained_once_and_published_over_tls(team: Team) -> None:
    wait_until(lambda: published(team) == {"team-cat": 1}, timeout=120, every=1)
    assert len(list(team.trainings.iterdir())) == 1
    setup = team.folder.read()
    with team.using():
        page = httpx.get(f"{setup.hub_url}/{OWNER}/team-cat")
        assert page.status_code == 200
        refused = httpx.post(f"{setup.prefect_url}/api/deployments/filter", json={})
    assert refused.status_code in (401, 403)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(setup.hub_url, trust_env=False)


def test_the_server_upgrades_the_database_of_an_earlier_prefect(team: Team) -> None:
    assert team.postgres().sql("SELECT value FROM variable WHERE name = 'earlier'") == '"kept"'
    assert team.postgres().sql("SELECT version_num FROM alembic_version") != EARLIER


def test_two_workers_have_folders_of_their_own_that_others_cannot_read(team: Team) -> None:
    family = [one for one in team.process.children(recursive=True) if one.uids().effective != 0 or not team.separate]
    workers = [one for one in family if one.cmdline()[-2:] == ["cli", "worker"]]
    assert {one.environ()["CONCEPTRY_WORK"] for one in workers} == {str(team.folder.work(name)) for name in WORKERS}
    folder = team.folder
    own = [folder.file, folder.data, folder.hub, folder.accounts, folder.key, *map(folder.work, WORKERS)]
    assert [path for path in (*own, *map(folder.home, SERVICES)) if path.stat().st_mode & 0o077] == []
    if team.separate:
        assert len({one.username() for one in family}) == len(SERVICES)


def test_only_the_processes_that_need_a_secret_have_it(team: Team) -> None:
    setup = team.folder.read()
    for one in team.process.children(recursive=True):
        command = " ".join(one.cmdline())
        assert not any(secret in command for secret in secrets_of(setup))
        if "emulators.hub" in command or "nginx" in command:
            assert not any(secret in str(one.environ()) for secret in secrets_of(setup))


def secrets_of(setup: TeamSetup) -> tuple[str, ...]:
    return (setup.database_password, setup.prefect_auth, setup.hub_token, setup.space_token)


@needs_chromium
def test_a_foreign_page_is_refused_at_every_port(team: Team, tmp_path: Path) -> None:
    setup = team.folder.read()
    ports = {port for process in team.process.children(recursive=True) for port in listening(process)}
    ours = {setup.prefect_port, setup.hub_port, setup.prefect_tls_port, setup.hub_tls_port}
    assert ours <= ports
    tries = [one for port in ports for one in attacks(f"http://127.0.0.1:{port}/")]
    for address in (f"http://127.0.0.1:{setup.prefect_port}", setup.prefect_url):
        tries += attacks(f"{address}/api/deployments/filter")
        tries += attacks(f"{address}/api/work_pools/", {"name": "theirs", "type": "process"})
    for address in (f"http://127.0.0.1:{setup.hub_port}", setup.hub_url):
        tries += attacks(f"{address}/api/repos/create", {"name": "theirs"}, token=setup.hub_token)
    read, statuses = attack(tries, tmp_path, "--ignore-certificate-errors")
    assert read == []
    # The other ports are the channels of Prefect's workers to their runs, which do not speak HTTP.
    answered = {url: found for url, found in statuses.items() if urlsplit(url).port in ports}
    assert {urlsplit(url).port for url in answered} == ours
    assert {url: found for url, found in answered.items() if any(not 400 <= status < 500 for status in found)} == {}


def listening(process: psutil.Process) -> set[int]:
    """Return the ports that a process listens on, all of them on this machine only."""
    try:
        addresses = [one.laddr for one in process.net_connections("inet") if one.status == "LISTEN"]
    except psutil.NoSuchProcess:
        return set()
    assert {address.ip for address in addresses} <= {"127.0.0.1"}
    return {address.port for address in addresses}


def test_another_host_name_is_refused(team: Team) -> None:
    setup = team.folder.read()
    with team.using():
        for address in (setup.prefect_url, setup.hub_url):
            assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 421


def test_a_backup_restores_the_whole(team: Team) -> None:
    """The last test: it deletes the set-up, and serves what is restored without workers and Prefect's server."""
    wait_until(lambda: published(team) == {"team-cat": 1}, timeout=120, every=1)
    team.run("backup", str(team.base / "backup"))
    assert (team.base / "backup").stat().st_mode & 0o077 == 0
    team.stop()
    setup = team.folder.read()
    shutil.rmtree(team.folder.root)
    team.run("restore", str(team.base / "backup"))
    assert team.folder.read() == setup
    with TeamServers(team.folder, setup) as servers:
        servers.prepare()
        servers.configure()
        servers.start_postgres()
        servers.start_hub()
        assert int(servers.postgres.sql("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'")) >= 2
        assert servers.postgres.sql("SELECT value FROM variable WHERE name = 'earlier'") == '"kept"'
        assert published(team) == {"team-cat": 1}
        environment = {**os.environ, **team.variables(), "PREFECT_CLIENT_MAX_RETRIES": "0"}
        done = subprocess.run(python_module("cli", "plan", "--json"), env=environment, capture_output=True, text=True)
        check_backup_of_units(team, servers)
    found = json.loads(done.stdout)["concepts"]
    assert {name: one["sync"] for name, one in found.items()} == {"team-cat": "Synced"}, done.stdout + done.stderr


def check_backup_of_units(team: Team, servers: TeamServers) -> None:
    """A host with units names the database by its address, for a backup and to restore it to another root."""
    address = database_url(team.folder, team.folder.read()).replace("+asyncpg", "")
    runs = servers.postgres.sql("SELECT count(*) FROM flow_run")
    backup, root = team.base / "backup-of-units", team.base / "units"
    team.run("backup", str(backup), "--database", address)
    servers.postgres.sql(f"DROP DATABASE {DATABASE}", "postgres")
    servers.postgres.sql(f"CREATE DATABASE {DATABASE} OWNER {ROLE}", "postgres")
    *restore, _ = team.command("restore", str(backup), "--database", address)
    subprocess.run([*restore, str(root)], env=team.environment(), check=True)
    assert servers.postgres.sql("SELECT count(*) FROM flow_run") == runs
    assert TeamFolder.at(root).read() == team.folder.read()
    assert hub_digests(root) == hub_digests(team.folder.root)


def hub_digests(root: Path) -> dict[str, str]:
    files = (file for file in (root / "hub").rglob("*") if file.is_file() and file.suffix != ".lock")
    return {str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
