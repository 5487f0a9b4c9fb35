"""Upgrade of a team's set-up from an earlier release, by hand:

    git worktree add /tmp/release COMMIT && uv venv /tmp/venv && uv pip install --python /tmp/venv 'prefect<3.8' ...
    python -m tests.team.upgrade --code /tmp/release --packages /tmp/venv/lib/python3.11/site-packages

The earlier release, with the Prefect in `--packages`, makes the database: its server, deployments and worker publish a
concept. Then `conceptry team up` of this checkout runs on the same data. Prints what is left and what is new as JSON.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.child_process import answers
from local.team.postgres import database_url
from local.team.team_folder import WORKERS, TeamSetup
from local.team.team_servers import TeamServers
from tests.support.trainer_overlay import make_overlay
from tests.support.wait import wait_until
from tests.team.stress import REPO_ROOT, Run, be_a_user_of_git
from tests.team.team_world import Team, team_folder

RUNS = "SELECT f.name, r.state_type, count(*) FROM flow_run r JOIN flow f ON f.id = r.flow_id GROUP BY 1, 2 ORDER BY 1"


@contextmanager
def earlier(team: Team, servers: TeamServers, code: Path, packages: Path) -> Iterator[dict[str, str]]:
    """Run the earlier release's Prefect server; yields the environment of its programs."""
    setup = servers.setup
    pythonpath, _ = make_overlay(team.base / "earlier", code, seconds=1)
    environment = {
        **team.environment(),
        **team.variables(),
        "PYTHONPATH": os.pathsep.join([pythonpath, str(packages)]),
        "PREFECT_HOME": str(team.base / "earlier" / "prefect"),
        "CONCEPTRY_WORK": str(team.folder.work(WORKERS[0])),
    }
    server = environment | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url(team.folder, setup),
        "PREFECT_SERVER_API_AUTH_STRING": setup.prefect_auth,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    start = ["server", "start", "--port", str(setup.prefect_port)]
    with running(prefect(*start), server, code, team.base / "server.log"):
        wait_until(lambda: answers(f"http://127.0.0.1:{setup.prefect_port}/api/health"), 600, every=0.5)
        yield environment


@contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path, log: Path) -> Iterator[None]:
    """Run a program in the background within the block."""
    with log.open("wb") as file:
        program = subprocess.Popen(command, env=environment, cwd=folder, stdout=file, stderr=file)
        try:
            yield
        finally:
            program.terminate()
            program.wait(120)


def prefect(*arguments: str) -> list[str]:
    """Return a command of Prefect."""
    return [sys.executable, "-P", "-m", "prefect", "--no-prompt", *arguments]


def main() -> None:
    """Make the database with the earlier release, upgrade, and print what is there before and after."""
    parser = argparse.ArgumentParser(prog="python -m tests.team.upgrade", description="Upgrade of a team's set-up.")
    parser.add_argument("--code", type=Path, required=True, help="checkout of the earlier release")
    parser.add_argument("--packages", type=Path, required=True, help="site-packages with its Prefect")
    given = parser.parse_args()
    be_a_user_of_git()
    found: dict[str, Any] = {}
    with team_folder() as base:
        team = Team(base, REPO_ROOT, seconds=1)
        team.separate = False
        run = Run(team, 1)
        run.push()
        setup = TeamSetup(repo=str(base / "origin.git"))
        with TeamServers(team.folder, setup) as servers:
            servers.prepare()
            servers.configure()
            servers.start_postgres()
            servers.start_hub()
            with earlier(team, servers, given.code, given.packages) as environment:
                for command in (["work-pool", "create", "conceptry", "--type", "process"], ["deploy", "--all"]):
                    subprocess.run(prefect(*command), env=environment, cwd=given.code, check=True, stdout=sys.stderr)
                worker = prefect("worker", "start", "--pool", "conceptry")
                with running(worker, environment, given.code, base / "worker.log"):
                    run.until(1)
            found["before"] = state(servers.postgres.sql)
        try:
            team.start()
            found["in sync after s"] = run.settle()
            found["after"] = state(team.postgres().sql)
            with team.using() as installation:
                refs = run.refs(installation)
            found["branches"] = sorted(branch.name for each in refs.values() for branch in each.branches)
        finally:
            print(json.dumps(found, indent=2))
            team.stop()


def state(sql: Any) -> dict[str, Any]:
    """Return the revision of the schema, the deployments, and the runs by state."""
    return {
        "schema": sql("SELECT version_num FROM alembic_version"),
        "deployments": sql("SELECT f.name || '/' || d.name FROM deployment d JOIN flow f ON f.id = d.flow_id").split(),
        "runs": sql(RUNS).splitlines(),
    }


if __name__ == "__main__":
    main()
