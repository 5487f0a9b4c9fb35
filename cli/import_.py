"""`conceptry import`: publish vectors that were learned elsewhere, of one concept or of a folder of many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.embeds_import import Imported, Wanted, import_embeds, token_of
from cli.library_import import find_concepts, import_library
from cli.new import Added, commands, print_commands
from cli.options import Root, known_base_model
from conceptry.installation import Installation
from local.console import out
from local.current_setup import open_running
from tasks.embeds import Embeds, is_embeds_folder, read_embeds
from tasks.git.checkout import find_top


def command(
    source: Annotated[
        Path,
        typer.Argument(
            help="File of diffusers, a web UI or the original textual_inversion (.safetensors, .bin, .pt), a folder of "
            "an sd-concepts-library repo, or a folder of such folders.",
            exists=True,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="The concept: a folder under concepts/, created if missing. Of a folder of folders each is a concept "
            "of its own name.",
        ),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", help='Its token, "<my-cat>"; default: that of the source.')
    ] = None,
    init: Annotated[
        str | None, typer.Option("--init", help="A known word from which a later training would start.")
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(
            "--base-model",
            help="tiny, sd-v1-4, or a name in bases.yaml; default: by the vectors' width.",
            callback=known_base_model,
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder with its images, if any.", file_okay=False)
    ] = None,
    root: Root = None,
) -> None:
    """Publish vectors that were learned elsewhere as a concept's version, without a training.

    Of a folder of folders each one is imported, whatever happens to the others; started again it goes on with those
    that are not published. Exit code: 1 if any failed.
    """
    wanted = Wanted(token, init, base_model, images)
    folders = find_concepts(source) if source.is_dir() and not is_embeds_folder(source) else ()
    if folders and (name or token or images):
        raise typer.BadParameter(f"--name, --token and --images are of one concept, and {source} holds {len(folders)}")
    if not folders and not name:
        raise typer.BadParameter("pass the concept's name with --name")
    with open_running(root) as installation:
        if folders:
            failed = import_library(installation, find_top(Path.cwd()), folders, wanted)
            raise typer.Exit(1 if failed else 0)
        _import_one(installation, source, str(name), wanted)


def _import_one(installation: Installation, source: Path, name: str, wanted: Wanted) -> None:
    embeds = read_embeds(source)
    done, added = import_embeds(installation, find_top(Path.cwd()), name, embeds, wanted)
    console = out()
    _tell(console, name, embeds, done)
    if added is None:
        return
    token = token_of(name, embeds, wanted)
    if embeds.token not in (None, token):
        console.print(f"Its token is {token}; the file says {embeds.token}.", markup=False)
    _what_next(added, console)


def _tell(console: Console, name: str, embeds: Embeds, done: Imported) -> None:
    word = "was published before" if done.existed else "is published"
    what = f"[green]✓[/] {name} [bold]{done.version.name}[/] {word}"
    many = f"{len(embeds.rows)} vectors" if len(embeds.rows) > 1 else "a vector"
    console.print(f"{what}: {many} of width {embeds.rows.shape[1]}.")


def _what_next(added: Added, console: Console) -> None:
    console.print("\nReview concept.yaml (a change of a training key would start a training), then:\n")
    print_commands(console, commands(added, "the watcher serves it, without a training"))
