"""Quotas and money of the Hub, end to end: nothing trained is lost, little is asked in vain, all heals by itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import get_session

from conceptry.actions import Action
from conceptry.check import Check
from conceptry.errors import RateLimitedError
from flows.doctor import check_installation
from flows.hub_plan_check import TITLE, plan_of
from flows.look import look
from flows.release import release
from flows.train_concept import train_concept
from flows.watch import watch
from tests.support.hub_plans import PlannedHub
from tests.support.registry_world import World, events_of, last_run
from tests.support.wait import wait_until

SEEDS = count(193000, 100)


@pytest.fixture
def plans(tmp_path: Path) -> Iterator[PlannedHub]:
    hub = PlannedHub(tmp_path / "hub")
    hub.set("free")
    yield hub
    hub.stop()


@pytest.fixture
def hub_url(plans: PlannedHub) -> str:
    """The Hub of the world."""
    return plans.url


@contextmanager
def requests(part: str) -> Iterator[list[str]]:
    """Note the paths of the requests to the Hub that contain a text."""
    seen: list[str] = []

    def note(request: httpx2.Request) -> None:
        if part in request.url.path:
            seen.append(request.url.path)

    client = get_session()
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "request": [*hooks["request"], note]}
    yield seen
    client.event_hooks = hooks


def written(world: World, name: str, **spec: object) -> None:
    world.write(name, seed=next(SEEDS), **spec)
    world.push()


def serving(world: World, name: str) -> Action:
    return world.planned(name).serving


def an_hour_later(world: World, name: str) -> None:
    """Let the record of a refusal be an hour old."""
    path = world.installation.work.refused(name)
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"again": datetime(2026, 1, 1, tzinfo=UTC).isoformat()}), encoding="utf-8")


def test_without_a_plan_the_version_is_published_and_the_space_is_held(world: World, plans: PlannedHub) -> None:
    written(world, "free-cat")
    assert train_concept(**world.trained("free-cat")) == "v1"
    ended = last_run("train-concept").state
    assert ended is not None
    assert ended.is_completed()
    assert "v1 published, passed; left to the plan: " in (ended.message or "")
    assert "402" in (ended.message or "")
    assert world.branches("free-cat") == ["main", "v1"]
    released = last_run("release")
    assert (released.state_name, "402" in (released.state.message or "")) == ("Held", True)  # type: ignore[union-attr]

    action = serving(world, "free-cat")
    assert (action.kind, action.reason, action.version) == ("hold", "PaymentRequired", "v1")
    assert (action.sync, action.health) == ("OutOfSync", "Degraded")
    assert "get a plan for local" in action.cause
    assert "Static Spaces are free" in action.cause
    assert world.planned("free-cat").training.reason == "InputsTrained"

    with requests("/repos/create") as asked:
        assert watch(return_state=True).is_completed()
        for _ in range(3):
            assert look(world.installation) is None
        assert asked == [], "not asked in every look"

        an_hour_later(world, "free-cat")
        assert (serving(world, "free-cat").kind, serving(world, "free-cat").health) == ("repair", "Degraded")
        state = watch(return_state=True)
        assert state.is_completed()
        assert "skipped until the next run (free-cat: " in (state.message or "")
        assert len(asked) == 1
        watch()
        assert len(asked) == 1, "and then not before another hour"

    plans.set("pro")
    an_hour_later(world, "free-cat")
    watch()
    assert serving(world, "free-cat").reason == "InSync"
    assert world.there("free-cat").space is not None
    assert not world.installation.work.refused("free-cat").exists()
    watch()
    wait_until(lambda: "healthy" in events_of("free-cat"))
    assert events_of("free-cat").count("degraded") == 1


def test_other_settings_and_a_user_do_not_wait_for_the_hour(world: World, plans: PlannedHub) -> None:
    written(world, "keen-cat")
    train_concept(**world.trained("keen-cat"))
    written(world, "keen-cat", space={"title": "Another"})
    with requests("/repos/create") as asked:
        watch()
        assert len(asked) == 1
    plans.set("pro")
    assert serving(world, "keen-cat").reason == "PaymentRequired"
    assert release("keen-cat") == "v1"
    assert serving(world, "keen-cat").reason == "InSync"


def test_concepts_that_are_refused_alike_are_said_in_one_sentence(world: World) -> None:
    for name in ("alike-cat", "alike-dog"):
        written(world, name)
        train_concept(**world.trained(name))
        an_hour_later(world, name)
    message = watch(return_state=True).message or ""
    assert message.count("402") == 1
    assert "alike-cat, alike-dog: " in message


def test_hardware_that_cannot_be_paid_is_held_and_the_space_serves_without_it(world: World, plans: PlannedHub) -> None:
    plans.set("pro", can_pay=False)
    written(world, "big-cat", space={"hardware": "t4-small"})
    assert train_concept(**world.trained("big-cat")) == "v1"
    space = world.there("big-cat").space
    assert space is not None
    assert (space.release, space.serving) == ("v1", None)
    action = serving(world, "big-cat")
    assert (action.kind, action.reason) == ("hold", "PaymentRequired")
    assert "space.hardware: cpu-basic" in action.cause
    with requests("/hardware") as asked:
        watch()
        assert asked == []
    written(world, "big-cat", space={"hardware": "cpu-basic"})
    watch()
    assert serving(world, "big-cat").reason == "InSync"


def test_a_token_without_the_right_is_held_and_not_tried_in_every_watch(
    world: World, plans: PlannedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans.set(None)
    written(world, "mute-cat")
    train_concept(**world.trained("mute-cat"))
    written(world, "mute-cat", space={"title": "Another"})
    with monkeypatch.context() as environment, requests("/local/mute-cat") as asked:
        environment.setenv("CONCEPTRY_HUB_TOKEN", "hf_local_read")
        assert watch(return_state=True).is_completed()
        action = serving(world, "mute-cat")
        assert (action.kind, action.reason, action.health) == ("hold", "HubRefused", "Degraded")
        assert "give it write access to the repos of local" in action.cause
        before = len([path for path in asked if "commit" in path])
        watch()
        assert len([path for path in asked if "commit" in path]) == before
    an_hour_later(world, "mute-cat")
    watch()
    assert serving(world, "mute-cat").reason == "InSync"


def test_private_storage_that_is_full_interrupts_the_publishing_and_not_the_training(
    world: World, plans: PlannedHub
) -> None:
    plans.set("pro", private_bytes=1)
    written(world, "shy-cat", space={"private": True})
    parameters = world.trained("shy-cat")
    state = train_concept(**parameters, return_state=True)
    assert (state.name, state.is_failed()) == ("Interrupted", True)
    assert "storage limit reached" in (state.message or "")
    assert "not before " in (state.message or "")
    plans.set("pro")
    assert train_concept(**parameters) == "v1"


def test_the_commits_of_the_hour_are_waited_for(world: World, plans: PlannedHub) -> None:
    plans.set("pro")
    written(world, "busy-cat")
    train_concept(**world.trained("busy-cat"))
    written(world, "busy-cat", space={"title": "Another"})
    plans.set("pro", commits=0)
    with requests("/commit/") as asked:
        state = watch(return_state=True)
        assert state.is_completed()
        assert "busy-cat: " in (state.message or "")
        assert "takes no more commits for now" in (state.message or "")
        action = serving(world, "busy-cat")
        assert (action.kind, action.deferral) == ("render", "HubLimit")
        assert "0 per hour" in (action.deferred or "")
        assert look(world.installation) is None or world.plan().due == ()
        watch()
        assert len(asked) == 1
    world.installation.work.hub_limit.unlink()
    plans.set("pro")
    watch()
    assert serving(world, "busy-cat").reason == "InSync"


@pytest.mark.parametrize("commits", [0, 1, 2, 3, 4])
def test_a_quota_that_ends_anywhere_costs_no_training(world: World, plans: PlannedHub, commits: int) -> None:
    """Of the commits of a first version: the reserved card, the version, the card, the Space."""
    plans.set("pro", commits=commits)
    written(world, "slow-cat")
    parameters = world.trained("slow-cat")
    state = train_concept(**parameters, return_state=True)
    if commits < 2:
        assert (state.name, "takes no more commits" in (state.message or "")) == ("Interrupted", True)
    else:
        assert state.is_completed()
    plans.set("pro")
    world.installation.work.hub_limit.unlink(missing_ok=True)
    assert train_concept(**parameters) == "v1"
    assert world.branches("slow-cat") == ["main", "v1"]
    watch()
    assert serving(world, "slow-cat").reason == "InSync"


def test_what_is_to_be_hidden_does_not_wait_for_a_quota_of_commits(world: World, plans: PlannedHub) -> None:
    plans.set("pro")
    written(world, "seen-cat")
    train_concept(**world.trained("seen-cat"))
    plans.set("pro", commits=0)
    written(world, "seen-cat", space={"title": "Another"})
    assert "no more commits" in (watch(return_state=True).message or "")
    written(world, "seen-cat", space={"private": True, "title": "Another"})
    watch()
    assert world.there("seen-cat").public is False


def checked(world: World) -> Check:
    """What `conceptry doctor` says of the account's plan."""
    return next(check for check in check_installation(world.installation) if check.title == TITLE)


