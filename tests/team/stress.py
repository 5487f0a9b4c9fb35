"""Stress of a team's set-up, by hand: `python -m tests.team.stress [--concepts 30] [--seconds 8] [--out FILE]`.

Pushes all concepts at once, and while they are trained (by a stand-in that takes `--seconds` and learns nothing) kills
worker A with all its processes, restarts the Prefect server, and takes PostgreSQL away for 20 s. Then it checks that
every concept is published once, backs up, deletes everything, restores, and checks that nothing is trained again.
Prints figures as JSON. Takes 10 to 30 minutes on two cores.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from huggingface_hub import GitRefs

from conceptry.installation import Installation
from local.team.team_folder import OWNER
from tasks.hub import HubSession
from tasks.processes import python_module
from tests.support.wait import wait_until
from tests.team.team_world import Team, team_folder

REPO_ROOT = Path(__file__).resolve().parents[2]
AWAY = 20.0
"""Seconds without PostgreSQL."""
PATIENCE = 3600.0
TRAINER = "trainer (stand-in)"
ROLES = {
    "postgres": "PostgreSQL", "nginx": "nginx", "local.prefect_server": "Prefect server", "emulators.hub": "Hub",
    "prefect worker": "Prefect worker", "cli worker": "conceptry worker", "-m trainer": TRAINER,
    "prefect flow-run": "run", "prefect.flow_engine": "run", "prefect.engine": "run", "flow_runs": "run",
}  # fmt: skip
"""Parts of command lines, by which processes are told apart, the first that fits."""


class Run:
    """One stress run.

    Args:
        team: The set-up.
        count: How many concepts are pushed.
    """

    def __init__(self, team: Team, count: int) -> None:
        self.team, self.names = team, [f"concept-{number:02}" for number in range(count)]
        self.figures: dict[str, Any] = {"concepts": count, "separate users": team.separate}
        self._begun = time.monotonic()
        self.peak: Counter[str] = Counter()

    def note(self, what: str) -> None:
        """Note when something was done, in seconds since the push."""
        self.figures.setdefault("moments", {})[what] = round(time.monotonic() - self._begun, 1)
        print(f"{time.monotonic() - self._begun:7.1f} s  {what}", file=sys.stderr, flush=True)

    def published(self) -> int:
        """Count the concepts that have a version."""
        with self.team.using() as installation:
            repos = HubSession(installation.hub).api.list_models(author=OWNER)
            refs = [HubSession(installation.hub).api.list_repo_refs(repo.id) for repo in repos]
        return sum(any(branch.name == "v1" for branch in each.branches) for each in refs)

    def until(self, count: int) -> None:
        """Wait until so many are published."""
        wait_until(lambda: self.published() >= count, PATIENCE, every=1)
        self.note(f"{count} published")

    def push(self) -> None:
        """Write all concepts and push them in one commit."""
        for name in self.names:
            self.team.world.write(name)
        self._begun = time.monotonic()
        self.team.world.push("all at once")
        self.note("pushed")

    def kill_worker(self, name: str) -> None:
        """Kill a worker that trains, with its guard and all that it started, as a machine that loses its power."""
        victims: list[psutil.Process] = wait_until(lambda: self.training_family(name), PATIENCE, every=0.2)
        self.figures["killed processes"] = dict(Counter(role(victim) for victim in victims))
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        self.note(f"{name} killed")

    def training_family(self, name: str) -> list[psutil.Process]:
        """Return the processes of a worker, its guard first; none while it trains nothing."""
        work = str(self.team.folder.work(name))
        with suppress(psutil.NoSuchProcess):
            for guard in self.team.process.children():
                found = family(guard)
                if any(work in argument for each in found for argument in each.cmdline()):
                    return found if any(role(each) == TRAINER for each in found) else []
        return []

    def restart_server(self) -> None:
        """End the Prefect server; the supervisor starts it again."""
        find(self.team, "local.prefect_server").terminate()
        self.note("Prefect server ended")

    def take_postgres_away(self) -> None:
        """Stop PostgreSQL at once, and hold the supervisor meanwhile, so that it is not started again."""
        postmaster = find(self.team, str(self.team.folder.data))
        self.team.process.suspend()
        postmaster.send_signal(signal.SIGINT)
        postmaster.wait(30)
        self.note("PostgreSQL stopped")
        time.sleep(AWAY)
        self.team.process.resume()
        self.note("PostgreSQL may start")

    def check(self) -> None:
        """Check that every concept is published once, and note what it took."""
        with self.team.using() as installation:
            refs = self.refs(installation)
        branches = Counter(branch.name for each in refs.values() for branch in each.branches)
        tags = Counter(tag.name.partition("-")[0] for each in refs.values() for tag in each.tags)
        starts = Counter(file.name.rpartition("-")[0] for file in self.team.trainings.iterdir())
        self.figures |= {"branches": dict(branches), "tags": dict(tags), "trainings started": sum(starts.values())}
        self.figures["trained more than once"] = {name: count for name, count in starts.items() if count > 1}
        assert branches == {"main": len(self.names), "v1": len(self.names)}, branches

    def refs(self, installation: Installation) -> dict[str, GitRefs]:
        """Return the refs of every concept's model repo."""
        api = HubSession(installation.hub).api
        return {name: api.list_repo_refs(f"{OWNER}/{name}") for name in self.names}

    def settle(self) -> float:
        """Wait until the plan finds every concept in sync; return the seconds."""
        begun = time.monotonic()
        wait_until(self.in_sync, PATIENCE, every=2)
        return round(time.monotonic() - begun, 1)

    def in_sync(self) -> bool:
        """Whether `conceptry plan` finds every concept in sync."""
        environment = {**self.team.environment(), **self.team.variables()}
        command = python_module("cli", "plan", "--json")
        done = subprocess.run(command, env=environment, cwd=self.team.base, capture_output=True, text=True)
        if not done.stdout:
            return False
        plan = json.loads(done.stdout)
        return Counter(one["sync"] for one in plan["concepts"].values()) == {"Synced": len(self.names)}

    def note_database(self) -> None:
        """Note the database's size, and the rows of its larger tables."""
        sql = self.team.postgres().sql
        names = sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        counts = {name: int(sql(f'SELECT count(*) FROM "{name}"')) for name in names.split()}
        self.figures["rows"] = dict(sorted(((k, v) for k, v in counts.items() if v), key=lambda one: -one[1]))
        self.figures["database MB"] = round(int(sql("SELECT pg_database_size('prefect')")) / 1e6, 1)
        states = sql(
            "SELECT f.name, r.state_name, count(*) FROM flow_run r JOIN flow f ON f.id = r.flow_id GROUP BY 1, 2"
        )
        self.figures["runs"] = sorted(states.splitlines())

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Note the largest memory of each kind of process (proportional set size, all of a kind together)."""
        stop = threading.Event()

        def measure() -> None:
            while not stop.wait(2):
                found: Counter[str] = Counter()
                with suppress(psutil.Error):
                    for process in family(self.team.process):
                        with suppress(psutil.Error):
                            found[role(process)] += process.memory_full_info().pss
                self.peak |= found
                self.peak["all"] = max(self.peak["all"], sum(found.values()))

        thread = threading.Thread(target=measure)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self.figures["peak MB"] = {name: round(size / 1e6) for name, size in self.peak.most_common()}


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return a process and all its descendants."""
    return [process, *process.children(recursive=True)]


