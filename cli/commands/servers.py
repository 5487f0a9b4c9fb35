"""Commands that serve or prepare: up, demo, playground, endpoint, hub serve, setup gcp and base fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Root


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
    from cli.up import run

    run(root, watch_every, cloud_emulated)


def demo(
    root: Annotated[
        Path, typer.Option("--root", help="Scratch folder; kept, to look around in afterwards.", file_okay=False)
    ] = Path("demo"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what an earlier demo left in the folder.")] = False,
) -> None:
    """Tell the whole story on this machine in a few minutes: pictures in git become a published concept."""
    from local.demo import run

    raise typer.Exit(run(root, fresh=fresh))


def playground(
    concept: Annotated[str, typer.Argument(help="A concept, or one of its versions: my-cat or my-cat@v2.")],
    root: Root = None,
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1; another one when it is taken.")] = 7860,
) -> None:
    """Open a published concept's Space on this machine: a page that draws with the token. Ctrl-C ends it."""
    from local.playground import play

    play(root, concept, port)


def endpoint(
    concept: Annotated[str, typer.Argument(help="A concept, or one of its versions: my-cat or my-cat@v2.")],
    root: Root = None,
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1; another one when it is taken.")] = 8080,
) -> None:
    """Serve a published version on this machine as an Inference Endpoint would: an API that draws. Ctrl-C ends it."""
    from local.endpoint import serve as serve_endpoint

    serve_endpoint(root, concept, port)


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
    from local.hub import Apps, serve

    raise typer.Exit(serve(root, host, port, accounts, Apps(run, max_apps, app_memory)))


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
    from cli.setup import Wanted, run

    raise typer.Exit(run(root, Wanted(credentials, bucket, check)))


def base_fetch(
    base_model: Annotated[str, typer.Option("--base-model", help="tiny or sd-v1-4.")] = "sd-v1-4",
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder for the weights; CONCEPTRY_BASE_DIR.", file_okay=False)
    ] = None,
    clip: Annotated[
        bool, typer.Option("--clip", help="Also CLIP (1.7 GB): trainings that find it score their samples.")
    ] = False,
) -> None:
    """Bring a base model's weights into a folder (4.3 GB for sd-v1-4), each file checked by its sha256.

    What is there already stays; a download that was cut off goes on where it ended.
    """
    from cli.base import fetch

    raise typer.Exit(fetch(base_model, into, clip=clip))
