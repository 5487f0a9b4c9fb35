"""Simulated hosts: what a machine with a Prefect worker does, in processes that can be killed.

    python -m tests.simulation.host        one JSON object a line on stdin starts one host; prints its process id

All imports are done once; a host is a fork of this process at the head of a session of its own, and each of its flow
runs is a fork of the host. A host runs `watch` and `reap` every few seconds, takes scheduled runs of `train-concept`
from the server as Prefect's worker does, and reports a run whose process was killed as crashed.

Times are about twelve times shorter than in production, see `compress_times`.
"""

import atexit
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx
import time_machine
from prefect.client.orchestration import get_client
from prefect.context import refresh_global_settings_context
from prefect.flow_engine import run_flow
from prefect.states import StateType

import flows.keep_alive
import flows.liveness
import tasks.retries
from tests.simulation.sabotage import SABOTAGES

# Read when the tasks are made, below.
for _policy in (tasks.retries.RETRIES, tasks.retries.RETRY_TRANSIENT):
    _policy.update(retry_delay_seconds=[0.3, 0.6, 1.2, 2.4])  # type: ignore[attr-defined]

import flows.reap  # noqa: E402
import flows.train_concept  # noqa: E402
import flows.training_runs  # noqa: E402
import flows.watch  # noqa: E402
import tasks.training.vertex  # noqa: E402

BEAT = 0.1
WATCH_EVERY, REAP_EVERY, TAKE_EVERY = 4.0, 12.0, 1.0
LONGEST_WATCH = 8.0
PLACES = 4
"""Training runs of one host at a time."""


def compress_times() -> None:
    """Let pass in seconds what takes minutes; only constants of time change."""
    flows.keep_alive.AGAIN = 0.5
    flows.train_concept.keep_alive = partial(flows.keep_alive.keep_alive, every=2.0)
    second = partial(timedelta, 0)
    flows.training_runs.Deadlines = partial(  # type: ignore[misc, assignment]
        flows.liveness.Deadlines, running=second(10), pending=second(25), cancelling=second(12), observed=second(3)
    )
    flows.training_runs.PAUSES = tuple(second(pause) for pause in (1, 2, 3, *[4] * 20))
    flows.reap.GRACE = second(15)
    creation_lock = tasks.training.creation_lock.CreationLock
    tasks.training.vertex.CreationLock = partial(creation_lock, lease=4.0, pause=0.2)  # type: ignore[misc, assignment]


@dataclass
class Child:
    """A fork that runs one flow run."""

    kind: str
    begin: float
    run: str | None = None


class Host:
    """One machine.

    Args:
        folder: Its files: `watches.jsonl`, `clock` (seconds that its clock is ahead), `processes`, `log`.
        installation: Id whose runs it takes.
        server: Address of the Prefect API.
    """

    def __init__(self, folder: Path, installation: str, server: str) -> None:
        self._folder, self._tag, self._server = folder, f"installation:{installation}", server
        self._children: dict[int, Child] = {}
        self._due = {"watch": 0.0, "take": 0.0, "reap": time.monotonic() + REAP_EVERY}
        (folder / "processes").mkdir()

    def live(self, parent: int) -> None:
        """Work until the process is killed, or its parent is gone."""
        while os.getppid() == parent:
            self._collect()
            busy = {child.kind for child in self._children.values()}
            for kind, every, work in (("watch", WATCH_EVERY, watch_once), ("reap", REAP_EVERY, flows.reap.reap)):
                if kind not in busy and time.monotonic() >= self._due[kind]:
                    self._due[kind] = time.monotonic() + every
                    self._fork(kind, work)
            if time.monotonic() >= self._due["take"]:
                self._due["take"] = time.monotonic() + TAKE_EVERY
                with suppress(httpx.HTTPError):
                    self._take_runs()
            time.sleep(BEAT)
        os.killpg(0, signal.SIGKILL)

    def _fork(self, kind: str, work: Callable[[], object], run: str | None = None) -> None:
        begin = time.monotonic()
        child = os.fork()
        if child:
            self._children[child] = Child(kind, begin, run)
            (self._folder / "processes" / str(child)).write_text(run or kind)
            return
        status = 1
        try:
            self._set_clock(kind)
            refresh_global_settings_context()
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the process ends here
            traceback.print_exc()
        finally:
            with suppress(BaseException):
                atexit._run_exitfuncs()  # sends events and logs
            sys.stderr.flush()
            os._exit(status)

    def _set_clock(self, kind: str) -> None:
        ahead = float((self._folder / "clock").read_text())
        # gRPC computes deadlines with Python's clock and waits for them with the kernel's.
        if ahead and (ahead > 0 or kind == "watch"):
            time_machine.travel(datetime.now(UTC) + timedelta(seconds=ahead), tick=True).start()

    def _collect(self) -> None:
        """Note which forks have ended."""
        while self._children:
            process, status, used = os.wait4(-1, os.WNOHANG)
            if not process:
                return
            child = self._children.pop(process, None)
            if child is None:
                continue
            (self._folder / "processes" / str(process)).unlink()
            if child.kind == "watch":
                cpu = used.ru_utime + used.ru_stime
                line = {"begin": child.begin, "end": time.monotonic(), "status": status, "cpu": cpu}
                with (self._folder / "watches.jsonl").open("a") as file:
                    file.write(json.dumps(line) + "\n")
            if child.run and os.WIFSIGNALED(status):
                with suppress(httpx.HTTPError):
                    self._set_state(child.run, "CRASHED", "Flow run process was killed.")

    def _take_runs(self) -> None:
        """Claim scheduled runs that are due, and run them."""
        free = PLACES - sum(child.run is not None for child in self._children.values())
        which = {
            "tags": {"all_": [self._tag]},
            "state": {"type": {"any_": [StateType.SCHEDULED.value]}},
            "next_scheduled_start_time": {"before_": datetime.now(UTC).isoformat()},
        }
        body = {"flow_runs": which, "sort": "NEXT_SCHEDULED_START_TIME_ASC", "limit": 10}
        answer = httpx.post(f"{self._server}/flow_runs/filter", json=body, timeout=5)
        for run in answer.raise_for_status().json():
            if free > 0 and self._set_state(run["id"], "PENDING", "Taken by a worker."):
                free -= 1
                self._fork("run", partial(execute, run["id"]), run["id"])

    def _set_state(self, run: str, state: str, message: str) -> bool:
        body = {"state": {"type": state, "message": message}}
        answer = httpx.post(f"{self._server}/flow_runs/{run}/set_state", json=body, timeout=5)
        return answer.raise_for_status().json().get("status") == "ACCEPT"


def watch_once() -> None:
    """Reconcile once; raise if anything failed."""
    state = flows.watch.watch(seconds=LONGEST_WATCH, return_state=True)
    print("watch:", state.name, state.message, flush=True)
    if not state.is_completed() or state.name == "Skipped":
        raise SystemExit(2)


def execute(run: str) -> None:
    """Run a flow run that the server scheduled."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(run))
    run_flow(flows.train_concept.train_concept, flow_run=flow_run)


def start(order: dict[str, str]) -> None:
    """Become a host; never returns."""
    zygote = os.getppid()
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder = Path(order["folder"])
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    os.environ.update(order["variables"])  # type: ignore[call-overload]
    compress_times()
    if order["sabotage"]:
        SABOTAGES[order["sabotage"]]()
    Host(folder, order["installation"], os.environ["PREFECT_API_URL"]).live(zygote)
    os._exit(0)


def main() -> None:
    """Start a host for each line of stdin."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            start(json.loads(line))
        print(child, flush=True)


if __name__ == "__main__":
    main()
