"""The index of versions in the card's front matter: bounded, and enough for a plan."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from conceptry.errors import HubError
from conceptry.fingerprint import training_keys
from conceptry.markdown import dump_front_matter, split_front_matter
from conceptry.reasons import GateReason
from conceptry.version import Evidence, LiveConcept, Thresholds, Version
from conceptry.version_index import dump_file, dump_index, parse_file, parse_index
from tests.support.plan_worlds import TINY, act, serving_of, spec_of, version_of, wanted_of

SHORT = (
    *("number", "fingerprint", "inputs", "commit", "gate", "gate_reason", "dvc_md5", "created", "retrain"),
    "judged",
)


def digest(*parts: object, length: int = 64) -> str:
    return sha256(repr(parts).encode()).hexdigest()[:length]


def many(count: int, images: int = 100, *, same: bool = False) -> list[Version]:
    """Versions as a year of pushes makes them: nothing is the same in two; or, with `same`, a year of retrainings."""
    made = []
    for number in range(1, count + 1):
        inputs = digest("inputs", 0 if same else number)
        keys = training_keys(spec_of(training={"seed": 0 if same else number}), TINY)
        made.append(
            Version(
                number,
                digest("retrained", number) if same else inputs,
                inputs,
                digest("commit", number, length=40),
                ("passed", "rejected", "undecided")[number % 3],
                digest("dvc", 0 if same else number, length=32) + ".dir",
                f"2026-{1 + number % 12:02}-{1 + number % 28:02}T12:00:{number % 60:02}+00:00",
                retrain="2026-07-01" if same else None,
                loss=0.05,
                seconds=100.0,
                clip=71.5,
                gate_reason=list(GateReason)[number % len(GateReason)],
                evidence=Evidence("initializer", 0.5, 0.4, 0.6, 0.04, 0.95),
                judged=None if number % 9 == 0 else Thresholds(0.04, 0.95, (None, 1.5)[number % 7 == 0]),
                images=tuple(sorted(digest(number, image, length=32) for image in range(images))),
                spec=keys,
            )
        )
    return made


def through_a_card(versions: list[Version]) -> tuple[str, dict[str, Any]]:
    """The front matter that a card has, and what the Hub reads in it."""
    text = dump_front_matter({"conceptry": {"concept": "my-cat", **dump_index(versions)}})
    return text, split_front_matter(text)[0]["conceptry"]


@pytest.mark.parametrize("same", [False, True])
def test_a_year_of_versions_with_a_hundred_pictures_fits(same: bool) -> None:
    versions = many(365, same=same)
    text, data = through_a_card(versions)

    assert len(text.encode()) < 64_000
    index = parse_index(data)
    assert (index.suffices, index.complete) == (True, False)
    assert index.versions[-1] == versions[-1], "a plan lists what changed since the newest, image by image"
    for short, full in zip(index.versions, versions, strict=True):
        assert [getattr(short, key) for key in SHORT] == [getattr(full, key) for key in SHORT]
        assert {key: full.spec[key] for key in ("base_model", "base_digest", "recipe", "num_vectors")}.items() <= dict(
            short.spec
        ).items()
    assert parse_file(dump_file("my-cat", versions)) == tuple(versions)


def test_few_versions_are_listed_as_ever() -> None:
    versions = many(4, images=10)
    assert dump_index(versions) == {"versions": [version.to_index() for version in versions]}
    index = parse_index(through_a_card(versions)[1])
    assert (index.versions, index.complete, index.suffices) == (tuple(versions), True, True)


@pytest.mark.parametrize(("count", "images"), [(1500, 3), (2, 5000)])
def test_what_does_not_fit_is_elsewhere(count: int, images: int) -> None:
    text, data = through_a_card(many(count, images))
    assert len(text.encode()) < 64_000
    assert not parse_index(data).suffices


def test_a_plan_needs_no_more_of_older_versions() -> None:
    """A revert to any old inputs finds its version, also while the DVC remote is away; a release of any number too."""
    old = [version_of(number, letters) for number, letters in enumerate(("ab", "abc", "abd"), start=1)]
    versions = [*old, *(replace(version, number=3 + version.number, judged=None) for version in many(200))]
    live = parse_index(through_a_card(versions)[1]).versions
    assert live[1].keys, "it is not in full"
    space = serving_of(versions[-1])
    back = act(wanted_of("abc"), there=LiveConcept("my-cat", live, space)).serving
    assert (back.kind, back.version, back.fingerprint) == ("adopt", "v2", old[1].fingerprint)
    away = replace(wanted_of("abc"), images=None)
    assert act(away, there=LiveConcept("my-cat", live, space)).serving.version == "v2"
    pinned = act(wanted_of("abc", release="v2"), there=LiveConcept("my-cat", live, serving_of(old[1]))).serving
    assert pinned.kind == "nothing", "its Space is rendered from the same fingerprint"


def test_what_a_person_changed_is_refused() -> None:
    _, data = through_a_card(many(100))
    for line in ("1 passed", data["older"][0].replace(" passed", " perhaps").replace(" rejected", " perhaps")):
        with pytest.raises(HubError, match="index of versions cannot be read"):
            parse_index({**data, "older": [line]})
    with pytest.raises(HubError, match="index of versions cannot be read"):
        parse_index({**data, "older": data["older"][1:]})
    assert parse_file(b"{") is None


def test_a_moment_or_digest_of_another_form_is_kept() -> None:
    odd = replace(many(1)[0], created="2026-11-01T12:00:00.5", dvc_md5="none", commit="a version")
    versions = [odd, *(replace(version, number=version.number + 1) for version in many(60))]
    assert [getattr(parse_index(through_a_card(versions)[1]).versions[0], key) for key in SHORT] == [
        getattr(odd, key) for key in SHORT
    ]
