"""What people and plans read on the Hub: main's card with its index, and the listing of everything."""

import base64
import json
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, hf_hub_download

from conceptry.errors import HubError
from conceptry.installation import HubTarget
from conceptry.markdown import split_front_matter
from conceptry.version import Live
from tasks.hub import HubSession, RenderedSpace, list_live, pause_space, publish, push_space, read_versions, update_main
from tests.support.bundles import make_bundle, make_spec
from trainer.metrics import METRICS_VERSION


def readme(hub: HubTarget, name: str, folder: Path, revision: str = "main") -> str:
    path = hf_hub_download(
        hub.repo(name), "README.md", revision=revision, endpoint=hub.endpoint, token="hf_local", local_dir=folder,
        force_download=True,
    )  # fmt: skip
    return Path(path).read_text(encoding="utf-8")


def space_folder(folder: Path, text: str = "app") -> Path:
    folder.mkdir()
    (folder / "README.md").write_text("---\ntitle: 'X'\nsdk: gradio\n---\n\n# X\n", encoding="utf-8")
    (folder / "app.py").write_text(text, encoding="utf-8")
    return folder


def push(hub: HubTarget, name: str, folder: Path, release: str, serving: str, revision: str = "f" * 40) -> str:
    return push_space(
        HubSession(hub),
        name,
        RenderedSpace(folder, release, revision, serving),
        make_spec(base_model="tiny"),
        token=None,
    )


def test_the_card_of_main_is_the_released_versions(hub: HubTarget, tmp_path: Path) -> None:
    first = publish(HubSession(hub), "cat", make_bundle(tmp_path / "a", "cat", fingerprint="1" * 64))
    second = publish(HubSession(hub), "cat", make_bundle(tmp_path / "b", "cat", fingerprint="2" * 64, loss=0.02))

    assert update_main(HubSession(hub), "cat", "v1") == (first, second)

    card = ModelCard(readme(hub, "cat", tmp_path / "m"))
    assert card.data.to_dict()["conceptry"]["release"] == "v1"
    assert card.data.base_model == "CompVis/stable-diffusion-v1-4"
    assert "the card of **v1**" in card.text
    assert "| **v1** (released) | passed | 0.0500 |" in card.text
    assert "| v2 | passed | 0.0200 |" in card.text
    assert "![Samples with the learned token](samples/grid.png)" in card.text
    files = set(HubSession(hub).api.list_repo_files(hub.repo("cat")))
    assert {"samples/grid.png", "learned_embeds.safetensors"} <= files
    assert "concept.json" not in files

    update_main(HubSession(hub), "cat", "v2")
    text = readme(hub, "cat", tmp_path / "m")
    assert "the card of **v2**" in text
    commits = len(HubSession(hub).api.list_repo_commits(hub.repo("cat")))
    update_main(HubSession(hub), "cat", "v2")
    assert len(HubSession(hub).api.list_repo_commits(hub.repo("cat"))) == commits, (
        "nothing changed, nothing was committed"
    )

    update_main(HubSession(hub), "cat", None)
    assert "No version is released" in readme(hub, "cat", tmp_path / "m")
    assert "samples/grid.png" not in HubSession(hub).api.list_repo_files(hub.repo("cat"))
    assert [version.name for version in list_live(HubSession(hub)).concepts["cat"].versions] == ["v1", "v2"]


def test_the_listing_says_all_and_leaves_other_peoples_repos_out(hub: HubTarget, tmp_path: Path) -> None:
    version = publish(
        HubSession(hub), "dog", make_bundle(tmp_path / "a", "dog", fingerprint="3" * 64, verdict="rejected")
    )
    update_main(HubSession(hub), "dog", None)
    push(hub, "dog", space_folder(tmp_path / "s"), "v1", "title=abc", revision=version.commit)
    HubSession(hub).api.create_repo(hub.repo("a-person-s-own"))
    HubSession(hub).api.create_repo(hub.repo("a-person-s-space"), repo_type="space", space_sdk="gradio")

    dog = list_live(HubSession(hub)).concepts["dog"]

    assert dog.versions == (version,)
    assert dog.versions[0].gate == "rejected"
    assert dog.space is not None
    assert (dog.space.release, dog.space.serving, dog.space.paused) == ("v1", "title=abc", False)
    assert not any(name.startswith("a-person") for name in list_live(HubSession(hub)).concepts)

    pause_space(HubSession(hub), "dog")
    space = list_live(HubSession(hub)).concepts["dog"].space
    assert space is not None
    assert (space.release, space.paused) == (None, True)
    assert "app.py" in HubSession(hub).api.list_repo_files(hub.repo("dog"), repo_type="space")

    push(hub, "dog", space_folder(tmp_path / "s2"), "v1", "title=def", revision=version.commit)
    space = list_live(HubSession(hub)).concepts["dog"].space
    assert space is not None
    assert (space.release, space.serving, space.paused) == ("v1", "title=def", False)


