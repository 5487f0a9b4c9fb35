"""Checks of an installation: what is set up wrongly, and how to correct it. They change nothing.

Each check reads one outside system, and its failure stops no other one.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

import httpx
import prefect
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import DeploymentStatus
from prefect.exceptions import ObjectNotFound

from conceptry.check import Check
from conceptry.errors import ConceptryError
from conceptry.installation import HubTarget, Installation
from flows.deployments import TRAINING, installation_tag
from flows.hub_plan_check import TITLE, check_hub_plan, read_account
from flows.watch import watch
from tasks import git
from tasks.dvc.desired_images import list_desired_images
from tasks.git.desired_concepts import read_desired
from tasks.hub import HubSession, hub_time
from tasks.hub_check import check_hub
from tasks.prefect_address import server_address
from tasks.prefect_client import connected, server_problem, server_time

CLOCK = timedelta(minutes=1)
"""Difference of clocks that is not reported."""
FREE_BYTES = 5e9
"""Free space of the scratch folder that is enough: records and results of a training, and a base model."""
DEPLOYMENTS = "deployments"
"""Title of the check whether workers ask for runs."""
FOREIGN = "https://foreign.example"
_GIB = 2**30
_LOCKED = "see docs/secrets.md: set PREFECT_SERVER_API_AUTH_STRING, _CSRF_PROTECTION_ENABLED and _CORS_ALLOWED_ORIGINS"

_Check = Callable[[Installation], Check]


def check_installation(installation: Installation, without: Collection[str] = ()) -> Iterator[Check]:
    """Run the checks one after the other, but not those with the titles in `without`.

    Those that ask the Hub are left out if it does not answer: each would wait for it, and find the same.
    """
    left_out = set(without)
    for title, check in CHECKS.items():
        if title in left_out:
            continue
        try:
            yield check(installation)
        except ConceptryError as error:
            left_out |= OF_THE_HUB if title == "Hub" else set()
            yield Check(title, False, error.what, error.next_step or "")
        except httpx.HTTPError as error:
            problem = server_problem(error)
            yield Check(title, False, problem.what, problem.next_step or "")
        except Exception as error:  # noqa: BLE001 - whatever a check finds, the others are of use
            yield Check(title, False, f"the check failed: {type(error).__name__}: {error}", "report this")


def _versions(installation: Installation) -> Check:
    del installation
    names = ("prefect", "huggingface_hub", "dvc")
    found = ", ".join(f"{name} {version(name)}" for name in names)
    return Check("versions", True, f"Python {platform.python_version()}, {found}")


def _origin(installation: Installation) -> Check:
    settings = installation.settings
    head = git.remote_head(settings.repo, settings.branch, login=settings.repo_login)
    if head is None:
        return Check("git", False, f"{settings.repo} has no branch {settings.branch}", "set CONCEPTRY_BRANCH, or push")
    return Check("git", True, f"{settings.repo} ({settings.branch}) at {head[:8]}")


def _disk(installation: Installation) -> Check:
    folder = installation.settings.work.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / _GIB:.1f} GiB free for {folder}"
    step = "free some space, or set CONCEPTRY_WORK to a folder on another disk"
    return Check("disk", free >= FREE_BYTES, found, "" if free >= FREE_BYTES else step)


def _images(installation: Installation) -> Check:
    desired = read_desired(installation)
    tracked = [name for name, concept in sorted(desired.concepts.items()) if concept.dvc_md5 and not concept.error]
    if not tracked:
        return Check("DVC remote", True, "no concept has images yet")
    name = tracked[0]
    listed = list_desired_images(installation, desired, [name]).concepts[name]
    missing = listed.missing_images()
    if listed.error is not None:
        return Check("DVC remote", False, f"{name}: {listed.error.what}", listed.error.next_step or "")
    if missing is not None:
        step = "correct the remote of .dvc/config, its credentials on this machine, or run `dvc push`"
        return Check("DVC remote", False, f"{name}: {missing[1]}", step)
    return Check("DVC remote", True, f"has the images of {name}")


def _hub(installation: Installation) -> Check:
    check_hub(installation.hub, "conceptry up")
    return Check("Hub", True, f"{installation.hub.endpoint} answers")


def _token(installation: Installation) -> Check:
    hub = installation.hub
    if hub.token is None:
        return Check("Hub token", False, "none is set", "set CONCEPTRY_HUB_TOKEN to a token with write access")
    account = read_account(hub)
    name, role = str(account.get("name")), _role(account)
    organizations = {str(one.get("name")).lower() for one in account.get("orgs", ())}
    if hub.owner.lower() not in organizations | {name.lower()}:
        step = f"use a token of {hub.owner} or of one of its members, or correct CONCEPTRY_HUB_OWNER"
        return Check("Hub token", False, f"it is {name}'s, who is no member of {hub.owner}", step)
    if role == "read":
        return Check("Hub token", False, f"{name}'s token may only read", "make one that may write")
    return Check("Hub token", True, f"{name}'s, {role}")


def _space_token(installation: Installation) -> Check:
    token, hub = installation.settings.space_token, installation.hub
    if token is None:
        return Check("Space token", True, "none: private Spaces cannot read their model (CONCEPTRY_SPACE_TOKEN)")
    role = _role(read_account(HubTarget(hub.endpoint, hub.owner, token)))
    if role == "write":
        step = "set CONCEPTRY_SPACE_TOKEN to one that may only read: whoever changes space.override gets it"
        return Check("Space token", False, "it may write", step)
    return Check("Space token", True, role)


def _results(installation: Installation) -> Check:
    block, title = installation.settings.results_bucket, "results of steps"
    if (shared := installation.settings.results_folder) is not None:
        there = shared.is_dir() and os.access(shared, os.W_OK)
        return Check(title, there, str(shared), "" if there else "make it, writable for the worker's user")
    if block is None:
        words = (
            "on this machine: a retry on another one starts over (CONCEPTRY_RESULTS_BUCKET, CONCEPTRY_RESULTS_FOLDER)"
        )
        return Check(title, True, words)
    from tasks.training.step_archive import open_results  # Google's clients take seconds to import

    return Check(title, True, f"gs://{open_results(block).name}")


def _clock(installation: Installation) -> Check:
    off = datetime.now(UTC) - hub_time(HubSession(installation.hub))
    words = f"{abs(off.total_seconds()):.0f} s {'ahead of' if off > timedelta(0) else 'behind'} the Hub's"
    step = "synchronize it, for example with `timedatectl set-ntp true`"
    return Check("clock", abs(off) <= CLOCK, words, "" if abs(off) <= CLOCK else step)


def _server(installation: Installation) -> Check:
    del installation
    address = server_address()
    if address is None:
        step = "set PREFECT_API_URL, or run `conceptry up`"
        return Check("Prefect", False, "no server is configured: nothing watches git", step)
    with connected() as server:
        there = server.api_version()
        off = datetime.now(UTC) - server_time(server)
    return Check("Prefect", True, f"{address}, API {there}, client {prefect.__version__}, clock {_seconds(off)} apart")


def _locked(installation: Installation) -> Check:
    """Ask the server as a web page would: without its auth string, from another origin."""
    del installation
    address = server_address()
    if address is None:
        return Check("Prefect is locked", True, "no server is configured")
    with httpx.Client(timeout=10.0) as stranger:
        answer = stranger.post(f"{address}/deployments/filter", json={}, headers={"Origin": FOREIGN})
    allowed = answer.headers.get("access-control-allow-origin") in ("*", FOREIGN)
    if answer.status_code < 400:
        found = "anybody who reaches it may run a shell as its workers" + (", also every web page" if allowed else "")
        return Check("Prefect is locked", False, found, _LOCKED)
    if allowed:
        return Check("Prefect is locked", False, "every web page may read its answers", _LOCKED)
    return Check("Prefect is locked", True, f"refuses strangers ({answer.status_code})")


def _deployments(installation: Installation) -> Check:
    title = DEPLOYMENTS
    if server_address() is None:
        return Check(title, True, "no server is configured")
    suffix, mine = installation.settings.deployment_suffix, installation_tag(installation.id)
    with connected() as server:
        for flow in (watch.name, TRAINING):
            problem = _deployment_problem(server, f"{flow}/{flow}{suffix}", mine)
            if problem:
                return Check(title, False, *problem)
    return Check(title, True, f"a worker asks for runs of {watch.name}{suffix} and {TRAINING}{suffix}")


def _deployment_problem(server: SyncPrefectClient, name: str, mine: str) -> tuple[str, str] | None:
    try:
        found = server.read_deployment_by_name(name)
    except ObjectNotFound:
        return f"there is no {name}", "run `conceptry deploy`"
    if mine not in found.tags:
        return f"{name} is not this installation's", "run `conceptry deploy` with the settings of the worker"
    if found.paused:
        return f"{name} is paused", "resume it in Prefect's UI (V1 UI: Deployments), if that is not on purpose"
    if found.status is not DeploymentStatus.READY:
        pool = found.work_pool_name or "conceptry"
        return f"nobody asks for runs of {name}", f"start a worker: `conceptry worker` (work pool {pool})"
    return None


def _role(account: dict[str, Any]) -> str:
    auth = account.get("auth")
    token = auth.get("accessToken") if isinstance(auth, dict) else None
    return str(token.get("role", "unknown")) if isinstance(token, dict) else "unknown"


def _seconds(time: timedelta) -> str:
    return f"{abs(time.total_seconds()):.0f} s"


CHECKS: dict[str, _Check] = {
    "versions": _versions,
    "disk": _disk,
    "git": _origin,
    "DVC remote": _images,
    "Hub": _hub,
    "Hub token": _token,
    TITLE: check_hub_plan,
    "Space token": _space_token,
    "results of steps": _results,
    "clock": _clock,
    "Prefect": _server,
    "Prefect is locked": _locked,
    DEPLOYMENTS: _deployments,
}
"""Checks by title, in their order."""
OF_THE_HUB = frozenset({"Hub token", TITLE, "Space token", "clock"})
"""Titles of the checks that ask the Hub."""