def role(process: psutil.Process) -> str:
    """Return what kind of process this is."""
    command = " ".join(process.cmdline())
    if "process_guard" in command or " team up" in command:
        return "supervisor"
    return next((name for part, name in ROLES.items() if part in command), "other")


def find(team: Team, part: str) -> psutil.Process:
    """Return the service whose command line contains a text, not its guard."""
    found = [
        one for one in family(team.process) if part in one.cmdline() and "local.process_guard" not in one.cmdline()
    ]
    return found[0]


def be_a_user_of_git() -> None:
    """Set the name of commits, and of the first branch, whatever this machine's configuration says."""
    os.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "init.defaultBranch", "GIT_CONFIG_VALUE_0": "main"}
    for role in ("AUTHOR", "COMMITTER"):
        os.environ |= {f"GIT_{role}_NAME": "Tess Tester", f"GIT_{role}_EMAIL": "tess@example.org"}


def timed(action: Callable[[], object]) -> float:
    """Call a function; return the seconds that it took."""
    begun = time.monotonic()
    action()
    return round(time.monotonic() - begun, 1)


def main() -> None:
    """Run the stress and print its figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.team.stress", description="Stress of a team's set-up.")
    parser.add_argument("--concepts", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=8, help="how long a training takes")
    parser.add_argument("--parallel", type=int, default=4, help="CONCEPTRY_MAX_PARALLEL of both workers")
    parser.add_argument("--out", type=Path, help="file for the figures; without it stdout")
    given = parser.parse_args()
    be_a_user_of_git()
    os.environ["CONCEPTRY_MAX_PARALLEL"] = str(given.parallel)
    with team_folder() as base:
        run = Run(Team(base, REPO_ROOT, given.seconds), given.concepts)
        run.team.world.push("begin")
        run.figures["first start s"] = timed(run.team.start)
        try:
            stress(run)
        finally:
            text = json.dumps(run.figures, indent=2)
            given.out.write_text(text + "\n") if given.out else print(text)
            run.team.stop()


def stress(run: Run) -> None:
    """Do all that the module describes."""
    team, count = run.team, len(run.names)
    with run.measuring():
        run.push()
        run.until(max(1, count // 4))
        run.kill_worker("worker-a")
        run.until(count // 2)
        run.restart_server()
        run.until(count * 2 // 3)
        run.take_postgres_away()
        run.until(count)
        run.figures["settled after s"] = run.settle()
    run.check()
    run.note_database()
    trained = len(list(team.trainings.iterdir()))
    run.figures["backup s"] = timed(lambda: team.run("backup", str(team.base / "backup")))
    run.figures["backup MB"] = round(sum(file.stat().st_size for file in (team.base / "backup").iterdir()) / 1e6, 1)
    run.figures["stop s"] = timed(team.stop)
    shutil.rmtree(team.folder.root)
    run.figures["restore s"] = timed(lambda: team.run("restore", str(team.base / "backup")))
    run.figures["start again s"] = timed(team.start)
    run.figures["in sync again after s"] = run.settle()
    run.check()
    assert len(list(team.trainings.iterdir())) == trained, "something was trained again"
    run.figures["trained again after the restore"] = 0


if __name__ == "__main__":
    main()