@pytest.mark.parametrize(
    "card",
    [
        b"---\nself: 1\nignore_metadata_errors: true\n---\n",
        b"---\n- a\n- b\n---\n",
        b"---\nconceptry: [1]\n---\n",
        b"---\nconceptry: {versions: 3, release: 7, concept: [], files: 1}\n---\n",
        b"---\nconceptry: {versions: [1, {number: '1'}], index: x}\nmodel-index: 7\n---\n",
        b"---\ndatasets: {a: 1}\nmodel-index: [{results: 1}]\nlicense: [x]\n---\n",
        b"---\nconceptry: {versions: '\\uD800', index: [[1, .nan]]}\n---\n",
        b"\xff\xfe---\n",
    ],
)
def test_a_card_that_nobody_thought_of_concerns_its_own_repo(hub: HubTarget, tmp_path: Path, card: bytes) -> None:
    whole = publish(HubSession(hub), "whole", make_bundle(tmp_path / "whole", "whole", fingerprint="8" * 64))
    update_main(HubSession(hub), "whole", "v1")
    api = HubSession(hub).api
    for kind in ("model", "space"):
        api.create_repo("local/weird", repo_type=kind, space_sdk="gradio" if kind == "space" else None, exist_ok=True)
        # Past the client and the Hub, which check front matter.
        write_past_the_hub(hub, kind, card)
    for names in ((), ("weird", "whole")):
        found = list_live(HubSession(hub), names).concepts
        assert [version.name for version in found["whole"].versions] == [whole.name]
        assert found["whole"].error is None
        Live(found).digest()


def write_past_the_hub(hub: HubTarget, kind: str, card: bytes) -> None:
    """Commit a README.md without the checks of the client."""
    header = {"key": "header", "value": {"summary": "x"}}
    content = base64.b64encode(card).decode()
    file = {"key": "file", "value": {"path": "README.md", "content": content, "encoding": "base64"}}
    body = "\n".join(json.dumps(line) for line in (header, file)).encode()
    headers = {"Authorization": "Bearer hf_local", "Content-Type": "application/x-ndjson"}
    url = f"{hub.endpoint}/api/{kind}s/local/weird/commit/main"
    urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10).close()


def test_an_index_that_was_edited_by_hand_is_read_from_the_branches(hub: HubTarget, tmp_path: Path) -> None:
    version = publish(HubSession(hub), "fox", make_bundle(tmp_path / "a", "fox", fingerprint="4" * 64))
    update_main(HubSession(hub), "fox", "v1")
    spoiled = readme(hub, "fox", tmp_path / "m").replace("number: 1", "number: one")
    HubSession(hub).api.upload_file(path_or_fileobj=spoiled.encode(), path_in_repo="README.md", repo_id=hub.repo("fox"))

    assert list_live(HubSession(hub)).concepts["fox"].versions == (version,)
    assert update_main(HubSession(hub), "fox", "v1") == (version,)
    assert split_front_matter(readme(hub, "fox", tmp_path / "m"))[0]["conceptry"]["versions"][0]["number"] == 1


def test_a_branch_deleted_by_hand_is_put_back_before_the_index_is_written(hub: HubTarget, tmp_path: Path) -> None:
    first = publish(HubSession(hub), "owl", make_bundle(tmp_path / "a", "owl", fingerprint="5" * 64))
    second = publish(HubSession(hub), "owl", make_bundle(tmp_path / "b", "owl", fingerprint="6" * 64))
    update_main(HubSession(hub), "owl", "v2")
    HubSession(hub).api.delete_branch(hub.repo("owl"), branch="v1")

    assert update_main(HubSession(hub), "owl", "v2") == (first, second) == read_versions(HubSession(hub), "owl")
    with pytest.raises(HubError, match=r"owl: local/owl has no version v3; published: v1, v2; release one of them"):
        update_main(HubSession(hub), "owl", "v3")


def test_what_somebody_else_made_is_not_written_over(hub: HubTarget, tmp_path: Path) -> None:
    api = HubSession(hub).api
    api.create_repo(hub.repo("theirs"))
    api.upload_file(
        path_or_fileobj=b"---\nlicense: mit\n---\n# Mine\n", path_in_repo="README.md", repo_id=hub.repo("theirs")
    )
    with pytest.raises(HubError, match="was not made by Conceptry; choose another name"):
        publish(HubSession(hub), "theirs", make_bundle(tmp_path / "a", "theirs", fingerprint="7" * 64))
    with pytest.raises(HubError, match="was not made by Conceptry; choose another name"):
        update_main(HubSession(hub), "theirs", None)

    api.create_repo(hub.repo("theirs"), repo_type="space", space_sdk="gradio")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="app.py", repo_id=hub.repo("theirs"), repo_type="space")
    with pytest.raises(HubError, match="the Space local/theirs exists and was not made by Conceptry"):
        push(hub, "theirs", space_folder(tmp_path / "s"), "v1", "title=abc")


def test_a_space_holds_only_what_was_rendered_last(hub: HubTarget, tmp_path: Path) -> None:
    folder = space_folder(tmp_path / "one")
    (folder / "old.py").write_text("old")
    push(hub, "neat", folder, "v1", "title=abc")
    url = push(hub, "neat", space_folder(tmp_path / "two", "new app"), "v2", "title=abc", revision="f" * 40)

    assert url == f"{hub.endpoint}/spaces/local/neat"
    files = HubSession(hub).api.list_repo_files(hub.repo("neat"), repo_type="space")
    assert set(files) - {".gitattributes"} == {"README.md", "app.py", "conceptry.json"}


def test_a_manifest_of_a_later_release_says_to_update(hub: HubTarget, tmp_path: Path) -> None:
    version = publish(HubSession(hub), "young", make_bundle(tmp_path / "a", "young", fingerprint="8" * 64))
    session = HubSession(hub)
    manifest = session.manifest("young", version.commit)
    assert manifest is not None
    document = manifest.model_dump(mode="json")
    document["metrics"]["version"] = METRICS_VERSION + 1
    commit = session.api.upload_file(
        path_or_fileobj=json.dumps(document).encode(), path_in_repo="concept.json", repo_id=hub.repo("young"),
        revision="v1",
    ).oid  # fmt: skip
    with pytest.raises(HubError, match=r"reads up to version 1.*; update Conceptry if a later release wrote it"):
        HubSession(hub).manifest("young", commit)