def test_the_doctor_says_before_a_run_what_the_plan_will_not_allow(world: World, plans: PlannedHub) -> None:
    world.push()
    assert (checked(world).ok, "a free account" in checked(world).found) == (True, True)
    written(world, "poor-cat", space={"hardware": "t4-small"})
    written(world, "calm-cat", release="none")
    found = checked(world)
    assert (found.ok, "poor-cat" in found.found, "calm-cat" in found.found) == (False, True, False)
    assert "402" in found.found
    assert "PRO" in found.next_step
    plans.set("pro", can_pay=False)
    assert (checked(world).ok, "no way to pay" in checked(world).found) == (False, True)
    plans.set("pro")
    assert (checked(world).ok, "local is PRO" in checked(world).found) == (True, True)


@pytest.mark.parametrize(
    ("organization", "words", "apps"),
    [
        ({"plan": "team"}, "the plan team", True),
        ({"plan": None, "isEnterprise": True}, "the plan enterprise", True),
        ({"plan": None, "canPay": True}, "a free organization", False),
        ({}, "does not say", True),
    ],
)
def test_the_plan_of_an_organization_counts_where_it_owns_the_repos(
    organization: dict[str, object], words: str, apps: bool
) -> None:
    account = {"name": "anna", "isPro": False, "orgs": [{"name": "Team", **organization}]}
    plan = plan_of(account, "team")
    assert (words in plan.words, plan.apps) == (True, apps)
    assert plan_of(account, "anna").apps is False
    assert plan_of({"name": "anna"}, "anna").apps is True


