"""What must hold through lost hosts, cut networks, outages, wrong clocks, cancellations and edits by hand.

`python -m tests.simulation.simulate` runs many more seeds.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.simulated_cloud import Servers, Zygote, servers, starting_hosts
from tests.simulation.simulation import simulate

SEEDS = range(4)
EVENTS = 4


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Servers, Zygote]]:
    """A Prefect server, an emulated Vertex AI, and the process that starts hosts."""
    root = tmp_path_factory.mktemp("simulation")
    with servers(root) as started, starting_hosts(started, root) as zygote:
        yield started, zygote


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Warnings while validating metadata:UserWarning")
# A connection of the simulated network that is cut while it is accepted is closed by its finalizer.
@pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <(function _SelectorTransport|socket.socket):pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_fails_it_converges(seed: int, shared: tuple[Servers, Zygote], tmp_path: Path) -> None:
    report = simulate(seed, tmp_path / "world", *shared, events=EVENTS)
    assert not report.violation, f"{report.violation} after {report.events}; logs in {tmp_path}"
