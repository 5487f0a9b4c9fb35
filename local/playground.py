"""`conceptry playground`: a published version's Space, on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from rich.console import Console

from local.console import out
from conceptry.concept import ConceptSpec, load_spec, spec_path
from conceptry.errors import ConceptryError, SettingsError
from conceptry.settings import Settings
from conceptry.version import ActualConcept, Version
from flows.rendering import read_manifest, render_space
from flows.state import read_git
from local.child_process import Child, answers, clean_environment, free_port
from local.servers import Stack, end_on_sigterm, is_open
from local.setup_folder import folder_in_use, load_settings, repository_here
from tasks.hub import HubTarget, list_actual

MIRROR = "CONCEPTRY_BASE_URL"
# An endpoint that has to fetch its weights, four gigabytes, answers when it has them. What dies is noticed at once.
_START_TIMEOUT = 3600.0


def play(root: Path | None, concept: str, port: int) -> None:
    """Render the Space of `NAME` or `NAME@vN`, start it on loopback and stay until Ctrl-C.

    Raises:
        ConceptryError: there is no such version.
    """

    def page(target: HubTarget, settings: Settings, name: str, version: Version) -> tuple[Child, str | None]:
        return _page(target, settings, name, version, free_port(port)), None

    run_version(root, concept, "the Space", page)


Make = Callable[[HubTarget, Settings, str, Version], tuple[Child, str | None]]
"""Makes the process that serves a version, and a hint for whoever started it."""


def run_version(root: Path | None, concept: str, kind: str, make: Make) -> None:
    """Find the version that `NAME` or `NAME@vN` means, make something of it and stay until Ctrl-C.

    Raises:
        ConceptryError: there is no such version.
    """
    name, _, wanted = concept.partition("@")
    console = out()
    end_on_sigterm()
    with ExitStack() as running:
        try:
            settings = with_hub(root, running)
            target = HubTarget(settings.hub_endpoint, settings.hub_owner, settings.hub_token)
            version = choose(list_actual(target).concepts.get(name), name, wanted, target.endpoint)
            child, hint = make(target, settings, name, version)
            running.callback(child.wait)
            running.callback(child.ask_to_end)
            stay(child, f"{name} {version.name}", kind, console, hint)
        except KeyboardInterrupt:
            console.print("Stopped.")


def choose(concept: ActualConcept | None, name: str, wanted: str, where: str = "the Hub") -> Version:
    """The version called `wanted`; without a name the released one, else the newest. `where` was looked for it.

    Raises:
        ConceptryError: it does not exist.
    """
    versions = {version.name: version for version in concept.versions} if concept else {}
    released = concept.space.release if concept and concept.space else None
    newest = max(versions.values(), key=lambda version: version.number).name if versions else ""
    chosen = versions.get(wanted or released or newest)
    if chosen is None:
        what = f"there is no version {wanted}" if wanted else "nothing is published"
        raise ConceptryError(what, concept=name, next_step=f"there is: {', '.join(versions) or f'none on {where}'}")
    return chosen


def with_hub(root: Path | None, running: ExitStack) -> Settings:
    """The settings, with the set-up's local Hub running: `up` may be running it already.

    What else listens at the remembered port is not asked, and gets no token: it is another set-up's.
    """
    settings = load_settings(root)
    folder = folder_in_use(root)
    if folder is None or (is_open(folder) and answers(f"{settings.hub_endpoint}/healthz")):
        return settings
    stack = running.enter_context(Stack(folder, folder.read()))
    return settings.model_copy(update={"hub_endpoint": stack.start_hub().hub_endpoint})


def _page(target: HubTarget, settings: Settings, name: str, version: Version, port: int) -> Child:
    spec = spec_of_today(settings, name)
    if spec is None:
        spec = ConceptSpec.model_validate(read_manifest(target, version, name).spec)
    place = (settings.work / "playground" / f"{name}-{version.name}").absolute()
    render_space(settings, name, spec, version, place)
    environment = clean_environment() | {
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_ENDPOINT": target.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_CACHE": str(place.parent / "cache"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    environment |= weights_of(settings)
    if settings.hub_token is not None:
        environment["HF_TOKEN"] = settings.hub_token.get_secret_value()
    log = place.with_suffix(".log")
    address = f"http://127.0.0.1:{port}"
    return Child(address, [sys.executable, "app.py"], environment, log, lambda: answers(address), place)


def spec_of_today(settings: Settings, name: str) -> ConceptSpec | None:
    """The concept.yaml that says how the Space looks: of the checkout one stands in, committed or not, else git's.

    None when git knows no such concept, or cannot be asked: then the Space looks as on the day of its training.

    Raises:
        SpecError: the checkout's has mistakes.
    """
    here = Path(spec_path(name))
    with suppress(SettingsError):
        if here.is_file() and repository_here(Path.cwd()) == settings.repo:
            return load_spec(here.read_text(encoding="utf-8"), str(here))
    with suppress(ConceptryError):
        concept = read_git(settings, only=name).concepts.get(name)
        return concept.spec if concept else None
    return None


def weights_of(settings: Settings) -> dict[str, str]:
    """Where a base model's weights lie, or can be fetched from, as Space and handler read it."""
    found = {MIRROR: os.environ[MIRROR]} if MIRROR in os.environ else {}
    return found | ({"CONCEPTRY_BASE_DIR": str(settings.base_dir.absolute())} if settings.base_dir else {})


def stay(child: Child, what: str, kind: str, console: Console, hint: str | None = None) -> None:
    """Start a page or a server, say where it is, and stay until it ends or somebody ends it."""
    child.start()
    with console.status(f"starting {kind} of {what}"):
        child.wait_until_ready(_START_TIMEOUT)
    console.print(f"[bold]{what}[/] is at [bold]{child.title}[/]. Ctrl-C ends it. [dim](log: {child.log})[/]")
    if hint:
        console.print(hint, markup=False, highlight=False, soft_wrap=True)
    while True:
        child.check()
        time.sleep(0.5)
