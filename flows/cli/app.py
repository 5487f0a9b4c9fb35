"""The commands and their options. Bodies import what they use: see the package's docstring."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="conceptry",
    help="A GitOps registry of Stable Diffusion concepts: pictures in git and DVC, trained tokens on the Hub.",
    epilog="A first look: `conceptry demo`. Your own pictures: `conceptry new`, then `conceptry plan`.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
hub_app = typer.Typer(name="hub", help="The local Hub: a Hugging Face Hub on this machine.", no_args_is_help=True)
app.add_typer(hub_app)
setup_app = typer.Typer(name="setup", help="Prepare a place where trainings run.", no_args_is_help=True)
app.add_typer(setup_app)
base_app = typer.Typer(name="base", help="The base models that concepts are trained on.", no_args_is_help=True)
app.add_typer(base_app)


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        help="Folder of a set-up that `conceptry up` or `conceptry demo` made. Without it: CONCEPTRY_... variables, "
        "else .conceptry in this directory.",
        file_okay=False,
    ),
]
Name = Annotated[str, typer.Argument(help="The concept: the name of its folder under concepts/.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


@app.command()
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
    from flows.cli.new import Wanted, add_concept, describe

    wanted = Wanted(name, images, token, init, "style" if style else "object", base_model)
    describe(add_concept(Path.cwd(), wanted))


@app.command()
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
    from flows.cli.plan import Wish, show_plan, show_schema

    if schema:
        show_schema()
        return
    raise typer.Exit(show_plan(root, Wish(json, markdown, out, ref)))


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="A plan that `conceptry plan --out` saved.", exists=True)],
    root: Root = None,
) -> None:
    """Do what a saved plan says, and only that: it is refused when git or the Hub has moved since."""
    from flows.cli.plan import apply_plan

    apply_plan(root, file)


@app.command()
def train(
    name: Name,
    root: Root = None,
) -> None:
    """Train, judge and publish one concept now, as it is in git, without waiting for the watcher.

    The run goes to the Prefect server when one is configured (PREFECT_API_URL), else it happens in this process.
    A concept whose inputs are published already is not trained again.
    """
    from flows.cli.train import train_now

    train_now(root, name)


@app.command()
def versions(name: Name, root: Root = None, json: Json = False) -> None:
    """List the published versions of a concept, and which one its Space serves."""
    from flows.cli.versions import show_versions

    show_versions(root, name, as_json=json)


_ONE = "A version: my-cat@v2, my-cat@release, my-cat@latest; without @ the released one, else the newest."


@app.command()
def show(
    version: Annotated[str, typer.Argument(help=_ONE, metavar="NAME[@VERSION]")], root: Root = None, json: Json = False
) -> None:
    """Show one version: gate, lineage, metrics, concept.yaml, images and files."""
    from flows.cli.inspect import show

    show(root, version, as_json=json)


@app.command()
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
    from flows.cli.inspect import diff

    diff(root, old, new, picture, as_json=json)


@app.command()
def pull(
    version: Annotated[str, typer.Argument(help=_ONE, metavar="NAME[@VERSION]")],
    folder: Annotated[Path, typer.Argument(help="Where its files go.", metavar="DIR", file_okay=False)],
    root: Root = None,
) -> None:
    """Bring a version here, every file checked by its sha256."""
    from flows.cli.inspect import pull

    pull(root, version, folder)


@app.command()
def history(name: Name, root: Root = None, json: Json = False) -> None:
    """Tell what became of a concept: its commits in git, its versions and releases on the Hub."""
    from flows.cli.inspect import history

    history(root, name, as_json=json)


@app.command("import")
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
    from flows.cli.importing import Source, run

    run(root, Source(source, name, token, init, base_model, images))


@app.command()
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
    from flows.cli.lint import run

    raise typer.Exit(run(root, remote=remote, strict=strict, form=form.value))


@app.command()
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
    from flows.cli.keep import verify

    raise typer.Exit(verify(root, names or [], as_json=json))


@app.command()
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
    from flows.cli.keep import collect

    collect(root, names or [], last, days, apply=apply, as_json=json)


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    root: Root = None,
) -> None:
    """Delete a concept that is no longer in git from the Hub, with all its versions. It cannot be undone."""
    from flows.cli.keep import delete

    delete(root, name, sure=yes)


@app.command()
def up(
    root: Annotated[
        Path, typer.Option("--root", help="Folder that keeps databases, Hub and logs.", file_okay=False)
    ] = Path(".conceptry"),
    watch_every: Annotated[
        int | None, typer.Option("--watch-every", help="Seconds between two looks at git (30).", min=1)
    ] = None,
    cloud_emulated: Annotated[
        bool | None,
        typer.Option(
            "--cloud-emulated/--no-cloud-emulated",
            help="Train on an emulated Vertex AI with an emulated bucket, the way a real cloud is used. Remembered.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run everything on this machine: a Prefect server with its UI, a local Hub, and the flows. Ctrl-C ends it all.

    Reads concepts from the `origin` of the git repository you are in, unless the folder remembers another one.
    """
    from flows.cli.up import run

    run(root, watch_every, cloud_emulated)


