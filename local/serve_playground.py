"""Space of a published version, run on this machine."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from conceptry.concept import ConceptSpec, load_spec, spec_path
from conceptry.errors import ConceptryError, SettingsError
from conceptry.git_address import without_login
from conceptry.installation import Installation
from conceptry.version import Version
from conceptry.version_ref import VersionRef
from flows.rendering import space_of
from local.child_process import Child, answers, environment_without_credentials, free_port
from local.console import out
from local.current_setup import folder_in_use, open_installation
from local.servers import Stack, end_on_sigterm
from local.version_folder import manifest_of, render_page, title_of, weights_variables
from tasks.base_entries import read_entries
from tasks.git.checkout import find_top, origin_of
from tasks.git.desired_concepts import read_desired
from tasks.hub import HubSession, read_live, read_manifest
from tasks.space import render_space

# Seconds. An endpoint that fetches its weights, four gigabytes, responds once it has them. The end of a process is
# noticed at once.
_START_TIMEOUT = 3600.0

Make = Callable[[Installation, HubSession, str, Version], tuple[Child, str | None]]
"""Callback that returns the process that serves a version, and a hint for the user."""


def play(root: Path | None, ref: VersionRef, port: int) -> None:
    """Render the Space of a version and run it on loopback until Ctrl-C.

    Raises:
        ConceptryError: the version does not exist.
    """

    def page(installation: Installation, session: HubSession, name: str, version: Version) -> tuple[Child, str | None]:
        return _page(installation, session, name, version, port=free_port(port)), None

    run_version(root, ref, "the Space", page)


def play_folder(folder: Path, port: int) -> None:
    """Run the Space of a version's files in a folder, without a Hub, until Ctrl-C.

    Raises:
        ConceptryError: the folder holds no version.
    """
    manifest = manifest_of(folder)
    with tempfile.TemporaryDirectory(prefix="conceptry-playground-") as scratch:
        place, cache = Path(scratch) / "page", Path(scratch) / "cache"
        render_page(folder, manifest, place, cache)
        offline = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
        environment = page_basics(free_port(port)) | offline | weights_variables()
        run_child(_page_process(place, environment), title_of(manifest), "the Space")


def run_child(child: Child, what: str, kind: str, *, hint: str | None = None) -> None:
    """Run a process until Ctrl-C."""
    console = out()
    end_on_sigterm()
    with ExitStack() as running:
        try:
            running.callback(child.wait)
            running.callback(child.request_stop)
            stay(child, what, kind, console, hint=hint)
        except KeyboardInterrupt:
            console.print("Stopped.")


def run_version(root: Path | None, ref: VersionRef, kind: str, make: Make) -> None:
    """Find a version and run its process until Ctrl-C.

    Raises:
        ConceptryError: the version does not exist.
    """
    console = out()
    end_on_sigterm()
    with ExitStack() as running:
        try:
            installation = with_hub(root, running)
            session = HubSession(installation.hub)
            version = ref.choose(read_live(session, ref.name))
            child, hint = make(installation, session, ref.name, version)
            running.callback(child.wait)
            running.callback(child.request_stop)
            stay(child, f"{ref.name} {version.name}", kind, console, hint=hint)
        except KeyboardInterrupt:
            console.print("Stopped.")


def with_hub(root: Path | None, running: ExitStack) -> Installation:
    """Return the installation, and start the set-up's local Hub unless `conceptry up` runs it already.

    A process of another set-up that listens on the remembered port gets no request and no token.
    """
    installation = running.enter_context(open_installation(root))
    folder = folder_in_use(root)
    if folder is None or (folder.is_open() and answers(f"{installation.hub.endpoint}/healthz")):
        return installation
    stack = running.enter_context(Stack(folder, folder.read()))
    return replace(installation, hub=replace(installation.hub, endpoint=stack.start_hub().hub_endpoint))


def _page(installation: Installation, session: HubSession, name: str, version: Version, *, port: int) -> Child:
    spec = spec_of_today(installation, name)
    if spec is None:
        spec = ConceptSpec.model_validate(read_manifest(session, name, version).spec)
    place = installation.work.root / "playground" / f"{name}-{version.name}"
    render_space(place, *space_of(session, name, spec, version))
    weights = weights_variables(installation.base_dir)
    return _page_process(place, page_environment(installation, place.parent / "cache", port) | weights)


def _page_process(place: Path, environment: dict[str, str]) -> Child:
    address = f"http://127.0.0.1:{environment['GRADIO_SERVER_PORT']}"
    log = place.with_suffix(".log")
    return Child(address, [sys.executable, "app.py"], environment, log, lambda: answers(address), place)


def page_basics(port: int) -> dict[str, str]:
    """Return the variables of a page that name no Hub; `port` is on 127.0.0.1."""
    return environment_without_credentials() | {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_XET": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }


def page_environment(installation: Installation, cache: Path, port: int) -> dict[str, str]:
    """Return the environment of a page, which runs code of `space.override`: no token that may write.

    Args:
        installation: Installation whose Hub the page reads.
        cache: Folder for downloads from the Hub.
        port: Port on 127.0.0.1.
    """
    environment = page_basics(port) | {"HF_ENDPOINT": installation.hub.endpoint, "HF_HUB_CACHE": str(cache)}
    token = installation.settings.space_token
    if token is not None and token != installation.hub.token:
        environment["HF_TOKEN"] = token.get_secret_value()
    return environment


def spec_of_today(installation: Installation, name: str) -> ConceptSpec | None:
    """Return the spec that determines the Space's appearance: that of the current checkout, else that in git.

    Returns None if git has no such concept or cannot be read; the Space then looks as in the version's spec.

    Raises:
        SpecError: the concept.yaml of the checkout has mistakes.
    """
    here = Path(spec_path(name))
    with suppress(SettingsError):
        if here.is_file() and without_login(origin_of(Path.cwd())) == installation.settings.repo:
            return load_spec(here.read_text(encoding="utf-8"), str(here), read_entries(find_top(Path.cwd())))
    with suppress(ConceptryError):
        concept = read_desired(installation, only=name).concepts.get(name)
        return concept.spec if concept else None
    return None


def stay(child: Child, what: str, kind: str, console: Console, *, hint: str | None = None) -> None:
    """Start a page or a server, print its address, and block until it ends or Ctrl-C."""
    child.start()
    with console.status(f"starting {kind} of {what}"):
        child.wait_until_ready(_START_TIMEOUT)
    console.print(f"[bold]{what}[/] is at [bold]{child.title}[/]. Ctrl-C ends it. [dim](log: {child.log})[/]")
    if hint:
        console.print(hint, markup=False, highlight=False, soft_wrap=True)
    while True:
        child.check()
        time.sleep(0.5)