def test_a_limit_of_requests_ends_a_watch_without_an_error_and_degrades_nothing(
    world: World, plans: PlannedHub
) -> None:
    plans.set("pro")
    written(world, "read-cat")
    train_concept(**world.trained("read-cat"))
    watch()
    plans.set("pro", api=0, window=86_400)
    with requests("/api/") as asked:
        state = watch(return_state=True)
        assert (state.name, state.is_completed()) == ("Limited", True)
        assert "the 0 API requests of 1440 minutes are used up" in (state.message or "")
        assert watch(return_state=True).name == "Limited"
        with pytest.raises(RateLimitedError, match="not before "):
            look(world.installation)
        assert len(set(asked)) <= 2
    plans.set("pro")
    watch()
    assert serving(world, "read-cat").reason == "InSync"
    wait_until(lambda: "healthy" in events_of("read-cat"))
    assert "degraded" not in events_of("read-cat")


def test_what_is_to_be_taken_down_does_not_wait_for_a_limit_of_requests_for_files(
    world: World, plans: PlannedHub
) -> None:
    plans.set("pro")
    for name in ("lost-cat", "served-cat"):
        written(world, name)
        train_concept(**world.trained(name))
    # Its versions have to be read from files, since nobody knows them from its card any longer.
    world.api().upload_file(
        path_or_fileobj=b"---\nlicense: mit\n---\n# Mine\n", path_in_repo="README.md", repo_id="local/lost-cat"
    )
    plans.set("pro", resolvers=0, window=86_400)
    with pytest.raises(RateLimitedError):
        look(world.installation)
    world.write("served-cat", release="none")
    world.push()
    work = look(world.installation)
    assert work is not None
    assert (work.urgent, work.title) == (True, "release served-cat")
    assert watch(return_state=True).name == "Limited"
    assert world.api().get_space_runtime("local/served-cat").stage == "PAUSED"
    plans.set("pro")
    watch()
    assert serving(world, "served-cat").reason == "NothingReleased"
