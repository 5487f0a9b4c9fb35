"""The pages for people."""

import json
import re
from collections.abc import Callable

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from emulators.hub.server import RunningHub

NewRepo = Callable[..., str]
CARD = b"""---
tags: [cats]
registry:
  versions:
  - {number: 1, verdict: passed}
  - {number: 2, verdict: doubtful}
  - 3
---
# A cat

![grid](samples/grid.png)

| loss | 0.05 |
|---|---|
| `<my-cat>` | <script>alert(1)</script> <img src="samples/grid.png" onerror=alert(2)> [x](javascript:alert(3)) |
"""


def page(url: str, **options: object) -> str:
    answer = httpx2.get(url, headers={"Accept": "text/html"}, **options)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    return answer.text


@pytest.fixture
def model(api: HfApi, new_repo: NewRepo) -> str:
    repo = new_repo()
    files = {"README.md": CARD, "samples/grid.png": b"\x89PNG\0grid", "notes/a.txt": b"<b>plain</b>"}
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    api.create_commit(repo, operations, commit_message="release <v1>")
    api.create_branch(repo, branch="v1")
    return repo


def test_a_card_is_shown_without_its_scripts(hub: RunningHub, model: str) -> None:
    html = page(f"{hub.url}/{model}")
    assert "<h1>A cat</h1>" in html
    assert "&lt;my-cat&gt;" in html
    for hostile in ("<script", "onerror", 'href="javascript'):
        assert hostile not in html
    picture = re.search(r'<img src="(/[^"]*samples/grid\.png)"', html)
    assert picture is not None
    assert httpx2.get(hub.url + picture[1]).headers["Content-Type"] == "image/png"
    assert re.search(r"v1</a>\s*<span class=\"pill passed\">", html)
    assert "doubtful</span>" not in html


def test_every_link_of_the_pages_works(hub: RunningHub, http: httpx2.Client, model: str) -> None:
    seen, todo = set(), {f"/{model}", f"/{model}/tree/v1"}
    while todo:
        path = todo.pop()
        seen.add(path)
        answer = http.get(hub.url + path)
        assert answer.status_code == 200, path
        if answer.headers["Content-Type"].startswith("text/html"):
            links = set(re.findall(r'(?:href|src)="(/[^"#]*)"', answer.text))
            todo |= {link for link in links if link.startswith(f"/{model}")} - seen
    assert len(seen) > 12


def test_two_revisions_are_compared(hub: RunningHub, api: HfApi, model: str) -> None:
    for number in (2, 3):
        manifest = json.dumps({"spec": {"steps": 1000 * number}, "name": "<cat>", "images": {f"{number}.jpg": "x"}})
        api.upload_file(path_or_fileobj=manifest.encode(), path_in_repo="manifest.json", repo_id=model)
        api.create_branch(model, branch=f"v{number}")
    html = page(f"{hub.url}/{model}/compare")
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "spec steps − 2000 + 3000 +50.0%" in text
    assert "modified manifest.json" in text
    assert html.count("/samples/grid.png") == 2
    assert "<cat>" not in html
    assert "Neither revision has a manifest.json" in page(f"{hub.url}/{model}/compare/v1...v1")


def test_files_are_shown_as_text_and_never_run(hub: RunningHub, model: str) -> None:
    assert "&lt;b&gt;plain" in page(f"{hub.url}/{model}/blob/main/notes/a.txt")
    assert "Commits of main" in page(f"{hub.url}/{model}/commits/main")
    assert "release &lt;v1&gt;" in page(f"{hub.url}/{model}/commits/main")
    raw = httpx2.get(f"{hub.url}/{model}/resolve/main/notes/a.txt")
    assert "sandbox" in raw.headers["Content-Security-Policy"]
    assert raw.headers["X-Content-Type-Options"] == "nosniff"


def test_the_front_page_lists_and_searches(hub: RunningHub, api: HfApi, model: str, new_repo: NewRepo) -> None:
    hidden = new_repo(private=True)
    html = page(f"{hub.url}/")
    assert f'href="/{model}"' in html
    assert hidden not in html
    assert hidden in page(f"{hub.url}/", auth=("anna", str(api.token)))
    assert f'href="/{model}"' not in page(f"{hub.url}/?search=nothing-like-it")
    assert f'href="/{model}"' in page(f"{hub.url}/anna")


def test_a_space_shows_its_state_and_front_matter(hub: RunningHub, api: HfApi, new_repo: NewRepo) -> None:
    repo = new_repo(repo_type="space", space_sdk="gradio")
    front = b"---\ntitle: Draw a cat\nsdk: gradio\nregistry:\n  release: v2\n---\n"
    operations = [CommitOperationAdd("README.md", front), CommitOperationAdd("app.py", b"print()")]
    api.create_commit(repo, operations, commit_message="render", repo_type="space")
    assert "Stopped" in page(f"{hub.url}/spaces/{repo}")
    api.pause_space(repo)
    html = page(f"{hub.url}/spaces/{repo}")
    assert "Paused" in html
    assert "release: v2" in html


def test_missing_and_hidden_pages_look_alike(hub: RunningHub, api: HfApi, new_repo: NewRepo) -> None:
    hidden = new_repo(private=True)
    answers = [httpx2.get(f"{hub.url}/{name}", headers={"Accept": "text/html"}) for name in (hidden, "anna/nothing")]
    assert {a.status_code for a in answers} == {404}
    assert answers[0].text.replace(hidden.replace("/", "%2F"), "") == answers[1].text.replace("anna%2Fnothing", "")
    assert hidden in page(f"{hub.url}/{hidden}", auth=("anna", str(api.token)))


def test_signing_in_redirects_within_the_hub_only(hub: RunningHub, api: HfApi) -> None:
    asked = httpx2.get(f"{hub.url}/login?next=/anna/x")
    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic")
    for target, place in (("/anna/x", "/anna/x"), ("//evil.example", "/"), ("https://evil.example", "/")):
        answer = httpx2.get(f"{hub.url}/login", params={"next": target}, auth=("anna", str(api.token)))
        assert answer.headers["Location"] == place
    cookie = answer.headers["Set-Cookie"].split(";")[0]
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["Set-Cookie"].split("; "))
    signed_in = {"Cookie": cookie, "Accept": "text/html"}
    assert ">anna</a>" in httpx2.get(hub.url, headers=signed_in).text
    made = httpx2.post(f"{hub.url}/api/repos/create", json={"name": "x"}, headers=signed_in)
    assert made.status_code == 403  # the cookie is for reading only
    assert "Sign in" in httpx2.get(hub.url, headers={"Cookie": cookie.replace("anna", "ben")}).text
    assert "Sign in" in httpx2.get(hub.url, headers={"Cookie": "hub_session=anna:99999999999:0"}).text
