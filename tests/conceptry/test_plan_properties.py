"""What holds for every world: carrying out the plan ends, and ends in what git asks for."""

from dataclasses import replace
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from conceptry.actions import IDLE, Action
from conceptry.desired import DesiredConcept
from conceptry.fingerprint import serving_fingerprint, training_fingerprint
from conceptry.planner import choose_release
from conceptry.version import SpaceState, Version
from tests.support.plan_worlds import TEMPLATES, TINY, act, version_of, wanted_of

LETTERS = st.sampled_from(["ab", "abc", "abcd", "acd", "bcde", "ef"])
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "release": st.sampled_from(["latest", "none", "v1", "v2", "v9"]),
        "suspend": st.booleans(),
        "retrain": st.sampled_from(["never", {"every_days": 30}]),
        "space": st.sampled_from([{}, {"title": "My cat"}]),
        "training": st.sampled_from([{}, {"max_steps": 3000}, {"held_out": 3}]),
    },
)
WANTED = st.builds(lambda letters, changes: wanted_of(letters, **changes), LETTERS, CHANGES)
UNPUSHED = WANTED.map(lambda wanted: replace(wanted, images=None))
PARTLY = WANTED.map(lambda wanted: replace(wanted, missing=wanted.images[:1] if wanted.images else ()))
HISTORY = st.lists(st.tuples(LETTERS, st.sampled_from(["passed", "rejected", "undecided"])), max_size=3).map(
    lambda history: tuple(version_of(number, letters, gate=gate) for number, (letters, gate) in enumerate(history, 1))
)
SPACES = st.none() | st.builds(
    SpaceState, st.sampled_from([None, "v1", "v2", "v9"]), st.sampled_from([None, "edited", "title=0"]), st.booleans()
)


def carry_out(
    action: Action, wanted: DesiredConcept | None, versions: tuple[Version, ...], space: SpaceState | None
) -> tuple[tuple[Version, ...], SpaceState | None]:
    """Do to the Hub what the flows do."""
    if action.kind == "archive" or wanted is None or wanted.spec is None:
        return versions, replace(space, release=None, paused=True) if space else None
    if action.kind == "train":
        letters = "".join(image.relpath[0] for image in wanted.images or ())
        made = version_of(len(versions) + 1, letters, created="2026-12-24T00:00:00Z", fingerprint=action.fingerprint)
        made = replace(made, inputs=_inputs(wanted), dvc_md5=wanted.dvc_md5 or "")
        return (*versions, made), space
    release = next((version for version in versions if version.name == action.version), None)
    serving = serving_fingerprint(wanted.spec, release, TEMPLATES)
    return versions, SpaceState(release.name if release else None, serving, paused=release is None)


def _inputs(wanted: DesiredConcept) -> str:
    assert wanted.spec is not None
    assert wanted.images is not None
    return training_fingerprint(wanted.spec, wanted.images, TINY)


@settings(max_examples=150)
@given(st.none() | WANTED | UNPUSHED | PARTLY, HISTORY, SPACES)
def test_carrying_out_the_plan_comes_to_rest(
    wanted: DesiredConcept | None, versions: tuple[Version, ...], space: SpaceState | None
) -> None:
    today = date(2026, 12, 24)
    kinds = []
    for _ in range(5):
        one = act(wanted, *versions, space=space, today=today) if wanted or versions or space else None
        todo = [action for action in one.actions if action.kind not in IDLE] if one else []
        if not todo:
            break
        for action in todo:
            kinds.append(action.kind)
            versions, space = carry_out(action, wanted, versions, space)
    else:
        raise AssertionError(f"the plan does not come to rest: {kinds}")
    assert kinds.count("train") <= 1
    if wanted and wanted.spec and wanted.images and one and {action.kind for action in one.actions} == {"nothing"}:
        release = choose_release(wanted.spec, versions, _inputs(wanted))
        assert (space.release if space else None) == (release.name if release else None)


@given(WANTED | UNPUSHED | PARTLY, HISTORY, SPACES)
def test_suspended_concepts_change_only_what_is_urgent(
    wanted: DesiredConcept, versions: tuple[Version, ...], space: SpaceState | None
) -> None:
    spec = wanted.spec and wanted.spec.model_copy(update={"suspend": True})
    one = act(replace(wanted, spec=spec), *versions, space=space)
    urgent = ("ReleaseNone", "ReleasePinned", "InputsPublished")
    assert one.serving.kind == "hold" or one.serving.reason in urgent
    assert one.training.kind != "train"


@given(WANTED | UNPUSHED | PARTLY, HISTORY, SPACES, st.sampled_from(["running", "failed"]))
def test_serving_does_not_depend_on_whether_a_training_runs_or_failed(
    wanted: DesiredConcept, versions: tuple[Version, ...], space: SpaceState | None, attempt: str
) -> None:
    before = act(wanted, *versions, space=space)
    fingerprint = before.training.fingerprint
    after = act(wanted, *versions, space=space, attempts={fingerprint: attempt} if fingerprint else {})
    assert after.serving == before.serving


@given(WANTED, HISTORY, SPACES)
def test_what_is_published_is_never_trained_again(
    wanted: DesiredConcept, versions: tuple[Version, ...], space: SpaceState | None
) -> None:
    action = act(wanted, *versions, space=space).training
    if action.kind == "train":
        assert action.fingerprint not in {version.fingerprint for version in versions}


@given(LETTERS, HISTORY, SPACES)
def test_rejected_versions_are_only_released_by_name_and_stay_if_they_are_served(
    letters: str, versions: tuple[Version, ...], space: SpaceState | None
) -> None:
    action = act(wanted_of(letters), *versions, space=space).serving
    rejected = {version.name for version in versions if version.gate != "passed"} - {space.release if space else None}
    assert action.version not in rejected
