"""The commands and their options. Bodies import what they use: see the package's docstring."""

from __future__ import annotations

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
def plan(root: Root = None, json: Json = False) -> None:
    """Show what the registry would do now, and why: git compared with the Hub. Changes nothing.

    Exit code: 0 nothing to do, 2 something to do, 1 the plan could not be made or a concept is broken (Degraded).
    """
    from flows.cli.plan import show_plan

    raise typer.Exit(show_plan(root, as_json=json))


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


@app.command()
def up(
    root: Annotated[
        Path, typer.Option("--root", help="Folder that keeps databases, Hub and logs.", file_okay=False)
    ] = Path(".conceptry"),
    watch_every: Annotated[
        int | None, typer.Option("--watch-every", help="Seconds between two looks at git (30).", min=1)
    ] = None,
) -> None:
    """Run everything on this machine: a Prefect server with its UI, a local Hub, and the flows. Ctrl-C ends it all.

    Reads concepts from the `origin` of the git repository you are in, unless the folder remembers another one.
    """
    from flows.cli.up import run

    run(root, watch_every)


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