@app.command()
def demo(
    root: Annotated[
        Path, typer.Option("--root", help="Scratch folder; kept, to look around in afterwards.", file_okay=False)
    ] = Path("demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what an earlier demo left in the folder.")] = False,
) -> None:
    """Tell the whole story on this machine in a few minutes: pictures in git become a published concept."""
    from flows.demo import run

    raise typer.Exit(run(root, fresh=fresh))


@app.command()
def playground(
    concept: Annotated[str, typer.Argument(help="A concept, or one of its versions: my-cat or my-cat@v2.")],
    root: Root = None,
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1; another one when it is taken.")] = 7860,
) -> None:
    """Open a published concept's Space on this machine: a page that draws with the token. Ctrl-C ends it."""
    from flows.cli.playground import play

    play(root, concept, port)


@app.command()
def endpoint(
    concept: Annotated[str, typer.Argument(help="A concept, or one of its versions: my-cat or my-cat@v2.")],
    root: Root = None,
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1; another one when it is taken.")] = 8080,
) -> None:
    """Serve a published version on this machine as an Inference Endpoint would: an API that draws. Ctrl-C ends it."""
    from flows.cli.endpoint import serve as serve_endpoint

    serve_endpoint(root, concept, port)


@hub_app.command("serve")
def hub_serve(
    root: Annotated[Path, typer.Option("--root", help="Folder of repositories and objects.", file_okay=False)],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to listen on.")] = 4280,
    accounts: Annotated[
        Path | None,
        typer.Option("--accounts", help="YAML list of accounts. Without it: local, token hf_local.", dir_okay=False),
    ] = None,
    run: Annotated[
        bool | None,
        typer.Option(
            "--run/--no-run",
            help="Run Spaces and Inference Endpoints as processes of this machine, with your rights. Default: on a "
            "loopback address only.",
        ),
    ] = None,
    max_apps: Annotated[int, typer.Option("--max-apps", help="How many of them run at once.", min=1)] = 4,
    app_memory: Annotated[float, typer.Option("--app-memory", help="Memory of each, in GB.", min=0.05)] = 4.0,
) -> None:
    """Serve the local Hub alone, in the foreground. The huggingface_hub client needs HF_ENDPOINT set to its address."""
    from flows.cli.hub import Apps, serve

    raise typer.Exit(serve(root, host, port, accounts, Apps(run, max_apps, app_memory)))


@setup_app.command("gcp")
def setup_gcp(
    root: Root = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            "--credentials",
            help="Key file of a service account. Without it: the registered block, else the machine's own identity.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="Bucket for records and results. Without it: the registered block.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Register nothing; only look.")] = False,
) -> None:
    """Register the Prefect blocks that trainings on Vertex AI need, and say what is still missing and how to mend it.

    Reads CONCEPTRY_VERTEX_... variables (project, region, image, machine). Exit code: 0 ready, 1 something is missing.
    """
    from flows.cli.setup import Wanted, run

    raise typer.Exit(run(root, Wanted(credentials, bucket, check)))


@base_app.command("fetch")
def base_fetch(
    base_model: Annotated[str, typer.Option("--base-model", help="tiny or sd-v1-4.")] = "sd-v1-4",
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder for the weights; CONCEPTRY_BASE_DIR.", file_okay=False)
    ] = None,
) -> None:
    """Bring a base model's weights into a folder (4.3 GB for sd-v1-4), each file checked by its sha256.

    What is there already stays; a download that was cut off goes on where it ended.
    """
    from flows.cli.base import fetch

    raise typer.Exit(fetch(base_model, into))
