"""Which Spaces get new templates now: canary, failures, how many at a time."""

from dataclasses import replace

import pytest

from conceptry.actions import Action, Plan
from conceptry.desired import Desired, DesiredConcept
from conceptry.plan import plan
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import Policy
from conceptry.template_rollout import AT_ONCE, defer_renderings
from conceptry.version import Live, LiveConcept, SpaceState
from tests.support.plan_worlds import BASES, TEMPLATES, serving_of, version_of, wanted_of

V1 = version_of(1)
SHA = "a" * 40


class Registry:
    """Twenty-four Spaces that were all rendered from older templates."""

    def __init__(self, count: int = 24) -> None:
        self.names = [f"cat-{number:02}" for number in range(count)]
        self.wanted: dict[str, DesiredConcept] = {name: replace(wanted_of(), name=name) for name in self.names}
        self.spaces: dict[str, SpaceState | None] = dict.fromkeys(self.names, serving_of(V1, templates="older"))

    def rendered(self, *names: str, stage: str | None, running_sha: str | None = SHA) -> None:
        """Let Spaces have the new templates, in a stage."""
        for name in names:
            space = replace(serving_of(V1), sha=SHA, stage=stage, running_sha=running_sha)
            self.spaces[name] = replace(space, paused=stage == "PAUSED")

    def plan(self, policy: Policy | None = None) -> Plan:
        live = Live({name: LiveConcept(name, (V1,), self.spaces[name]) for name in self.spaces})
        made = plan(Desired("r" * 40, self.wanted), live, PlanInputs(BASES, TEMPLATES))
        return defer_renderings(made, live, TEMPLATES, policy or Policy())

    def starts(self, policy: Policy | None = None) -> list[str]:
        return [action.concept for action in self.plan(policy).due]

    def waiting(self, policy: Policy | None = None) -> Action:
        """The last one that waits."""
        return [action for action in self.plan(policy).changes if action.deferral][-1]


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_one_goes_first_and_a_few_at_a_time_follow_when_it_runs(registry: Registry) -> None:
    assert registry.starts() == ["cat-00"]
    assert registry.waiting().deferral == "TemplatesCanaryFirst"
    assert "the canary cat-00 gets the new templates first" in str(registry.waiting().deferred)
    assert len(registry.plan().changes) == 24, "they are still to be rendered"
    registry.rendered("cat-00", stage="RUNNING")
    assert registry.starts() == registry.names[1 : AT_ONCE + 1]
    assert registry.waiting().deferral == "TemplatesInProgress"
    registry.rendered(*registry.names[1 : AT_ONCE + 1], stage="BUILDING")
    assert registry.starts() == []
    assert "in progress: cat-01, cat-02, cat-03, ..." in str(registry.waiting().deferred)
    registry.rendered(*registry.names[1:4], stage="RUNNING")
    assert registry.starts() == registry.names[AT_ONCE + 1 : AT_ONCE + 4]
    registry.rendered(*registry.names, stage="RUNNING")
    assert registry.plan().changes == ()


@pytest.mark.parametrize("stage", ["BUILDING", "APP_STARTING", "RUNNING_BUILDING", "RUNNING_APP_STARTING", "NEW"])
def test_the_others_wait_while_the_canary_is_being_built(registry: Registry, stage: str) -> None:
    registry.rendered("cat-00", stage=stage)
    assert registry.starts() == []
    assert "the Space of the canary cat-00 is being built with the new templates" in str(registry.waiting().deferred)


def test_a_stage_of_an_earlier_commit_says_nothing(registry: Registry) -> None:
    for stage in ("RUNNING", "RUNTIME_ERROR"):
        registry.rendered("cat-00", stage=stage, running_sha="b" * 40)
        assert registry.starts() == []
        assert registry.waiting().deferral == "TemplatesCanaryFirst"
    registry.rendered("cat-00", stage="RUNNING", running_sha=None)
    assert len(registry.starts()) == AT_ONCE, "a Hub that does not say which commit runs is believed"


@pytest.mark.parametrize("stage", ["PAUSED", "SLEEPING", "STOPPED", None])
def test_a_canary_that_shows_nothing_holds_up_nobody(registry: Registry, stage: str | None) -> None:
    registry.rendered("cat-00", stage=stage)
    repaired = ["cat-00"] if stage == "PAUSED" else []
    assert registry.starts() == [*repaired, *registry.names[1 : AT_ONCE + 1]]
    registry.rendered("cat-01", "cat-02", stage="RUNTIME_ERROR")
    assert registry.starts() == repaired
    assert "2 of 2 Spaces failed" in str(registry.waiting().deferred), "nor does it count as one that runs"


