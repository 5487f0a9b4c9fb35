"""The protocol, through huggingface_hub: repos, refs, commits, lists, downloads and Spaces."""

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfApi,
    SpaceHardware,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from emulators.hub.server import RunningHub

NewRepo = Callable[..., str]


def commit(api: HfApi, repo: str, files: dict[str, bytes], **options: Any) -> str:
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    made = api.create_commit(repo, operations, commit_message="files", **options)
    return str(made.oid)


def download(api: HfApi, repo: str, path: str, folder: Path) -> bytes:
    return Path(api.hf_hub_download(repo, path, cache_dir=folder)).read_bytes()


def test_a_version_is_committed_branched_tagged_and_downloaded(api: HfApi, new_repo: NewRepo, tmp_path: Path) -> None:
    repo = new_repo()
    weights = os.urandom(300_000)
    api.create_branch(repo, branch="staging/abc")
    head = commit(api, repo, {"a/b.bin": weights, "manifest.json": b"{}", "é ü.txt": b"hi"}, revision="staging/abc")
    api.create_branch(repo, branch="v1", revision="staging/abc")
    api.create_tag(repo, tag="fp-0123", revision=head, tag_message="the first")
    api.delete_branch(repo, branch="staging/abc")

    refs = api.list_repo_refs(repo)
    assert {(b.name, b.target_commit) for b in refs.branches} >= {("v1", head)}
    assert [(t.name, t.ref, t.target_commit) for t in refs.tags] == [("fp-0123", "refs/tags/fp-0123", head)]
    assert {b.name for b in refs.branches} == {"main", "v1"}
    folder = Path(snapshot_download(repo, revision="v1", cache_dir=tmp_path, endpoint=api.endpoint, token=api.token))
    assert (folder / "a/b.bin").read_bytes() == weights
    assert (folder / "é ü.txt").read_bytes() == b"hi"
    assert folder.name == head
    info = api.model_info(repo, revision="fp-0123", files_metadata=True)
    assert info.siblings is not None
    large = {s.rfilename: s for s in info.siblings}["a/b.bin"]
    assert large.lfs is not None
    assert (large.size, large.lfs.size) == (300_000, 300_000)


def test_every_operation_in_one_commit(api: HfApi, new_repo: NewRepo, tmp_path: Path) -> None:
    repo = new_repo()
    commit(api, repo, {"old.txt": b"1", "folder/x.txt": b"2", "folder/y.txt": b"3", "w.bin": b"\0" * 10, "r.txt": b"r"})
    api.create_commit(
        repo,
        [
            CommitOperationDelete("old.txt"),
            CommitOperationDelete("folder/", is_folder=True),
            CommitOperationCopy("w.bin", "copies/w.bin"),
            CommitOperationCopy("r.txt", "copies/r.txt"),
            CommitOperationAdd("new.txt", b"new"),
        ],
        commit_message="many things",
        commit_description="and why",
    )
    files = api.list_repo_files(repo)
    assert set(files) == {".gitattributes", "w.bin", "r.txt", "copies/w.bin", "copies/r.txt", "new.txt"}
    assert download(api, repo, "copies/w.bin", tmp_path) == b"\0" * 10
    last = api.list_repo_commits(repo)[0]
    assert (last.title, last.message, last.authors) == ("many things", "and why", ["anna"])


