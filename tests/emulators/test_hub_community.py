"""What people do together: pull requests, discussions, gated repos, likes, collections, and repos that are renamed."""

import os
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DiscussionComment, HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from emulators.hub.server import RunningHub

NewRepo = Callable[..., str]


def test_a_stranger_proposes_and_an_owner_merges(api: HfApi, ben: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo = new_repo()
    weights = os.urandom(20_000)
    body = {"operation": "upload", "objects": [{"oid": "a" * 64, "size": 3}]}
    batch = {"url": f"{hub.url}/{repo}.git/info/lfs/objects/batch", "headers": {"Authorization": "Bearer hf_ben"}}
    assert httpx2.post(json=body, **batch).status_code == 403  # type: ignore[arg-type]
    operations = [CommitOperationAdd("new.txt", b"new"), CommitOperationAdd("w.bin", weights)]
    proposed = ben.create_commit(repo, operations, commit_message="Better", commit_description="why", create_pr=True)
    assert proposed.pr_num == 1
    assert "new.txt" not in api.list_repo_files(repo)
    assert "new.txt" in api.list_repo_files(repo, revision="refs/pr/1")
    more = ben.create_commit(
        repo, [CommitOperationAdd("more.txt", b"more")], commit_message="More", revision="refs/pr/1"
    )
    details = api.get_discussion_details(repo, 1)
    assert (details.author, details.status, details.is_pull_request) == ("ben", "open", True)
    assert [e.type for e in details.events] == ["comment", "commit", "commit"]
    assert details.diff is not None
    assert "+more" in details.diff
    with pytest.raises(HfHubHTTPError, match="403"):
        ben.merge_pull_request(repo, 1)
    with pytest.raises(HfHubHTTPError, match="403"):
        ben.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=repo)
    api.merge_pull_request(repo, 1)
    merged = api.get_discussion_details(repo, 1)
    assert merged.status == "merged"
    assert merged.merge_commit_oid == api.model_info(repo).sha
    assert api.get_paths_info(repo, "w.bin")[0].size == 20_000  # type: ignore[union-attr]
    assert more.oid != merged.merge_commit_oid
    page = httpx2.get(str(proposed.pr_url))
    assert (page.status_code, "merged" in page.text) == (200, True)