@pytest.mark.parametrize("stage", ["BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR", "NO_APP_FILE"])
def test_nobody_follows_a_canary_that_failed_unless_another_is_named(registry: Registry, stage: str) -> None:
    registry.rendered("cat-00", stage=stage)
    assert registry.starts() == []
    assert registry.waiting().deferral == "TemplatesCanaryFailed"
    assert "see its log on the Hub" in str(registry.waiting().deferred)
    another = Policy(canary="cat-05")
    assert registry.starts(another) == ["cat-05"]
    registry.rendered("cat-05", stage="BUILDING")
    assert registry.starts(another) == []
    registry.rendered("cat-05", stage="RUNNING")
    assert len(registry.starts(another)) == AT_ONCE, "one of two is not many"


def test_the_canary_can_be_named(registry: Registry) -> None:
    assert registry.starts(Policy(canary="cat-07")) == ["cat-07"]
    assert registry.starts(Policy(canary="no-such-one")) == ["cat-00"]


def test_a_space_that_runs_is_rather_the_canary_than_one_that_failed_before(registry: Registry) -> None:
    older = serving_of(V1, templates="older")
    registry.spaces["cat-00"] = replace(older, stage="RUNTIME_ERROR")
    assert registry.starts() == ["cat-01"]
    registry.spaces["cat-09"] = replace(older, stage="RUNNING")
    assert registry.starts() == ["cat-09"]
    registry.rendered(*registry.names[1:], stage="RUNNING")
    assert registry.starts() == ["cat-00"], "it gets them, too"


def test_a_release_with_another_part_of_the_fingerprint_is_rolled_out_too(registry: Registry) -> None:
    now = serving_of(V1).serving or ""
    for before in (now.replace("emoji=", "mood="), now.replace("templates=", "templates=0")):
        registry.spaces = dict.fromkeys(registry.names, SpaceState("v1", before))
        assert {action.reason for action in registry.plan().changes} == {"TemplatesChanged"}
        assert registry.starts() == ["cat-00"]
    registry.spaces = dict.fromkeys(registry.names, SpaceState("v1", now.replace("emoji=", "emoji=0")))
    assert len(registry.starts()) == 24, "a changed value is an edit"


@pytest.mark.parametrize("how", ["removed", "none", "suspended", "deleted"])
def test_the_next_one_is_the_canary_when_it_is_withdrawn(registry: Registry, how: str) -> None:
    registry.rendered("cat-00", stage="BUILDING")
    if how == "removed":
        del registry.wanted["cat-00"]
        registry.spaces["cat-00"] = SpaceState(None, None, paused=True)
    elif how == "none":
        registry.wanted["cat-00"] = replace(wanted_of(release="none"), name="cat-00")
        registry.spaces["cat-00"] = SpaceState(None, None, paused=True)
    elif how == "deleted":
        registry.spaces["cat-00"] = None
    else:
        registry.wanted["cat-00"] = replace(wanted_of(suspend=True), name="cat-00")
        registry.spaces["cat-00"] = serving_of(V1, templates="older")
    assert "cat-01" in registry.starts()
    assert "cat-02" not in registry.starts()


def test_it_stops_when_too_many_fail(registry: Registry) -> None:
    registry.rendered(*registry.names[:8], stage="RUNNING")
    registry.rendered("cat-08", stage="BUILD_ERROR")
    assert registry.starts() == registry.names[9 : 9 + AT_ONCE], "one is not many"
    registry.rendered("cat-09", "cat-10", stage="RUNTIME_ERROR")
    assert registry.starts() == []
    stopped = registry.waiting()
    assert stopped.deferral == "TemplatesStopped"
    assert "3 of 11 Spaces failed with the new templates (cat-08, cat-09, cat-10)" in str(stopped.deferred)
    assert registry.starts(Policy(max_failures=0.5)) == registry.names[11 : 11 + AT_ONCE]


def test_what_people_ask_for_does_not_wait_for_a_rollout(registry: Registry) -> None:
    registry.wanted["cat-03"] = replace(wanted_of(space={"title": "My cat"}), name="cat-03")
    registry.spaces["cat-04"] = None
    registry.spaces["cat-05"] = replace(serving_of(V1, templates="older"), release="v9")
    assert registry.starts() == ["cat-00", "cat-03", "cat-04", "cat-05"]
    registry.rendered("cat-00", stage="BUILD_ERROR")
    assert registry.starts() == ["cat-03", "cat-04", "cat-05"]
