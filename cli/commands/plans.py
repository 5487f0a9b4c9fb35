"""Commands about what git asks for: new, plan, apply, train, lint and verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Format, Json, Name, Root


def new(
    name: Annotated[
        str, typer.Argument(help="Name of the concept: lower-case letters, digits and single hyphens.", metavar="NAME")
    ],
    images: Annotated[
        Path, typer.Option("--images", help="Folder with the pictures (they are copied).", exists=True, file_okay=False)
    ],
    token: Annotated[str, typer.Option("--token", help='The word to teach, in angle brackets: "<my-cat>".')],
    init: Annotated[str, typer.Option("--init", help="A known word to start from, for example cat.")],
    style: Annotated[bool, typer.Option("--style", help="The pictures share a style, not a thing.")] = False,
    base_model: Annotated[str, typer.Option("--base-model", help="The model to teach: tiny or sd-v1-4.")] = "tiny",
) -> None:
    """Add a concept to this repository: write its concept.yaml, copy the pictures, and give them to DVC.

    Nothing is committed or pushed; the commands that come next are printed.
    """
    from cli.new import Wanted, add_concept, describe

    wanted = Wanted(name, images, token, init, "style" if style else "object", base_model)
    describe(add_concept(Path.cwd(), wanted))


def plan(
    root: Root = None,
    json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a comment on a review.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also keep the plan in a file, for `conceptry apply`.", dir_okay=False)
    ] = None,
    ref: Annotated[
        str | None, typer.Option("--ref", help="Branch, tag or commit of the repository to plan for, as if merged.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of --json instead.")] = False,
) -> None:
    """Show what the registry would do now, and why: git compared with the Hub. Changes nothing.

    Exit code: 0 nothing to do, 2 something to do, 1 the plan could not be made or all that is left is Degraded.
    """
    from cli.plan import Wish, show_plan, show_schema

    if schema:
        show_schema()
        return
    raise typer.Exit(show_plan(root, Wish(json, markdown, out, ref)))


def apply(
    file: Annotated[Path, typer.Argument(help="A plan that `conceptry plan --out` saved.", exists=True)],
    root: Root = None,
) -> None:
    """Do what a saved plan says, and only that: it is refused when git or the Hub has moved since."""
    from cli.plan import apply_plan

    apply_plan(root, file)


def train(
    name: Name,
    root: Root = None,
) -> None:
    """Train, judge and publish one concept now, as it is in git, without waiting for the watcher.

    The run goes to the Prefect server when one is configured (PREFECT_API_URL), else it happens in this process.
    A concept whose inputs are published already is not trained again.
    """
    from cli.train import train_now

    train_now(root, name)


def lint(
    remote: Annotated[
        bool, typer.Option("--remote/--no-remote", help="Whether to ask the DVC remote and the Hub.")
    ] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    form: Annotated[
        Format, typer.Option("--format", help="How to print what was found.", case_sensitive=False)
    ] = Format.TEXT,
    root: Root = None,
) -> None:
    """Check all concepts of this checkout: mistakes in files, tokens, initializers, releases, images, missing data.

    Exit code: 0 no error, 1 something must be mended.
    """
    from cli.lint import run

    raise typer.Exit(run(root, remote=remote, strict=strict, form=form.value))


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Concepts or versions (my-cat@v2); all when left out.", metavar="NAME...")
    ] = None,
    root: Root = None,
    json: Json = False,
) -> None:
    """Hash everything again, from git through DVC to the Hub, and say what is not as it should be.

    Exit code: 0 all is right, 1 something is not.
    """
    from cli.keep import verify

    raise typer.Exit(verify(root, names or [], as_json=json))
