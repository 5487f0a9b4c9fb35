"""Many simulations by hand.

    python -m tests.simulation.simulate --seeds 0-199 [--events 8] [--sabotage second-job]

Prints one line for each seed, and the sums. The folder of a simulation that violates an invariant is kept.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.simulation.sabotage import SABOTAGES
from tests.simulation.simulated_cloud import GIT, servers, starting_hosts
from tests.simulation.simulation import simulate


def main() -> int:
    """Run the seeds; the status is 1 if any of them violates an invariant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0-9", help="FIRST-LAST")
    parser.add_argument("--events", type=int, default=8)
    parser.add_argument("--sabotage", choices=sorted(SABOTAGES), default="")
    given = parser.parse_args()
    first, _, last = given.seeds.partition("-")
    os.environ.update(GIT)
    root = Path(tempfile.mkdtemp(prefix="conceptry-simulation-"))
    sums: Counter[str] = Counter()
    with servers(root) as shared, starting_hosts(shared, root) as zygote:
        for seed in range(int(first), int(last or first) + 1):
            folder = root / f"seed-{seed}"
            report = simulate(seed, folder, shared, zygote, events=given.events, sabotage=given.sabotage)
            words = report.violation or "holds"
            print(f"seed {seed}: {report.seconds:.0f} s, fair after {report.fair_seconds:.0f} s, {words}", flush=True)
            if report.violation:
                print(*(f"    {event}" for event in report.events), sep="\n", flush=True)
            else:
                shutil.rmtree(folder)
            sums.update(report.figures)
            sums.update({"simulations": 1, "violated": bool(report.violation), "seconds": round(report.seconds)})
    print(", ".join(f"{name} {count}" for name, count in sorted(sums.items())))
    print(f"files in {root}", file=sys.stderr)
    return int(sums["violated"] > 0)


if __name__ == "__main__":
    sys.exit(main())
