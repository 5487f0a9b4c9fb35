"""Demo: prepare folder and servers, run the story, draw the contact sheet, print the next commands."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from prefect.client.orchestration import get_client
from rich.console import Console
from rich.panel import Panel

from conceptry.errors import ConceptryError
from conceptry.installation import HubTarget
from conceptry.version import Manifest, Version
from local.contact_sheet import Panel as SheetPanel
from local.contact_sheet import Row, contact_sheet
from local.current_setup import open_installation
from local.demo.observer import Observer
from local.demo.story import Story, places, setup
from local.demo.story_console import StoryConsole
from local.demo.subjects import NIGHT_LIGHT, Subject
from local.prefect_settings import prefect_of
from local.servers import Stack, end_on_sigterm
from local.setup_folder import Folder
from tasks.hub import HubSession, download
from tasks.hub.session import MANIFEST

_WIDTH = 110


def run(root: Path, *, fresh: bool) -> int:
    """Run the story in `root`; return the exit code, 0 if every expectation was met.

    Args:
        root: Scratch folder; it is kept.
        fresh: Delete what an earlier demo left there, instead of refusing.

    Raises:
        ConceptryError: the folder is in use, or an expectation of the story failed.
    """
    folder = Folder.at(root)
    _clear(folder, fresh)
    terminal = Console(highlight=False)
    terminal = terminal if terminal.is_terminal else Console(highlight=False, width=_WIDTH)
    console = StoryConsole(terminal)
    end_on_sigterm()
    terminal.print("[bold]Conceptry[/]: pictures in git become words that Stable Diffusion knows.")
    with Stack(folder, setup(folder)) as stack:
        sheet = _run_story(folder, stack, console)
        with terminal.status("stopping the servers"):
            stack.stop()
    terminal.print()
    terminal.print(console.table())
    terminal.print()
    terminal.print(_farewell(root, sheet, console.elapsed))
    return 0


def _run_story(folder: Folder, stack: Stack, console: StoryConsole) -> Path:
    story = Story(folder, stack, console)
    story.prepare()
    with open_installation(folder.root), prefect_of(folder.root), get_client(sync_client=True) as client:
        observer = Observer(stack, client)
        story.first_training_begins(observer)
        story.forgotten_push(observer)
        story.first_version(observer)
        story.repainted(observer)
        story.second_versions(observer)
        story.back_to_v1(observer)
    return _draw_sheet(folder, stack, story.versions)


def _clear(folder: Folder, fresh: bool) -> None:
    """Empty the folder of an earlier demo if `fresh`; refuse every other folder that is not empty."""
    if not folder.root.exists() or not any(folder.root.iterdir()):
        return
    if not folder.exists():
        raise ConceptryError(
            f"{folder.root} is not empty and was not made by the demo", next_step="choose another folder with --root"
        )
    if not fresh:
        raise ConceptryError(
            f"{folder.root} contains an earlier demo",
            next_step=f"inspect it with `conceptry up --root {_shown(folder.root)}`, or start over with --fresh",
        )
    shutil.rmtree(folder.root)


def _draw_sheet(folder: Folder, stack: Stack, versions: Sequence[tuple[Subject, Version]]) -> Path:
    session = HubSession(HubTarget(stack.setup.hub_endpoint, stack.setup.hub_owner))
    rows = []
    for subject, version in versions:
        place = folder.work / "demo" / f"{subject.name}-{version.name}"
        download(session, subject.name, version.name, place)
        samples = place / "samples"
        loss = "" if version.loss is None else f"held-out loss {version.loss:.3f}, "
        rows.append(
            Row(
                f"{subject.name} {version.name}",
                f"“a photo of {subject.token}”, {loss}gate {version.gate}",
                [
                    SheetPanel(f"{len(version.images)} images", _taught(folder, place)),
                    SheetPanel(f"before: drawn with “{subject.initializer}”", [samples / "initializer.png"]),
                    SheetPanel(f"after: drawn with {subject.token}", [samples / "grid.png"]),
                ],
            )
        )
    return contact_sheet(rows, folder.root / "contact-sheet.png")


def _taught(folder: Folder, version: Path) -> list[Path]:
    """Return the images of a downloaded version in the DVC remote; git has those of the newest version only."""
    _, remote, _ = places(folder)
    manifest = Manifest.model_validate_json((version / MANIFEST).read_bytes())
    return [remote / "files" / "md5" / md5[:2] / md5[2:] for md5 in manifest.images.values()]


def _farewell(root: Path, sheet: Path, seconds: float) -> Panel:
    minutes, left = divmod(round(seconds), 60)
    shown = _shown(root)
    lines = [
        f"Open        [bold]{_shown(sheet)}[/]   the images, and what was drawn before and after",
        f"Browse      [bold]conceptry up --root {shown}[/]   the same folder: Prefect, the Hub's pages",
        f"Draw        [bold]conceptry playground {NIGHT_LIGHT.name}@v2 --root {shown}[/]",
        f"List        [bold]conceptry versions {NIGHT_LIGHT.name} --root {shown}[/]   while `up` runs",
    ]
    title = f"Every step succeeded, in {minutes} min {left} s; the servers are stopped"
    return Panel("\n".join(lines), title=title, title_align="left", expand=False)


def _shown(path: Path) -> str:
    """Return a path relative to the working directory if possible."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
