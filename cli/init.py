"""`conceptry init`: make a repository for concepts in any folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.prompt import Prompt

from cli.new import ask_base_model
from cli.options import BaseModelOption
from local.setup_folder import LOCAL_OWNER
from tasks.git.checkout import BASE_MODEL, setting_of
from tasks.git.new_repository import WRITTEN, NewRepository, Prepared, check_folder, default_remote, prepare
from tasks.weights_files import default_folder, missing_files


def command(
    folder: Annotated[
        Path, typer.Argument(help="Folder of the repository; it is made if necessary.", file_okay=False)
    ] = Path(),
    remote: Annotated[
        str | None,
        typer.Option("--remote", help="DVC remote for the images: a folder, or an address. Default: a folder beside."),
    ] = None,
    hub_owner: Annotated[
        str | None,
        typer.Option(
            "--hub-owner", help="User or organization on the Hugging Face Hub. Default: the local Hub of `up`."
        ),
    ] = None,
    base_model: Annotated[str | None, BaseModelOption] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take the defaults.")] = False,
) -> None:
    """Prepare a folder for concepts: git, DVC with a default remote, .gitignore, and the schema for editors.

    What exists is left as it is, so that it may be run again. Nothing is committed. On a terminal it asks for what no
    option says.
    """
    top = folder.expanduser().resolve()
    check_folder(top)
    asks = not yes and sys.stdin.isatty()
    if asks and remote is None and not (top / ".dvc").is_dir():
        remote = Prompt.ask("DVC remote, where the images are stored", default=default_remote(top))
    if asks and hub_owner is None:
        hub_owner = Prompt.ask(
            "User or organization on the Hugging Face Hub (local: a Hub on this machine)", default=LOCAL_OWNER
        )
    if asks and base_model is None and setting_of(top, BASE_MODEL) is None:
        base_model = ask_base_model()
    prepared = prepare(NewRepository(top, _absolute(remote), base_model))
    describe(top, prepared, hub_owner or LOCAL_OWNER, base_model or setting_of(top, BASE_MODEL))


def describe(top: Path, prepared: Prepared, owner: str, base_model: str | None) -> None:
    """Print what was made and what existed, and the next commands."""
    console = Console(highlight=False, soft_wrap=True)
    for what in prepared.made:
        console.print("[green]✓[/] made:", what)
    for what in prepared.kept:
        console.print("[dim]· there:", what)
    for note in prepared.notes:
        console.print("! ", note, style="yellow", sep="", markup=False)
    console.print("\nNext:\n")
    for line in next_commands(top, owner, base_model, commit=bool(prepared.made)):
        console.print(f"  {line}", markup=False)


def next_commands(top: Path, owner: str, base_model: str | None, *, commit: bool) -> list[str]:
    """Return the commands from here to a first training; `commit` is whether there is something to commit."""
    here = [] if top == Path.cwd() else [f"cd {shlex.quote(str(top))}"]
    if commit:
        here += [f"git add {' '.join(WRITTEN)}", 'git commit -m "Prepare for concepts"']
    first = 'conceptry new my-cat --images FOLDER --token "<my-cat>" --init cat'
    weights = base_model is not None and missing_files(base_model, default_folder())
    fetch = [f"conceptry base fetch --base-model {base_model}"] if weights else []
    if owner == LOCAL_OWNER:
        return [*here, *fetch, first, "conceptry up        # the local Hub, Prefect, and the trainings"]
    settings = [
        f"export CONCEPTRY_REPO={top} CONCEPTRY_HUB_OWNER={owner}    # or the address that you push to",
        "export CONCEPTRY_HUB_TOKEN=...      # https://huggingface.co/settings/tokens, with write access to your repos",
    ]
    return [*here, *fetch, first, *settings, "conceptry plan"]


def _absolute(remote: str | None) -> str | None:
    """Return an address, or the absolute path of a folder: a relative one is undefined outside of the clone."""
    return remote if remote is None or "://" in remote else str(Path(remote).expanduser().resolve())
