"""The comparison of two revisions: pictures, manifest and changed files."""

from __future__ import annotations

import re

from starlette.responses import Response
from starlette.routing import Route

from emulators.hub import git_objects
from emulators.hub.context import Call, endpoint
from emulators.hub.http_errors import bad_request
from emulators.hub.pages import manifest_diff, page_html
from emulators.hub.pages.browse import branches, frame
from emulators.hub.storage import Repo
from emulators.hub.url_patterns import REPO_FILES


def choose(call: Call) -> Response:
    """Answer GET compare?old=&new=: two revisions chosen in the form, by default the last two versions."""
    repo, query = call.repo(), call.query
    old, new = query.get("old"), query.get("new")
    if not old or not new:
        names = [b.name for b in branches(repo.git(), "refs/heads/") if re.fullmatch(r"v\d{1,9}", b.name)]
        newest, previous = (*names, "main", "main")[:2]
        old, new = previous, newest
    return _compared(call, repo, (old, new))


def compared(call: Call) -> Response:
    """Answer GET compare/OLD...NEW.

    Raises:
        HubError: the URL does not name two revisions (400).
    """
    text = call.params["revisions"]
    names = text.split("..." if "..." in text else "..")
    if len(names) != 2 or not all(names):
        raise bad_request("Name two revisions as OLD...NEW")
    return _compared(call, call.repo(), (names[0], names[1]))


def _compared(call: Call, repo: Repo, names: tuple[str, str]) -> Response:
    git, config = repo.git(), call.hub.config.pages
    old, new = (git_objects.resolve(git, name) for name in names)
    manifests = [manifest_diff.manifest(git, commit, config.manifest) for commit in (old, new)]
    groups = manifest_diff.differences(manifests[0] or {}, manifests[1] or {}) if any(manifests) else None
    shown = config.picture
    pictures = [commit if shown and git_objects.find(git, commit, shown) else None for commit in (old, new)]
    return page_html.page(
        "compare.html",
        **frame(call, repo, names[1]),
        names=names,
        commits=(old, new),
        groups=groups,
        manifest=config.manifest,
        picture=shown,
        pictures=pictures,
        changes=git_objects.changes_between(git, old, new),
        branches=branches(git, "refs/heads/"),
    )


ROUTES = [
    Route(f"{REPO_FILES}/compare", endpoint(choose)),
    Route(f"{REPO_FILES}/compare/{{revisions:part}}", endpoint(compared)),
]
