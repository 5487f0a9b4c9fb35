"""A watch ends in time: one slow concept holds up neither the others nor the next watch, and nobody starves."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import set_client_factory

from conceptry.actions import Action, ActionKind
from conceptry.errors import moment_in
from conceptry.reasons import ActionReason
from conceptry.work_folder import WorkFolder
from flows.bounded_apply import JOBS, apply_in_time
from flows.drift import find_drift
from flows.train_concept import train_concept
from flows.watch import watch
from tasks.git.desired_concepts import read_desired
from tasks.hub import list_live
from tasks.hub.client import new_client, prepare
from tasks.hub.rate_limits import LIMITS
from tasks.locks import hold, is_held
from tests.support.registry_world import World
from tests.support.wait import wait_until


def action(name: str, kind: ActionKind, reason: ActionReason = ActionReason.SPACE_OUTDATED) -> Action:
    return Action(name, kind, reason, "why", None, None, "OutOfSync", "Healthy")


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    return WorkFolder(tmp_path)


@pytest.fixture
def end() -> Iterator[threading.Event]:
    """What slow actions wait for; set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def test_the_urgent_come_first_and_a_slow_one_takes_half_of_the_time(work: WorkFolder, end: threading.Event) -> None:
    done: list[str] = []

    def act(one: Action) -> None:
        if one.concept == "slow":
            end.wait()
        done.append(one.concept)

    applied = apply_in_time(
        work,
        [
            action("train", ActionKind.TRAIN), action("render", ActionKind.RENDER), action("slow", ActionKind.HIDE),
            action("down", ActionKind.RELEASE, ActionReason.RELEASE_NONE), action("hide", ActionKind.HIDE),
        ],
        act,
        1.0,
    )  # fmt: skip
    assert sorted(done[:2]) == ["down", "hide"]
    assert sorted(done[2:]) == ["render", "train"]
    assert applied.skipped == {"slow": "hide is still in progress"}
    assert applied.failures == {}


def test_those_without_a_turn_come_first_the_next_time(work: WorkFolder, end: threading.Event) -> None:
    slow = [action(f"a{number}", ActionKind.RENDER) for number in range(JOBS)]
    quick = action("quick", ActionKind.RENDER)
    done: list[str] = []

    def act(one: Action) -> None:
        if one.concept != "quick":
            end.wait()
        done.append(one.concept)

    first = apply_in_time(work, [*slow, quick], act, 0.2)
    assert first.skipped == {one.concept: "render is still in progress" for one in slow} | {
        "quick": "render did not begin in time"
    }
    assert apply_in_time(work, [*slow, quick], act, 0.2).skipped == {
        one.concept: "its repos are being written to" for one in slow
    }
    assert done == ["quick"]


def test_a_failure_and_a_lock_stop_no_other_concept(work: WorkFolder) -> None:
    def act(one: Action) -> None:
        raise KeyError(one.concept)

    with hold(work.concept_lock("held"), "a run"):
        applied = apply_in_time(work, [action("held", ActionKind.RENDER)], act, None)
    assert applied.skipped == {"held": "its repos are being written to"}


@contextmanager
def slow_commits(name: str) -> Iterator[threading.Event]:
    """Let every commit to a Space wait until the event is set."""
    event, asked = threading.Event(), threading.Event()

    class Transport(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.method == "POST" and f"/spaces/local/{name}/commit/" in request.url.path:
                asked.set()
                event.wait()
            return super().handle_request(request)

    set_client_factory(lambda: httpx2.Client(transport=Transport(), follow_redirects=True))
    try:
        yield event
        assert asked.is_set(), "nothing was slow"
    finally:
        event.set()
        set_client_factory(new_client)


def test_one_slow_concept_stops_the_watch_for_no_other(world: World) -> None:
    for name in ("calm-dog", "slow-dog"):
        world.write(name)
        world.push()
        train_concept(**world.trained(name))
    for name in ("calm-dog", "slow-dog"):
        world.write(name, space={"title": "Another"})
    world.push("Titles")
    lock = world.installation.work.concept_lock("slow-dog")
    with slow_commits("slow-dog") as event:
        state = watch(seconds=10, return_state=True)
        assert state.is_completed()
        assert "1 skipped until the next run (slow-dog: render is still in progress)" in (state.message or "")
        assert world.action("calm-dog").kind == "nothing"
        again = watch(seconds=10, return_state=True)
        assert "slow-dog: its repos are being written to" in (again.message or "")
        event.set()
        wait_until(lambda: not is_held(lock))
    assert world.action("slow-dog").kind == "nothing"
    assert watch(seconds=10, return_state=True).message == "2 concepts, 0 changes"


def test_a_quota_of_the_hub_is_waited_for_and_not_asked_again(world: World) -> None:
    world.write("many-dog")
    world.push()
    train_concept(**world.trained("many-dog"))
    world.write("many-dog", space={"title": "Another"})
    world.push()
    asked: list[str] = []

    class Transport(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.method == "POST" and "/commit/" in request.url.path:
                asked.append(request.url.path)
                return httpx2.Response(429, headers={"Retry-After": "2400"}, request=request)
            return super().handle_request(request)

    set_client_factory(lambda: prepare(httpx2.Client(transport=Transport(), follow_redirects=True)))
    try:
        state = watch(seconds=30, return_state=True)
        assert state.is_completed()
        assert "1 skipped until the next run (many-dog: " in (state.message or "")
        assert moment_in(state.message or "") is not None
        again = watch(seconds=30, return_state=True)
        assert again.message == "1 concept, 1 change, 1 of them later"
        assert world.action("many-dog").deferral == "HubLimit"
        assert len(asked) == 1
    finally:
        LIMITS.forget()
        set_client_factory(new_client)
    world.installation.work.hub_limit.unlink()
    watch()
    assert world.action("many-dog").kind == "nothing"


def test_one_slow_inspection_is_left_for_the_next_run(world: World) -> None:
    for name in ("calm-cat", "slow-cat"):
        world.write(name)
        world.push()
        train_concept(**world.trained(name))
        world.api().delete_branch(f"local/{name}", branch="v1")
    event, asked = threading.Event(), threading.Event()

    class Transport(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            if "/local/slow-cat/refs" in request.url.path:
                asked.set()
                event.wait()
            return super().handle_request(request)

    session = world.session
    live = list_live(session)
    set_client_factory(lambda: httpx2.Client(transport=Transport(), follow_redirects=True))
    try:
        found = find_drift(world.installation, session, read_desired(world.installation), live, seconds=3.0).concepts
    finally:
        event.set()
        wait_until(lambda: all(thread.name != "conceptry-pool" for thread in threading.enumerate()))
        set_client_factory(new_client)
    assert asked.is_set()
    assert [str(drift.reason) for drift in found["calm-cat"].drift] == ["BranchMissing"]
    assert found["slow-cat"].drift == ()
    assert world.action("slow-cat").reason == "Drifted"
