"""A plan that would take many concepts down needs a yes; a few go at once."""

from dataclasses import replace

import pytest

from conceptry.actions import Plan
from conceptry.desired import Desired
from conceptry.guards import confirmed, guard_served
from conceptry.plan import plan
from conceptry.plan_inputs import PlanInputs
from conceptry.policy import Guards
from conceptry.version import Live, LiveConcept, MainState, SpaceState
from tests.support.plan_worlds import BASES, TEMPLATES, serving_of, spec_of, version_of, wanted_of

V1, V2 = version_of(1), version_of(2, "abcd")
WITHOUT = "without"


def planned(count: int, changed: int, how: str, guards: Guards | None = None) -> Plan:
    """A plan of concepts that serve v2, some of which git wants otherwise."""
    names = [f"concept-{number}" for number in range(count)]
    wanted, spaces = {}, {}
    for number, name in enumerate(names):
        release = how if number < changed else "v2"
        spaces[name] = serving_of(V2, placeholder_token=f"<{name}>")
        if release != WITHOUT:
            token = f"<{name}>"
            wanted[name] = replace(wanted_of("abcd"), name=name, spec=spec_of(release=release, placeholder_token=token))
    live = Live({name: LiveConcept(name, (V1, V2), spaces[name], MainState("v2")) for name in names})
    desired = Desired("r" * 40, wanted)
    return guard_served(plan(desired, live, PlanInputs(BASES, TEMPLATES)), live, guards or Guards())


def taken(made: Plan) -> int:
    return sum(action.kind in ("archive", "release") for action in made.due)


@pytest.mark.parametrize("how", [WITHOUT, "none", "v1"])
def test_many_at_once_need_a_yes(how: str) -> None:
    made = planned(200, 41, how)
    assert taken(made) == 0
    first = made.concepts[0].serving
    assert first.deferral == "ConfirmationNeeded"
    assert "41 of 200 concepts would be archived or released otherwise at once (concept-0, " in str(first.deferred)
    assert taken(confirmed(made)) == 41


@pytest.mark.parametrize(("count", "changed"), [(200, 40), (10, 3), (3, 3), (1, 1)])
def test_a_few_go_at_once(count: int, changed: int) -> None:
    assert taken(planned(count, changed, WITHOUT)) == changed


def test_the_limit_is_a_key() -> None:
    assert taken(planned(10, 4, "none")) == 0
    assert taken(planned(10, 4, "none", Guards(share=0.4))) == 4
    assert taken(planned(10, 10, "none", Guards(share=1))) == 10
    assert taken(planned(10, 1, "none", Guards(share=0, at_least=0))) == 0


def test_concepts_that_begin_to_be_served_need_no_yes() -> None:
    names = [f"concept-{number}" for number in range(10)]
    wanted = {name: replace(wanted_of(), name=name) for name in names}
    live = Live({name: LiveConcept(name, (V1,), SpaceState(None, None, paused=True)) for name in names})
    made = guard_served(plan(Desired("r" * 40, wanted), live, PlanInputs(BASES, TEMPLATES)), live, Guards())
    assert len(made.due) == 10
