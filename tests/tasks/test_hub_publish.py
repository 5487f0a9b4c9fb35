"""Publishing against the local Hub: one vN whatever happens, wherever it stops."""

import threading
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from conceptry.errors import HubError, TransientError
from conceptry.installation import HubTarget
from tasks.hub import HubSession, download, find_version, publish, read_versions
from tasks.hub.publish import clean_up
from tasks.hub.session import Refs
from tests.support.bundles import make_bundle, make_spec
from tests.support.killed_client import KillAfter, Killed


def refs_of(hub: HubTarget, repo: str) -> Refs:
    """Branches and tags as they are now."""
    refs = HubSession(hub).refs(repo.rpartition("/")[2])
    assert refs is not None
    return refs


def test_a_version_is_one_commit_whole_and_tagged(hub: HubTarget, tmp_path: Path) -> None:
    own = "class EndpointHandler:\n    def __init__(self, path): ...\n    def __call__(self, data): return data\n"
    spec = make_spec(endpoint={"override": {"handler.py": own}})
    bundle = make_bundle(tmp_path / "bundle", "my-cat", fingerprint="ab" * 32, spec=spec)
    assert (bundle / "handler.py").read_text() == own

    version = publish(HubSession(hub), "my-cat", bundle)

    assert (version.name, version.fingerprint, version.gate) == ("v1", "ab" * 32, "passed")
    api, repo = HubSession(hub).api, hub.repo("my-cat")
    refs = refs_of(hub, repo)
    assert refs.tags == {"fp-" + "ab" * 8: version.commit}
    assert set(refs.branches) == {"main", "v1"}
    whole = download(HubSession(hub), "my-cat", "v1", tmp_path / "down")
    for path in bundle.rglob("*"):
        if path.is_file():
            assert (whole / path.relative_to(bundle)).read_bytes() == path.read_bytes()
    titles = [commit.title for commit in api.list_repo_commits(repo, revision="v1")]
    assert titles[0] == "Version of " + "ab" * 8
    assert len(titles) == len(api.list_repo_commits(repo)) + 1


def test_the_same_fingerprint_again_is_the_same_version(hub: HubTarget, tmp_path: Path) -> None:
    first = publish(HubSession(hub), "again", make_bundle(tmp_path / "a", "again", fingerprint="1" * 64))
    other = publish(HubSession(hub), "again", make_bundle(tmp_path / "b", "again", fingerprint="2" * 64))
    # Other bytes under the same fingerprint (its folder was lost, it was trained again): what is published counts.
    again = publish(HubSession(hub), "again", make_bundle(tmp_path / "c", "again", fingerprint="1" * 64, loss=0.01))

    assert (first.name, other.name) == ("v1", "v2")
    assert again == first
    assert find_version(HubSession(hub), "again", "2" * 64) == other
    assert find_version(HubSession(hub), "again", "3" * 64) is None
    assert find_version(HubSession(hub), "nobody", "3" * 64) is None
    assert read_versions(HubSession(hub), "again") == (first, other)


def test_dying_at_any_request_leaves_exactly_one_version(hub: HubTarget, tmp_path: Path, kill_after: KillAfter) -> None:
    bundle = make_bundle(tmp_path / "bundle", "x", fingerprint="c" * 64)
    deaths = 0
    for k in range(1, 100):
        api, repo = HubSession(hub).api, hub.repo(f"dies-{k}")
        api.create_repo(repo)
        start = api.list_repo_refs(repo).branches[0].target_commit
        for branch in ("v1", "by-hand"):
            api.create_branch(repo, branch=branch)
        seen = kill_after(k)
        try:
            publish(HubSession(hub), f"dies-{k}", bundle)
            died = False
        except Killed:
            died = True
        kill_after(0)
        if not died:
            assert len(seen) < k
            break
        deaths += 1
        half = refs_of(hub, repo).versions
        if 2 in half:
            files = set(api.list_repo_files(repo, revision=half[2]))
            assert {"concept.json", "learned_embeds.safetensors"} <= files, f"half of v2 shows after {seen[-1]}"

        session = HubSession(hub)
        if version := find_version(session, f"dies-{k}", "c" * 64):
            clean_up(session, f"dies-{k}", version)
        else:
            version = publish(session, f"dies-{k}", bundle)

        refs = refs_of(hub, repo)
        assert refs.branches == {"main": start, "v1": start, "by-hand": start, "v2": version.commit}, seen[-1]
        assert (version.name, version.fingerprint) == ("v2", "c" * 64)
    assert deaths > 8


def test_many_publishers_at_once(hub: HubTarget, tmp_path: Path) -> None:
    """Three fingerprints, each published by two runs that know nothing of each other."""
    bundles = {digit * 64: make_bundle(tmp_path / digit, "race", fingerprint=digit * 64) for digit in "789"}
    results: list[tuple[str, str]] = []
    failures: list[BaseException] = []

    def run(fingerprint: str) -> None:
        try:
            results.append((fingerprint, publish(HubSession(hub), "race", bundles[fingerprint]).name))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run, args=(fingerprint,)) for fingerprint in [*bundles, *bundles]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(set(results)) == 3
    assert {name for _, name in results} == {"v1", "v2", "v3"}
    assert set(refs_of(hub, hub.repo("race")).branches) == {"main", "v1", "v2", "v3"}
    assert {version.fingerprint for version in read_versions(HubSession(hub), "race")} == set(bundles)


def test_a_version_holds_nothing_of_main(hub: HubTarget, tmp_path: Path) -> None:
    api: HfApi = HubSession(hub).api
    api.create_repo(hub.repo("stale"))
    for path, text in {"README.md": b"---\nconceptry: {concept: stale}\n---\n", "notes/old.txt": b"old"}.items():
        api.upload_file(path_or_fileobj=text, path_in_repo=path, repo_id=hub.repo("stale"))

    version = publish(HubSession(hub), "stale", make_bundle(tmp_path / "b", "stale", fingerprint="4" * 64))

    assert "notes/old.txt" not in api.list_repo_files(hub.repo("stale"), revision=version.commit)
    assert "notes/old.txt" in api.list_repo_files(hub.repo("stale"))


def test_refusals_say_what_to_do(hub: HubTarget, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", "no", fingerprint="6" * 64)

    with pytest.raises(HubError, match="CONCEPTRY_HUB_TOKEN") as caught:
        publish(HubSession(HubTarget(hub.endpoint, hub.owner)), "no", bundle)
    assert not caught.value.retryable
    HubSession(hub).api.create_repo(hub.repo("empty"))
    with pytest.raises(HubError, match=r"has no version v9; published: none"):
        download(HubSession(hub), "empty", "v9", tmp_path / "x")
    with pytest.raises(TransientError, match="could not be reached while publishing"):
        publish(HubSession(HubTarget("http://127.0.0.1:9", hub.owner, hub.token)), "no", bundle)
    assert "hf_local" not in repr(hub)
