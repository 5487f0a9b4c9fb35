"""Random requests to every route of the Hub: none fails with 5xx, and nothing is written outside of its folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.routing import Route

from emulators.hub.asgi import ROUTES
from emulators.hub.server import RunningHub, running
from tests.support.hub_server import ACCOUNTS, ANNA, CONFIG

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
QUERY = ["limit", "cursor", "p", "expand", "sort", "size", "service", "old", "new", "holder", "expires", "signature"]
QUERY += [
    "recursive",
    "author",
    "filter",
    "search",
    "direction",
    "type",
    "status",
    "partNumber",
    "uploadId",
    "create_pr",
]
# Values of URL parameters: mostly existing ones, or no request would pass the first check.
EXISTING = {
    "kind": ["models", "datasets", "spaces"],
    "prefix": ["", "datasets/", "spaces/"],
    "owner": ["anna"],
    "name": ["fuzzed"],
    "revision": ["main", "v1", "refs%2Fpr%2F1"],
    "path": ["README.md", "a/b.bin", ".gitattributes", "main/README.md"],
    "table": ["secrets", "variables"],
    "switch": ["enable", "disable"],
    "number": ["1"],
}

words = st.text(st.characters(codec="utf-8"), max_size=12)
hostile = st.sampled_from(["..", "../..", "/etc/passwd", "a/../../b", ".git", "\0", "a\nb", "%2e%2e", "HEAD"])
numbers = st.sampled_from(["0" * 64, "a" * 40, "ff", "-1", "0", "1", str(2**70), "1e400", "NaN"])
names = st.sampled_from(
    ["main", "v1", "anna", "team", "anna/fuzzed", "README.md", "main...v1", "file", "header", "lfs"]
)
texts = names | hostile | numbers | words
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts


def models() -> list[type[BaseModel]]:
    """Return every body model of the Hub's routes."""
    found, todo = [], [BaseModel]
    while todo:
        for model in todo.pop().__subclasses__():
            todo.append(model)
            if model.__module__.startswith("emulators.hub"):
                found.append(model)
    return sorted(found, key=lambda model: (model.__module__, model.__name__))


FIELDS = sorted({field for model in models() for field in model.model_fields})
nested = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip
shaped = st.sampled_from(models()).flatmap(
    lambda model: st.fixed_dictionaries({}, optional=dict.fromkeys(model.model_fields, nested))
)
lines = st.lists(
    st.fixed_dictionaries(
        {"key": st.sampled_from(["header", "file", "lfsFile", "deletedFile", "deletedFolder", "copyFile"]) | texts},
        optional={"value": nested | shaped},
    ),
    max_size=4,
)
bodies = st.one_of(
    (nested | shaped).map(lambda body: json.dumps(body).encode()),
    lines.map(lambda rows: "\n".join(json.dumps(row) for row in rows).encode()),
    st.binary(max_size=40),
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str]:
    """Draw method and path of a route, with mostly existing parameters."""
    route = draw(st.sampled_from([route for route in ROUTES if isinstance(route, Route)]))
    path = route.path_format
    for name in route.param_convertors:
        known = EXISTING.get(name, ["1", "anna", "main"])
        raw = draw(texts.map(quote) if draw(st.integers(0, 7)) == 0 else st.sampled_from(known))
        path = path.replace(f"{{{name}}}", raw, 1)
    return draw(st.sampled_from([*(route.methods or ()), *(route.methods or ()), *METHODS])), path


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder that contains the Hub's folder and nothing else."""
    return tmp_path_factory.mktemp("outside")


@pytest.fixture(scope="module")
def target(outside: Path) -> Iterator[RunningHub]:
    """Run a Hub for this test only, since random requests may delete anything."""
    with running(outside / "hub", accounts=ACCOUNTS, config=CONFIG) as hub:
        yield hub


@settings(max_examples=400)
@given(
    call=calls(),
    query=st.dictionaries(st.sampled_from(QUERY), texts, max_size=3),
    body=bodies,
    kind=st.sampled_from(
        ["application/json", "application/x-ndjson", "application/x-www-form-urlencoded", "text/html"]
    ),
)
def test_no_request_makes_the_hub_fail(
    target: RunningHub,
    outside: Path,
    http: httpx2.Client,
    call: tuple[str, str],
    query: dict[str, str],
    body: bytes,
    kind: str,
) -> None:
    for repo in ("model", "dataset", "space"):
        if http.head(f"{target.url}/api/{repo}s/anna/fuzzed").status_code != 200:
            made = {"name": "fuzzed", "type": repo, "sdk": "gradio"}
            http.post(f"{target.url}/api/repos/create", json=made, headers=ANNA)
            http.post(f"{target.url}/api/{repo}s/anna/fuzzed/branch/v1", json={}, headers=ANNA)
    method, address = call
    headers = ANNA | {"Content-Type": kind, "Accept": "text/html, */*"}
    answer = http.request(method, f"{target.url}{address}", params=query, content=body, headers=headers)
    assert answer.status_code < 500
    assert "root:x:0" not in answer.text
    assert [entry.name for entry in outside.iterdir()] == ["hub"]


def test_every_route_is_drawn() -> None:
    """Check that the requests are drawn from all routes."""
    assert len(ROUTES) > 70
    assert all(isinstance(route, Route) for route in ROUTES)
