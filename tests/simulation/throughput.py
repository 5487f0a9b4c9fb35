"""Many concepts pushed at once to several workers: how long it takes, and how long workers idle while work waits.

    python -m tests.simulation.throughput [--concepts 50] [--workers 4] [--seconds 20]

Each worker is a `conceptry worker` with a work folder of its own. Trainings run on the emulated Vertex AI and are
stand-ins that sleep, so that one machine can play several. Prints as JSON:

    seconds              from the push until the last training run ended
    bound                what perfect workers would take: trainings of that length, divided evenly
    longest_idle         the longest time in which a worker ran no training although one waited
    overhead             median seconds of a run without its training
    runs, versions       training runs and published versions; both equal the number of concepts
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun

from emulators.hub.server import running
from flows.deployments import TRAINING, installation_tag
from flows.keep_alive import PLACE
from tasks.hub import list_live
from tasks.processes import python_module
from tests.simulation.simulated_cloud import GIT, REPO_ROOT, child_variables, servers, wait
from tests.support.registry_world import World
from tests.support.trainer_stand_in import vertex_variables

STEPS = 20
PATIENCE = 3600


def training_runs(world: World) -> list[FlowRun]:
    """Return all training runs of the world's installation."""
    tags = FlowRunFilterTags(all_=[installation_tag(world.installation.id)])
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[TRAINING])),
            flow_run_filter=FlowRunFilter(tags=tags),
        )


def measure(world: World, seconds: float, concepts: int) -> dict[str, Any]:
    """Push, wait until every training has ended, and return what happened."""
    pushed = datetime.now().astimezone()
    world.push()
    wait(lambda: _ended(training_runs(world)) == concepts, PATIENCE, "every training has ended")
    runs = training_runs(world)
    spans = [(run.start_time, run.end_time) for run in runs if run.start_time and run.end_time]
    wait(lambda: _versions(world) == concepts, PATIENCE, "every version is there")
    workers = len({run.labels.get(PLACE) for run in runs})
    return {
        "seconds": round((max(end for _, end in spans) - pushed).total_seconds()),
        "first_start": round((min(start for start, _ in spans) - pushed).total_seconds()),
        "bound": round(seconds * concepts / workers),
        "workers": workers,
        "longest_idle": round(max(idle(runs), default=0.0), 1),
        "overhead": round(statistics.median((end - start).total_seconds() for start, end in spans) - seconds, 1),
        "states": sorted({str(run.state_name) for run in runs}),
        "runs": len(runs),
        "versions": _versions(world),
        "load": os.getloadavg()[1],
    }


def idle(runs: Sequence[FlowRun]) -> Iterator[float]:
    """Yield how long each worker ran no training, after its first one, although one waited."""
    by_worker: dict[Any, list[tuple[datetime, datetime]]] = defaultdict(list)
    for run in runs:
        if run.start_time and run.end_time:
            by_worker[run.labels.get(PLACE)].append((run.start_time, run.end_time))
    last_start = max(start for spans in by_worker.values() for start, _ in spans)
    for spans in by_worker.values():
        for (_, end), (start, _) in pairwise(sorted(spans)):
            yield (start - end).total_seconds()
        yield max(0.0, (last_start - max(end for _, end in spans)).total_seconds())


def _ended(runs: Sequence[FlowRun]) -> int:
    return sum(run.state is not None and run.state.is_final() for run in runs)


def _versions(world: World) -> int:
    return sum(len(concept.versions) for concept in list_live(world.session).concepts.values())


@contextmanager
def workers(root: Path, count: int, variables: dict[str, str]) -> Iterator[None]:
    """Run `conceptry worker` with a work folder of its own for each, while the block runs."""
    with ExitStack() as stack:
        for index in range(count):
            log = stack.enter_context((root / f"worker-{index}.log").open("ab"))
            own = variables | {"CONCEPTRY_WORK": str(root / f"worker-{index}")}
            process = subprocess.Popen(python_module("cli", "worker"), cwd=root, env=own, stdout=log, stderr=log)
            stack.callback(process.wait, 60)
            stack.callback(process.send_signal, signal.SIGTERM)
        yield


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a training")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="conceptry-throughput-"))
    names = [f"concept-{index:02}" for index in range(given.concepts)]
    os.environ.update(GIT)
    with (
        servers(root, names=names, step_seconds=given.seconds / STEPS, schedules=True) as shared,
        running(root / "hub") as hub,
    ):
        world = World(root, hub.url, shared.prefect.api)
        world.start()
        settings = world.variables() | vertex_variables(shared.cloud) | {"CONCEPTRY_VERTEX_POLL_SECONDS": "1"}
        os.environ.update(settings)
        variables = child_variables(shared, root) | settings
        world.push()
        for command in (["setup", "pool", "process"], ["deploy"]):
            subprocess.run(python_module("cli", *command), cwd=REPO_ROOT, env=variables, check=True)
        for name in names:
            world.write(name, training={"max_steps": STEPS, "early_stopping": False})
        with workers(root, given.workers, variables):
            wait(lambda: _online() == 2 * given.workers, 300, "the workers are online")
            print(json.dumps(measure(world, given.seconds, given.concepts), indent=2))
    print(f"logs in {root}", file=sys.stderr)


def _online() -> int:
    with get_client(sync_client=True) as client:
        return len(client.read_workers_for_work_pool("conceptry"))


if __name__ == "__main__":
    main()
