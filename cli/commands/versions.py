"""Commands about what was made: versions, show, diff, pull, history, import, gc and delete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json, Name, Root

_ONE = "A version: my-cat@v2, my-cat@release, my-cat@latest; without @ the released one, else the newest."


def versions(name: Name, root: Root = None, json: Json = False) -> None:
    """List the published versions of a concept, and which one its Space serves."""
    from cli.versions import show_versions

    show_versions(root, name, as_json=json)


def show(
    version: Annotated[str, typer.Argument(help=_ONE, metavar="NAME[@VERSION]")], root: Root = None, json: Json = False
) -> None:
    """Show one version: gate, lineage, metrics, concept.yaml, images and files."""
    from cli.inspect import show

    show(root, version, as_json=json)


def diff(
    old: Annotated[str, typer.Argument(help=_ONE, metavar="NAME@OLD")],
    new: Annotated[str, typer.Argument(help="The version to compare it with.", metavar="NAME@NEW")],
    picture: Annotated[
        Path | None, typer.Option("--picture", help="PNG to write with both grids side by side.", dir_okay=False)
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Compare two versions: images, concept.yaml, metrics, the vectors' cosine, and both grids side by side."""
    from cli.inspect import diff

    diff(root, old, new, picture, as_json=json)


def pull(
    version: Annotated[str, typer.Argument(help=_ONE, metavar="NAME[@VERSION]")],
    folder: Annotated[Path, typer.Argument(help="Where its files go.", metavar="DIR", file_okay=False)],
    root: Root = None,
) -> None:
    """Bring a version here, every file checked by its sha256."""
    from cli.inspect import pull

    pull(root, version, folder)


def history(name: Name, root: Root = None, json: Json = False) -> None:
    """Tell what became of a concept: its commits in git, its versions and releases on the Hub."""
    from cli.inspect import history

    history(root, name, as_json=json)


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="learned_embeds.safetensors, .bin or .pt, or a folder of an sd-concepts-library repo.", exists=True
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="The concept: a folder under concepts/, made when missing.")],
    token: Annotated[str | None, typer.Option("--token", help='Its word, "<my-cat>"; the source may say it.')] = None,
    init: Annotated[
        str | None, typer.Option("--init", help="A known word to start from, should it ever be trained again.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option("--base-model", help="tiny or sd-v1-4; told by the vectors' width.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder with its pictures, if there are any.", file_okay=False)
    ] = None,
    root: Root = None,
) -> None:
    """Take vectors that were learned elsewhere as a concept's version: published as they are, never trained."""
    from cli.import_ import Source, run

    run(root, Source(source, name, token, init, base_model, images))


def gc(
    names: Annotated[
        list[str] | None, typer.Argument(help="Concepts to look at; all when left out.", metavar="NAME...")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Really delete; without it nothing is changed.")] = False,
    last: Annotated[int | None, typer.Option("--last", help="Keep so many of the newest versions.", min=1)] = None,
    days: Annotated[
        int | None, typer.Option("--days", help="Keep what git asked for within so many days.", min=0)
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Show which versions may go, and with --apply delete them.

    Released versions stay, the newest ones, and those that git asked for lately; conceptry.yaml says how many.
    """
    from cli.keep import collect

    collect(root, names or [], last, days, apply=apply, as_json=json)


def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: Root = None,
) -> None:
    """Delete a concept that is no longer in git from the Hub, with all its versions. It cannot be undone."""
    from cli.keep import delete

    delete(root, name, sure=yes)
