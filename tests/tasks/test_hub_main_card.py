"""The card on main as a record: bounded, sealed, and recovered when a person changed or deleted it."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import CommitOperationDelete

from benchmarks.requests import counting
from conceptry.errors import HubError
from conceptry.installation import HubTarget
from conceptry.markdown import split_front_matter
from conceptry.version import Version
from tasks.hub import (
    HubSession,
    complete,
    find_card_edits,
    list_live,
    publish,
    read_live,
    read_versions,
    update_main,
)
from tests.support.bundles import make_bundle


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card has room for one version in full, as with hundreds of versions."""
    monkeypatch.setattr("conceptry.version_index.IN_FULL", 0)


def three(hub: HubTarget, name: str, folder: Path) -> tuple[Version, ...]:
    for digit in "123":
        bundle = folder / name / digit
        bundle.parent.mkdir(exist_ok=True)
        publish(HubSession(hub), name, make_bundle(bundle, name, fingerprint=digit * 64))
    return update_main(HubSession(hub), name, "v2")


def main(hub: HubTarget, name: str) -> str:
    model = HubSession(hub).model(name)
    assert model is not None
    return str(model.sha)


def put(hub: HubTarget, name: str, path: str, content: bytes) -> None:
    HubSession(hub).api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=hub.repo(name))


@pytest.mark.usefixtures("narrow")
def test_an_index_that_does_not_fit_is_read_in_two_listings(hub: HubTarget, tmp_path: Path) -> None:
    versions = three(hub, "wide", tmp_path)
    with counting() as counter:
        live = list_live(HubSession(hub)).concepts["wide"]
    assert len(counter.requests) == 2, counter.requests

    assert [one.number for one in live.versions] == [1, 2, 3]
    assert live.versions[2] == versions[2]
    assert (live.versions[0].keys, live.versions[0].images) != (None, versions[0].images)
    assert [one.fingerprint for one in live.versions] == [one.fingerprint for one in versions]
    assert complete(HubSession(hub), live).versions == versions
    assert read_live(HubSession(hub), "wide").versions == versions
    # The next release reads no manifest of a version that it knows.
    with counting() as counter:
        assert update_main(HubSession(hub), "wide", "v1") == versions
    assert sum("concept.json" in request for request in counter.requests) == 1, counter.requests


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("change", ["deleted", "other versions", "no json"])
def test_a_list_of_versions_that_was_changed_is_put_back(hub: HubTarget, tmp_path: Path, change: str) -> None:
    name = change.replace(" ", "-")
    versions = three(hub, name, tmp_path)
    session = HubSession(hub)
    before = session.read(name, "versions.json", main(hub, name))
    if change == "deleted":
        session.commit(name, "mine", [CommitOperationDelete("versions.json")])
    else:
        put(hub, name, "versions.json", b"{" if change == "no json" else b'{"versions": []}')

    assert [str(one.reason) for one in find_card_edits(HubSession(hub), name, main(hub, name))] == ["CardEdited"]
    assert read_live(HubSession(hub), name).versions == versions
    assert update_main(HubSession(hub), name, "v2") == versions
    assert HubSession(hub).read(name, "versions.json", main(hub, name)) == before
    assert find_card_edits(HubSession(hub), name, main(hub, name)) == ()


@pytest.mark.usefixtures("narrow")
def test_the_file_with_all_versions_follows_the_index_while_one_version_stays_released(
    hub: HubTarget, tmp_path: Path
) -> None:
    three(hub, "follows", tmp_path)
    publish(HubSession(hub), "follows", make_bundle(tmp_path / "4", "follows", fingerprint="4" * 64))
    versions = update_main(HubSession(hub), "follows", "v2")
    live = read_live(HubSession(hub), "follows")
    assert (live.versions, live.drift) == (versions, ()), "the card and versions.json agree"


def test_an_index_that_fits_again_needs_no_list(
    hub: HubTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        context.setattr("conceptry.version_index.IN_FULL", 0)
        versions = three(hub, "fits", tmp_path)
        assert "versions.json" in HubSession(hub).files("fits", main(hub, "fits"))
    assert update_main(HubSession(hub), "fits", "v3") == versions
    assert "versions.json" not in HubSession(hub).files("fits", main(hub, "fits"))


def test_a_card_of_an_older_release_is_read_and_is_no_drift(hub: HubTarget, tmp_path: Path) -> None:
    versions = three(hub, "older", tmp_path)
    session = HubSession(hub)
    data, text = split_front_matter((session.read("older", "README.md", main(hub, "older")) or b"").decode())
    for key in ("seal", "files"):
        del data["conceptry"][key]
    put(hub, "older", "README.md", f"---\n{yaml.safe_dump(data)}---\n{text}".encode())

    assert list_live(HubSession(hub)).concepts["older"].versions == versions
    assert find_card_edits(HubSession(hub), "older", main(hub, "older")) == ()
    assert update_main(HubSession(hub), "older", "v3") == versions


@pytest.mark.parametrize("known_by", ["git", "its Space"])
def test_a_card_that_was_deleted_is_no_loss(hub: HubTarget, tmp_path: Path, known_by: str) -> None:
    name = known_by.replace(" ", "-").lower()
    versions = three(hub, name, tmp_path)
    session = HubSession(hub)
    session.commit(name, "mine", [CommitOperationDelete("README.md")])
    if known_by == "git":
        live = list_live(HubSession(hub), [name]).concepts[name]
        assert name not in list_live(HubSession(hub)).concepts
    else:
        session.api.create_repo(hub.repo(name), repo_type="space", space_sdk="gradio")
        stamp = b"---\nsdk: gradio\nconceptry: {release: v2}\n---\n"
        session.api.upload_file(
            path_or_fileobj=stamp, path_in_repo="README.md", repo_id=hub.repo(name), repo_type="space"
        )
        live = list_live(HubSession(hub)).concepts[name]
    assert (live.versions, [str(one.reason) for one in live.drift]) == (versions, ["CardMissing"])
    assert update_main(HubSession(hub), name, "v2") == versions == read_versions(HubSession(hub), name)
    assert list_live(HubSession(hub)).concepts[name].drift == ()


def test_a_repo_that_never_had_a_card_of_ours_is_somebody_elses(hub: HubTarget, tmp_path: Path) -> None:
    HubSession(hub).api.create_repo(hub.repo("theirs"))
    put(hub, "theirs", "README.md", b"---\nlicense: mit\n---\n# Release v1\n")
    assert "theirs" not in list_live(HubSession(hub)).concepts
    assert list_live(HubSession(hub), ["theirs"]).concepts["theirs"].holder
    with pytest.raises(HubError, match="was not made by Conceptry"):
        publish(HubSession(hub), "theirs", make_bundle(tmp_path / "b", "theirs", fingerprint="9" * 64))
    with pytest.raises(HubError, match="was not made by Conceptry"):
        update_main(HubSession(hub), "theirs", None)