def test_what_both_changed_is_not_merged(api: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    api.upload_file(path_or_fileobj=b"one\n", path_in_repo="a.txt", repo_id=repo)
    api.upload_file(path_or_fileobj=b"two\n", path_in_repo="a.txt", repo_id=repo, create_pr=True)
    api.upload_file(path_or_fileobj=b"three\n", path_in_repo="a.txt", repo_id=repo)
    assert api.get_discussion_details(repo, 1).conflicting_files == ["a.txt"]
    with pytest.raises(HfHubHTTPError, match=r"a\.txt"):
        api.merge_pull_request(repo, 1)
    assert api.hf_hub_download(repo, "a.txt").endswith("a.txt")


def test_discussions_are_held_and_can_do_no_harm(api: HfApi, ben: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo = new_repo()
    made = ben.create_discussion(repo, "Is it a <b>cat</b>?", description="<script>alert(1)</script>\n\n**I** think")
    said = api.comment_discussion(repo, made.num, "yes")
    with pytest.raises(HfHubHTTPError, match="403"):
        ben.edit_discussion_comment(repo, made.num, said.id, "no")
    api.change_discussion_status(repo, made.num, "closed", comment="done")
    found = api.get_discussion_details(repo, made.num)
    assert [e.content for e in found.events if isinstance(e, DiscussionComment)][1:] == ["yes", "done"]
    page = httpx2.get(made.url).text
    assert "<script" not in page
    assert "<b>cat" not in page
    assert "<strong>I</strong>" in page
    hidden = new_repo(private=True)
    api.create_discussion(hidden, "between us")
    for path in ("api/models/", ""):
        assert httpx2.get(f"{hub.url}/{path}{hidden}/discussions").status_code in (401, 404)


def test_a_gated_repo_is_asked_for_and_opened(api: HfApi, ben: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo = new_repo()
    api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=repo)
    api.update_repo_settings(repo, gated="manual")
    asked = httpx2.post(f"{hub.url}/{repo}/ask-access", headers={"Authorization": "Bearer hf_ben"})
    assert asked.status_code == 200
    assert [r.username for r in api.list_pending_access_requests(repo)] == ["ben"]
    with pytest.raises(GatedRepoError, match="not in the authorized list"):
        ben.hf_hub_download(repo, "x.txt")
    api.accept_access_request(repo, "ben")
    assert Path(ben.hf_hub_download(repo, "x.txt")).read_bytes() == b"x"
    with pytest.raises(HfHubHTTPError, match="403"):
        list(ben.list_accepted_access_requests(repo))


def test_large_files_leave_the_history(api: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo()
    api.upload_file(path_or_fileobj=b"\0one", path_in_repo="one.bin", repo_id=repo)
    api.upload_file(path_or_fileobj=b"\0two", path_in_repo="two.bin", repo_id=repo)
    api.create_commit(repo, [CommitOperationDelete("one.bin")], commit_message="gone, but not from the past")
    before = api.list_repo_commits(repo)
    files = [f for f in api.list_lfs_files(repo) if f.filename == "two.bin"]
    api.permanently_delete_lfs_files(repo, files)
    after = api.list_repo_commits(repo)
    assert [c.title for c in after] == [c.title for c in before]
    assert after[-2:] == before[-2:]  # what came before the file is as it was
    assert all("two.bin" not in api.list_repo_files(repo, revision=c.commit_id) for c in after)


def test_an_old_name_leads_to_files_and_pages(api: HfApi, stranger: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
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


def test_a_repo_is_duplicated(api: HfApi, ben: HfApi, new_repo: NewRepo, tmp_path: Path) -> None:
    repo, data = new_repo(), os.urandom(5000)
    head = api.upload_file(path_or_fileobj=data, path_in_repo="w.bin", repo_id=repo).oid
    api.create_branch(repo, branch="v1")
    copy = ben.duplicate_repo(repo, "ben/copy").repo_id
    assert copy == "ben/copy"
    assert {b.name: b.target_commit for b in ben.list_repo_refs(copy).branches} == {"main": head, "v1": head}
    assert Path(ben.hf_hub_download(copy, "w.bin", cache_dir=tmp_path)).read_bytes() == data
    ben.upload_file(path_or_fileobj=b"mine", path_in_repo="mine.txt", repo_id=copy)
    assert "mine.txt" not in api.list_repo_files(repo)
    with pytest.raises(HfHubHTTPError, match="409"):
        ben.duplicate_repo(repo, "ben/copy")
    with pytest.raises(HfHubHTTPError, match="403"):
        ben.duplicate_repo(repo, "anna/copy")


def test_what_git_ignores_is_not_sent(api: HfApi, new_repo: NewRepo, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    for name, text in ((".gitignore", "cache/\n*.log\n"), ("a.txt", "a"), ("b.log", "b"), ("cache/c.txt", "c")):
        (tmp_path / name).write_text(text)
    repo = new_repo()
    api.upload_folder(folder_path=tmp_path, repo_id=repo)
    assert set(api.list_repo_files(repo)) == {".gitattributes", ".gitignore", "a.txt"}


def test_likes_and_collections(api: HfApi, ben: HfApi, hub: RunningHub, new_repo: NewRepo) -> None:
    repo, hidden = new_repo(), new_repo(private=True)
    liked = httpx2.post(f"{hub.url}/api/models/{repo}/like", headers={"Authorization": "Bearer hf_ben"})
    assert liked.status_code == 200
    assert api.model_info(repo).likes == 1
    assert [u.username for u in api.list_repo_likers(repo)] == ["ben"]
    assert ben.list_liked_repos().models == [repo]
    ben.unlike(repo)
    assert api.model_info(repo).likes == 0
    collection = api.create_collection("Cats & co")
    for name in (repo, hidden):
        api.add_collection_item(collection.slug, name, "model")
    assert [i.item_id for i in api.get_collection(collection.slug).items] == [repo, hidden]
    assert [i.item_id for i in ben.get_collection(collection.slug).items] == [repo]
    with pytest.raises(HfHubHTTPError, match="403"):
        ben.delete_collection(collection.slug)
    assert {r.id for r in api.list_user_repos()} >= {repo, hidden}