def test_eight_commits_on_one_parent_have_one_winner(api: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    parent = api.model_info(repo).sha
    outcomes: list[int] = []
    start = threading.Barrier(8)

    def push(number: int) -> None:
        start.wait()
        try:
            commit(api, repo, {f"{number}.txt": b"x"}, parent_commit=parent)
            outcomes.append(200)
        except HfHubHTTPError as error:
            outcomes.append(error.response.status_code)

    threads = [threading.Thread(target=push, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [200] + [412] * 7
    assert len(api.list_repo_commits(repo)) == 2


def test_the_same_bytes_are_uploaded_once(api: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    first, second = new_repo(), new_repo()
    data = os.urandom(50_000)
    commit(api, first, {"w.safetensors": data})
    before = sum(1 for p in (hub.root / "lfs").rglob("*") if p.is_file() and not p.suffix)
    asked = CommitOperationAdd("other.safetensors", data)
    api.preupload_lfs_files(second, [asked])
    commit(api, second, {"other.safetensors": data})
    after = sum(1 for p in (hub.root / "lfs").rglob("*") if p.is_file() and not p.suffix)
    assert before == after
    assert api.get_paths_info(second, "other.safetensors")[0].size == 50_000  # type: ignore[union-attr]


def test_large_files_come_in_parts(
    api: HfApi, hub: RunningHub, new_repo: NewRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulators.hub.multipart.ABOVE_BYTES", 100_000)
    monkeypatch.setattr("emulators.hub.multipart.PART_BYTES", 64_000)
    repo, data = new_repo(), os.urandom(200_001)
    commit(api, repo, {"large.bin": data, "small.bin": b"\0small"})
    assert download(api, repo, "large.bin", tmp_path) == data

    other = os.urandom(150_000)
    oid = hashlib.sha256(other).hexdigest()
    asked = {"operation": "upload", "transfers": ["basic", "multipart"], "objects": [{"oid": oid, "size": len(other)}]}
    mine = {"Authorization": f"Bearer {api.token}"}
    answer = httpx2.post(f"{hub.url}/{repo}.git/info/lfs/objects/batch", json=asked, headers=mine).json()
    assert answer["transfer"] == "multipart"
    action = answer["objects"][0]["actions"]["upload"]
    urls = [url for key, url in sorted(action["header"].items()) if key.isdigit()]
    pieces = [other[i : i + 64_000] for i in range(0, len(other), 64_000)]
    for number in (2, 0):  # in any order
        assert httpx2.put(urls[number], content=pieces[number]).headers["ETag"]
    assert httpx2.put(urls[1], content=pieces[0][:-1]).status_code == 400
    assert httpx2.put(urls[1].replace("/2/", "/1/"), content=pieces[0]).status_code == 403
    assert httpx2.post(action["href"], json={}).status_code == 400
    assert httpx2.put(urls[1], content=pieces[1]).status_code == 200
    assert [httpx2.post(action["href"], json={}).status_code for _ in range(2)] == [200, 200]
    assert httpx2.put(urls[1], content=pieces[1]).status_code == 404
    assert (hub.root / "lfs" / oid[:2] / oid[2:4] / oid).read_bytes() == other
    assert not list((hub.root / "tmp").iterdir())


def test_invalid_refs_are_refused(api: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    api.create_branch(repo, branch="v1")
    with pytest.raises(HfHubHTTPError, match="refs/heads/v1 already exists"):
        api.create_branch(repo, branch="v1")
    with pytest.raises(HfHubHTTPError, match="Cannot delete refs/heads/main"):
        api.delete_branch(repo, branch="main")
    with pytest.raises(RevisionNotFoundError):
        api.create_tag(repo, tag="t", revision="nowhere")
    with pytest.raises(RevisionNotFoundError):
        commit(api, repo, {"a": b"a"}, revision="nowhere")
    with pytest.raises(BadRequestError, match="Invalid reference"):
        api.create_branch(repo, branch="a..b")
    with pytest.raises(HfHubHTTPError) as caught:
        api.create_branch(repo, branch="v1/below")
    assert caught.value.response.status_code == 409


def card(number: int) -> bytes:
    tag = "even" if number % 2 == 0 else "odd"
    return f"---\ntags:\n- paged\n- {tag}\nregistry:\n  versions:\n  - number: {number}\n---\n# c\n".encode()


def test_lists_are_filtered_and_paged(api: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    names = [new_repo() for _ in range(5)]
    for number, name in enumerate(names):
        commit(api, name, {"README.md": card(number)})
    found = list(api.list_models(author="anna", filter=["paged", "even"], cardData=True))
    assert {m.id for m in found} == {names[0], names[2], names[4]}
    versions = {m.id: m.card_data["registry"]["versions"] for m in found if m.card_data}
    assert versions[names[4]] == [{"number": 4}]
    assert [m.id for m in api.list_models(search=names[3])] == [names[3]]
    assert next(iter(api.list_models(search=names[3], full=True))).sha == api.model_info(names[3]).sha
    newest = [m.id for m in api.list_models(filter="paged", sort="created_at", expand=["createdAt"])]
    assert newest == names[::-1]

    address: str | None = f"{hub.url}/api/models?filter=paged&limit=2"
    seen, pages = [], 0
    while address:
        answer = httpx2.get(address)
        seen += [item["id"] for item in answer.json()]
        pages += 1
        address = answer.links.get("next", {}).get("url")
    assert (seen, pages) == (sorted(names), 3)


@pytest.mark.parametrize("order", [{}, {"sort": "id"}, {"sort": "createdAt", "direction": "1"}, {"sort": "likes"}])
@pytest.mark.parametrize("limit", [1, 3])
def test_pages_hold_every_repo_once(api: HfApi, hub: RunningHub, limit: int, order: dict[str, str]) -> None:
    # The order of these names depends on case, and on characters below the dot of ".git" and the slash.
    owners, names = ("anna", "team"), ("b", "b-c", "B.d", "b_e", "bgit")
    wanted = {f"{owner}/{name}" for owner in owners for name in names}
    for repo in wanted:
        api.create_repo(repo, repo_type="dataset", exist_ok=True)
    query = httpx2.QueryParams({"limit": str(limit), **order})
    address: str | None = f"{hub.url}/api/datasets?{query}"
    seen = []
    while address:
        answer = httpx2.get(address, headers={"Authorization": f"Bearer {api.token}"})
        seen += [item["id"] for item in answer.json()]
        address = answer.links.get("next", {}).get("url")
    assert len(seen) == len(set(seen))
    assert set(seen) >= wanted
    if not order:
        assert seen == sorted(seen, key=lambda name: name.lower().split("/"))


def test_a_list_follows_what_was_committed(api: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    for title in ("one", "two"):
        commit(api, repo, {"README.md": f"---\ntags: [{title}]\n---\n".encode()})
        assert [m.id for m in api.list_models(filter=title)] == [repo]
    assert list(api.list_models(filter="one")) == []


def test_tree_and_paths(api: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    first = commit(api, repo, {"a/b/c.txt": b"c", "d.txt": b"d"})
    commit(api, repo, {"d.txt": b"changed"})
    assert [e.path for e in api.list_repo_tree(repo)] == [".gitattributes", "a", "d.txt"]
    assert [e.path for e in api.list_repo_tree(repo, "a", recursive=True)] == ["a/b", "a/b/c.txt"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "nothing"))
    entries = {e.path: e for e in api.list_repo_tree(repo, expand=True)}
    assert entries["a"].last_commit is not None
    assert entries["a"].last_commit.oid == first
    infos = api.get_paths_info(repo, ["a", "d.txt", "missing", "../x"])
    assert [(i.path, isinstance(i, RepoFile)) for i in infos] == [("a", False), ("d.txt", True)]
    assert api.file_exists(repo, "d.txt", revision=first)
    assert not api.file_exists(repo, "e.txt")


def test_downloads_by_range_and_etag(api: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo, data = new_repo(), os.urandom(100_000)
    head = commit(api, repo, {"w.bin": data, "t.txt": b"0123456789"})
    url = f"{hub.url}/{repo}/resolve/main/w.bin"
    whole = httpx2.head(url)
    assert whole.headers["X-Repo-Commit"] == head
    assert whole.headers["X-Linked-Size"] == whole.headers["Content-Length"] == "100000"
    part = httpx2.get(url, headers={"Range": "bytes=99990-"})
    assert (part.status_code, part.content) == (206, data[-10:])
    assert part.headers["Content-Range"] == "bytes 99990-99999/100000"
    assert httpx2.get(f"{hub.url}/{repo}/resolve/main/t.txt", headers={"Range": "bytes=-3"}).content == b"789"
    assert httpx2.get(url, headers={"Range": "bytes=100000-"}).status_code == 416
    assert httpx2.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert httpx2.get(f"{hub.url}/{repo}/raw/main/w.bin").text.startswith("version https://git-lfs")


def test_a_card_is_checked_before_it_is_committed(api: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    with pytest.raises(ValueError, match="Invalid metadata"):
        commit(api, repo, {"README.md": b"---\ntags: {a: b}\n---\n"})
    bomb = b"---\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n---\n"
    with pytest.raises(ValueError, match="aliases"):
        commit(api, repo, {"README.md": bomb})


def test_spaces_keep_their_settings(api: HfApi, ben: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo(repo_type="space", space_sdk="gradio", space_secrets=[{"key": "TOKEN", "value": "very-secret"}])
    assert api.get_space_runtime(repo).stage == "NO_APP_FILE"
    front = b"---\ntitle: T\nsdk: gradio\nregistry:\n  release: v2\n---\n"
    commit(api, repo, {"app.py": b"print()", "README.md": front}, repo_type="space")
    assert api.get_space_runtime(repo).stage == "STOPPED"
    assert api.pause_space(repo).stage == "PAUSED"
    assert api.request_space_hardware(repo, SpaceHardware.T4_SMALL).requested_hardware == "t4-small"
    assert api.restart_space(repo).stage == "STOPPED"
    api.add_space_variable(repo, "COLOUR", "teal")
    assert api.get_space_variables(repo)["COLOUR"].value == "teal"
    api.delete_space_variable(repo, "COLOUR")
    assert api.get_space_variables(repo) == {}
    assert list(api.get_space_secrets(repo)) == ["TOKEN"]
    listed = next(s for s in api.list_spaces(author="anna", full=True) if s.id == repo)
    assert listed.card_data is not None
    assert listed.card_data["registry"] == {"release": "v2"}
    expanded = next(s for s in api.list_spaces(author="anna", expand=["cardData", "runtime"]) if s.id == repo)
    assert expanded.runtime is not None
    with pytest.raises(HfHubHTTPError, match="rights"):
        ben.pause_space(repo)
    answer = httpx2.get(f"{api.endpoint}/api/spaces/{repo}/secrets", headers={"Authorization": "Bearer hf_anna"})
    assert "very-secret" not in answer.text


def test_repos_are_renamed_hidden_and_deleted(api: HfApi, stranger: HfApi, new_repo: NewRepo, tmp_path: Path) -> None:
    repo = new_repo()
    commit(api, repo, {"w.bin": b"\0weights"})
    renamed = f"{repo}-renamed"
    api.move_repo(repo, renamed)
    assert download(api, renamed.upper(), "w.bin", tmp_path) == b"\0weights"
    assert (api.model_info(repo).id, api.repo_exists(repo)) == (renamed, True), "the old name leads on in the API, too"
    assert [branch.name for branch in api.list_repo_refs(repo).branches] == ["main"]
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo(renamed)
    assert api.create_repo(renamed, exist_ok=True).repo_id == renamed
    api.update_repo_settings(renamed, private=True)
    assert not stranger.repo_exists(renamed)
    assert renamed in {mine.id for mine in api.list_user_repos()}
    api.delete_repo(renamed)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(renamed)


def test_request_ids_are_echoed(hub: RunningHub) -> None:
    answer = httpx2.get(f"{hub.url}/api/models/a/b", headers={"X-Request-Id": "abc-1"})
    assert answer.headers["X-Request-Id"] == "abc-1"
    assert answer.headers["X-Error-Code"] == "RepoNotFound"
    assert len(httpx2.get(f"{hub.url}/healthz").headers["X-Request-Id"]) == 32


def test_an_old_name_redirects_files_and_pages(api: HfApi, stranger: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo = new_repo()
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo)
    api.move_repo(repo, f"{repo}-b")
    api.move_repo(f"{repo}-b", f"{repo}-c")
    moved = httpx2.get(f"{hub.url}/{repo}/resolve/main/x.txt")
    assert (moved.status_code, moved.headers["Location"]) == (307, f"/{repo}-c/resolve/main/x.txt")
    assert Path(stranger.hf_hub_download(repo, "x.txt")).read_bytes() == b"x"
    api.update_repo_settings(f"{repo}-c", private=True)
    assert httpx2.get(f"{hub.url}/{repo}/resolve/main/x.txt").status_code == 401
    assert api.create_repo(repo).repo_id == repo  # a new repo takes the name back


def test_files_that_git_ignores_are_not_uploaded(api: HfApi, new_repo: NewRepo, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    for name, text in ((".gitignore", "cache/\n*.log\n"), ("a.txt", "a"), ("b.log", "b"), ("cache/c.txt", "c")):
        (tmp_path / name).write_text(text)
    repo = new_repo()
    api.upload_folder(folder_path=tmp_path, repo_id=repo)
    assert set(api.list_repo_files(repo)) == {".gitattributes", ".gitignore", "a.txt"}


def test_a_proposed_commit_leaves_the_branch_alone(api: HfApi, ben: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    proposed = api.upload_file(path_or_fileobj=b"1", path_in_repo="new.txt", repo_id=repo, create_pr=True)
    assert proposed.pr_revision == "refs/pr/1"
    assert "new.txt" not in api.list_repo_files(repo)
    api.upload_file(path_or_fileobj=b"2", path_in_repo="more.txt", repo_id=repo, revision="refs/pr/1")
    assert {"new.txt", "more.txt"} <= set(api.list_repo_files(repo, revision="refs/pr/1"))
    assert api.upload_file(path_or_fileobj=b"3", path_in_repo="x", repo_id=repo, create_pr=True).pr_num == 2
    with pytest.raises(HfHubHTTPError, match="403"):
        ben.upload_file(path_or_fileobj=b"4", path_in_repo="y", repo_id=repo, create_pr=True)
