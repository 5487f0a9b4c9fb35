"""One simulation: hosts, disturbances in the order of a seed, fair weather, and what must hold.

The seed decides what is done and when; processes decide the rest, so a seed does not repeat a run exactly.
"""

import random
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry

from conceptry.actions import ConceptPlan
from tests.simulation.disturbances import ACTIVE, Disturbances
from tests.simulation.invariants import Invariants, Violation, left_to_do
from tests.simulation.simulated_cloud import Servers, Zygote
from tests.simulation.simulated_world import SimulatedWorld

SERVED, FIRST = 0.7, 60.0
"""Share of the simulations whose first concepts are served before anything happens, and seconds to wait for that."""
FAIR = 240.0
"""Seconds within which everything converges in fair weather; a lease of Prefect's may last for 60 of them."""


@dataclass
class Report:
    """What happened in one simulation."""

    seed: int
    events: list[str] = field(default_factory=list)
    violation: str = ""
    seconds: float = 0.0
    fair_seconds: float = 0.0
    figures: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, by: int = 1) -> None:
        """Count something."""
        self.figures[what] = self.figures.get(what, 0) + by


def simulate(
    seed: int,
    root: Path,
    servers: Servers,
    zygote: Zygote,
    *,
    events: int,
    only: Collection[str] = (),
    sabotage: str = "",
) -> Report:
    """Run one simulation; a violated invariant is in the report.

    Args:
        seed: Decides what happens.
        root: Folder; it must not exist.
        servers: Servers, which simulations may share.
        zygote: Process that starts hosts.
        events: Number of disturbances.
        only: Names of the disturbances to choose from; all of them, if empty.
        sabotage: Fault of all hosts, from `sabotage.py`.
    """
    report, begin = Report(seed), time.monotonic()
    world = SimulatedWorld(root, servers, zygote, random.Random(seed), sabotage)
    try:
        with ExitStack() as stack:
            world.build(stack)
            invariants, disturbances = Invariants(world), Disturbances(world, only)
            served = world.rng.random() < SERVED
            _let_live(invariants, FIRST if served else 0.0, until=lambda: all(map(world.served, world.names())))
            for _ in range(events):
                name, words = disturbances.next()
                report.events.append(words)
                report.count(name)
                _let_live(invariants, world.rng.uniform(0.5, 3.0))
            _clear_up(world, disturbances)
            fair = time.monotonic()
            _converge(world, invariants, report)
            report.fair_seconds = time.monotonic() - fair
            invariants.check()
            report.count("jobs", len(world.jobs()))
            report.count("versions", len(invariants.versions))
            report.count("seen hidden", invariants.seen_hidden)
    except Violation as violation:
        report.violation = str(violation)
    report.seconds = time.monotonic() - begin
    return report


def _let_live(invariants: Invariants, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the hosts work for some seconds, or until something is reached; look at what must hold at every moment."""
    end = time.monotonic() + seconds
    while True:
        invariants.observe()
        if time.monotonic() >= end or until():
            return
        time.sleep(1.0)


def _clear_up(world: SimulatedWorld, disturbances: Disturbances) -> None:
    """End all disturbances, and do what a person would do about what is left."""
    world.servers.cloud.faults.clear()
    for host in world.hosts:
        host.cut()
        host.set_clock(0)
    for pushed in world.forgotten:
        world.registry.pushed = pushed
        world.registry.dvc_push()
    if world.suspended:
        disturbances.suspend()


def _converge(world: SimulatedWorld, invariants: Invariants, report: Report) -> None:
    """Wait until no run is active, and the plan has nothing left to do."""
    since = time.monotonic()
    while True:
        invariants.observe()
        planned = world.registry.plan().concepts
        _retry_failed(world, planned, report)
        left = {one.concept: words for one in planned if (words := left_to_do(one, world.is_cancelled))}
        runs = world.runs()
        active = [run for run in runs if run.state_type in (*ACTIVE, StateType.CANCELLING)]
        if not left and not active and not world.hidden:
            return
        if time.monotonic() - since > FAIR:
            states = [f"{run.name} {run.state_name}" for run in runs]
            raise Violation(f"converges: not within {FAIR:.0f} s: {left} (runs: {states}; hidden: {world.hidden})")
        time.sleep(2.0)


def _retry_failed(world: SimulatedWorld, planned: Iterable[ConceptPlan], report: Report) -> None:
    """Retry, as a person does, the runs that failed for good, except those that a person cancelled."""
    failed = {one.training.fingerprint for one in planned if one.training.reason == "TrainingFailed"}
    if not failed:
        return
    with get_client(sync_client=True) as client:
        for run in world.runs():
            ended = run.state_type in (StateType.FAILED, StateType.CRASHED)
            if ended and str(run.id) not in world.cancelled and run.parameters["fingerprint"] in failed:
                client.set_flow_run_state(run.id, AwaitingRetry(message="Retried in the UI."), force=True)
                report.count("retried by a person")
