"""How often the Hub is asked: what a reconcile reads once it does not ask for again."""

import pytest

from benchmarks.requests import run

MOST = {"first release": 20, "nothing to do": 4, "another title": 10}


@pytest.fixture(scope="module")
def requests() -> dict[str, list[str]]:
    return run()


@pytest.mark.parametrize(("case", "most"), MOST.items())
def test_a_release_asks_the_hub_seldom(requests: dict[str, list[str]], case: str, most: int) -> None:
    assert len(requests[case]) <= most, requests[case]


def test_nothing_is_asked_for_twice(requests: dict[str, list[str]]) -> None:
    for case, asked in requests.items():
        reads = [request for request in asked if request.startswith("GET /local")]
        assert len(reads) == len(set(reads)), (case, reads)
